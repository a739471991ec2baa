"""From what a class statement declared to the schema that everything below uses."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from pymodels import conditions
from pymodels.annotations import compile_kind
from pymodels.checks import Unfit
from pymodels.constructing import constructor
from pymodels.errors import ModelError, QueryError
from pymodels.fields import MISSING, Field
from pymodels.lookups import LOOKUPS, nearest
from pymodels.paths import Path
from pymodels.references import ListReference, Reference
from pymodels.referring import note_references, note_unresolved
from pymodels.resolving import (
    Declared,
    Unresolved,
    declared_key,
    declared_key_kind,
    evaluate,
    is_abstract,
    is_model,
    lineage_of,
    without_models,
)
from pymodels.schema import FieldInfo, Index, Place, Schema


def try_to_build(cls: Any) -> None:
    try:
        _build_now(cls, declaring=cls)
    except Unresolved:
        note_unresolved(cls)
        # Keep what a function's body knew; a module's names are found in the module later.
        local = cls.__declared__.local_names
        cls.__declared__.local_names = dict(local) if local is not None else None


def build(cls: Any) -> Schema:
    if not is_model(cls):
        raise ModelError("Model itself has no records: declare a class of your own")
    if is_abstract(cls):
        raise ModelError(
            f"{cls.__name__} is abstract, so it has no records: use a model that inherits from it"
        )
    try:
        return _build_now(cls)
    except Unresolved as error:
        raise ModelError(f"{cls.__name__}: {error}") from None


def _build_now(cls: Any, declaring: Any = None) -> Schema:
    """Resolve everything that *cls* declares and give it its schema."""
    declared: Declared = cls.__declared__
    lineage = [base for base in lineage_of(cls) if not is_abstract(base) or base is cls]
    fields: dict[str, FieldInfo] = {}
    own: dict[str, Any] = {}
    for base in reversed(lineage):
        demanded = equalities(base.__declared__.options)
        for name, options in base.__declared__.fields.items():
            try:
                annotation = evaluate(
                    base.__declared__.annotations[name], base.__declared__, declaring
                )
                if isinstance(annotation, type) and issubclass(annotation, Field):
                    raise ModelError(
                        f"name the type in brackets, as in {annotation.__name__}[str] (a type "
                        "variable is none: a model cannot be generic)"
                    )
                plain, target = without_models(annotation)
                kind = compile_kind(plain, naive=options.naive)
                stored = options.name or name
                held = getattr(_slot_of(cls, name), "__get__", _no_slot)
                fields[name] = FieldInfo(name, stored, kind, options, held, target)
                _check_options(fields[name])
                if name not in demanded:
                    _check_default(fields[name])
            except ModelError as error:
                raise ModelError(f"{cls.__name__}.{name}: {error}") from error
            if base is cls:
                own[name] = kind.annotation
    key = declared_key(cls)
    parent = next((base for base in lineage[1:]), None)
    collection = declared.options.get("collection") or (
        parent.__schema__.collection if parent is not None else _collection_name(cls.__name__)
    )
    schema = Schema(
        model=cls,
        name=cls.__name__,
        collection=collection,
        key=declared_key_kind(cls),
        key_name=key[0] if key else "pk",
        fields=fields,
        label=declared.options.get("label") or cls.__name__,
    )
    if key and key[0] in fields:
        raise ModelError(f"{cls.__name__}: {key[0]} is declared as a field and as the key")
    _add_conditions(schema, parent, declared)
    schema.indexes = _indexes(schema, lineage)
    if not is_abstract(cls):
        type.__setattr__(cls, "__annotations__", own)
        for name in own:
            info = fields[name]
            if info.reference is not None:
                is_list = "list" in info.kind.families
                attribute = ListReference if is_list else Reference
                slot = _slot_of(cls, name)
                _set_attribute(cls, name, attribute(name, info.reference, slot))
    if key:
        _set_attribute(cls, key[0], _pk_attribute())
    declared.local_names = None
    if not is_abstract(cls):
        type.__setattr__(cls, "_schema", schema)
        type(cls).__call__ = constructor(schema)
        note_references(schema)
    return schema


def _set_attribute(cls: Any, name: str, attribute: Any) -> None:
    """Set what instances find under *name*; on the class itself a property stands before it."""
    meta = type(cls)
    path = meta.__dict__.get(name)
    setattr(meta, name, None)  # a property there, or in the metaclass of a parent, takes no value
    type.__setattr__(cls, name, attribute)
    if path is not None:
        setattr(meta, name, path)
    else:
        delattr(meta, name)


def _no_slot(instance: Any) -> Any:
    raise ModelError(f"{type(instance).__name__} is abstract and has no records")


def _slot_of(cls: Any, name: str) -> Any:
    """Return the slot that msgspec gave the field, also where a reference's attribute hides it."""
    for base in cls.__mro__:
        if name in base.__dict__:
            found = base.__dict__[name]
            return found.slot if isinstance(found, Reference) else found
    return msgspec.UNSET  # an abstract model has fields, but no slots


