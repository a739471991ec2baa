"""What MongoDB finds by itself: lookups as filters, and orders as sort specifications.

MongoDB's answers differ from the written ones where a comparison reaches into arrays, where text
is folded, where bytes are ordered, and where a record does not fit its model. Each lookup says
``Superset`` or ``NotImplemented`` wherever that could show; where it could show only in records
that do not fit, the filter finds those too, and reading them raises ``RecordInvalid``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from pymodels.ext.mongodb import grouping, keyed, lists, scalars
from pymodels.ext.mongodb.codec import is_naive, is_scalar
from pymodels.ext.mongodb.paths import ALL_TYPES, Way, python_types, way_to
from pymodels.ext.mongodb.scalars import Condition
from pymodels.planning import Native, Superset, Term
from pymodels.schema import Place

UNIQUE_TYPES: Final = [name for name in ALL_TYPES if name != "array"]
"""The types of a unique field that can collide; also what a question must say to use the index."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A condition that finds the records whose field *name* does not fit its declaration.

    ``types`` are those of the values that do fit.
    """

    name: str
    types: frozenset[type]
    condition: Condition


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition in MongoDB's language.

    ``narrow`` conditions are looked up in an index and decide alone; ``wide`` ones look at every
    record that is left. ``misfits`` find the records that Python would refuse to read when it is
    asked about the same fields.
    """

    narrow: tuple[Condition, ...] = ()
    wide: tuple[Condition, ...] = ()
    misfits: tuple[Misfit, ...] = ()

    @property
    def strict(self) -> Condition:
        """The condition alone."""
        return _all([*self.narrow, *self.wide])

    @property
    def loose(self) -> Condition:
        """The condition, and the records that do not fit."""
        if not self.misfits:
            return self.strict
        either = [_all(self.wide), *(one.condition for one in self.misfits)]
        return _all([*self.narrow, {"$or": either}])

    @property
    def unfit(self) -> Condition | None:
        """The condition that finds only what does not fit; None if nothing is refused."""
        if not self.misfits:
            return None
        return _all([*self.narrow, {"$or": [one.condition for one in self.misfits]}])

    def __repr__(self) -> str:
        return repr(self.strict)


def _all(parts: Sequence[Condition]) -> Condition:
    if len(parts) == 1:
        return parts[0]
    names = [name for part in parts for name in part]
    if len(set(names)) == len(names) and "$or" not in names:
        return {name: value for part in parts for name, value in part.items()}
    return {"$and": list(parts)}


Question = Callable[[Way, Any], Any]

_OF_SCALARS: Final[Mapping[str, Question]] = {
    "equals": scalars.equals,
    "in": scalars.is_in,
    "exists": scalars.exists,
    "gt": scalars.compared("gt"),
    "gte": scalars.compared("gte"),
    "lt": scalars.compared("lt"),
    "lte": scalars.compared("lte"),
    "between": scalars.between,
    "startswith": scalars.startswith,
    "endswith": scalars.endswith,
    "contains": scalars.contains,
    "contains_all": scalars.contains_all,
    "contains_any": scalars.contains_any,
    "iequals": scalars.iequals,
    "icontains": scalars.icontains,
    "istartswith": scalars.istartswith,
    "iendswith": scalars.iendswith,
    "matches": scalars.matches,
    "imatches": scalars.matches,
    "year": scalars.year,
    **{name: scalars.part(name) for name in ("month", "day", "hour", "week_day")},
}
_OF_LISTS: Final[Mapping[str, Question]] = {
    "equals": lists.equals,
    "exists": lists.exists,
    "contains": lists.contains,
    "contains_all": lists.contains_all,
    "contains_any": lists.contains_any,
    "size": lists.size,
}
_NARROWS: Final = frozenset(
    {"equals", "in", "gt", "gte", "lt", "lte", "between", "startswith", "year"}
)


def _lookup(name: str) -> Callable[[Place, Any], Any]:
    def answer(place: Place, operand: Any) -> Any:
        way = way_to(place)
        if way is None:
            return NotImplemented
        if place.is_key:
            question = keyed.LOOKUPS.get(name)
        elif place.field is None or place.kind.is_open:
            question = keyed.OPEN.get(name)
        elif is_scalar(place.kind):
            question = _OF_SCALARS.get(name)
        else:
            question = _OF_LISTS.get(name) if not way.within else None
        found = NotImplemented if question is None else question(way, operand)
        if isinstance(found, Superset):
            return Superset(_filter(way, name, operand, found.fragment))
        return found if found is NotImplemented else _filter(way, name, operand, found)

    return answer


