"""Plans for the simplest questions to an index, where there is nothing to weigh up.

They are what ``choosing.choose`` would come to.
"""

from __future__ import annotations

from typing import Any, Final

from pymodels.byindex import EVERY, ByIndex, IndexOrder, InIndex, ranges_of, shortened
from pymodels.conditions import EVERYTHING, Condition, Lookup
from pymodels.encoding import encode
from pymodels.ordered import LONGEST
from pymodels.planning import Plan, Term
from pymodels.schema import Schema

_KEYS: Final = ("ascending keys", "descending keys")
_COMPARED: Final = frozenset({"gt", "gte", "lt", "lte", "between"})


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
    if type(condition) is Lookup:
        place = condition.place
        if order or place is None or place.is_key:
            return None
        index = native.alone.get((place.stored, *place.inside))
        if index is None:
            return None
        if condition.name == "equals":
            entry = encode(condition.operand)
            if len(entry) >= LONGEST:
                return None
            fragment = InIndex(index, ((entry, entry + b"\0"),), True)
        elif condition.name in _COMPARED and limit is None and not offset:
            # Dates and instants, which lie among each other, have no plain type.
            if place.plain is None or native.columns:
                return None
            found = ranges_of(index.parts[0], place, condition.name, condition.operand)
            if found is None or not found.ranges:
                return None
            ranges, wider = shortened(found.ranges)
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
