"""Pages in the order of an indexed column, which the engine finds and Python makes exact.

The engine knows no ties, no null and no absence, compares floats roughly, and puts records without
the column last whichever way it sorts. So it is asked only for the first values that are what the
model declares. Those that tie with the last of them are asked for as well, and put in the order of
their keys; and records that have no such value take their place before or after.

Which collections can have records of that sort is noted in a record of its own, ``:gaps:``, so that
they are only looked for where there may be some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymodels.ext._tokyo.columns import column_name, noted, types_of
from pymodels.ext._tokyo.conditions import (
    EXACT_NUMBER,
    Cond,
    Conjunction,
    Search,
    letters_of,
    margins,
    type_conditions,
)
from pymodels.ext._tokyo.keys import prefix_of
from pymodels.ext._tokyo.searching import Columns, Request, Table
from pymodels.kinds import Choice
from pymodels.planning import Term

_GAPS: Final = b"columns"


@dataclass(frozen=True, slots=True)
class EngineOrder:
    """An order by a column that has an index, which is trusted with values of some *letters*."""

    column: bytes
    letters: str
    descending: bool
    keys_descending: bool
    nulls_first: bool

    @property
    def by(self) -> tuple[bytes, str]:
        """The column, and what the engine calls the order."""
        kind = "NUM" if "i" in self.letters else "STR"
        return self.column, f"{kind}{'DESC' if self.descending else 'ASC'}"

    @property
    def is_exact(self) -> bool:
        """Whether the engine tells any two values apart."""
        return "f" not in self.letters

    def __repr__(self) -> str:
        name, order = self.by
        return f"{name.decode('utf-8', 'replace')} {order}, ties by key in Python"


def engine_order(
    terms: Sequence[Term], descending: bool, indexed: Mapping[bytes, str]
) -> EngineOrder | None:
    """Return the order that the engine has for *terms*, None where it has none."""
    place = terms[0].place
    if len(terms) > 1:
        if not terms[1].place.is_key:
            return None
        descending = terms[1].descending
    if place.inside or place.field is None or place.field.options.naive:
        return None
    column, letters = column_name(place.stored), letters_of(place.kind)
    # A date, a UUID or a choice is text too, and not every text is one: Python has to look.
    is_any = letters != "s" or place.kind.families == {"text"}
    if not is_any or letters not in _READERS or indexed.get(column) != letters:
        return None
    if place.kind.any_inside(Choice):
        return None
    return EngineOrder(column, letters, terms[0].descending, descending, terms[0].nulls_first)


def page_request(prefix: bytes, search: Search, order: EngineOrder, most: int) -> Request:
    """Return what the engine is asked for: the first records that have a value."""
    conds = (*search.searches[0], *type_conditions(order.column, order.letters))
    whole = Search((conds,), search.watched | {order.column})
    return Request(prefix, whole, most=most, by=order.by)


class Page:
    """Some records of a collection in the order of a column.

    Args:
        table: the table.
        prefix: what the keys of the collection begin with.
        search: what the engine finds, one conjunction.
        order: the order.
        gaps: the columns that some record of the collection may lack.
    """

    def __init__(
        self, table: Table, prefix: bytes, search: Search, order: EngineOrder, gaps: Columns | None
    ) -> None:
        self._table = table
        self._prefix = prefix
        self._order = order
        self._search = search
        self._conds: Conjunction = search.searches[0]
        self._watched = search.watched | {order.column}
        self._has_gaps = gaps is not None and _entry(order.column) in gaps.get(_GAPS, b"")
        self._is_whole = True
        self._reader = _READERS[order.letters]

    def keys(self, skip: int, most: int) -> list[bytes] | None:
        """Return the keys of the page; None if a record does not fit, so that Python must look."""
        order, wanted = self._order, skip + most
        nulls, empty = self._without_value() if self._has_gaps else ([], [])
        found = nulls if order.nulls_first else []
        if not order.descending:
            found = found + empty
        if len(found) < wanted:
            found = found + self._with_value(wanted - len(found))
        if order.descending:
            found = found + empty
        if not order.nulls_first:
            found = found + nulls
        return found[skip:wanted] if self._is_whole else None

    def _found(self, *searches: Conjunction) -> list[bytes]:
        whole = tuple((*self._conds, *one) for one in searches)
        return self._table.search(Request(self._prefix, Search(whole, self._watched)))

    def _without_value(self) -> tuple[list[bytes], list[bytes]]:
        """Return the keys of records whose value is null or absent, and of those with no text."""
        column = self._order.column
        fits = type_conditions(column, self._order.letters)
        nulls: list[bytes] = []
        empty: list[bytes] = []
        keys = self._found(*((cond.opposite,) for cond in fits))
        for key, columns in self._records(keys):
            letter = types_of(columns).get(column)
            if column not in columns or letter == b"n":
                nulls.append(key)
            elif letter == b"e" and self._order.letters == "s":
                empty.append(key)
            else:
                self._is_whole = False
        if self._order.keys_descending:
            return nulls[::-1], empty[::-1]
        return nulls, empty

    def _records(self, keys: Sequence[bytes]) -> list[tuple[bytes, Columns]]:
        pairs = zip(keys, self._table.get_many(keys), strict=True)
        return [(key, columns) for key, columns in pairs if columns is not None]

    def _with_value(self, most: int) -> list[bytes]:
        """Return the keys of the first records that have a value, in order."""
        order = self._order
        fits = type_conditions(order.column, order.letters)
        keys = self._table.search(page_request(self._prefix, self._search, order, most))
        rows = self._read(keys)
        if rows and len(keys) == most:
            last = (min if order.descending else max)(value for value, _ in rows)
            ties = self._ties(last)
            if ties is None:
                return []
            tied = self._found((*ties, *fits))
            if order.is_exact:
                rows = [row for row in rows if row[0] != last]
                rows += [(last, key) for key in tied]
            else:
                there = {key for _, key in rows}
                rows += self._read([key for key in tied if key not in there])
        rows.sort(key=_key_of, reverse=order.keys_descending)
        rows.sort(key=_value_of, reverse=order.descending)
        return [key for _, key in rows[:most]]

    def _read(self, keys: Sequence[bytes]) -> list[tuple[Any, bytes]]:
        """Return the values of records, and their keys."""
        rows = []
        for key, columns in self._records(keys):
            try:
                rows.append((self._reader(columns[self._order.column]), key))
            except (KeyError, ValueError):  # another program has changed the column
                self._is_whole = False
        return rows

    def _ties(self, value: Any) -> Conjunction | None:
        """Return the conditions for what the engine may not tell from a value."""
        column = self._order.column
        if "i" not in self._order.letters:
            return (Cond(column, "STREQ", value),)
        if self._order.is_exact:
            if abs(value) < EXACT_NUMBER:
                return (Cond(column, "NUMEQ", b"%d" % value),)
            self._is_whole = False
            return None
        return (Cond(column, "NUMBT", b"%b %b" % margins(value, short=True, always=True)),)


def _value_of(row: tuple[Any, bytes]) -> Any:
    return row[0]


def _key_of(row: tuple[Any, bytes]) -> bytes:
    return row[1]


def _number(text: bytes) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _same(text: bytes) -> bytes:
    return text


_READERS: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "i": int,
    "if": _number,
    "s": _same,
    "b": _same,
    "t": _same,
}
"""What a column sorts by: text in UTF-8, and an instant in ISO's form, sort as their bytes do."""


# --- which columns may be missing ---------------------------------------------------------------


def gaps_key(collection: str) -> bytes:
    """Return where it is noted which columns some records of a collection may lack."""
    return prefix_of(f"gaps:{collection}")


def _entry(column: bytes) -> bytes:
    return b"|%b|" % noted(column)


def with_gaps(
    gaps: Columns | None,
    columns: Columns,
    letters: Mapping[bytes, str],
    indexed: Mapping[bytes, str],
) -> Columns | None:
    """Return the note after a record with *columns* was added; None if it stays as it is."""
    said = (gaps or {}).get(_GAPS, b"")
    added = [
        entry
        for column in indexed
        if (column not in columns or letters.get(column, "s") in "ne")
        and (entry := _entry(column)) not in said
    ]
    return {_GAPS: said + b"".join(added)} if added else None
