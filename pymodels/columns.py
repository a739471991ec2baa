"""Distinct values, the least and the greatest, read off an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from pymodels import aggregation, conditions
from pymodels.byindex import ByIndex, InIndex
from pymodels.encoding import decoded_text, decoded_texts, encode
from pymodels.kinds import Scalar
from pymodels.ordered import LONGEST
from pymodels.planning import Plan
from pymodels.ranges import EVERY, NULL, common
from pymodels.readings import holds_only
from pymodels.schema import Place
from pymodels.tables import IndexView, index_table

if TYPE_CHECKING:
    from pymodels.tablereading import TableReader


class Column:
    """The values of the records that a plan finds, at a place that an index has in order.

    Only one record is read for each value, since equal values may differ in their type; of text
    not even that.
    """

    def __init__(
        self, storage: TableReader, view: IndexView, plan: Plan, place: Place, index: InIndex
    ) -> None:
        self._storage = storage
        self._view = view
        self._plan = plan
        self._place = place
        self._table = index_table(plan.schema.collection, index.index.name)
        self._ranges = index.ranges

    def _entries(self, *, descending: bool = False) -> Iterator[tuple[bytes, bytes, bytes, int]]:
        for low, high in self._ranges[:: -1 if descending else 1]:
            yield from self._view.distinct(self._table, low, high, descending=descending)

    def _pairs(self, keys: list[bytes]) -> list[tuple[bytes, bytes]]:
        return list(self._view.fetch(self._plan.schema.table, keys))

    def _values(self, pairs: list[tuple[bytes, bytes]]) -> list[Any]:
        schema = self._plan.schema
        decoded = [(schema.key.decode(key), stored) for key, stored in pairs]
        rows = aggregation.rows(self._storage, schema, [self._place], decoded)
        return [value for (value,) in rows]

    def values(self) -> list[Any] | None:
        """Return the distinct values in order, None where entries alone do not tell them."""
        if holds_text(self._place):
            return self._text()
        with self._view.steady():
            found = list(self._entries())
            if any(len(entry) >= LONGEST for entry, *_ in found):
                return None
            pairs = self._pairs([last for _, _, last, _ in found])
        return self._values(pairs)

    def _text(self) -> list[Any] | None:
        found: list[bytes] = []
        with self._view.steady():
            for low, high in self._ranges:
                found += self._view.each_entry(self._table, low, high)
        return texts(found)

    def counts(self) -> list[tuple[Any, int]] | None:
        """Return the distinct values in order, each with how many records have it."""
        with self._view.steady():
            found = list(self._entries())
            values: list[Any] | None
            if holds_text(self._place):
                values = texts([entry for entry, *_ in found])
            elif any(len(entry) >= LONGEST for entry, *_ in found):
                return None
            else:
                values = self._values(self._pairs([first for _, first, _, _ in found]))
        if values is None:
            return None
        return [(value, count) for value, (*_, count) in zip(values, found, strict=True)]

    def least(self) -> list[Any] | None:
        """Return the least value in a list, which is empty if there is none."""
        return self._end(descending=False)

    def greatest(self) -> list[Any] | None:
        """Return the greatest value in a list, which is empty if there is none."""
        return self._end(descending=True)

    def _end(self, *, descending: bool) -> list[Any] | None:
        ranges = NOT_NULL if self._ranges is EVERY else common(self._ranges, NOT_NULL)
        pairs: list[tuple[bytes, bytes]] = []
        with self._view.steady():
            for low, high in reversed(ranges) if descending else ranges:
                found = self._view.end(self._table, low, high, descending=descending)
                if found is None:
                    continue
                entry, first = found
                if len(entry) >= LONGEST:
                    return None
                if holds_text(self._place):
                    return [decoded_text(entry)]
                stored = self._view.get(self._plan.schema.table, first)
                pairs = [] if stored is None else [(first, stored)]
                break
        return self._values(pairs)


_NULL: Final = encode(None)
NOT_NULL: Final = ((NULL[1], EVERY[0][1]),)
"""Where all entries are but those of null, which is the least of all."""


def texts(entries: list[bytes]) -> list[Any] | None:
    """Return the text, or null, of which these are the entries, in order; None if one is cut."""
    if not entries or entries[0] != _NULL:
        return decoded_texts(entries)
    found = decoded_texts(entries[1:])
    return None if found is None else [None, *found]


def holds_text(place: Place) -> bool:
    """Tell whether all values at a place are text or null, and any text is one."""
    if place.plain is not str:
        return False
    kind = place.kind
    return kind.annotation is str if type(kind) is Scalar else holds_only(kind, (str,))


def column_of(native: ByIndex, plan: Plan, place: Place) -> InIndex | None:
    """Return the part of an index that has the values of exactly what *plan* finds, if one has."""
    index = native.alone.get((place.stored, *place.inside))
    if (
        index is None
        or place.is_key
        or place.inside  # lists on the way count by their members
        or not plan.exact
        or plan.offset
        or plan.skip
        or plan.limit is not None
        or plan.most is not None
    ):
        return None
    if plan.condition is conditions.EVERYTHING or plan.condition == conditions.EVERYTHING:
        return InIndex(index, EVERY)
    fragment = plan.native
    return fragment if isinstance(fragment, InIndex) and fragment.index is index else None
