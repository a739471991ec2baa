"""Shelves: what the files hold, taking over those of others, and what each kind of dbm promises."""

from __future__ import annotations

import dbm
import dbm.dumb
import pickle
import shelve
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pymodels import (
    Field,
    Key,
    Model,
    ModelError,
    OperandInvalid,
    RecordInvalid,
    SettingsError,
    StorageClosed,
    StorageInvalid,
    StorageReadOnly,
    get_storage,
)
from pymodels.ext.shelve.engines import ENGINES, has
from pymodels.testing.people import Account, Person, Town
from pymodels.testing.running import Child, in_child

KINDS = [kind for kind in ENGINES if has(kind)]


class Note(Model):
    id: Key[UUID]
    text: Field[str] = ""


class Odd(Model, collection="a:b/ü\0%"):
    text: Field[str] = ""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shelf"


def open_shelf(path: Path, **options: Any) -> Any:
    return get_storage("pymodels.ext.shelve", path=path, **options)


@contextmanager
def dumb(path: Path) -> Iterator[Any]:
    """Open a shelf of dbm.dumb as other programs do."""
    with closing(shelve.Shelf(dbm.dumb.open(str(path), "c"))) as shelf:
        yield shelf


# --- what the files hold --------------------------------------------------------------------


def test_shelve_reads_what_is_saved(path: Path) -> None:
    with open_shelf(path, kind="dbm.dumb") as storage:
        Person(pk="ann", name="Ann", extra=Decimal("1.50")).save(storage)
        Town(id=-7, name="Bath").save(storage)
        Note(id=UUID(int=7), text="x").save(storage)
        Odd(pk="k:\0", text="y").save(storage)
    with dumb(path) as shelf:
        keys = {key for key in shelf if not key.startswith("\0")}
        assert keys == {
            "person:ann",
            "town:-7",
            "note:00000000-0000-0000-0000-000000000007",
            "a%3Ab%2F%C3%BC%00%25:k:\0",
        }
        assert shelf["person:ann"]["name"] == "Ann"
        assert shelf["person:ann"]["extra"] == Decimal("1.50")
        assert shelf["town:-7"] == {"name": "Bath"}
    with open_shelf(path) as storage:
        assert len(storage) == 4
        assert storage.get(Odd, "k:\0").text == "y"
        assert storage.get(Note, UUID(int=7)).text == "x"


def test_the_files_of_sqlite_are_those_of_dbm_sqlite3(path: Path) -> None:
    with open_shelf(path, kind="dbm.sqlite3") as storage:
        Town(id=1, name="Bath").save(storage)
    with closing(sqlite3.connect(path)) as connection:
        ((value,),) = connection.execute("SELECT value FROM Dict WHERE key = ?", [b"town:1"])
        assert pickle.loads(value) == {"name": "Bath"}
        connection.execute("CREATE TABLE other (x)")
    with open_shelf(path) as storage:
        assert storage.get(Town, 1).name == "Bath"


def test_an_sqlite_file_of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (x)")
    with pytest.raises(StorageInvalid, match=r"not one of dbm\.sqlite3"):
        open_shelf(path)


# --- taking over ----------------------------------------------------------------------------


def test_a_shelf_of_plain_dicts_is_taken_over(path: Path) -> None:
    with dumb(path) as shelf:
        shelf["ann"] = {"name": "Ann", "age": 42, "unknown": (1, 2)}
        shelf["person:bob"] = {"name": "Bob"}
    before = {file: file.read_bytes() for file in path.parent.glob("shelf.da*")}
    with open_shelf(path, collection="person", read_only=True) as storage:
        assert Person.objects(storage).get(age=42).pk == "ann"
        assert list(storage.keys(Person)) == ["ann", "person:bob"]
        assert storage.raw(Person, "ann")["unknown"] == (1, 2)
    assert {file: file.read_bytes() for file in before} == before
    with open_shelf(path, collection="person") as storage:
        ann = storage.get(Person, "ann")
        ann.age = 43
        ann.save()
        Town(id=1, name="Bath").save(storage)
    with dumb(path) as shelf:
        assert shelf["ann"] == {"name": "Ann", "age": 43, "unknown": (1, 2)}
        assert set(shelf) >= {"ann", "person:bob", "\0town:1"}
    with open_shelf(path) as storage:
        assert storage.info["collection"] == "person"
        assert list(storage.keys(Person)) == ["ann", "person:bob"]
        assert storage.get(Town, 1).name == "Bath"
        with pytest.raises(OperandInvalid, match="NUL"):
            Person(pk="\0x", name="x").save(storage)
        assert len(storage) == 3
    with pytest.raises(SettingsError, match="'person'"):
        open_shelf(path, collection="town")


