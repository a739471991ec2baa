"""How many functions, of Python and of C, an operation calls: a measure that no load disturbs."""

from __future__ import annotations

import cProfile
import pstats
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring import sides
from benchmarks.records import Person, make_rows
from benchmarks.sides import OLD, PAGE, Library

COUNT = 1_000


def count_calls(backend: str) -> dict[str, float]:
    """Return the calls of each operation, by its title."""
    rows, more = make_rows(COUNT), make_rows(100, start=COUNT)
    keys = [key for key, _ in rows]
    with tempfile.TemporaryDirectory() as folder:
        library, raw = sides(backend, Path(folder))
        raw.close()
        assert isinstance(library, Library)
        storage = library.storage
        library.insert_many(rows)
        people = Person.objects(storage)

        def build_and_plan() -> None:
            people.where(Person.age >= OLD, active=True).order_by("-score")[:PAGE].plan()

        try:
            for warm in (library.fetch_all, library.scan, build_and_plan):
                warm()
            return {
                "get by key": _calls(lambda: library.get(keys)) / COUNT,
                "get by key, storage.get": _calls(lambda: library.get_from_storage(keys)) / COUNT,
                "fetch all, a record": _calls(library.fetch_all) / COUNT,
                "scan with a filter, a record": _calls(library.scan) / COUNT,
                "build and plan a query": _calls(build_and_plan),
                "single save": _calls(lambda: library.insert_each(more)) / len(more),
                "update, a record": _calls(library.update) / (COUNT // 2),
            }
        finally:
            library.close()


def _calls(run: Callable[[], Any]) -> int:
    profile = cProfile.Profile()
    profile.runcall(run)
    statistics: Any = pstats.Stats(profile)
    return int(statistics.total_calls)
