"""Changing and deleting what a query finds, in one batch."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pymodels import conditions, deleting, expressions, persistence, soundness
from pymodels.changes import Change, Patch
from pymodels.checks import Unfit
from pymodels.errors import OperandInvalid, UnknownField, UsageError, ValidationError
from pymodels.expressions import ListChange, Operation, Step, fields_in
from pymodels.kinds import array_in
from pymodels.lookups import nearest
from pymodels.planning import matcher
from pymodels.references import accept_all
from pymodels.schema import FieldInfo, Schema

if TYPE_CHECKING:
    from pymodels.query import Query
    from pymodels.storage import Storage


def update(query: Query[Any], target: Storage, given: Mapping[str, Any]) -> int:
    """Set the *given* fields of every record that *query* finds; return how many."""
    if not given:
        raise UsageError("update needs at least one field=value")
    target.check_writable()
    schema: Schema = query.model.__schema__
    persistence.check_supported(schema, target.home)
    codec = target.codec
    values: dict[tuple[str, ...], Any] = {}
    operations: dict[tuple[str, ...], Operation] = {}
    for name, value in given.items():
        info = _changeable(schema, name)
        if isinstance(value, expressions.Node):
            for path in fields_in(value):  # type: ignore[arg-type]  # a closed union
                if path not in schema.fields:
                    raise UnknownField(
                        f"F({path!r}) reads a field, and {schema.name} has none of that name"
                        f"{nearest(path, schema.fields)}"
                    )
            if isinstance(value, ListChange):
                value = _list_change(schema, info, value)
            operations[(info.stored,)] = value
        else:
            values[(info.stored,)] = codec.stored_value(info.kind, _fit(schema, info, value))
    demanded = schema.must != conditions.EVERYTHING
    matches = matcher(codec, schema, schema.must)

    def change(key: Any, stored: Any) -> Change:
        patch = Patch(schema, key, values, operations=operations, expect=target.expectation(stored))
        if demanded and not matches(key, codec.apply(stored, patch)):
            raise ValidationError(
                f"{schema.name} {key!r} cannot be updated: its model demands {schema.must!r}"
            )
        return patch

    plan = query.plan()
    if not demanded or not _touches(schema, values.keys() | operations.keys()):
        done = target.update_found(plan, values, operations)
        if done is not None:
            return done
    return target.rewrite(plan, change)


def _touches(schema: Schema, changed: Iterable[tuple[str, ...]]) -> bool:
    """Tell whether what the view demands could hold no longer once some fields have changed."""
    names = {path[0] for path in changed}
    return any(
        lookup.place is None or lookup.place.stored in names
        for lookup in conditions.lookups_in(schema.must)
    )


def delete(query: Query[Any], target: Storage) -> int:
    """Delete every record that *query* finds; return how many."""
    target.check_writable()
    return deleting.delete_found(target, query.model.__schema__, query.plan())


def _changeable(schema: Schema, name: str) -> FieldInfo:
    if name in ("pk", schema.key_name):
        raise UsageError("the key of a record does not change: save_as() stores a copy")
    if name not in schema.fields:
        whole = " (update sets whole fields)" if "__" in name else ""
        raise UnknownField(
            f"{schema.name} has no field {name!r} to update{whole}{nearest(name, schema.fields)}"
        )
    return schema.fields[name]


def _list_change(schema: Schema, info: FieldInfo, change: ListChange) -> ListChange:
    """Check that a field can be changed like that, and return *change* with members of its kind."""
    where = f"{schema.name}.{info.name}"
    if schema.fields[change.source.path] is not info:
        raise OperandInvalid(
            f"{where}: {change!r} changes the list in {change.source.path!r} itself; write "
            f"update({change.source.path}={change!r})"
        )
    array = array_in(info.kind)
    if "tuple" in info.kind.families and not info.kind.is_open:
        raise OperandInvalid(f"{where} holds a tuple, which does not change: give a new one")
    if array is None and not info.kind.is_open:
        held = ", ".join(sorted(info.kind.families))
        raise OperandInvalid(f"{where} holds {held}, and {change!r} is for a list or a set")
    shape = getattr(array, "shape", list)
    if shape is set and any(step.name == "append" for step in change.steps):
        raise OperandInvalid(
            f"{where} holds a set, which has no end to append to: write {change.source!r}"
            ".add_to_set(...)"
        )
    steps = (
        Step(step.name, tuple(_member(info, array, one, where) for one in step.members))
        for step in change.steps
    )
    return ListChange(tuple(steps), change.source)


def _member(info: FieldInfo, array: Any, member: Any, where: str) -> Any:
    reason = ""
    if info.reference is not None:
        accept_all(member, info.reference, where)
        member, unsaved = soundness.reference_keys(member)
        if unsaved:
            reason = f"refers to {unsaved}, which is not saved: save it first"
    try:
        (info.kind if array is None else array.item).check(member)
    except Unfit as error:
        reason = reason or (f"{error.trail}: {error.reason}" if error.trail else error.reason)
    if reason:
        raise ValidationError(f"{where} cannot be updated: {reason}", [(info.name, reason)])
    return copy.deepcopy(member)  # an update does not change with what it was given


def _fit(schema: Schema, info: FieldInfo, value: Any) -> Any:
    reason = ""
    if info.reference is not None:
        accept_all(value, info.reference, f"{schema.name}.{info.name}")
        value, unsaved = soundness.reference_keys(value)
        if unsaved:
            reason = f"refers to {unsaved}, which is not saved: save it first"
    reason = reason or info.problem(value)
    if reason:
        raise ValidationError(
            f"{schema.name}.{info.name} cannot be updated: {reason}", [(info.name, reason)]
        )
    return value
