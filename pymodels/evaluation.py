"""The reference evaluator: what a bound condition means for one record, compiled once per query.

The result takes a *probe*, the few fields that the condition needs, and the record's key. Whatever
a backend answers must agree with it. Where a field's declared type leaves no doubt about the
values, a shorter test of the same meaning stands in for the general one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias, assert_never

from pymodels.conditions import And, Condition, Lookup, Not, Or, lookups_in
from pymodels.kinds import Choice, Scalar, Structured, Union, is_index
from pymodels.lookups import LOOKUPS
from pymodels.schema import Place
from pymodels.values import ABSENT, NULLS, family, is_array, order_key

Predicate: TypeAlias = Callable[[Any, Any], bool]
_TWO_FORMS: Final = frozenset({"uuid", "instant"})
"""Families whose values do not sort by themselves: by number, and whatever the zone."""

Reader: TypeAlias = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A condition made ready: ``test(probe, key)``, for a probe with the fields ``names``."""

    names: tuple[str, ...]
    test: Predicate


def compile_condition(condition: Condition) -> Compiled:
    """Return what decides *condition*, which is bound to a model."""
    names = sorted({place.stored for place in _places(condition) if not place.is_key})
    positions = {name: f"f{number}" for number, name in enumerate(names)}
    return Compiled(tuple(names), _predicate(condition, positions))


def _places(condition: Condition) -> Iterator[Place]:
    for lookup in lookups_in(condition):
        yield _place(lookup)


def _place(lookup: Lookup) -> Place:
    if lookup.place is None:
        raise TypeError(f"{lookup!r} is not bound to a model")
    return lookup.place


def _predicate(condition: Condition, positions: dict[str, str]) -> Predicate:
    match condition:
        case Lookup():
            return _lookup(condition, positions)
        case And(parts):
            tests = [_predicate(part, positions) for part in parts]
            if len(tests) == 2:
                first, second = tests
                return lambda record, key: first(record, key) and second(record, key)
            return lambda record, key: all(test(record, key) for test in tests)
        case Or(parts):
            tests = [_predicate(part, positions) for part in parts]
            if len(tests) == 2:
                first, second = tests
                return lambda record, key: first(record, key) or second(record, key)
            return lambda record, key: any(test(record, key) for test in tests)
        case Not(part):
            inner = _predicate(part, positions)
            return lambda record, key: not inner(record, key)
        case _:
            assert_never(condition)


def _lookup(lookup: Lookup, positions: dict[str, str]) -> Predicate:
    place = _place(lookup)
    test = value_test(lookup)
    if place.is_key:
        return lambda record, key: test(key)
    get = operator.attrgetter(positions[place.stored])
    if not place.inside and not place.root.any_inside(Structured):
        return lambda record, key: test(get(record))
    read = leaves_of(place, get)
    return lambda record, key: any(map(test, read(record)))


def value_test(lookup: Lookup) -> Callable[[Any], bool]:
    """Return the test of a single value that *lookup* asks for."""
    place = _place(lookup)
    meaning = LOOKUPS[lookup.name]
    short = _SHORT.get(lookup.name)
    if short is not None and not place.inside and is_plain(place):
        found = short(lookup.operand)
        if found is not None:
            return found
    operand, test = meaning.prepare(lookup.operand), meaning.test
    if place.kind.any_inside(Choice):
        return lambda value: test(_by_value(value), operand)
    return lambda value: test(value, operand)


def _by_value(value: Any) -> Any:
    """Return what is stored of a value: lookups know nothing of enums."""
    if isinstance(value, Enum):
        return value.value
    if is_array(value):
        return type(value)(map(_by_value, value))
    if type(value) is dict:
        return {name: _by_value(member) for name, member in value.items()}
    return value


def leaves_of(place: Place, get: Callable[[Any], Any]) -> Callable[[Any], Iterator[Any]]:
    """Return a function from a probe to the values that *place* leads to, several through lists."""
    parts, root = place.inside, root_of(place, get)
    return lambda record: leaves(root(record), parts)


