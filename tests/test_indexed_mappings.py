"""Indexes of shelves and other mappings: in memory, made when somebody asks, and never wrong."""

from __future__ import annotations

import os
import random
import shelve
from pathlib import Path
from typing import Any

import pytest

from pymodels import Field, Model, RecordInvalid, get_storage
from pymodels.byindex import InIndex
from pymodels.changes import Put
from pymodels.mappings import MappingStorage
from pymodels.storage import Storage
from pymodels.testing.stateful import StatefulTests
from tests.indexed_storages import EveryIndex

SHELF = {"backend": "pymodels.ext.shelve", "kind": "dbm.sqlite3"}


class Person(Model):
    """A record with indexes, and a column."""

    city: Field[str] = Field(default="", index=True)
    age: Field[int | None] = Field(default=None, index=True)
    note: Field[str] = Field(default="", index="column")


class Plain(Model, collection="person"):
    """The same records, of which nothing is indexed."""

    city: Field[str] = Field(default="")
    age: Field[int | None] = Field(default=None)


def people(count: int = 200) -> list[Person]:
    return [
        Person(pk=f"{n:03}", city=f"c{n % 7}", age=n % 30 or None, note=f"note {n % 9}")
        for n in range(count)
    ]


def of_city(storage: Any, city: str) -> list[Any]:
    return [person.pk for person in Person.objects(storage).where(city=city)]


def expected(city: int, count: int = 200) -> list[str]:
    return [f"{n:03}" for n in range(count) if n % 7 == city]


def uses_index(storage: Any) -> bool:
    return isinstance(Person.objects(storage).where(city="c3").plan().native, InIndex)


def test_the_first_query_makes_the_indexes_of_a_shelf(tmp_path: Path) -> None:
    settings = {**SHELF, "path": tmp_path / "people"}
    with get_storage(settings) as storage:
        storage.save_all(people())
    for read_only in (False, True, False):
        with get_storage(settings, read_only=read_only) as storage:
            assert not storage.catalogs["person"].ordered if storage.catalogs else True
            before = storage.revision
            assert of_city(storage, "c3") == expected(3)
            assert uses_index(storage)
            assert storage.revision == before, "reading changes nothing"
            found = Person.objects(storage).order_by("-age")[:3]
            assert [person.age for person in found] == [29, 29, 29]
            noted = Person.objects(storage).where(note__endswith="7")
            assert repr(noted.plan().native) == "column of note"
            assert noted.count() == sum(n % 9 == 7 for n in range(200))
            assert storage.check()


def test_the_indexes_follow_every_write(tmp_path: Path) -> None:
    chance = random.Random(8)
    held: dict[bytes, bytes] = {}
    wanted: dict[str, str] = {}
    with MappingStorage(lambda: held, name="a dict") as storage:
        for turn in range(40):
            some = {f"{chance.randrange(60):02}": f"c{chance.randrange(5)}" for _ in range(6)}
            storage.save_all([Person(pk=k, city=c) for k, c in some.items()], replace=True)
            wanted |= some
            gone = f"{chance.randrange(60):02}"
            storage.delete_many(Person, [gone])
            wanted.pop(gone, None)
            Plain.objects(storage).where(city="c4").update(city="c0")
            wanted = {key: "c0" if city == "c4" else city for key, city in wanted.items()}
            for city in ("c0", "c1", "c4"):
                found = sorted(key for key, value in wanted.items() if value == city)
                assert of_city(storage, city) == found
            assert uses_index(storage)
            if turn % 10 == 9:
                found = storage.check()
                assert found, str(found)


def test_what_another_program_wrote_is_found(tmp_path: Path) -> None:
    settings = {**SHELF, "path": tmp_path / "people", "kind": "dbm.dumb"}
    with get_storage(settings) as storage:
        storage.save_all(people(20))
        assert of_city(storage, "c3") == expected(3, 20)
        Person(pk="more", city="c3").save(storage)  # the file may know of indexes by now
    with shelve.open(tmp_path / "people") as shelf:
        shelf["person:000"] = {"city": "c3"}
        del shelf["person:003"]
    with get_storage(settings) as storage:
        assert of_city(storage, "c3") == ["000", "010", "017", "more"]
        assert uses_index(storage)
        assert storage.check()


def test_a_record_that_cannot_be_read_is_met_and_keeps_nobody_from_saving(tmp_path: Path) -> None:
    settings = {**SHELF, "path": tmp_path / "people", "kind": "dbm.dumb"}
    with get_storage(settings) as storage:
        storage.save_all(people(20))
    with shelve.open(tmp_path / "people") as shelf:
        shelf["person:009"] = ["no record"]
    with get_storage(settings) as storage:
        for _ in range(2):
            with pytest.raises(RecordInvalid) as error:
                of_city(storage, "c3")
            assert error.value.key == "009"
        Person(pk="new", city="c3").save(storage)
        assert Person.objects(storage).get("new").city == "c3"
        assert not uses_index(storage)


def test_a_query_beside_a_prepared_batch_waits_for_nobody(tmp_path: Path) -> None:
    with MappingStorage(dict, name="a dict") as storage:
        storage.save_all(people(20))
        schema = Person.__schema__
        made = Person(city="c3")
        prepared = storage.prepare([Put(schema, "new", storage.codec.encode(made))])
        assert of_city(storage, "c3") == expected(3, 20)
        assert not uses_index(storage)
        prepared.commit()
        assert of_city(storage, "c3") == [*expected(3, 20), "new"]
        assert uses_index(storage)


def test_a_forked_child_has_the_indexes_too(tmp_path: Path) -> None:
    with get_storage({**SHELF, "path": tmp_path / "people"}) as storage:
        storage.save_all(people(20))
        assert of_city(storage, "c3") == expected(3, 20)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                Person(pk="child", city="c3").save(storage)
                if of_city(storage, "c3") == [*expected(3, 20), "child"] and uses_index(storage):
                    status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert of_city(storage, "c3") == expected(3, 20)
        assert storage.check()


class IndexedMapping(EveryIndex, MappingStorage):
    """Records in a dict, all of them indexed."""


class TestStateful(StatefulTests):
    def make(self, path: Path) -> Storage:
        return IndexedMapping(dict, name=f"a dict for {path.name}")
