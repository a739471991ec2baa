"""How a class statement becomes a model: options, fields, annotations, and the schema of them all.

A model is a ``msgspec.Struct``. msgspec reads the annotations of a class when it first decodes one,
so they are resolved here before that: references become the type of their keys, ``Field[...]``
what is inside. A name that cannot be resolved yet (a model declared further down) is looked for
again when the model is first used.
"""

from __future__ import annotations

import copy
import re
import sys
import typing
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from types import GenericAlias, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, ForwardRef, get_args, get_origin

import msgspec

from pymodels import conditions, keys
from pymodels.annotations import compile_kind
from pymodels.errors import ModelError, QueryError, UsageError
from pymodels.fields import KEY_MARK, MISSING, Field, FieldOptions, Key
from pymodels.lookups import LOOKUPS, nearest
from pymodels.paths import Path
from pymodels.references import ListReference, Reference, Related
from pymodels.schema import FieldInfo, Index, Schema

if TYPE_CHECKING:
    _StructMeta = type
else:
    _StructMeta = type(msgspec.Struct)

_OPTIONS: Final = (
    "collection",
    "must_have",
    "must_not_have",
    "indexes",
    "abstract",
    "label",
)


class _Declared:
    """What one class statement declared, until its annotations are all resolved."""

    def __init__(self, module: str, local_names: Mapping[str, Any] | None) -> None:
        self.module = module
        self.local_names = local_names
        self.fields: dict[str, FieldOptions] = {}
        self.annotations: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.key: tuple[str, Any] | None = None


@typing.dataclass_transform(
    kw_only_default=True, eq_default=False, field_specifiers=(Field, Key, Related)
)
class ModelMeta(_StructMeta):
    """Makes models; answers ``Person.age`` with a path and ``Person(...)`` with a new record."""

    if not TYPE_CHECKING:

        def __new__(mcls, name, bases, namespace, **options):
            if not any(isinstance(base, ModelMeta) for base in bases):
                return super().__new__(mcls, name, bases, namespace, eq=False)
            frame = sys._getframe(1)
            local = frame.f_locals if frame.f_locals is not frame.f_globals else None
            declared = _read(name, bases, namespace, options, local)
            cls = super().__new__(
                mcls,
                name,
                bases,
                namespace,
                kw_only=True,
                eq=False,
                rename={n: o.name for n, o in _all_fields(bases, declared).items() if o.name},
            )
            cls.__declared__ = declared
            cls.__resolved__ = None
            cls.__paths__ = _paths(cls)
            _try_to_resolve(cls)
            return cls

        def __getattribute__(cls, name):
            if name[:1] != "_":
                path = type.__getattribute__(cls, "__paths__").get(name)
                if path is not None:
                    return path
            return super().__getattribute__(name)

        def __call__(cls, /, **values):
            schema = cls.__schema__
            key = values.pop("pk", None)
            if key is None and schema.key_name != "pk":
                key = values.pop(schema.key_name, None)
            elif schema.key_name in values:
                raise UsageError(f"{cls.__name__}: pk and {schema.key_name} are the same, give one")
            try:
                instance = super().__call__(**values)
            except TypeError as error:
                raise _constructor_error(cls, values, error) from None
            instance._pk = key
            instance._stored = instance._storage = None
            for reference in schema.references:
                if values.get(reference) is not None:
                    setattr(instance, reference, values[reference])
            return instance

        @property
        def __schema__(cls):
            found = type.__getattribute__(cls, "__dict__").get("__resolved__")
            return found if found is not None else _resolve(cls)


def _constructor_error(cls: Any, values: Mapping[str, Any], error: TypeError) -> UsageError:
    schema = cls.__schema__
    for name in values:
        if name not in schema.fields:
            return UsageError(
                f"{cls.__name__} has no field {name!r}{nearest(name, schema.fields)}; it has "
                f"{', '.join((*schema.fields, schema.key_name))}"
            )
    missing = [
        name
        for name, info in schema.fields.items()
        if name not in values
        and info.options.default is MISSING
        and info.options.default_factory is None
    ]
    if missing:
        return UsageError(f"{cls.__name__} needs a value for {', '.join(map(repr, missing))}")
    return UsageError(f"{cls.__name__}: {error}")


# --- reading a class statement --------------------------------------------------------------


