"""What a lookup may be asked with: operands are checked once, when a query is built.

Each function takes the operand, the kind of the place that is asked about and its path for
messages; it returns the operand in its plain form, or raises ``OperandInvalid``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeAlias

from pymodels.checks import Unfit, shown
from pymodels.errors import OperandInvalid
from pymodels.kinds import Array, Kind, Null, Open, OpenShape, Positions, Scalar, SetMembers, Union
from pymodels.values import ADDED, ARRAYS, SORTABLE, family

Check: TypeAlias = Callable[[Any, Kind, str], Any]

_OPEN = Open()


def _refuse(path: str, reason: str) -> OperandInvalid:
    return OperandInvalid(f"{path}: {reason}")


def _kept(value: Any) -> Any:
    return set(value) if isinstance(value, SetMembers) else value


def plain(operand: Any, kind: Kind, path: str) -> Any:
    """Return *operand* as what a condition compares: enums by value, structures as mappings.

    What has members is copied.
    """
    if type(operand) is str and operand.isascii():
        return operand  # the commonest operand, and nothing can be wrong with it
    if isinstance(operand, Enum):
        return plain(operand.value, kind, path)
    if isinstance(operand, list | tuple | set | dict) or "mapping" in kind.families:
        try:
            kind.check(operand)
        except Unfit:
            pass  # the checks below say what is wrong with it
        else:
            return kind.neutral(kind.pack(operand, _kept))
    if type(operand) is datetime and "instant" in kind.families:
        try:
            (_OPEN if kind.is_open else kind).check(operand)
        except Unfit as error:
            raise _refuse(path, error.reason) from None
        # To Python, a moment that a zone skips or has twice equals none of another zone.
        return operand if operand.tzinfo is None else operand.astimezone(UTC)
    if type(operand) in ADDED and family(operand) in kind.families:
        return operand
    if type(operand) is int or (type(operand) is float and operand - operand == 0.0):
        return operand  # an int of more than 64 bits is a sound question: none equals it
    try:
        _naive_or_open(operand)
    except Unfit as error:
        if not kind.is_open and not _is_value(operand):
            one = f"a {type(operand).__name__} like {shown(operand)}"
            raise _refuse(path, f"holds {_families(kind)}, never {one}") from None
        raise _refuse(path, f"{error.trail or 'the operand'}: {error.reason}") from None
    return _OPEN.pack(operand, _kept)  # a copy: a query does not change with its operand


def _is_value(operand: Any) -> bool:
    try:
        family(operand)
    except TypeError:
        return False
    return True


def _naive_or_open(operand: Any) -> None:
    if type(operand) is not datetime:
        _OPEN.check(operand)


def anything(operand: Any, kind: Kind, path: str) -> Any:
    """Take any operand as it is: the lookup itself knows what to make of it."""
    return operand


def storable(operand: Any, kind: Kind, path: str) -> Any:
    """Take a value that this place could hold, or None."""
    if operand is None:
        return None
    return _held(plain(operand, kind, path), kind, path)


def _held(operand: Any, kind: Kind, path: str) -> Any:
    """Return a plain operand; refuse it where no value of its family could be."""
    found = family(operand)
    if not kind.is_open and found not in kind.families:
        raise _refuse(
            path, f"holds {_families(kind)}, never {_article(found)} like {shown(operand)}"
        )
    return operand


def sortable(operand: Any, kind: Kind, path: str) -> Any:
    """Take a value that this place could hold and that has an order, or None."""
    if operand is None:
        return None
    operand = plain(operand, kind, path)
    if family(operand) not in SORTABLE and type(operand) not in ADDED:
        raise _refuse(path, f"{_article(family(operand))} is neither greater nor less than another")
    return _held(operand, kind, path)


def pair(operand: Any, kind: Kind, path: str) -> Any:
    """Take two values in order of meaning: the low end and the high end."""
    if not isinstance(operand, list | tuple) or len(operand) != 2:
        raise _refuse(path, f"between takes a pair (low, high), not {shown(operand)}")
    return tuple(sortable(end, kind, path) for end in operand)


def _each(operand: Any, path: str) -> list[Any]:
    if isinstance(operand, str | bytes | dict) or not isinstance(operand, Iterable):
        raise _refuse(path, f"takes a list of values, not {shown(operand)}")
    try:
        return list(operand)
    except TypeError as error:  # a path is no list, and says so
        raise _refuse(path, f"takes a list of values, not {shown(operand)}: {error}") from error


def each_storable(operand: Any, kind: Kind, path: str) -> Any:
    """Take any iterable of values that this place could hold."""
    return tuple([storable(one, kind, path) for one in _each(operand, path)])


def contained(operand: Any, kind: Kind, path: str) -> Any:
    """Take a value that could be a member of a list here, or a part of text here."""
    if kind.is_open:
        return None if operand is None else plain(operand, _OPEN, path)
    if "text" in kind.families and isinstance(operand, str):
        return plain(operand, kind, path)
    items = [kind.item] if type(kind) is Array else list(_items(kind))
    if not items:
        if "text" in kind.families:
            raise _refuse(path, f"holds text, which contains text, not {shown(operand)}")
        raise _refuse(path, f"holds {_families(kind)}; only text and lists contain something")
    for item in items[1:]:
        try:
            return storable(operand, item, path)
        except OperandInvalid:
            pass  # what the first kind of member says of it is as good a reason as any
    return storable(operand, items[0], path)


def each_contained(operand: Any, kind: Kind, path: str) -> Any:
    """Take any iterable of values that could each be contained here."""
    return tuple([contained(one, kind, path) for one in _each(operand, path)])


def _items(kind: Kind) -> Iterable[Kind]:
    if isinstance(kind, Array):
        yield kind.item
    elif isinstance(kind, Positions):
        yield from kind.items
    elif isinstance(kind, OpenShape):
        if "list" in kind.families:
            yield _OPEN
    elif not isinstance(kind, Open):
        for option in kind.inner():
            if option.families & ARRAYS:
                yield from _items(option)


def text(operand: Any, kind: Kind, path: str) -> Any:
    """Take text, for a place that can hold text."""
    if not isinstance(operand, str) or isinstance(operand, Enum):
        raise _refuse(path, f"takes text, not {shown(operand)}")
    if not kind.is_open and "text" not in kind.families:
        raise _refuse(path, f"holds {_families(kind)}, and this lookup asks about text")
    return plain(operand, kind, path)


def pattern(operand: Any, kind: Kind, path: str) -> Any:
    """Take the source of a regular expression, as Python's ``re`` reads it."""
    if isinstance(operand, re.Pattern):
        raise _refuse(path, "takes the text of a regular expression, with its flags inside, (?i)")
    if kind.families != _TEXT or type(operand) is not str or not operand.isascii():
        text(operand, kind, path)
    try:
        _compile(operand)
    except (re.error, OverflowError, RecursionError) as error:
        raise _refuse(path, f"{shown(operand)} is no regular expression: {error}") from error
    return operand


