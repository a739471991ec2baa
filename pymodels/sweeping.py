"""Whether a query is answered by going through columns: what that would find, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pymodels.byindex import ByIndex, ColumnOrder, InColumns
from pymodels.conditions import EVERYTHING, And, Condition
from pymodels.evaluation import asks_only_values, has_whole_values, names_in
from pymodels.planning import Term

VALUE: Final = 0.15
"""What it takes to decode a value of a column and to look at it; see ``expecting`` for the unit."""


class Sweep(msgspec.Struct, frozen=True):
    """A way to find records by columns: which parts of the condition it decides, all of them
    exactly, and in what order it has the records, if that is asked for and it can.
    """

    fragment: InColumns
    decides: frozenset[int]
    order: ColumnOrder | None = None

    def cost(self, records: int) -> float:
        """Return what it takes to go through the columns of so many records."""
        return records * VALUE * (len(self.fragment.indexes) + (self.order is not None))


def sweep(
    native: ByIndex,
    parts: Sequence[Condition],
    order: tuple[Term, ...],
    descending: bool,
    is_limited: bool,
) -> Sweep | None:
    """Return what columns can do for a query, None where they have nothing to do with it."""
    columns = native.columns
    if not columns:
        return None
    decided = {
        number: part
        for number, part in enumerate(parts)
        if asks_only_values(part) and all(name in columns for name in names_in(part))
    }
    numbers = frozenset(decided)
    found = tuple(decided.values())
    condition = EVERYTHING if not found else found[0] if len(found) == 1 else And(found)
    indexes = tuple(columns[name] for name in names_in(condition))
    column_order = None
    if is_limited and len(numbers) == len(parts) and len(order) == 1:
        (term,) = order
        column = columns.get(term.place.stored)
        if column is not None and has_whole_values(term.place) and term.descending == descending:
            column_order = ColumnOrder(column, term)
    if not numbers and column_order is None:
        return None
    return Sweep(InColumns(indexes, condition), numbers, column_order)
