"""What is remembered of a shape of conditions: what can be done about them, and how to do it.

See ``shapes`` for what a shape is. What is remembered serves operands that are like others; with
one that is not, as with text that is too long for an entry, ``choosing`` is asked anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from pymodels.answering import MOST_POINTS, Answer, answer_of
from pymodels.byindex import AllOf, AnyOf, ByIndex, InColumns, InIndex, by_trigrams, one_of_entries
from pymodels.bykey import Keys, UniqueValue
from pymodels.choosing import ways
from pymodels.conditions import EVERYTHING, And, Condition, Lookup, Not, Or, lookups_in
from pymodels.ordered import LONGEST, TRIGRAM, OrderedIndex
from pymodels.planning import split
from pymodels.ranges import common, outside
from pymodels.schema import MOST_KNOWN
from pymodels.sweeping import Sweep
from pymodels.trigrams import WITH_PARTS, required
from pymodels.weighing import Asked, Candidate, Ways


class Prepared(msgspec.Struct, frozen=True):
    """What is remembered of a shape: what can be done, and how to find the fragments for that.

    ``ways`` has candidates without fragments, and columns without a condition. ``finders`` has one
    for each of the candidates; ``swept`` are the parts that columns decide.
    """

    ways: Ways
    finders: tuple[_Finder, ...]
    swept: tuple[int, ...]


_Source: TypeAlias = tuple[Callable[[Any], Any], OrderedIndex | None, bool]
"""What returns the ranges of a condition's operand, the index that has them, and whether they are
of single entries. Without an index, what returns the fragment that a condition comes to. Either
returns None if that is unclear."""

_Finder: TypeAlias = tuple[int | None, _Source]
"""The number of the part that a source is for; None for one that wants all of them."""


def fragment_of(finder: _Finder, parts: tuple[Any, ...]) -> Any:
    """Return the fragment that a finder has for a condition, None if that is unclear."""
    number, (find, index, points) = finder
    part: Any = parts if number is None else parts[number]
    if index is None:
        return find(part)
    ranges = find(part.operand)
    return None if ranges is None else InIndex(index, ranges, points)


def swept_by(sweep: Sweep, numbers: tuple[int, ...], parts: tuple[Condition, ...]) -> Sweep:
    """Return a way to go through columns with the operands of a condition."""
    asked: tuple[Condition, ...] = ()
    for number in numbers:
        asked += (parts[number],)
    condition = EVERYTHING if not asked else And(asked) if asked[1:] else asked[0]
    return Sweep(InColumns(sweep.fragment.indexes, condition), sweep.decides, sweep.order)


# --- what is found out once -----------------------------------------------------------------


def learn(
    native: ByIndex, codec: Any, parts: tuple[Condition, ...], asked: Asked, shape: Any
) -> Ways:
    """Return what can be done about a condition, and remember that for all of its shape.

    No operand is remembered.
    """
    known = ways(native, parts, codec, asked)
    lookups = list(lookups_in(And(parts)))
    values = math.prod(len(one.operand) for one in lookups if type(one.operand) is tuple)
    if values > MOST_POINTS or not all(_is_usual(native, one) for one in lookups):
        return known
    if len(native.prepared) >= MOST_KNOWN:
        native.prepared.clear()  # what is asked often is back soon
    finders: tuple[_Finder, ...] = ()
    for one in known.found:
        finder = _finder(native, parts, one)
        if finder is None:
            native.prepared[shape] = None
            return known
        if fragment_of(finder, parts) != one.fragment:
            return known
        finders += (finder,)
    found = tuple([msgspec.structs.replace(one, fragment=None) for one in known.found])
    kept, swept = msgspec.structs.replace(known, found=found), tuple[int, ...]()
    if known.sweep is not None:
        swept = tuple(sorted(known.sweep.decides))
        columns = InColumns(known.sweep.fragment.indexes)
        sweep = Sweep(columns, known.sweep.decides, known.sweep.order)
        kept = msgspec.structs.replace(kept, sweep=sweep)
    native.prepared[shape] = Prepared(kept, finders, swept)
    return known


def _is_usual(native: ByIndex, lookup: Lookup) -> bool:
    """Tell whether an operand is one of those by which the others of its type can be judged."""
    place, name, operand = lookup.place, lookup.name, lookup.operand
    if place is None:
        return False
    if place.is_key:
        by_key = native.keys.lookups.get(name)
        return by_key is None or by_key(place, operand) is not NotImplemented
    has_runs = place.way not in native.trigrams or name not in WITH_PARTS
    return has_runs or bool(required(name, operand))


def _finder(native: ByIndex, parts: tuple[Condition, ...], one: Candidate) -> _Finder | None:
    fragment = one.fragment
    if one.asked:
        index = fragment.index if type(fragment) is InIndex else fragment.parts[0].index
        if index.parts[0].form == TRIGRAM:
            ((number,),) = one.asked
            return number, (partial(by_trigrams, index), None, False)
        steps: tuple[_Step, ...] = ()
        for part, asked in zip(index.parts, one.asked, strict=False):
            step: _Step = ()
            for number in asked:
                condition = parts[number]
                is_negated = isinstance(condition, Not)
                answer = _answer(part, condition.part if isinstance(condition, Not) else condition)
                if answer is None:
                    return None
                step += ((number, answer, is_negated),)
            steps += (step,)
        (number, answer, is_negated), *others = steps[0]
        if len(index.parts) == 1 and not others and not is_negated:
            return number, (answer, index, fragment.points)
        return None, _by_fields(index, steps, fragment.points)
    if type(fragment) is InIndex and fragment.index.where:
        return None, (lambda parts: fragment, None, False)
    if len(one.decides) != 1:
        return None
    (number,) = one.decides
    source = _source(native, parts[number])
    return None if source is None else (number, source)


def _answer(part: Any, lookup: Condition) -> Answer | None:
    if type(lookup) is not Lookup or lookup.place is None:
        return None
    return answer_of(part, lookup.place, lookup.name, lookup.operand)


_Step: TypeAlias = tuple[tuple[int, Answer, bool], ...]
"""What is asked about a part of an index: the number of each condition, what has the ranges of its
operand, and whether it asks for all others."""


def _by_fields(index: OrderedIndex, steps: tuple[_Step, ...], points: bool) -> _Source:
    """Return what finds the ranges of several parts of an index, or of several conditions."""

    def find(parts: Sequence[Any]) -> Any:
        ranges: Any = ()
        for step in steps:
            here: Any = None
            for number, answer, is_negated in step:
                part = parts[number].part if is_negated else parts[number]
                one = answer(part.operand)
                if one is None:
                    return None
                if is_negated:
                    one = outside(one)
                here = one if here is None else common(here, one)
            if step is steps[0]:
                ranges = here
            elif here[1:] or ranges[1:]:
                ranges = [
                    (before + low, before + high) for before, _ in ranges for low, high in here
                ]
                if ranges[MOST_POINTS:]:
                    return None
            else:
                for low, high in here:
                    ranges = ((ranges[0][0] + low, ranges[0][0] + high),)
            if not here:
                return None
        end = b""
        for low, high in ranges:
            # Of what is cut off, the order is lost; and ranges that meet would be made one.
            if low[LONGEST - 1 :] or high[LONGEST - 1 :] or (low <= end and not points):
                return None
            end = high
        return InIndex(index, tuple(ranges), points)

    return find, None, False


# --- conditions that are no lookup of an index ----------------------------------------------


def _source(native: ByIndex, part: Any) -> _Source | None:
    """Return what finds the fragment that ``planning.split`` would, None if only that does."""
    if type(part) is Lookup:
        return _of_lookup(native, part)
    if type(part) is Not:
        inner = _source(native, part.part)
        if inner is None or inner[1] is None:
            return None
        return _outside(inner[0], inner[1])
    if not part.parts:
        return None
    if type(part) is Or:
        values = _one_of_values(native, part.parts)
        if values is not None:
            return values
    sources: tuple[_Source | None, ...] = ()
    for one in part.parts:
        source = None
        if type(part) is Or or split(native, one)[0] is not None:
            source = _source(native, one)
            if source is None:
                return None
        sources += (source,)
    return _together(native, sources, is_any=type(part) is Or)


def _of_lookup(native: ByIndex, lookup: Lookup) -> _Source | None:
    place, name = lookup.place, lookup.name
    if place is None:
        return None
    by_key = native.keys.lookups.get(name)
    if place.is_key:
        if by_key is None:
            return None
        return _by_key(by_key), None, False
    field = place.field
    is_unique = field is not None and field.options.unique and not place.inside
    if field is not None and is_unique and name == "equals" and lookup.operand is not None:
        stored = field.stored
        return (lambda part: UniqueValue(stored, part.operand)), None, False
    for index in native.first.get(place.way, ()):
        if index.parts[0].form == TRIGRAM:
            if name in WITH_PARTS:
                return partial(by_trigrams, index), None, False
            continue
        answer = _answer(index.parts[0], lookup)
        if answer is not None:
            return answer, index, len(index.parts) == 1 and name in _OF_POINTS
    return None


_OF_POINTS: Final = frozenset(
    {"equals", "in", "exists", "iequals", "contains", "contains_any", "contains_all"}
)


def _by_key(answer: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    def find(part: Any) -> Any:
        found = answer(part.place, part.operand)
        return None if found is NotImplemented else found

    return find


def _outside(answer: Answer, index: OrderedIndex) -> _Source:
    def find(part: Any) -> Any:
        ranges = answer(part.part.operand)
        return None if ranges is None else InIndex(index, outside(ranges))

    return find, None, False


def _one_of_values(native: ByIndex, parts: Sequence[Any]) -> _Source | None:
    """Return what finds the records where a field has one of several values of the same type."""
    first = parts[0]
    for one in parts:
        if type(one) is not Lookup or one.name != "equals" or one.place is not first.place:
            return None
        if type(one.operand) is not type(first.operand):
            return None
    source = _of_lookup(native, Lookup((), "in", (first.operand,), first.place))
    if source is None:
        return None
    answer, index, points = source
    if index is None:
        return None
    only = index

    def find(part: Any) -> Any:
        operands: tuple[Any, ...] = ()
        for one in part.parts:
            operands += (one.operand,)
        ranges = answer(operands)
        return None if ranges is None else InIndex(only, ranges, points)

    return find, None, False


def _together(native: ByIndex, sources: tuple[_Source | None, ...], *, is_any: bool) -> _Source:
    """Return what finds the fragments of some conditions, of which any holds, or all do.

    Of what all has to hold, some may have none.
    """

    def find(part: Any) -> Any:
        found: tuple[Any, ...] = ()
        for source, one in zip(sources, part.parts, strict=True):
            if source is None:
                continue
            answer, index, points = source
            fragment = answer(one) if index is None else answer(one.operand)
            if fragment is None:
                return None
            found += (fragment if index is None else InIndex(index, fragment, points),)
        if not found[1:]:
            return found[0] if found else None
        if type(found[0]) is Keys:
            return native.any_of(found) if is_any else native.all_of(found)
        if not is_any:
            return AllOf(found)
        return one_of_entries(found) or AnyOf(found)

    return find, None, False
