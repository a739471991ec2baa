"""Which of several indexes to read, where each has exactly the records of one part of a condition.

Their sizes decide then. ``choosing`` comes to the same, and weighs up all the rest.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from pymodels.byindex import InIndex
from pymodels.expecting import (
    COUNTED,
    COUNTED_SHARE,
    ENTRY,
    FETCH,
    PROBE,
    SAMPLED,
    UNKNOWN_SHARE,
    Sample,
    estimate,
)
from pymodels.tables import index_table, records_table

_FEW: Final = 8
"""So many records are read and looked into before another index is so much as counted."""

_WORTH: Final = (FETCH + PROBE) / ENTRY
"""How many entries may be read to spare a record."""

_SEVERAL: Final = 8
"""So many ranges of an index are counted, as all of them would take longer than it can spare."""

_SIZE: Final = operator.itemgetter(0)


Sizes: TypeAlias = tuple[int, tuple[int, ...]]
"""How many records there are, 0 if nobody had to know, and the sizes."""


class Counts(Protocol):
    """What counts the entries of indexes; an ``IndexView`` does."""

    def count(self, table: str) -> int:
        """Return how many pairs an index has."""

    def count_under(self, table: str, entry: bytes) -> int:
        """Return how many records have an entry."""

    def count_between(self, table: str, low: bytes, high: bytes, most: int) -> int:
        """Return how many pairs an index has in a range, or *most* if there are more."""


def count_each(
    counts: Counts,
    samples: Mapping[str, Sample],
    collection: str,
    asked: Sequence[InIndex],
    of_records: bool,
) -> Sizes | None:
    """Return how many records each of some fragments finds, as far as that can pay.

    Those after one that finds few are left out, and of what is not worth reading beside another one
    nobody counts all. None if a sample has to be taken first.

    Args:
        counts: what there is to count.
        samples: entries of indexes that were sampled, by table.
        collection: the collection that is asked about.
        asked: fragments of an index each, those of single entries first.
        of_records: whether to tell how many records there are in any case.
    """
    sizes: tuple[int, ...] = ()
    records = counts.count(records_table(collection)) if of_records else 0
    most, worth = COUNTED, None
    for one in asked:
        table = index_table(collection, one.index.name)
        ranges = one.ranges[:_SEVERAL]
        size = 0
        for low, high in ranges:
            if one.points:
                size += counts.count_under(table, low)
                continue
            estimated: int | None = None
            if table in samples:
                records = records or counts.count(records_table(collection))
                estimated = estimate(samples[table], records, low, high)
            if estimated is not None and estimated > 2 * (most + samples[table][1]):
                size += estimated
                continue
            number = counts.count_between(table, low, high, most)
            if number == COUNTED:
                records = records or counts.count(records_table(collection))
                if estimated is None and records <= SAMPLED:
                    return None
                if estimated is None:
                    number, estimated = _of_long(counts, table, low, high, records, worth)
                if estimated > number:
                    number = estimated
            size += number
        if one.ranges[_SEVERAL:]:
            size = size * len(one.ranges) // _SEVERAL
        sizes += (size,)
        if size > COUNTED and not records:
            records = counts.count(records_table(collection))
        if size <= _FEW:
            break
        if worth is None or size * _WORTH < worth:
            worth = int(size * _WORTH) + 1
            if worth < most:
                most = worth
    return records, sizes


def _of_long(
    counts: Counts, table: str, low: bytes, high: bytes, records: int, worth: int | None
) -> tuple[int, int]:
    """Count a range of an index that is too long for a sample, and say how much it holds at least.

    *worth* is how many entries may be read to spare what another index finds, None without one.
    """
    most = records // COUNTED_SHARE
    if worth is not None and worth < most:
        most = worth
    number = counts.count_between(table, low, high, most)
    return number, number if number < most else records // UNKNOWN_SHARE


def weigh(sizes: Sizes, asked: tuple[InIndex, ...]) -> tuple[int, tuple[InIndex, ...]]:
    """Return how many records are found at most, and the one or two fragments that find them.

    At least two were counted. What two indexes of this size find together is seldom worth a third
    one. The fragments are those of ``count_each``, and *sizes* what that returned.
    """
    records, counts = sizes
    if counts[2:]:
        counted = sorted(zip(counts, asked, strict=False), key=_SIZE)
        (least, first), (entries, second) = counted[:2]
    else:
        (least, entries), (first, second) = counts, asked[:2]
        if least > entries:
            least, first, entries, second = entries, second, least, first
    if least <= _FEW or (least > COUNTED and least * (FETCH + ENTRY) > records * FETCH):
        return least, (first,)
    reading = entries * ENTRY
    probes = least * (len(second.ranges) if second.ranges[1:] else 1)
    if second.points and reading > probes * FETCH:
        reading = probes * FETCH
    spared = least - least * entries / records if records else least
    return least, (first, second) if spared * (FETCH + PROBE) > reading else (first,)