_TEXT: Final = frozenset({"text"})
_compile: Final = lru_cache(maxsize=512)(re.compile)


def flag(operand: Any, kind: Kind, path: str) -> Any:
    """Take True or False."""
    if not isinstance(operand, bool):
        raise _refuse(path, f"takes True or False, not {shown(operand)}")
    return operand


def whole_number(*families: str) -> Check:
    """Return a check that takes an int, for a place that can hold one of *families*."""

    def check(operand: Any, kind: Kind, path: str) -> Any:
        if type(operand) is not int:
            raise _refuse(path, f"takes an int, not {shown(operand)}")
        if not kind.is_open and not kind.families.intersection(families):
            raise _refuse(
                path, f"holds {_families(kind)}, and this lookup asks about {' or '.join(families)}"
            )
        return operand

    return check


def _families(kind: Kind) -> str:
    return " or ".join(sorted(kind.families)) or "None alone"


def _article(name: str) -> str:
    if name in ("text", "bytes"):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


# --- what needs no check --------------------------------------------------------------------

_PLAIN_TYPES: Final[Mapping[str, type]] = {"number": int, "text": str, "bool": bool}

COMPARISONS: Final = frozenset({"gt", "gte", "lt", "lte"})
"""The lookups that compare a value with one other, but for equality."""

OF_SEVERAL: Final = frozenset({"between", "in", "contains_any", "contains_all"})
"""The lookups whose operand is a list of values."""

_OF_TEXT: Final = frozenset(
    {"contains", "startswith", "endswith", "iequals", "icontains", "istartswith", "iendswith"}
)


def unchecked(kind: Kind, plain: type | None) -> Mapping[str, type]:
    """Return the type of operands that each lookup takes as they are, or of those in its list.

    Of text it has to be ASCII. *plain* is what ``plain_type`` returns of the kind.
    """
    if plain is not None:
        return _UNCHECKED[plain]
    member = plain_type(kind.item) if type(kind) is Array else None
    return _NOTHING if member is None else _UNCHECKED_MEMBERS[member]


_NOTHING: Final[Mapping[str, type]] = {}
_UNCHECKED: Final[Mapping[type, Mapping[str, type]]] = {
    int: dict.fromkeys({"equals", "in", "between", *COMPARISONS}, int),
    str: dict.fromkeys({"equals", "in", "between", *COMPARISONS, *_OF_TEXT}, str),
    bool: dict.fromkeys({"equals", "in"}, bool),
}
_UNCHECKED_MEMBERS: Final[Mapping[type, Mapping[str, type]]] = {
    kind: dict.fromkeys(("contains", "contains_any", "contains_all"), kind)
    for kind in (int, str, bool)
}


def are_plain(values: Collection[Any], kind: type | None) -> bool:
    r"""Tell whether all values, of which there are some, are of a type, and text of it is ASCII.

    >>> are_plain(["a", "b"], str), are_plain([1, True], int), are_plain(["\xe9"], str)
    (True, False, False)
    """
    return set(map(type, values)) == {kind} and (kind is not str or all(map(str.isascii, values)))


def plain_type(kind: Kind) -> type | None:
    """Return the type of operands that a place of this kind takes without any check."""
    if not isinstance(kind, Scalar | Union) or kind.is_open or len(kind.families) != 1:
        return None
    if isinstance(kind, Union) and not all(isinstance(one, Scalar | Null) for one in kind.some):
        return None
    (name,) = kind.families
    return _PLAIN_TYPES.get(name)
