"""How a byte store answers a query: by keys, by which of its indexes, in whose order.

``choose`` makes the plan. What it expects (``expecting``) may be wrong: that costs time. Which
records are found does not depend on it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from pymodels import conditions
from pymodels.answering import MOST_POINTS, found_by
from pymodels.byindex import (
    EVERY,
    NULL,
    AllOf,
    AnyOf,
    ByIndex,
    IndexOrder,
    InIndex,
    Range,
    by_trigrams,
    common,
    merged,
    ranges_of,
    shortened,
)
from pymodels.bykey import Keys, UniqueValue
from pymodels.conditions import And, Condition, Lookup
from pymodels.expecting import COUNTED, ENTRY, FETCH, PROBE, Candidate, Costs, Expectations, Ordered
from pymodels.ordered import LONGEST, TRIGRAM, OrderedIndex, clause, conjuncts
from pymodels.planning import Plan, Term, condition_names, split
from pymodels.schema import Schema
from pymodels.sweeping import sweep
from pymodels.tables import IndexView

if TYPE_CHECKING:
    from pymodels.tablereading import TableReader


# --- what can be used -----------------------------------------------------------------------


def candidates(native: ByIndex, parts: Sequence[Condition], codec: Any) -> list[Candidate]:
    """Return every way to find the records of which all *parts* are true, best guesses first."""
    single = _of_single_fields(native, parts)
    if single is not None:
        return single
    found: list[Candidate] = []
    lookups: list[tuple[int, Lookup]] = []
    for number, part in enumerate(parts):
        if isinstance(part, Lookup) and part.place is not None and not part.place.is_key:
            lookups.append((number, part))
            field = part.place.field
            if part.name != "equals" or field is None or not field.options.unique:
                continue  # no unique index knows it
        fragment, rest = split(native, part)
        if fragment is None or (isinstance(part, Lookup) and isinstance(fragment, InIndex)):
            continue
        exact = rest == conditions.EVERYTHING
        one = frozenset((number,))
        found.append(Candidate(fragment, one if exact else frozenset(), one))
    known: dict[Any, int] = {}
    if native.partial:
        known = {clause(part, codec): number for number, part in enumerate(parts)}
    asked = {(one.place.stored, *one.place.inside) for _, one in lookups if one.place is not None}
    for index in native.indexes:
        if index.where:
            implied = [known.get(one) for one in index.where]
            if None not in implied:
                found += _by_index(index, lookups, frozenset(n for n in implied if n is not None))
        elif index.parts[0].path in asked:
            found += _by_index(index, lookups, frozenset())
    return found


def _of_single_fields(native: ByIndex, parts: Sequence[Condition]) -> list[Candidate] | None:
    """Return what ``candidates`` does, where no index and no field has more than one part in it."""
    if native.partial:
        return None
    found: list[Candidate] = []
    ways: set[Any] = set()
    for number, part in enumerate(parts):
        place = part.place if type(part) is Lookup else None
        if place is None or place.is_key or place.way in ways or place.way in native.several:
            return None
        if place.field is not None and place.field.options.unique:
            return None
        if place.way in native.paths:
            fragment = found_by(native, part)
            if type(fragment) is not InIndex:
                return None
            ways.add(place.way)
            found.append(Candidate(fragment, frozenset((number,))))
    return found


def _by_index(
    index: OrderedIndex, lookups: Sequence[tuple[int, Lookup]], implied: frozenset[int]
) -> Iterator[Candidate]:
    """Yield what an index finds: equalities of its first parts, and a range of the next one."""
    if index.parts[0].form == TRIGRAM:
        for number, lookup in lookups:
            if _is_at(lookup, index, 0) and lookup.place is not None:
                found = by_trigrams(index, lookup.place, lookup.name, lookup.operand)
                if found is not None:
                    yield Candidate(found, implied, frozenset((number,)))
        return
    prefixes: list[bytes] = [b""]
    exact, inexact = set(implied), set[int]()
    ranges: tuple[Range, ...] = EVERY
    points = False
    used = 0
    for position, part in enumerate(index.parts):
        answers = [
            (number, answer)
            for number, lookup in lookups
            if _is_at(lookup, index, position)
            and lookup.place is not None
            and (answer := ranges_of(part, lookup.place, lookup.name, lookup.operand)) is not None
        ]
        if not answers:
            break
        # Several conditions on one value meet; through a list each may hold of another member.
        answers.sort(key=lambda answer: (not answer[1].points, not answer[1].exact))
        taken = answers[:1] if index.repeats else answers
        here = taken[0][1].ranges
        for _, answer in taken[1:]:
            here = common(here, answer.ranges)
        if len(prefixes) * len(here) > MOST_POINTS:
            break
        for number, answer in taken:
            (exact if answer.exact else inexact).add(number)
        used += 1
        points = taken[0][1].points
        ranges = tuple((prefix + low, prefix + high) for prefix in prefixes for low, high in here)
        if not points:
            break
        prefixes = [low for low, _ in ranges]
    if not index.has_all_with(used):
        return
    if ranges == EVERY:
        if implied:
            yield Candidate(InIndex(index, EVERY), implied)
        return
    cut, wider = shortened(ranges)
    if wider:
        exact, inexact = set(implied), inexact | (exact - implied)
    single = points and len(index.parts) == 1 and not wider
    yield Candidate(
        InIndex(index, tuple(sorted(ranges)) if single else merged(cut), single),
        frozenset(exact),
        frozenset(inexact),
    )


def _is_at(lookup: Lookup, index: OrderedIndex, position: int) -> bool:
    place = lookup.place
    return place is not None and (place.stored, *place.inside) == index.parts[position].path


# --- orders ---------------------------------------------------------------------------------


def orders(
    native: ByIndex,
    parts: Sequence[Condition],
    found: Sequence[Candidate],
    order: tuple[Term, ...],
    descending: bool,
) -> Iterator[Ordered]:
    """Yield every index that has the records in order, with what it decides besides."""
    for term in order:
        if term.place.is_key or term.place.way in native.paths:
            break
    else:
        return
    terms = list(order)
    if terms[-1].place.is_key:  # what breaks ties anyway
        terms.pop()
    if any(term.place.is_key or term.descending != descending for term in terms):
        return
    paths = [(term.place.stored, *term.place.inside) for term in terms]
    usual = all(term.nulls_first is not term.descending for term in terms)
    for index in native.indexes:
        if not index.is_total or not (usual or len(index.parts) == 1):
            continue
        before = len(index.parts) - len(paths)
        if before < 0 or [part.path for part in index.parts[before:]] != paths:
            continue
        mine = [
            one
            for one in found
            if isinstance(one.fragment, InIndex) and one.fragment.index is index
        ]
        candidate = mine[0] if mine else Candidate(InIndex(index, EVERY))
        if before and not _has_one_prefix(candidate.fragment, index, before, parts):
            continue
        yield Ordered(candidate, IndexOrder(index, descending, None if usual else NULL))


def _has_one_prefix(
    fragment: InIndex, index: OrderedIndex, before: int, parts: Sequence[Condition]
) -> bool:
    """Tell whether the first *before* values are the same in all the ranges."""
    for position in range(before):
        if not any(
            isinstance(part, Lookup) and part.name == "equals" and _is_at(part, index, position)
            for part in parts
        ):
            return False
    return fragment.ranges != EVERY and all(len(low) < LONGEST for low, _ in fragment.ranges)


# --- the plan -------------------------------------------------------------------------------


def choose(
    storage: TableReader,
    native: ByIndex,
    schema: Schema,
    condition: Condition,
    look: Callable[[], AbstractContextManager[IndexView]],
    *,
    order: tuple[Term, ...] = (),
    descending: bool = False,
    unordered: bool = False,
    offset: int = 0,
    limit: int | None = None,
    names: frozenset[str] | None = None,
) -> Plan:
    """Plan a query with the indexes that *native* has."""
    parts = () if condition == conditions.EVERYTHING else conjuncts(condition)
    found = candidates(native, parts, storage.codec)
    by_key = NotImplemented if unordered else native.order_by(order, descending)
    sorts = not unordered and by_key is NotImplemented
    ordered = list(orders(native, parts, found, order, descending)) if sorts and order else []
    swept = sweep(native, parts, order if sorts else (), descending, limit)
    expected: int | None = None
    chosen, native_order = _obvious(native, found), None if by_key is NotImplemented else by_key
    pages = limit is not None and not sorts and len(parts) > 1
    if chosen is None or ordered or swept is not None or pages:
        with look() as view:
            expectations = Expectations(storage, view, schema)
            if chosen is None:
                chosen = _best(native, found, expectations)
            stop = None if limit is None else offset + limit
            costs = Costs(
                expectations, len(parts), stop, sorts=sorts, fetches=names is None or bool(names)
            )
            expected = expectations.of(chosen.fragment)
            if pages and costs.is_found_sooner(chosen, expected):
                chosen, expected = _NOTHING, expectations.records
            cost = costs.of(chosen, expected)
            in_order = [(costs.in_order(one, chosen, expected), one) for one in ordered]
            if in_order:
                least, one = min(in_order, key=operator.itemgetter(0))
                if least <= cost:
                    chosen, native_order, cost = one.candidate, one.order, least
                    expected = expectations.of(chosen.fragment)
            if swept is not None:
                by_sweep = costs.of_sweep(swept, expected)
                if by_sweep < cost:
                    chosen = Candidate(swept.fragment, swept.decides)
                    expected = costs.swept(swept, expected)
                    native_order = swept.order or (None if sorts else native_order)
    rest = _rest(parts, chosen)
    exact = rest == conditions.EVERYTHING
    pushes = exact and (unordered or native_order is not None)
    if names is not None:
        names = names | condition_names(rest)
        if native_order is None:
            names |= {term.place.stored for term in order}
    return Plan(
        schema,
        condition,
        chosen.fragment,
        rest,
        order,
        descending,
        unordered,
        None if unordered else native_order,
        skip=offset if pushes else 0,
        most=limit if pushes else None,
        offset=0 if pushes else offset,
        limit=None if pushes else limit,
        names=names,
        expected=expected,
    )


_NOTHING: Final = Candidate(None)


def _obvious(native: ByIndex, found: Sequence[Candidate]) -> Candidate | None:
    """Return what is best without counting, if anything is."""
    if not found:
        return _NOTHING
    if len(found) == 1:
        return found[0]
    joined: Candidate | None = None
    unique: Candidate | None = None
    for one in found:
        if type(one.fragment) is UniqueValue:
            unique = unique or one
        elif type(one.fragment) is not Keys:
            continue
        elif joined is None:
            joined = one
        else:
            fragment = native.all_of((joined.fragment, one.fragment))
            joined = Candidate(fragment, joined.exact | one.exact, joined.inexact | one.inexact)
    return joined or unique


def _best(native: ByIndex, found: Sequence[Candidate], expectations: Expectations) -> Candidate:
    """Return the way that finds fewest records, with others that are worth reading besides."""
    counted = expectations.of_all(found)
    least, best = counted[0]
    if _is_wide(least, expectations):
        return best if best.exact else _NOTHING
    for size, one in counted[1:]:
        if one.decides <= best.decides or not one.exact or _is_of_keys(one.fragment):
            continue
        spared = least * (1 - size / max(1, expectations.records))
        if spared * (FETCH + PROBE) <= _reading(one.fragment, size, least):
            continue
        mine = best.fragment.parts if isinstance(best.fragment, AllOf) else (best.fragment,)
        best = Candidate(
            AllOf((*mine, one.fragment)), best.exact | one.exact, best.inexact | one.inexact
        )
        least = int(least - spared)
    return best


def _reading(fragment: Any, size: int, least: int) -> float:
    """Return what it takes to find which of *least* records a fragment finds too."""
    if isinstance(fragment, InIndex) and fragment.points:
        return min(size * ENTRY, least * len(fragment.ranges) * FETCH)
    return size * ENTRY


def _is_of_keys(fragment: Any) -> bool:
    """Tell whether a fragment is a range of keys, which would all have to be read."""
    return not isinstance(fragment, InIndex | AllOf | AnyOf)


def _is_wide(size: int, expectations: Expectations) -> bool:
    return size > COUNTED and size * (FETCH + ENTRY) > expectations.records * FETCH


def _rest(parts: Sequence[Condition], chosen: Candidate) -> Condition:
    left = tuple(part for number, part in enumerate(parts) if number not in chosen.exact)
    return left[0] if len(left) == 1 else And(left)
