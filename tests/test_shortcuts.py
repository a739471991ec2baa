"""A plan that is made without weighing anything up is the one that would be made with it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pymodels import Field, Model, get_storage
from pymodels.choosing import choose
from pymodels.shortcuts import shortcut


class Person(Model):
    name: Field[str] = Field(index=True)
    age: Field[int | None] = Field(index=True)
    born: Field[date] = Field(index=True)
    email: Field[str] = Field(unique=True)
    score: Field[int]
    active: Field[bool]


@pytest.fixture(scope="module")
def people() -> Any:
    storage = get_storage("pymodels.ext.memory")
    storage.save_all(
        Person(
            name=f"Person {number % 7}",
            age=number % 30 or None,
            born=date(1990, 1, 1),
            email=f"{number}@example.org",
            score=number * 37 % 101,
            active=number % 2 == 0,
        )
        for number in range(200)
    )
    return Person.objects(storage)


QUICK = [
    {"age": 7},
    {"age": None},
    {"age__gt": 7},
    {"age__gte": 7},
    {"age__lt": 7},
    {"age__lt": 2**63 - 1},
    {"age__lte": 7},
    {"age__between": (3, 9)},
    {"age__between": [3, 9]},
    {"name": "Person 3"},
    {"name__gt": "Person 3"},
    {"name__between": ("Person 2", "Person 3")},
    {"born": date(1990, 1, 1)},
    {"age": 7, "active": True},
    {"active": True, "age__gte": 7, "score__lt": 90},
]
ORDERS = [("score",), ("-score",), ("score", "-active")]
SLOW = [
    {"age__between": (9, 3)},
    {"age__gt": 10**600 + 1},
    {"name__gt": "x" * 500},
    {"born__gt": date(1980, 1, 1)},
    {"name__startswith": "P"},
    {"age": 7, "born__gt": date(1980, 1, 1)},
    {"age": 7, "name__startswith": "P"},
    {"age__between": (9, 3), "name": "Person 3"},
    {"active": True, "score": 3, "name__startswith": "P"},
    {"age": 7, "email": "7@example.org"},
    {"age": 7, "pk": "x"},
    {"active": True, "score": 3},
]


def plans(people: Any, asked: dict[str, Any], options: dict[str, Any]) -> tuple[Any, Any]:
    storage, schema = people.storage, Person.__schema__
    native = storage._native(schema)
    condition = people.where(**asked).condition
    quick = shortcut(storage, native, schema, condition, **options)
    return quick, choose(storage, native, schema, condition, storage.view, **options)


def read(fragment: Any) -> Any:
    """Return what is read: of an entry that is known it does not matter where its range ends."""
    ranges = [low for low, _ in fragment.ranges] if fragment.points else fragment.ranges
    return fragment.index, fragment.points, ranges


@pytest.mark.parametrize(
    "options", [{}, {"unordered": True}, {"descending": True}, {"offset": 3}], ids=repr
)
@pytest.mark.parametrize("asked", QUICK, ids=repr)
def test_the_same_is_read(people: Any, asked: dict[str, Any], options: dict[str, Any]) -> None:
    quick, weighed = plans(people, asked, options)
    assert read(quick.native) == read(weighed.native)
    for name in quick.__struct_fields__:
        if name != "native":
            assert getattr(quick, name) == getattr(weighed, name), name


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("order", ORDERS, ids=repr)
@pytest.mark.parametrize("asked", QUICK, ids=repr)
def test_the_same_is_read_to_be_sorted(
    people: Any, asked: dict[str, Any], order: tuple[str, ...], limit: int | None
) -> None:
    terms = people.order_by(*order)._asked
    options = {"order": terms.order, "descending": terms.descending, "offset": 2, "limit": limit}
    for names in (None, frozenset[str](), frozenset({"email"})):
        quick, weighed = plans(people, asked, options | {"names": names})
        assert read(quick.native) == read(weighed.native)
        for name in quick.__struct_fields__:
            if name != "native":
                assert getattr(quick, name) == getattr(weighed, name), name


@pytest.mark.parametrize("order", [("age",), ("-name", "score"), ("score", "pk")], ids=repr)
def test_an_order_that_an_index_may_have_is_weighed_up(people: Any, order: tuple[str, ...]) -> None:
    terms = people.order_by(*order)._asked
    options = {"order": terms.order, "descending": terms.descending}
    quick, _ = plans(people, {"name": "Person 3"}, options)
    assert quick is None


@pytest.mark.parametrize("asked", SLOW, ids=repr)
def test_what_has_to_be_weighed_up_is_left(people: Any, asked: dict[str, Any]) -> None:
    quick, _ = plans(people, asked, {})
    assert quick is None


@pytest.mark.parametrize("asked", QUICK, ids=repr)
def test_what_is_found_is_right(people: Any, asked: dict[str, Any]) -> None:
    found = people.where(**asked)
    assert [person.pk for person in found] == sorted(
        person.pk for person in people if all_hold(person, asked)
    )


def all_hold(person: Person, asked: dict[str, Any]) -> bool:
    return all(holds(person, name, operand) for name, operand in asked.items())


def holds(person: Person, asked: str, operand: Any) -> bool:
    field, _, lookup = asked.partition("__")
    value = getattr(person, field)
    if lookup == "":
        return bool(value == operand)
    if value is None:
        return False
    if lookup == "between":
        return bool(operand[0] <= value <= operand[1])
    return bool(
        {"gt": value > operand, "gte": value >= operand, "lt": value < operand}.get(
            lookup, value <= operand
        )
    )
