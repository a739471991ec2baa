"""Tables that read well in a terminal and as Markdown, and keeping them in README.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

README: Final = Path(__file__).with_name("README.md")


def conditions(what: str = "") -> str:
    """Say when and where something was measured."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {what}{os.cpu_count()} cores, {platform.system()} "
        f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}, "
        f"msgspec {version('msgspec')}, lmdb {version('lmdb')}\n"
    )


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table: its first column is of text, the others are of numbers."""
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


def marks(name: str) -> tuple[str, str]:
    """Return the lines between which the tables called *name* stand."""
    return f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"


def write(text: str, name: str, readme: Path = README) -> None:
    """Put tables in their place in README.md."""
    begin, end = marks(name)
    before, _, rest = readme.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