def _pk_attribute() -> Any:
    from pymodels.models import Model

    return Model.__dict__["pk"]


def _check_options(info: FieldInfo) -> None:
    if info.options.naive and not any(
        "instant" in kind.families and not kind.is_open for kind in info.kind.everything()
    ):
        raise ModelError("naive=True is for datetimes, and this field holds none")
    for option in info.options.choices or ():
        try:
            info.kind.check(option)
        except Unfit as error:
            raise ModelError(f"the choice {option!r} does not fit: {error.reason}") from None
    action = info.options.on_delete
    if action != "nothing" and info.reference is None:
        raise ModelError(f"on_delete={action!r} is for references, and this field is none")
    if action == "clear" and not (info.kind.nullable or "list" in info.kind.families):
        raise ModelError(
            "on_delete='clear' sets a reference to None, which this field cannot hold: declare "
            f"Field[{info.reference.__name__} | None]"
        )


def _check_default(info: FieldInfo) -> None:
    """Raise ``ModelError`` for a default that no record could be saved with."""
    default = info.options.default
    if default is MISSING:
        return
    try:
        info.kind.check(default)
    except Unfit as error:
        optional = "; for a field that may be empty, declare it with | None" * (default is None)
        where = f" at {error.trail}" if error.trail else ""
        raise ModelError(
            f"the default {default!r:.60} does not fit{where}: {error.reason}{optional}"
        ) from None
    choices = info.options.choices
    if choices is not None and default is not None and default not in choices:
        raise ModelError(f"the default {default!r:.60} is none of the choices {choices!r:.60}")


