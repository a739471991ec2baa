"""What tests of plans share: what it is that two plans read, and what lookups mean."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from pymodels.byindex import AllOf, AnyOf, InIndex
from pymodels.encoding import encode, successor

AFTER = {encode(value) + b"\0": successor(encode(value)) for value in (None, 7, "Person 3")}


def read(fragment: Any) -> Any:
    """Return what is read: it does not matter how the end of what has but one entry is told."""
    if isinstance(fragment, AllOf | AnyOf):
        return type(fragment), *map(read, fragment.parts)
    if not isinstance(fragment, InIndex):
        return fragment
    if fragment.points:
        return fragment.index, [low for low, _ in fragment.ranges]
    return fragment.index, [tuple(AFTER.get(end, end) for end in one) for one in fragment.ranges]


def check_same(quick: Any, weighed: Any) -> None:
    """Check that two plans are the same; how many records are found, not all plans tell."""
    assert read(quick.native) == read(weighed.native)
    for name in quick.__struct_fields__:
        if name not in ("native", "expected"):
            assert getattr(quick, name) == getattr(weighed, name), name
    if None not in (quick.expected, weighed.expected):
        assert quick.expected == weighed.expected


OPTIONS: list[dict[str, Any]] = [
    {},
    {"unordered": True},
    {"descending": True},
    {"offset": 3},
    {"names": frozenset({"email"})},
    {"unordered": True, "names": frozenset[str]()},
]
PAGES: list[dict[str, Any]] = [
    {"limit": 3},
    {"limit": 100, "offset": 50, "descending": True},
    {"limit": 1, "names": frozenset[str]()},
    {"limit": 10, "unordered": True},
]


HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "": operator.eq,
    "in": lambda value, operand: value in operand,
    "exists": lambda value, operand: operand,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "between": lambda value, ends: ends[0] <= value <= ends[1],
    "year": lambda value, operand: value.year == operand,
    "startswith": str.startswith,
    "endswith": str.endswith,
    "icontains": lambda value, operand: operand.lower() in value.lower(),
}
