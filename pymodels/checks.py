"""Single values: what keeps one from being stored, and coming back, exactly as it is.

Each check takes a value and raises ``Unfit`` with the reason, or returns nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

MOST_LEVELS: Final = 48
"""How deep lists and mappings may lie in each other, on every backend and whatever the stack."""

SCALARS: Final = (bytes, datetime, date, time, timedelta, UUID, Decimal)
"""The scalars that have a type of their own in Python, and none in plain formats."""


class Unfit(Exception):
    """A value cannot be stored; ``trail`` leads to the place inside the field."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.trail = ""

    def within(self, part: object) -> Unfit:
        """Note that the place lies inside member *part* of what is being checked."""
        self.trail = f"[{part!r}]{self.trail}"
        return self


def expected(what: str, value: Any) -> Unfit:
    """Return the complaint that *value* is not *what*."""
    return Unfit(f"expected {what}, got {type(value).__name__} {shown(value)}")


def shown(value: Any) -> str:
    """Return a value as messages show it: no more than the beginning of its repr.

    >>> shown("a" * 1000), shown(10**5000)
    ("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...", '(too long to be shown)')
    """
    try:
        text = repr(value)
    except ValueError:  # Python writes no int of more than some thousands of digits
        return "(too long to be shown)"
    except RecursionError:
        return "(nested too deeply to be shown)"
    return text if len(text) <= 60 else f"{text[:57]}..."


def constrain(value: Any, annotation: Any) -> None:
    """Raise ``Unfit`` if *value* breaks a constraint that ``msgspec.Meta`` put on *annotation*."""
    try:
        msgspec.convert(value, annotation, builtin_types=SCALARS)
    except msgspec.ValidationError as error:
        raise Unfit(str(error).removesuffix(" - at `$`").replace("`", "")) from None


