"""The only meaning of every lookup: one total function each, and the table of them all.

A function decorated with ``lookup`` takes a stored value (or ``ABSENT``) and an operand, and
answers for any value of any family. It is thereby right on every backend; a backend that has a
faster way names the lookup in its own table.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from pymodels.errors import ModelError
from pymodels.operands import (
    Check,
    anything,
    contained,
    each_contained,
    each_storable,
    flag,
    pair,
    pattern,
    sortable,
    storable,
    text,
    whole_number,
)
from pymodels.values import ABSENT, NULLS, family, is_array, order_key

__all__ = ["LOOKUPS", "LookupMeaning", "lookup", "nearest"]

Test = Callable[[Any, Any], bool]


@dataclass(frozen=True, slots=True)
class LookupMeaning:
    """What one lookup means.

    ``test(value, operand)`` decides. ``check(operand, kind, path)`` returns the operand in its
    plain form or raises ``OperandInvalid``, when a query is built. ``prepare(operand)`` makes of
    it what ``test`` takes, once per query.
    """

    name: str
    test: Test
    check: Check
    prepare: Callable[[Any], Any]


LOOKUPS: Final[dict[str, LookupMeaning]] = {}


def _as_is(operand: Any) -> Any:
    return operand


def lookup(
    name: str, *, check: Check = anything, prepare: Callable[[Any], Any] = _as_is
) -> Callable[[Test], Test]:
    """Register the decorated function as the meaning of the lookup *name*, on every backend.

    Args:
        name: what follows the last ``__`` of a keyword, as in ``age__divisible_by=3``.
        check: called when a query is built, with the operand, the ``Kind`` of the place and its
            path; returns the operand, or raises ``OperandInvalid``.
        prepare: called once per query; what it returns is what the function gets as its operand.

    Raises ``ModelError`` if the name is taken or no identifier.

    >>> @lookup("divisible_by")
    ... def divisible_by(value, operand):
    ...     return type(value) is int and value % operand == 0
    >>> LOOKUPS.pop("divisible_by").test(9, 3)
    True
    """
    if not name.isidentifier() or "__" in name:
        raise ModelError(f"{name!r} cannot name a lookup: it must be an identifier without '__'")
    if name in LOOKUPS:
        raise ModelError(f"the lookup {name!r} exists already")

    def register(test: Test) -> Test:
        LOOKUPS[name] = LookupMeaning(name, test, check, prepare)
        return test

    return register


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the names nearest to *name*, or nothing if none is near."""
    close = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


# --- equality -------------------------------------------------------------------------------


@lookup("equals", check=storable, prepare=order_key)
def equals(value: Any, operand: Any) -> bool:
    """The whole value is the same; ``None`` is true of null and of absent."""
    return bool(order_key(value) == operand)


@lookup("in", check=each_storable, prepare=lambda operands: frozenset(map(order_key, operands)))
def in_(value: Any, operands: Any) -> bool:
    """The whole value is the same as one of the operands."""
    return order_key(value) in operands


@lookup("exists", check=flag)
def exists(value: Any, operand: Any) -> bool:
    """The record has this place, null included."""
    return bool((value is not ABSENT) == operand)


# --- comparison, between values of one family only ------------------------------------------


def _comparable(operand: Any) -> Any:
    return (family(operand), order_key(operand))


@lookup("gt", check=sortable, prepare=_comparable)
def gt(value: Any, operand: Any) -> bool:
    """The value is of the operand's family, and greater."""
    return operand[0] not in NULLS and family(value) == operand[0] and order_key(value) > operand[1]


@lookup("gte", check=sortable, prepare=_comparable)
def gte(value: Any, operand: Any) -> bool:
    """The value is of the operand's family, and greater or the same."""
    return (
        operand[0] not in NULLS and family(value) == operand[0] and order_key(value) >= operand[1]
    )


@lookup("lt", check=sortable, prepare=_comparable)
def lt(value: Any, operand: Any) -> bool:
    """The value is of the operand's family, and less."""
    return operand[0] not in NULLS and family(value) == operand[0] and order_key(value) < operand[1]


@lookup("lte", check=sortable, prepare=_comparable)
def lte(value: Any, operand: Any) -> bool:
    """The value is of the operand's family, and less or the same."""
    return (
        operand[0] not in NULLS and family(value) == operand[0] and order_key(value) <= operand[1]
    )


