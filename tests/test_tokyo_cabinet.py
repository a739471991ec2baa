"""Tokyo Cabinet: who may open a file, with which settings, and the file as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pymodels import (
    SettingsError,
    StorageBusy,
    StorageError,
    StorageInvalid,
    StorageReadOnly,
    get_storage,
)
from tests.tokyo_files import (
    BACKEND,
    Book,
    Person,
    books,
    foreign,
    in_another_process,
    opened,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage.tct"


OPEN = """
import sys
from pymodels import get_storage, StorageError
try:
    get_storage("pymodels.ext.tokyo_cabinet", path=sys.argv[1])
except StorageError as error:
    print(type(error).__name__, error)
"""


def test_a_second_opener_is_told_at_once(path: Path, tmp_path: Path) -> None:
    with opened(path) as storage:
        Person(pk="a").save(storage)
        with pytest.raises(StorageBusy, match="open already"):
            opened(path)
        said = in_another_process(OPEN, path).stdout
        assert said.startswith("StorageBusy tokyo cabinet")
        assert "tokyo_tyrant" in said
        storage.copy_file(tmp_path / "copy.tct")
        storage.optimize()
        assert "StorageBusy" in in_another_process(OPEN, path).stdout  # the lock is still ours
    assert in_another_process(OPEN, path).stdout == ""


HOLD = """
import sys, time
from pymodels import get_storage
with get_storage("pymodels.ext.tokyo_cabinet", path=sys.argv[1]) as storage:
    sys.stdout.write("open\\n")
    sys.stdout.flush()
    time.sleep(float(sys.argv[2]))
"""


def test_waiting_for_another_process(path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(path), "1"]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StorageBusy, match="lock_timeout"):
            opened(path, lock_timeout=0.1)
        with opened(path, lock_timeout=60) as storage:
            Person(pk="a").save(storage)
        assert other.wait(60) == 0


def test_a_file_that_is_only_read(path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        opened(path, read_only=True)
    assert not path.exists()
    with opened(path) as storage:
        Person(pk="a", name="Ann").save(storage)
    with opened(path, read_only=True) as storage:
        assert Person.objects(storage).where(name="Ann").count() == 1
        with pytest.raises(StorageReadOnly):
            Person(pk="b").save(storage)
        with pytest.raises(StorageReadOnly):
            storage.optimize()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "table"}, "kind is one of HASH, BTREE, TABLE"),
        ({"path": ""}, "path is the name of a file"),
        ({"path": "a*.tct"}, "cannot be in the path"),
        ({"options": ["fast"]}, "options is a list of names out of large"),
        ({"options": "large"}, "options is a list"),
        ({"buckets": -1}, "buckets is a whole number from 0"),
        ({"cache": True}, "cache is a whole number"),
        ({"sync": 1}, "sync is True or False"),
        ({"lock_timeout": "long"}, "lock_timeout is a number of seconds"),
        ({"lock_timeout": -1}, "lock_timeout is a number of seconds from 0"),
        ({"adopt": "animal"}, "adopt is a list"),
        ({"kind": "HASH", "adopt": ["animal"]}, "adopt is for kind='TABLE'"),
        ({"bucket": 3}, "did you mean 'buckets'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_make_no_sense(path: Path, settings: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        get_storage({"backend": BACKEND, "path": path, **settings})
    assert said in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize("kind", ["TABLE", "HASH", "BTREE"])
def test_tuning(tmp_path: Path, kind: str) -> None:
    options = ["large", "deflate"]
    settings = {"path": tmp_path / "file", "kind": kind, "options": options, "buckets": 5000}
    with get_storage(BACKEND, **settings, cache=100, mmap_size=1 << 20, sync=True) as storage:
        storage.save_all([Person(pk=str(n), name="a" * 1000) for n in range(100)])
        assert storage.native.size < 100_000 or kind == "HASH"
    with get_storage(BACKEND, path=tmp_path / "file", kind=kind) as storage:
        assert Person.objects(storage).count() == 100
    other = "TABLE" if kind != "TABLE" else "HASH"
    with pytest.raises(StorageInvalid, match=f"is a {kind} file"):
        get_storage(BACKEND, path=tmp_path / "file", kind=other)


def test_a_hot_backup(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tct"
    with opened(path) as storage:
        storage.save_all(books())
        storage.copy_file(copy)
        Book.objects(storage).delete()
        with pytest.raises(SettingsError, match="onto itself"):
            storage.copy_file(path)
    with opened(copy) as backup:
        assert Book.objects(backup).count() == 90
        query = Book.objects(backup).where(pages__gt=50)
        assert 'using an index: "pages"' in query.explain().details["engine"]


def test_optimizing_gives_space_back(path: Path) -> None:
    with opened(path) as storage:
        storage.save_all([Person(pk=str(n), name="a" * 5000) for n in range(300)])
        Person.objects(storage).where_not(pk="7").delete()
        before = path.stat().st_size
        storage.optimize()
        assert path.stat().st_size < before / 3
        assert [one.pk for one in Person.objects(storage)] == ["7"]
        Person(pk="8").save(storage)


def test_vanishing(path: Path) -> None:
    foreign(path, {b"x": {b"a": b"b"}})
    with opened(path) as storage:
        storage.save_all(books())
        revision = storage.revision
        storage.vanish()
        assert len(storage.native) == 0
        assert storage.revision != revision
        assert storage.collections() == {}
        storage.save_all(books())
        assert Book.objects(storage).where(pages__gt=50).count() > 0
