"""Plans for the simplest questions to an index, where there is nothing to weigh up.

They are what ``choosing.choose`` would come to. Where one part of a condition alone asks about an
indexed field, and no index has the order, there is no choice; where several do, and each has an
index of its own, their sizes decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pymodels.byindex import EVERY, AllOf, ByIndex, IndexOrder, InIndex, Range, ranges_of, shortened
from pymodels.conditions import EVERYTHING, And, Condition, Lookup
from pymodels.encoding import ENCODERS, FAMILIES, encode, successor
from pymodels.ordered import LONGEST, OrderedIndex, StoredPath
from pymodels.planning import Plan, Term, condition_names
from pymodels.schema import Schema
from pymodels.weighing import weigh

if TYPE_CHECKING:
    from pymodels.tablereading import TableReader

_KEYS: Final = ("ascending keys", "descending keys")
_COMPARED: Final = frozenset({"gt", "gte", "lt", "lte", "between"})
_BIG: Final = 1 << 63
"""No greater int is stored, and those that are less have short entries."""
_SPANS: Final = {int: FAMILIES["number"], str: FAMILIES["text"]}


def equality(native: ByIndex, lookup: Lookup) -> tuple[OrderedIndex, bytes] | None:
    """Return the index and the entry that answer an equality, if there are such."""
    place = lookup.place
    if lookup.name != "equals" or place is None or place.is_key:
        return None
    try:
        index = native.alone[place.way]
    except KeyError:
        return None
    operand = lookup.operand
    try:
        entry = ENCODERS[type(operand)](operand)
    except KeyError:
        entry = encode(operand)
    return None if len(entry) >= LONGEST else (index, entry)


def shortcut(
    storage: TableReader,
    native: ByIndex,
    schema: Schema,
    condition: Condition,
    *,
    order: tuple[Term, ...] = (),
    descending: bool = False,
    unordered: bool = False,
    offset: int = 0,
    limit: int | None = None,
    names: frozenset[str] | None = None,
) -> Plan | None:
    """Return the plan where one lookup finds the records, or an index has a page in its order."""
    rest: Condition = EVERYTHING
    expected: int | None = None
    fragment: InIndex | AllOf | None
    native_order: IndexOrder | str | None = None if unordered else _KEYS[descending]
    if order and condition is not EVERYTHING:
        if unordered or native.columns:
            return None
        for term in order:
            if term.place.is_key or term.place.way in native.paths:
                return None
        native_order = None
    if type(condition) is Lookup:
        fragment = found_by(native, condition)
    elif condition is EVERYTHING:
        if limit is None or len(order) != 1:
            return None
        native_order = _in_order(native, order[0], descending)
        fragment = None if native_order is None else InIndex(native_order.index, EVERY)
    elif type(condition) is And and (limit is None or order):
        fragment, rest, expected = _found_by_indexes(storage, native, schema, condition.parts)
    else:
        return None
    if fragment is None:
        return None
    is_finished = rest is EVERYTHING and (unordered or native_order is not None)
    if names is not None:
        if rest is not EVERYTHING:
            names |= condition_names(rest)
        if native_order is None:
            names |= {term.place.stored for term in order}
    return Plan(
        schema,
        condition,
        fragment,
        rest,
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


def _in_order(native: ByIndex, term: Term, descending: bool) -> IndexOrder | None:
    index = native.alone.get(term.place.way)
    if index is None or term.descending != descending or term.nulls_first is term.descending:
        return None
    return IndexOrder(index, descending, None)


def found_by(native: ByIndex, lookup: Lookup) -> InIndex | None:
    """Return where an index of one field has exactly the records of a lookup, if one has."""
    name, place = lookup.name, lookup.place
    if name == "equals":
        found = equality(native, lookup)
        if found is None:
            return None
        index, entry = found
        return InIndex(index, ((entry, entry + b"\0"),), True)
    # Dates and instants, which lie among each other, have no plain type.
    if name not in _COMPARED or place is None or place.plain is None or native.columns:
        return None
    try:
        whole = native.alone[place.way]
    except KeyError:
        return None
    between = _plain_range(name, lookup.operand)
    if between is not None:
        return InIndex(whole, (between,))
    asked = ranges_of(whole.parts[0], place, name, lookup.operand)
    if asked is None or not asked.ranges:
        return None
    ranges, wider = shortened(asked.ranges)
    return None if wider else InIndex(whole, ranges)


def _plain_range(name: str, operand: Any) -> Range | None:
    """Return what ``ranges_of`` does if operands are of the commonest types and not long."""
    low, high = operand if name == "between" else (operand, operand)
    kind = type(low)
    if kind not in _SPANS or type(high) is not kind:
        return None
    (start, end), encoder = _SPANS[kind], ENCODERS[kind]
    if name == "gt":
        start = successor(encoder(low))
    elif name in ("gte", "between"):
        start = encoder(low)
    if name == "lt":
        end = encoder(high)
    elif name in ("lte", "between"):
        end = successor(encoder(high))
    if kind is int:
        is_short = -_BIG < low < _BIG and -_BIG < high < _BIG
    else:
        is_short = len(start) <= LONGEST >= len(end)
    return (start, end) if start < end and is_short else None


_Found: TypeAlias = tuple[InIndex | AllOf | None, Condition, int | None]
"""What finds records, what is left to ask of each, and how many there are if they were counted."""

_NOT_SIMPLE: Final[_Found] = (None, EVERYTHING, None)


def _found_by_indexes(
    storage: TableReader, native: ByIndex, schema: Schema, parts: Sequence[Condition]
) -> _Found:
    """Return what finds the records of parts that each ask about another field of their own."""
    if native.columns or native.are_partial:
        return _NOT_SIMPLE
    points: tuple[InIndex, ...] = ()
    ranges: tuple[InIndex, ...] = ()
    found: tuple[tuple[Condition, InIndex | None], ...] = ()
    ways: tuple[StoredPath, ...] = ()
    for part in parts:
        if type(part) is not Lookup or part.place is None or part.place.is_key:
            return _NOT_SIMPLE
        place = part.place
        if place.field is not None and place.field.options.unique:
            return _NOT_SIMPLE
        fragment: InIndex | None = None
        if place.way in native.paths:
            if place.way in ways or place.way in native.several:
                return _NOT_SIMPLE
            ways += (place.way,)
            fragment = found_by(native, part)
            if fragment is None or not fragment.ranges:
                return _NOT_SIMPLE
            if fragment.points:
                points += (fragment,)
            else:
                ranges += (fragment,)
        found += ((part, fragment),)
    asked = points + ranges
    if not asked:
        return _NOT_SIMPLE
    expected: int | None = None
    if asked[1:]:
        sizes = storage.count_each(schema.collection, asked)
        weighed = None if sizes is None else weigh(sizes, asked)
        if weighed is None:
            return _NOT_SIMPLE
        expected, asked = weighed
    rest: tuple[Condition, ...] = ()
    for part, fragment in found:
        if fragment not in asked:
            rest += (part,)
    left = EVERYTHING if not rest else And(rest) if rest[1:] else rest[0]
    return AllOf(asked) if asked[1:] else asked[0], left, expected
