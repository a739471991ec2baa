"""What ``explain()`` suggests: the index that would have answered a query."""

from __future__ import annotations

from typing import Final

from pymodels.conditions import Lookup
from pymodels.kinds import Choice
from pymodels.ordered import conjuncts
from pymodels.planning import Plan
from pymodels.schema import Place
from pymodels.values import ARRAYS

_PLAIN: Final = frozenset(
    {"equals", "in", "gt", "gte", "lt", "lte", "between", "startswith", "year"}
)
_MEMBERS: Final = frozenset({"contains", "contains_any", "contains_all"})
_CASELESS: Final = frozenset({"iequals", "istartswith"})
_PARTS: Final = frozenset({"contains", "icontains", "endswith", "iendswith", "matches", "imatches"})


def suggestion(plan: Plan) -> str | None:
    """Return what to declare, so that an index does what Python did; None if none would."""
    if plan.native is None:
        for part in conjuncts(plan.rest):
            if isinstance(part, Lookup) and part.place is not None:
                option = _option(part.name, part.place)
                if option is not None:
                    return f"{option} on {part.place.path} would find these records"
    if plan.order and plan.native_order is None and not plan.unordered:
        place = plan.order[0].place
        if not place.is_key:
            return f"index=True on {place.path} would give this order"
    return None


def _option(lookup: str, place: Place) -> str | None:
    families = place.kind.families
    if place.is_key or place.kind.any_inside(Choice):
        return None
    if lookup in _MEMBERS and families and families <= ARRAYS:
        return "index=True"
    if lookup in _PLAIN and not families & ARRAYS:
        return "index=True"
    if families == {"text"}:
        if lookup in _CASELESS:
            return 'index="caseless"'
        if lookup in _PARTS:
            return 'index="trigram"'
    return None
