"""What an index, or the keys, find of one condition, exactly: the commonest conditions, at once.

``ByIndex`` and ``planning.split`` know of every condition what finds its records, or more than
those. Here is what takes few calls, and no second look at a record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pymodels.byindex import (
    EVERY,
    WHOLE_LOOKUPS,
    AllOf,
    AnyOf,
    ByIndex,
    InIndex,
    Range,
    ranges_of,
    shortened,
)
from pymodels.conditions import And, Condition, Lookup, Not, Or
from pymodels.encoding import ENCODERS, FAMILIES, encode, successor, text_prefix
from pymodels.ordered import LONGEST, WHOLE, OrderedIndex, StoredPath
from pymodels.planning import Superset
from pymodels.schema import Place
from pymodels.values import ARRAYS

_COMPARED: Final = frozenset({"gt", "gte", "lt", "lte", "between"})
MOST_POINTS: Final = 1000
"""How many values are looked up one by one, before all records are gone through instead."""
_BIG: Final = 1 << 63
"""No greater int is stored, and those that are less have short entries."""
_SPANS: Final = {int: FAMILIES["number"], str: FAMILIES["text"]}


def found_by(native: ByIndex, condition: Condition) -> Any:
    """Return the fragment that finds exactly the records of a condition, None if nothing helps.

    ``NotImplemented`` where it takes a closer look to tell.
    """
    if type(condition) is not Lookup:
        return _found_by_several(native, condition)
    name, place, operand = condition.name, condition.place, condition.operand
    if place is None:
        return NotImplemented
    if place.way not in native.alone:
        if place.way in native.members and not native.columns:
            return _found_by_members(native.members[place.way], place, name, operand)
        return _found_without_index(native, place, name, operand)
    index = native.alone[place.way]
    if name == "equals":
        entry = ENCODERS[type(operand)](operand) if type(operand) in ENCODERS else encode(operand)
        if entry[LONGEST - 1 :]:
            return NotImplemented
        return InIndex(index, ((entry, entry + b"\0"),), True)
    if native.columns:
        return NotImplemented
    if name == "in":
        return _at_points(index, operand)
    if name in _COMPARED:
        between = _plain_range(name, operand) or _range(index, 0, place, name, operand)
    elif name == "startswith" and len(operand) < LONGEST // 8:
        low = text_prefix(operand)
        between = (low, successor(low))
    elif name in WHOLE_LOOKUPS and not (name == "exists" and operand):
        between = _range(index, 0, place, name, operand)
    else:
        return NotImplemented if place.way in native.several else None
    return NotImplemented if between is None else InIndex(index, (between,))


def equality(native: ByIndex, lookup: Lookup) -> tuple[OrderedIndex, bytes] | None:
    """Return the index and the entry that answer an equality, if there are such."""
    place = lookup.place
    if lookup.name != "equals" or place is None or place.is_key:
        return None
    try:
        index = native.alone[place.way]
    except KeyError:
        return None
    operand = lookup.operand
    entry = ENCODERS[type(operand)](operand) if type(operand) in ENCODERS else encode(operand)
    return None if entry[LONGEST - 1 :] else (index, entry)


def _found_without_index(native: ByIndex, place: Place, name: str, operand: Any) -> Any:
    if place.way in native.paths or native.columns:
        return NotImplemented
    if not place.is_key:
        is_unique = place.field is not None and place.field.options.unique
        return NotImplemented if is_unique else None
    by_key = native.keys.lookups
    found = by_key[name](place, operand) if name in by_key else NotImplemented
    return NotImplemented if type(found) is Superset else found


def _found_by_members(index: OrderedIndex, place: Place, name: str, operand: Any) -> Any:
    if place.kind.is_open or not place.kind.families <= ARRAYS:
        return NotImplemented  # text contains, too
    if name == "contains":
        return _at_points(index, (operand,))
    return _at_points(index, operand) if name == "contains_any" else NotImplemented


def _at_points(index: OrderedIndex, operands: tuple[Any, ...]) -> Any:
    if not operands or operands[MOST_POINTS:]:
        return NotImplemented
    encoder = ENCODERS.get(type(operands[0]), encode)
    for operand in operands:
        if type(operand) is not type(operands[0]):
            encoder = encode
    entries = sorted(set(map(encoder, operands)))
    if max(map(len, entries)) >= LONGEST:
        return NotImplemented
    ranges: tuple[Range, ...] = ()
    for entry in entries:
        ranges += ((entry, entry + b"\0"),)
    return InIndex(index, ranges, True)


def _range(
    index: OrderedIndex, position: int, place: Place, name: str, operand: Any
) -> Range | None:
    asked = ranges_of(index.parts[position], place, name, operand)
    if asked is None or not asked.exact:
        return None
    ranges, wider = shortened(asked.ranges)
    return None if wider or len(ranges) != 1 else ranges[0]


def _plain_range(name: str, operand: Any) -> Range | None:
    """Return what ``ranges_of`` does if operands are of the commonest types and not long."""
    low, high = operand if name == "between" else (operand, operand)
    kind = type(low)
    if kind not in _SPANS or type(high) is not kind:
        return None
    (start, end), encoder = _SPANS[kind], ENCODERS[kind]
    if name == "gt":
        start = successor(encoder(low))
    elif name in ("gte", "between"):
        start = encoder(low)
    if name == "lt":
        end = encoder(high)
    elif name in ("lte", "between"):
        end = successor(encoder(high))
    if kind is int:
        is_short = -_BIG < low < _BIG and -_BIG < high < _BIG
    else:
        is_short = len(start) <= LONGEST >= len(end)
    return (start, end) if start < end and is_short else None


# --- several fields, of one index -----------------------------------------------------------


def found_by_fields(native: ByIndex, parts: Sequence[Condition]) -> tuple[InIndex, int] | None:
    """Return what an index of several fields finds of all that any index is asked about.

    Nothing finds fewer records then. It comes with how many of the fields have but one value.
    """
    asked: dict[StoredPath, Lookup] = {}
    for part in parts:
        if type(part) is not Lookup or part.place is None or part.place.is_key:
            return None
        place = part.place
        if place.field is not None and place.field.options.unique:
            return None
        if place.way in native.paths:
            if place.way in asked:
                return None
            asked[place.way] = part
    for index in native.compound:
        low = high = b""
        used = equal = 0
        for one in index.parts:
            if one.path not in asked:
                break
            lookup = asked[one.path]
            used += 1
            if lookup.name == "equals":
                low += encode(lookup.operand)
                equal += 1
                continue
            between = _between(index, used - 1, lookup)
            if between is None:
                used = 0
            else:
                low, high = low + between[0], low + between[1]
            break
        if used and not asked.keys() - {one.path for one in index.parts[:used]}:
            high = high or successor(low)
            is_short = len(low) < LONGEST >= len(high)
            return (InIndex(index, ((low, high),)), equal) if is_short else None
    return None


def _between(index: OrderedIndex, position: int, lookup: Lookup) -> Range | None:
    name, place = lookup.name, lookup.place
    if place is None or name in ("in", "exists"):
        return None
    found = _plain_range(name, lookup.operand) if name in _COMPARED else None
    return found or _range(index, position, place, name, lookup.operand)


# --- several of them ------------------------------------------------------------------------


def _found_by_several(native: ByIndex, condition: Condition) -> Any:
    """Return what finds the records of which some, or all, parts are true, or the only one not."""
    if native.columns:
        return NotImplemented
    if type(condition) is Or:
        some: tuple[Any, ...] = ()
        for part in condition.parts:
            one = found_by(native, part)
            if type(one) is not InIndex and type(one) is not AllOf:
                return None if one is None else NotImplemented
            some += (one,)
        return AnyOf(some) if some else NotImplemented
    if type(condition) is And:
        every: tuple[Any, ...] = ()
        for part in condition.parts:
            one = found_by(native, part)
            if type(one) is not InIndex:
                return NotImplemented
            every += (one,)
        return AllOf(every) if every else NotImplemented
    if type(condition) is not Not:
        return NotImplemented
    inner = found_by(native, condition.part)
    if type(inner) is not InIndex or inner.ranges[1:] or inner.index.parts[0].form != WHOLE:
        return None if inner is None else NotImplemented
    ((first, last),) = EVERY
    ((low, high),) = inner.ranges
    return InIndex(inner.index, ((first, low), (high, last)))
