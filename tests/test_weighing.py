"""Of several indexes that each find one part of a condition, the sizes decide which are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pymodels import Field, Model, expecting, get_storage, weighing
from tests.planned import check_same

COUNT = 3_000


class Parcel(Model):
    truck: Field[int] = Field(index=True)
    lane: Field[str] = Field(index=True)
    shelf: Field[int] = Field(index=True)
    weight: Field[int] = Field(index=True)
    note: Field[str]


def parcel(number: int) -> Parcel:
    return Parcel(
        pk=f"{number:05}",
        truck=number % 20,
        lane="left" if number % 2 else "right",
        shelf=number % 1_000,
        weight=number,
        note=f"no. {number % 7}",
    )


@pytest.fixture(params=["memory", "lmdb"], scope="module")
def filled(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("weighing") / "parcels.lmdb"
    settings = {"path": path} if request.param == "lmdb" else {}
    with get_storage(f"pymodels.ext.{request.param}", **settings) as storage:
        storage.save_all(map(parcel, range(COUNT)))
        yield storage


@pytest.fixture
def parcels(filled: Any) -> Any:
    filled.samples.clear()
    return Parcel.objects(filled)


def read(query: Any) -> str:
    return repr(query.plan().native)


def keys(wanted: Callable[[int], bool]) -> list[str]:
    return [f"{number:05}" for number in range(COUNT) if wanted(number)]


def found(query: Any) -> list[str]:
    return [one.pk for one in query]


def test_few_records_are_read_without_a_look_at_another_index(parcels: Any) -> None:
    query = parcels.where(shelf=7, truck=7)
    assert read(query) == "index on shelf"
    assert query.plan().expected == COUNT // 1_000
    assert found(query) == keys(lambda number: number % 1_000 == 7)
    assert found(parcels.where(shelf=7, truck=8)) == []


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"truck": 7, "shelf": 7, "lane": "left"}, lambda number: number % 1_000 == 7),
        ({"lane": "left", "shelf": 7, "weight__gt": 60}, lambda number: number in (1_007, 2_007)),
        ({"shelf": 7, "lane": "left", "truck": 7}, lambda number: number % 1_000 == 7),
        ({"lane": "left", "truck": 99, "weight__gt": 60}, lambda number: False),
    ],
)
@pytest.mark.parametrize("stop", [None, 1])
def test_few_records_are_enough_beside_several_others(
    parcels: Any, asked: dict[str, Any], wanted: Callable[[int], bool], stop: int | None
) -> None:
    query = parcels.where(**asked)[:stop]
    assert read(query) == f"index on {'shelf' if 'shelf' in asked else 'truck'}"
    assert found(query) == keys(wanted)[:stop]


def test_an_index_is_read_beside_another_where_that_spares_more(parcels: Any) -> None:
    query = parcels.where(truck=7, weight__gte=COUNT - 100)
    assert read(query) == "(range of index on weight) and (index on truck)"
    assert query.plan().expected == 100
    assert query.plan().exact
    assert found(query) == keys(lambda number: number % 20 == 7 and number >= COUNT - 100)
    assert query.count() == 5


def test_what_no_index_has_is_asked_of_what_they_find(parcels: Any) -> None:
    query = parcels.where(note="no. 3", truck=7, weight__lt=200)
    assert read(query) == "(index on truck) and (range of index on weight)"
    assert repr(query.plan().rest) == "note='no. 3'"
    assert found(query) == keys(lambda number: number % 140 == 87 and number < 200)


def test_nobody_counts_what_is_far_larger(parcels: Any) -> None:
    query = parcels.where(truck=7, weight__gte=10)
    for _ in range(2):  # by counting, and then by what was sampled meanwhile
        assert read(query) == "index on truck"
        assert repr(query.plan().rest) == "weight__gte=10"
    assert parcels.storage.samples
    assert found(query) == keys(lambda number: number % 20 == 7 and number >= 10)


def test_a_third_index_is_left_alone(parcels: Any) -> None:
    query = parcels.where(truck=7, lane="left", weight__lt=100)
    assert read(query) == "(range of index on weight) and (index on truck)"
    assert found(query) == keys(lambda number: number % 20 == 7 and number < 100)


def test_an_index_that_finds_nothing_decides_alone(parcels: Any) -> None:
    query = parcels.where(truck=99, weight__gte=10)
    assert read(query) == "index on truck"
    assert query.plan().expected == 0
    assert found(query) == []


ASKED: list[dict[str, Any]] = [
    {"truck": 7, "lane": "left"},
    {"lane": "right", "truck": 8},
    {"truck": 7, "weight__lt": 100},
    {"truck": 7, "weight__between": (1_000, 1_200)},
    {"lane": "left", "weight__gt": COUNT - 30},
    {"lane": "left", "weight__gt": 30},
    {"weight__gt": COUNT - 60, "shelf__lt": 20},
    {"weight__gt": 60, "shelf__gte": 200},
    {"truck__in": [7, 8], "lane": "left"},
    {"truck__in": list(range(10)), "weight__lt": 500},
    {"weight__gt": 60, "weight__lt": 90, "truck": 7},
]
ONE_OR_NONE: list[dict[str, Any]] = [
    {"truck": 7, "note": "no. 3"},
    {"lane": "left", "note": "no. 3"},
    {"weight__gte": 2_500, "note": "no. 3"},
    {"weight__gte": 2_990, "note": "no. 3"},
    {"weight__gte": 100, "weight__lt": 900, "note": "no. 3"},
    {"truck__in": [7, 8, 9], "note": "no. 3"},
    {"shelf": 7},
    {"lane": "left"},
    {"note": "no. 3"},
]


@pytest.mark.parametrize("asked", ASKED, ids=repr)
@pytest.mark.parametrize("times", [1, 2])
def test_the_same_is_read_as_where_everything_is_weighed(
    parcels: Any, asked: dict[str, Any], times: int
) -> None:
    check_plan(parcels.where(**asked), times)


@pytest.mark.parametrize("stop", [slice(1), slice(5, 15), slice(200), None], ids=repr)
@pytest.mark.parametrize("order", [None, "weight", "-lane", "note"])
@pytest.mark.parametrize("asked", [*ASKED, *ONE_OR_NONE], ids=repr)
def test_a_page_is_read_as_where_everything_is_weighed(
    parcels: Any, asked: dict[str, Any], order: str | None, stop: slice | None
) -> None:
    query = parcels.where(**asked)
    if order is not None:
        query = query.order_by(order)
    check_plan(query if stop is None else query[stop], 2)


@pytest.mark.parametrize("stop", [slice(5), slice(400), None], ids=repr)
@pytest.mark.parametrize("order", [None, "weight", "note"])
@pytest.mark.parametrize(
    "asked",
    [
        *ASKED,
        *ONE_OR_NONE,
        {"weight__between": (100, 140), "shelf__gt": 10},
        {"weight__between": (100, 200), "shelf__gt": 10},
        {"weight__between": (100, 400), "note": "no. 3"},
    ],
    ids=repr,
)
def test_the_same_is_read_where_indexes_are_too_long_for_samples(
    parcels: Any,
    asked: dict[str, Any],
    order: str | None,
    stop: slice | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expecting, "SAMPLED", 100)
    monkeypatch.setattr(expecting, "COUNTED_SHARE", 20)
    for module in (expecting, weighing):
        monkeypatch.setattr(module, "COUNTED", 32)
    query = parcels.where(**asked)
    if order is not None:
        query = query.order_by(order)
    check_plan(query if stop is None else query[stop], 1)
    assert not parcels.storage.samples


def check_plan(query: Any, times: int) -> None:
    asked = query._asked
    options = {
        "order": asked.order,
        "descending": asked.descending,
        "offset": asked.offset,
        "limit": asked.limit,
    }
    for _ in range(times):  # the first time nothing is sampled yet
        check_same(query, **options)


def test_what_another_has_written_is_counted(tmp_path: Path) -> None:
    with (
        get_storage("pymodels.ext.lmdb", path=tmp_path / "parcels") as one,
        get_storage("pymodels.ext.lmdb", path=tmp_path / "parcels") as other,
    ):
        one.save_all(map(parcel, range(100)))
        query = Parcel.objects(other).where(lane="left", weight__gte=40)
        assert query.plan().expected == 50
        one.save_all(map(parcel, range(100, 120)))
        assert query.plan().expected == 60
        assert Parcel.objects(one).where(weight__gte=45).delete() == 75
        assert read(query) == "range of index on weight"
        assert found(query) == [f"{number:05}" for number in (41, 43)]


def test_a_sample_is_taken_anew_when_an_index_has_grown(tmp_path: Path) -> None:
    for settings in ({}, {"path": tmp_path / "parcels.lmdb"}):
        backend = "lmdb" if settings else "memory"
        with get_storage(f"pymodels.ext.{backend}", **settings) as storage:
            storage.save_all(map(parcel, range(1_000)))
            query = Parcel.objects(storage).where(lane="left", weight__gte=500)
            for _ in range(2):
                query.plan()
            ((_, (size, *_)),) = storage.samples.items()
            assert size == 1_000
            storage.save_all(map(parcel, range(1_000, 2_000)))
            query.plan()
            ((_, (size, *_)),) = storage.samples.items()
            assert size == 2_000
            assert query.count() == 750


class Letter(Model):
    state: Field[str]
    day: Field[int]
    town: Field[str] = Field(index=True)

    class Meta:
        indexes = ({"fields": "day", "where": {"state": "lost"}},)


def test_an_index_of_some_records_is_as_long_as_it_is(tmp_path: Path) -> None:
    for settings in ({}, {"path": tmp_path / "letters.lmdb"}):
        backend = "lmdb" if settings else "memory"
        with get_storage(f"pymodels.ext.{backend}", **settings) as storage:
            storage.save_all(
                Letter(
                    pk=f"{n:05}", state="there" if n % 4 else "lost", day=n, town=f"town {n % 2}"
                )
                for n in range(4_000)
            )
            letters = Letter.objects(storage)
            for _ in range(2):  # by counting, and then by what was sampled meanwhile
                query = letters.where(state="lost", day__gte=2_000, town="town 0")
                assert 450 <= (query.plan().expected or 0) <= 550
                assert query.count() == 500
                assert letters.where(state="lost", town="town 1").count() == 0
                assert letters.where(state="lost", town="town 0").plan().expected == 1_000


def test_a_table_that_was_not_opened_is_counted(tmp_path: Path) -> None:
    with get_storage("pymodels.ext.lmdb", path=tmp_path / "parcels") as storage:
        storage.save_all(map(parcel, range(100)))
        query = Parcel.objects(storage).where(lane="left", weight__gte=40)
        assert query.plan().expected == 50
        storage.environment.tables.clear()
        assert query.plan().expected == 50
        assert query.count() == 30


def test_runs_of_text_are_counted_as_far_as_they_differ() -> None:
    class Page(Model):
        text: Field[str] = Field(index="trigram")
        number: Field[int] = Field(index=True)

    with get_storage("pymodels.ext.memory") as storage:
        storage.save_all(Page(text=f"page number {n}", number=n % 3) for n in range(300))
        pages = Page.objects(storage)
        rare = pages.where(text__contains="number 299", number=2)
        assert "index on text" in read(rare)
        assert [page.text for page in rare] == ["page number 299"]
        frequent = pages.where(text__contains="number", number=2)
        assert read(frequent) == "index on number"
        assert frequent.count() == 100
