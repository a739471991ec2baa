"""Engines that answer wrongly in one way each, as some real one does, and declare it exact."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from pymodels.fetching import Chunk
from pymodels.lookups import LOOKUPS
from pymodels.planning import Pair, Plan, Term
from pymodels.schema import Place, Schema
from pymodels.storage import Storage
from pymodels.tables import View
from pymodels.values import ABSENT, family, is_array, order_key
from tests.toys import Decides, Engine, Fragment, ToyStorage, of_lookup, storage_with


def values_tested(place: Place, test: Callable[[Any], bool]) -> Fragment:
    """Return the fragment that tests the value of a top-level field."""

    def prepare(storage: Storage, schema: Schema) -> Decides:
        probe = storage.codec.probe(schema, (place.stored,))
        return lambda key, stored: test(probe(stored).f0)

    return Fragment(f"test of {place.path}", prepare)


def engine(**tests: Callable[[Any, Any], bool]) -> type[ToyStorage]:
    """Return a backend that answers some lookups by *tests* of (value, operand)."""

    def answer(test: Callable[[Any, Any], bool]) -> Callable[[Place, Any], Any]:
        def fragment(place: Place, operand: Any) -> Any:
            if place.is_key or place.inside:
                return NotImplemented
            return values_tested(place, lambda value: bool(test(value, operand)))

        return fragment

    native = Engine()
    native.lookups = {name: answer(test) for name, test in tests.items()}
    return storage_with(native)


def is_text(value: Any) -> bool:
    return type(value) is str


def like(value: Any, pattern: str) -> bool:
    """SQL's LIKE: ``%`` stands for anything, ``_`` for one character."""
    source = re.escape(pattern).replace("%", ".*").replace("_", ".")
    return is_text(value) and re.fullmatch(source, value, re.DOTALL) is not None


def plainly_equal(value: Any, operand: Any) -> bool:
    """Python's own equality, to which True is 1."""
    return bool((None if value is ABSENT else value) == operand)


def exclusively_between(value: Any, ends: Any) -> bool:
    return LOOKUPS["gt"].test(value, (family(ends[0]), order_key(ends[0]))) and LOOKUPS["lt"].test(
        value, (family(ends[1]), order_key(ends[1]))
    )


def never_of_absent(value: Any, operands: Any) -> bool:
    return value is not ABSENT and order_key(value) in set(map(order_key, operands))


def as_floats(value: Any, operand: Any) -> bool:
    """Equality for which 2**53 and 2**53 + 1 are the same."""
    if family(value) == family(operand) == "number":
        return float(value) == float(operand)
    return order_key(value) == order_key(operand)


def contains_like(value: Any, operand: Any) -> bool:
    """Membership in lists, and a pattern of SQL in text."""
    if is_text(value) and is_text(operand):
        return like(value, f"%{operand}%")
    return LOOKUPS["contains"].test(value, operand)


def contains_deep(value: Any, operand: Any) -> bool:
    """Membership in a list, or in a list inside it."""
    return LOOKUPS["contains"].test(value, operand) or (
        is_array(value) and any(is_array(one) and contains_deep(one, operand) for one in value)
    )


def across_kinds(value: Any, operand: Any) -> bool:
    """SQLite's order: any text is greater than any number."""
    if operand is None or value is None or value is ABSENT:
        return False
    return bool(order_key(value) > order_key(operand))


def in_local_time(value: Any, operand: Any) -> bool:
    return isinstance(value, datetime) and (value.astimezone(UTC).hour + 2) % 24 == operand


class SortsOperands(Engine):
    """Sorts what it is asked with in place, to send it in one form."""

    def __init__(self) -> None:
        self.lookups: Mapping[str, Any] = {"equals": self._equals}

    def _equals(self, place: Place, operand: Any) -> Any:
        if isinstance(operand, list):
            operand.sort(key=order_key)
        return NotImplemented


