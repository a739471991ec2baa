"""Both sides do the same, by turns; the medians make the ratio, and the answers must agree."""

from __future__ import annotations

import gc
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.records import make_rows
from benchmarks.sides import Library, RawLmdb, RawMemory, Side, plain

BACKENDS = ("lmdb", "memory")


class Disagreement(Exception):
    """The two sides gave different answers, so that comparing their times means nothing."""


@dataclass
class Timing:
    """What one operation took, in seconds for all its units, a number for each round."""

    title: str
    units: int
    library: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return statistics.median(self.library) / statistics.median(self.raw)

    @property
    def library_each(self) -> float:
        """The library's median for one unit, in microseconds."""
        return statistics.median(self.library) / self.units * 1e6

    @property
    def raw_each(self) -> float:
        return statistics.median(self.raw) / self.units * 1e6


@dataclass(frozen=True)
class Step:
    """One operation: what to do with a side, and how many records or calls that is."""

    title: str
    run: Callable[[Side], Any]
    units: int
    times: int = 1
    """How often it is measured in each round; more than once only where nothing is changed."""


def steps(backend: str, count: int) -> list[Step]:
    """Return what is measured, in this order, on an empty store."""
    rows = make_rows(count)
    # Each single save waits for the disk on LMDB, so that a few say as much as many.
    singles = max(1, count // (100 if backend == "lmdb" else 10))
    more = make_rows(singles, start=count)
    keys = [key for key, _ in rows]
    some = random.Random(1).sample(keys, max(1, count // 4))
    few = some[:singles]
    return [
        Step("bulk insert", lambda side: side.insert_many(rows), count),
        Step("single saves", lambda side: side.insert_each(more), singles),
        Step("get by key", lambda side: side.get(some), len(some), times=2),
        Step("get by key, storage.get", lambda side: side.get_from_storage(some), len(some), 2),
        Step("fetch all", lambda side: side.fetch_all(), count, times=3),
        Step("full iteration", lambda side: side.iterate(), count, times=3),
        Step("scan with a filter, 10 % found", lambda side: side.scan(), count, times=3),
        Step("count with a filter", lambda side: side.count(), count, times=3),
        Step("page 21 by key", lambda side: side.page_by_key(), 1, times=5),
        Step("first page by a field", lambda side: side.page_by_score(), 1, times=3),
        Step("get, change, save", lambda side: side.load_and_save(few), len(few)),
        Step("update a field of half", lambda side: side.update(), count // 2),
        Step("delete half", lambda side: side.delete(), count // 2),
    ]


def sides(backend: str, folder: Path) -> tuple[Side, Side]:
    if backend == "memory":
        return Library(backend="pymodels.ext.memory"), RawMemory()
    library = Library(backend="pymodels.ext.lmdb", path=folder / "library.lmdb")
    return library, RawLmdb(folder / "raw.lmdb")


def measure(
    backend: str, *, count: int, rounds: int, advance: Callable[[], object] = lambda: None
) -> list[Timing]:
    """Measure every operation *rounds* times; *advance* is called after each round."""
    todo = steps(backend, count)
    timings = [Timing(step.title, step.units) for step in todo]
    gc.collect()
    gc.freeze()  # what was there before is no garbage of the operations
    try:
        for number in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                _round(number, todo, timings, *sides(backend, Path(folder)))
            advance()
    finally:
        gc.unfreeze()
    return timings


def _round(
    number: int, todo: Sequence[Step], timings: Sequence[Timing], library: Side, raw: Side
) -> None:
    try:
        for step, timing in zip(todo, timings, strict=True):
            for turn in range(step.times):
                _both(step, timing, library, raw, library_first=(number + turn) % 2 == 0)
        _agree("what is left", *(_comparable(side.fetch_all()) for side in (library, raw)))
    finally:
        library.close()
        raw.close()


def _both(step: Step, timing: Timing, library: Side, raw: Side, *, library_first: bool) -> None:
    answers: dict[str, Any] = {}
    for is_library in (library_first, not library_first):
        gc.collect()
        begin = time.perf_counter()
        answer = step.run(library if is_library else raw)
        elapsed = time.perf_counter() - begin
        (timing.library if is_library else timing.raw).append(elapsed)
        answers["library" if is_library else "raw"] = _comparable(answer)
        del answer
    _agree(step.title, answers["library"], answers["raw"])


def _comparable(answer: Any) -> Any:
    return [plain(found) for found in answer] if isinstance(answer, list) else answer


def _agree(what: str, library: Any, raw: Any) -> None:
    if library != raw:
        raise Disagreement(f"{what}: the library and the driver by hand do not agree")
