"""What the demonstration prints."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

_WIDTH = 100
"""How wide the report is where there is no terminal to ask."""

_SIDE_BY_SIDE = 160
"""How wide a terminal must be for code and answer to stand side by side."""


def make_console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


@contextmanager
def progress(console: Console, what: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show a bar; what is yielded is to be called with how much is done since the last call."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def heading(console: Console, text: str) -> None:
    console.print()
    console.print(Rule(Text(text, style="bold"), align="left", style="dim"))


def question(
    console: Console, title: str, function: Callable[..., Any], answer: RenderableType
) -> None:
    """Show one question: its title, its code, and beside or below that its answer."""
    source = Syntax(body_of(function), "python", theme="ansi_dark", background_color="default")
    shown: RenderableType
    if console.width >= _SIDE_BY_SIDE:
        shown = Table.grid(padding=(0, 4))
        shown.add_row(source, answer)
    else:
        shown = Group(source, Padding(answer, (0, 0, 0, 2), expand=False))
    heading(console, title)
    console.print(shown)


def body_of(function: Callable[..., Any]) -> str:
    """Return the source of a function, without its first line and its docstring."""
    source = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.FunctionDef)
    statements = definition.body[1:] if ast.get_docstring(definition) else definition.body
    lines = source.splitlines()[statements[0].lineno - 1 : definition.end_lineno]
    return textwrap.dedent("\n".join(lines))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        numeric = all(isinstance(row[number], int | float) for row in rows)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(_shown, row))
    return made


def times(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[float | None]]]) -> Table:
    """Return a table of durations in seconds, of several runs side by side; None was not done."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number else "left")
    for title, seconds in rows:
        made.add_row(title, *("" if one is None else f"{one:.3f} s" for one in seconds))
    return made


def _shown(value: Any) -> Text:
    return Text(f"{value:,}" if isinstance(value, int | float) else str(value))
