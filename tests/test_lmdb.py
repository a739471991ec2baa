"""LMDB: misuse, damage and limits give clear errors and lose nothing that was acknowledged."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import lmdb
import pytest

from pymodels import (
    Field,
    Model,
    ModelError,
    OperandInvalid,
    PyModelsError,
    SettingsError,
    StorageBusy,
    StorageClosed,
    StorageError,
    StorageFull,
    StorageInvalid,
    StorageReadOnly,
    get_storage,
)
from pymodels.testing.people import Account, Person, Setting, Town
from pymodels.testing.running import Child, in_child, in_threads

HERE = Path(__file__).parent.parent


def open_file(path: Path, **options: Any) -> Any:
    return get_storage("pymodels.ext.lmdb", path=path, **options)


def numbers(storage: Any) -> list[int]:
    return [town.id for town in Town.objects(storage)]


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=HERE, timeout=60
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.lmdb"


@pytest.fixture
def filled(path: Path) -> Path:
    with open_file(path) as storage:
        storage.save_all([Town(id=n, name="x" * 200) for n in range(200)])
        storage.save_all([Account(pk=str(n), login=str(n)) for n in range(200)])
    return path


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
    with pytest.raises(StorageError):
        open_file(path / "records.lmdb")


@pytest.mark.parametrize("wrong", ["", None, 7, b"x"])
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


def without_privileges(work: Any) -> Any:
    """Run *work* in a child that is not root: root may write everywhere."""

    def run() -> Any:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return work()

    return in_child(run)


@pytest.fixture
def public(tmp_path: Path) -> Any:
    """Let others pass through the folders above, which are the user's alone."""
    changed = []
    for folder in (tmp_path, *tmp_path.parents):
        mode = folder.stat().st_mode
        if not mode & 0o001 and folder.stat().st_uid == os.geteuid():
            changed.append((folder, mode))
            folder.chmod(mode | 0o011)
    yield
    for folder, mode in changed:
        folder.chmod(mode)


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
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        with open_file(path) as storage:
            saved = fill_up(storage)
            assert numbers(storage) == saved
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
            check_after_full(storage, saved)
            return saved

    saved = in_child(work)
    with open_file(path) as storage:
        assert numbers(storage) == [-1, *saved[len(saved) // 2 :]]


def test_a_full_disk_and_no_more_room(path: Path) -> None:
    def work() -> list[int]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        with open_file(path) as storage:
            return fill_up(storage)

    saved = in_child(work)
    with open_file(path, read_only=True) as storage:
        assert numbers(storage) == saved
    with open_file(path) as storage:
        check_after_full(storage, saved)


def test_no_room_for_the_file_itself(path: Path) -> None:
    def work() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        with pytest.raises(StorageError) as caught:
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