class LosesNulls(Engine):
    """SQL's third truth value: what is unknown is not found by the complement either."""

    def __init__(self) -> None:
        self.lookups: Mapping[str, Any] = {"equals": self._equals, "gt": self._gt}

    def _equals(self, place: Place, operand: Any) -> Any:
        return self._known("equals", place, operand)

    def _gt(self, place: Place, operand: Any) -> Any:
        return self._known("gt", place, operand)

    def _known(self, name: str, place: Place, operand: Any) -> Any:
        if place.is_key or place.inside or operand is None:
            return NotImplemented
        exact = of_lookup(name, place, operand)
        unknown = values_tested(place, lambda value: value is None or value is ABSENT)
        return Fragment(f"{exact}", _Known(exact, unknown))

    def negate(self, part: Fragment) -> Any:
        if not isinstance(part.prepare, _Known):
            return NotImplemented
        return super().negate(self.any_of([part.prepare.exact, part.prepare.unknown]))


class _Known:
    def __init__(self, exact: Fragment, unknown: Fragment) -> None:
        self.exact, self.unknown = exact, unknown

    def __call__(self, storage: Storage, schema: Schema) -> Decides:
        return self.exact.prepare(storage, schema)


class TooBroad(Engine):
    """Takes an index that ignores case for an exact one, as SQLite's LIKE would have it."""

    def __init__(self) -> None:
        self.lookups: Mapping[str, Any] = {"startswith": self._startswith}

    def _startswith(self, place: Place, operand: Any) -> Any:
        return of_lookup("istartswith", place, operand)


class WrongOrder(Engine):
    """Sorts by one field in a way of its own."""

    def __init__(self, sort: Callable[[list[tuple[Any, Pair]], Term], list[Pair]]) -> None:
        self.sort = sort

    def order_by(self, terms: tuple[Term, ...], descending: bool) -> Any:
        if len(terms) == 1 and not terms[0].place.inside and not terms[0].place.is_key:
            return (self.sort, terms[0])
        return super().order_by(terms, descending)


class SortingStorage(ToyStorage):
    """Sorts as its native order says."""

    def _chunks_in(self, view: View, plan: Plan) -> Iterator[Chunk]:
        if not isinstance(plan.native_order, tuple):
            return super()._chunks_in(view, plan)
        sort, term = plan.native_order
        whole = replace(plan, native_order="ascending keys", skip=0, most=None)
        probe = self.codec.probe(plan.schema, (term.place.stored,))
        chunks = super()._chunks_in(view, whole)
        rows = [(probe(row[1]).f0, row) for chunk in chunks for row in chunk]
        stop = None if plan.most is None else plan.skip + plan.most
        return iter((sort(rows, term)[plan.skip : stop],))


def sorting(sort: Callable[[list[tuple[Any, Pair]], Term], list[Pair]]) -> type[Storage]:
    toy = storage_with(WrongOrder(sort))

    class Sorting(SortingStorage):
        query_class = toy.query_class

    return Sorting


def is_null(value: Any) -> bool:
    return value is None or value is ABSENT


def _rank(value: Any) -> Any:
    return order_key(None if value is ABSENT else getattr(value, "value", value))


def rightly(rows: list[tuple[Any, Pair]], term: Term) -> list[Pair]:
    """The right order: what the wrong ones begin with."""
    ordered = sorted(rows, key=lambda one: (_rank(one[0]), one[1][0]), reverse=term.descending)
    nulls = [row for value, row in ordered if is_null(value)]
    others = [row for value, row in ordered if not is_null(value)]
    return nulls + others if term.nulls_first else others + nulls


def ties_ascending(rows: list[tuple[Any, Pair]], term: Term) -> list[Pair]:
    """Keys that ascend where values are the same, in either direction."""
    values = {row[0]: value for value, row in rows}
    ties = itertools.groupby(rightly(rows, term), key=lambda row: _rank(values[row[0]]))
    return [row for _, tied in ties for row in sorted(tied)]


def nulls_always_last(rows: list[tuple[Any, Pair]], term: Term) -> list[Pair]:
    return rightly(rows, Term(term.place, term.descending, False))


def by_utf16(rows: list[tuple[Any, Pair]], term: Term) -> list[Pair]:
    """Text in the order of its UTF-16, where U+1F600 comes before U+FFFF."""
    values = {row[0]: value for value, row in rows}
    found = rightly(rows, term)
    if not any(is_text(value) for value in values.values()):
        return found
    places = [n for n, row in enumerate(found) if is_text(values[row[0]])]
    texts = [found[n] for n in places]
    texts.sort(key=lambda row: values[row[0]].encode("utf-16-be"), reverse=term.descending)
    for place, row in zip(places, texts, strict=True):
        found[place] = row
    return found