def _read(
    name: str,
    bases: tuple[type, ...],
    namespace: dict[str, Any],
    options: dict[str, Any],
    local_names: Mapping[str, Any] | None,
) -> _Declared:
    declared = _Declared(namespace["__module__"], local_names)
    declared.options = _read_options(name, namespace, options)
    annotations = dict(namespace.get("__annotations__", {}))
    concrete = [base for base in bases if _is_model(base) and not _is_abstract(base)]
    if len(concrete) > 1:
        raise ModelError(
            f"{name}: {' and '.join(base.__name__ for base in concrete)} both have records; a view "
            "has one parent, and shares more fields through abstract models"
        )
    if declared.options.get("abstract") and concrete:
        raise ModelError(f"{name}: a view of {concrete[0].__name__} cannot be abstract")
    for attribute, value in list(namespace.items()):
        if isinstance(value, Field) and attribute not in annotations:
            if value.options.type is MISSING:
                raise ModelError(f"{name}.{attribute}: write Field(str), or annotate Field[str]")
            marked = (
                Annotated[value.options.type, KEY_MARK]
                if isinstance(value, Key)
                else value.options.type
            )
            annotations[attribute] = marked
    for attribute, annotation in annotations.items():
        _read_attribute(name, attribute, annotation, namespace, declared)
    if not declared.options.get("abstract"):
        _take_from_abstract(name, bases, concrete, declared)
        _default_from_must_have(concrete, declared)
    for attribute, field in declared.fields.items():
        namespace.pop(attribute, None)
        _set_default(name, attribute, field, namespace)
    is_abstract = bool(declared.options.get("abstract"))
    if is_abstract:
        for attribute in declared.fields:
            namespace.pop(attribute, None)
    namespace["__annotations__"] = {} if is_abstract else dict(declared.annotations)
    return declared


