"""What is answered by one look into an index is what a plan would have found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pymodels import Field, Model, RecordInvalid, StorageClosed, get_storage
from pymodels.ext import lmdb
from pymodels.ordered import LONGEST

CITIES = ["", "Oslo", "Rome", "a\0b", "a\1b", "Ælfheim", "x" * (LONGEST - 2), None]
"""The last text is the longest of which an index has all."""


class Person(Model):
    city: Field[str | None] = Field(default=None, index=True)
    age: Field[int] = Field(default=0, index=True)


class Numbered(Model, collection="person"):
    city: Field[int] = Field(index=True)


@pytest.fixture(params=["memory", "lmdb"])
def opened(request: Any, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """A function that opens the same records once more; in memory there is but one storage."""
    some: list[Any] = []

    def opener() -> Any:
        if request.param == "memory" and some:
            return some[0]
        settings = {} if request.param == "memory" else {"path": tmp_path / "people"}
        some.append(get_storage(f"pymodels.ext.{request.param}", **settings))
        return some[-1]

    yield opener
    for storage in some:
        storage.close()


@pytest.fixture
def storage(opened: Callable[[], Any]) -> Any:
    storage = opened()
    storage.save_all(
        Person(pk=f"{number:03}", city=CITIES[number % len(CITIES)], age=number)
        for number in range(80)
    )
    assert Person.objects(storage).where(city="Rome").count() == 10
    return storage


def keys(found: Any) -> list[str]:
    return [one.pk for one in found]


def expected(city: str | None) -> list[str]:
    return [f"{n:03}" for n in range(80) if CITIES[n % len(CITIES)] == city]


@pytest.mark.parametrize("city", CITIES, ids=ascii)
def test_the_records_of_a_value_come_by_key(storage: Any, city: str | None) -> None:
    people = Person.objects(storage)
    found = people.where(city=city).all()
    assert keys(found) == expected(city)
    assert [one.city for one in found] == [city] * 10
    assert not any(one.is_changed for one in found)
    assert all(one.storage is storage for one in found)
    assert people.where(city=city).unordered().count() == 10


def test_a_value_that_nothing_has_finds_nothing(storage: Any) -> None:
    assert Person.objects(storage).where(city="Bergen").all() == []
    assert Person.objects(storage).where(city="x" * LONGEST).all() == []


def test_orders_and_slices_are_kept(storage: Any) -> None:
    rome = Person.objects(storage).where(city="Rome")
    assert keys(rome.reverse().all()) == expected("Rome")[::-1]
    assert keys(rome.order_by("-age").all()) == expected("Rome")[::-1]
    assert keys(rome[2:4].all()) == expected("Rome")[2:4]
    assert sorted(keys(rome.unordered().all())) == expected("Rome")


def test_the_distinct_text_is_in_order_null_first(storage: Any) -> None:
    assert Person.objects(storage).values("city") == [None, *sorted(filter_none(CITIES))]


def test_text_that_stands_for_something_else_is_not_taken_as_it_is(
    opened: Callable[[], Any],
) -> None:
    class Size(Enum):
        SMALL = "s"
        LARGE = "l"

    class Parcel(Model):
        size: Field[Size] = Field(index=True)
        owner: Field[Person | None] = Field(default=None, index=True)

    storage = opened()
    ann = Person(pk="ann", city="Rome")
    ann.save(storage)
    storage.save_all([Parcel(pk="a", size=Size.SMALL), Parcel(pk="b", size=Size.LARGE, owner=ann)])
    parcels = Parcel.objects(storage)
    for _ in range(2):  # the second time, what is stored of the collection is known
        assert parcels.values("size") == [Size.LARGE, Size.SMALL]
        assert parcels.values("owner") == [None, "ann"]
        assert keys(parcels.where(size=Size.SMALL).all()) == ["a"]
        assert keys(parcels.where(owner=ann).all()) == ["b"]


def filter_none(cities: list[str | None]) -> list[str]:
    return [city for city in cities if city is not None]


@pytest.mark.parametrize("length", [LONGEST - 2, LONGEST - 1, LONGEST, 2 * LONGEST])
@pytest.mark.parametrize("first", [None, "", "y"])
def test_long_text_is_told_whole(storage: Any, length: int, first: str | None) -> None:
    people = Person.objects(storage)
    people.delete()
    some = [first, "y" * length, "y" * (length + 1)]
    storage.save_all([Person(city=city) for city in some])
    assert people.values("city") == some
    for city in some:
        assert [one.city for one in people.where(city=city).all()] == [city]


def test_what_another_has_written_is_seen(storage: Any, opened: Callable[[], Any]) -> None:
    other, people = opened(), Person.objects(storage)
    Person(pk="999", city="Rome").save(other)
    assert keys(people.where(city="Rome").all()) == [*expected("Rome"), "999"]
    Person.objects(other).where(city="Oslo").delete()
    assert "Oslo" not in people.values("city")
    assert people.where(city="Oslo").all() == []


def test_what_a_transaction_has_changed_is_seen_in_it(storage: Any) -> None:
    people = Person.objects(storage)
    with storage.transaction():
        Person(pk="999", city="Rome").save(storage)
        people.where(city="Oslo").update(city="Bergen")
        assert keys(people.where(city="Rome").all()) == [*expected("Rome"), "999"]
        assert {"Bergen"} == set(people.values("city")) - set(CITIES)
        assert people.where(city="Oslo").all() == []


def test_an_index_that_is_gone_is_not_asked(storage: Any, opened: Callable[[], Any]) -> None:
    class Plain(Model, collection="person"):
        pass

    people = Person.objects(storage)
    wanted = people.values("city")
    assert sorted(opened().drop_indexes(Plain)) == ["age", "city"]
    assert keys(people.where(city="Rome").all()) == expected("Rome")
    assert people.values("city") == wanted


def test_a_record_of_another_kind_is_told_of(storage: Any, opened: Callable[[], Any]) -> None:
    people = Person.objects(storage)
    Numbered(pk="seven", city=7).save(opened())
    for ask in (lambda: people.values("city"), people.where(city="Rome").all):
        with pytest.raises(RecordInvalid, match="seven"):
            ask()


def test_a_closed_storage_is_told_of(tmp_path: Path) -> None:
    storage = get_storage("pymodels.ext.lmdb", path=tmp_path / "people")
    Person(city="Rome").save(storage)
    people = Person.objects(storage)
    assert people.values("city") == ["Rome"]
    storage.close()
    with pytest.raises(StorageClosed, match="is closed"):
        people.values("city")
    with pytest.raises(StorageClosed, match="is closed"):
        people.where(city="Rome").all()


def test_a_storage_that_scans_in_its_own_way_is_asked_for_a_scan(tmp_path: Path) -> None:
    scanned: list[Any] = []

    class Watched(lmdb.Storage):
        def scan(self, plan: Any) -> Any:
            scanned.append(plan)
            return super().scan(plan)

    with Watched(path=tmp_path / "people") as storage:
        storage.save_all([Person(pk="a", city="Rome"), Person(pk="b", city="Oslo")])
        for _ in range(2):
            assert keys(Person.objects(storage).where(city="Rome").all()) == ["a"]
    assert len(scanned) == 2


ASKED: list[Callable[[Any], Any]] = [
    lambda people: len(people.where(city="Rome").all()),
    lambda people: len(people.where(city="Rome", age__gte=0).all()),
    lambda people: len(people.where(age__gte=40).all()),
    lambda people: people.where(age__gte=40).count(),
    lambda people: people.where(city="Rome").count(),
    lambda people: people.where(age__gt=5).min("age"),
    lambda people: people.max("age"),
    lambda people: people.values("city"),
    lambda people: [one.age for one in people.order_by("age")[:10]],
    lambda people: [one.age for one in people.order_by("-age")[:10]],
]


@pytest.mark.parametrize("number", range(len(ASKED)))
def test_an_index_that_another_thread_drops_meanwhile_is_not_missed(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    class Plain(Model, collection="person"):
        pass

    storage: Any = get_storage("pymodels.ext.memory")
    storage.save_all(Person(pk=f"{n:03}", city=CITIES[n % len(CITIES)], age=n) for n in range(80))
    people, ask = Person.objects(storage), ASKED[number]
    wanted = ask(people)
    looked, dropping = type(storage)._catalog_for, []

    def look(self: Any, view: Any, schema: Any) -> Any:
        found = looked(self, view, schema)
        if not dropping:
            dropping.append(Thread(target=storage.drop_indexes, args=(Plain,)))
            dropping[0].start()
            dropping[0].join(0.2)  # it waits, if what is being read stays as it is
        return found

    monkeypatch.setattr(type(storage), "_catalog_for", look)
    assert ask(people) == wanted
    assert dropping
    dropping[0].join()
    assert ask(people) == wanted
