"""Any mapping of bytes as a storage: whole batches, whatever fails or is killed, and forks."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pymodels import (
    DuplicateKey,
    SettingsError,
    StorageBusy,
    StorageClosed,
    StorageError,
    StorageFull,
    StorageInvalid,
    StorageReadOnly,
    TransactionError,
    mappings,
)
from pymodels.mappings import JOURNAL, MappingStorage
from pymodels.storage import Storage
from pymodels.testing import BatchTests, ProcessTests
from pymodels.testing.people import Account, Device, Person, Town
from pymodels.testing.running import Child, in_child, in_threads


class TestInADict(BatchTests, ProcessTests):
    def make(self, path: Path) -> Storage:
        return MappingStorage(dict, name=f"dict {path.name}")


class Failing(dict[bytes, bytes]):
    """Fails at one of its writes, and then perhaps at others; keeps what each write made."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.until: int | None = None
        self.times = 0
        self.error: Exception = OSError(errno.ENOSPC, "No space left on device")
        self.states: list[dict[bytes, bytes]] = []

    def _count(self) -> None:
        if self.until is not None:
            if self.until <= 0 < self.times:
                self.times -= 1
                raise self.error
            self.until -= 1

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._count()
        super().__setitem__(key, value)
        self.states.append(dict(self))

    def __delitem__(self, key: bytes) -> None:
        self._count()
        super().__delitem__(key)
        self.states.append(dict(self))


def open_dict(held: MutableMapping[bytes, bytes], **options: Any) -> Any:
    return MappingStorage(lambda: held, name="a dict", **options)


def filled() -> Failing:
    held = Failing()
    with open_dict(held) as storage:
        storage.save_all([Town(id=n, name=f"town {n}") for n in range(4)])
        storage.save_all([Account(pk=str(n), login=str(n)) for n in range(4)])
    held.states.clear()
    return held


def change(storage: Any) -> None:
    """Write one batch: two new records, one changed, one deleted, and unique values passed on."""
    with storage.transaction():
        storage.save_all([Town(id=10), Town(id=11)])
        town = storage.get(Town, 1)
        town.name = "changed"
        town.save()
        storage.delete_many(Town, [2])
        one, other = storage.get(Account, "0"), storage.get(Account, "1")
        one.login, other.login = other.login, one.login
        storage.save_all([one, other])


BEFORE = (
    {0: "town 0", 1: "town 1", 2: "town 2", 3: "town 3"},
    {"0": "0", "1": "1", "2": "2", "3": "3"},
)
AFTER = (
    {0: "town 0", 1: "changed", 3: "town 3", 10: "", 11: ""},
    {"0": "1", "1": "0", "2": "2", "3": "3"},
)


def contents(storage: Any) -> Any:
    """Return what is there, and make sure that lookups by unique value agree with it."""
    towns = {town.id: town.name for town in Town.objects(storage)}
    logins = {one.pk: one.login for one in Account.objects(storage)}
    for key, login in logins.items():
        assert Account.objects(storage).get(login=login).pk == key
    assert storage.get_many(Town, list(towns)).keys() == towns.keys()
    return towns, logins


# --- whole or not at all --------------------------------------------------------------------


def test_a_batch_that_a_kill_cuts_short_is_taken_back() -> None:
    held = filled()
    with open_dict(held) as storage:
        change(storage)
        assert contents(storage) == AFTER
    assert len(held.states) == 8, "six entries and the journal, made and removed"
    found = []
    for state in held.states:
        with open_dict(dict(state)) as storage:
            found.append(contents(storage))
            Town(id=99).save(storage)
    assert found == [BEFORE] * 7 + [AFTER]


def test_without_a_journal_a_kill_leaves_half_a_batch() -> None:
    class Plain(MappingStorage):
        journal = False

    held = filled()
    with Plain(lambda: held, name="plain") as storage:
        change(storage)
    found = []
    for state in held.states:
        with Plain(lambda state=state: dict(state), name="plain") as storage:  # type: ignore[misc]
            found.append({town.id: town.name for town in Town.objects(storage)})
    assert AFTER[0] in found
    assert any(one not in (BEFORE[0], AFTER[0]) for one in found)


