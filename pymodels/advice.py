"""What ``explain()`` suggests: the index that would have answered a query."""

from __future__ import annotations

from typing import Any, Final

from pymodels.conditions import Lookup, lookups_in
from pymodels.evaluation import asks_only_values
from pymodels.kinds import Choice
from pymodels.ordered import conjuncts
from pymodels.planning import Plan
from pymodels.schema import Place
from pymodels.trigrams import required
from pymodels.values import ARRAYS

_PLAIN: Final = frozenset(
    {"equals", "in", "gt", "gte", "lt", "lte", "between", "startswith", "year"}
)
_MEMBERS: Final = frozenset({"contains", "contains_any", "contains_all"})
_CASELESS: Final = frozenset({"iequals", "istartswith"})
_PARTS: Final = frozenset({"contains", "icontains", "endswith", "iendswith", "matches"})


def suggestion(plan: Plan) -> str | None:
    """Return what to declare, so that an index does what Python did; None if none would."""
    if plan.native is None:
        for part in conjuncts(plan.rest):
            if isinstance(part, Lookup) and part.place is not None:
                option = _option(part.name, part.place, part.operand)
                if option is not None:
                    return f"{option} on {part.place.path} would find these records"
    if plan.order and plan.native_order is None and not plan.unordered:
        place = plan.order[0].place
        if not place.is_key:
            return f"index=True on {place.path} would give this order"
    for part in conjuncts(plan.rest) if plan.native is None else ():
        names = {one.place.path: None for one in lookups_in(part) if one.place is not None}
        if names and asks_only_values(part):
            return f'index="column" on {", ".join(names)} would spare reading other records'
    return None


def _option(lookup: str, place: Place, operand: Any) -> str | None:
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
        if lookup in _PARTS and required(lookup, operand):
            return 'index="trigram"'
    return None
