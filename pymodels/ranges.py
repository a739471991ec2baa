"""Where the records of a lookup lie among the entries of an index: as ranges of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, date
from typing import Any, Final, TypeAlias

import msgspec

from pymodels.encoding import FAMILIES, encode, successor, text_prefix
from pymodels.ordered import CASELESS, LONGEST, MEMBERS, TRIGRAM, WHOLE, Part
from pymodels.schema import Place
from pymodels.values import ARRAYS, NULLS, family

Range: TypeAlias = tuple[bytes, bytes]
"""Entries from the first bytes (included) to the second ones (not included)."""


class Ranges(msgspec.Struct, frozen=True):
    """Where the records of a lookup lie in an index, of one value.

    ``points`` says that each range is one value's, ``exact`` that no other records lie there.
    """

    ranges: tuple[Range, ...]
    points: bool
    exact: bool


# --- ranges ---------------------------------------------------------------------------------


def point(encoded: bytes) -> Range:
    return encoded, successor(encoded)


def united(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return ranges in order, without those that are there twice or empty."""
    return tuple(sorted({one for one in ranges if one[0] < one[1]}))


def common(left: Sequence[Range], right: Sequence[Range]) -> tuple[Range, ...]:
    """Return what lies in both of two sequences of ranges.

    >>> common([(b"a", b"d"), (b"x", b"z")], [(b"c", b"y")])
    ((b'c', b'd'), (b'x', b'y'))
    """
    if len(left) == len(right) == 1:
        ((low, high),), ((start, end),) = left, right
        if low < start:
            low = start
        if high > end:
            high = end
        return ((low, high),) if low < high else ()
    return united((max(one[0], other[0]), min(one[1], other[1])) for one in left for other in right)


def outside(ranges: Sequence[Range]) -> tuple[Range, ...]:
    r"""Return all entries that lie in none of some ranges, which are in order.

    >>> outside([(b"a", b"c"), (b"c", b"d")])
    ((b'\x01', b'a'), (b'd', b'\xff'))
    """
    found: tuple[Range, ...] = ()
    start = _FIRST
    for low, high in ranges:
        if start < low:
            found += ((start, low),)
        start = high
    return (*found, (start, _LAST)) if start < _LAST else found


_FIRST: Final = b"\x01"
_LAST: Final = b"\xff"
EVERY: Final[tuple[Range, ...]] = ((_FIRST, _LAST),)
NULL: Final[Range] = FAMILIES["null"]


# --- lookups --------------------------------------------------------------------------------

_Found: TypeAlias = Ranges | None


def _values(operands: Iterable[Any]) -> Ranges:
    encoded = {encode(operand) for operand in operands}
    return Ranges(united(map(point, encoded)), True, True)


def _bounds(low: Any, high: Any, *, above: bool = False, below: bool = False) -> _Found:
    """Return the values of one family between two, each None for no end, *above* not included."""
    given = low if low is not None else high
    kind = family(given)
    if kind in NULLS or kind not in FAMILIES:
        return None
    start, end = FAMILIES[kind]
    if low is not None:
        start = encode(low) if not above else successor(encode(low))
    if high is not None:
        end = encode(high) if below else successor(encode(high))
    return Ranges(united([(start, end)]), False, exact=kind not in ("date", "instant"))


NOTHING: Final = Ranges((), True, True)


def _compared(**options: bool) -> Callable[[Any], _Found]:
    ends = {"below" if name == "below" else "above": True for name in options if name != "high"}

    def answer(operand: Any) -> _Found:
        if operand is None:
            return NOTHING
        if options.get("high"):
            return _bounds(None, operand, **ends)
        return _bounds(operand, None, **ends)

    return answer


def _between(ends: Any) -> _Found:
    low, high = ends
    if low is None or high is None or family(low) != family(high):
        return NOTHING
    return _bounds(low, high)


def _begins(prefix: str) -> Ranges:
    return Ranges((point(text_prefix(prefix)),), False, True)


def _exists(wanted: bool) -> _Found:
    return None if wanted else Ranges((NULL,), True, False)


def in_year(number: int) -> Ranges:
    """Return where the moments of a year lie."""
    if not MINYEAR <= number <= MAXYEAR:
        return NOTHING
    low = encode(date(number, 1, 1))
    high = encode(date(number + 1, 1, 1)) if number < MAXYEAR else FAMILIES["date"][1]
    return Ranges(((low, high),), False, True)


_OF_WHOLE: Final[Mapping[str, Callable[[Any], _Found]]] = {
    "equals": lambda operand: _values((operand,)),
    "in": _values,
    "gt": _compared(above=True),
    "gte": _compared(),
    "lt": _compared(high=True, below=True),
    "lte": _compared(high=True),
    "between": _between,
    "startswith": _begins,
    "exists": _exists,
    "year": in_year,
}
_OF_MEMBERS: Final[Mapping[str, Callable[[Any], _Found]]] = {
    "contains": lambda operand: _values((operand,)),
    "contains_any": _values,
    # One of them is as good as all, to find a superset.
    "contains_all": lambda operands: (
        Ranges(_values(list(operands)[:1]).ranges, True, False) if operands else None
    ),
}
_CASELESS: Final[Mapping[str, Callable[[Any], _Found]]] = {
    "iequals": lambda operand: _values((operand.casefold(),)),
    "istartswith": lambda operand: _begins(operand.casefold()),
    "equals": lambda operand: (
        Ranges(_values((operand.casefold(),)).ranges, True, False) if type(operand) is str else None
    ),
}
_TABLES: Final = {WHOLE: _OF_WHOLE, MEMBERS: _OF_MEMBERS, CASELESS: _CASELESS}

ANSWERED: Final = frozenset().union(*_TABLES.values())
"""The lookups that some index answers by ranges."""


def ranges_of(part: Part, place: Place, lookup: str, operand: Any) -> Ranges | None:
    """Return where the records of a lookup lie among the values of a part, None if nobody knows."""
    if part.form == TRIGRAM:
        return None
    if part.form == MEMBERS and (place.kind.is_open or not place.kind.families <= ARRAYS):
        return None  # text contains, too
    answer = _TABLES[part.form].get(lookup)
    found = None if answer is None else answer(operand)
    if found is None or found.exact:
        return found
    if lookup in ("gt", "gte", "lt", "lte", "between"):
        # Dates and instants lie among each other, and yet do not compare.
        both = {"date", "instant"} <= place.kind.families
        return Ranges(found.ranges, found.points, exact=not both)
    return found


def shortened(ranges: Iterable[Range]) -> tuple[tuple[Range, ...], bool]:
    """Return ranges as far as entries go, and whether that made them too wide."""
    cut: list[Range] = []
    wider = False
    for low, high in ranges:
        if len(low) <= LONGEST and len(high) <= LONGEST:
            cut.append((low, high))
            continue
        wider = True
        ends = high if len(high) <= LONGEST else successor(high[:LONGEST])
        cut.append((low[:LONGEST], ends))
    return merged(cut), wider


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return ranges in order, those that meet made one.

    >>> merged([(b"c", b"e"), (b"a", b"d"), (b"x", b"z")])
    ((b'a', b'e'), (b'x', b'z'))
    """
    found: list[Range] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        elif low < high:
            found.append((low, high))
    return tuple(found)
