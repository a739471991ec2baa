"""Plans for the simplest questions to an index, where there is nothing to weigh up.

They are what ``choosing.choose`` would come to.
"""

from __future__ import annotations

from typing import Any, Final

from pymodels.byindex import EVERY, ByIndex, IndexOrder, InIndex, ranges_of, shortened
from pymodels.conditions import EVERYTHING, Condition, Lookup
from pymodels.encoding import ENCODERS, encode
from pymodels.ordered import LONGEST, OrderedIndex
from pymodels.planning import Plan, Term
from pymodels.schema import Schema

_KEYS: Final = ("ascending keys", "descending keys")
_COMPARED: Final = frozenset({"gt", "gte", "lt", "lte", "between"})


def equality(native: ByIndex, lookup: Lookup) -> tuple[OrderedIndex, bytes] | None:
    """Return the index and the entry that answer an equality, if there are such."""
    place = lookup.place
    if lookup.name != "equals" or place is None or place.is_key:
        return None
    index = native.alone.get((place.stored, *place.inside))
    if index is None:
        return None
    operand = lookup.operand
    try:
        entry = ENCODERS[type(operand)](operand)
    except KeyError:
        entry = encode(operand)
    return None if len(entry) >= LONGEST else (index, entry)


def shortcut(
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
    """Return the plan for one equality or range, or for a page in the order of one index."""
    native_order: Any = None
    index: OrderedIndex | None
    if type(condition) is Lookup:
        place = condition.place
        if order or place is None or place.is_key:
            return None
        if condition.name == "equals":
            found = equality(native, condition)
            if found is None:
                return None
            index, entry = found
            fragment = InIndex(index, ((entry, entry + b"\0"),), True)
        elif condition.name in _COMPARED and limit is None and not offset:
            index = native.alone.get((place.stored, *place.inside))
            # Dates and instants, which lie among each other, have no plain type.
            if index is None or place.plain is None or native.columns:
                return None
            asked = ranges_of(index.parts[0], place, condition.name, condition.operand)
            if asked is None or not asked.ranges:
                return None
            ranges, wider = shortened(asked.ranges)
            if wider:
                return None
            fragment = InIndex(index, ranges)
        else:
            return None
        if not unordered:
            native_order = _KEYS[descending]
    elif condition is EVERYTHING and limit is not None and len(order) == 1:
        term = order[0]
        place = term.place
        index = native.alone.get((place.stored, *place.inside))
        nulls_as_usual = term.nulls_first is not term.descending
        if index is None or term.descending != descending or not nulls_as_usual:
            return None
        fragment = InIndex(index, EVERY)
        native_order = IndexOrder(index, descending, None)
    else:
        return None
    return Plan(
        schema,
        condition,
        fragment,
        EVERYTHING,
        order,
        descending,
        unordered,
        native_order,
        offset,
        limit,
        names=names,
    )
