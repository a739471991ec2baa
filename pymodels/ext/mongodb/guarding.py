"""A record as it was read, as the condition of a command: the revision, checked by the server.

The condition holds of no other record than the one that was read, type by type. Where MongoDB's
own sameness is too wide for that (numbers in lists, 0.0 and -0.0), there is none, and the record is
read and compared in a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from bson.int64 import Int64
from bson.objectid import ObjectId

from pymodels.ext.mongodb.paths import is_known
from pymodels.ext.mongodb.values import EXTRA, micros

_TYPES: Final[Mapping[type, tuple[str, ...]]] = {
    str: ("string",),
    bool: ("bool",),
    int: ("int", "long"),
    Int64: ("int", "long"),
    float: ("double",),
    datetime: ("date",),
    bytes: ("binData",),
    UUID: ("binData",),
    ObjectId: ("objectId",),
    type(None): ("null",),
}
_NUMBERS: Final = frozenset({int, Int64, float})


def unchanged(key: Any, stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the filter of the record under *key* if it is still as *stored*; None if none is."""
    parts: list[Any] = []
    for name, value in stored.items():
        if not is_known(name):
            return None
        part = _same(name, value)
        if part is None:
            return None
        parts += part
    own = len(stored) + 1
    bookkeeping = {"$cond": [{"$eq": [{"$type": f"${EXTRA}"}, "missing"]}, own, own + 1]}
    parts.append({"$eq": [{"$size": {"$objectToArray": "$$ROOT"}}, bookkeeping]})
    return {"_id": key, "$expr": {"$and": parts}}


def _same(name: str, value: Any) -> list[Any] | None:
    path = f"${name}"
    types = _TYPES.get(type(value))
    if types is None:
        if not _is_plain(value):
            return None
        return [{"$eq": [path, {"$literal": value}]}]
    if type(value) is float and not abs(value) > 0:
        return None  # neither 0.0 nor what is no number is like itself alone
    parts: list[Any] = [{"$eq": [path, {"$literal": value}]}]
    if type(value) in _NUMBERS:
        parts.append({"$in": [{"$type": path}, list(types)]})
    if type(value) is datetime:
        beside, full = f"${EXTRA}.us.{name}", micros(value)
        if full % 1000:
            parts.append({"$eq": [beside, {"$literal": full}]})
        else:
            within = [{"$gt": [beside, full]}, {"$lt": [beside, full + 1000]}]
            parts.append({"$not": {"$and": within}})
    return parts


def _is_plain(value: Any) -> bool:
    """Tell whether there is only one way to write what a list or mapping holds."""
    if type(value) is dict:
        return all(map(_is_plain, value.values()))
    if type(value) is list:
        return all(map(_is_plain, value))
    return type(value) in _TYPES and type(value) not in _NUMBERS