def leaves(value: Any, parts: tuple[str, ...]) -> Iterator[Any]:
    """Yield the values at the end of a path: one, or one for each member of a list on the way.

    >>> list(leaves([{"a": 1}, {"b": 2}], ("a",)))
    [1, UNSET]
    >>> list(leaves([], ("a",)))
    [UNSET]
    """
    for position, part in enumerate(parts):
        if type(value) is dict:
            value = value.get(part, ABSENT)
        elif is_array(value):
            if is_index(part) and type(value) is not set:
                value = value[int(part)] if int(part) < len(value) else ABSENT
            elif value:
                for member in value:
                    yield from leaves(member, parts[position:])
                return
            else:
                value = ABSENT
        else:
            value = ABSENT
    yield value


def reached(value: Any, parts: tuple[str, ...]) -> tuple[bool, Any]:
    """Tell whether a path passes through a list, and return what it leads to: a list then.

    >>> reached({"a": [1]}, ("a",)), reached([{"a": 1}, {}, [{"a": [2]}]], ("a",))
    ((False, [1]), (True, [1, UNSET, [2]]))
    >>> reached([], ("a",)), reached(None, ("a",))
    ((True, []), (False, UNSET))
    """
    for position, part in enumerate(parts):
        if _has_no(part, value):
            return True, list(_members_reached(value, parts[position:]))
        value = next(leaves(value, (part,)))
    return False, value


def _has_no(part: str, value: Any) -> bool:
    """Tell whether a path goes through the members of *value*, since *part* is none of them."""
    return is_array(value) and (type(value) is set or not is_index(part))


def _members_reached(value: Any, parts: tuple[str, ...]) -> Iterator[Any]:
    for position, part in enumerate(parts):
        if _has_no(part, value):
            for member in value:
                yield from _members_reached(member, parts[position:])
            return
        value = next(leaves(value, (part,)))
    yield value


def root_of(place: Place, get: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function from a probe to the value in which *place* lies, as conditions see it."""
    if not place.root.any_inside(Structured):
        return get
    neutral = place.root.neutral

    def read(record: Any) -> Any:
        value = get(record)
        return value if value is ABSENT else neutral(value)

    return read


def reader(place: Place, position: str) -> Reader:
    """Return a function (probe, key) to the one value of *place*, ``ABSENT`` if it has none."""
    if place.is_key:
        return lambda record, key: key
    get = operator.attrgetter(position)
    if not place.inside and not place.root.any_inside(Structured):
        return lambda record, key: get(record)
    read = leaves_of(place, get)
    return lambda record, key: next(read(record))


def order_value(place: Place, position: str) -> Reader:
    """Return a function (probe, key) to what a record sorts by at *place*, None for nothing."""
    if place.is_key:
        return lambda record, key: key
    read = reader(place, position)
    if is_plain(place) and not place.inside and not place.kind.families & _TWO_FORMS:
        get = operator.attrgetter(position)

        def plain(record: Any, key: Any) -> Any:
            value = get(record)
            return None if value is ABSENT else value

        return plain

    def general(record: Any, key: Any) -> Any:
        value = read(record, key)
        return None if value is None or value is ABSENT else order_key(value)

    return general


# --- shorter tests where the declared type leaves no doubt ----------------------------------


def is_plain(place: Place) -> bool:
    """Tell whether all values here are of one family, as themselves: no enums, nothing open."""
    kind = place.kind
    if place.is_key or isinstance(kind, Scalar):
        return True
    if isinstance(kind, Union):
        return (
            len(kind.families) == 1
            and not kind.is_open
            and all(isinstance(option, Scalar) for option in kind.some)
        )
    return False


def _equals(operand: Any) -> Callable[[Any], bool] | None:
    if operand is None:
        return lambda value: value is None or value is ABSENT
    return lambda value: value == operand


def _in(operands: Any) -> Callable[[Any], bool] | None:
    wanted = set(operands)
    if None in wanted:
        wanted.add(ABSENT)
    return wanted.__contains__


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Callable[[Any], bool] | None]:
    def short(operand: Any) -> Callable[[Any], bool] | None:
        if family(operand) in NULLS:
            return lambda value: False
        return lambda value: value is not None and value is not ABSENT and compare(value, operand)

    return short


def _contains(operand: Any) -> Callable[[Any], bool] | None:
    if type(operand) is not str:
        return None
    return lambda value: type(value) is str and operand in value


_SHORT: Final[dict[str, Callable[[Any], Callable[[Any], bool] | None]]] = {
    "equals": _equals,
    "in": _in,
    "gt": _ordered(operator.gt),
    "gte": _ordered(operator.ge),
    "lt": _ordered(operator.lt),
    "lte": _ordered(operator.le),
    "contains": _contains,
}