def test_a_reader_says_that_a_batch_has_to_be_taken_back() -> None:
    held = filled()
    with open_dict(held) as storage:
        change(storage)
    state = dict(held.states[3])
    with pytest.raises(StorageError, match="open it for writing once"):
        open_dict(state, read_only=True)
    open_dict(state).close()
    with open_dict(state, read_only=True) as storage:
        assert contents(storage) == BEFORE


def test_a_journal_that_a_kill_cut_short_says_nothing() -> None:
    held = dict(filled())
    held[JOURNAL] = b"half of a journal"
    with open_dict(held) as storage:
        assert contents(storage) == BEFORE
    assert JOURNAL not in held


@pytest.mark.parametrize("times", [1, 2, 100])
@pytest.mark.parametrize("at", range(8))
def test_a_write_that_fails_leaves_nothing_of_its_batch(at: int, times: int) -> None:
    held = filled()
    opened: list[Failing] = []

    def open_again() -> Failing:
        # What opens it anew can write again, as a database does that was only out of step.
        opened.append(Failing(held) if opened else held)
        held.times = 0 if len(opened) > 1 else held.times
        return opened[-1]

    with MappingStorage(open_again, name="a dict") as storage:
        revision = storage.revision
        held.until, held.times = at, times
        with pytest.raises(StorageFull, match="full"):
            change(storage)
        held.until = None
        assert contents(storage) == BEFORE
        assert storage.revision == revision
        change(storage)
        assert contents(storage) == AFTER
    with open_dict(opened[-1]) as storage:
        assert contents(storage) == AFTER


def test_what_can_neither_be_written_nor_taken_back() -> None:
    held = filled()
    with open_dict(held) as storage:
        held.until, held.times = 3, 10**6
        with pytest.raises(StorageFull):
            change(storage)
        for use in (lambda: contents(storage), lambda: Town(id=5).save(storage)):
            with pytest.raises(StorageError, match="open it again"):
                use()
    held.until = None
    with open_dict(held) as storage:
        assert contents(storage) == BEFORE


def test_the_mappings_own_transactions() -> None:
    class Transactional(Failing):
        @contextmanager
        def transact(self) -> Iterator[None]:
            before = dict(self)
            try:
                yield
            except BaseException:
                self.clear()
                self.update(before)
                raise

    class Store(MappingStorage):
        def atomically(self) -> Any:
            return self.native.transact()

    held = Transactional(filled())
    with Store(lambda: held, name="transactional") as storage:
        for at in range(6):
            held.until, held.times = at, 1
            with pytest.raises(StorageFull):
                change(storage)
            held.until = None
            assert contents(storage) == BEFORE
            assert held == filled()
        held.states.clear()
        change(storage)
        assert len(held.states) == 6, "no journal is needed"
        assert contents(storage) == AFTER


def test_each_step_is_synced_where_that_is_asked_for() -> None:
    class Synced(dict[bytes, bytes]):
        syncs = 0

        def sync(self) -> None:
            self.syncs += 1

    class Store(MappingStorage):
        syncs = True

    held = Synced()
    with Store(lambda: held, name="synced") as storage:
        storage.save_all([Town(id=1), Town(id=2)])
        assert held.syncs == 3, "the journal, the batch, and the end of the journal"
        Town(id=3).save(storage)
        assert held.syncs == 4, "one entry needs no journal"
        storage.sync()
        assert held.syncs == 5
    with pytest.raises(StorageClosed):
        storage.sync()


# --- what the mapping raises ----------------------------------------------------------------


