"""LMDB: paths, permissions and files that will not do give clear errors, and kill nobody."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread
from typing import Any

import lmdb
import pytest

from pymodels import (
    SettingsError,
    StorageBusy,
    StorageError,
    StorageInvalid,
    StorageReadOnly,
    get_storage,
)
from pymodels.testing.people import Account, Setting, Town
from pymodels.testing.running import Child, Signal, in_child
from tests.lmdb_files import fill, numbers, open_file
from tests.privileges import without_privileges


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.lmdb"


@pytest.fixture
def filled(path: Path) -> Path:
    return fill(path)


def test_names_of_another_program_beside_the_tables(filled: Path) -> None:
    with lmdb.open(str(filled), subdir=False, max_dbs=4) as file:
        for table in (b"theirs", b"meta\xff", b"records:\xff"):
            file.open_db(table)
        with file.begin(write=True) as transaction:
            for key in (b"\xff", b"metadata", b"index:x", b"records:", b"meta\0x"):
                transaction.put(key, b"no table")
    with open_file(filled) as storage:
        assert numbers(storage) == list(range(200))
        known = storage.environment.tables.keys()
        assert known >= {"meta", "records:town"}
        assert not known & {"theirs", "metadata", "index:x", "records:"}


def test_another_file_is_opened_while_one_waits_for_a_writer(filled: Path, tmp_path: Path) -> None:
    begun, done = Signal(), Signal()

    def write() -> None:
        with open_file(filled) as storage, storage.native.begin(write=True):
            begun.give()
            done.wait()

    found: list[list[int]] = []

    def wait() -> None:
        with open_file(filled) as storage:
            found.append(numbers(storage))

    child = Child(write)
    begun.wait()
    waiting = Thread(target=wait)
    waiting.start()
    waiting.join(0.2)
    with open_file(tmp_path / "another.lmdb") as storage:
        Town(id=1).save(storage)
        assert numbers(storage) == [1]
    assert not found
    done.give()
    child.result()
    waiting.join(10)
    assert found == [list(range(200))]


# --- paths and permissions ------------------------------------------------------------------


def test_a_parent_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="create it first"):
        open_file(tmp_path / "no" / "records.lmdb")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_as_path(tmp_path: Path) -> None:
    with pytest.raises(StorageInvalid, match="folder"):
        open_file(tmp_path)


def test_a_file_as_parent(path: Path) -> None:
    path.write_text("not a folder")
    with pytest.raises(StorageError, match="is a file, no folder"):
        open_file(path / "records.lmdb")


def test_a_pipe_as_path(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(StorageInvalid, match="a device or a pipe"):
        open_file(path)


def test_a_folder_in_the_place_of_the_lock_file(path: Path) -> None:
    path.with_name(f"{path.name}-lock").mkdir()
    with pytest.raises(StorageError, match=r"its lock file, .* is a folder"):
        open_file(path)


def test_more_address_space_than_there_is(path: Path) -> None:
    with pytest.raises(StorageError, match="smaller one"):
        open_file(path, map_size=2**47)


def test_nothing_is_synced_that_cannot_be_written(filled: Path) -> None:
    with (
        open_file(filled, read_only=True) as storage,
        pytest.raises(StorageReadOnly, match="read_only=True"),
    ):
        storage.sync()


@pytest.mark.parametrize("between", [[], ["other"], ["other", "third"]], ids=len)
def test_a_link_to_itself(path: Path, between: list[str]) -> None:
    links = [path, *(path.with_name(name) for name in between)]
    for link, target in zip(links, [*links[1:], path], strict=True):
        link.symlink_to(target)
    with pytest.raises(StorageError, match="leads to itself"):
        open_file(path)


@pytest.mark.parametrize("wrong", ["", None, 7, b"x", "\ud800"])
def test_a_path_that_is_no_path(wrong: Any) -> None:
    with pytest.raises(SettingsError, match="path"):
        open_file(wrong)


def test_a_path_as_text_and_relative(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with get_storage("pymodels.ext.lmdb", path=path.name) as storage:
        Town(id=1).save(storage)
        monkeypatch.chdir("/")
        Town(id=2).save(storage)
        with open_file(path) as same:
            assert numbers(same) == [1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"map_size": 0}, "map_size"),
        ({"map_size": -1}, "map_size"),
        ({"map_size": "big"}, "map_size"),
        ({"max_tables": 0}, "max_tables"),
        ({"max_tables": "many"}, "max_tables"),
        ({"max_readers": 0}, "max_readers"),
        ({"max_readers": 1}, "max_readers"),
        ({"max_readers": None}, "max_readers"),
        ({"read_only": "yes"}, "read_only"),
        ({"mapsize": 1}, "mapsize"),
    ],
)
def test_settings_that_will_not_do(path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        open_file(path, **options)
    assert not path.exists()


def test_a_path_is_needed() -> None:
    with pytest.raises(SettingsError, match="path"):
        get_storage("pymodels.ext.lmdb")


def test_reading_only_what_does_not_exist(path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        open_file(path, read_only=True)
    assert list(path.parent.iterdir()) == []


def test_reading_only(filled: Path) -> None:
    before = filled.read_bytes()
    with open_file(filled, read_only=True) as storage:
        assert numbers(storage) == list(range(200))
        assert Account.objects(storage).get(login="7").pk == "7"
        assert Setting.objects(storage).count() == 0
        with pytest.raises(StorageReadOnly):
            Town(id=1000).save(storage)
        with pytest.raises(StorageReadOnly):
            storage.clear()
    assert filled.read_bytes() == before


@pytest.mark.usefixtures("public")
def test_a_file_that_may_not_be_written(filled: Path) -> None:
    filled.chmod(0o444)
    lock = filled.with_name(f"{filled.name}-lock")
    lock.chmod(0o444)
    filled.parent.chmod(0o555)

    def work() -> str:
        with pytest.raises(StorageReadOnly, match="permissions"):
            open_file(filled)
        try:
            with open_file(filled, read_only=True) as storage:
                return str(len(numbers(storage)))
        except StorageReadOnly as error:
            return str(error)

    said = without_privileges(work)
    assert said == "200" or "permissions" in said
    filled.parent.chmod(0o755)


@pytest.mark.usefixtures("public")
def test_a_folder_that_may_not_be_written(path: Path) -> None:
    path.parent.chmod(0o555)

    def work() -> None:
        with pytest.raises(StorageReadOnly, match="permissions"):
            open_file(path)

    without_privileges(work)
    path.parent.chmod(0o755)
    assert not path.exists()


@pytest.mark.usefixtures("public")
def test_a_file_that_may_not_be_read(filled: Path) -> None:
    filled.chmod(0o000)

    def work() -> None:
        with pytest.raises(StorageError):
            open_file(filled, read_only=True)

    without_privileges(work)
    filled.chmod(0o644)
    with open_file(filled) as storage:
        assert len(numbers(storage)) == 200


# --- files that are something else ----------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"SQLite format 3\0" * 1000, b"x", b"\0" * 100, b"\xff" * 70_000, os.urandom(40_000)],
    ids=["another", "one byte", "short", "ones", "noise"],
)
def test_a_foreign_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    def work() -> None:
        for read_only in (False, True):
            with pytest.raises(StorageInvalid):
                open_file(path, read_only=read_only)

    in_child(work)
    assert path.read_bytes() == content


def test_an_empty_file(path: Path) -> None:
    path.touch()

    def work() -> list[int]:
        with open_file(path) as storage:
            Town(id=1).save(storage)
        with open_file(path, read_only=True) as storage:
            return numbers(storage)

    assert in_child(work) == [1]


def test_reading_only_an_empty_file(path: Path) -> None:
    path.touch()

    def work() -> None:
        with pytest.raises(StorageInvalid):
            open_file(path, read_only=True)

    in_child(work)
    assert path.stat().st_size == 0


def use(path: Path, read_only: bool) -> str:
    """Open a file that may be damaged, read it all and write; say how that went."""
    try:
        with open_file(path, read_only=read_only) as storage:
            found = numbers(storage), Account.objects(storage).count()
            list(storage.raw_records(Account))
            if not read_only:
                storage.save_all([Town(id=1000 + n, name="y" * 500) for n in range(50)])
            return "whole" if found == (list(range(200)), 200) else "lost records in silence"
    except StorageInvalid:
        return "invalid"


@pytest.mark.parametrize("read_only", [False, True])
def test_a_truncated_file(filled: Path, read_only: bool) -> None:
    content = filled.read_bytes()
    lengths = {0, 1, 100, 4095, 4096, 4097, 8191, 8192, 8193, 12288, len(content) - 1}
    lengths |= {len(content) * part // 16 for part in range(1, 16)}
    lengths |= {len(content) - 4096, len(content) - 8192}
    said = {}
    for length in sorted(lengths):
        filled.with_name(f"{filled.name}-lock").unlink(missing_ok=True)
        filled.write_bytes(content[:length])
        said[length] = in_child(lambda: use(filled, read_only))
    if not read_only:
        assert said.pop(0) == "lost records in silence", "an empty file is a new one"
    assert set(said.values()) == {"invalid"}
    filled.write_bytes(content)
    assert in_child(lambda: use(filled, read_only)) == "whole"


def test_a_file_that_lacks_nothing_but_free_pages(path: Path) -> None:
    """LMDB does not write pages that a batch frees again: killed then, a writer loses nothing."""
    with lmdb.open(str(path), subdir=False, max_dbs=20) as environment:
        table = environment.open_db(b"records:town")
        with environment.begin(write=True, db=table) as transaction:
            for number in range(100):
                transaction.put(b"%08d" % number, b"x" * 3000)
        is_short = False
        for count in range(100, 300, 20):
            keys = [b"q%07d" % int(text) for text in sorted(map(str, range(count)))]
            with environment.begin(write=True, db=table) as transaction:
                for key in keys:
                    transaction.put(key, b"x" * 3000)
                for key in reversed(keys):
                    transaction.delete(key)
            needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            is_short = path.stat().st_size < needed
            if is_short:
                break
    assert is_short, "this is what the test is about"
    for read_only in (True, False):
        with open_file(path, read_only=read_only) as storage:
            assert len(list(storage.keys(Town))) == 100
    with open_file(path) as storage:
        storage.delete_many(Town, list(storage.keys(Town)))
        storage.save_all([Town(id=n, name="y" * 3000) for n in range(300)])
    assert in_child(lambda: numbers(open_file(path))) == list(range(300))


def test_a_file_of_a_later_format(filled: Path) -> None:
    with lmdb.open(str(filled), subdir=False, max_dbs=20) as environment:
        meta = environment.open_db(b"meta", create=False)
        with environment.begin(write=True) as transaction:
            assert transaction.get(b"format", db=meta) == b"1"
            transaction.put(b"format", b"2", db=meta)
    for read_only in (False, True):
        with pytest.raises(StorageInvalid, match="newer PyModels"):
            open_file(filled, read_only=read_only)
    with lmdb.open(str(filled), subdir=False, max_dbs=20) as environment:
        meta = environment.open_db(b"meta", create=False)
        with environment.begin(write=True) as transaction:
            transaction.put(b"format", b"1", db=meta)
    with open_file(filled) as storage:
        assert len(numbers(storage)) == 200


# --- what becomes of a file that is open ----------------------------------------------------


def gone(path: Path) -> None:
    path.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere.lmdb"))


def replaced(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"somebody else's")


@pytest.mark.parametrize("change", [gone, moved, replaced])
def test_a_file_that_is_not_where_it_was(path: Path, change: Any) -> None:
    storage = open_file(path)
    Town(id=1).save(storage)
    change(path)
    content = path.read_bytes() if path.exists() else None
    many = [Town(id=number, name="x" * 200) for number in range(2, 2000)]
    for write in (
        lambda: storage.save_all(many),
        lambda: Town(id=2).save(storage),
        lambda: Town.objects(storage).delete(),
        lambda: Town.objects(storage).update(name="none"),
    ):
        with pytest.raises(StorageError, match=r"while it was open.*Nothing of this batch was"):
            write()
    assert numbers(storage) == [1]
    storage.close()
    assert (path.read_bytes() if path.exists() else None) == content
    if change is moved:
        with open_file(path.with_name("elsewhere.lmdb")) as there:
            assert numbers(there) == [1]


def test_a_new_file_in_the_place_of_one_that_is_open(path: Path) -> None:
    with open_file(path) as storage:
        Town(id=1).save(storage)
        path.unlink()
        with pytest.raises(StorageBusy, match=r"deleted or replaced it. Close that storage first"):
            open_file(path)
        path.with_name(f"{path.name}-lock").unlink()
        with open_file(path) as other:
            assert numbers(other) == []
            Town(id=2).save(other)
            assert numbers(storage) == [1]
    with open_file(path) as again:
        assert numbers(again) == [2]


def test_two_names_of_one_file(path: Path) -> None:
    with open_file(path) as storage:
        Town(id=1).save(storage)
        other = path.with_name("other.lmdb")
        other.hardlink_to(path)
        linked = open_file(other)
        Town(id=2).save(linked)
        assert numbers(storage) == [1, 2]
    path.unlink()
    linked.save_all([Town(id=number, name="x" * 200) for number in range(3, 2000)])
    assert len(numbers(linked)) == 1999
    linked.close()
    with open_file(other) as again:
        assert len(numbers(again)) == 1999


def test_a_link_has_the_lock_file_of_what_it_leads_to(path: Path) -> None:
    path.with_name("link.lmdb").symlink_to(path)
    with open_file(path.with_name("link.lmdb")) as storage:
        Town(id=1).save(storage)
    assert sorted(one.name for one in path.parent.iterdir()) == [
        "link.lmdb",
        path.name,
        f"{path.name}-lock",
    ]
