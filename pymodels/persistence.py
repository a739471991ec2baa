"""Between instances and storages: loading, and all that saving takes.

``save`` is the one way in which instances are written, alone or many in one batch: hooks, checks,
what the view demands, the smallest change that will do, and the state of the instances afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pymodels import conditions
from pymodels.changes import Change, Delete, Expect, Expectation, Patch, Put
from pymodels.checks import Unfit
from pymodels.errors import DuplicateKey, UnsavedReference, Unsupported, ValidationError
from pymodels.kinds import Open, convert
from pymodels.planning import matcher
from pymodels.references import forget_related, key_in, keys_in
from pymodels.schema import FieldInfo, Schema

if TYPE_CHECKING:
    from pymodels.codecs import Codec
    from pymodels.storage import Storage


_OPEN: Final = Open()

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


# --- checking -------------------------------------------------------------------------------


def _is_sound(instance: Any) -> bool:
    """Tell at once of most instances that nothing is wrong with them; of others say False."""
    schema: Schema = instance._schema
    checks = schema.cache.get("checks")
    if checks is None:
        simple = not any(
            info.reference is not None
            or info.options.choices is not None
            or info.options.validators
            for info in schema.fields.values()
        )
        checks = schema.cache["checks"] = simple and [
            (info.held, info.kind.check) for info in schema.fields.values()
        ]
    if checks is False or (instance._pk is not None and type(instance._pk) is not schema.key.type):
        return False
    try:
        for held, check in checks:
            check(held(instance))
        if instance._pk is not None:
            schema.key.check(instance._pk)
    except (Unfit, RecursionError):
        return False
    return True


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


@dataclass(slots=True)
class _Pending:
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
    for instance in instances:
        _check_supported(instance._schema, home)
        instance.before_save()
        _fill(instance)
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


def _check_supported(schema: Schema, home: Storage) -> None:
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
    changed = _missing_fill(target, instance, before) | codec.difference(schema, before, instance)
    if not changed:
        if check:
            target_check: Change | None = Patch(schema, key, expect=target.expectation(before))
        else:
            target_check = None
        return _Pending(instance, key, before, target_check, created=False)
    expect: Expectation = target.expectation(before) if check else Expect.PRESENT
    patch = Patch(schema, key, changed, expect=expect)
    after = codec.apply(before, patch)
    _check_view(target, schema, key, after)
    return _Pending(instance, key, after, patch, created=False)


def _prepare_new(
    instance: Any, target: Storage, *, replace: bool, unknown: Mapping[str, Any]
) -> _Pending:
    schema: Schema = instance._schema
    key = instance._pk if instance._pk is not None else _new_key(schema)
    undeclared = dict(unknown)
    if instance._stored is not None:
        undeclared |= unknown_fields(instance, schema)
    if schema.fill:
        undeclared |= _undeclared(schema)
    stored = target.codec.encode(instance, undeclared)
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
