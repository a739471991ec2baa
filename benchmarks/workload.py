"""What is measured: the operations, in the order in which they are done."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, Protocol, TypeAlias

from benchmarks.records import FIELDS, Row, city, make_rows

PAGE = 50
LOW, HIGH = 500, 509
"""The ages that the range asks for, both included: one record in a hundred."""

NEEDLE = "needle"

FEW = 5
"""How many records are saved, or got, one by one where each takes a large part of a second."""

Found: TypeAlias = Any
"""An object that a side gives to its caller, or a pair of a key and one."""


class Side(Protocol):
    """One way to do all that is measured; what a method returns is compared between sides.

    Those that take part in `steps` also tell the ``cities`` in order, the lowest and the highest
    of the ``ages``, and the sums of ``ages_in_cities`` by the cities' names.
    """

    title: str
    is_slow: bool

    def insert_many(self, rows: Sequence[Row]) -> None: ...
    def insert_each(self, rows: Sequence[Row]) -> None: ...
    def get(self, keys: Sequence[str]) -> list[Found]: ...
    def in_city(self, name: str) -> list[Found]: ...
    def of_age(self, low: int, high: int) -> list[Found]: ...
    def with_text(self, part: str) -> list[Found]: ...
    def page_by_age(self) -> list[Found]: ...
    def page_by_score(self) -> list[Found]: ...
    def count_city(self, name: str) -> int: ...
    def fetch_all(self) -> list[Found]: ...
    def update(self, keys: Sequence[str]) -> None: ...
    def delete_city(self, name: str) -> int: ...
    def reopen(self, key: str) -> list[Found]: ...
    def plain(self, found: Found) -> tuple[Any, ...]: ...
    def close(self) -> None: ...


def values_of(person: Any) -> tuple[Any, ...]:
    """Return the nine values of an object with attributes."""
    return tuple([getattr(person, name) for name in FIELDS])


@dataclass(frozen=True)
class Step:
    """One operation: what to do with a side, how many records or calls that is, and how often."""

    title: str
    run: Callable[[Side], Any]
    units: int = 1
    times: int = 1
    """How often it is done in each round; more than once only where nothing is changed."""

    target: float = 0.0
    """The ratio to LMDB by hand that the library shall reach."""

    ordered: bool = False
    """Whether the order of the records is part of the answer."""

    fewer: Step | None = None
    """What is measured in its place on a side that is too slow for all of it.

    It asks for the first of the same records, and is held to the beginning of the whole answer.
    """

    left: Callable[[Side], Any] | None = None
    """What such a side has to do besides, unmeasured."""

    before: Callable[[Side], Any] | None = None
    """What a side does first, unmeasured."""


def in_columns(side: Side) -> None:
    """Let a side keep columns that knows such a thing; the others do as before."""
    keep = getattr(side, "keep_columns", None)
    if keep is not None:
        keep()


def steps(count: int) -> list[Step]:
    """Return what is measured on *count* records, from 200 on, in this order on an empty store."""
    rows = make_rows(count)
    singles = max(1, count // 100)  # each waits for the disk
    more = make_rows(singles, start=count, cities=max(1, count // 100))
    keys = [key for key, _ in rows]
    some = random.Random(1).sample(keys, max(1, count // 20))
    here, there = city(0), city(1)
    return [
        Step("bulk insert", lambda side: side.insert_many(rows), count, target=1.5),
        Step(
            "single save",
            lambda side: side.insert_each(more),
            singles,
            target=1.3,
            fewer=Step("", lambda side: side.insert_each(more[:FEW]), min(FEW, singles)),
            left=lambda side: side.insert_many(more[FEW:]),
        ),
        Step(
            "get by key",
            lambda side: side.get(some),
            len(some),
            7,
            1.5,
            ordered=True,
            fewer=Step("", lambda side: side.get(some[:FEW]), min(FEW, len(some))),
        ),
        Step("indexed =, 100 objects", lambda side: side.in_city(here), 1, 9, 1.4),
        Step("indexed range, 1 % of all", lambda side: side.of_age(LOW, HIGH), 1, 9, 1.4),
        Step("substring scan", lambda side: side.with_text(NEEDLE), 1, 4, 1.2),
        Step("page in the order of an index", lambda s: s.page_by_age(), 1, 9, 3, ordered=True),
        Step("page by an unindexed field", lambda s: s.page_by_score(), 1, 4, 1.2, ordered=True),
        Step("indexed count", lambda side: side.count_city(here), 1, 9, 3),
        Step("values of an indexed field", methodcaller("cities"), 1, 9),
        Step("lowest and highest, indexed", methodcaller("ages"), 1, 9),
        Step("sums in groups", methodcaller("ages_in_cities"), 1, 2),
        Step("fetch all", lambda side: side.fetch_all(), count, 4, 1.5),
        Step("update one field, in a transaction", lambda s: s.update(some), len(some), 5, 2),
        Step("delete by filter", lambda side: side.delete_city(there), 100, target=1.5),
        Step("reopen and get one", lambda side: side.reopen(keys[0]), 1, 3, 2),
        Step("substring scan, in a column", lambda s: s.with_text(NEEDLE), 1, 2, before=in_columns),
        Step(
            "page by an unindexed field, in a column",
            lambda side: side.page_by_score(),
            1,
            2,
            ordered=True,
            before=in_columns,
        ),
        Step("sums in groups, in columns", methodcaller("ages_in_cities"), 1, 2, before=in_columns),
    ]
