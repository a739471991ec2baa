"""The order of records, by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from pymodels import get_storage
from pymodels.errors import QueryError
from tests.deciding import Thing


def test_order_between_and_within_kinds() -> None:
    # In the order of the written semantics, with keys that run the other way.
    in_order: list[Any] = [
        None,
        -(2**63),
        -2.5,
        Decimal("-0.1"),
        0,
        Decimal("0.1"),
        0.1,
        2**53,
        Decimal(2**53 + 1),
        1e308,
        "",
        "A",
        "a",
        "é",
        "\uffff",
        "😀",
        {},
        [],
        b"",
        b"\xff",
        UUID(int=0),
        UUID(int=2**128 - 1),
        False,
        True,
        date(1969, 12, 31),
        datetime(2024, 3, 1, tzinfo=UTC),
        datetime(2024, 3, 1, 0, 0, 0, 1, tzinfo=UTC),
        date(2024, 3, 2),
        time(0),
    ]
    storage = get_storage("pymodels.ext.memory")
    keys = [f"{99 - number}" for number in range(len(in_order))]
    storage.save_all([Thing(pk=key, any=value) for key, value in zip(keys, in_order, strict=True)])
    objects = Thing.objects(storage)
    assert [one.pk for one in objects.order_by("any")] == keys
    assert [one.pk for one in objects.order_by("-any")] == keys[::-1]
    assert [one.pk for one in objects.order_by("any").reverse()] == keys[::-1]


def test_nulls_and_ties() -> None:
    storage = get_storage("pymodels.ext.memory")
    ages = {"a": 1, "b": None, "c": 2, "d": 1, "e": None}
    storage.save_all([Thing(pk=key, age=age, name="x") for key, age in ages.items()])
    objects = Thing.objects(storage)

    def keys(query: Any) -> str:
        return "".join(one.pk for one in query)

    assert keys(objects) == "abcde"
    assert keys(objects.reverse()) == "edcba"
    assert keys(objects.order_by("age")) == "beadc"
    assert keys(objects.order_by("-age")) == "cdaeb"
    assert keys(objects.order_by("age", nulls="last")) == "adcbe"
    assert keys(objects.order_by("-age", nulls="first")) == "ebcda"
    assert keys(objects.order_by("age").reverse()) == "cdaeb"
    assert keys(objects.order_by("age", "-pk")) == "ebdac"
    assert keys(objects.order_by("name")) == "abcde"
    assert keys(objects.order_by("-name")) == "edcba"
    assert keys(objects.order_by("name", "-age")) == "cdaeb"
    assert keys(objects.order_by("-age")[1:3]) == "da"
    assert keys(objects.order_by("-pk")) == "edcba"


def test_lists_have_no_order_among_others() -> None:
    objects = Thing.objects(get_storage("pymodels.ext.memory"))
    for name in ("tags", "lucky", "parts", "parts__name", "items", "towns"):
        with pytest.raises(QueryError):
            objects.order_by(name)
    objects.order_by("parts__0__name", "tags__0", "any", "loose__a")
