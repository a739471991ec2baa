"""Measure, and print the tables; with ``--write`` keep them, and the chart, beside README.md."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.by_hand import RawLmdb, RawSqlite
from benchmarks.calls import count_calls
from benchmarks.chart import chart
from benchmarks.index_growth import SIZES, measure_growth
from benchmarks.library import in_lmdb, in_memory, other_backends
from benchmarks.measuring import Opener, Timing, measure
from benchmarks.tables import conditions, table, write

CHART = Path(__file__).with_name("chart.svg")
_ABOUT_RATIOS = (
    "Ratios to LMDB and msgspec by hand, whose own times are in microseconds for one record or "
    "call:\n"
)
MARK = "measured"
FEWER = "†"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--records", type=int, default=20_000, help="how many (20000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is done (3)")
    parser.add_argument("--no-peers", action="store_true", help="only PyModels and by hand")
    parser.add_argument("--skip", nargs="*", default=(), metavar="NAME", help="leave some out")
    parser.add_argument("--growth", type=int, default=SIZES[-1], help="up to how many records")
    parser.add_argument("--write", action="store_true", help="keep the tables and the chart")
    options = parser.parse_args(arguments)

    openers: list[Opener] = [RawLmdb, in_lmdb, RawSqlite]
    if not options.no_peers:
        from benchmarks import django_peer, document_peers, object_peers, sql_peers

        modules = (sql_peers, django_peer, object_peers, document_peers)
        peers = [peer for module in modules for peer in module.PEERS]
        openers += [peer for peer in peers if peer.__name__ not in options.skip]
    print(f"Measuring {options.rounds} rounds ", end="", flush=True)
    again: list[Opener] = [RawLmdb, in_lmdb]  # which the targets are about
    with other_backends() as more:
        timings = measure(
            [*openers, *again, in_memory, *more, *again],
            count=options.records,
            rounds=options.rounds,
            advance=_dot,
        )
    print("\nMeasuring growth ", end="", flush=True)
    sizes = [size for size in SIZES if size <= options.growth]
    growth = measure_growth(sizes, _dot)
    print()
    text = "\n".join(
        (
            conditions(
                f"{options.records:,} records, medians of {options.rounds} interleaved rounds; "
            ),
            _ABOUT_RATIOS,
            ratios(timings, [side for side in timings[0].seconds if not _is_other(side)]),
            "The same run, PyModels on its other backends:\n",
            ratios(timings, list(filter(_is_other, timings[0].seconds))),
            _calls({"LMDB": count_calls(in_lmdb), "memory": count_calls(in_memory)}),
            "PyModels on LMDB, microseconds, as the records become more:\n",
            table(
                ("records", *(f"{size:,}" for size in sizes)),
                [(title, *(f"{one:,.0f}" for one in some)) for title, some in growth.items()],
            ),
        )
    )
    print(f"\n{text}")
    if options.write:
        write(text, MARK)
        CHART.write_text(_chart(timings), encoding="utf-8")


def _dot() -> None:
    print(".", end="", flush=True)


def _is_other(side: str) -> bool:
    """Tell whether a side is PyModels on another backend than LMDB."""
    return side.startswith("PyModels") and side != "PyModels, LMDB"


def ratios(timings: Sequence[Timing], sides: Sequence[str]) -> str:
    """Return the table of ratios of some sides, and below it what was timed on fewer records."""
    base = next(iter(timings[0].seconds))
    others = [side for side in sides if side != base]
    header = ("", f"{base}, µs", "target", *others)
    text = table(
        header,
        [
            (
                one.step.title,
                f"{one.each(base):,.1f}",
                f"{one.step.target:g}" if one.step.target else "",
                *(
                    f"{one.ratio(other, base):,.2f}{FEWER * (other in one.fewer)}"
                    for other in others
                ),
            )
            for one in timings
        ],
    )
    fewer = [
        f"{one.step.title}: {units:,} of {one.step.units:,}"
        for one in timings
        for units in sorted({units for side, units in one.fewer.items() if side in others})
    ]
    return (
        f"{text}\n{FEWER} timed on fewer records or calls ({'; '.join(fewer)})\n" if fewer else text
    )


def _chart(timings: Sequence[Timing]) -> str:
    base, *others = [side for side in timings[0].seconds if not _is_other(side)]
    return chart(
        f"Time as a multiple of {base} (shorter is faster)",
        others,
        {one.step.title: [one.ratio(other, base) for other in others] for one in timings},
    )


def _calls(counted: Mapping[str, Mapping[str, float]]) -> str:
    titles: Iterable[str] = next(iter(counted.values()))
    return table(
        ("calls of Python and C functions", *counted),
        [(title, *(f"{calls[title]:,.1f}" for calls in counted.values())) for title in titles],
    )


if __name__ == "__main__":
    main()