@pytest.mark.parametrize(
    ("keys", "texts", "model", "found"),
    [
        ("int", ["10", "-3"], Town, [-3, 10]),
        ("uuid", [str(UUID(int=9))], Note, [UUID(int=9)]),
    ],
)
def test_keys_that_are_no_text(
    path: Path, keys: str, texts: list[str], model: Any, found: list[Any]
) -> None:
    with dumb(path) as shelf:
        for text in texts:
            shelf[text] = {"name": "x", "text": "x"}
    name = model.__schema__.collection
    with open_shelf(path, collection=name, keys=keys) as storage:
        assert list(storage.keys(model)) == found
    with open_shelf(path, collection=name) as storage, pytest.raises(ModelError, match="text"):
        list(storage.keys(model))
    with dumb(path) as shelf:
        shelf["007"] = {}
    with pytest.raises(StorageInvalid, match=f"'007' is no key.*{keys}"):
        open_shelf(path, collection=name, keys=keys)


def test_a_shelf_of_somebody_else_has_to_be_named(path: Path) -> None:
    with dumb(path) as shelf:
        shelf["ann"] = {"name": "Ann"}
    with pytest.raises(StorageInvalid, match=r"'ann'.*collection=\.\.\."):
        open_shelf(path)
    with dumb(path) as shelf:
        assert dict(shelf) == {"ann": {"name": "Ann"}}


def test_what_is_no_record_is_named_and_never_skipped(path: Path) -> None:
    with dumb(path) as shelf:
        shelf["ann"] = {"name": "Ann"}
        shelf["count"] = 7
    with open_shelf(path, collection="person") as storage:
        assert storage.get(Person, "ann").name == "Ann"
        with pytest.raises(RecordInvalid, match=r"person 'count'.*expected a dict.*int") as caught:
            list(Person.objects(storage))
        assert (caught.value.collection, caught.value.key) == ("person", "count")
    with dumb(path) as shelf:
        del shelf["count"]
    with open_shelf(path, collection="person") as storage:
        assert [person.pk for person in Person.objects(storage)] == ["ann"]


# --- hostile entries ------------------------------------------------------------------------


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_that_would_run_code(path: Path, kind: str) -> None:
    trace = path.with_name("trace")
    with open_shelf(path, kind=kind) as storage:
        Person(pk="ann", name="Ann").save(storage)
        storage.native[b"person:bob"] = pickle.dumps({"name": Calls(trace.touch)})
        storage.native[b"person:eve"] = pickle.dumps(Calls(eval, f"open({str(trace)!r}, 'w')"))
    for read_only in (True, False):
        with open_shelf(path, read_only=read_only) as storage:
            assert storage.get(Person, "ann").name == "Ann"
            for key, asked in (("bob", "getattr|pathlib"), ("eve", r"builtins\.eval")):
                with pytest.raises(StorageInvalid, match=asked) as caught:
                    storage.get(Person, key)
                assert f"person:{key}" in str(caught.value)
                with pytest.raises(StorageInvalid):
                    storage.raw(Person, key)
            with pytest.raises(StorageInvalid):
                Person.objects(storage).count(), list(Person.objects(storage))
    assert not trace.exists()


def test_hostile_entries_of_pymodels_itself(path: Path) -> None:
    trace = path.with_name("trace")
    with open_shelf(path, kind="dbm.sqlite3") as storage:
        Town(id=1).save(storage)
        storage.native[b"\0:pymodels:format"] = pickle.dumps(Calls(trace.touch))
    with pytest.raises(StorageInvalid, match=r"getattr|pathlib"):
        open_shelf(path)
    assert not trace.exists()


def test_a_shelf_of_a_later_format(path: Path) -> None:
    with open_shelf(path, kind="dbm.sqlite3") as storage:
        Town(id=1).save(storage)
        storage.native[b"\0:pymodels:format"] = pickle.dumps(b"99")
    with pytest.raises(StorageInvalid, match="newer PyModels"):
        open_shelf(path)


