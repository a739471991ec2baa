"""Lookups of primary keys, and of places of which the model declares nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from pymodels.ext.mongodb import scalars
from pymodels.ext.mongodb.paths import Way
from pymodels.ext.mongodb.scalars import Condition, nothing
from pymodels.planning import Superset
from pymodels.values import family

# --- keys -----------------------------------------------------------------------------------


def _as_key(way: Way, operand: Any) -> Any:
    """Return the key that equals an operand, ``NotImplemented`` if none can."""
    wanted = way.place.kind.annotation
    if type(operand) is wanted:
        if wanted is int and not -(2**63) <= operand < 2**63:
            return NotImplemented
        return operand
    is_number = wanted is int and isinstance(operand, float | Decimal)
    if is_number and -(2**63) <= operand < 2**63 and operand == int(operand):
        return int(operand)
    return NotImplemented


def _equals(way: Way, operand: Any) -> Any:
    key = _as_key(way, operand)
    return nothing(way) if key is NotImplemented else {"_id": key}


def _is_in(way: Way, operands: Any) -> Any:
    keys = [_as_key(way, operand) for operand in operands]
    return {"_id": {"$in": [key for key in keys if key is not NotImplemented]}}


def _exists(way: Way, operand: bool) -> Any:
    return {} if operand else nothing(way)


def _compared(name: str) -> Callable[[Way, Any], Any]:
    def answer(way: Way, operand: Any) -> Any:
        if operand is None:
            return nothing(way)
        key = _as_key(way, operand)
        return NotImplemented if key is NotImplemented else {"_id": {f"${name}": key}}

    return answer


def _between(way: Way, ends: Any) -> Any:
    if any(end is None for end in ends):
        return nothing(way)
    low, high = (_as_key(way, end) for end in ends)
    if low is NotImplemented or high is NotImplemented:
        return NotImplemented
    return {"_id": {"$gte": low, "$lte": high}}


LOOKUPS: Final[Mapping[str, Callable[[Way, Any], Any]]] = {
    "equals": _equals,
    "in": _is_in,
    "exists": _exists,
    "gt": _compared("gt"),
    "gte": _compared("gte"),
    "lt": _compared("lt"),
    "lte": _compared("lte"),
    "between": _between,
    "startswith": scalars.startswith,
    "endswith": scalars.endswith,
    "contains": scalars.contains,
    "iequals": scalars.iequals,
    "icontains": scalars.icontains,
    "istartswith": scalars.istartswith,
    "iendswith": scalars.iendswith,
}


# --- open places ----------------------------------------------------------------------------


def _hidden(way: Way, condition: Condition) -> Any:
    """Add what an open place shows as something else: tags, and the forms that others declare."""
    forms = ["object", "decimal", "binData", "objectId", "javascript", "regex", "dbPointer"]
    return Superset({"$or": [condition, {way.path: {"$type": forms}}]})


def _open_equals(way: Way, operand: Any) -> Any:
    if operand is None:
        return Superset({way.path: None})
    if family(operand) == "text":
        return _hidden(way, {way.path: {"$eq": operand}})
    if family(operand) == "number":
        try:
            near = float(operand)
        except OverflowError:
            return NotImplemented
        around = abs(near) * 1e-12 + 1e-300
        return _hidden(way, {way.path: {"$gte": near - around, "$lte": near + around}})
    return NotImplemented


def _open_exists(way: Way, operand: bool) -> Any:
    return {way.path: {"$exists": operand}}


OPEN: Final[Mapping[str, Callable[[Way, Any], Any]]] = {
    "equals": _open_equals,
    "exists": _open_exists,
}
