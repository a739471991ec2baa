"""Indexes of several fields, of members of lists and of some records, and plans by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pymodels import Field, Model, get_storage
from tests.planned import HOLDS, OPTIONS, PAGES, check_same


class Parcel(Model):
    town: Field[str]
    street: Field[int]
    house: Field[int]
    weight: Field[int] = Field(index=True)
    stamps: Field[list[str]] = Field(index=True)
    state: Field[str]
    note: Field[str]

    class Meta:
        indexes = (
            ("town", "street", "house"),
            ("state", "weight"),
            {"fields": "note", "where": {"state": "lost"}},
        )


@pytest.fixture(scope="module")
def parcels() -> Any:
    storage = get_storage("pymodels.ext.memory")
    storage.save_all(
        Parcel(
            pk=f"{number:05}",
            town=f"town {number % 5}",
            street=number % 11,
            house=number % 7,
            weight=number,
            stamps=[f"s{number % 3}", f"s{number % 4}"],
            state="lost" if number % 10 == 0 else "there",
            note=f"no. {number % 6}",
        )
        for number in range(300)
    )
    return Parcel.objects(storage)


OF_FIELDS: list[dict[str, Any]] = [
    {"town": "town 3"},
    {"town__gt": "town 3"},
    {"town__startswith": "town"},
    {"town": "town 3", "street": 4},
    {"street__between": (4, 6), "town": "town 3"},
    {"town": "town 3", "street": 4, "house": 5},
    {"town": "town 3", "street": 4, "house__lt": 5},
    {"town": "town 3", "note": "no. 3"},
    {"stamps__contains": "s1"},
    {"stamps__contains_any": ["s1", "s2"]},
    {"stamps__contains": "s1", "note": "no. 3"},
]
MORE: list[dict[str, Any]] = [
    {"town": "town 3", "house": 5},
    {"street": 4},
    {"town": "town 3", "weight__gt": 20},
    {"stamps__contains_all": ["s1", "s2"]},
    {"stamps__contains": "s1", "town": "town 3"},
    {"state": "lost"},
    {"state": "lost", "weight__gt": 100},
    {"state": "lost", "note": "no. 0"},
    {"state": "there", "note": "no. 1"},
    {"note": "no. 1"},
]


def holds_of(parcel: Parcel, asked: dict[str, Any]) -> bool:
    members = {
        "contains": lambda value, operand: operand in value,
        "contains_any": lambda value, operand: bool({*value} & {*operand}),
        "contains_all": lambda value, operand: {*value} >= {*operand},
    }
    for name, operand in asked.items():
        field, _, lookup = name.partition("__")
        if not (members | HOLDS)[lookup](getattr(parcel, field), operand):
            return False
    return True


@pytest.mark.parametrize("order", [None, "street", "house", "-street", "weight", "note"])
@pytest.mark.parametrize("stop", [None, 5])
@pytest.mark.parametrize("asked", [*OF_FIELDS, *MORE], ids=repr)
def test_several_fields_members_and_some_records(
    parcels: Any, asked: dict[str, Any], order: str | None, stop: int | None
) -> None:
    query = parcels.where(**asked)
    wanted = [one for one in parcels if holds_of(one, asked)]
    assert wanted or asked == {"town": "town 3", "street": 4, "house": 5}
    if order is not None:
        query = query.order_by(order)
        wanted.sort(
            key=lambda one: (getattr(one, order.strip("-")), one.pk), reverse=order[0] == "-"
        )
    assert [one.pk for one in query[:stop]] == [one.pk for one in wanted[:stop]]
    assert query.count() == len([one for one in parcels if holds_of(one, asked)])


@pytest.mark.parametrize("options", [*OPTIONS, *PAGES], ids=repr)
@pytest.mark.parametrize("asked", [*OF_FIELDS, *MORE], ids=repr)
def test_the_same_is_read_by_an_index_of_several_fields(
    parcels: Any, asked: dict[str, Any], options: dict[str, Any]
) -> None:
    check_same(parcels.where(**asked), **options)


@pytest.mark.parametrize(
    ("asked", "order", "is_sorted"),
    [
        ({"town": "town 3"}, ("street", "house"), False),
        ({"town": "town 3"}, ("-street", "-house"), False),
        ({"town": "town 3", "street": 4}, ("house",), False),
        ({"town": "town 3", "street": 4, "note": "no. 3"}, ("house",), False),
        ({"town": "town 3", "street": 4, "house__gt": 2}, ("house",), False),
        ({"state": "there"}, ("weight",), False),
        ({"town": "town 3"}, ("note",), True),
        ({"town": "town 3"}, ("street",), True),
        ({"town": "town 3"}, ("street", "-house"), True),
        ({"town__gt": "town 3"}, ("street", "house"), True),
    ],
)
def test_the_order_behind_what_is_equal(
    parcels: Any, asked: dict[str, Any], order: tuple[str, ...], *, is_sorted: bool
) -> None:
    query = parcels.where(**asked).order_by(*order)
    options = {"order": query._asked.order, "descending": query._asked.descending, "limit": 5}
    plan = check_same(query, **options)
    assert (plan.native_order is None) == is_sorted


class Page(Model):
    text: Field[str]
    number: Field[int]

    class Meta:
        indexes = (("text", "number"),)


@pytest.mark.parametrize("length", range(460, 490))
def test_entries_of_several_fields_that_are_cut_off_find_nothing_else(length: int) -> None:
    storage = get_storage("pymodels.ext.memory")
    text = "x" * length
    storage.save_all(Page(pk=f"{n}", text=text, number=n - 4) for n in range(10))
    storage.save_all(Page(pk=f"other {n}", text=f"{text}x", number=n - 4) for n in range(10))
    pages = Page.objects(storage).where(text=text)
    for asked, low, high in (
        ({"number__lt": 3}, 0, 7),
        ({"number__lte": 3}, 0, 8),
        ({"number__gt": 3}, 8, 10),
        ({"number__gte": 3}, 7, 10),
        ({"number": 3}, 7, 8),
        ({"number__between": (-1, 3)}, 3, 8),
        ({}, 0, 10),
    ):
        wanted = [f"{n}" for n in range(low, high)]
        assert [one.pk for one in pages.where(**asked)] == wanted
        assert [one.pk for one in pages.where(**asked).order_by("number")] == wanted
        assert pages.where(**asked).count() == len(wanted)


class Basket(Model):
    number: Field[int]
    fruits: Field[list[str]]
    colour: Field[str]

    class Meta:
        indexes = (("number", "fruits"), {"fields": "fruits", "where": {"colour": "red"}})


@pytest.mark.parametrize("backend", ["memory", "lmdb"])
def test_a_list_without_members_hides_no_record(backend: str, tmp_path: Path) -> None:
    settings = {"path": tmp_path / "baskets.lmdb"} if backend == "lmdb" else {}
    with get_storage(f"pymodels.ext.{backend}", **settings) as storage:
        Basket(pk="a", number=1, fruits=["pear"], colour="red").save(storage)
        Basket(pk="b", number=1, fruits=[], colour="red").save(storage)
        baskets = Basket.objects(storage)
        for asked in (
            {"number": 1},
            {"number__in": [1, 2]},
            {"number__gte": 0},
            {"colour": "red"},
            {"colour": "red", "number": 1},
        ):
            assert [one.pk for one in baskets.where(**asked)] == ["a", "b"]
            assert [one.pk for one in baskets.where(**asked).order_by("-number")] == ["a", "b"][
                ::-1
            ]
            assert baskets.where(**asked).count() == 2
        query = baskets.where(number=1, fruits__contains="pear")
        assert repr(query.plan().native) == "range of index on number+fruits:members"
        assert [one.pk for one in query] == ["a"]
