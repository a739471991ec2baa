"""What to expect of a way to find records: how many it finds, counted or by a sample.

Any of it may be wrong: that costs time, and never a record.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from pymodels.byindex import AllOf, AnyOf, InIndex
from pymodels.bykey import KeyRange, Keys, UniqueValue, bounds
from pymodels.fetching import range_of
from pymodels.ranges import EVERY, Range
from pymodels.schema import Schema
from pymodels.tables import index_table

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

FEW: Final = 8
"""So many records are read and looked into before another index is so much as counted."""

_SEVERAL: Final = 8
"""So many ranges of an index are counted, as all of them would take longer than it can spare."""

_TRUSTED: Final = 8
"""A range that is so many times as long as the distance of two samples is not counted as well."""

_WORTH: Final = (FETCH + PROBE) / ENTRY
"""How many entries may be read to spare a record."""

Sample: TypeAlias = tuple[int, int, list[bytes]]
"""How many entries an index had, how far apart some of them were, and those."""

Sizes: TypeAlias = tuple[int, tuple[int, ...]]
"""How many records there are, 0 if nobody had to know, and the sizes."""


class Counts(Protocol):
    """What counts the pairs of tables; an ``IndexView`` does."""

    def count(self, table: str) -> int:
        """Return how many pairs a table has."""

    def count_points(self, table: str, points: Iterable[Range]) -> tuple[int, ...]:
        """Return how many records have the entry that each range begins with."""

    def count_between(self, table: str, low: bytes | None, high: bytes | None, most: int) -> int:
        """Return how many pairs a table has in a range, or *most* if there are more."""

    def sample(self, table: str, step: int) -> list[bytes]:
        """Return the first entry of an index, and each that comes *step* pairs after another."""


class Counter(msgspec.Struct):
    """Counts how many records fragments find, as far as that can pay.

    Args:
        counts: what there is to count.
        samples: entries of indexes that were sampled, by table; more are taken as they are needed.
        schema: what is asked about.
        records: how many records there are, 0 if nobody had to know yet.
        most: how many entries of an index are counted; reading more could not pay.
        worth: how many entries may be read to spare what another index finds, None without one.
    """

    counts: Counts
    samples: dict[str, Sample]
    schema: Schema
    records: int = 0
    most: int = COUNTED
    worth: int | None = None

    def each(self, asked: Sequence[Any], of_records: bool) -> Sizes:
        """Return how many records each of some fragments finds, best those of single entries first.

        Those after one that finds few are left out. *of_records* says to tell in any case how many
        records there are.
        """
        if of_records:
            self.records = self.counts.count(self.schema.table)
        sizes: tuple[int, ...] = ()
        least: int | None = None
        for one in asked:
            if type(one) is AllOf:
                size = self._of_all(one.parts)
            elif type(one) is not InIndex:
                size = self.of(one)
            elif one.points and not one.ranges[_SEVERAL:]:
                table, size = index_table(self.schema.collection, one.index.name), 0
                for number in self.counts.count_points(table, one.ranges):
                    size += number
            else:
                size = self.in_index(one)
            if size > COUNTED and not self.records and type(one) is not AllOf:
                self.records = self.counts.count(self.schema.table)
            if self.records and size > self.records:
                size = self.records
            sizes += (size,)
            if least is None or size < least:
                least = size
            if size <= FEW:
                break
            if self.worth is None or size * _WORTH < self.worth:
                self.worth = int(size * _WORTH) + 1
                if self.worth < self.most:
                    self.most = self.worth
        if least is not None and least > COUNTED and not self.records:
            self.records = self.counts.count(self.schema.table)
        return self.records, sizes

    def of(self, fragment: Any) -> int:
        """Return how many records a fragment finds."""
        if type(fragment) is InIndex:
            return self.in_index(fragment)
        if type(fragment) is AnyOf:
            number = 0
            for one in fragment.parts:
                number += self.in_index(one) if type(one) is InIndex else self.of(one)
            return number
        if type(fragment) is AllOf:
            return self._of_all(fragment.parts)
        if type(fragment) is Keys:
            return len(fragment.keys)
        if type(fragment) is KeyRange:
            ends: Any = bounds(self.schema, fragment)
        else:
            ends = None if fragment is None else range_of(self.schema, fragment)
        records = self.records = self.records or self.counts.count(self.schema.table)
        if ends is None:
            return 1 if type(fragment) is UniqueValue else records
        most = records // COUNTED_SHARE
        if most < COUNTED:
            most = COUNTED
        low, high = ends
        number = self.counts.count_between(self.schema.table, low, high, most)
        share = records // UNKNOWN_SHARE
        return number if number < most or number > share else share

    def _of_all(self, parts: tuple[Any, ...]) -> int:
        """Return how many records the part finds that finds fewest."""
        index = parts[0].index if type(parts[0]) is InIndex else None
        some: tuple[Range, ...] = ()
        for one in parts:
            if type(one) is InIndex and one.points and one.index is index:
                some += one.ranges
        if index is None or some[len(parts) :] or not some[len(parts) - 1 :]:
            return min([self.of(one) for one in parts])
        # Runs of text: those of one word are about as frequent.
        table = index_table(self.schema.collection, index.name)
        sizes = self.counts.count_points(table, (some[(len(some) - 1) // 2], some[-1]))
        return sizes[0] if sizes[0] < sizes[1] else sizes[1]  # noqa: FURB136 - one call less

    def in_index(self, fragment: InIndex) -> int:
        """Return how many records some ranges of an index find."""
        ranges, index, counts = fragment.ranges, fragment.index, self.counts
        table = index_table(self.schema.collection, index.name)
        some = ranges[:_SEVERAL] if ranges[_SEVERAL:] else ranges
        if fragment.points:
            number = sum(counts.count_points(table, some))
            return number if some is ranges else number * len(ranges) // len(some)
        if ranges == EVERY:
            return counts.count(table)
        if ranges[1:] and ranges[0][0] == EVERY[0][0] and ranges[-1][1] == EVERY[0][1]:
            return self._outside(table, some)
        samples = self.samples
        sample = samples[table] if table in samples else None  # noqa: SIM401 - one call less
        if sample is None:
            size = 0
        elif index.where or index.spread:
            size = counts.count(table)
        else:
            size = self.records = self.records or counts.count(self.schema.table)
        number = 0
        for low, high in some:
            estimated = None if sample is None else estimate(sample, size, low, high)
            if estimated is not None and sample is not None:
                # Each end may be off by the distance of two samples, and as many may have come.
                step = sample[1]
                if estimated > 2 * (self.most + step) or estimated > _TRUSTED * step:
                    number += estimated
                    continue
            counted = counts.count_between(table, low, high, self.most)
            if counted >= COUNTED:
                counted = self._of_long(table, low, high) if estimated is None else estimated
            number += counted
        return number if some is ranges else number * len(ranges) // len(some)

    def _outside(self, table: str, ranges: tuple[Range, ...]) -> int:
        """Return how many records some ranges find that leave out few entries, most likely."""
        number = self.records = self.records or self.counts.count(self.schema.table)
        end = b""
        for low, high in ranges:
            if end:
                number -= self.counts.count_between(table, end, low, self.most)
            end = high
        return number

    def _of_long(self, table: str, low: bytes, high: bytes) -> int:
        """Return about how many entries lie in a range of many, of an index without a sample."""
        size = self.counts.count(table)
        if size <= SAMPLED:
            step = size // 128 or 1
            sample = self.samples[table] = (size, step, self.counts.sample(table, step))
            return max(COUNTED, estimate(sample, size, low, high) or 0)
        records = self.records = self.records or self.counts.count(self.schema.table)
        most = records // COUNTED_SHARE
        if self.worth is not None and self.worth < most:
            most = self.worth
        number = self.counts.count_between(table, low, high, most)
        return number if number < most else max(number, records // UNKNOWN_SHARE)


def estimate(sample: Sample, size: int, low: bytes, high: bytes) -> int | None:
    """Return how many of the *size* entries of an index seem to lie in a range.

    None if the index has grown or shrunk by more than a fourth since it was sampled.

    >>> estimate((8, 2, [b"a", b"c", b"e", b"g"]), 10, b"b", b"f")
    5
    """
    was, step, entries = sample
    if was * 4 > size * 5 or was * 4 < size * 3:
        return None
    inside = bisect_left(entries, high) - bisect_left(entries, low)
    return inside * step * size // (was or 1)
