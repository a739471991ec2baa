"""Between instances and storages: loading, and all that saving takes.

``save`` is the one way in which instances are written, alone or many in one batch: hooks, checks,
what the view demands, the smallest change that will do, and the state of the instances afterwards.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pymodels import conditions
from pymodels.changes import Change, Delete, Expect, Expectation, Patch, Put
from pymodels.checks import Unfit, check_text
from pymodels.errors import DuplicateKey, UnsavedReference, Unsupported, ValidationError
from pymodels.kinds import Kind, Open, Scalar, Union, convert, is_list_of_text
from pymodels.planning import Pair, matcher
from pymodels.references import forget_related, key_in, keys_in
from pymodels.schema import FieldInfo, Schema

if TYPE_CHECKING:
    from pymodels.codecs import Codec
    from pymodels.storage import Storage


_OPEN: Final = Open()
_astuple: Final = msgspec.structs.astuple

# --- loading --------------------------------------------------------------------------------


def loader(codec: Codec, schema: Schema, home: Storage) -> Callable[[Any, Any], Any]:
    """Return a function from a key and a stored form to an instance that belongs to *home*."""
    decode, errors = codec.decoder(schema), codec.errors

    def load(key: Any, stored: Any) -> Any:
        try:
            instance = decode(stored)
        except errors as error:
            raise codec.invalid(schema, key, stored, error) from error
        instance._pk = key
        instance._stored = stored
        instance._storage = home
        return instance

    return load


def load_each(
    storage: Storage, schema: Schema, find: Callable[[], Iterable[Pair]]
) -> Iterator[Any]:
    """Yield the instances of what *find* returns, which is called when the first one is asked for.

    It does what ``loader`` does, without a call for each.
    """
    codec, home = storage.codec, storage.home
    decode, errors = codec.decoder(schema), codec.errors
    for key, stored in find():
        try:
            instance = decode(stored)
        except errors as error:
            raise codec.invalid(schema, key, stored, error) from error
        instance._pk = key
        instance._stored = stored
        instance._storage = home
        yield instance


# --- checking -------------------------------------------------------------------------------


def _is_sound(instance: Any) -> bool:
    """Tell at once of most instances that nothing is wrong with them; of others say False."""
    schema: Schema = instance._schema
    known: _Sound | None = schema.cache.get("sound")
    if known is None:
        known = schema.cache["sound"] = _Sound(schema)
    key = instance._pk
    try:
        return (key is None or known.takes_key(key)) and known.takes(instance)
    except (Unfit, RecursionError, UnicodeEncodeError):
        return False


def _check_texts(values: list[Any]) -> None:
    """Check the members of a list of text all at once."""
    if values:
        if set(map(type, values)) != {str}:
            raise Unfit("a member is no text")
        text = "".join(values)
        if not text.isascii():
            text.encode()


class _Sound:
    """Checks the instances of one model, those first that need least.

    Which checks are needed depends on the types of the values alone, so it is found out once for
    all records whose values have the same types: an ``str`` that was taken as text only has to be
    encodable, and that is asked of all text together.
    """

    def __init__(self, schema: Schema) -> None:
        self._is_simple = not any(
            info.reference is not None
            or info.options.choices is not None
            or info.options.validators
            for info in schema.fields.values()
        )
        order = getattr(schema.model, "__struct_fields__", ())
        self._kinds = [schema.fields[name].kind for name in order]
        self._key = schema.key
        self._shapes: dict[tuple[type, ...], tuple[Any, Any]] = {}

    def takes_key(self, key: Any) -> bool:
        if type(key) is not self._key.type:
            return False
        if type(key) is not str or not key or not key.isascii():
            self._key.check(key)
        return True

    def takes(self, instance: Any) -> bool:
        if not self._is_simple:
            return False
        values = _astuple(instance)
        shape = tuple(map(type, values))
        known = self._shapes.get(shape)
        if known is None:
            for kind, value in zip(self._kinds, values, strict=True):
                kind.check(value)
            known = self._shapes[shape] = self._needed(shape)
            return True
        texts, checks = known
        if texts is not None:
            text = "".join(texts(values))
            if not text.isascii():
                text.encode()
        for number, check in checks:
            check(values[number])
        return True

    def _needed(self, shape: tuple[type, ...]) -> tuple[Any, Any]:
        texts: list[int] = []
        checks: list[tuple[int, Callable[[Any], None]]] = []
        for number, (kind, found) in enumerate(zip(self._kinds, shape, strict=True)):
            check = _check_of(kind, found)
            if check is check_text:
                texts.append(number)
            elif check is not None:
                checks.append((number, check))
        # Of a single position a getter returns the value itself, which joins as well: it is text.
        return (operator.itemgetter(*texts) if texts else None), tuple(checks)


def _check_of(kind: Kind, found: type) -> Callable[[Any], None] | None:
    """Return the check that values of type *found* still need, None if the type says it all."""
    if found is type(None):
        return None
    options = kind.some if isinstance(kind, Union) else (kind,)
    mine = [one for one in options if isinstance(one, Scalar)]
    if found is list and len(options) == 1 and is_list_of_text(options[0]):
        return _check_texts
    if len(mine) == 1 and len(options) == 1:
        if found is bool and mine[0].families == {"bool"}:
            return None
        return mine[0].check
    return kind.check


def problems(instance: Any) -> list[tuple[str, str]]:
    """Return everything that keeps *instance* from being stored, as (field, reason)."""
    schema: Schema = instance._schema
    found: list[tuple[str, str]] = []
    for info in schema.fields.values():
        value = info.held(instance)
        if info.reference is not None:
            value, unsaved = reference_keys(value)
            if unsaved:
                found.append((info.name, f"refers to {unsaved}, which is not saved: save it first"))
                continue
        reason = info.problem(value)
        if reason:
            found.append((info.name, reason))
    if instance._pk is not None:
        try:
            schema.key.check(instance._pk)
        except Unfit as error:
            found.append((schema.key_name, error.reason))
    return found


def reference_keys(value: Any) -> tuple[Any, str]:
    """Return the keys that a reference stands for, and the repr of what has none yet."""
    many = value if isinstance(value, list) else [value]
    for one in many:
        if one is not None and key_in(one) is None:
            return None, repr(one)
    return ([key_in(one) for one in many] if isinstance(value, list) else key_in(value)), ""


def validate(instance: Any) -> None:
    """Raise ``ValidationError`` with everything that keeps *instance* from being stored."""
    if _is_sound(instance):
        return
    found = problems(instance)
    if found:
        schema: Schema = instance._schema
        unsaved = all("is not saved: save it first" in reason for _, reason in found)
        known = f" {instance._pk!r}" if instance._pk is not None else ""
        raise (UnsavedReference if unsaved else ValidationError)(
            f"{schema.name}{known} cannot be stored: "
            + "; ".join(f"{name}: {reason}" for name, reason in found),
            found,
        )


def _check_view(storage: Storage, schema: Schema, key: Any, stored: Any) -> None:
    """Raise ``ValidationError`` if a record to be stored would not be one of the view's."""
    if storage.belongs(schema, key, stored):
        return
    parts = schema.must.parts if isinstance(schema.must, conditions.And) else (schema.must,)
    failed = [part for part in parts if not matcher(storage.codec, schema, part)(key, stored)]
    raise ValidationError(
        f"{schema.name} {key!r} cannot be stored: its model demands "
        f"{' and '.join(map(repr, failed))}",
        [("", f"the model demands {part!r}") for part in failed],
    )


