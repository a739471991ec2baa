"""Pickled files and shelves where there is no room, or no permission, or somebody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from pymodels import (
    StorageBusy,
    StorageError,
    StorageFull,
    StorageInvalid,
    StorageReadOnly,
    get_storage,
)
from pymodels.ext.shelve.engines import ENGINES, has
from pymodels.testing.people import Account, Town
from pymodels.testing.running import in_child
from tests.limits import full_disk
from tests.privileges import without_privileges

KINDS: Final[dict[str, dict[str, Any]]] = {
    "pickled": {"backend": "pymodels.ext.pickled"},
} | {
    f"shelve, {kind}": {"backend": "pymodels.ext.shelve", "kind": kind}
    for kind in ENGINES
    if has(kind)
}

ROOMY: Final = [name for name in KINDS if not name.endswith("ndbm")]
"""All but the one whose library does not say why it failed, and leaves what it cannot open."""

Open: TypeAlias = Callable[..., Any]


@pytest.fixture(params=KINDS)
def open_file(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    folder = tmp_path / "folder"
    folder.mkdir()

    def open_it(**options: Any) -> Any:
        return get_storage(KINDS[request.param], path=folder / "records", **options)

    return open_it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "folder"


@pytest.fixture
def filled(open_file: Open, folder: Path) -> dict[Path, bytes]:
    """Store two hundred towns and as many accounts; return the files and what is in them."""
    with open_file() as storage:
        storage.save_all([Town(id=n, name="x" * 200) for n in range(200)])
        storage.save_all([Account(pk=str(n), login=str(n)) for n in range(200)])
    return {file: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-lock")}


def numbers(storage: Any) -> list[int]:
    return [town.id for town in Town.objects(storage)]


# --- no room --------------------------------------------------------------------------------


@pytest.mark.parametrize("open_file", ROOMY, indirect=True)
def test_a_full_disk(open_file: Open, filled: dict[Path, bytes]) -> None:
    most = 2 * max(map(len, filled.values()))

    def work() -> list[int]:
        storage = open_file()
        saved = list(range(200))

        def save_on() -> None:
            for number in range(200, 2000, 2):
                pair = [number, number + 1]
                storage.save_all([Town(id=one, name="y" * 3000) for one in pair])
                saved.extend(pair)

        with full_disk(most):
            with pytest.raises(StorageFull) as caught:
                save_on()
            assert storage.name in str(caught.value)
            assert caught.value.__cause__ is not None or "almost full" in str(caught.value)
            assert numbers(storage) == saved
            assert storage.get(Town, 7).name == "x" * 200
            assert Account.objects(storage).get(login="7").pk == "7"
        Town(id=-1).save(storage)
        assert numbers(storage) == [-1, *saved]
        storage.close()
        return saved

    saved = in_child(work)
    with open_file() as storage:
        assert numbers(storage) == [-1, *saved]


@pytest.mark.parametrize("open_file", ROOMY, indirect=True)
def test_no_room_for_the_first_record(open_file: Open) -> None:
    def work() -> str:
        with full_disk(0), pytest.raises(StorageError) as caught, open_file() as storage:
            Town(id=1).save(storage)
        return str(caught.value)

    assert "records" in in_child(work)
    with open_file() as storage:
        assert numbers(storage) == []


# --- no permission --------------------------------------------------------------------------


def test_reading_only(open_file: Open, filled: dict[Path, bytes]) -> None:
    with open_file(read_only=True) as storage, open_file(read_only=True) as other:
        assert numbers(storage) == numbers(other) == list(range(200))
        assert Account.objects(storage).get(login="7").pk == "7"
        for write in (Town(id=1000).save, lambda where: where.clear()):
            with pytest.raises(StorageReadOnly, match="read_only"):
                write(storage)
    assert {file: file.read_bytes() for file in filled} == filled


def test_reading_what_is_not_there(open_file: Open, folder: Path) -> None:
    with pytest.raises(StorageError, match="creates nothing"):
        open_file(read_only=True)
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("public")
def test_files_that_may_not_be_written(
    open_file: Open, folder: Path, filled: dict[Path, bytes]
) -> None:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)

    def work() -> int:
        with pytest.raises(StorageReadOnly, match="permissions"):
            open_file()
        with open_file(read_only=True) as storage:
            return len(numbers(storage))

    assert without_privileges(work) == 200
    folder.chmod(0o755)
    assert {file: file.read_bytes() for file in filled} == filled


@pytest.mark.usefixtures("public")
def test_a_folder_that_may_not_be_written(open_file: Open, folder: Path) -> None:
    folder.chmod(0o555)

    def work() -> None:
        with pytest.raises(StorageReadOnly, match="permissions"):
            open_file()

    without_privileges(work)
    folder.chmod(0o755)
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("public")
def test_files_that_may_not_be_read(open_file: Open, filled: dict[Path, bytes]) -> None:
    for file in filled:
        file.chmod(0o000)

    def work() -> str:
        with pytest.raises(StorageError) as caught:
            open_file(read_only=True)
        return str(caught.value)

    assert "records" in without_privileges(work)


# --- somebody else --------------------------------------------------------------------------


def test_one_writer_at_a_time(open_file: Open) -> None:
    with open_file() as storage:
        Town(id=1).save(storage)
        with pytest.raises(StorageBusy, match="in this process"):
            open_file()

        def work() -> None:
            with pytest.raises(StorageBusy, match="another process"):
                open_file()

        in_child(work)
    with open_file() as storage:
        assert numbers(storage) == [1]


def test_a_file_of_somebody_else(open_file: Open, folder: Path) -> None:
    (folder / "records").write_bytes(b"\xff\xd8\xff" * 5000)
    for read_only in (True, False):
        with pytest.raises(StorageInvalid, match="records"):
            open_file(read_only=read_only)
    assert (folder / "records").read_bytes() == b"\xff\xd8\xff" * 5000


def test_a_folder_in_the_place_of_the_file(open_file: Open, folder: Path) -> None:
    (folder / "records").mkdir()
    with pytest.raises(StorageInvalid, match="is a folder"):
        open_file()
    (folder / "records").rmdir()
    folder.rmdir()
    with pytest.raises(StorageError, match="create it first"):
        open_file()


def test_files_that_were_cut_off(open_file: Open, filled: dict[Path, bytes]) -> None:
    """Either it is refused, or every record that is there is one that was saved."""
    expected = dict.fromkeys(range(200), "x" * 200)
    said: list[str] = []
    for file, content in filled.items():
        for part in (0.1, 0.4, 0.7, 0.97):
            file.write_bytes(content[: int(len(content) * part)])
            try:
                with open_file(read_only=True) as storage:
                    found = {town.id: town.name for town in Town.objects(storage)}
            except StorageError as error:
                found = {}
                said.append(str(error))
            assert found.items() <= expected.items()
            file.write_bytes(content)
    assert len(said) >= 3
    assert all("records" in message for message in said)
    with open_file() as storage:
        assert len(numbers(storage)) == 200
