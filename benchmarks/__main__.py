"""Measure, and print the table; with ``--write`` keep it in README.md."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Final

from benchmarks.calls import count_calls
from benchmarks.measuring import BACKENDS, Timing, measure
from benchmarks.tables import conditions, table, write

MARK: Final = "measured"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--records", type=int, default=20_000, help="how many (20000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is done (5)")
    parser.add_argument("--backend", choices=BACKENDS, help="only this one")
    parser.add_argument("--write", action="store_true", help="keep the table in README.md")
    options = parser.parse_args(arguments)
    backends = [options.backend] if options.backend else BACKENDS

    what = f"{options.records:,} records, medians of {options.rounds} rounds; "
    parts = [conditions(what)]
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
    parts.append(_calls({backend: count_calls(backend) for backend in backends}))
    text = "\n".join(parts)
    print(f"\n{text}")
    if options.write:
        write(text, MARK)


def _timings(backend: str, timings: Iterable[Timing]) -> str:
    header = (backend, "PyModels, µs", "by hand, µs", "ratio")
    return table(
        header,
        [
            (one.title, f"{one.library_each:,.1f}", f"{one.raw_each:,.1f}", f"{one.ratio:.2f}")
            for one in timings
        ],
    )


def _calls(counted: dict[str, dict[str, float]]) -> str:
    titles = next(iter(counted.values()))
    return table(
        ("calls of Python and C functions", *counted),
        [(title, *(f"{calls[title]:,.1f}" for calls in counted.values())) for title in titles],
    )


if __name__ == "__main__":
    main()