# --- saving ---------------------------------------------------------------------------------


class _Pending(msgspec.Struct, gc=False):
    """One instance on its way into a storage."""

    instance: Any
    key: Any
    stored: Any
    change: Change | None
    created: bool


def save(
    instances: Sequence[Any],
    storage: Storage,
    *,
    check: bool = False,
    replace: bool = False,
    unknown: Mapping[str, Any] | None = None,
) -> int:
    """Save *instances* in one batch and return how many had something to write.

    *unknown* are undeclared fields of a new record, for a copy to take along.
    """
    target = storage.current
    home = storage.home
    for schema in {instance._schema for instance in instances}:
        check_supported(schema, home)
    for instance in instances:
        instance.before_save()
        if instance._schema.fill:
            _fill(instance)
        if not _is_sound(instance):
            validate(instance)
    pending = [
        _prepare(instance, target, check=check, replace=replace, unknown=unknown or {})
        for instance in instances
    ]
    changes = [one.change for one in pending if one.change is not None]
    target.check_writable()
    if changes:
        target.write(changes)
    for one in pending:
        if one.change is not None or one.created:
            target.remember(one.instance)
            one.instance._pk = one.key
            one.instance._stored = one.stored
            one.instance._storage = home
    for one in pending:
        one.instance.after_save(one.created)
    return len(changes)


def check_supported(schema: Schema, home: Storage) -> None:
    """Refuse what the storage would silently not do."""
    home.meet(schema)
    if schema.unique and "unique" not in home.capabilities:
        names = " and ".join(", ".join(index.fields) for index in schema.unique)
        raise Unsupported(
            f"{schema.name}: {names} must be unique, and {home.name} cannot see to that: declare "
            "the model without, or choose a storage whose capabilities have 'unique'"
        )


