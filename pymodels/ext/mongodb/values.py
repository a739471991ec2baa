"""Single values: how they stand in BSON, and how they are read again.

What BSON has a type for is stored as that type: numbers, text, bytes, bools, UUIDs, instants,
``Decimal``. Dates, times of day, durations and naive instants are text, as in every other store.
In open places, where no declaration tells what a value was, a kind that BSON or that text could
hide is a mapping of one name that begins with ``py/``, such as ``{"py/date": "2024-02-29"}``.

BSON dates end at milliseconds. At the top of a record the full microseconds stand beside the date,
under ``_pymodels``; deeper inside, a date with a remainder is tagged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from pymodels.kinds import SetMembers

EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - BSON's own dates are UTC without a zone
EPOCH_IN_UTC: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The difference to one and the sum with the other takes a third of the time of replace().
_NO_TIME: Final = timedelta(0)
_MILLISECOND: Final = timedelta(milliseconds=1)

EXTRA: Final = "_pymodels"
"""The top-level name under which a record keeps what BSON has no place for."""

TOUCHED: Final = "touched"
"""Under ``EXTRA`` for a moment, inside of a transaction, in a record that has to stay as it is."""

ABSENT_MARK: Final = "absent"
"""The same in a record that is made and taken away again, since there must be none."""

PREFIX: Final = "py/"
INSTANT: Final = "py/instant"

_ESCAPE: Final = "\ufdd0"
"""BSON's names cannot hold NUL: it becomes this noncharacter and a 0, and itself and a 1."""

_MICROSECOND: Final = timedelta(microseconds=1)


class Tagged(dict[str, Any]):
    """A mapping that is a tag, not a user's own."""


def micros(moment: datetime) -> int:
    """Return the microseconds from the epoch to a naive instant in UTC."""
    return (moment - EPOCH) // _MICROSECOND


def tag(value: Any) -> Tagged:
    """Return the tagged form of a value in an open place, as ``Kind.pack`` asks for it."""
    match value:
        case Decimal():
            return Tagged({"py/decimal": Decimal128(value)})
        case UUID():
            return Tagged({"py/uuid": value})
        case date():
            return Tagged({"py/date": value.isoformat()})
        case time():
            return Tagged({"py/time": value.isoformat()})
        case timedelta():
            return Tagged({"py/duration": msgspec.to_builtins(value)})
        case SetMembers():
            return Tagged({"py/set": list(value)})
    return Tagged({"py/tuple": list(value)})


def escaped(name: str) -> str:
    r"""Return *name* as BSON can hold it.

    >>> escaped("a.b"), escaped("a\0") == "a\ufdd00"
    ('a.b', True)
    """
    if "\0" in name or _ESCAPE in name:
        return name.replace(_ESCAPE, _ESCAPE + "1").replace("\0", _ESCAPE + "0")
    return name


def unescaped(name: str) -> str:
    """Return the name that was escaped."""
    if _ESCAPE in name:
        return name.replace(_ESCAPE + "0", "\0").replace(_ESCAPE + "1", _ESCAPE)
    return name


# --- to BSON --------------------------------------------------------------------------------


def _instant(value: datetime) -> Any:
    if value.tzinfo is None:
        return msgspec.to_builtins(value)
    return EPOCH + (value - EPOCH_IN_UTC)


def _inner(value: Any) -> Any:
    """Return the stored form of a value that stands inside another one."""
    plain = PLAIN.get(type(value), _other)
    found = value if plain is None else plain(value)
    return tagged_moment(found) if type(found) is datetime else found


def tagged_moment(moment: datetime) -> Any:
    """Return a naive instant in UTC as it stands inside another value."""
    if moment.microsecond % 1000:
        return {INSTANT: {"at": _floor(moment), "us": micros(moment)}}
    return moment


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _mapping(value: dict[str, Any]) -> dict[str, Any]:
    found = {escaped(name): _inner(value[name]) for name in sorted(value)}
    if len(found) == 1 and next(iter(found)).startswith(PREFIX):
        return {"py/mapping": found}
    return found


def _tagged(value: Tagged) -> dict[str, Any]:
    return {name: _inner(content) for name, content in value.items()}


def _members(value: Any) -> list[Any]:
    return [_inner(member) for member in value]