def _filter(way: Way, name: str, operand: Any, condition: Condition) -> Filter:
    if way.place.is_key:
        return Filter(narrow=(condition,))
    if way.within:
        return Filter(wide=({way.within: {"$elemMatch": condition}},))
    info = way.place.field
    if info is not None and not way.place.inside and name in _NARROWS:
        if info.options.unique and operand is not None:
            return Filter(narrow=(_guarded(way, condition),))
        if info.options.index:
            return Filter(narrow=(condition,))
    return Filter(wide=(condition,), misfits=_misfits(way))


def _guarded(way: Way, condition: Condition) -> Condition:
    """Say again what the index on a unique field says of itself, or MongoDB would not use it."""
    asked = condition.get(way.path)
    if isinstance(asked, dict) and "$eq" in asked:
        return {way.path: {**asked, "$type": UNIQUE_TYPES}}
    return condition


def _misfits(way: Way) -> tuple[Misfit, ...]:
    if way.place.inside or way.place.field is None:
        return ()
    if way.is_checked:
        unfit = [name for name in ALL_TYPES if name not in way.fits]
        return (Misfit(way.path, python_types(way.fits), {way.path: {"$type": unfit}}),)
    if lists.items_of(way.place.kind) is None:
        return ()
    no_list: Condition = {
        "$and": [
            {way.path: {"$not": {"$type": "array"}}},
            {way.path: {"$not": {"$type": "null"}}},
            {way.path: {"$exists": True}},
        ]
    }
    return (Misfit(way.path, frozenset({list, type(None)}), no_list),)


class Finder(Native[Filter]):
    """What MongoDB can answer of a condition, and which orders it can sort by."""

    lookups: ClassVar[Mapping[str, Any]] = {
        name: _lookup(name) for name in {*_OF_SCALARS, *_OF_LISTS, *keyed.LOOKUPS, *keyed.OPEN}
    }

    def all_of(self, parts: Sequence[Filter]) -> Any:
        return Filter(
            tuple(one for part in parts for one in part.narrow),
            tuple(one for part in parts for one in part.wide),
            _united(parts),
        )

    def any_of(self, parts: Sequence[Filter]) -> Any:
        if not parts:
            return Filter(narrow=(scalars.NOTHING,))
        either: Condition = {"$or": [part.strict for part in parts]}
        misfits = _united(parts)
        return Filter(wide=(either,), misfits=misfits) if misfits else Filter(narrow=(either,))

    def negate(self, part: Filter) -> Any:
        return Filter(wide=({"$nor": [part.strict]},), misfits=part.misfits)

    def order_by(self, terms: tuple[Term, ...], descending: bool) -> Any:
        found: dict[str, int] = {}
        for term in terms:
            direction = -1 if term.descending else 1
            if term.place.is_key:
                found["_id"] = direction
                return Sort(tuple(found.items()))
            if term.nulls_first is term.descending:
                return NotImplemented
            paths = _sorted_by(term.place)
            if paths is None:
                return NotImplemented
            for path in paths:
                found.setdefault(path, direction)
        found["_id"] = -1 if descending else 1
        return Sort(tuple(found.items()))

    def group_by(self, places: Sequence[Place], function: str, counted: Place | None) -> Any:
        return grouping.answer(places, function, counted)


class Sort(tuple[tuple[str, int], ...]):
    """Paths and directions, in MongoDB's form."""

    __slots__ = ()

    def __repr__(self) -> str:
        return ", ".join(f"{path} {direction}" for path, direction in self)


def _united(parts: Iterable[Filter]) -> tuple[Misfit, ...]:
    return tuple({one.name: one for part in parts for one in part.misfits}.values())


_SORTED_ALIKE: Final = frozenset(
    {"number", "text", "bool", "uuid", "date", "time", "instant", "objectid"}
)


def _sorted_by(place: Place) -> list[str] | None:
    """Return the paths that sort as *place* should, or None where MongoDB has another order."""
    way = way_to(place)
    if way is None or way.within or place.field is None or not is_scalar(place.kind):
        return None
    families = place.kind.families
    if not families <= _SORTED_ALIKE or (len(families) > 1 and not families <= {"number", "text"}):
        return None
    if "instant" in families and not is_naive(place.kind):
        return None if place.inside else [way.path, way.micros]
    return [way.path]
