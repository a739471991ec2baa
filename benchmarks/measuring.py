"""All sides do the same, by turns; the medians make the ratios, and the answers must agree."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.workload import Side, Step, steps

Opener: TypeAlias = Callable[[Path], Side]
"""Makes a side that keeps its files in an empty folder."""


class Disagreement(Exception):
    """Two sides gave different answers, so that comparing their times means nothing."""


@dataclass
class Timing:
    """What one operation took, in seconds for each of its units, by the title of the side."""

    step: Step
    seconds: dict[str, list[float]] = field(default_factory=dict)
    fewer: dict[str, int] = field(default_factory=dict)
    """Of how many units it was, by the title of a side that is too slow for all of them."""

    def each(self, side: str) -> float:
        """Return a side's median for one unit, in microseconds."""
        return statistics.median(self.seconds[side]) * 1e6

    def ratio(self, side: str, other: str) -> float:
        return self.each(side) / self.each(other)


def measure(
    openers: Sequence[Opener],
    *,
    count: int,
    rounds: int,
    todo: Callable[[int], Sequence[Step]] = steps,
    advance: Callable[[], object] = lambda: None,
) -> list[Timing]:
    """Measure every operation *rounds* times on every side; *advance* is called after each round.

    The first of *openers* makes the side that the others must agree with. One that is there several
    times is measured as often in each round, each time with files of its own.
    """
    timings = [Timing(step) for step in todo(count)]
    for number in range(rounds):
        try:
            with tempfile.TemporaryDirectory() as folder:
                _round(number, openers, timings, Path(folder))
        finally:
            gc.unfreeze()
        advance()
    return timings


def _round(number: int, openers: Sequence[Opener], timings: Sequence[Timing], folder: Path) -> None:
    sides: list[Side] = []
    try:
        for position, opener in enumerate(openers):
            place = folder / str(position)
            place.mkdir()
            sides.append(opener(place))
        for timing in timings:
            for turn in range(timing.step.times):
                shift = (number + turn) % len(sides)
                _all(timing, sides, sides[shift:] + sides[:shift])
        left = {
            f"{n}: {s.title}": _comparable(s, s.fetch_all(), False) for n, s in enumerate(sides)
        }
        _agree("what is left", left)
    finally:
        for side in sides:
            side.close()


def _all(timing: Timing, sides: Sequence[Side], in_turn: Sequence[Side]) -> None:
    answers: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for side in in_turn:
        fewer = timing.step.fewer if side.is_slow else None
        step = fewer or timing.step
        if step.before is not None:
            step.before(side)
        # What the sides hold in memory is nothing that an operation has to search for garbage.
        gc.collect()
        gc.freeze()
        begin = time.perf_counter()
        answer = step.run(side)
        elapsed = time.perf_counter() - begin
        timing.seconds.setdefault(side.title, []).append(elapsed / step.units)
        kept = answers if fewer is None else parts
        comparable = _comparable(side, answer, timing.step.ordered)
        if kept.setdefault(side.title, comparable) != comparable:
            raise Disagreement(f"{timing.step.title}: {side.title} gives different answers")
        if fewer is not None:
            if fewer.units < timing.step.units:
                timing.fewer[side.title] = fewer.units
            if timing.step.left is not None:
                timing.step.left(side)
        del answer
    whole = {side.title: answers[side.title] for side in sides if side.title in answers}
    _agree(timing.step.title, whole)
    if parts and timing.step.fewer is not None:
        first, wanted = next(iter(whole.items()))
        if isinstance(wanted, list):
            wanted = wanted[: timing.step.fewer.units]
        _agree(timing.step.title, {first: wanted, **parts})


def _comparable(side: Side, answer: Any, ordered: bool) -> Any:
    if not isinstance(answer, list):
        return answer
    found = [side.plain(one) for one in answer]
    return found if ordered else sorted(found, key=lambda values: values[0])


def _agree(what: str, answers: Mapping[str, Any]) -> None:
    (first, wanted), *others = answers.items()
    for title, answer in others:
        if answer != wanted:
            raise Disagreement(f"{what}: {first} and {title} do not agree")
