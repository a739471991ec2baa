"""Run the demonstration: ``make demo``, or ``python -m examples.geography``."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from examples.geography import report
from examples.geography.load import Source, load
from examples.geography.models import Country
from examples.geography.queries import QUESTIONS, Question, Rows, explained
from examples.geography.settings import COMPARED_WITH
from pymodels import get_storage
from pymodels.loading import Settings
from pymodels.storage import Storage

SETTINGS = "examples.geography.settings"


@dataclass
class Run:
    """What one storage answered, and how many seconds that took."""

    name: str
    loading: float
    answers: list[Rows | None] = field(default_factory=list)
    times: list[float | None] = field(default_factory=list)


def main(
    settings: Settings = f"{SETTINGS}:STORAGE",
    compared_with: Sequence[Settings] = COMPARED_WITH,
    *,
    console: Console | None = None,
    cities_of: Collection[str] | None = None,
) -> int:
    """Load the world into each storage and ask them all the same; return 1 if answers differ.

    Args:
        settings: the storage whose answers are shown.
        compared_with: those that must give the same.
        console: where to print.
        cities_of: the codes of the countries to take cities of, to be quicker; by default all.
    """
    console = console or report.make_console()
    source = Source(cities_of)

    def show(question: Question, rows: Rows) -> None:
        answer = report.table(question.columns, rows)
        report.question(console, question.title, question.ask, answer)

    with get_storage(settings) as world:
        console.print(f"The world goes into {world.name}, as {SETTINGS} says.", soft_wrap=True)
        run = Run(world.name.split()[0], _load(world, source, console))
        _show_capitals(world, console)
        _ask(world, run, show)
        explanation = Text(str(explained(world)))
        report.question(console, "How a query is answered", explained, explanation)

    runs = [run]
    for others in compared_with:
        with get_storage(others) as other:
            report.heading(console, f"The same, from {other.name}")
            runs.append(Run(other.name.split()[0], _load(other, source, console)))
            _ask(other, runs[-1])

    return _compare(runs, console)


def _load(world: Storage, source: Source, console: Console) -> float:
    begin = time.perf_counter()
    with report.progress(console, "Loading", len(source)) as advance:
        load(world, source, advance)
    return time.perf_counter() - begin


def _ask(
    world: Storage, run: Run, show: Callable[[Question, Rows], None] = lambda question, rows: None
) -> None:
    for question in QUESTIONS:
        if not question.needs <= world.capabilities:
            run.times.append(None)
            run.answers.append(None)
            continue
        begin = time.perf_counter()
        rows = question.ask(world)
        run.times.append(time.perf_counter() - begin)
        run.answers.append(rows)
        show(question, rows)


def _show_capitals(world: Storage, console: Console) -> None:
    without = list(Country.objects(world).where(capital=None).select("name", "capital_name"))
    console.print(
        f"{len(without)} of {Country.objects(world).count()} countries have no capital here: the "
        "source names none, or none of its cities."
    )
    named = (f"{name} ({capital})" if capital else name for name, capital in without)
    console.print(Text(", ".join(named), style="dim"))


def _compare(runs: Sequence[Run], console: Console) -> int:
    titles = [question.title for question in QUESTIONS]
    rows: list[tuple[str, list[float | None]]] = [("loading", [run.loading for run in runs])]
    rows += zip(titles, map(list, zip(*(run.times for run in runs), strict=True)), strict=True)
    console.print(report.times(("", *(run.name for run in runs)), rows))

    shown, differences = runs[0], 0
    for other in runs[1:]:
        for title, here, there in zip(titles, shown.answers, other.answers, strict=True):
            if here != there and here is not None and there is not None:
                differences += 1
                console.print(Text(f"Not the same: {title}", style="bold red"))
                console.print(Text(f"  {shown.name}: {here}\n  {other.name}: {there}"))
    if differences:
        return 1
    *names, last = (run.name for run in runs)
    verdict = f"{len(titles)} questions: {', '.join(names)} and {last} agree on every answer."
    console.print(Text(verdict, style="bold green"))
    return 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names in every script, on any terminal
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