class Broken(Exception):
    """Raised by a driver."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Broken("of its own"), StorageError),
        (OSError(errno.ENOSPC, "full"), StorageFull),
        (OSError(errno.EROFS, "read-only"), StorageReadOnly),
        (OSError(errno.EAGAIN, "again"), StorageBusy),
        (OSError(errno.EIO, "broken"), StorageError),
        (ZeroDivisionError("division"), StorageError),
    ],
)
def test_errors_of_the_mapping(error: Exception, expected: type[Exception]) -> None:
    held = filled()
    with open_dict(held) as storage:
        held.error, held.until, held.times = error, 0, 1
        with pytest.raises(StorageError) as caught:
            Town(id=7).save(storage)
        assert type(caught.value) is expected
        assert caught.value.__cause__ is error
        assert "a dict" in str(caught.value)

        def fail(key: bytes) -> bytes:
            raise error

        storage._mapping = type("Unreadable", (dict,), {"__getitem__": lambda self, key: fail(key)})
        storage._mapping = storage._mapping(held)
        with pytest.raises(expected) as caught:
            storage.get(Town, 3)
        assert caught.value.__cause__ is error
        storage._mapping = held


def test_errors_that_a_backend_names() -> None:
    class Store(MappingStorage):
        driver_errors: ClassVar[Any] = {Broken: StorageBusy}

    held = filled()
    with Store(lambda: held, name="named") as storage:
        held.error, held.until, held.times = Broken("taken"), 0, 1
        with pytest.raises(StorageBusy, match="taken"):
            Town(id=7).save(storage)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Broken("no such format"), StorageInvalid),
        (OSError(errno.EACCES, "no"), StorageReadOnly),
        (FileNotFoundError(errno.ENOENT, "none"), StorageError),
        (StorageBusy("taken"), StorageBusy),
    ],
)
def test_a_mapping_that_cannot_be_opened(
    tmp_path: Path, error: Exception, expected: type[Exception]
) -> None:
    def fail() -> Any:
        raise error

    with pytest.raises(StorageError) as caught:
        MappingStorage(fail, name="broken", lock=tmp_path / "lock")
    assert type(caught.value) is expected
    MappingStorage(dict, name="whole", lock=tmp_path / "lock").close()  # the lock was given back


@pytest.mark.parametrize("entry", [b"some key", b"\xff\0x", b"unique:town:x\0y", "text"])
def test_a_mapping_that_somebody_else_uses(entry: Any) -> None:
    closed: list[bool] = []

    class Held(dict[Any, Any]):
        def close(self) -> None:
            closed.append(True)

    with pytest.raises(StorageInvalid, match="place of its own"):
        MappingStorage(lambda: Held({**filled(), entry: b"x"}), name="shared")
    assert closed == [True]


def test_a_mapping_of_a_later_format() -> None:
    held = filled()
    held[b"meta\0format"] = b"2"
    with pytest.raises(StorageInvalid, match="newer PyModels"):
        open_dict(held)


def test_read_only_is_true_or_false() -> None:
    with pytest.raises(SettingsError, match="read_only"):
        open_dict({}, read_only="yes")


# --- indexes, which are in memory -----------------------------------------------------------


def test_indexes_are_made_anew_when_it_is_opened() -> None:
    held = filled()
    assert not any(entry.startswith(b"unique") for entry in held)
    with open_dict(held) as storage:
        assert "unique index" in str(Account.objects(storage).where(login="3").explain())
        with pytest.raises(DuplicateKey):
            Account(pk="x", login="3").save(storage)


def test_values_that_somebody_has_repeated() -> None:
    held = filled()
    held[b"records:account\x009"] = held[b"records:account\x003"]
    with open_dict(held) as storage:
        assert Account.objects(storage).where(login="3").count() == 2
        with pytest.raises(DuplicateKey, match="'3'"):
            Account(pk="x", login="x").save(storage)
        storage.delete_many(Town, [0])
    del held[b"records:account\x009"]
    with open_dict(held) as storage:
        Account(pk="x", login="x").save(storage)
        with pytest.raises(DuplicateKey):
            Account(pk="y", login="3").save(storage)


# --- names, threads, locks and forks --------------------------------------------------------


def test_names_of_collections_may_be_anything() -> None:
    from pymodels import Field, Model

    held: dict[bytes, bytes] = {}
    models = []
    for name in ("a\0b", "a%00b", "a:b", "é%", "a"):

        class One(Model, collection=name):
            name: Field[str]

        models.append(One)
    with open_dict(held) as storage:
        for number, model in enumerate(models):
            model(pk="\0b", name=str(number)).save(storage)
    with open_dict(held) as storage:
        assert [model.objects(storage).get("\0b").name for model in models] == list("01234")
        assert len(storage) == 5


def test_one_thread_at_a_time_uses_the_mapping() -> None:
    class Alone(dict[bytes, bytes]):
        used = 0
        overlapped = False

        def __getitem__(self, key: bytes) -> bytes:
            Alone.used += 1
            Alone.overlapped |= Alone.used > 1
            threading.Event().wait(0.0005)
            Alone.used -= 1
            return super().__getitem__(key)

    storage = open_dict(Alone(filled()))
    in_threads([lambda: contents(storage)] * 4)
    assert not Alone.overlapped


def test_values_that_were_read_leave_memory_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mappings, "_MOST_CACHED", 10_000)
    with open_dict({}) as storage:
        storage.save_all([Town(id=n, name="x" * 1000) for n in range(100)])
        for _ in range(2):
            assert [town.id for town in Town.objects(storage)] == list(range(100))
        Town.objects(storage).where(pk__gte=50).delete()
        assert storage.get(Town, 7).name == "x" * 1000
        held = sum(len(value) for value in storage.tables["records:town"].values.values())
        assert 1000 < held <= 10_000


def test_a_lock_keeps_others_out(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with open_dict({}, lock=lock), pytest.raises(StorageBusy, match="in this process"):
        open_dict({}, lock=lock)
    readers = [open_dict(dict(filled()), lock=lock, read_only=True) for _ in range(2)]
    with pytest.raises(StorageBusy):
        open_dict({}, lock=lock)
    for reader in readers:
        with pytest.raises(StorageReadOnly):
            reader.clear()
        reader.close()
    open_dict({}, lock=lock).close()


def test_a_child_gets_a_copy_and_leaves_the_mapping_alone(tmp_path: Path) -> None:
    class Watched(dict[bytes, bytes]):
        owner = os.getpid()

        def __getitem__(self, key: bytes) -> bytes:
            assert os.getpid() == self.owner
            return super().__getitem__(key)

        def __setitem__(self, key: bytes, value: bytes) -> None:
            assert os.getpid() == self.owner
            super().__setitem__(key, value)

        def __del__(self) -> None:
            (tmp_path / f"deleted in {'parent' if os.getpid() == self.owner else 'child'}").touch()

    storage = MappingStorage(lambda: Watched(filled()), name="watched", lock=tmp_path / "lock")

    def work() -> Any:
        assert storage.info["durable"] is False
        change(storage)
        first = contents(storage)
        in_child(lambda: Town(id=50).save(storage) and None)
        storage.close()
        return first

    assert in_child(work) == AFTER
    assert contents(storage) == BEFORE
    child = Child(lambda: contents(storage), waits=True)
    storage.close()
    with open_dict({}, lock=tmp_path / "lock"):
        child.go()
        assert child.result() == BEFORE
    assert not (tmp_path / "deleted in child").exists()


def test_a_storage_that_was_never_opened_does_not_hinder_a_fork(tmp_path: Path) -> None:
    storage = open_dict({}, lock=tmp_path / "lock")
    with pytest.raises(StorageBusy) as caught:
        open_dict({}, lock=tmp_path / "lock")
    assert caught.traceback  # which holds what has been made of the other one

    def work() -> int:
        Town(id=1).save(storage)
        return len(storage)

    assert in_child(work) == 1
    assert len(storage) == 0


def test_a_mapping_that_cannot_be_copied_for_a_child() -> None:
    class Once(dict[bytes, bytes]):
        broken = False

        def __getitem__(self, key: bytes) -> bytes:
            if self.broken:
                raise OSError(errno.EIO, "broken")
            return super().__getitem__(key)

    held = Once(filled())
    storage = open_dict(held)
    held.broken = True

    def work() -> None:
        with pytest.raises(StorageError, match="could not be copied"):
            storage.get(Town, 1)

    in_child(work)
    held.broken = False
    assert contents(storage) == BEFORE


def test_a_batch_is_of_the_process_that_began_it() -> None:
    storage = open_dict({})
    transaction = storage.begin()
    Town(id=1).save(transaction)
    prepared = transaction.prepare()

    def work() -> list[int]:
        with pytest.raises(TransactionError):
            prepared.commit()
        Town(id=2).save(storage)
        return list(storage.keys(Town))

    assert in_child(work) == [2]
    prepared.commit()
    assert list(storage.keys(Town)) == [1]


def test_the_mapping_is_at_hand() -> None:
    held = filled()
    with open_dict(held) as storage:
        assert storage.native is held
        assert storage.info["engine"] == f"{Failing.__module__}.Failing"
        assert Town.objects(storage).explain().details["engine"] == storage.info["engine"]
        Device(label="x").save(storage)
        Person(pk="a", name="Ann").save(storage)
    with pytest.raises(StorageClosed):
        _ = storage.native
    with pytest.raises(StorageClosed):
        _ = storage.info
