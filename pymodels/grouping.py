"""Records in groups: ``query.group_by("city").count()``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from pymodels import aggregation

if TYPE_CHECKING:
    from pymodels.paths import Path
    from pymodels.query import Query

_Groups: TypeAlias = list[tuple[tuple[Any, ...], list[tuple[Any, ...]]]]


class Grouping:
    """The records of a query, grouped by the values of some fields.

    Each method returns a list of tuples, the group's values first, in the order of those values.
    """

    def __init__(self, query: Query[Any], fields: tuple[Any, ...]) -> None:
        self._query = query
        self._fields = fields

    def _grouped(self, rows: Iterable[tuple[Any, ...]]) -> _Groups:
        return aggregation.grouped(rows, len(self._fields))

    def count(self) -> list[tuple[Any, ...]]:
        """Return (value, ..., number of records) for each group."""
        if len(self._fields) == 1:
            found: list[tuple[Any, ...]] | None = self._query._counts_by_index(self._fields[0])
            if found is not None:
                return found
        groups = self._grouped(self._query.rows(self._fields))
        return [(*group, len(rows)) for group, rows in groups]

    def _each(
        self, field: Any, function: Callable[[list[Any]], Any], what: str = ""
    ) -> list[tuple[Any, ...]]:
        return [
            (*group, function([member for row in rows for member in row[-1]]))
            for group, rows in self._grouped(
                self._query.rows_with_members(self._fields, field, what)
            )
        ]

    def sum(self, field: str | Path[Any]) -> list[tuple[Any, ...]]:
        """Return (value, ..., sum of *field*) for each group."""
        return self._each(field, aggregation.total, "a sum")

    def avg(self, field: str | Path[Any]) -> list[tuple[Any, ...]]:
        """Return (value, ..., mean of *field*) for each group."""
        return self._each(field, aggregation.mean, "a mean")

    def min(self, field: str | Path[Any]) -> list[tuple[Any, ...]]:
        """Return (value, ..., least *field*) for each group."""
        return self._each(field, aggregation.least)

    def max(self, field: str | Path[Any]) -> list[tuple[Any, ...]]:
        """Return (value, ..., greatest *field*) for each group."""
        return self._each(field, aggregation.greatest)
