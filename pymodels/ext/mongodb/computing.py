"""What the operations of a patch give for one record, where Python computes them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from pymodels.changes import Patch, StoredPath
from pymodels.codecs import changed_open, check_result, fitted, reason_of, unfit_result
from pymodels.expressions import ListChange, changed_members, evaluate
from pymodels.ext.mongodb.values import neutral
from pymodels.kinds import array_in
from pymodels.schema import FieldInfo
from pymodels.values import ABSENT, order_key

if TYPE_CHECKING:
    from pymodels.ext.mongodb.codec import Bson


def computed(codec: Bson, stored: dict[str, Any], patch: Patch) -> dict[StoredPath, Any]:
    """Return the new stored values of the fields that *patch* computes."""
    found: dict[StoredPath, Any] = {}
    read: Callable[[str], Any] | None = None
    for path, operation in patch.operations.items():
        info = patch.schema.stored[path[0]]
        if isinstance(operation, ListChange):
            changed = _changed_list(codec, patch, info, stored, operation)
            if changed is not None:
                found[path] = changed
            continue
        if read is None:
            read = _reader(codec, stored, patch)
        value = evaluate(operation, read)
        if isinstance(value, Decimal) and "number" in info.kind.families:
            value = fitted(value)
        check_result(patch, info, operation, value)
        found[path] = codec.stored_value(info.kind, value)
    return found


def _reader(codec: Bson, stored: dict[str, Any], patch: Patch) -> Callable[[str], Any]:
    schema = patch.schema
    names = tuple(info.stored for info in schema.fields.values())
    try:
        record = codec.probe(schema, names)(stored)
    except msgspec.ValidationError as error:
        raise codec.invalid(schema, patch.key, stored, error) from error
    position = {name: number for number, name in enumerate(schema.fields)}

    def read(name: str) -> Any:
        value = getattr(record, f"f{position[name]}")
        return None if value is ABSENT else value

    return read


def _changed_list(
    codec: Bson, patch: Patch, info: FieldInfo, stored: dict[str, Any], change: ListChange
) -> Any:
    """Return what becomes of a stored list, or None if nothing does."""
    array = array_in(info.kind)
    members = stored.get(info.stored)
    if members is None:
        if all(step.name == "remove" for step in change.steps):
            return None
        members = []
    if array is None:
        after = changed_open(patch, info, change, neutral(members))
        return codec.stored_value(info.kind, after)
    item, shape = array.item, array.shape
    if not isinstance(members, list):
        wrong = msgspec.ValidationError("Expected `array`")
        raise codec.invalid(patch.schema, patch.key, stored, wrong) from wrong

    def same_as(member: Any) -> Any:
        return order_key(item.neutral(neutral(member)))

    def given(member: Any) -> Any:
        return codec.stored_value(array, shape((member,)))[0]

    changed = changed_members(change, members, given, same_as)
    if shape is set:
        changed.sort(key=same_as)
    try:
        value = msgspec.convert(
            list(map(neutral, changed)), info.kind.annotation, builtin_types=(bytes,)
        )
    except msgspec.ValidationError as error:  # a constraint of the field, on its length
        raise unfit_result(patch, info, change, reason_of(error)) from None
    check_result(patch, info, change, value)
    return changed