# --- kinds of dbm ---------------------------------------------------------------------------


def test_durable_is_declared_where_it_is_true(tmp_path: Path) -> None:
    durable = {"dbm.sqlite3", "dbm.gnu"}
    assert {kind for kind, engine in ENGINES.items() if engine.durable} == durable
    for kind in KINDS:
        with open_shelf(tmp_path / kind, kind=kind) as storage:
            Town(id=1).save(storage)
            assert ("durable" in storage.capabilities) == (kind in durable)
            assert storage.info["durable"] == (kind in durable)
            assert storage.info["engine"] == kind
            assert all(storage.info[one] for one in ("save", "sync", "close"))
            assert Town.objects(storage).explain().details["engine"] == kind
            assert str(tmp_path / kind) in str(Town.objects(storage).explain())
        with pytest.raises(StorageClosed):
            _ = storage.info


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_synced_survives_a_kill(path: Path, kind: str) -> None:
    def work() -> None:
        storage = open_shelf(path, kind=kind)
        storage.save_all([Town(id=number) for number in range(20)])
        storage.sync()
        import os

        os.kill(os.getpid(), 9)

    with pytest.raises(ChildProcessError, match="SIGKILL"):
        in_child(work)
    with open_shelf(path) as storage:
        assert list(storage.keys(Town)) == list(range(20))


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_is_found_again(path: Path, kind: str) -> None:
    with open_shelf(path, kind=kind) as storage:
        Account(pk="a", login="x").save(storage)
    with open_shelf(path) as storage:
        assert storage.info["engine"] == kind
        assert Account.objects(storage).get(login="x").pk == "a"
    other = "dbm.dumb" if kind != "dbm.dumb" else "dbm.sqlite3"
    with pytest.raises(SettingsError, match=f"is a {kind} file"):
        open_shelf(path, kind=other)


def test_a_new_file_is_of_the_kind_that_python_chooses(tmp_path: Path) -> None:
    with dbm.open(str(tmp_path / "by dbm"), "c"):
        pass
    with open_shelf(tmp_path / "ours") as storage:
        assert storage.info["engine"] == dbm.whichdb(str(tmp_path / "by dbm"))


def test_files_that_lack_one_of_them(path: Path) -> None:
    with open_shelf(path, kind="dbm.dumb") as storage:
        Town(id=1).save(storage)
    path.with_name("shelf.dir").unlink()
    path.with_name("shelf.bak").unlink(missing_ok=True)
    with pytest.raises(StorageInvalid, match=r"shelf\.dat is there"):
        open_shelf(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "gdbm"}, r"kind is one of dbm\.sqlite3"),
        ({"keys": "float"}, "keys is one of text, int, uuid"),
        ({"collection": ""}, "name of a collection"),
        ({"read_only": 1}, "True or False"),
        ({"path": 7}, "name of a file"),
    ],
)
def test_wrong_settings(path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        open_shelf(**{"path": path, **options})


# --- forks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_copy_of_a_child_stays_out_of_the_file(path: Path, kind: str) -> None:
    storage = open_shelf(path, kind=kind)
    Town(id=1, name="Bath").save(storage)

    def work() -> tuple[list[int], Any]:
        Town(id=2).save(storage)
        return list(storage.keys(Town)), dict(storage.info)

    found, info = in_child(work)
    assert found == [1, 2]
    assert info["save"] == "nothing: this is a copy, made by a fork"
    assert not info["durable"]
    child = Child(lambda: storage.get(Town, 1).name, waits=True)
    storage.close()
    with open_shelf(path) as again:  # the child does not hold the lock
        Town(id=3).save(again)
        child.go()
        assert child.result() == "Bath"
        assert list(again.keys(Town)) == [1, 3]


def test_a_reader_writes_nothing(path: Path) -> None:
    with open_shelf(path, kind="dbm.sqlite3") as storage:
        Town(id=1).save(storage)
    with open_shelf(path, read_only=True) as storage:
        with pytest.raises(StorageReadOnly):
            Town(id=2).save(storage)
        with pytest.raises(sqlite3.OperationalError):
            storage.native[b"x"] = b"y"
