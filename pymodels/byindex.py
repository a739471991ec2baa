"""What ordered indexes find, and the orders they have, as fragments of a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from pymodels.bykey import Fragment
from pymodels.conditions import EVERYTHING, Condition, Lookup
from pymodels.encoding import encoded_runs, encoded_texts
from pymodels.ordered import (
    COLUMN,
    TRIGRAM,
    OrderedIndex,
    fits,
)
from pymodels.planning import Native, Plan, Superset, Term
from pymodels.ranges import ANSWERED, Range, outside, ranges_of, shortened
from pymodels.schema import Place, Schema
from pymodels.trigrams import WITH_PARTS, required
from pymodels.values import ARRAYS


class InIndex(msgspec.Struct, frozen=True):
    """The records with an entry in some ranges of an index, each after those before it.

    ``points`` says that each range holds a single entry.
    """

    index: OrderedIndex
    ranges: tuple[Range, ...]
    points: bool = False

    def __repr__(self) -> str:
        if self.points:
            several = "" if len(self.ranges) == 1 else f"{len(self.ranges)} values in "
            return f"{several}index on {self.index.name}"
        if not self.ranges:
            return f"nothing in index on {self.index.name}"
        return f"range of index on {self.index.name}"


class AllOf(msgspec.Struct, frozen=True):
    """The records that every part finds."""

    parts: tuple[Any, ...]

    def __repr__(self) -> str:
        return " and ".join(f"({part!r})" for part in self.parts)


class AnyOf(msgspec.Struct, frozen=True):
    """The records that at least one part finds."""

    parts: tuple[Any, ...]

    def __repr__(self) -> str:
        return " or ".join(f"({part!r})" for part in self.parts)


class IndexOrder(msgspec.Struct, frozen=True):
    """The order of an index; ``nulls`` is where the entries for null lie that change places."""

    index: OrderedIndex
    descending: bool
    nulls: Range | None = None

    def __repr__(self) -> str:
        return f"{'descending ' if self.descending else ''}index on {self.index.name}"


class InColumns(msgspec.Struct, frozen=True):
    """The records of which a condition holds that asks only about the values in some columns.

    The columns stand in the order of ``evaluation.names_in(condition)``.
    """

    indexes: tuple[OrderedIndex, ...]
    condition: Condition = EVERYTHING

    @property
    def reads_everything(self) -> bool:
        """It goes through all values, of which there are as many as records."""
        return True

    def __repr__(self) -> str:
        return _of_columns(self.indexes)


class ColumnOrder(msgspec.Struct, frozen=True):
    """The order of the values in a column."""

    index: OrderedIndex
    term: Term

    def __repr__(self) -> str:
        return f"{'descending ' if self.term.descending else ''}{_of_columns((self.index,))}"


def _of_columns(indexes: Sequence[OrderedIndex]) -> str:
    names = ", ".join(index.parts[0].path[0] for index in indexes)
    return f"column{'s' * (len(indexes) > 1)} of {names}" if names else "every key"


def indexes_of(plan: Plan) -> list[OrderedIndex]:
    """Return every index that a plan reads."""
    fragment = plan.native
    found = [fragment.index] if type(fragment) is InIndex else list(indexes_in(fragment))
    order = plan.native_order
    if type(order) is not str and order is not None and order.index not in found:
        found.append(order.index)
    return found


def indexes_in(fragment: Any) -> Iterator[OrderedIndex]:
    """Yield every index that a fragment reads."""
    if isinstance(fragment, InIndex):
        yield fragment.index
    elif isinstance(fragment, InColumns):
        yield from fragment.indexes
    elif isinstance(fragment, AllOf | AnyOf):
        for part in fragment.parts:
            yield from indexes_in(part)


# --- single lookups, as planning.split wants them -------------------------------------------


class ByIndex(Native[Any]):
    """Finds records by keys, by unique values and by the indexes that a model can use.

    *indexes* are those that are ready and read their values as *schema* does.

    ``alone`` has the index by which a whole field is found and sorted by, ``first`` all that begin
    with a path and have all records of which something is asked there, and ``trigrams`` the paths
    of those of three characters. ``taken`` are the paths and lookups that indexes of some records
    take for granted, ``clauses`` these with the type of the operand, and the operand, where those
    can be compared, and ``unclear`` those of which some cannot. ``prepared`` remembers what can be
    done about conditions of a shape.
    """

    def __init__(
        self, keys: Native[Fragment], schema: Schema, indexes: Sequence[OrderedIndex]
    ) -> None:
        self.keys = keys
        usable = [index for index in indexes if fits(index, schema)]
        self.indexes = tuple(index for index in usable if index.parts[0].form != COLUMN)
        self.columns = {one.parts[0].path[0]: one for one in usable if one not in self.indexes}
        self.partial = [index for index in self.indexes if index.where]
        self.trigrams = {
            index.parts[0].path for index in self.indexes if index.parts[0].form == TRIGRAM
        }
        self.first: dict[tuple[str, ...], list[OrderedIndex]] = {}
        for index in sorted(self.indexes, key=lambda index: len(index.parts)):
            if not index.where and index.has_all_with(1):
                self.first.setdefault(index.parts[0].path, []).append(index)
        whole = {path: _whole_of(some, schema) for path, some in self.first.items()}
        self.alone = {path: index for path, index in whole.items() if index is not None}
        clauses = [clause for index in self.partial for clause in index.where]
        self.taken = {(clause.path, clause.lookup) for clause in clauses}
        values = [(clause, msgspec.msgpack.decode(clause.operand)) for clause in clauses]
        self.clauses = {
            (one.path, one.lookup, type(value), value)
            for one, value in values
            if type(value) in COMPARABLE
        }
        self.unclear = {
            (one.path, one.lookup) for one, value in values if type(value) not in COMPARABLE
        }
        self.prepared: dict[Any, Any] = {}
        names = {*keys.lookups, *WITH_PARTS, *ANSWERED}
        self.lookups = {name: self._answer(name) for name in names}  # type: ignore[misc]

    def _answer(self, name: str) -> Callable[[Place, Any], Any]:
        by_key = self.keys.lookups.get(name)

        def answer(place: Place, operand: Any) -> Any:
            if by_key is not None:
                found = by_key(place, operand)
                if found is not NotImplemented or place.is_key:
                    return found
            if place.is_key:
                return NotImplemented
            return self.find(place, name, operand)

        return answer

    def find(self, place: Place, name: str, operand: Any) -> Any:
        """Return the fragment for one lookup, from the first index that has one."""
        for index in self.first.get((place.stored, *place.inside), ()):
            if index.parts[0].form == TRIGRAM:
                found = by_trigrams(index, Lookup(place.way, name, operand, place))
                if found is not None:
                    return Superset(found)
                continue
            answer = ranges_of(index.parts[0], place, name, operand)
            if answer is not None:
                ranges, wider = shortened(answer.ranges)
                points = answer.points and len(index.parts) == 1 and not wider
                fragment = InIndex(index, answer.ranges if points else ranges, points)
                return fragment if answer.exact and not wider else Superset(fragment)
        return NotImplemented

    def all_of(self, parts: Sequence[Any]) -> Any:
        found = self.keys.all_of(parts)
        return AllOf(tuple(parts)) if found is NotImplemented else found

    def any_of(self, parts: Sequence[Any]) -> Any:
        found = self.keys.any_of(parts)
        if found is not NotImplemented:
            return found
        entries = one_of_entries(parts)
        return AnyOf(tuple(parts)) if entries is None else entries

    def negate(self, part: Any) -> Any:
        if isinstance(part, InIndex) and part.index.is_total:
            return InIndex(part.index, outside(part.ranges))
        return NotImplemented

    def order_by(self, terms: Any, descending: bool) -> Any:
        return self.keys.order_by(terms, descending)


COMPARABLE: Final = frozenset({str, int, bool, type(None)})
"""Types of which equal operands are the same, if their types are."""


def one_of_entries(parts: Sequence[Any]) -> InIndex | None:
    """Return the entries of all *parts*, None unless each has some of the same index."""
    if not parts:
        return None
    first = parts[0]
    ranges: tuple[Range, ...] = ()
    for one in parts:
        if type(one) is not InIndex or not one.points or one.index is not first.index:
            return None
        ranges += one.ranges
    return InIndex(first.index, tuple(sorted(set(ranges))), True)


def _whole_of(indexes: Sequence[OrderedIndex], schema: Schema) -> OrderedIndex | None:
    """Return the index that finds and sorts by a whole field, and by that alone, if there is one.

    A unique field has a better one to find records with.
    """
    field = schema.stored.get(indexes[0].parts[0].path[0])
    if field is not None and field.options.unique:
        return None
    return next((one for one in indexes if len(one.parts) == 1 and one.is_total), None)


def by_trigrams(index: OrderedIndex, asked: Lookup) -> Any:
    """Return what finds all text with an operand inside, and more; None if that is too short."""
    name, place, operand = asked.name, asked.place, asked.operand
    if name not in WITH_PARTS or type(operand) is not str or place is None:
        return None
    if name == "contains" and (place.kind.is_open or place.kind.families & ARRAYS):
        return None  # a list contains members
    found: tuple[InIndex, ...] = ()
    for entry in _in_pattern(operand) if name == "matches" else encoded_runs(operand):
        found += (InIndex(index, ((entry, entry + b"\0"),), True),)
    if not found:
        return None
    return AllOf(found) if found[1:] else found[0]


@lru_cache(maxsize=512)  # as many patterns as ``re`` remembers
def _in_pattern(pattern: str) -> list[bytes]:
    return encoded_texts(required("matches", pattern))