def exactly(wanted: type, what: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if type(value) is not wanted:
            raise expected(what, value)

    return check


def check_text(value: Any) -> None:
    if type(value) is not str:
        raise expected("text (str)", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Unfit(f"text with a lone surrogate at position {error.start}") from None


UNNAMEABLE: Final = re.compile(r'[\\"\x00-\x1f]')
"""What no field of a ``msgspec.Struct`` can have in its stored name."""


def is_unicode(text: str) -> bool:
    r"""Tell whether *text* has no lone surrogates, so that it can be written down.

    >>> is_unicode("é"), is_unicode("\ud800")
    (True, False)
    """
    try:
        check_text(text)
    except Unfit:
        return False
    return True


def check_name(name: Any) -> None:
    if type(name) is not str:
        raise Unfit(f"the keys of a mapping are text, not {type(name).__name__} {name!r}")
    check_text(name)


def check_int(value: Any) -> None:
    if type(value) is not int:
        raise expected("an int", value)
    if not -(2**63) <= value < 2**63:
        # Python refuses to write an int of thousands of digits.
        shown = value if value.bit_length() < 1000 else f"an int of {value.bit_length()} bits"
        raise Unfit(f"{shown} does not fit in 64 signed bits")


def check_float(value: Any) -> None:
    if type(value) is float:
        if value - value != 0.0:  # NaN and the infinities
            raise Unfit(f"{value} is not a finite number")
    elif type(value) is int:
        if not -(2**63) <= value < 2**63 or int(float(value)) != value:
            raise Unfit(f"the int {value} cannot be kept exactly as a float")
    else:
        raise expected("a float", value)


def check_decimal(value: Any) -> None:
    if type(value) is not Decimal:
        raise expected("a Decimal", value)
    if not value.is_finite():
        raise Unfit(f"{value} is not a finite number")
    _, digits, exponent = value.as_tuple()
    if len(digits) > 34:
        raise Unfit(f"a Decimal holds at most 34 digits, not {len(digits)}")
    if not (isinstance(exponent, int) and -6176 <= exponent <= 6111):
        raise Unfit(f"the exponent {exponent} lies outside decimal128's -6176 to 6111")


def check_aware(value: Any) -> None:
    if type(value) is not datetime:
        raise expected("an aware datetime", value)
    if value.utcoffset() is None:
        raise Unfit(
            "a naive datetime names no instant: give it a time zone, "
            "or declare the field with Field(datetime, naive=True)"
        )
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise Unfit(f"{value} lies outside the years 1 to 9999 in UTC") from None


def check_naive(value: Any) -> None:
    if type(value) is not datetime:
        raise expected("a naive datetime", value)
    if value.tzinfo is not None:
        raise Unfit("this field holds naive datetimes (naive=True), and the value has a time zone")


def check_time(value: Any) -> None:
    if type(value) is not time:
        raise expected("a time", value)
    if value.tzinfo is not None:
        raise Unfit("a time of day is stored without a time zone")


def check_levels(value: Any) -> None:
    """Raise ``Unfit`` if lists and mappings lie deeper in each other than any backend keeps them.

    >>> check_levels([[[]]])
    >>> circle = []
    >>> circle.append(circle)
    >>> check_levels(circle)
    Traceback (most recent call last):
    ...
    pymodels.checks.Unfit: nested too deeply: lists and mappings may be 48 levels deep; keep what
    is deeper as text, with json.dumps, or as records that refer to each other
    """
    # By identity, since the same list may stand in many places.
    level = {id(value): value} if _has_members(value) else {}
    for _ in range(MOST_LEVELS):
        if not level:
            return
        level = {
            id(member): member
            for one in level.values()
            for member in _members_of(one)
            if _has_members(member)
        }
    if level:
        raise Unfit(
            f"nested too deeply: lists and mappings may be {MOST_LEVELS} levels deep; keep what is "
            "deeper as text, with json.dumps, or as records that refer to each other"
        )


def _has_members(value: Any) -> bool:
    kind = type(value)
    return kind in _CONTAINERS or issubclass(kind, msgspec.Struct) or is_dataclass(kind)


def _members_of(value: Any) -> Iterable[Any]:
    kind = type(value)
    if kind in _CONTAINERS:
        found: Iterable[Any] = value.values() if kind is dict else value
        return found
    if issubclass(kind, msgspec.Struct):
        return [getattr(value, name, None) for name in kind.__struct_fields__]
    return [getattr(value, field.name, None) for field in fields(kind)]


_CONTAINERS: Final = (list, tuple, set, dict)


def check_open(value: Any) -> None:
    """Raise ``Unfit`` if an open place could not keep *value* as it is."""
    check = _OPEN_CHECKS.get(type(value))
    if check is None:
        raise Unfit(
            f"an open place cannot keep a {type(value).__name__} as it is: declare its type, or "
            "give a plain value (None, bool, number, text, bytes, an aware datetime, date, time, "
            "timedelta, UUID, list, tuple, set or dict)"
        )
    check(value)


def check_each(members: Iterable[Any], check: Callable[[Any], None]) -> None:
    """Check all members of a list, set or tuple, and say which one it is that does not fit."""
    index = -1
    try:
        for member in members:
            index += 1
            check(member)
    except Unfit as error:
        raise error.within(index) from None


def _check_members(value: Any) -> None:
    check_each(value, check_open)


def _check_mapping(value: Any) -> None:
    for name, member in value.items():
        check_name(name)
        try:
            check_open(member)
        except Unfit as error:
            raise error.within(name) from None


def _accept(value: Any) -> None:
    return None


_OPEN_CHECKS: Final[dict[type, Callable[[Any], None]]] = {
    type(None): _accept,
    bool: _accept,
    int: check_int,
    float: check_float,
    Decimal: check_decimal,
    str: check_text,
    bytes: _accept,
    datetime: check_aware,
    date: _accept,
    time: check_time,
    timedelta: _accept,
    UUID: _accept,
    list: _check_members,
    tuple: _check_members,
    set: _check_members,
    dict: _check_mapping,
}
