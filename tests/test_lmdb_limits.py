"""LMDB: where there is no room, nothing that was acknowledged is lost."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pymodels import (
    Field,
    Model,
    ModelError,
    OperandInvalid,
    StorageBusy,
    StorageError,
    StorageFull,
)
from pymodels.testing.people import Person, Setting, Town
from pymodels.testing.running import in_child
from tests.limits import full_disk
from tests.lmdb_files import fill, numbers, open_file, run_program


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.lmdb"


@pytest.fixture
def filled(path: Path) -> Path:
    return fill(path)


# --- no room --------------------------------------------------------------------------------


def fill_up(storage: Any) -> list[int]:
    """Save until there is no room; return what was acknowledged."""
    saved: list[int] = []
    while True:
        pair = [len(saved), len(saved) + 1]
        try:
            storage.save_all([Town(id=number, name="x" * 3000) for number in pair])
        except StorageFull:
            return saved
        saved += pair


def check_after_full(storage: Any, saved: list[int]) -> None:
    """The storage reads, deletes, and then writes again."""
    assert saved
    assert numbers(storage) == saved
    assert storage.delete_many(Town, saved[: len(saved) // 2]) == len(saved) // 2
    Town(id=-1, name="z" * 3000).save(storage)
    assert numbers(storage) == [-1, *saved[len(saved) // 2 :]]


def test_a_full_map(path: Path) -> None:
    with open_file(path, map_size=1 << 20) as storage:
        saved = fill_up(storage)
        with pytest.raises(StorageFull, match="map_size"):
            Town(id=-5, name="x" * (1 << 21)).save(storage)
        assert numbers(storage) == saved
        assert storage.get(Town, saved[-1]).name == "x" * 3000
    with open_file(path, map_size=1 << 22) as storage:
        check_after_full(storage, saved)
        storage.save_all([Town(id=10**6 + n, name="x" * 3000) for n in range(100)])


def test_a_full_disk(path: Path) -> None:
    def work() -> list[int]:
        with full_disk(1 << 20):
            storage = open_file(path)
            saved = fill_up(storage)
            assert numbers(storage) == saved
        with storage:
            check_after_full(storage, saved)
        return saved

    saved = in_child(work)
    with open_file(path) as storage:
        assert numbers(storage) == [-1, *saved[len(saved) // 2 :]]


def test_a_full_disk_and_no_more_room(path: Path) -> None:
    def work() -> list[int]:
        with full_disk(1 << 20), open_file(path) as storage:
            return fill_up(storage)

    saved = in_child(work)
    with open_file(path, read_only=True) as storage:
        assert numbers(storage) == saved
    with open_file(path) as storage:
        check_after_full(storage, saved)


def test_no_room_for_the_file_itself(path: Path) -> None:
    def work() -> str:
        with full_disk(0), pytest.raises(StorageError) as caught:
            open_file(path)
        return type(caught.value).__name__

    assert in_child(work) in ("StorageFull", "StorageError")
    with open_file(path) as storage:
        assert numbers(storage) == []


def test_little_address_space(path: Path) -> None:
    program = f"""
import resource
from pymodels import get_storage
from pymodels.testing.people import Town
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
with get_storage("pymodels.ext.lmdb", path={str(path)!r}) as storage:
    storage.save_all([Town(id=n, name="x" * 1000) for n in range(2000)])
with get_storage("pymodels.ext.lmdb", path={str(path)!r}) as storage:
    print(Town.objects(storage).count())
