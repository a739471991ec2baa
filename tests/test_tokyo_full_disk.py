"""Files of Tokyo Cabinet on a disk that is full, opened and served."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pymodels import Field, Key, Model, StorageError, StorageFull, get_storage
from pymodels.testing.running import in_child
from tests.limits import full_disk
from tests.tyrants import served

KINDS = ("TABLE", "HASH", "BTREE")


class Town(Model):
    id: Key[int]
    name: Field[str] = Field(index=True)
    code: Field[str | None] = Field(default=None, unique=True)


Open: TypeAlias = Callable[[], Any]


@pytest.fixture(params=KINDS)
def open_file(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    settings = {"path": tmp_path / "file", "kind": request.param}
    return lambda: get_storage("pymodels.ext.tokyo_cabinet", **settings)


def numbers(storage: Any) -> list[int]:
    return [town.id for town in Town.objects(storage)]


def fill(storage: Any, saved: list[int]) -> None:
    """Save pairs of towns until there is no room, and note what was acknowledged."""
    for number in range(100, 200_000, 2):
        pair = [number, number + 1]
        towns = [Town(id=one, name=f"{one}" + "y" * 3000, code=f"c{one}") for one in pair]
        storage.save_all(towns)
        saved.extend(pair)


def check(storage: Any, saved: list[int]) -> None:
    """See that what was acknowledged is there, and nothing else, by key and by each index."""
    assert numbers(storage) == saved
    for number in (saved[0], saved[-1]):
        assert Town.objects(storage).get(code=f"c{number}").id == number
        name = Town.objects(storage).get(number).name
        assert [one.id for one in Town.objects(storage).where(name=name)] == [number]


def test_a_full_disk(open_file: Open, tmp_path: Path) -> None:
    saved = list(range(50))
    with open_file() as storage:
        storage.save_all([Town(id=n, name=f"{n}x", code=f"c{n}") for n in saved])
    most = 2 * max(file.stat().st_size for file in tmp_path.iterdir())

    def work() -> list[int]:
        storage = open_file()
        with full_disk(most):
            with pytest.raises(StorageFull) as caught:
                fill(storage, saved)
            assert storage.name in str(caught.value)
            assert caught.value.__cause__ is not None
            check(storage, saved)
        Town(id=-1, name="later", code="c-1").save(storage)
        storage.close()
        return saved

    saved = in_child(work)
    with open_file() as storage:
        check(storage, [-1, *saved])


def test_a_full_disk_and_an_end_right_after_it(open_file: Open, tmp_path: Path) -> None:
    with open_file() as storage:
        storage.save_all([Town(id=n, name=f"{n}x", code=f"c{n}") for n in range(50)])
    most = 2 * max(file.stat().st_size for file in tmp_path.iterdir())

    def work() -> list[int]:
        storage = open_file()
        saved = list(range(50))
        with full_disk(most), pytest.raises(StorageFull):
            fill(storage, saved)
        return saved  # and the process ends without closing the file

    saved = in_child(work)
    with open_file() as storage:
        check(storage, saved)


def test_no_room_for_the_file(open_file: Open) -> None:
    def work() -> str:
        with full_disk(0), pytest.raises(StorageError) as caught, open_file() as storage:
            Town(id=1, name="x").save(storage)
        return str(caught.value)

    assert "file" in in_child(work)
    with open_file() as storage:
        assert numbers(storage) == []


def test_a_server_whose_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "storage.tct"
    saved = list(range(50))
    with served(path) as tyrant:
        with get_storage(tyrant.settings(timeout=60, sync=True)) as storage:
            storage.save_all([Town(id=n, name=f"{n}x", code=f"c{n}") for n in saved])
            most = 2 * max(file.stat().st_size for file in tmp_path.iterdir())
            resource.prlimit(tyrant.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
            with pytest.raises(StorageError, match=r"the server refused|has not kept") as caught:
                fill(storage, saved)
            assert storage.name in str(caught.value)
        tyrant.end(signal.SIGKILL)
    for _ in range(2):  # what the server left is made whole when it is opened
        with get_storage("pymodels.ext.tokyo_cabinet", path=path) as storage:
            found = numbers(storage)
            assert set(saved) <= set(found) <= {*saved, saved[-1] + 1, saved[-1] + 2}
            check(storage, found)
    with served(path) as tyrant, get_storage(tyrant.settings()) as storage:
        Town(id=-1, name="later", code="c-1").save(storage)
        check(storage, [-1, *found])
