"""What check() says of an LMDB file in which somebody else has written, and what it mends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymodels import Field, Model, RecordInvalid, StorageInvalid, UsageError, get_storage
from tests.lmdb_files import open_file


class Person(Model):
    name: Field[str] = Field(index=True)


class Account(Model):
    login: Field[str] = Field(unique=True)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Any]:
    with open_file(tmp_path / "people.lmdb") as storage:
        storage.save_all([Person(pk=key, name=key) for key in "ab"])
        storage.save_all([Account(pk=key, login=key) for key in "ab"])
        yield storage


def put(storage: Any, table: str, key: bytes, value: bytes) -> None:
    with storage.native.begin(write=True) as transaction:
        handle = storage.native.open_db(table.encode(), txn=transaction, create=False)
        transaction.put(key, value, db=handle)


@pytest.mark.parametrize("stored", [b"\xc1", b"\x01", b"", b"\x91\x01"])
def test_a_record_that_cannot_be_read_is_named_and_can_be_deleted(
    storage: Any, stored: bytes
) -> None:
    put(storage, "records:account", b"a", stored)
    found = storage.check()
    assert not found
    assert any("account 'a' cannot be read" in problem for problem in found.problems)
    mended = storage.check(repair=True)
    assert mended.repaired
    left = storage.check(repair=True)
    assert not left.repaired
    assert len(left.problems) == 1
    with pytest.raises(RecordInvalid, match="'a'"):
        Account.objects(storage).all()
    assert storage.delete_many(Account, ["a"]) == 1
    assert storage.check()
    Account(pk="c", login="a").save(storage)


def test_a_record_that_cannot_be_read_can_be_deleted_by_a_query(storage: Any) -> None:
    put(storage, "records:account", b"a", b"\xc1")
    assert Account.objects(storage).where(pk="a").delete() == 1
    assert Account.objects(storage).values("pk") == ["b"]
    assert storage.check(repair=True).repaired
    assert storage.check()


def test_a_key_in_an_index_that_is_none_is_named_and_mended(storage: Any) -> None:
    with storage.native.begin(write=True) as transaction:
        handle = storage.native.open_db(
            b"index:person:name", txn=transaction, create=False, dupsort=True
        )
        transaction.put(b"x", b"\xff", db=handle)
    found = storage.check()
    assert found.problems == [
        r"person, index on name: with the key b'\xff', which is none, is there wrongly"
    ]
    assert storage.check(repair=True).repaired
    assert storage.check()


def test_damaged_memory_of_a_collection_is_told_of(storage: Any) -> None:
    put(storage, "meta", b"collection:person", b"\xc1")
    for ask in (Person.objects(storage).all, storage.check, lambda: Person(name="x").save(storage)):
        with pytest.raises(StorageInvalid, match="collection 'person' is damaged"):
            ask()
    assert Account.objects(storage).count() == 2


@pytest.mark.parametrize("written", [b"x", b"", b"-1"])
def test_a_format_that_is_none_is_told_of(tmp_path: Path, storage: Any, written: bytes) -> None:
    put(storage, "meta", b"format", written)
    storage.close()
    with pytest.raises(StorageInvalid, match=r"format .*, which is none"):
        open_file(tmp_path / "people.lmdb")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.build_indexes("Person"), "'Person' is no model: give the class itself"),
        (lambda s: s.build_indexes(Person(name="x")), "is no model: give the class itself"),
        (lambda s: s.build_indexes(Person, progress=3), "progress is a function .*, not 3"),
        (lambda s: s.drop_indexes("Person"), "'Person' is no model: give the class itself"),
        (lambda s: s.drop_indexes(Person, 3), "names of indexes, not 3"),
        (lambda s: s.drop_indexes(Person, ["name"]), r"names of indexes, not \['name'\]"),
    ],
)
@pytest.mark.parametrize("backend", ["lmdb", "memory"])
def test_what_cannot_be_built_or_dropped(
    tmp_path: Path, backend: str, call: Any, message: str
) -> None:
    settings = {"path": tmp_path / "x.lmdb"} if backend == "lmdb" else {}
    with (
        get_storage(f"pymodels.ext.{backend}", **settings) as storage,
        pytest.raises(UsageError, match=message),
    ):
        call(storage)
