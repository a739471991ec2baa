"""Plans for the commonest questions to an index, made in few calls.

They are what ``choosing.choose`` would come to. Where one part of a condition alone asks about an
indexed field, and no index has the order, there is no choice. Otherwise sizes decide: of several
indexes that each find one part, and of what would have to be sorted or gone through in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pymodels.answering import found_by, found_by_fields
from pymodels.byindex import EVERY, AllOf, AnyOf, ByIndex, IndexOrder, InIndex, by_trigrams, common
from pymodels.bykey import UniqueValue
from pymodels.conditions import EVERYTHING, And, Condition, Lookup, lookups_in
from pymodels.expecting import ENTRY, FETCH, PROBE, SORT, cost_in_order, is_page_sooner_by_key
from pymodels.ordered import OrderedIndex, StoredPath
from pymodels.planning import Plan, Term, condition_names
from pymodels.schema import Schema
from pymodels.weighing import weigh

if TYPE_CHECKING:
    from pymodels.tablereading import TableReader

_KEYS: Final = ("ascending keys", "descending keys")


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
    """Return the plan where it is easily told what finds the records, and in which order."""
    parts = condition.parts if type(condition) is And else (condition,)
    answers = _answers(native, parts)
    if answers is None:
        return None
    each, chosen, _ = answers
    index: Any = None
    if order:
        index = NotImplemented if unordered else _order_of(native, answers, order, descending)
        if index is NotImplemented:
            return None
    expected: int | None = None
    pages = limit is not None and not order and parts[1:] != ()
    pages = pages and (chosen[1:] != () or None in each)
    if chosen and (chosen[1:] or pages or index is not None):
        stop = None if limit is None else offset + limit
        weighed = _weighed(storage, schema, answers, index, stop, pages=pages)
        if weighed is None:
            return None
        expected, chosen, index = weighed
    rest: tuple[Condition, ...] = ()
    for part, one in zip(parts, each, strict=True):
        if one not in chosen:
            rest += (part,)
    left = EVERYTHING if not rest else And(rest) if rest[1:] else rest[0]
    native_order: IndexOrder | str | None = None
    if index is not None:
        native_order = IndexOrder(index, descending)
        chosen = chosen or (InIndex(index, EVERY),)
    elif not order and not unordered:
        native_order = _KEYS[descending]
    is_finished = not rest and (unordered or native_order is not None)
    if names is not None:
        if rest:
            names |= condition_names(left)
        if native_order is None:
            names |= {term.place.stored for term in order}
    return Plan(
        schema,
        condition,
        AllOf(chosen) if chosen[1:] else chosen[0] if chosen else None,
        left,
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


_Answers: TypeAlias = tuple[tuple[Any, ...], tuple[Any, ...], int]
"""What finds the records of each part of a condition, None where nothing does; all of these
fragments, each once, those that look up single entries before others; and how many of its fields
have but one value in the one of several fields."""


def _answers(native: ByIndex, parts: Sequence[Condition]) -> _Answers | None:
    """Return what finds the records of each part: of several fragments each is of another index.

    None if that takes a closer look.
    """
    if parts[1:] and native.columns:
        return None
    if native.partial and _may_imply(native.partial, parts):
        return None
    if native.compound:
        fields = found_by_fields(native, parts)
        if fields is not None:
            return _of_fields(native, parts, *fields)
    each: tuple[Any, ...] = ()
    by_index: dict[str, InIndex] = {}
    otherwise: tuple[Any, ...] = ()
    meets = False
    for part in parts:
        one = found_by(native, part)
        if one is NotImplemented:
            more = _found_with_others(native, part)
            return None if more is None else _of_superset(native, parts, part, more)
        if type(one) is InIndex:
            if parts[1:] and type(part) is Lookup and one.index.parts[0].path in native.several:
                return None
            name = one.index.name
            if name in by_index:
                one, meets = _in_both(by_index[name], one), True
                if one is None:
                    return None
            by_index[name] = one
        elif one is not None:
            otherwise += (one,)
        each += (one,)
    if otherwise:
        return None if by_index or otherwise[1:] else (each, otherwise, 0)
    if meets:
        each = tuple([None if one is None else by_index[one.index.name] for one in each])
    points: tuple[Any, ...] = ()
    ranges: tuple[Any, ...] = ()
    for one in each:
        if one is None or one in points or one in ranges:
            continue
        if one.points:
            points += (one,)
        else:
            ranges += (one,)
    return each, points + ranges, 0


def _may_imply(partial: Sequence[set[StoredPath]], parts: Sequence[Condition]) -> bool:
    """Tell whether a condition asks about all that an index of some records takes for granted."""
    asked: set[StoredPath] = set()
    for part in parts:
        for lookup in (part,) if type(part) is Lookup else lookups_in(part):
            if lookup.place is not None:
                asked |= {lookup.place.way}
    for paths in partial:  # noqa: SIM110 - any() would be three calls more
        if paths <= asked:
            return True
    return False


def _of_fields(
    native: ByIndex, parts: Sequence[Condition], fragment: InIndex, equal: int
) -> _Answers:
    """Return the answers where one index has all that any index is asked about."""
    each: tuple[Any, ...] = ()
    for part in parts:
        place = part.place if type(part) is Lookup else None
        each += (fragment if place is not None and place.way in native.paths else None,)
    return each, (fragment,), equal


def _found_with_others(native: ByIndex, part: Condition) -> Any:
    """Return what finds the records of a lookup and perhaps more, None if nothing does.

    That is the only record with a unique value, or all text that has the same runs of characters.
    """
    if type(part) is not Lookup or part.place is None or native.columns:
        return None
    place = part.place
    if place.way in native.trigrams and place.way not in native.several:
        return by_trigrams(native.trigrams[place.way], place, part.name, part.operand)
    if part.name != "equals" or part.operand is None:
        return None
    if place.field is None or place.inside or not place.field.options.unique:
        return None
    return UniqueValue(place.stored, part.operand)


def _of_superset(
    native: ByIndex, parts: Sequence[Condition], found: Condition, fragment: Any
) -> _Answers | None:
    """Return the answers where a fragment finds records, of which everything is asked then.

    A unique value needs no other index; what else finds more than is asked for may.
    """
    each: tuple[Any, ...] = ()
    for part in parts:
        if type(part) is not Lookup or part.place is None or part.place.is_key:
            return None
        is_other = part is not found and type(fragment) is not UniqueValue
        if is_other and found_by(native, part) is not None:
            return None
        each += (None,)
    return each, (fragment,), 0


def _order_of(native: ByIndex, answers: _Answers, order: tuple[Term, ...], descending: bool) -> Any:
    """Return the index whose order is asked for, None if Python has to sort.

    ``NotImplemented`` where other indexes, or columns, may have it too.
    """
    each, chosen, equal = answers
    if native.columns and each:
        return NotImplemented
    ways: tuple[StoredPath, ...] = ()
    is_indexed, is_usual = False, True
    for term in order:
        ways += (term.place.way,)
        if term.place.is_key or term.place.way in native.paths:
            is_indexed = True
        if term.descending != descending or term.nulls_first is term.descending:
            is_usual = False
    if not is_indexed:
        return NotImplemented if native.columns else None
    if not is_usual:
        return NotImplemented
    if equal and tuple([part.path for part in chosen[0].index.parts[equal:]]) == ways:
        return chosen[0].index
    way = ways[0]
    if ways[1:] or way not in native.alone or (each and way in native.several):
        return NotImplemented
    return native.alone[way]


def _in_both(one: InIndex, other: InIndex) -> InIndex | None:
    """Return what lies in some ranges of an index and in others of it; None if nothing may."""
    if one.points or other.points:
        return None
    ranges = common(one.ranges, other.ranges)
    return InIndex(one.index, ranges) if ranges else None


_Weighed: TypeAlias = tuple[int | None, tuple[Any, ...], OrderedIndex | None]
"""How many records are found, if they were counted; by which fragments; and in whose order."""


def _weighed(
    storage: TableReader,
    schema: Schema,
    answers: _Answers,
    index: OrderedIndex | None,
    stop: int | None,
    *,
    pages: bool,
) -> _Weighed | None:
    """Return what is worth reading of what finds records, and whether the order of *index* is.

    *pages* says that the first of them are asked for in the order of their keys. None where a
    closer look is worth its time.
    """
    each, asked, _ = answers
    if type(asked[0]) is not InIndex:  # and nothing else is there
        return None if index is not None or type(asked[0]) is AnyOf else (None, asked, None)
    if index is asked[0].index and not asked[1:]:
        return None, asked, index
    sizes = storage.count_each(schema.collection, asked, pages or index is not None)
    if sizes is None:
        return None
    records, counts = sizes
    expected, chosen = weigh(sizes, asked) if counts[1:] else (counts[0], asked[:1])
    if index is not None:
        size = records
        there: tuple[Any, ...] = ()
        for number, one in zip(counts, asked, strict=False):
            if one.index is index:
                size, there = number, (one,)
        undecided = _undecided(each, chosen)
        looks = not there or _undecided(each, there) > 0
        cost = cost_in_order(size, looks, stop, undecided, expected, records)
        if cost > expected * (ENTRY + FETCH + SORT + (PROBE if undecided else 0.0)):
            return expected, chosen, None
        return size, there, index
    if not pages or stop is None or chosen[1:]:
        return expected, chosen, None
    if is_page_sooner_by_key(stop, _undecided(each, chosen), expected, records):
        return records, (), None
    return expected, chosen, None


def _undecided(each: tuple[Any, ...], chosen: tuple[Any, ...]) -> int:
    """Return how many parts of the condition are to be asked of what is found."""
    number = 0
    for one in each:
        if one not in chosen:
            number += 1
    return number