"""
    ended = run_program(program)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2000\n", "")
    with open_file(path) as storage:
        assert numbers(storage) == list(range(2000))


def test_growth_needs_no_care(path: Path) -> None:
    with open_file(path) as storage:
        results = iter(Town.objects(storage))
        storage.save_all([Town(id=n) for n in range(100)])
        results = iter(Town.objects(storage))
        assert next(results).id == 0
        for number in range(6):
            storage.save_all([Setting(pk=f"{number} {n}", colour="x" * 10_000) for n in range(500)])
        assert [town.id for town in results] == list(range(1, 100))
        assert Setting.objects(storage).count() == 3000
    assert path.stat().st_size > 30_000_000


# --- limits ---------------------------------------------------------------------------------


def test_a_key_that_is_too_long(path: Path) -> None:
    longest, longer = "é" * 255 + "x", "é" * 256
    with open_file(path) as storage:
        Person(pk=longest, name="fits").save(storage)
        with pytest.raises(OperandInvalid, match="512 bytes"):
            storage.save_all([Person(pk="a", name="not stored"), Person(pk=longer, name="no")])
        with pytest.raises(OperandInvalid):
            Person(pk=longer, name="no").save(storage, replace=True)
        with storage.transaction():
            assert storage.get(Person, longer, None) is None
            assert storage.delete_many(Person, [longer]) == 0
            with pytest.raises(OperandInvalid):
                Person(pk=longer, name="no").save(storage)
        assert list(storage.keys(Person)) == [longest]
        people = Person.objects(storage)
        assert storage.get(Person, longer, None) is None
        assert storage.get_many(Person, [longer, longest]).keys() == {longest}
        assert people.where(pk=longer).count() == 0
        assert people.where(pk__in=[longer, longest]).count() == 1
        assert people.where(pk__startswith=longer).count() == 0
        assert people.where(pk__gte=longer).count() == 0
        assert people.where(pk__gt=longest).count() == 0
        assert people.where(pk__lt=longer).count() == 1
        assert people.where(pk__lte=longest + "x" * 600).count() == 1
        assert people.where(pk__between=("a", "z" * 600)).count() == 0
        assert people.where(pk__between=("a", "é" * 600)).count() == 1
        assert people.reverse().where(pk__lt="é" * 600).count() == 1
        assert people.where_not(pk=longer).count() == 1
        assert storage.delete_many(Person, [longer]) == 0


def test_a_collection_name_that_is_too_long(path: Path) -> None:
    class Long(Model, collection="x" * 600):
        name: Field[str]

    with open_file(path) as storage:
        assert Long.objects(storage).count() == 0
        with pytest.raises(ModelError, match="600 bytes"):
            Long(name="x").save(storage)
        assert len(storage) == 0


def test_too_many_tables(path: Path) -> None:
    models: list[Any] = []
    for number in range(12):

        class Numbered(Model, collection=f"numbered{number}"):
            name: Field[str] = Field(default="x")

        models.append(Numbered)
    saved = 0
    with open_file(path, max_tables=8) as storage:
        refused = None
        while refused is None:
            try:
                models[saved](pk="a").save(storage)
                saved += 1
            except StorageFull as error:
                refused = error
        assert "max_tables" in str(refused)
        assert 1 <= saved < 12
        assert len(storage) == saved
        models[0](pk="b").save(storage)
        assert models[0].objects(storage).count() == 2
    with open_file(path, max_tables=40) as storage:
        for model in models[saved:]:
            model(pk="a").save(storage)
        assert len(storage) == 13


def test_fewer_tables_than_the_file_has(path: Path) -> None:
    fill(path)
    with open_file(path, max_tables=1) as storage, pytest.raises(StorageFull, match="max_tables"):
        storage.check()


def test_of_more_tables_than_may_be_open_those_are_opened_that_are_asked_for(path: Path) -> None:
    with open_file(path) as storage:
        Town(id=1).save(storage)
        Setting(pk="a").save(storage)
        number = storage.native.stat()["entries"]
    for most in range(2, number + 1):
        with open_file(path, max_tables=most) as storage:
            assert Town.objects(storage).count() == 1
            assert len(storage.environment.tables) <= most


def test_a_read_waits_for_no_writer_once_the_file_is_open(filled: Path) -> None:
    found: list[list[int]] = []
    with open_file(filled) as storage:
        reader = Thread(target=lambda: found.append(numbers(storage)))
        with storage.native.begin(write=True):
            reader.start()
            reader.join(10)
            assert not reader.is_alive()
        reader.join()
    assert found == [list(range(200))]


def test_a_file_that_another_process_made_larger_than_the_map(path: Path) -> None:
    with open_file(path, map_size=1 << 20) as storage:
        Town(id=1).save(storage)
        written = run_program(
            "from tests.lmdb_files import open_file\n"
            "from pymodels.testing.people import Town\n"
            "from pathlib import Path\n"
            f"with open_file(Path({str(path)!r})) as storage:\n"
            "    storage.save_all([Town(id=n, name='x' * 300) for n in range(2, 9000)])\n"
        )
        assert written.returncode == 0, written.stderr
        towns = Town.objects(storage)
        for ask in (towns.all, towns.count, lambda: towns.get(1), lambda: Town(id=0).save(storage)):
            with pytest.raises(StorageFull, match="larger map_size"):
                ask()
    with open_file(path) as storage:
        assert Town.objects(storage).count() == 8999


def test_too_many_readers(path: Path) -> None:
    with open_file(path, max_readers=4) as storage:
        storage.save_all([Town(id=n) for n in range(100)])
        running: list[Any] = []
        refused = None
        while refused is None:
            results = iter(Town.objects(storage))
            try:
                assert next(results).id == 0
            except StorageBusy as error:
                refused = error
            else:
                running.append(results)
        assert "max_readers" in str(refused)
        assert 1 <= len(running) <= 4
        assert [len(list(results)) for results in running] == [99] * len(running)
        assert numbers(storage) == list(range(100))


def test_readers_that_were_killed_are_forgotten(filled: Path) -> None:
    def hang() -> None:
        with open_file(filled, max_readers=6) as storage:
            results = iter(Town.objects(storage))
            next(results)
            os.kill(os.getpid(), 9)

    with open_file(filled, max_readers=6) as storage:
        for _ in range(12):
            with pytest.raises(ChildProcessError, match="SIGKILL"):
                in_child(hang)
            assert len(numbers(storage)) == 200


def test_a_large_value_and_many_small_ones(path: Path) -> None:
    with open_file(path) as storage:
        Person(pk="a", name="x" * 50_000_000).save(storage)
        Person.objects(storage).update(age=1)
        assert len(storage.get(Person, "a").name) == 50_000_000
