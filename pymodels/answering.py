"""Where an index has the records of a lookup, as a function of the operand alone.

``ranges.ranges_of`` tells that of any lookup and any operand. What is here is made once for a
lookup at a place and for a type of operands, takes few calls then, and comes to the same; operands
that need a closer look get no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from pymodels.byindex import ByIndex
from pymodels.conditions import Lookup
from pymodels.encoding import (
    AFTER_INT,
    ENCODERS,
    EXACT_INT,
    FAMILIES,
    SHORT_INT,
    double,
    encode,
    encoded_texts,
    successor,
    text_prefix,
)
from pymodels.ordered import CASELESS, LONGEST, MEMBERS, WHOLE, OrderedIndex, Part
from pymodels.ranges import Range, in_year
from pymodels.schema import Place
from pymodels.values import ARRAYS, NULLS, family, family_of

Answer: TypeAlias = Callable[[Any], tuple[Range, ...] | None]
"""Returns the ranges of an operand, in order; None if that is unclear, or if there are none."""

_Encoder: TypeAlias = Callable[[Any], bytes]

MOST_POINTS: Final = 1000
"""How many values are looked up one by one, before all records are gone through instead."""


def answer_of(part: Part, place: Place, name: str, operand: Any) -> Answer | None:
    """Return what answers a lookup among the values of a part, None where nothing here does.

    It is for operands of the same type as *operand*, and of the same types inside.
    """
    kind = type(operand)
    if part.form == CASELESS:
        return _CASELESS.get(name) if kind is str else None
    if part.form == MEMBERS:
        if place.kind.is_open or not place.kind.families <= ARRAYS:
            return None  # text contains, too
        name = _OF_MEMBERS.get(name, "")
    elif part.form != WHOLE:
        return None
    if name in ("in", "any", "first", "between"):
        kinds = set(map(type, operand))
        kind = kinds.pop() if len(kinds) == 1 else object
        if name == "between" and kinds and len({family(one) for one in operand}) == 1:
            return _compared(name, kinds.pop(), encode)  # an int and a float, perhaps
    encoder = ENCODERS.get(kind, encode)
    if name == "equals":
        return _ONE.get(kind) or _one(encoder)
    if name in ("in", "any"):
        return _SOME.get(kind) or _some(encoder)
    if name == "first":
        return _first(encoder)
    if name == "startswith":
        return _begins
    if name == "exists":
        return None if operand else _null
    if name == "year":
        return lambda operand: in_year(operand).ranges or None
    if kind is int and name in _COMPARED and name != "between":
        return _compared_ints(name)
    return _compared(name, kind, encoder) if name in _COMPARED and kind in ENCODERS else None


def equality(native: ByIndex, lookup: Lookup) -> tuple[OrderedIndex, bytes] | None:
    """Return the index and the entry that answer an equality, if there are such."""
    place = lookup.place
    if lookup.name != "equals" or place is None or place.is_key:
        return None
    try:
        index = native.alone[place.way]
    except KeyError:
        return None
    operand = lookup.operand
    entry = ENCODERS[type(operand)](operand) if type(operand) in ENCODERS else encode(operand)
    return None if entry[LONGEST - 1 :] else (index, entry)


# --- single values --------------------------------------------------------------------------


def _one(encoder: _Encoder) -> Answer:
    def answer(operand: Any) -> tuple[Range, ...] | None:
        entry = encoder(operand)
        return None if entry[LONGEST:] else ((entry, successor(entry)),)

    return answer


def _one_text(operand: str) -> tuple[Range, ...] | None:
    if "\0" in operand or "\1" in operand:
        return None
    entry = f" {operand}\0".encode()
    return None if entry[LONGEST:] else ((entry, entry[:-1] + b"\1"),)


def _one_int(operand: int) -> tuple[Range, ...] | None:
    if not 0 <= operand <= EXACT_INT:
        return _AN_INT(operand)
    short = double(operand)
    return ((SHORT_INT % short, AFTER_INT % short),)


def _null(operand: Any) -> tuple[Range, ...] | None:
    return (FAMILIES["null"],)


_AN_INT: Final = _one(ENCODERS[int])
_ONE: Final[Mapping[type, Answer]] = {str: _one_text, int: _one_int, type(None): _null}


# --- several values -------------------------------------------------------------------------


def _some(encoder: _Encoder) -> Answer:
    def answer(operands: tuple[Any, ...]) -> tuple[Range, ...] | None:
        if not operands or operands[MOST_POINTS:]:
            return None
        entries = sorted(set(map(encoder, operands)))
        if max(map(len, entries)) > LONGEST:
            return None
        return tuple(zip(entries, map(successor, entries), strict=True))

    return answer


def _some_texts(operands: tuple[str, ...]) -> tuple[Range, ...] | None:
    if operands[MOST_POINTS:]:
        return None
    entries = sorted(set(encoded_texts(operands)))
    if max(map(len, entries)) > LONGEST:
        return None
    return tuple([(entry, entry[:-1] + b"\1") for entry in entries])


def _some_ints(operands: tuple[int, ...]) -> tuple[Range, ...] | None:
    ordered = sorted(set(operands))
    if ordered[0] < 0 or ordered[-1] > EXACT_INT or operands[MOST_POINTS:]:
        return _INTS(operands)
    return tuple([(SHORT_INT % one, AFTER_INT % one) for one in map(double, ordered)])


def _first(encoder: _Encoder) -> Answer:
    one = _one(encoder)

    def answer(operands: tuple[Any, ...]) -> tuple[Range, ...] | None:
        return one(operands[0]) if operands else None

    return answer


_INTS: Final = _some(ENCODERS[int])
_SOME: Final[Mapping[type, Answer]] = {str: _some_texts, int: _some_ints}


# --- values between others ------------------------------------------------------------------

_COMPARED: Final = frozenset({"gt", "gte", "lt", "lte", "between"})


def _compared(name: str, kind: type, encoder: _Encoder) -> Answer | None:
    family = family_of(kind)
    if family in NULLS:
        return None
    start, end = FAMILIES[family]

    def answer(operand: Any) -> tuple[Range, ...] | None:
        low, high = start, end
        if name == "between":
            low, high = encoder(operand[0]), successor(encoder(operand[1]))
        elif name == "gte":
            low = encoder(operand)
        elif name == "gt":
            low = successor(encoder(operand))
        elif name == "lt":
            high = encoder(operand)
        else:
            high = successor(encoder(operand))
        return None if low >= high or low[LONGEST:] or high[LONGEST:] else ((low, high),)

    return answer


def _compared_ints(name: str) -> Answer:
    """Return what ``_compared`` does, made for the commonest operands."""
    start, end = FAMILIES["number"]
    usual = _compared(name, int, ENCODERS[int])

    def answer(operand: int) -> tuple[Range, ...] | None:
        if not 0 <= operand <= EXACT_INT:
            return None if usual is None else usual(operand)
        short = double(operand)
        if name == "gte":
            return ((SHORT_INT % short, end),)
        if name == "lt":
            return ((start, SHORT_INT % short),)
        after = AFTER_INT % short
        return ((after, end),) if name == "gt" else ((start, after),)

    return answer


def _begins(operand: str) -> tuple[Range, ...] | None:
    low = text_prefix(operand)
    return None if low[LONGEST:] else ((low, successor(low)),)


# --- values that are not whole --------------------------------------------------------------

_OF_MEMBERS: Final = {"contains": "equals", "contains_any": "any", "contains_all": "first"}
_CASELESS: Final[Mapping[str, Answer]] = {
    "equals": lambda operand: _one_text(operand.casefold()),
    "iequals": lambda operand: _one_text(operand.casefold()),
    "istartswith": lambda operand: _begins(operand.casefold()),
}
