"""LMDB: who opens a file, and how it is closed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lmdb
import pytest

from pymodels import (
    Field,
    Model,
    PyModelsError,
    StorageBusy,
    StorageClosed,
    StorageReadOnly,
    TransactionError,
    get_storage,
)
from pymodels.ext.lmdb.snapshots import Snapshot
from pymodels.testing.people import Setting, Town
from pymodels.testing.running import Child, in_child, in_threads
from tests.lmdb_files import fill, numbers, open_file, run_program


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.lmdb"


@pytest.fixture
def filled(path: Path) -> Path:
    return fill(path)


# --- several openers ------------------------------------------------------------------------


def test_two_storages_of_one_file_in_one_process(path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(path.parent)
    link = path.with_name("link.lmdb")
    first = open_file(path)
    link.symlink_to(path)
    second, third = open_file(link), open_file(Path("records.lmdb"))
    Town(id=1).save(first)
    assert numbers(second) == numbers(third) == [1]
    results = iter(Town.objects(second))
    first.close()
    assert [town.id for town in results] == [1]
    with pytest.raises(StorageClosed):
        numbers(first)
    Town(id=2).save(second)
    second.close()
    assert numbers(third) == [1, 2]
    third.close()
    with open_file(path) as again:
        assert numbers(again) == [1, 2]


def test_a_thread_waits_for_itself_through_another_storage_of_the_file(path: Path) -> None:
    with open_file(path) as first, open_file(path) as second:
        transaction = first.begin()
        Town(id=1).save(transaction)
        transaction.prepare()
        with pytest.raises(TransactionError, match="prepared"):
            Town(id=2).save(second)
        transaction.commit()
        Town(id=2).save(second)
        assert numbers(first) == [1, 2]


def test_a_reader_beside_a_writer_in_one_process(filled: Path) -> None:
    with open_file(filled) as writer, open_file(filled, read_only=True) as reader:
        Town(id=1000).save(writer)
        assert reader.get(Town, 1000).name == ""
        with pytest.raises(StorageReadOnly):
            Town(id=1001).save(reader)
        writer.close()
        assert len(numbers(reader)) == 201
        with pytest.raises(StorageReadOnly):
            reader.clear()


def test_a_writer_beside_a_reader_in_one_process(filled: Path) -> None:
    with open_file(filled, read_only=True) as reader:
        with pytest.raises(StorageBusy, match="close"):
            open_file(filled)
        assert len(numbers(reader)) == 200
    with open_file(filled) as writer:
        Town(id=1000).save(writer)


def test_other_processes_read_while_one_writes(filled: Path) -> None:
    def read() -> bool:
        seen = set()
        with open_file(filled, read_only=True) as reader:
            while 1050 not in seen:
                found = numbers(reader)
                assert found == sorted(set(found))
                assert set(found) >= seen
                seen = set(found)
        return len(seen) >= 251

    children = [Child(read), Child(read)]
    with open_file(filled) as writer:
        for number in range(1000, 1051):
            Town(id=number).save(writer)
    assert [child.result() for child in children] == [True, True]


def test_a_collection_that_another_process_made(filled: Path) -> None:
    with open_file(filled) as storage, open_file(filled, read_only=True) as reader:
        assert Setting.objects(storage).count() == 0
        results = iter(Town.objects(storage))
        next(results)

        def work() -> None:
            with open_file(filled) as other:
                Setting(pk="by the child").save(other)

        in_child(work)
        assert storage.get(Setting, "by the child").size == 5
        assert reader.get(Setting, "by the child").size == 5
        Setting(pk="by the parent").save(storage)
        assert Setting.objects(reader).count() == 2
        assert len(list(results)) == 199


# --- closing --------------------------------------------------------------------------------


def test_results_that_are_open_when_the_storage_is_closed(filled: Path) -> None:
    storage = open_file(filled)
    running = [iter(Town.objects(storage)) for _ in range(3)]
    for results in running:
        next(results)
    storage.close()
    with pytest.raises(StorageClosed):
        list(running[0])
    del running
    with open_file(filled) as storage:
        assert len(numbers(storage)) == 200


def test_closing_while_threads_are_at_work(filled: Path) -> None:
    storage = open_file(filled)

    def read() -> int:
        rounds = 0
        try:
            while True:
                numbers(storage)
                rounds += 1
        except StorageClosed:
            return rounds

    def write() -> int:
        written = 0
        try:
            while True:
                Town(id=1000 + written).save(storage)
                written += 1
        except StorageClosed:
            return written

    def close() -> int:
        while not Town.objects(storage).where(pk=1010).exists():
            pass
        storage.close()
        return 0

    _, written, _, _ = in_threads([read, write, read, close])
    with open_file(filled) as again:
        found = [number for number in numbers(again) if number >= 1000]
    assert found[:written] == list(range(1000, 1000 + written))
    assert len(found) - written in (0, 1), "a batch may be written and not acknowledged"


@pytest.mark.parametrize("ending", ["pass", "sys.exit(0)", "raise SystemExit", "del storage"])
def test_the_interpreter_ends_with_results_open(filled: Path, ending: str) -> None:
    program = f"""
