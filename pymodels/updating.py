"""Changing and deleting what a query finds, in one batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pymodels import conditions, persistence
from pymodels.changes import Change, Delete, Patch
from pymodels.errors import UnknownField, UsageError, ValidationError
from pymodels.expressions import Arithmetic, Constant, Expression, F, fields_in
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
    codec = target.codec
    values: dict[tuple[str, ...], Any] = {}
    operations: dict[tuple[str, ...], Expression] = {}
    for name, value in given.items():
        info = _changeable(schema, name)
        if isinstance(value, F | Arithmetic | Constant):
            for path in fields_in(value):
                if path not in schema.fields:
                    raise UnknownField(
                        f"F({path!r}) reads a field, and {schema.name} has none of that name"
                        f"{nearest(path, schema.fields)}"
                    )
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
    schema: Schema = query.model.__schema__

    def change(key: Any, stored: Any) -> Change:
        return Delete(schema, key, target.expectation(stored))

    plan = query.plan()
    done = target.delete_found(plan)
    return target.rewrite(plan, change) if done is None else done


def _changeable(schema: Schema, name: str) -> FieldInfo:
    if name in ("pk", schema.key_name):
        raise UsageError("the key of a record does not change: save_as() stores a copy")
    if name not in schema.fields:
        whole = " (update sets whole fields)" if "__" in name else ""
        raise UnknownField(
            f"{schema.name} has no field {name!r} to update{whole}{nearest(name, schema.fields)}"
        )
    return schema.fields[name]


def _fit(schema: Schema, info: FieldInfo, value: Any) -> Any:
    reason = ""
    if info.reference is not None:
        accept_all(value, info.reference, f"{schema.name}.{info.name}")
        value, unsaved = persistence.reference_keys(value)
        if unsaved:
            reason = f"refers to {unsaved}, which is not saved: save it first"
    reason = reason or persistence.problem(info, value)
    if reason:
        raise ValidationError(
            f"{schema.name}.{info.name} cannot be updated: {reason}", [(info.name, reason)]
        )
    return value
