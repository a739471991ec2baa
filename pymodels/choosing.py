"""All the ways to answer a query that a byte store has: by keys, by its indexes, in their order.

This goes by everything that is known of the operands; ``prepared`` remembers what does not depend
on them. Which of the ways is taken is up to ``weighing``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from pymodels import conditions
from pymodels.answering import MOST_POINTS
from pymodels.byindex import AnyOf, ByIndex, IndexOrder, InIndex, by_trigrams
from pymodels.bykey import Keys, UniqueValue
from pymodels.conditions import Condition, Lookup, Not
from pymodels.ordered import LONGEST, TRIGRAM, OrderedIndex, Part, clause
from pymodels.planning import Term, split
from pymodels.ranges import (
    EVERY,
    NULL,
    Range,
    Ranges,
    common,
    merged,
    outside,
    ranges_of,
    shortened,
)
from pymodels.sweeping import sweep
from pymodels.weighing import NOTHING, Asked, Candidate, Ordered, Ways

_Asked: TypeAlias = tuple[int, Lookup, bool]
"""The number of a condition, a lookup, and whether it is asked for that not to be true."""

# --- what can be used -----------------------------------------------------------------------


def ways(native: ByIndex, parts: Sequence[Condition], codec: Any, asked: Asked) -> Ways:
    """Return what can be done about a condition of which all *parts* are true, and an order."""
    order, descending, unordered, is_limited = asked
    found = candidates(native, parts, codec)
    if not order:
        found = _without_doubles(found)
    by_key = NotImplemented if unordered else native.order_by(order, descending)
    sorts = not unordered and by_key is NotImplemented
    obvious = _obvious(found)
    pages = is_limited and not sorts and len(parts) > 1
    if pages and obvious is not None:
        only = NOTHING if obvious < 0 else found[obvious]
        pages = isinstance(only.fragment, InIndex | AnyOf) and len(only.exact) < len(parts)
    return Ways(
        frozenset(range(len(parts))),
        tuple(found),
        obvious,
        tuple(_orders(native, parts, found, order, descending)) if sorts else (),
        sweep(native, parts, order if sorts else (), descending, is_limited),
        None if by_key is NotImplemented else by_key,
        sorts,
        pages,
    )


def _without_doubles(found: Sequence[Candidate]) -> list[Candidate]:
    """Leave out what an index of more fields finds as well as one of fewer."""
    kept: list[Candidate] = []
    for one in sorted(found, key=_length):
        if not any(_does_as_well(other, one) for other in kept):
            kept.append(one)
    return [one for one in found if one in kept]


def _length(one: Candidate) -> int:
    return len(one.fragment.index.parts) if isinstance(one.fragment, InIndex) else 0


def _does_as_well(one: Candidate, other: Candidate) -> bool:
    if not isinstance(one.fragment, InIndex) or not isinstance(other.fragment, InIndex):
        return False
    parts, others = one.fragment.index.parts, other.fragment.index.parts
    is_same = one.asked == other.asked and parts[: len(one.asked)] == others[: len(one.asked)]
    return is_same and one.exact == other.exact and one.decides == other.decides


def _obvious(found: Sequence[Candidate]) -> int | None:
    """Return the number of what is best without counting, -1 if there is nothing, or None."""
    if len(found) < 2:
        return len(found) - 1
    for kind in (Keys, UniqueValue):
        for number, one in enumerate(found):
            if type(one.fragment) is kind:
                return number
    return None


def candidates(native: ByIndex, parts: Sequence[Condition], codec: Any) -> list[Candidate]:
    """Return every way to find the records of which all *parts* are true.

    Those of single entries come first.
    """
    found = _united_keys(native, _found(native, parts, codec))
    found.sort(key=lambda one: not getattr(one.fragment, "points", False))
    by_exact = sorted(range(len(found)), key=lambda number: -len(found[number].exact))
    ranks = {number: rank for rank, number in enumerate(by_exact)}
    return [msgspec.structs.replace(one, rank=ranks[n]) for n, one in enumerate(found)]


def _united_keys(native: ByIndex, found: list[Candidate]) -> list[Candidate]:
    """Return the candidates with a single one in place of several that name keys."""
    of_keys = [one for one in found if type(one.fragment) is Keys]
    if len(of_keys) < 2:
        return found
    fragment = native.all_of([one.fragment for one in of_keys])
    exact = frozenset().union(*(one.exact for one in of_keys))
    others = [one for one in found if type(one.fragment) is not Keys]
    return [*others, Candidate(fragment, exact, exact)]


def _found(native: ByIndex, parts: Sequence[Condition], codec: Any) -> list[Candidate]:
    found: list[Candidate] = []
    lookups: list[_Asked] = []
    for number, part in enumerate(parts):
        inner = part.part if isinstance(part, Not) else part
        if isinstance(inner, Lookup) and inner.place is not None and not inner.place.is_key:
            lookups.append((number, inner, inner is not part))
            field = inner.place.field
            is_unique = field is not None and field.options.unique
            if inner is not part or inner.name != "equals" or not is_unique:
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
    asked = {one.place.way for _, one, _ in lookups if one.place is not None}
    for index in native.indexes:
        if index.where:
            implied = [known.get(one) for one in index.where]
            if None not in implied:
                found += _by_index(index, lookups, frozenset(n for n in implied if n is not None))
        elif index.parts[0].path in asked:
            found += _by_index(index, lookups, frozenset())
    return found


def _by_index(
    index: OrderedIndex, lookups: Sequence[_Asked], implied: frozenset[int]
) -> Iterator[Candidate]:
    """Yield what an index finds: equalities of its first parts, and a range of the next one."""
    if index.parts[0].form == TRIGRAM:
        for number, lookup, is_negated in lookups:
            if _is_at(lookup, index, 0) and lookup.place is not None and not is_negated:
                found = by_trigrams(index, lookup)
                if found is not None:
                    yield Candidate(found, implied, implied | {number}, ((number,),))
        return
    prefixes: list[bytes] = [b""]
    exact, decides = set(implied), set(implied)
    ranges: tuple[Range, ...] = EVERY
    points = False
    asked: tuple[tuple[int, ...], ...] = ()
    for position, part in enumerate(index.parts):
        answers = [
            (number, answer)
            for number, lookup, is_negated in lookups
            if _is_at(lookup, index, position)
            and (answer := _ranges(index, part, lookup, is_negated)) is not None
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
            decides.add(number)
            if answer.exact:
                exact.add(number)
        asked += (tuple(number for number, _ in taken),)
        points = taken[0][1].points
        ranges = tuple((prefix + low, prefix + high) for prefix in prefixes for low, high in here)
        if not points:
            break
        prefixes = [low for low, _ in ranges]
    if not index.has_all_with(len(asked)):
        return
    if ranges == EVERY:
        if implied:
            yield Candidate(InIndex(index, EVERY), implied, implied)
        return
    cut, wider = shortened(ranges)
    if wider:
        exact = set(implied)
    single = points and len(index.parts) == 1 and not wider
    yield Candidate(
        InIndex(index, tuple(sorted(ranges)) if single else merged(cut), single),
        frozenset(exact),
        frozenset(decides),
        asked,
    )


def _ranges(index: OrderedIndex, part: Part, lookup: Lookup, is_negated: bool) -> Ranges | None:
    """Return where the records lie of which a lookup is true, or of which it is not."""
    if lookup.place is None:
        return None
    found = ranges_of(part, lookup.place, lookup.name, lookup.operand)
    if found is None or not is_negated:
        return found
    _, is_wider = shortened(found.ranges)
    if is_wider or not found.exact or not index.is_total:
        return None
    return Ranges(outside(found.ranges), False, True)


def _is_at(lookup: Lookup, index: OrderedIndex, position: int) -> bool:
    place = lookup.place
    return place is not None and place.way == index.parts[position].path


# --- orders ---------------------------------------------------------------------------------


def _orders(
    native: ByIndex,
    parts: Sequence[Condition],
    found: Sequence[Candidate],
    order: tuple[Term, ...],
    descending: bool,
) -> Iterator[Ordered]:
    """Yield every index that has the records in order, with what it decides besides."""
    terms = list(order)
    if terms and terms[-1].place.is_key:  # what breaks ties anyway
        terms.pop()
    if any(term.place.is_key or term.descending != descending for term in terms):
        return
    if not terms:
        return
    paths = [(term.place.stored, *term.place.inside) for term in terms]
    usual = all(term.nulls_first is not term.descending for term in terms)
    for index in native.indexes:
        if not index.is_total or not (usual or len(index.parts) == 1):
            continue
        before = len(index.parts) - len(paths)
        if before < 0 or [part.path for part in index.parts[before:]] != paths:
            continue
        number = next(
            (
                number
                for number, one in enumerate(found)
                if isinstance(one.fragment, InIndex) and one.fragment.index is index
            ),
            None,
        )
        if before and (
            number is None or not _has_one_prefix(found[number].fragment, index, before, parts)
        ):
            continue
        yield Ordered(IndexOrder(index, descending, None if usual else NULL), number)


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
    return all(len(low) < LONGEST for low, _ in fragment.ranges)