import sys
from pymodels import get_storage
from pymodels.testing.people import Town
storage = get_storage("pymodels.ext.lmdb", path={str(filled)!r})
results = iter(Town.objects(storage))
next(results)
transaction = storage.begin()
Town(id=5000).save(transaction)
prepared = storage.begin()
Town(id=6000).save(prepared)
prepared.prepare()
print("done", flush=True)
{ending}
"""
    ended = run_program(program)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
    with open_file(filled) as storage:
        assert len(numbers(storage)) == 200


def test_the_driver_is_at_hand(filled: Path) -> None:
    with open_file(filled) as storage:
        assert isinstance(storage.native, lmdb.Environment)
        assert storage.native.stat()["psize"] > 0
    with pytest.raises(PyModelsError):
        _ = storage.native


def test_names_with_nul_are_names_of_their_own(tmp_path: Path) -> None:
    class Short(Model, collection="a", indexes=["bag__k", "bag__k\0x"]):
        bag: Field[dict[str, int]] = Field(default_factory=dict)

    class Long(Model, collection="a\0b"):
        number: Field[int] = Field(index=True)

    with get_storage("pymodels.ext.lmdb", path=tmp_path / "names.lmdb") as storage:
        Long(pk="l", number=1).save(storage)
        Short(pk="s", bag={"k": 1, "k\0x": 2}).save(storage)
        assert Short.objects(storage).where(bag__k=2).count() == 0
        assert Short.objects(storage).where(Short.bag["k\0x"] == 2).count() == 1
        assert Long.objects(storage).where(number=1).count() == 1
        assert [*storage.keys(Short), *storage.keys(Long)] == ["s", "l"]
        assert storage.check()


class Member(Model):
    city: Field[str] = Field(index=True)


def test_keys_of_an_index_and_their_records_are_of_one_state(path: Path, monkeypatch: Any) -> None:
    with get_storage("pymodels.ext.lmdb", path=path) as storage:
        ann = Member(pk="ann", city="Rome")
        ann.save(storage)
        people = Member.objects(storage).where(city="Rome")
        assert people.count() == 1
        # As in a process that has opened the table of an index, and not yet that of the records.
        storage.environment.tables.pop(Member.__schema__.table)
        under = Snapshot.under

        def move_meanwhile(view: Snapshot, table: str, entry: bytes) -> list[bytes]:
            found = under(view, table, entry)
            ann.city = "Oslo"
            with ThreadPoolExecutor(1) as other:
                other.submit(ann.save, storage).result()
            return found

        monkeypatch.setattr(Snapshot, "under", move_meanwhile)
        assert [person.city for person in people] == ["Rome"]
        monkeypatch.undo()
        assert people.all() == []
