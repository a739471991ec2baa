"""What an iteration over MongoDB's records holds at once: ``python -m benchmarks.mongodb_growth``.

With ``--write`` README.md keeps the table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.growth import most_held, sizes
from benchmarks.mongodb import DATABASE, Person
from benchmarks.records import make_rows
from benchmarks.tables import conditions, table, write
from pymodels import get_storage

MARK: Final = "mongodb growth"
ORDERS: Final = {"key": "pk", "an indexed field": "age", "another field": "name"}
_BATCH: Final = 10_000


@dataclass(frozen=True)
class Held:
    """What was measured of one order, with one number of records."""

    records: int
    order: str
    seconds: float
    """Seconds for one record of all of them."""
    bytes: int
    """The most bytes of Python that an iteration over all records held at once."""


def measure(uri: str, counts: Sequence[int]) -> list[Held]:
    """Fill a collection up to each of *counts*, and iterate in every order."""
    found = []
    settings = {"uri": uri, "database": DATABASE, "collection_prefix": "growth_"}
    with get_storage("pymodels.ext.mongodb", **settings) as storage:
        collection: Any = storage.native["growth_person"]
        collection.drop()
        storage.ensure_indexes(Person)  # type: ignore[attr-defined]  # this backend's own
        there = 0
        for count in counts:
            for start in range(there, count, _BATCH):
                rows = make_rows(min(_BATCH, count - start), start=start)
                storage.save_all([Person(pk=key, **values) for key, values in rows])
            there = count
            for order, path in ORDERS.items():
                everything = Person.objects(storage).order_by(path)
                begin = time.perf_counter()
                assert sum(1 for _ in everything) == count
                each = (time.perf_counter() - begin) / count
                held = most_held(lambda: sum(1 for _ in everything))  # noqa: B023 - called at once
                found.append(Held(count, order, each, held))
        collection.drop()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure on a server of our own, which is stopped afterwards."""
    from tests.mongodb_server import Server

    parser = argparse.ArgumentParser(prog="python -m benchmarks.mongodb_growth")
    parser.add_argument("--most", type=int, default=1_000_000, help="records (1000000)")
    parser.add_argument("--write", action="store_true", help="keep the table in README.md")
    options = parser.parse_args(arguments)
    server = Server(cache=2)
    try:
        found = measure(server.uri, sizes(options.most))
    finally:
        server.stop()
    rows = [
        (
            f"{one.records:,}, by {one.order}",
            f"{one.seconds * 1e6:,.1f}",
            f"{one.bytes / 1000:,.0f}",
        )
        for one in found
    ]
    titles = ("records, order", "iteration, µs a record", "held by an iteration, kB")
    text = f"{conditions()}\n{table(titles, rows)}"
    print(f"\n{text}")
    if options.write:
        write(text, MARK)


if __name__ == "__main__":
    main()