@lookup("between", check=pair, prepare=lambda ends: tuple(map(_comparable, ends)))
def between(value: Any, ends: Any) -> bool:
    """The value lies between the two ends, both included."""
    low, high = ends
    return gte(value, low) and lte(value, high)


# --- members of lists, and parts of text ----------------------------------------------------


def _contains(value: Any, operand: Any) -> bool:
    if type(value) is str:
        return type(operand) is str and operand in value
    if is_array(value):
        wanted = order_key(operand)
        return any(order_key(member) == wanted for member in value)
    return False


@lookup("contains", check=contained)
def contains(value: Any, operand: Any) -> bool:
    """A list has the operand among its members, or text has it inside."""
    return _contains(value, operand)


@lookup("contains_all", check=each_contained)
def contains_all(value: Any, operands: Any) -> bool:
    """A list or text contains every one of the operands."""
    return (type(value) is str or is_array(value)) and all(
        _contains(value, operand) for operand in operands
    )


@lookup("contains_any", check=each_contained)
def contains_any(value: Any, operands: Any) -> bool:
    """A list or text contains at least one of the operands."""
    return any(_contains(value, operand) for operand in operands)


# --- text, taken literally ------------------------------------------------------------------


@lookup("startswith", check=text)
def startswith(value: Any, operand: Any) -> bool:
    """Text begins with the operand."""
    return type(value) is str and value.startswith(operand)


@lookup("endswith", check=text)
def endswith(value: Any, operand: Any) -> bool:
    """Text ends with the operand."""
    return type(value) is str and value.endswith(operand)


@lookup("iequals", check=text, prepare=str.casefold)
def iequals(value: Any, operand: Any) -> bool:
    """Text is the same once both are case-folded."""
    return type(value) is str and value.casefold() == operand


@lookup("icontains", check=text, prepare=str.casefold)
def icontains(value: Any, operand: Any) -> bool:
    """Text has the operand inside, once both are case-folded."""
    return type(value) is str and operand in value.casefold()


@lookup("istartswith", check=text, prepare=str.casefold)
def istartswith(value: Any, operand: Any) -> bool:
    """Text begins with the operand, once both are case-folded."""
    return type(value) is str and value.casefold().startswith(operand)


@lookup("iendswith", check=text, prepare=str.casefold)
def iendswith(value: Any, operand: Any) -> bool:
    """Text ends with the operand, once both are case-folded."""
    return type(value) is str and value.casefold().endswith(operand)


@lookup("matches", check=pattern, prepare=re.compile)
def matches(value: Any, operand: Any) -> bool:
    """``re.search`` finds the pattern in text."""
    return type(value) is str and operand.search(value) is not None


@lookup("imatches", check=pattern, prepare=lambda source: re.compile(source, re.IGNORECASE))
def imatches(value: Any, operand: Any) -> bool:
    """``re.search`` finds the pattern in text, with ``re.IGNORECASE``."""
    return type(value) is str and operand.search(value) is not None


# --- parts of moments, and lengths ----------------------------------------------------------


def _moment(value: Any) -> Any:
    """A datetime in UTC (a naive one as it stands), or a date, or None."""
    if type(value) is datetime:
        return value.astimezone(UTC) if value.tzinfo else value
    return value if type(value) is date else None


@lookup("year", check=whole_number("instant", "date"))
def year(value: Any, operand: Any) -> bool:
    """A moment lies in that year."""
    moment = _moment(value)
    return moment is not None and moment.year == operand


@lookup("month", check=whole_number("instant", "date"))
def month(value: Any, operand: Any) -> bool:
    """A moment lies in that month."""
    moment = _moment(value)
    return moment is not None and moment.month == operand


@lookup("day", check=whole_number("instant", "date"))
def day(value: Any, operand: Any) -> bool:
    """A moment lies on that day of its month."""
    moment = _moment(value)
    return moment is not None and moment.day == operand


@lookup("hour", check=whole_number("instant"))
def hour(value: Any, operand: Any) -> bool:
    """An instant lies in that hour."""
    return type(value) is datetime and _moment(value).hour == operand


@lookup("week_day", check=whole_number("instant", "date"))
def week_day(value: Any, operand: Any) -> bool:
    """A moment lies on that day of the week; Monday is 1."""
    moment = _moment(value)
    return moment is not None and moment.isoweekday() == operand


@lookup("size", check=whole_number("list", "tuple", "set", "mapping"))
def size(value: Any, operand: Any) -> bool:
    """A list or mapping has that many members."""
    return (type(value) is dict or is_array(value)) and len(value) == operand
