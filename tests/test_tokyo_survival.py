"""Tokyo Cabinet: what survives a process that is killed, and a file that is damaged."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pymodels import (
    StorageBusy,
    StorageInvalid,
    get_storage,
)
from pymodels.ext._tokyo.unfinished import BATCH, LOCK, BatchState
from tests.tokyo_files import (
    BACKEND,
    WRITE,
    Pair,
    Person,
    books,
    opened,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage.tct"


@pytest.mark.parametrize("kind", ["TABLE", "HASH", "BTREE"])
def test_a_killed_writer_loses_nothing_and_leaves_no_half(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    start = 1
    for turn in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(path), kind, str(start)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(40 + 7 * turn)]
        child.kill()
        said += child.stdout.readlines()
        child.stdout.close()
        child.wait()
        acknowledged = [int(line) for line in said if line.endswith("\n") and line.strip()]
        assert acknowledged
        with get_storage(BACKEND, path=path, kind=kind) as storage:
            keys = {one.pk for one in Pair.objects(storage)}
            assert {f"{n}{end}" for n in acknowledged for end in "ab"} <= keys
            assert {key[:-1] for key in keys if key[-1] == "a"} == {
                key[:-1] for key in keys if key[-1] == "b"
            }
            numbers = [one.number for one in Pair.objects(storage)]
            for number in random.Random(turn).sample(numbers, 20):
                assert Pair.objects(storage).where(number=number).count() == 1
            same = Pair.objects(storage).where(text="x" * 50)
            assert same.count() == len(keys)
            start = max(numbers) + 2


def test_a_file_that_was_cut_off(path: Path) -> None:
    with opened(path) as storage:
        storage.save_all(books())
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(StorageInvalid, match="truncated; restore it from a copy"):
        opened(path)


@pytest.mark.parametrize("content", [b"", b"no database at all", b"ToKyO CaBiNeT\nshort"])
def test_files_that_are_none(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StorageInvalid):
        opened(path)
    assert path.read_bytes() == content


def test_what_a_client_of_the_server_left_unfinished(path: Path) -> None:
    with opened(path) as storage:
        Person(pk="a", name="old").save(storage)
        Person(pk="b", name="old").save(storage)
        pending = [
            (b"person:a", storage.native.get(b"person:a") | {b"name": b"new"}),
            (b"person:b", None),
        ]
        storage.native.put(BATCH, BatchState(5, b"", pending).columns())
        storage.native.put(LOCK, {b"owner": b"somebody"})
    with pytest.raises(StorageInvalid, match="open it once without read_only"):
        opened(path, read_only=True)
    with opened(path) as storage:
        assert {one.pk: one.name for one in Person.objects(storage)} == {"a": "new"}
        assert storage.native.get(LOCK) is None
    with opened(path, read_only=True) as storage:
        assert Person.objects(storage).count() == 1


def test_a_killed_process_is_no_lock(path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path), "TABLE", "1"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises(StorageBusy):
        opened(path)
    child.send_signal(signal.SIGKILL)
    child.stdout.close()
    child.wait()
    with opened(path) as storage:
        assert Pair.objects(storage).count() >= 2
