"""Records in groups: ``query.group_by("city").count()``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from pymodels import aggregation
from pymodels.columns import Column
from pymodels.conditions import EVERYTHING
from pymodels.planning import Plan
from pymodels.values import order_key

if TYPE_CHECKING:
    from pymodels.paths import Path
    from pymodels.query import Query

Rows: TypeAlias = list[tuple[Any, ...]]


def by_engine(
    query: Query[Any], fields: Sequence[Any], function: str, counted: Any = None
) -> Rows | None:
    """Return a row for each group, in order, if the engine can compute them; else None."""
    storage = query.storage.current
    places = [query.place(field) for field in fields]
    place = None if counted is None else query.place(counted)
    asked = storage.query_class_of().native.group_by(places, function, place)
    if asked is NotImplemented:
        return None
    plan = query.plan()
    rows = storage.group(plan, asked) if plan.is_left_to_engine else None
    if rows is None:
        return None
    return sorted(rows, key=lambda row: tuple(map(order_key, row[: len(places)])))


def read_column(
    query: Query[Any], field: Any, read: Callable[[Column], list[Any] | None]
) -> list[Any] | None:
    """Return what *read* makes of a field's values, if an index has those of a query's records."""
    asked, place = query._asked, query.place(field)
    if asked is query._schema.everything and asked.condition is EVERYTHING:
        plan = Plan(query._schema, EVERYTHING, unordered=True)
    else:
        plan = query.plan(order=(), unordered=not (asked.offset or asked.limit))
    return query.storage.current.read_column(plan, place, read)


class Grouping:
    """The records of a query, grouped by the values of some fields.

    Each method returns a list of tuples, the group's values first, in the order of those values.
    """

    def __init__(self, query: Query[Any], fields: tuple[Any, ...]) -> None:
        self._query = query
        self._fields = fields

    def count(self) -> list[tuple[Any, ...]]:
        """Return (value, ..., number of records) for each group."""
        found = by_engine(self._query, self._fields, "count")
        if found is None and len(self._fields) == 1:
            found = read_column(self._query, self._fields[0], Column.counts)
        if found is not None:
            return found
        columns = self._query.columns(self._fields)
        return [(*group, len(some)) for group, some in aggregation.grouped(columns, columns[0])]

    def _each(
        self, name: str, field: Any, function: Callable[[list[Any]], Any], what: str = ""
    ) -> list[tuple[Any, ...]]:
        found = by_engine(self._query, self._fields, name, field)
        if found is not None:
            return found
        *columns, counted = self._query.columns(self._fields, field, what)
        groups = aggregation.grouped(columns, counted)
        if aggregation.is_single(self._query.place(field)):
            return [(*group, function(some)) for group, some in groups]
        return [(*group, function(list(chain.from_iterable(some)))) for group, some in groups]

    def sum(self, field: str | Path[Any]) -> list[tuple[Any, ...]]:
        """Return (value, ..., sum of *field*) for each group."""
        return self._each("sum", field, aggregation.total, "a sum")

    def avg(self, field: str | Path[Any]) -> list[tuple[Any, ...]]:
        """Return (value, ..., mean of *field*) for each group."""
        return self._each("avg", field, aggregation.mean, "a mean")

    def min(self, field: str | Path[Any]) -> list[tuple[Any, ...]]:
        """Return (value, ..., least *field*) for each group."""
        return self._each("min", field, aggregation.least)

    def max(self, field: str | Path[Any]) -> list[tuple[Any, ...]]:
        """Return (value, ..., greatest *field*) for each group."""
        return self._each("max", field, aggregation.greatest)
