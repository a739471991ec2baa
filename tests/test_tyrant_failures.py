"""Tokyo Tyrant: servers that fail, and settings that make no sense."""

from __future__ import annotations

import signal
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pymodels import (
    ConnectionFailed,
    SettingsError,
    StorageClosed,
    StorageInvalid,
    StorageReadOnly,
    get_storage,
)
from pymodels.errors import StorageError
from pymodels.ext.tokyo_tyrant.client import RDB
from tests.tyrant_models import Account, Person
from tests.tyrants import Tyrant, served


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage.tct"


@pytest.fixture
def storage(tyrant_storage: Any) -> Any:
    return tyrant_storage


def test_a_server_that_is_restarted(storage: Any, tyrant: Tyrant) -> None:
    storage.save_all([Account(id=n) for n in range(600)])
    iteration = iter(Account.objects(storage))
    next(iteration)
    tyrant.end()
    with pytest.raises(ConnectionFailed, match="cannot be reached"):
        storage.get(Account, 1)
    tyrant.start()
    assert storage.get(Account, 1).id == 1
    Account(id=1000).save(storage)
    assert [one.id for one in iteration][:598] == list(range(1, 599))


def test_a_server_that_was_killed_leaves_a_file_that_opens(path: Path) -> None:
    with served(path) as tyrant:
        with get_storage(tyrant.settings(sync=True)) as storage:
            storage.save_all([Account(id=n, login=str(n)) for n in range(100)])
        tyrant.end(signal.SIGKILL)
    with get_storage("pymodels.ext.tokyo_cabinet", path=path) as storage:
        assert [one.id for one in Account.objects(storage)] == list(range(100))
        assert Account.objects(storage).get(login="77").id == 77


def test_indexes_agree_with_the_records_that_a_killed_server_left(path: Path) -> None:
    with served(path) as tyrant:
        with get_storage(tyrant.settings()) as storage:
            Person(pk="first", name="first", age=0).save(storage)
            storage.sync()
            for start in range(0, 2000, 100):
                numbers = range(start, start + 100)
                storage.save_all([Person(pk=f"{n}", name=f"n{n}", age=n) for n in numbers])
        tyrant.end(signal.SIGKILL)  # with the new parts of indexes in its memory
    with served(path) as tyrant, pytest.raises(StorageInvalid, match="2004 records, and its index"):
        get_storage(tyrant.settings())
    with pytest.raises(StorageInvalid, match="open it once without read_only"):
        get_storage("pymodels.ext.tokyo_cabinet", path=path, read_only=True)
    with get_storage("pymodels.ext.tokyo_cabinet", path=path) as storage:
        people = Person.objects(storage)
        left = {one.name: one.age for one in people}
        assert left["first"] == 0
        assert len(left) == len(storage.native.searchkeys(b"person:"))  # without any index
        assert {one.name: one.age for one in people.where(age__gte=0)} == left
        assert people.where(name__in=sorted(left)[:5]).count() == min(5, len(left))
        oldest = people.order_by("-age").first()
        assert oldest is not None
        assert oldest.age == max(left.values())


def test_a_server_that_does_not_answer(tyrant: Tyrant) -> None:
    with get_storage(tyrant.settings(timeout=0.5)) as storage:
        Account(id=1).save(storage)
        with tyrant.paused(), pytest.raises(ConnectionFailed, match="did not answer in time"):
            storage.get(Account, 1)
        assert storage.get(Account, 1).id == 1


def answering(folder: Path, answers: list[bytes]) -> str:
    """Serve one client, which gets *answers* whatever it asks; the last one ends in silence."""
    place = str(folder / "fake")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    listening.listen(5)

    def talk() -> None:
        with listening:
            for answer in answers:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1 << 16)
                    for byte in answer:
                        connection.sendall(bytes([byte]))
                        time.sleep(0.001)

    threading.Thread(target=talk, daemon=True).start()
    return place


def test_answers_in_pieces_and_answers_cut_short(tyrant: Tyrant) -> None:
    whole = b"\0" + struct.pack(">I", 3) + b"abc"
    client = RDB(answering(tyrant.folder, [whole, whole[:-1], b"", b"\1"]), timeout=5)
    assert client.get(b"x") == b"abc"
    with pytest.raises(ConnectionError, match="middle of an answer"):
        client.get(b"x")
    with pytest.raises(ConnectionError):
        client.get(b"x")
    assert client.get(b"x") is None
    client.close()


def test_what_a_storage_says_of_them(tyrant: Tyrant) -> None:
    place = answering(tyrant.folder, [b"\0\0"])
    with pytest.raises(ConnectionFailed, match="middle of an answer"):
        get_storage("pymodels.ext.tokyo_tyrant", socket=place)


def test_no_server_at_all() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and listens to nobody
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionFailed, match="ttserver is running") as caught:
            get_storage("pymodels.ext.tokyo_tyrant", host="127.0.0.1", port=port)
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)


def test_a_server_of_another_kind_of_file(tmp_path: Path) -> None:
    with (
        served(tmp_path / "casket.tch") as tyrant,
        pytest.raises(StorageInvalid, match="kind 'hash', and records are columns"),
    ):
        get_storage(tyrant.settings())


def test_closed_and_only_read(storage: Any, tyrant: Tyrant) -> None:
    with get_storage(tyrant.settings(read_only=True)) as reader:
        with pytest.raises(StorageReadOnly):
            Account(id=1).save(reader)
        with pytest.raises(StorageReadOnly):
            reader.vanish()
    with pytest.raises(StorageClosed):
        reader.get(Account, 1)


def test_there_are_only_so_many_connections(tyrant: Tyrant) -> None:
    with get_storage(tyrant.settings(pool_size=2)) as storage:
        storage.save_all([Account(id=n) for n in range(100)])
        threads = [
            threading.Thread(target=lambda: [storage.get(Account, n) for n in range(30)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(storage.native._pool._kept) <= 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": ""}, "host is the name of a machine"),
        ({"port": "1978"}, "port is a number from 1 to 65535"),
        ({"port": 0}, "port is a number"),
        ({"socket": 3}, "socket is the path of a Unix socket"),
        ({"timeout": 0}, "timeout is a number of seconds above 0"),
        ({"lock_seconds": "long"}, "lock_seconds is a number of seconds"),
        ({"pool_size": 0}, "pool_size is a whole number from 1"),
        ({"read_only": 1}, "read_only is True or False"),
        ({"adopt": "x"}, "adopt is a list"),
        ({"path": "storage.tct"}, "takes no setting 'path'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_make_no_sense(settings: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        get_storage({"backend": "pymodels.ext.tokyo_tyrant", **settings})
    assert said in str(caught.value)


def test_a_batch_that_is_too_large_is_refused_whole(storage: Any) -> None:
    from pymodels.ext.tokyo_tyrant import table

    Account(id=1).save(storage)
    before = table.MOST_BYTES
    try:
        table.MOST_BYTES = 2000
        with pytest.raises(StorageError, match="write it in parts"):
            storage.save_all([Account(id=n) for n in range(10, 60)])
    finally:
        table.MOST_BYTES = before
    assert [one.id for one in Account.objects(storage)] == [1]
