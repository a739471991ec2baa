"""Plans of questions to indexes, most of them by what is remembered of others of the same shape.

Two conditions have one shape if they differ in their operands alone, and not in the types of those.
What can be done about one can be done about the other, with other ranges of the same indexes. So
``choosing.ways`` is asked once for nearly every shape; after that operands are turned into ranges
(``prepared``), and of several ways the one that takes least is taken (``weighing``), which depends
on what is there at the moment.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final, cast

import msgspec

from pymodels.byindex import COMPARABLE, ByIndex, InIndex
from pymodels.catalog import Catalog
from pymodels.choosing import ways
from pymodels.conditions import EVERYTHING, And, Condition, Lookup, Not
from pymodels.expecting import Counter, Sample, Sizes
from pymodels.planning import Plan, Term, condition_names
from pymodels.prepared import learn, swept_by
from pymodels.schema import Schema
from pymodels.tables import IndexView, View
from pymodels.unplanned import UnplannedReader
from pymodels.weighing import Asked, Candidate, Ways, take


class PlanningReader(UnplannedReader):
    """A storage that plans how to read tables, by its indexes if it keeps such."""

    keeps_indexes: ClassVar[bool] = False
    """Whether its views and batches know of ordered indexes."""

    def __init__(self, *, name: str, read_only: bool = False) -> None:
        super().__init__(name=name, read_only=read_only)
        self.catalogs: dict[str, Catalog] = {}
        self.samples: dict[str, Sample] = {}

    @abstractmethod
    def catalog(self, view: View, collection: str) -> Catalog | None:
        """Return what is known of a collection in the state that a view reads."""

    def plan(  # type: ignore[override]  # there are no other options
        self,
        schema: Schema,
        condition: Condition,
        *,
        order: tuple[Term, ...] = (),
        descending: bool = False,
        unordered: bool = False,
        offset: int = 0,
        limit: int | None = None,
        names: frozenset[str] | None = None,
    ) -> Plan:
        native: ByIndex | None = None
        if self.keeps_indexes:
            try:
                native = self.catalogs[schema.collection].plans[schema]
            except KeyError:
                native = self._native(schema)
        if native is None:
            return super().plan(
                schema,
                condition,
                order=order,
                descending=descending,
                unordered=unordered,
                offset=offset,
                limit=limit,
                names=names,
            )
        parts = condition.parts if type(condition) is And else (condition,)
        asked = order, descending, unordered, limit is not None
        shape = shape_of(native, parts, asked)
        known: Ways | None = None
        found: tuple[Candidate, ...] = ()
        prepared, is_new = None, shape is not None
        if shape is not None:
            try:
                prepared, is_new = native.prepared[shape], False
            except KeyError:
                pass
        if is_new:
            known = learn(native, self.codec, parts, asked, shape)
            found = known.found
        elif prepared is not None:
            known = prepared.ways
            for (number, source), one in zip(prepared.finders, known.found, strict=True):
                find, index, points = source  # as ``fragment_of`` does, in fewer calls
                part: Any = parts if number is None else parts[number]
                fragment = find(part) if index is None else find(part.operand)
                if fragment is None:
                    known = None
                    break
                if index is not None:
                    fragment = InIndex(index, fragment, points)
                found += (Candidate(fragment, one.exact, one.decides, one.asked, one.rank),)
            if known is not None and known.sweep is not None:
                sweep = swept_by(known.sweep, prepared.swept, parts)
                known = msgspec.structs.replace(known, sweep=sweep)
        if known is None:
            known = ways(native, parts, self.codec, asked)
            found = known.found
        fetches = names is None or names != frozenset()
        stop = None if limit is None else offset + limit
        chosen, native_order, expected = take(self, schema, known, found, stop, fetches=fetches)
        rest: tuple[Condition, ...] = ()
        for number, part in enumerate(parts):
            if number not in chosen.exact:
                rest += (part,)
        left = EVERYTHING if not rest else And(rest) if rest[1:] else rest[0]
        is_finished = not rest and (unordered or native_order is not None)
        if names is not None:
            if rest:
                names |= condition_names(left)
            if native_order is None:
                names |= {term.place.stored for term in order}
        return Plan(
            schema,
            condition,
            chosen.fragment,
            left,
            order,
            descending,
            unordered,
            native_order,
            offset if is_finished else 0,
            limit if is_finished else None,
            0 if is_finished else offset,
            None if is_finished else limit,
            names,
            expected,
        )

    def _index_view(self) -> AbstractContextManager[IndexView]:
        return cast("AbstractContextManager[IndexView]", self.view())

    def _native(self, schema: Schema) -> ByIndex | None:
        """Return what the indexes can do that *schema* can use, None without any."""
        catalog = self.catalogs.get(schema.collection)
        if catalog is None:
            self.check_open()
            with self.view() as view:
                catalog = self.catalog(view, schema.collection)
            if catalog is None:
                return None
        if not catalog.ordered:
            return None
        native: ByIndex | None = catalog.plans.get(schema)
        if native is None:
            by_key = self.query_class_of().native
            native = catalog.plans[schema] = ByIndex(by_key, schema, catalog.ordered)
        return native

    def count_each(self, schema: Schema, asked: Sequence[Any], of_records: bool) -> Sizes:
        """Return what ``Counter.each`` does of the state of this moment."""
        with self._index_view() as view:
            return Counter(view, self.samples, schema).each(asked, of_records)

    def expected(self, plan: Plan) -> int | None:
        if plan.expected is not None or not self.keeps_indexes:
            return plan.expected
        _, (expected,) = self.count_each(plan.schema, (plan.native,), False)
        return expected


# --- shapes ---------------------------------------------------------------------------------


def shape_of(native: ByIndex, parts: tuple[Any, ...], asked: Asked) -> tuple[Any, ...] | None:
    """Return what conditions have in common with all others for which the same can be done.

    None if there are so many, or such, that nothing is remembered of them. The order that is asked
    for belongs to it, and what an index of some records takes for granted.
    """
    order, descending, unordered, is_limited = asked
    shape: tuple[Any, ...] = (descending, unordered, is_limited)
    for term in order:
        shape += (term.place.way, term.place.kind, term.descending, term.nulls_first)
    for part in parts:
        some: tuple[Any, ...] = (part,)
        if type(part) is not Lookup:
            some = (part.part,) if type(part) is Not else part.parts
            shape += (type(part),)
        for one in some:
            if shape[_LONGEST:]:
                return None
            if type(one) is not Lookup:
                inside = shape_of(native, (one,), _UNORDERED)
                if inside is None:
                    return None
                shape += inside
                continue
            place, operand = one.place, one.operand
            if place is None:
                return None
            kind: Any = type(operand)
            if kind is tuple:
                kind = frozenset(map(type, operand))
            elif kind is bool:
                kind = operand
            # A place may be made anew each time; its kind and its field are the model's.
            shape += ((one.name, place.way, place.kind, place.field, kind),)
            if (place.way, one.name) in native.taken:
                if type(operand) not in COMPARABLE or (place.way, one.name) in native.unclear:
                    return None
                if (place.way, one.name, type(operand), operand) in native.clauses:
                    shape += (operand,)
        if type(part) is not Lookup:
            shape += (_END,)
    return shape


_LONGEST: Final = 300
"""Nothing is remembered of conditions of about so many parts."""

_UNORDERED: Final[Asked] = ((), False, False, False)

_END: Final = object()
"""What stands behind the parts of a condition."""
