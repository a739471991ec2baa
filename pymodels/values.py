"""What values are: which family each belongs to, when two are the same, and how they sort.

This page is the executable form of "Values" and "Order" in ``docs/semantics.md``. Everything here
is total: any value that a record can hold has a family and an order key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec

ABSENT: Final = msgspec.UNSET
"""What a condition sees where a record has no such field (``msgspec.UNSET``)."""

# The rank of every family in the order between kinds; families that share a rank sort together.
_NULL, _NUMBER, _TEXT, _MAPPING, _LIST, _BYTES, _UUID, _BOOL, _INSTANT, _TIME, _ADDED = range(11)

ADDED: Final[set[type]] = set()
"""Types of keys that backends have added; see ``add_scalar``."""

OrderKey = tuple[Any, ...]


def _mapping_key(value: Mapping[str, Any]) -> OrderKey:
    return (_MAPPING, tuple((name, order_key(value[name])) for name in sorted(value)))


def _instant_key(value: datetime) -> OrderKey:
    if value.tzinfo is not UTC:
        # A naive value comes from a field that holds naive values only, so any fixed zone serves.
        # To Python, a moment that a zone skips or has twice equals none of another zone.
        value = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return (_INSTANT, value, 1)


_KEYS: Final[dict[type, Callable[[Any], OrderKey]]] = {
    type(None): lambda value: (_NULL,),
    type(ABSENT): lambda value: (_NULL,),
    bool: lambda value: (_BOOL, value),
    int: lambda value: (_NUMBER, value),
    float: lambda value: (_NUMBER, value),
    Decimal: lambda value: (_NUMBER, value),
    str: lambda value: (_TEXT, value),
    bytes: lambda value: (_BYTES, value),
    UUID: lambda value: (_UUID, value.int),
    datetime: _instant_key,
    date: lambda value: (_INSTANT, datetime(value.year, value.month, value.day, tzinfo=UTC), 0),
    time: lambda value: (_TIME, 0, value),
    timedelta: lambda value: (_TIME, 1, value),
    list: lambda value: (_LIST, 0, tuple(map(order_key, value))),
    tuple: lambda value: (_LIST, 1, tuple(map(order_key, value))),
    set: lambda value: (_LIST, 2, tuple(sorted(map(order_key, value)))),
    dict: _mapping_key,
}


def order_key(value: Any) -> OrderKey:
    """Return what *value* sorts by; two values are the same exactly when their keys are equal.

    The key is hashable and can be compared with the key of any other value, of any family.

    >>> order_key(1) == order_key(1.0) == order_key(Decimal("1.00"))
    True
    >>> order_key(True) == order_key(1)
    False
    >>> sorted([b"x", "a", 2, None, 1.5], key=order_key)
    [None, 1.5, 2, 'a', b'x']
    """
    key = _KEYS.get(type(value))
    if key is not None:
        return key(value)
    if isinstance(value, Enum):
        return order_key(value.value)
    raise TypeError(f"a record cannot hold {value!r} ({type(value).__name__})")


def add_scalar(kind: type, name: str) -> None:
    """Let values of *kind* be keys of records, and operands: the family *name*, after all others.

    A backend calls this for a type of its own, whose values have to have an order and a hash.
    """
    _KEYS[kind] = lambda value: (_ADDED, name, value)
    _FAMILIES[kind] = name
    ADDED.add(kind)


def family_of(kind: type) -> str:
    """Return the name of the family of all values of a type."""
    return _FAMILIES[kind]


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are equal as records see it: by family first, then exactly.

    Absent and null are the same to a condition. ``True`` is not 1, a list is not a tuple.

    >>> same({"a": 1, "b": [2.0]}, {"b": [2], "a": 1})
    True
    >>> same([1], (1,)), same(None, ABSENT)
    (False, True)
    """
    return order_key(left) == order_key(right)


_FAMILIES: Final[dict[type, str]] = {
    type(None): "null",
    type(ABSENT): "absent",
    bool: "bool",
    int: "number",
    float: "number",
    Decimal: "number",
    str: "text",
    bytes: "bytes",
    UUID: "uuid",
    datetime: "instant",
    date: "date",
    time: "time",
    timedelta: "duration",
    list: "list",
    tuple: "tuple",
    set: "set",
    dict: "mapping",
}

NULLS: Final = frozenset({"null", "absent"})
ARRAYS: Final = frozenset({"list", "tuple", "set"})
SORTABLE: Final = frozenset(
    {"bool", "number", "text", "bytes", "uuid", "instant", "date", "time", "duration"}
)
"""The families whose members ``gt``, ``gte``, ``lt``, ``lte`` and ``between`` can compare."""


def family(value: Any) -> str:
    """Return the name of the family that *value* belongs to, or raise ``TypeError``.

    >>> family(1), family(2.5), family("x"), family(None)
    ('number', 'number', 'text', 'null')
    """
    found = _FAMILIES.get(type(value))
    if found is not None:
        return found
    if isinstance(value, Enum):
        return family(value.value)
    raise TypeError(f"a record cannot hold {value!r} ({type(value).__name__})")


def is_array(value: Any) -> bool:
    """Tell whether *value* has members: a list, a tuple or a set."""
    return type(value) in (list, tuple, set)


def in_order(array: Any) -> Iterable[Any]:
    """Return the members of a list, set or tuple in their order: those of a set by value.

    >>> in_order({"b", "c", "a"})
    ['a', 'b', 'c']
    """
    return sorted(array, key=order_key) if type(array) is set else array
