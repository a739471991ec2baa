"""What grows with the number of records, and what does not: ``python -m benchmarks.growth``.

With ``--write`` the tables are kept in README.md.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import resource
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.records import Person, make_rows
from benchmarks.tables import conditions, table, write
from pymodels import get_storage

BACKENDS: Final = ("lmdb", "memory")
MARK: Final = "growth"
_BATCH: Final = 10_000
_GETS: Final = 2_000
_ROUNDS: Final = 5


@dataclass(frozen=True)
class Growth:
    """What was measured with one number of records."""

    backend: str
    records: int
    get: float
    """Seconds for one record by its key."""
    iteration: float
    """Seconds for one record of all of them."""
    held: int
    """The most bytes of Python that an iteration over all records held at once."""


@dataclass(frozen=True)
class Leak:
    """What many operations left behind: objects of Python, and bytes of the process."""

    backend: str
    operations: int
    blocks: int
    resident: int


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--most", type=int, default=1_000_000, help="records (1000000)")
    parser.add_argument("--operations", type=int, default=1_000_000, help="(1000000)")
    parser.add_argument("--write", action="store_true", help="keep the tables in README.md")
    options = parser.parse_args(arguments)
    grown, left = [], []
    for backend in BACKENDS:
        for count in sizes(options.most):
            print(f"{backend}: {count:,} records", flush=True)
            with opened(backend) as storage:
                grown.append(grow(backend, storage, count))
        print(f"{backend}: {options.operations:,} operations", flush=True)
        with opened(backend) as storage:
            left.append(operate(backend, storage, options.operations))
    text = "\n".join([conditions(), _growth_table(grown), _leak_table(left)])
    print(f"\n{text}")
    if options.write:
        write(text, MARK)


def sizes(most: int) -> list[int]:
    """Return the powers of ten from 1,000 to *most*.

    >>> sizes(100_000)
    [1000, 10000, 100000]
    """
    return [10**power for power in range(3, 10) if 10**power <= most]


@contextmanager
def opened(backend: str) -> Iterator[Any]:
    """Open an empty storage, and leave nothing behind."""
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"backend": f"pymodels.ext.{backend}"}
        if backend == "lmdb":
            settings["path"] = Path(folder) / "growth.lmdb"
        with get_storage(settings) as storage:
            yield storage


def fill(storage: Any, count: int) -> None:
    """Store so many people, in batches."""
    for start in range(0, count, _BATCH):
        rows = make_rows(min(_BATCH, count - start), start=start)
        storage.save_all([Person(pk=key, **values) for key, values in rows])


def grow(backend: str, storage: Any, count: int) -> Growth:
    """Fill a storage, and measure gets and a whole iteration."""
    fill(storage, count)
    gc.collect()
    chance = random.Random(count)
    keys = [f"{chance.randrange(count):012d}" for _ in range(_GETS)]
    gets = [_seconds(lambda: [storage.get(Person, key) for key in keys]) for _ in range(_ROUNDS)]
    everything = Person.objects(storage)
    iteration = _seconds(lambda: sum(1 for _ in everything))
    return Growth(
        backend,
        count,
        statistics.median(gets) / _GETS,
        iteration / count,
        most_held(lambda: sum(person.age for person in everything)),
    )


def _seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def most_held(work: Callable[[], Any]) -> int:
    """Return how many bytes of Python *work* holds at its worst moment."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def operate(backend: str, storage: Any, operations: int) -> Leak:
    """Get, find and save again and again; what the first tenth leaves is not counted."""
    fill(storage, 1_000)
    keys = [f"{number:012d}" for number in range(1_000)]
    run_operations(storage, keys, operations // 10)
    gc.collect()
    blocks, resident = sys.getallocatedblocks(), _resident()
    run_operations(storage, keys, operations)
    gc.collect()
    return Leak(
        backend, operations, sys.getallocatedblocks() - blocks, max(0, _resident() - resident)
    )


def run_operations(storage: Any, keys: Sequence[str], operations: int) -> None:
    """Of a hundred operations, 88 are gets, ten are queries, one is a save, one an update."""
    people = Person.objects(storage)
    for number, key in zip(range(operations), itertools.cycle(keys), strict=False):
        kind = number % 100
        if kind == 0:
            person = storage.get(Person, key)
            person.score = float(number)
            person.save()
        elif kind == 1:
            people.where(pk=key).update(age=number % 100)
        elif kind < 12:
            people.where(pk__in=[key], age__gte=0).first()
        else:
            storage.get(Person, key)


def _resident() -> int:
    """Return the most memory that this process has ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _growth_table(grown: Sequence[Growth]) -> str:
    return table(
        ("records", "get by key, µs", "iteration, µs a record", "held by an iteration, kB"),
        [
            (
                f"{one.backend}, {one.records:,}",
                f"{one.get * 1e6:,.1f}",
                f"{one.iteration * 1e6:,.1f}",
                f"{one.held / 1000:,.0f}",
            )
            for one in grown
        ],
    )


def _leak_table(left: Sequence[Leak]) -> str:
    return table(
        ("operations", "objects left", "growth of the process, kB"),
        [
            (
                f"{one.backend}, {one.operations:,}",
                f"{one.blocks:,}",
                f"{one.resident / 1000:,.0f}",
            )
            for one in left
        ],
    )


if __name__ == "__main__":
    main()