def _read_options(name: str, namespace: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    meta = namespace.pop("Meta", None)
    given = {k: v for k, v in vars(meta).items() if not k.startswith("__")} if meta else {}
    both = given.keys() & options.keys()
    if both:
        raise ModelError(f"{name}: {min(both)} is given in Meta and as a class keyword, give one")
    given |= options
    for option in given:
        if option not in _OPTIONS:
            raise ModelError(
                f"{name}: no option is called {option!r}{nearest(option, _OPTIONS)}; the options "
                f"of a model are {', '.join(_OPTIONS)}"
            )
    collection = given.get("collection", "x")
    if not isinstance(collection, str) or not collection:
        raise ModelError(
            f"{name}: collection is the name under which records are kept, not {collection!r}"
        )
    return given


def _read_attribute(
    model: str, attribute: str, annotation: Any, namespace: dict[str, Any], declared: _Declared
) -> None:
    value = namespace.get(attribute, MISSING)
    if isinstance(value, Related) or _is_class_variable(annotation):
        return
    if attribute.startswith("_") or "__" in attribute:
        raise ModelError(
            f"{model}.{attribute}: the name of a field has no leading or double underscore; "
            "Field(name=...) gives it any stored name"
        )
    if _marks_key(annotation, declared, attribute, model):
        if declared.key is not None:
            raise ModelError(f"{model}: {declared.key[0]} and {attribute} are both declared as key")
        declared.key = (attribute, annotation)
        namespace.pop(attribute, None)
        return
    if isinstance(value, Field):
        field = value.options
    else:
        field = FieldOptions(default=value) if value is not MISSING else FieldOptions()
    if attribute in _reserved():
        raise ModelError(
            f"{model}.{attribute}: every model has a {attribute!r} of its own; choose another name "
            f"and keep the stored one with Field(name={attribute!r})"
        )
    declared.fields[attribute] = field
    declared.annotations[attribute] = annotation


def _reserved() -> frozenset[str]:
    from pymodels.models import Model

    return frozenset(name for name in dir(Model) if not name.startswith("_"))


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return bool(re.match(r"(\w+\.)*ClassVar\b", annotation))
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _marks_key(annotation: Any, declared: _Declared, attribute: str, model: str) -> bool:
    if isinstance(annotation, str):
        return bool(re.match(r"(\w+\.)*Key\s*\[", annotation))
    return get_origin(annotation) is Annotated and KEY_MARK in annotation.__metadata__


def _is_model(base: type) -> bool:
    return isinstance(base, ModelMeta) and "__declared__" in vars(base)


def _is_abstract(base: Any) -> bool:
    return bool(base.__declared__.options.get("abstract"))


def _lineage(cls: type) -> list[Any]:
    return [base for base in cls.__mro__ if _is_model(base)]


def _take_from_abstract(
    name: str, bases: tuple[type, ...], concrete: list[Any], declared: _Declared
) -> None:
    """Copy the fields of abstract parents: two Structs with fields could not both be bases."""
    inherited = {
        n for parent in concrete for base in _lineage(parent) for n in base.__declared__.fields
    }
    for parent in reversed(bases):
        if not _is_model(parent):
            continue
        for base in reversed(_lineage(parent)):
            if not _is_abstract(base):
                continue
            source = base.__declared__
            for attribute, field in source.fields.items():
                if attribute not in declared.fields and attribute not in inherited:
                    declared.fields[attribute] = field
                    declared.annotations[attribute] = _Elsewhere(
                        source.annotations[attribute], source
                    )
            if declared.key is None and source.key is not None and not concrete:
                declared.key = (source.key[0], _Elsewhere(source.key[1], source))


class _Elsewhere:
    """An annotation whose names belong to another class statement."""

    def __init__(self, annotation: Any, declared: _Declared) -> None:
        self.annotation = annotation
        self.declared = declared


def _default_from_must_have(concrete: list[Any], declared: _Declared) -> None:
    """A required field for which the view demands one value has that value as its default."""
    for name, value in _equalities(declared.options).items():
        field, annotation = declared.fields.get(name), declared.annotations.get(name)
        if field is None:
            for parent in concrete:
                for base in _lineage(parent):
                    if field is None and name in base.__declared__.fields:
                        field = base.__declared__.fields[name]
                        annotation = _Elsewhere(
                            base.__declared__.annotations[name], base.__declared__
                        )
        if field is None or field.default_factory or field.default not in (MISSING, None):
            continue
        field = copy.copy(field)
        field.default = value
        declared.fields[name] = field
        declared.annotations[name] = annotation


def _equalities(options: Mapping[str, Any]) -> dict[str, Any]:
    given = options.get("must_have")
    if not isinstance(given, Mapping):
        return {}
    return {name: value for name, value in given.items() if "__" not in name}


def _set_default(model: str, name: str, field: FieldOptions, namespace: dict[str, Any]) -> None:
    if field.default_factory is not None:
        namespace[name] = msgspec.field(default_factory=field.default_factory)
    elif field.default is not MISSING:
        default = field.default
        if hasattr(type(default), "__schema__"):
            raise ModelError(f"{model}.{name}: the default of a reference is a key or None")
        if isinstance(default, str | bytes | int | float | tuple | type(None)):
            namespace[name] = default
        else:
            namespace[name] = msgspec.field(default_factory=lambda: copy.deepcopy(default))


def _all_fields(bases: tuple[type, ...], declared: _Declared) -> dict[str, FieldOptions]:
    found: dict[str, FieldOptions] = {}
    for base in reversed(bases):
        for parent in reversed(_lineage(base)):
            if not _is_abstract(parent):
                found.update(parent.__declared__.fields)
    return found | declared.fields


def _paths(cls: Any) -> dict[str, Path[Any]]:
    names = [n for base in reversed(_lineage(cls)) for n in base.__declared__.fields]
    key = _key_of(cls)
    return {name: Path.of(cls, name) for name in (*names, "pk", *([key[0]] if key else ()))}


# --- resolving annotations ------------------------------------------------------------------


class _Unresolved(Exception):
    pass


def _try_to_resolve(cls: Any) -> None:
    try:
        _build(cls)
    except _Unresolved:
        # Keep what a function's body knew; a module's names are found in the module later.
        local = cls.__declared__.local_names
        cls.__declared__.local_names = dict(local) if local is not None else None


def _resolve(cls: Any) -> Schema:
    if not _is_model(cls):
        raise ModelError("Model itself has no records: declare a class of your own")
    try:
        return _build(cls)
    except _Unresolved as error:
        raise ModelError(f"{cls.__name__}: {error}") from None


def _evaluate(annotation: Any, declared: _Declared) -> Any:
    """Return *annotation* with every name in it resolved."""
    if isinstance(annotation, _Elsewhere):
        return _evaluate(annotation.annotation, annotation.declared)
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        module = sys.modules.get(declared.module)
        names = _Names(vars(module) if module else {}, declared)
        try:
            # The text is the class body's own source, as typing.get_type_hints evaluates it too.
            value = eval(annotation, {}, names)
        except NameError as error:
            raise _Unresolved(
                f"the annotation {annotation!r} names {error.name!r}, which is not to be found"
            ) from None
        except (TypeError, SyntaxError, AttributeError) as error:
            raise ModelError(f"the annotation {annotation!r} has no meaning: {error}") from error
        return _evaluate(value, declared)
    arguments = get_args(annotation)
    if not arguments:
        return annotation
    origin = get_origin(annotation)
    if origin is Annotated:
        inner = _evaluate(arguments[0], declared)
        return Annotated[(inner, *arguments[1:])]
    if origin is typing.Literal:
        return annotation
    resolved = tuple(_evaluate(a, declared) if a is not Ellipsis else a for a in arguments)
    if resolved == arguments:
        return annotation
    if origin in (typing.Union, UnionType):
        return typing.Union[resolved]
    return GenericAlias(origin, resolved)


class _Names(dict[str, Any]):
    """The names that an annotation may use: local, of the module, builtin, or any model's."""

    def __init__(self, module: Mapping[str, Any], declared: _Declared) -> None:
        super().__init__()
        self.module = module
        self.local_names = declared.local_names or {}
        self.home = declared.module

    def __missing__(self, name: str) -> Any:
        if name in self.local_names:
            return self.local_names[name]
        if name in self.module:
            return self.module[name]
        builtin = sys.modules["builtins"].__dict__
        if name in builtin:
            return builtin[name]
        found = model_named(name, self.home)
        if found is None:
            raise NameError(f"name {name!r} is not defined", name=name)
        return found


def model_named(name: str, module: str) -> Any:
    """Return the model called *name*, the latest in *module* if there are several, or None."""
    from pymodels.models import Model

    found: list[Any] = []
    queue: list[Any] = [Model]
    while queue:
        for cls in type.__subclasses__(queue.pop()):
            queue.append(cls)
            if cls.__name__ == name:
                found.append(cls)
    near = [cls for cls in found if cls.__module__ == module]
    return (near or found or [None])[-1]


def _without_models(annotation: Any) -> tuple[Any, Any]:
    """Return *annotation* with a reference replaced by its key's type, and the model referred to."""
    if _is_model(annotation):
        return _key_type(annotation), annotation
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin in (typing.Union, UnionType):
        models = [a for a in arguments if _is_model(a)]
        if len(models) > 1:
            raise ModelError(
                f"a reference leads to one model, not to {' or '.join(m.__name__ for m in models)}"
            )
        parts = [_without_models(a) for a in arguments]
        target = next((model for _, model in parts if model is not None), None)
        if target is None:
            return annotation, None
        if [a for a in arguments if a is not type(None) and not _refers(a)]:
            raise ModelError(f"a reference can be {target.__name__} or None, and nothing else")
        return reduce(or_, [inner for inner, _ in parts]), target
    if origin is list and _is_model(arguments[0]):
        return list[_key_type(arguments[0])], arguments[0]  # type: ignore[misc]
    return annotation, None


def _refers(annotation: Any) -> bool:
    return _without_models(annotation)[1] is not None


def _key_of(cls: Any) -> tuple[str, Any, _Declared] | None:
    for base in _lineage(cls):
        if base.__declared__.key is not None:
            return (*base.__declared__.key, base.__declared__)
    return None


def _key_type(cls: Any) -> Any:
    return _key_kind(cls).type


def _key_kind(cls: Any) -> keys.KeyKind:
    found = _key_of(cls)
    if found is None:
        return keys.TEXT
    annotation = _evaluate(found[1], found[2])
    return keys.key_kind(get_args(annotation)[0])


def _build(cls: Any) -> Schema:
    """Resolve everything that *cls* declares and give it its schema."""
    declared: _Declared = cls.__declared__
    lineage = [base for base in _lineage(cls) if not _is_abstract(base) or base is cls]
    fields: dict[str, FieldInfo] = {}
    own: dict[str, Any] = {}
    for base in reversed(lineage):
        for name, options in base.__declared__.fields.items():
            annotation = _evaluate(base.__declared__.annotations[name], base.__declared__)
            try:
                plain, target = _without_models(annotation)
                kind = compile_kind(plain, naive=options.naive)
                stored = options.name or name
                held = getattr(_slot_of(cls, name), "__get__", _no_slot)
                fields[name] = FieldInfo(name, stored, kind, options, held, target)
                _check_options(fields[name])
            except ModelError as error:
                raise ModelError(f"{cls.__name__}.{name}: {error}") from error
            if base is cls:
                own[name] = kind.annotation
    taken: dict[str, str] = {}
    for info in fields.values():
        other = taken.setdefault(info.stored, info.name)
        if other != info.name:
            raise ModelError(
                f"{cls.__name__}: {other} and {info.name} are both stored as {info.stored!r}"
            )
    key = _key_of(cls)
    parent = next((base for base in lineage[1:]), None)
    collection = declared.options.get("collection") or (
        parent.__schema__.collection if parent is not None else _collection_name(cls.__name__)
    )
    schema = Schema(
        model=cls,
        name=cls.__name__,
        collection=collection,
        key=_key_kind(cls),
        key_name=key[0] if key else "pk",
        fields=fields,
        label=declared.options.get("label") or cls.__name__,
    )
    if key and key[0] in fields:
        raise ModelError(f"{cls.__name__}: {key[0]} is declared as a field and as the key")
    _add_conditions(schema, parent, declared)
    schema.indexes = _indexes(schema, lineage)
    if not _is_abstract(cls):
        type.__setattr__(cls, "__annotations__", own)
        for name in own:
            info = fields[name]
            if info.reference is not None:
                is_list = "list" in info.kind.families
                attribute = ListReference if is_list else Reference
                slot = _slot_of(cls, name)
                type.__setattr__(cls, name, attribute(name, info.reference, slot))
    if key:
        type.__setattr__(cls, key[0], _pk_attribute())
    declared.local_names = None
    type.__setattr__(cls, "__resolved__", schema)
    type.__setattr__(cls, "_schema", schema)  # for instances: they exist only once it does
    return schema


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
    for option in info.options.choices or ():
        try:
            info.kind.check(option)
        except Exception as error:  # kinds.Unfit, named by the message
            raise ModelError(f"the choice {option!r} does not fit: {error}") from None


def _collection_name(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _add_conditions(schema: Schema, parent: Any, declared: _Declared) -> None:
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
            first = name.split("__")[0]
            if first in schema.fields or first in ("pk", schema.key_name):
                result.append(schema.keyword(name, operand))
            else:  # what a view demands of its records may well be undeclared
                parts = tuple(name.split("__"))
                lookup = parts[-1] if len(parts) > 1 and parts[-1] in LOOKUPS else "equals"
                parts = parts[:-1] if lookup != "equals" or parts[-1] == "equals" else parts
                result.append(schema.bind(Path(*parts).lookup(lookup, operand)))  # type: ignore[arg-type]
        return result
    if isinstance(given, Iterable):
        return [schema.condition([one], {}) for one in given]
    raise QueryError(f"expected a mapping of lookups or conditions, got {given!r}")


def _indexes(schema: Schema, lineage: list[Any]) -> tuple[Index, ...]:
    found: dict[str, Index] = {}
    for info in schema.fields.values():
        if info.options.unique or info.options.index:
            kind = info.options.index if isinstance(info.options.index, str) else ""
            found[info.stored] = Index(info.stored, (info.stored,), info.options.unique, kind)
    for base in reversed(lineage):
        for given in base.__declared__.options.get("indexes", ()):
            index = _index(schema, given)
            found[index.name] = index
    return tuple(found.values())


def _index(schema: Schema, given: Any) -> Index:
    unique, kind = False, ""
    names = given
    if isinstance(given, Mapping):
        unknown = given.keys() - {"fields", "unique", "kind"}
        if unknown or "fields" not in given:
            raise ModelError(
                f"{schema.name}: an index is a field's name, several, or a mapping with 'fields', "
                f"'unique' and 'kind', not {given!r}"
            )
        names, unique, kind = given["fields"], bool(given.get("unique")), given.get("kind", "")
    names = (names,) if isinstance(names, str) else tuple(names)
    stored = []
    for name in names:
        if name not in schema.fields:
            raise ModelError(
                f"{schema.name}: an index names {name!r}, which is no field"
                f"{nearest(name, schema.fields)}"
            )
        stored.append(schema.fields[name].stored)
    return Index("+".join(stored), tuple(stored), unique, kind)
