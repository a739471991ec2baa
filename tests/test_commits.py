"""What a save on LMDB waits for: the disk, or not, and together with whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pymodels import DuplicateKey, Field, Model, SettingsError, StorageBusy, get_storage
from pymodels.ext.lmdb.writing import WriteBatch


class Entry(Model):
    """A record with an index of each sort."""

    number: Field[int] = Field(default=0, index=True)
    name: Field[str | None] = Field(default=None, unique=True)
    tags: Field[list[str]] = Field(default_factory=list, index=True)


def opened(path: Path, **options: Any) -> Any:
    return get_storage("pymodels.ext.lmdb", path=path / "entries.lmdb", **options)


def together(storage: Any, saves: list[Callable[[], object]]) -> list[BaseException | None]:
    """Run *saves* in a thread each, all of which wait while a prepared batch is in the way."""
    errors: list[BaseException | None] = [None] * len(saves)

    def run(number: int) -> None:
        try:
            saves[number]()
        except BaseException as error:  # noqa: BLE001 - it is what is asked for
            errors[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(saves))]
    transaction = storage.begin()
    Entry(pk="in the way").save(transaction)
    transaction.prepare()
    for thread in threads:
        thread.start()
    while len(storage._groups.queue) < len(saves):
        time.sleep(0.001)
    transaction.commit()
    for thread in threads:
        thread.join(60)
    return errors


def test_threads_that_wait_are_committed_together(tmp_path: Path) -> None:
    with opened(tmp_path) as storage:
        Entry(pk="first", name="taken").save(storage)
        before = storage.revision
        saves: list[Callable[[], object]] = [
            lambda number=number: Entry(pk=f"{number}", number=number, tags=["t"]).save(storage)
            for number in range(20)
        ]
        assert together(storage, saves) == [None] * 20
        assert storage.revision == before + 2  # what was in the way, and all the others
        assert Entry.objects(storage).where(number__gte=10).count() == 10
        assert Entry.objects(storage).where(tags__contains="t").count() == 20
        assert storage.check()


def test_what_one_of_them_did_wrong_is_raised_there_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as storage:
        Entry(pk="first", name="taken").save(storage)
        names = ["a", "taken", "b", "c", "taken"]
        saves: list[Callable[[], object]] = [
            lambda number=number, name=name: storage.save_all(
                [Entry(pk=f"{number}"), Entry(pk=f"{number} too", number=number, name=name)]
            )
            for number, name in enumerate(names)
        ]
        errors = together(storage, saves)
        assert [type(error) for error in errors] == [
            type(None),
            DuplicateKey,
            type(None),
            type(None),
            DuplicateKey,
        ]
        assert errors[1] is not errors[4]
        kept = {entry.pk for entry in Entry.objects(storage)}
        assert kept == {"first", "in the way", "0", "0 too", "2", "2 too", "3", "3 too"}
        assert storage.check()


def test_a_commit_that_fails_is_told_to_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as storage:
        Entry(pk="first").save(storage)
        commit, commits = WriteBatch.commit, [0]

        def fail_at_second(batch: WriteBatch) -> None:
            commits[0] += 1
            if commits[0] > 1:
                raise OSError("the disk is gone")
            commit(batch)

        monkeypatch.setattr(WriteBatch, "commit", fail_at_second)
        saves: list[Callable[[], object]] = [
            lambda number=number: Entry(pk=f"{number}").save(storage) for number in range(3)
        ]
        errors = together(storage, saves)
        monkeypatch.undo()
        assert [str(error) for error in errors] == ["the disk is gone"] * 3
        assert {entry.pk for entry in Entry.objects(storage)} == {"first", "in the way"}


@pytest.mark.parametrize("durability", ["full", "no-metasync", "async"])
def test_durability_is_a_setting(tmp_path: Path, durability: str) -> None:
    with opened(tmp_path, durability=durability) as storage:
        Entry(pk="a", number=1).save(storage)
        storage.sync()
        flags = storage.native.flags()
        assert flags["sync"] is (durability != "async")
        assert flags["metasync"] is (durability == "full")
    with opened(tmp_path) as storage:
        assert Entry.objects(storage).get("a").number == 1


def test_a_file_is_open_with_one_durability(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"durability is one of 'full'.*'none'"):
        opened(tmp_path, durability="none")
    with opened(tmp_path):
        with pytest.raises(StorageBusy, match="durability='full'"):
            opened(tmp_path, durability="async")
        with opened(tmp_path, read_only=True) as reader:
            assert len(reader) == 0
