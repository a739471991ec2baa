"""The same operations on ever more records: what an index finds must not take longer."""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.library import in_lmdb
from benchmarks.records import Person, city, make_rows
from benchmarks.workload import PAGE

SIZES = (1_000, 10_000, 100_000, 1_000_000)
_AT_ONCE = 50_000
_TIMES = 15


def measure_growth(
    sizes: Sequence[int] = SIZES, advance: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Return, for each operation, its median in microseconds at each of *sizes*.

    The last one is the most memory, in kilobytes, that iterating over everything took.
    """
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        library = in_lmdb(Path(folder))
        people = Person.objects(library.storage)
        stored = 0
        for size in sizes:
            while stored < size:
                upto = min(size, stored + _AT_ONCE)
                rows = make_rows(upto - stored, start=stored)
                # A hundred people in each city, however many there are.
                library.insert_many(
                    [(key, values | {"city": city(int(key) // 100)}) for key, values in rows]
                )
                stored = upto
            keys = [f"{size // 2:012d}"]
            in_range = people.where(age__between=(500, 509))[:PAGE]
            operations: dict[str, Callable[[], Any]] = {
                "get by key": functools.partial(library.get, keys),
                "indexed =, 100 objects": lambda: library.in_city(city(3)),
                "indexed count": lambda: library.count_city(city(3)),
                "page in the order of an index": library.page_by_age,
                f"indexed range, page of {PAGE}": in_range.all,
                "two indexes, intersected": lambda: people.where(city=city(3), age__lt=500).count(),
            }
            for title, run in operations.items():
                found.setdefault(title, []).append(_median(run))
            found.setdefault("memory while iterating, kB", []).append(_memory(people))
            advance()
        library.close()
    return found


def _median(run: Callable[[], Any]) -> float:
    run()
    taken = []
    for _ in range(_TIMES):
        begin = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1e6


def _memory(people: Any) -> float:
    tracemalloc.start()
    try:
        for number, _ in enumerate(people):
            if number == 20_000:  # it takes no more after that
                break
        _, most = tracemalloc.get_traced_memory()
        return most / 1000
    finally:
        tracemalloc.stop()
