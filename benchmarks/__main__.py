"""Measure, and print the table; with ``--write`` keep it in README.md."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.calls import count_calls
from benchmarks.measuring import BACKENDS, Timing, measure

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--records", type=int, default=20_000, help="how many (20000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is done (5)")
    parser.add_argument("--backend", choices=(*BACKENDS, "mongodb"), help="only this one")
    parser.add_argument("--write", action="store_true", help="keep the table in README.md")
    options = parser.parse_args(arguments)
    backends: Sequence[str] = [options.backend] if options.backend else [*BACKENDS, "mongodb"]

    parts = [_conditions(options.records, options.rounds)]
    if "mongodb" in backends:
        backends = [backend for backend in backends if backend != "mongodb"]
        parts.append(_mongodb(options.records, options.rounds))
    for backend in backends:
        print(f"Measuring {backend}: {options.rounds} rounds ", end="", flush=True)
        timings = measure(
            backend,
            count=options.records,
            rounds=options.rounds,
            advance=lambda: print(".", end="", flush=True),
        )
        print()
        parts.append(_timings(backend, timings))
    if backends:
        parts.append(_calls({backend: count_calls(backend) for backend in backends}))
    text = "\n".join(parts)
    print(f"\n{text}")
    if options.write:
        write(text)


def write(text: str, readme: Path = README) -> None:
    """Put the tables in their place in README.md."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _conditions(records: int, rounds: int) -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {records:,} records, medians of {rounds} rounds; "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"msgspec {version('msgspec')}, lmdb {version('lmdb')}, pymongo {version('pymongo')}, "
        f"mongoengine {version('mongoengine')}\n"
    )


def _timings(backend: str, timings: Iterable[Timing]) -> str:
    header = (backend, "PyModels, µs", "by hand, µs", "ratio")
    return _table(
        header,
        [
            (one.title, f"{one.library_each:,.1f}", f"{one.raw_each:,.1f}", f"{one.ratio:.2f}")
            for one in timings
        ],
    )


def _mongodb(records: int, rounds: int) -> str:
    """Measure on a server of our own, which is stopped afterwards."""
    from benchmarks.mongodb import compare
    from tests.mongodb_server import Server

    print(f"Measuring mongodb: {rounds} rounds ", end="", flush=True)
    server = Server()
    try:
        compared = compare(
            server.uri,
            count=records,
            rounds=rounds,
            advance=lambda: print(".", end="", flush=True),
        )
    finally:
        server.stop()
    print()
    return _table(
        ("mongodb", "PyModels, µs", "by hand, µs", "ratio", "at most", "MongoEngine, µs", "ratio"),
        [
            (
                one.title,
                f"{one.each('PyModels'):,.1f}",
                f"{one.each('by hand'):,.1f}",
                f"{one.ratio('PyModels', 'by hand'):.2f}",
                "" if one.limit is None else f"{one.limit:.1f}",
                f"{one.each('MongoEngine'):,.1f}",
                f"{one.ratio('MongoEngine', 'by hand'):.2f}",
            )
            for one in compared
        ],
    )


def _calls(counted: dict[str, dict[str, float]]) -> str:
    titles = next(iter(counted.values()))
    return _table(
        ("calls of Python and C functions", *counted),
        [(title, *(f"{calls[title]:,.1f}" for calls in counted.values())) for title in titles],
    )


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table that reads well both in a terminal and as Markdown."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        first, *others = (
            cell.ljust(width) if not number else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join((first, *others))} |"

    rule = "|".join(
        "-" * (width + 2) if not number else "-" * (width + 1) + ":"
        for number, width in enumerate(widths)
    )
    return "\n".join((line(header), f"|{rule}|", *map(line, rows))) + "\n"


if __name__ == "__main__":
    main()