def equalities(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that the options of a model demand of its records' fields."""
    given = options.get("must_have")
    if not isinstance(given, Mapping):
        return {}
    return {name: value for name, value in given.items() if "__" not in str(name)}


def _collection_name(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _add_conditions(schema: Schema, parent: Any, declared: Declared) -> None:
    name = schema.name
    must = conditions.EVERYTHING if parent is None else schema.bind(parent.__schema__.must)
    fill = dict(parent.__schema__.fill) if parent is not None else {}
    for option, wanted in (("must_have", True), ("must_not_have", False)):
        given = declared.options.get(option)
        if given is None:
            continue
        try:
            bound = _option_condition(schema, given)
        except QueryError as error:
            raise ModelError(f"{name}: {option}: {error}") from error
        parts = bound if wanted else [conditions.negated(part) for part in bound]
        for part in parts:
            must = conditions.both(must, part)
            if (
                wanted
                and isinstance(part, conditions.Lookup)
                and part.name == "equals"
                and part.place is not None
                and not part.place.is_key
                and not part.place.inside
                and part.operand is not None
            ):
                fill[part.place.stored] = part.operand
    schema.must, schema.fill = must, fill


def _option_condition(schema: Schema, given: Any) -> list[conditions.Condition]:
    if isinstance(given, conditions.Node):
        given = [given]
    if isinstance(given, Mapping):
        result: list[conditions.Condition] = []
        for name, operand in given.items():
            if not isinstance(name, str):
                raise QueryError(f"a lookup is named as in 'age__gte', not {name!r}")
            first = name.split("__")[0]
            if first in schema.fields or first in ("pk", schema.key_name):
                result.append(schema.keyword(name, operand))
            else:  # what a view demands of its records may well be undeclared
                parts = tuple(name.split("__"))
                lookup = parts[-1] if len(parts) > 1 and parts[-1] in LOOKUPS else "equals"
                parts = parts[:-1] if lookup != "equals" or parts[-1] == "equals" else parts
                result.append(schema.bind(Path(*parts).lookup(lookup, operand)))
        return result
    if isinstance(given, Iterable):
        return [schema.condition([one], {}) for one in given]
    raise QueryError(f"expected a mapping of lookups or conditions, got {given!r}")


def _indexes(schema: Schema, lineage: list[Any]) -> tuple[Index, ...]:
    found: dict[tuple[str, bool], Index] = {}
    for info in schema.fields.values():
        given = info.options.index
        if type(given) is not bool and not isinstance(given, str):
            raise ModelError(
                f"{schema.name}.{info.name}: index is True or the name of a kind of index, such as "
                f"'caseless', not {given!r}"
            )
        if type(info.options.unique) is not bool:
            raise ModelError(
                f"{schema.name}.{info.name}: unique is True or False, not {info.options.unique!r}"
            )
        if info.options.unique or given:
            kind = given if isinstance(given, str) else ""
            index = _made(
                schema,
                (info.name,),
                unique=info.options.unique,
                kind="" if kind == "caseless" else kind,
                caseless=kind == "caseless",
                ordered=bool(given),
            )
            found[index.name, index.unique] = index
    for base in reversed(lineage):
        wanted = base.__declared__.options.get("indexes", ())
        if isinstance(wanted, str | Mapping) or not isinstance(wanted, Iterable):
            raise ModelError(
                f"{schema.name}: indexes is a list of indexes, as in [{wanted!r}], not {wanted!r}"
            )
        for one in wanted:
            index = _index(schema, one)
            found[index.name, index.unique] = index
    return tuple(found.values())


_KINDS: Final = ("caseless", "column", "members", "trigram")
_OF_AN_INDEX: Final = {"fields", "unique", "kind", "where", "caseless", "index"}


def _index(schema: Schema, given: Any) -> Index:
    if not isinstance(given, Mapping):
        return _made(schema, given)
    unknown = given.keys() - _OF_AN_INDEX
    if unknown or "fields" not in given:
        raise ModelError(
            f"{schema.name}: an index is a field's name, several, or a mapping with 'fields' and "
            f"perhaps 'unique', 'where', 'caseless', 'kind' and 'index', not {given!r}"
            f"{nearest(str(min(unknown, key=str)), _OF_AN_INDEX) if unknown else ''}"
        )
    for name in ("unique", "caseless", "index"):
        if type(given.get(name, False)) is not bool:
            raise ModelError(
                f"{schema.name}: {name!r} of an index is True or False, not {given[name]!r}"
            )
    unique = bool(given.get("unique"))
    try:
        where = schema.condition(_option_condition(schema, given.get("where", ())), {})
    except QueryError as error:
        raise ModelError(f"{schema.name}: where of an index: {error}") from error
    kind = given.get("kind", "")
    return _made(
        schema,
        given["fields"],
        unique=unique,
        kind="" if kind == "caseless" else kind,
        where=where,
        caseless=kind == "caseless" or bool(given.get("caseless")),
        ordered=bool(given.get("index", not unique)),
    )


def _made(
    schema: Schema,
    names: Any,
    *,
    unique: bool = False,
    kind: str = "",
    where: conditions.Condition = conditions.EVERYTHING,
    caseless: bool = False,
    ordered: bool = True,
) -> Index:
    names = (names,) if isinstance(names, str) else names
    if (
        not isinstance(names, list | tuple)
        or not names
        or not all(isinstance(name, str) for name in names)
    ):
        raise ModelError(
            f"{schema.name}: an index is of a field, 'name', or of several, ('name', 'age'), "
            f"not of {names!r}"
        )
    names = tuple(names)
    places: list[Place] = []
    for name in names:
        first = name.split("__")[0]
        if first not in schema.fields:
            raise ModelError(
                f"{schema.name}: an index names {name!r}, which is no field"
                f"{nearest(first, schema.fields)}"
            )
        try:
            places.append(schema.place_named(name))
        except QueryError as error:
            raise ModelError(f"{schema.name}: an index names {name!r}: {error}") from error
        if unique and places[-1].inside:
            raise ModelError(
                f"{schema.name}: only whole fields can be unique, and {name!r} is part of one"
            )
    if not isinstance(kind, str):
        raise ModelError(f"{schema.name}: the kind of an index is named by text, not {kind!r}")
    if kind and kind not in _KINDS:  # a backend may have kinds of its own, of other names
        for meant in difflib.get_close_matches(kind.casefold(), _KINDS, n=1, cutoff=0.8):
            raise ModelError(
                f"{schema.name}: no index is of the kind {kind!r}; did you mean {meant!r}?"
            )
    if unique and where != conditions.EVERYTHING:
        raise ModelError(
            f"{schema.name}: {', '.join(names)} can be unique among all records, not among those "
            "of a 'where'"
        )
    if unique and not ordered and (caseless or kind):
        raise ModelError(
            f"{schema.name}: a unique index is of whole values, whatever their case: declare the "
            f"{kind or 'caseless'} index of {', '.join(names)} as an entry of its own"
        )
    if kind == "column" and (
        len(places) > 1 or places[0].inside or caseless or where != conditions.EVERYTHING
    ):
        raise ModelError(
            f"{schema.name}: a column has the values of one whole field, of all records, and "
            f"{', '.join(names)} is no such thing"
        )
    paths = tuple((place.stored, *place.inside) for place in places)
    told = "+".join("__".join(path) for path in paths)
    told += ":caseless" * caseless + (f":{kind}" if kind else "")
    if where != conditions.EVERYTHING:
        told += f" where {where!r}"
    fields = tuple(place.stored for place in places)
    return Index(told, fields, unique, kind, paths, tuple(places), where, caseless, ordered)
