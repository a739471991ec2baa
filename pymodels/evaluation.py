"""The reference evaluator: what a bound condition means for one record, compiled once per query.

The result takes a *probe*, the few fields that the condition needs, and the record's key. Whatever
a backend answers must agree with it. Where a field's declared type leaves no doubt about the
values, a shorter test of the same meaning stands in for the general one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from enum import Enum
from types import CodeType
from typing import Any, Final, TypeAlias, assert_never

import msgspec

from pymodels.conditions import And, Condition, Lookup, Not, Or, lookups_in
from pymodels.kinds import Choice, Scalar, Structured, Union, is_index
from pymodels.lookups import LOOKUPS
from pymodels.schema import Place
from pymodels.values import ABSENT, NULLS, family, in_order, is_array, order_key

Predicate: TypeAlias = Callable[[Any, Any], bool]
_TWO_FORMS: Final = frozenset({"uuid", "instant"})
"""Families whose values do not sort by themselves: by number, and whatever the zone."""

Reader: TypeAlias = Callable[[Any, Any], Any]


class Compiled(msgspec.Struct, frozen=True):
    """A condition made ready: ``test(probe, key)``, for a probe with the fields ``names``."""

    names: tuple[str, ...]
    test: Predicate


def compile_condition(condition: Condition) -> Compiled:
    """Return what decides *condition*, which is bound to a model."""
    names = names_in(condition)
    positions = {name: f"record.f{number}" for number, name in enumerate(names)}
    return Compiled(names, _predicate(condition, positions))


def compile_mask(condition: Condition) -> Callable[..., list[bool]]:
    """Return what decides *condition* for many records at once.

    It takes a list of values for each of ``names_in(condition)``, and returns for each record
    whether the condition holds. It is for conditions that ``asks_only_values``.
    """
    names = names_in(condition)
    values = [f"v{number}" for number in range(len(names))]
    columns = [f"c{number}" for number in range(len(names))]
    inner: dict[str, Any] = {"zip": zip}
    expression = _expression(condition, dict(zip(names, values, strict=True)), inner, 0)
    each = f"for {values[0]} in c0" if len(names) == 1 else _zipped(values, columns)
    found: Callable[..., list[bool]] = _compiled(
        f"lambda {', '.join(columns)}: [{expression} {each}]", inner
    )
    return found


def _zipped(values: list[str], columns: list[str]) -> str:
    return f"for {', '.join(values)} in zip({', '.join(columns)}, strict=True)"


def asks_only_values(condition: Condition, depth: int = 0) -> bool:
    """Tell whether it takes nothing but the whole values of fields to decide a condition."""
    match condition:
        case Lookup():
            return has_whole_values(_place(condition))
        case And(parts) | Or(parts):
            return depth < _DEEPEST and all(asks_only_values(part, depth + 1) for part in parts)
        case Not(part):
            return depth < _DEEPEST and asks_only_values(part, depth + 1)
        case _:
            assert_never(condition)


def has_whole_values(place: Place) -> bool:
    """Tell whether a place is a whole field, of which conditions see what was decoded."""
    if place.is_key or place.inside:
        return False
    return place.plain is not None or not place.root.any_inside(Structured)


def names_in(condition: Condition) -> tuple[str, ...]:
    """Return the stored fields that it takes to decide *condition*."""
    return tuple(sorted({place.stored for place in _places(condition) if not place.is_key}))


def _places(condition: Condition) -> Iterator[Place]:
    for lookup in lookups_in(condition):
        yield _place(lookup)


def _place(lookup: Lookup) -> Place:
    if lookup.place is None:
        raise TypeError(f"{lookup!r} is not bound to a model")
    return lookup.place


# A condition becomes one expression, so that a record takes one call and not one for each part. The
# text is made of nothing but the templates here: operands are values of its names.

_DEEPEST: Final = 20
_CODES: Final[dict[str, CodeType]] = {}
_MOST_CODES: Final = 2_000


def _predicate(condition: Condition, positions: dict[str, str]) -> Predicate:
    names: dict[str, Any] = {}
    found: Predicate = _compiled(
        f"lambda record, key: {_expression(condition, positions, names, 0)}", names
    )
    return found


def _compiled(text: str, names: dict[str, Any]) -> Any:
    names |= {"ABSENT": ABSENT, "__builtins__": {}}
    names |= {"any": any, "map": map, "type": type, "str": str}
    code = _CODES.get(text)
    if code is None:
        if len(_CODES) >= _MOST_CODES:
            _CODES.clear()
        code = _CODES[text] = compile(text, "<condition>", "eval")
    return eval(code, names)  # noqa: S307 - only templates of this module


def _expression(
    condition: Condition, positions: dict[str, str], names: dict[str, Any], depth: int
) -> str:
    if depth > _DEEPEST:  # Python's parser has a limit
        return f"{_named(names, _predicate(condition, positions))}(record, key)"
    match condition:
        case Lookup():
            return _lookup(condition, positions, names)
        case And(parts) | Or(parts):
            if not parts:
                return str(isinstance(condition, And))
            inner = [_expression(part, positions, names, depth + 1) for part in parts]
            return f"({(' and ' if isinstance(condition, And) else ' or ').join(inner)})"
        case Not(part):
            return f"(not {_expression(part, positions, names, depth + 1)})"
        case _:
            assert_never(condition)


def _named(names: dict[str, Any], value: Any) -> str:
    """Return the name by which the text of a condition calls *value*."""
    name = f"n{len(names)}"
    names[name] = value
    return name


def _lookup(lookup: Lookup, positions: dict[str, str], names: dict[str, Any]) -> str:
    place = _place(lookup)
    if place.is_key:
        return f"{_named(names, value_test(lookup))}(key)"
    position = positions[place.stored]
    if not place.inside and not place.root.any_inside(Structured):
        if is_plain(place):
            template = _template(lookup)
            if template is not None:
                operand = set(lookup.operand) if lookup.name == "in" else lookup.operand
                if lookup.name == "in" and None in operand:
                    operand.add(ABSENT)
                return template.format(value=position, operand=_named(names, operand))
        return f"{_named(names, value_test(lookup))}({position})"
    read = _named(names, leaves_of(place, operator.attrgetter(position.removeprefix("record."))))
    return f"any(map({_named(names, value_test(lookup))}, {read}(record)))"


def _template(lookup: Lookup) -> str | None:
    """Return the text of a lookup at a plain place, None where only its function will do."""
    if lookup.name in _SIGNS:
        if family(lookup.operand) in NULLS:
            return "False"
        return (
            "((value := {value}) is not None and value is not ABSENT and "
            f"value {_SIGNS[lookup.name]} {{operand}})"
        )
    if lookup.name == "equals":
        if lookup.operand is None:
            return "({value} is None or {value} is ABSENT)"
        return "({value} == {operand})"
    if lookup.name == "contains" and type(lookup.operand) is str:
        return "(type(value := {value}) is str and {operand} in value)"
    return "({value} in {operand})" if lookup.name == "in" else None


_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def value_test(lookup: Lookup) -> Callable[[Any], bool]:
    """Return the test of a single value that *lookup* asks for."""
    place = _place(lookup)
    meaning = LOOKUPS[lookup.name]
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
                for member in in_order(value):
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
            for member in in_order(value):
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
    if is_its_own_order(place):
        get = operator.attrgetter(position)

        def plain(record: Any, key: Any) -> Any:
            value = get(record)
            return None if value is ABSENT else value

        return plain

    def general(record: Any, key: Any) -> Any:
        value = read(record, key)
        return None if value is None or value is ABSENT else order_key(value)

    return general


def is_its_own_order(place: Place) -> bool:
    """Tell whether the values at *place* sort as Python sorts them, but for None."""
    return is_plain(place) and not place.inside and not place.kind.families & _TWO_FORMS


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
