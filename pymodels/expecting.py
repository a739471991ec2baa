"""What to expect of a way to find records: how many it finds, and what that costs.

All of it comes from counts and samples, which may be wrong.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from pymodels.byindex import EVERY, AllOf, AnyOf, InColumns, IndexOrder, InIndex
from pymodels.bykey import Keys, UniqueValue
from pymodels.fetching import by_keys
from pymodels.schema import Schema
from pymodels.sweeping import Sweep
from pymodels.tables import IndexView, index_table, records_table

if TYPE_CHECKING:
    from pymodels.tablereading import TableReader

FETCH, PROBE, ENTRY, SORT, SCAN = 1.0, 1.5, 0.2, 2.5, 0.7
"""What it takes to fetch a record by its key, to look into it, to read an entry of an index, to
sort a record, and to come by it and look into it where all are read: measured in microseconds, used
as proportions."""

COUNTED: Final = 256
"""How many entries are always counted before their number is estimated."""

COUNTED_SHARE: Final = 64
"""A range is counted up to this part of all records, as reading them would take much longer."""

SAMPLED: Final = 100_000
"""The most entries that are gone through once to take a sample of them."""

UNKNOWN_SHARE: Final = 8
"""What part of all records a long range is thought to be where there is no sample."""

_UNDECIDED: Final = 0.1
"""What part of the records a condition is thought to keep that no index decides."""


class Candidate(msgspec.Struct, frozen=True):
    """A way to find records: a fragment, and which conditions it decides, those exactly or not."""

    fragment: Any
    exact: frozenset[int] = frozenset()
    inexact: frozenset[int] = frozenset()

    @property
    def decides(self) -> frozenset[int]:
        return self.exact | self.inexact


class Ordered(msgspec.Struct, frozen=True):
    """A way to read the records in the order that is asked for."""

    candidate: Candidate
    order: IndexOrder


# --- how many -------------------------------------------------------------------------------

Sample: TypeAlias = tuple[int, int, list[bytes]]
"""How many entries an index had, how far apart some of them were, and those."""


class Expectations:
    """How many records a fragment finds, as far as can be told in a moment."""

    def __init__(self, storage: TableReader, view: IndexView, schema: Schema) -> None:
        self.view = view
        self.schema = schema
        self.collection = collection = schema.collection
        self.samples: dict[str, Sample] = storage.samples
        self.records = view.count(records_table(collection))
        self.counted = max(COUNTED, self.records // COUNTED_SHARE)
        self.enough = self.counted
        self._known: dict[int, tuple[Any, int]] = {}

    def of_all(self, found: Sequence[Candidate]) -> list[tuple[int, Candidate]]:
        """Return how many records each candidate finds, the fewest first.

        Of what is far more than that, nobody has to know how much.
        """
        counted: list[tuple[int, Candidate]] = []
        for one in sorted(found, key=lambda one: not getattr(one.fragment, "points", False)):
            size = self.of(one.fragment)
            counted.append((size, one))
            self.enough = min(self.enough, int(size * (FETCH + PROBE) / ENTRY))
        self.enough = self.counted
        return sorted(counted, key=lambda pair: (pair[0], -len(pair[1].exact)))

    def of(self, fragment: Any) -> int:
        known = self._known.get(id(fragment))
        if known is None:  # what is counted is kept, so that nothing else gets its id
            known = self._known[id(fragment)] = (fragment, self._of(fragment))
        return known[1]

    def _of(self, fragment: Any) -> int:
        match fragment:
            case Keys(keys):
                return len(keys)
            case UniqueValue():
                return 1
            case InIndex():
                return min(self.records, self._in_index(fragment))
            case AnyOf(parts):
                return min(self.records, sum(map(self.of, parts)))
            case AllOf(parts):
                return min(map(self.of, parts))
            case None | InColumns():
                return self.records
            case _:
                return self._of_keys(fragment)

    def _of_keys(self, fragment: Any) -> int:
        """Count a range of keys, up to where reading it would take much longer than that."""
        found = by_keys(self.view, self.schema, fragment, descending=False)
        counted = sum(1 for _ in islice(found, self.counted))
        if counted < self.counted:
            return counted
        return max(counted, self.records // UNKNOWN_SHARE)

    def _in_index(self, fragment: InIndex) -> int:
        table = index_table(self.collection, fragment.index.name)
        ranges = fragment.ranges
        if ranges == EVERY:
            return self.view.count(table)
        some, total = ranges[:8], 0
        for low, high in some:
            if fragment.points:
                total += self.view.count_under(table, low)
            else:
                total += self._between(table, low, high)
        return total if len(ranges) == len(some) else total * len(ranges) // len(some)

    def _between(self, table: str, low: bytes, high: bytes) -> int:
        size = self.view.count(table)
        is_sampled = size <= SAMPLED
        most = COUNTED if is_sampled else max(COUNTED, min(self.counted, self.enough))
        sample = self.samples.get(table)
        estimated = estimate(sample, size, low, high)
        # Each end may be off by the distance of two samples, and as many may have come or gone.
        if sample is not None and estimated is not None and estimated > 2 * (most + sample[1]):
            return estimated
        counted = self.view.count_between(table, low, high, most)
        if counted < most:
            return counted
        if not is_sampled:
            return max(counted, size // UNKNOWN_SHARE)
        if estimated is None:
            estimated = estimate(self._take_sample(table, size), size, low, high)
        return max(counted, estimated or 0)

    def _take_sample(self, table: str, size: int) -> Sample:
        step = max(1, size // 128)
        taken = self.samples[table] = (size, step, self.view.sample(table, step))
        return taken


def estimate(sample: Sample | None, size: int, low: bytes, high: bytes) -> int | None:
    """Return how many of the *size* entries of an index seem to lie in a range.

    None without a sample, or if the index has grown or shrunk by more than a fourth since.

    >>> estimate((8, 2, [b"a", b"c", b"e", b"g"]), 10, b"b", b"f")
    5
    """
    if sample is None:
        return None
    was, step, entries = sample
    if was * 4 > size * 5 or was * 4 < size * 3:
        return None
    inside = bisect_left(entries, high) - bisect_left(entries, low)
    return inside * step * size // (was or 1)


# --- at what cost ---------------------------------------------------------------------------


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


class Costs:
    """What the ways to answer one query would take, and how many records they would find."""

    def __init__(
        self,
        expectations: Expectations,
        parts: int,
        stop: int | None,
        *,
        sorts: bool,
        fetches: bool,
    ) -> None:
        self._expectations = expectations
        self._records = expectations.records
        self._parts = parts
        self._stop = stop
        self._sort = SORT if sorts else 0.0
        self._fetch = FETCH if fetches else 0.0

    def of(self, chosen: Candidate, expected: int) -> float:
        """Return what it takes to find records so, and to sort them if need be."""
        looks = 0.0 if len(chosen.exact) == self._parts else PROBE
        if chosen.fragment is None:
            return expected * (SCAN + self._sort)
        fetch = max(self._fetch, FETCH if looks or self._sort else 0.0)
        return expected * (ENTRY + fetch + looks + self._sort)

    def is_found_sooner(self, chosen: Candidate, expected: int) -> bool:
        """Tell whether a page is full sooner if all records are gone through in order."""
        if self._stop is None or not isinstance(chosen.fragment, InIndex | AnyOf):
            return False
        undecided = self._parts - len(chosen.exact)
        return is_page_sooner_by_key(self._stop, undecided, expected, self._records)

    def in_order(self, one: Ordered, chosen: Candidate, expected: int) -> float:
        """Return what it takes to read in an index's order, and no more than is asked for."""
        return cost_in_order(
            self._expectations.of(one.candidate.fragment),
            len(one.candidate.exact) < self._parts,
            self._stop,
            self._parts - len(chosen.exact),
            expected,
            self._records,
        )

    def swept(self, sweep: Sweep, expected: int) -> int:
        """Return how many records columns are thought to find, of those that might be it."""
        return min(expected, int(self._records * _UNDECIDED ** len(sweep.decides)))

    def of_sweep(self, sweep: Sweep, expected: int) -> float:
        """Return what it takes to go through columns, and to read what that finds."""
        found = self.swept(sweep, expected)
        looks = 0.0 if len(sweep.decides) == self._parts else PROBE
        sort = self._sort
        if sweep.order is not None and self._stop is not None:
            found, sort = min(found, self._stop), 0.0
        fetch = max(self._fetch, FETCH if looks or sort else 0.0)
        return sweep.cost(self._records) + found * (fetch + looks + sort)