def _prepare(
    instance: Any, target: Storage, *, check: bool, replace: bool, unknown: Mapping[str, Any]
) -> _Pending:
    if instance._storage is target.home and instance._stored is not None:
        return _prepare_changed(instance, target, check=check)
    return _prepare_new(instance, target, replace=replace, unknown=unknown)


def _prepare_changed(instance: Any, target: Storage, *, check: bool) -> _Pending:
    schema, codec = instance._schema, target.codec
    key, before = instance._pk, instance._stored
    changed = codec.difference(schema, before, instance)
    if schema.fill:
        changed = _missing_fill(target, instance, before) | changed
    if not changed:
        if check:
            target_check: Change | None = Patch(schema, key, expect=target.expectation(before))
        else:
            target_check = None
        return _Pending(instance, key, before, target_check, created=False)
    expect: Expectation = target.expectation(before) if check else Expect.PRESENT
    patch = Patch(schema, key, changed, expect=expect)
    after = codec.apply(before, patch)
    patch = msgspec.structs.replace(patch, made=(before, after))
    if schema.must is not conditions.EVERYTHING:
        _check_view(target, schema, key, after)
    return _Pending(instance, key, after, patch, created=False)


def _prepare_new(
    instance: Any, target: Storage, *, replace: bool, unknown: Mapping[str, Any]
) -> _Pending:
    schema: Schema = instance._schema
    key = instance._pk if instance._pk is not None else _new_key(schema)
    undeclared = unknown
    if instance._stored is not None:
        undeclared = {**undeclared, **unknown_fields(instance, schema)}
    if schema.fill:
        undeclared = {**undeclared, **_undeclared(schema)}
    stored = target.codec.encode(instance, undeclared)
    if schema.must is not conditions.EVERYTHING:
        _check_view(target, schema, key, stored)
    expect = Expect.ANYTHING if replace else Expect.ABSENT
    return _Pending(instance, key, stored, Put(schema, key, stored, expect), created=True)


def _new_key(schema: Schema) -> Any:
    if schema.key.generate is None:
        raise ValidationError(
            f"{schema.name} cannot be stored without a key: give it a {schema.key_name} "
            f"({schema.key.type.__name__}), no new one can be made up",
            [(schema.key_name, "is missing")],
        )
    return schema.key.generate()


def _fill(instance: Any) -> None:
    """Give fields that hold nothing the values that the view demands."""
    schema: Schema = instance._schema
    for stored, value in schema.fill.items():
        info = schema.stored.get(stored)
        if info is not None and info.held(instance) is None:
            setattr(instance, info.name, value)


def _undeclared(schema: Schema) -> dict[str, Any]:
    return {name: value for name, value in schema.fill.items() if name not in schema.stored}


def _missing_fill(target: Storage, instance: Any, stored: Any) -> dict[tuple[str, ...], Any]:
    """Return what the view demands and the record lacks: a declared default is not stored yet."""
    schema: Schema = instance._schema
    if not schema.fill:
        return {}
    held = target.codec.document(stored)
    found: dict[tuple[str, ...], Any] = {}
    for name, value in schema.fill.items():
        info = schema.stored.get(name)
        value = value if info is None else keys_in(info.held(instance))
        if held.get(name) is None and value is not None:
            kind = _OPEN if info is None else info.kind
            found[(name,)] = target.codec.stored_value(kind, value)
    return found


def unknown_fields(instance: Any, schema: Schema) -> dict[str, Any]:
    """Return what is stored of *instance* and not declared by its model, by stored name."""
    if instance._stored is None:
        return {}
    document = instance._storage.codec.document(instance._stored)
    return {name: value for name, value in document.items() if name not in schema.stored}


def as_field(info: FieldInfo, value: Any) -> Any:
    """Return a value, perhaps in plain stored form, as the declared type of a field if it fits."""
    return convert(value, info.kind.annotation)


# --- deleting -------------------------------------------------------------------------------


def delete(instance: Any, storage: Storage, *, check: bool) -> None:
    """Delete the record of *instance*, which is a new one afterwards."""
    from pymodels import deleting

    target = storage.current
    instance.before_delete()
    expect: Expectation = target.expectation(instance._stored) if check else Expect.PRESENT
    target.check_writable()
    deleting.delete_all(target, [Delete(instance._schema, instance._pk, expect)])
    target.remember(instance)
    forget_related(instance)
    instance._stored = None
    instance._storage = None
    instance.after_delete()


def taken(change: Change) -> DuplicateKey:
    """Return the error for a new record under a key that another record has."""
    schema = change.schema
    return DuplicateKey(
        f"there is a {schema.name} with the key {change.key!r} already; get it and change it, or "
        "save with replace=True to put this one in its place",
        schema.collection,
        schema.key_name,
        change.key,
    )