def _other(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return _members(value)
    return value


PLAIN: Final[dict[type, Callable[[Any], Any] | None]] = {
    str: None,
    int: None,
    float: None,
    bool: None,
    type(None): None,
    bytes: None,
    UUID: None,
    datetime: _instant,
    Decimal: Decimal128,
    date: msgspec.to_builtins,
    time: msgspec.to_builtins,
    timedelta: msgspec.to_builtins,
    list: _members,
    tuple: _members,
    dict: _mapping,
    Tagged: _tagged,
}
"""How each type is stored; None is as it is."""


def to_bson(packed: Any) -> Any:
    """Return the stored form of a value that stands at the top of a record.

    An instant there keeps its microseconds; ``split`` puts them beside it.
    """
    plain = PLAIN.get(type(packed), _other)
    return packed if plain is None else plain(packed)


# --- from BSON ------------------------------------------------------------------------------


def _from_mapping(value: Mapping[str, Any]) -> Any:
    if len(value) == 1:
        name, content = next(iter(value.items()))
        if name.startswith(PREFIX):
            known = _UNTAG.get(name)
            if known is not None:
                return known(content)
    return {unescaped(name): neutral(value[name]) for name in sorted(value)}


def _untagged_instant(content: Any) -> Any:
    return aware(EPOCH + timedelta(microseconds=content["us"]))


_UNTAG: Final[dict[str, Callable[[Any], Any]]] = {
    "py/decimal": lambda content: content.to_decimal(),
    "py/uuid": lambda content: content,
    "py/date": date.fromisoformat,
    "py/time": time.fromisoformat,
    "py/duration": lambda content: msgspec.convert(content, timedelta),
    "py/set": lambda content: set(map(neutral, content)),
    "py/tuple": lambda content: tuple(map(neutral, content)),
    "py/mapping": lambda content: {
        unescaped(name): neutral(content[name]) for name in sorted(content)
    },
    INSTANT: _untagged_instant,
}


def aware(moment: datetime) -> datetime:
    """Return a BSON date as the instant that it is."""
    return EPOCH_IN_UTC + (moment - EPOCH)


_FROM: Final[dict[type, Callable[[Any], Any] | None]] = {
    str: None,
    int: None,
    float: None,
    bool: None,
    type(None): None,
    bytes: None,
    Int64: int,
    datetime: aware,
    UUID: str,
    Decimal128: lambda value: str(value.to_decimal()),
    list: lambda value: [neutral(member) for member in value],
    dict: _from_mapping,
    # What only others write has no kind of its own in a model.
    Binary: bytes,
    ObjectId: str,
    Code: str,
    Regex: lambda value: value.pattern,
    DBRef: lambda value: _from_mapping(value.as_doc()),
    Timestamp: lambda value: value.as_datetime(),
    DatetimeMS: int,
}


def neutral(stored: Any) -> Any:
    """Return a stored value as somebody sees it who declares nothing of it: tags are undone."""
    kind = type(stored)
    read = _FROM.get(kind, _unknown)
    return stored if read is None else read(stored)


def _unknown(value: Any) -> Any:
    return repr(value)  # MinKey and MaxKey


# --- the full microseconds of a record ------------------------------------------------------


def remainders(stored: Mapping[str, Any]) -> dict[str, int]:
    """Return the microseconds of the instants at the top that a BSON date would cut."""
    if datetime not in map(type, stored.values()):
        return {}
    return {
        name: micros(value)
        for name, value in stored.items()
        if type(value) is datetime and value.microsecond % 1000
    }


def restore(document: dict[str, Any], extra: Any) -> None:
    """Give the dates of a document the microseconds that stand beside them.

    What stands beside a date that somebody else has changed since is not heeded.
    """
    kept = extra.get("us") if type(extra) is dict else None
    if not kept:
        return
    for name, full in kept.items():
        moment = document.get(name)
        if type(moment) is datetime:
            exact = EPOCH + timedelta(0, 0, full)
            if _NO_TIME <= exact - moment < _MILLISECOND:  # a date itself has whole milliseconds
                document[name] = exact


# --- comparing ------------------------------------------------------------------------------


def identical(left: Any, right: Any) -> bool:
    """Tell whether two stored values are the same in type too: 1 is not 1.0."""
    kind = type(left)
    if kind is Int64:
        kind = int
    other = type(right)
    if kind is not (int if other is Int64 else other):
        return False
    if kind is dict:
        return left.keys() == right.keys() and all(
            identical(value, right[name]) for name, value in left.items()
        )
    if kind is list:
        return len(left) == len(right) and all(map(identical, left, right))
    if kind is float:
        return bool(left.hex() == right.hex())
    return bool(left == right)


class Version:
    """A stored form, to be compared with another one: by type too, in any order of names."""

    __slots__ = ("stored",)

    def __init__(self, stored: Any) -> None:
        self.stored = stored

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and identical(self.stored, other.stored)

    __hash__ = None  # type: ignore[assignment]  # only ever compared
