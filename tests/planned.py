"""What tests of plans share: what it is that two plans read, and what lookups mean."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any


class Forgetful(dict[Any, None]):
    """What is remembered of shapes by somebody who remembers that there is nothing to know."""

    def __missing__(self, shape: Any) -> None:
        return None


def plans(query: Any, **options: Any) -> tuple[Any, Any, bool]:
    """Return the plan of a query by what is remembered, and without; and whether there was such.

    The first time a shape is met, all is found out anew, so it is planned twice.
    """
    storage, schema, condition = query.storage, query.model.__schema__, query.condition
    native = storage._native(schema)
    native.prepared.clear()
    storage.plan(schema, condition, **options)
    (remembered,) = native.prepared.values() or (None,)
    quick = storage.plan(schema, condition, **options)
    native.prepared = Forgetful()
    whole = storage.plan(schema, condition, **options)
    native.prepared = {}
    return quick, whole, remembered is not None


def check_same(query: Any, *, is_known: bool = True, **options: Any) -> Any:
    """Check that a query is planned the same by what is remembered of its shape, and without.

    *is_known* tells whether there has to be such.
    """
    quick, whole, was_known = plans(query, **options)
    assert was_known == is_known
    assert quick == whole
    return quick


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
