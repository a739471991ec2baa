"""Lookups of declared lists: members, and how many there are."""

from __future__ import annotations

from typing import Any

from pymodels.ext.mongodb.codec import is_naive, is_scalar
from pymodels.ext.mongodb.paths import Way
from pymodels.ext.mongodb.scalars import literal, nothing
from pymodels.kinds import Array, Kind, Union
from pymodels.planning import Superset


def items_of(kind: Kind) -> Kind | None:
    """Return the kind of the members, where a place holds one kind of list with plain members."""
    some = kind.some if isinstance(kind, Union) else (kind,)
    if len(some) != 1 or not isinstance(some[0], Array):
        return None
    return some[0].item if is_scalar(some[0].item) else None


def _member(way: Way, operand: Any) -> Any:
    item = items_of(way.place.kind)
    if item is None:
        return NotImplemented
    if operand is None:
        return {way.path: {"$elemMatch": {"$eq": None}}}
    if "instant" in item.families and not is_naive(item):
        return NotImplemented
    found = literal(operand, item)
    if found is NotImplemented:
        return NotImplemented
    return {way.path: {"$elemMatch": {"$eq": found}}}


def contains(way: Way, operand: Any) -> Any:
    return _member(way, operand)


def contains_all(way: Way, operands: Any) -> Any:
    found = [_member(way, operand) for operand in operands]
    if NotImplemented in found or items_of(way.place.kind) is None:
        return NotImplemented
    return {"$and": [{way.path: {"$type": "array"}}, *found]}


def contains_any(way: Way, operands: Any) -> Any:
    found = [_member(way, operand) for operand in operands]
    if NotImplemented in found or items_of(way.place.kind) is None:
        return NotImplemented
    return {"$or": found} if found else nothing(way)


def size(way: Way, operand: int) -> Any:
    if items_of(way.place.kind) is None:
        return NotImplemented
    if not 0 <= operand < 2**31:
        return nothing(way)
    if "set" in way.place.kind.families:
        return NotImplemented  # what others wrote there may repeat itself
    return {way.path: {"$size": operand}}


def equals(way: Way, operand: Any) -> Any:
    if operand is None:
        return Superset({way.path: None})  # a list with null among its members is found as well
    item = items_of(way.place.kind)
    if item is None or type(operand) not in (list, tuple):
        return NotImplemented
    members = [None if member is None else literal(member, item) for member in operand]
    if NotImplemented in members:
        return NotImplemented
    return Superset({way.path: {"$eq": members}})  # or a list with this one among its members


def exists(way: Way, operand: bool) -> Any:
    return {way.path: {"$exists": operand}}
