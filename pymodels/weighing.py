"""Which of several indexes to read, where each has exactly the records of one part of a condition.

Nothing else is asked then, so that their sizes decide. ``choosing`` comes to the same, and weighs
up all the rest.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from pymodels.byindex import InIndex
from pymodels.expecting import COUNTED, ENTRY, FETCH, PLAINLY, PROBE, Sample, estimate
from pymodels.tables import index_table

_FEW: Final = 8
"""So many records are read and looked into before another index is so much as counted."""

_WORTH: Final = (FETCH + PROBE) / ENTRY
"""How many entries may be read to spare a record."""

_SIZE: Final = operator.itemgetter(0)


Sizes: TypeAlias = tuple[int, tuple[int, ...]]
"""How many records there are, where one of the sizes is large (else 0), and the sizes."""


class Counts(Protocol):
    """What counts the entries of indexes; an ``IndexView`` does."""

    def count(self, table: str) -> int:
        """Return how many pairs an index has."""

    def count_under(self, table: str, entry: bytes) -> int:
        """Return how many records have an entry."""

    def count_between(self, table: str, low: bytes, high: bytes, most: int) -> int:
        """Return how many pairs an index has in a range, or *most* if there are more."""


def count_each(
    counts: Counts, samples: Mapping[str, Sample], collection: str, asked: Sequence[InIndex]
) -> Sizes | None:
    """Return how many records each of some fragments finds, as far as that can pay.

    Those after one that finds few are left out, and of what is not worth reading beside another one
    nobody counts all. None if a range is too long for its end to be seen from here.

    Args:
        counts: what there is to count.
        samples: entries of indexes that were sampled, by table.
        collection: the collection that is asked about.
        asked: fragments of one range each, those of one entry first.
    """
    sizes: tuple[int, ...] = ()
    records = 0
    most = COUNTED
    for one in asked:
        table = index_table(collection, one.index.name)
        ((low, high),) = one.ranges
        if one.points:
            size = counts.count_under(table, low)
        else:
            estimated: int | None = None
            if table in samples:
                estimated = estimate(samples[table], counts.count(table), low, high)
            if estimated is not None and estimated > PLAINLY * most:
                size = estimated
            else:
                size = counts.count_between(table, low, high, most)
                if size == COUNTED:
                    return None
        sizes += (size,)
        if size > COUNTED and not records:
            records = counts.count(table)
        if size <= _FEW:
            break
        worth = int(size * _WORTH) + 1
        if worth < most:
            most = worth
    return records, sizes


def weigh(sizes: Sizes, asked: Sequence[InIndex]) -> tuple[int, tuple[InIndex, ...]] | None:
    """Return how many records are found at most, and the one or two fragments that find them.

    None where there are so many that to think longer pays. What two indexes of this size find
    together is seldom worth a third one. The fragments are those of ``count_each``, and *sizes*
    what that returned.
    """
    records, counts = sizes
    counted = sorted(zip(counts, asked, strict=False), key=_SIZE)
    least, first = counted[0]
    if least > COUNTED:
        return None
    if least <= _FEW or not counted[1:]:
        return least, (first,)
    entries, second = counted[1]
    reading = entries * ENTRY
    if second.points and reading > least * FETCH:
        reading = least * FETCH
    spared = least - least * entries / records if records else least
    return least, (first, second) if spared * (FETCH + PROBE) > reading else (first,)
