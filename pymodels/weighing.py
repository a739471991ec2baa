"""Which of several ways to find records is taken, and in whose order they are read.

What that takes depends on how many records each way finds, which ``expecting`` counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from pymodels.byindex import AllOf, AnyOf, IndexOrder, InIndex
from pymodels.expecting import COUNTED, ENTRY, FETCH, FEW, PROBE, SCAN, SORT
from pymodels.planning import Term
from pymodels.ranges import EVERY
from pymodels.schema import Schema
from pymodels.sweeping import Sweep

if TYPE_CHECKING:
    from pymodels.shapes import PlanningReader

_UNDECIDED: Final = 0.1
"""What part of the records a condition is thought to keep that no index decides."""


class Candidate(msgspec.Struct, frozen=True):
    """A way to find records: a fragment, and which conditions it decides, and which exactly.

    ``asked`` are the conditions that an index is asked for each of its values, by their numbers;
    none where the fragment is what a single condition comes to. Of two that find as many records
    the one of the lower ``rank`` is taken.
    """

    fragment: Any
    exact: frozenset[int] = frozenset()
    decides: frozenset[int] = frozenset()
    asked: tuple[tuple[int, ...], ...] = ()
    rank: int = 0


NOTHING: Final = Candidate(None)
"""To go through all records."""


class Ordered(msgspec.Struct, frozen=True):
    """A way to read the records in the order that is asked for: the number of the candidate that
    the same index is, None where all of the index is read.
    """

    order: IndexOrder
    number: int | None = None


class Ways(msgspec.Struct, frozen=True):
    """All that can be done about a condition of which *every* part has to be true, and an order.

    ``found`` are the ways to find records, those of single entries first. ``obvious`` is the number
    of the one that is best whatever the sizes are, -1 where nothing finds records, None where sizes
    decide. ``by_key`` is the order where that of the keys is asked for, and ``sorts`` says that
    Python has to sort unless one of ``ordered`` is taken. ``pages`` says that it may be sooner to
    go through the records in order until a page is full, than to read all that an index finds.
    """

    every: frozenset[int]
    found: tuple[Candidate, ...]
    obvious: int | None
    ordered: tuple[Ordered, ...]
    sweep: Sweep | None
    by_key: str | None
    sorts: bool
    pages: bool


Asked: TypeAlias = tuple[tuple[Term, ...], bool, bool, bool]
"""The order that is asked for: its terms, whether keys descend, whether there is none, and whether
no more than some records are asked for."""

Taken: TypeAlias = tuple[Candidate, Any, int | None]
"""What finds the records, in whose order they come, None if Python sorts, and how many are
expected, None if nobody counted."""


def take(
    storage: PlanningReader,
    schema: Schema,
    ways: Ways,
    found: tuple[Candidate, ...],
    stop: int | None,
    *,
    fetches: bool,
) -> Taken:
    """Return the way that takes least.

    Args:
        storage: what counts.
        schema: what is asked about.
        ways: what can be done.
        found: the candidates of *ways*, with the fragments of the operands at hand.
        stop: how many records are asked for, None for all.
        fetches: whether more is asked for than keys.
    """
    obvious, ordered = ways.obvious, ways.ordered
    chosen = NOTHING if obvious is None or obvious < 0 else found[obvious]
    if obvious is not None and ways.sweep is None:
        if not ordered and not ways.pages:
            return chosen, ways.by_key, None
        if ordered and chosen is NOTHING:  # to sort all would take longer in any case
            return _in_order(ordered[0], found), ordered[0].order, None
        if ordered and ordered[0].number == obvious and not ordered[1:]:
            return chosen, ordered[0].order, None
    asked: tuple[Any, ...] = ()
    for one in found if obvious is None else () if chosen is NOTHING else (chosen,):
        asked += (one.fragment,)
    of_records = ways.pages or ordered != () or ways.sweep is not None
    records, sizes = storage.count_each(schema, asked, of_records)
    expected = records
    if obvious is None:
        chosen, expected = _best(found, records, sizes)
    elif sizes:
        (expected,) = sizes
    undecided = 0
    for number in ways.every:
        if number not in chosen.exact:
            undecided += 1
    is_page = ways.pages and type(chosen.fragment) in _BY_ENTRIES
    if is_page and stop is not None and is_page_sooner_by_key(stop, undecided, expected, records):
        return NOTHING, ways.by_key, records
    order: Any = ways.by_key
    if not ordered and ways.sweep is None:
        return chosen, order, expected
    cost = _cost(ways, chosen, expected, fetches=fetches)
    was = expected
    for way in ordered:
        size, looks = records, ways.every != _NONE
        if way.number is not None:
            looks = found[way.number].exact != ways.every
            if way.number == obvious:
                size = was
            elif obvious is None and sizes[way.number :]:
                size = sizes[way.number]
        least = cost_in_order(size, looks, stop, undecided, was, records)
        if least < cost or (least == cost and order is ways.by_key):
            chosen, order, expected, cost = _in_order(way, found), way.order, size, least
    if ways.sweep is None:
        return chosen, order, expected
    return _swept(ways, (chosen, order, expected), cost, records, stop, fetches=fetches)


_NONE: Final = frozenset[int]()

_BY_ENTRIES: Final = frozenset({InIndex, AnyOf})
"""What gives its keys in another order than theirs."""

_OF_INDEXES: Final = frozenset({InIndex, AllOf, AnyOf})


def _best(
    found: tuple[Candidate, ...], records: int, sizes: tuple[int, ...]
) -> tuple[Candidate, int]:
    """Return the way that finds fewest records, with another one if that is worth reading besides.

    And how many it finds. What was not counted finds more. What two indexes find together is seldom
    worth a third one.
    """
    counted: tuple[tuple[int, int, int], ...] = ()
    for size in sizes:
        number = counted[-1][2] + 1 if counted else 0
        counted += ((size, found[number].rank, number),)
    if counted[2:] or (counted[1:] and counted[1] < counted[0]):
        counted = tuple(sorted(counted))
    (least, _, number), *others = counted
    best, expected = found[number], least
    if least > COUNTED and least * (FETCH + ENTRY) > records * FETCH:
        return (best, least) if best.exact else (NOTHING, records)
    if least <= FEW:
        return best, least
    for size, _, number in others:
        one = found[number]
        if one.decides <= best.decides or not one.exact or type(one.fragment) not in _OF_INDEXES:
            continue
        spared = least - least * size / records if records else least
        reading = size * ENTRY
        if type(one.fragment) is InIndex and one.fragment.points:
            ranges = one.fragment.ranges
            probes = least * (len(ranges) if ranges[1:] else 1)
            if reading > probes * FETCH:
                reading = probes * FETCH
        if spared * (FETCH + PROBE) <= reading:
            continue
        mine = best.fragment.parts if type(best.fragment) is AllOf else (best.fragment,)
        both = AllOf((*mine, one.fragment))
        return Candidate(both, best.exact | one.exact, best.decides | one.decides), expected
    return best, expected


def _in_order(way: Ordered, found: tuple[Candidate, ...]) -> Candidate:
    """Return what reads an index in its order."""
    if way.number is not None:
        return found[way.number]
    return Candidate(InIndex(way.order.index, EVERY))


# --- at what cost ---------------------------------------------------------------------------


def _cost(ways: Ways, chosen: Candidate, expected: int, *, fetches: bool) -> float:
    """Return what it takes to find records so, and to sort them if need be."""
    sort = SORT if ways.sorts else 0.0
    if chosen.fragment is None:
        return expected * (SCAN + sort)
    looks = 0.0 if chosen.exact == ways.every else PROBE
    fetch = FETCH if fetches or looks or sort else 0.0
    return expected * (ENTRY + fetch + looks + sort)


def _swept(
    ways: Ways, taken: Taken, cost: float, records: int, stop: int | None, *, fetches: bool
) -> Taken:
    """Return what is taken where columns can be gone through."""
    _, order, expected = taken
    sweep = ways.sweep
    if sweep is None or expected is None:
        return taken
    found = min(expected, int(records * _UNDECIDED ** len(sweep.decides)))
    looks = 0.0 if sweep.decides == ways.every else PROBE
    sort, read = SORT if ways.sorts else 0.0, found
    if sweep.order is not None and stop is not None:
        read, sort = min(found, stop), 0.0
    fetch = FETCH if fetches or looks or sort else 0.0
    if sweep.cost(records) + read * (fetch + looks + sort) >= cost:
        return taken
    order = sweep.order or (None if ways.sorts else order)
    return Candidate(sweep.fragment, sweep.decides, sweep.decides), order, found


def is_page_sooner_by_key(stop: int, undecided: int, expected: int, records: int) -> bool:
    """Tell whether the first records are found sooner if all are gone through in order of keys.

    An index gives its keys in another order, so that all are read before the first record is.

    Args:
        stop: how many records are asked for.
        undecided: how many parts of the condition the index does not decide.
        expected: how many records the index finds.
        records: how many there are in all.

    >>> is_page_sooner_by_key(10, 1, 2_000, 20_000)
    False
    >>> is_page_sooner_by_key(10, 1, 10_000, 20_000)
    True
    """
    if not undecided:
        return False
    share = _UNDECIDED**undecided
    looked, gone_through = stop / share, stop * records / (expected or 1) / share
    if looked > expected:
        looked = expected
    if gone_through > records:
        gone_through = records
    return gone_through * SCAN < expected * ENTRY + looked * (FETCH + PROBE)


def cost_in_order(
    size: int, looks: bool, stop: int | None, undecided: int, expected: int, records: int
) -> float:
    """Return what it takes to read in an index's order, and no more than is asked for.

    Args:
        size: how many entries there are to go through.
        looks: whether they leave parts of the condition to be decided.
        stop: how many records are asked for, None for all.
        undecided: how many parts are left by what would otherwise find the records.
        expected: how many records that would find.
        records: how many there are in all.
    """
    if not looks:
        return (size if stop is None or size < stop else stop) * (ENTRY + FETCH)
    looked: float = size
    if stop is not None and expected:  # as many are read as it takes to find so many
        reads = stop * records / expected / _UNDECIDED**undecided
        if reads < size:
            looked = reads
    return looked * (ENTRY + FETCH + PROBE)
