"""Grouping and summing in the server, by an aggregation pipeline.

Only where its answer is the written one: values with one plain kind, sums of ints within 64 bits.
A record that does not fit its model is counted as odd, and one odd record leaves all to Python,
which says what is wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
from bson.int64 import Int64

from pymodels.ext.mongodb.engine import unfit_among
from pymodels.ext.mongodb.paths import way_to
from pymodels.kinds import Choice, Scalar, Union
from pymodels.planning import Plan
from pymodels.schema import Place

if TYPE_CHECKING:
    from pymodels.ext.mongodb.filters import Filter
    from pymodels.ext.mongodb.storage import Storage

_NULL: Final = ("missing", "null")
_TYPES: Final[Mapping[Any, tuple[str, ...]]] = {
    int: ("int", "long"),
    float: ("int", "long", "double"),
    str: ("string",),
    bool: ("bool",),
    date: ("string",),
    UUID: ("binData",),
}
"""The BSON types of the values, of each declared type, that MongoDB groups and sorts as written."""

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Group:
    """What is asked of each group: the places to group by, and what to compute of another one."""

    places: tuple[Place, ...]
    function: str
    counted: Place | None


def answer(places: Sequence[Place], function: str, counted: Place | None) -> Any:
    """Return the group that MongoDB can be asked for, ``NotImplemented`` where Python has to."""
    if any(_types_at(place) in (None, _TYPES[float]) for place in places):
        return NotImplemented
    if counted is not None and not _is_countable(counted, function):
        return NotImplemented
    return Group(tuple(places), function, counted)


def rows(storage: Storage, plan: Plan, group: Group) -> Rows | None:
    """Return a row for each group of what *plan* finds; None if a record does not fit."""
    if plan.most == 0:
        return []
    collection = storage.collection(plan.schema)
    if unfit_among(plan, collection, None):
        return None
    made: Rows = []
    for found in collection.aggregate(_pipeline(plan, group), allowDiskUse=True):
        values = _values(group.places, found["_id"])
        result = _result(group, found)
        if found["odd"] or values is None or result is NotImplemented:
            return None
        made.append((*values, result))
    return made


def _types_at(place: Place) -> tuple[str, ...] | None:
    """Return the BSON types that MongoDB groups at a place as is written; None for Python."""
    if place.is_key:
        return ("string", "int", "long", "binData", "objectId")
    way = way_to(place)
    if way is None or way.within or place.field is None:
        return None
    kind = place.kind
    some = kind.some if isinstance(kind, Union) else (kind,)
    if len(some) != 1 or len(kind.families) != 1:
        return None
    if isinstance(some[0], Choice):
        return _TYPES[str if "text" in kind.families else int]
    return _TYPES.get(some[0].annotation) if isinstance(some[0], Scalar) else None


def _is_countable(place: Place, function: str) -> bool:
    types = _types_at(place)
    if place.is_key or types is None:
        return False
    if function in ("sum", "avg"):
        return types == _TYPES[int]
    return types != _TYPES[UUID]


def _path(place: Place) -> str:
    return f"${'.'.join((place.stored, *place.inside))}" if not place.is_key else "$_id"


def _odd(place: Place) -> dict[str, Any]:
    """Return the expression that is true of a value that does not fit its place."""
    return {"$not": {"$in": [{"$type": _path(place)}, [*(_types_at(place) or ()), *_NULL]]}}


def _pipeline(plan: Plan, group: Group) -> list[dict[str, Any]]:
    fragment: Filter | None = plan.native
    stages: list[dict[str, Any]] = []
    if fragment is not None:
        stages.append({"$match": fragment.strict})
    if plan.skip or plan.most is not None:
        if plan.native_order is not None:
            stages.append({"$sort": dict(plan.native_order)})
        if plan.skip:
            stages.append({"$skip": plan.skip})
        if plan.most is not None:
            stages.append({"$limit": plan.most})
    counted = () if group.counted is None else (group.counted,)
    odd = [_odd(place) for place in (*group.places, *counted) if not place.is_key]
    asked: dict[str, Any] = {
        "_id": {f"g{n}": {"$ifNull": [_path(one), None]} for n, one in enumerate(group.places)},
        "odd": {"$sum": {"$cond": [{"$or": odd}, 1, 0]}},
        "result": {"$sum": 1},
    }
    for place in counted:
        path = _path(place)
        operator = "$sum" if group.function == "avg" else f"${group.function}"
        asked["result"] = {operator: path}
        asked["numbers"] = {"$sum": {"$cond": [{"$isNumber": path}, 1, 0]}}
    return [*stages, {"$group": asked}]


def _values(places: Sequence[Place], found: Any) -> list[Any] | None:
    """Return the values of a group as the model declares them; None if one of them does not fit."""
    try:
        return [_declared(place, found[f"g{number}"]) for number, place in enumerate(places)]
    except msgspec.ValidationError:
        return None


def _declared(place: Place, value: Any) -> Any:
    if type(value) is Int64:
        value = int(value)
    if place.is_key or value is None:
        return value
    return msgspec.convert(value, place.kind.annotation, builtin_types=(bytes, UUID))


def _result(group: Group, found: Any) -> Any:
    result, place = found["result"], group.counted
    if place is None:
        return int(result)
    if group.function in ("sum", "avg"):
        if not isinstance(result, int):  # beyond 64 bits the server goes on with floats
            return NotImplemented
        if group.function == "sum":
            return int(result)
        return int(result) / found["numbers"] if found["numbers"] else None
    if isinstance(result, float) and math.isnan(result):
        return NotImplemented
    try:
        return _declared(place, result)
    except msgspec.ValidationError:
        return NotImplemented
