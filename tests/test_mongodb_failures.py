"""MongoDB: servers that are down, refuse, or vanish in the middle; and passwords."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from pymodels import (
    ConnectionFailed,
    F,
    Field,
    Model,
    PyModelsError,
    SettingsError,
    StorageError,
    TransactionsUnsupported,
    UsageError,
    get_storage,
)
from tests.mongodb_server import DATABASE, Server, failing, free_port, open_storage

SECRET = "s3cr3t/p@ss:word"


class Note(Model):
    text: Field[str] = Field(default="")
    number: Field[int] = Field(default=0)


OPERATIONS: dict[str, Callable[[Any], object]] = {
    "get": lambda storage: storage.get(Note, "a"),
    "get_many": lambda storage: storage.get_many(Note, ["a", "b"]),
    "iterate": lambda storage: Note.objects(storage).all(),
    "count": lambda storage: Note.objects(storage).where(number__gt=0).count(),
    "save": lambda storage: Note(text="x").save(storage),
    "save_all": lambda storage: storage.save_all([Note(), Note()]),
    "update": lambda storage: Note.objects(storage).update(number=F("number") + 1),
    "delete": lambda storage: Note.objects(storage).delete(),
    "transaction": lambda storage: storage.begin(),
    "collections": lambda storage: storage.collections(),
    "revision": lambda storage: storage.revision,
    "explain": lambda storage: Note.objects(storage).explain(),
    "ensure_indexes": lambda storage: storage.ensure_indexes(Note),
    "clear": lambda storage: storage.clear(),
}


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Any]:
    with open_storage(tmp_path) as storage:
        storage.save_all([Note(pk=key, number=n) for n, key in enumerate("abc")])
        yield storage


# --- no server ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_server_that_is_down(name: str) -> None:
    port = free_port()
    with get_storage("pymodels.ext.mongodb", database="x", port=port, timeout=0.2) as storage:
        begin = time.monotonic()
        with pytest.raises(ConnectionFailed, match=str(port)) as caught:
            OPERATIONS[name](storage)
        assert time.monotonic() - begin < 5
        assert isinstance(caught.value.__cause__, pymongo.errors.PyMongoError)


def test_nothing_is_connected_before_it_is_needed() -> None:
    begin = time.monotonic()
    with get_storage("pymodels.ext.mongodb", database="x", port=free_port()) as storage:
        assert storage
        assert Note.objects(storage).where(number=1).order_by("-text")[:3] is not None
    assert time.monotonic() - begin < 5


def test_a_server_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    server = Server(flags=("--journalCommitInterval", "5"))
    try:
        with open_storage(tmp_path, uri=server.uri, timeout=1) as storage:
            storage.save_all([Note(pk=f"{n:05}", number=n) for n in range(1_500)])
            found = iter(Note.objects(storage))
            assert next(found).number == 0
            server.kill()
            with pytest.raises(ConnectionFailed):
                storage.get(Note, "00001")
            with pytest.raises(ConnectionFailed):
                Note(pk="lost").save(storage)
            with pytest.raises(ConnectionFailed):
                list(found)  # it does not just end
            server.start()
            begin = time.monotonic()
            while True:
                try:
                    Note(pk="back").save(storage, replace=True)
                except ConnectionFailed:
                    assert time.monotonic() - begin < 60
                else:
                    break
            assert Note.objects(storage).count() == 1_501
    finally:
        server.stop()


@pytest.mark.parametrize("name", ["get", "iterate", "save", "save_all"])
def test_a_server_that_falls_silent(frozen: Any, name: str) -> None:
    server, storage = frozen
    server.process.send_signal(signal.SIGSTOP)
    os.waitpid(server.process.pid, os.WUNTRACED)  # until it has really stopped
    try:
        begin = time.monotonic()
        with pytest.raises(ConnectionFailed):
            OPERATIONS[name](storage)
        assert time.monotonic() - begin < 20  # socket_timeout, twice at most, and timeout
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert storage.get(Note, "a").pk == "a"


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server of its own, and a storage that waits a second for its answers."""
    server = Server()
    path = tmp_path_factory.mktemp("frozen")
    with open_storage(path, uri=server.uri, timeout=1, socket_timeout=1) as storage:
        Note(pk="a").save(storage, replace=True)
        yield server, storage
    server.stop()


# --- a server that fails in the middle ------------------------------------------------------


@pytest.mark.parametrize("name", ["get", "iterate", "count", "save", "save_all", "update"])
def test_a_connection_that_is_lost_once_is_made_again(storage: Any, name: str) -> None:
    commands = ["find", "aggregate", "insert", "update", "delete"]
    with failing(storage, failCommands=commands, closeConnection=True):
        OPERATIONS[name](storage)
    expected = {"save": 4, "save_all": 5}.get(name, 3)
    assert Note.objects(storage).count() == expected
    assert Note.objects(storage).sum("number") == (6 if name == "update" else 3)


@pytest.mark.parametrize("name", ["get", "save", "iterate"])
def test_a_connection_that_is_lost_again_and_again(storage: Any, name: str) -> None:
    commands = ["find", "insert"]
    with (
        failing(storage, failCommands=commands, closeConnection=True, times=10),
        pytest.raises(ConnectionFailed, match="lost"),
    ):
        OPERATIONS[name](storage)
    assert Note.objects(storage).count() == 3


def test_a_batch_that_loses_its_connection_is_done_once_and_whole(storage: Any) -> None:
    with failing(storage, failCommands=["commitTransaction"], closeConnection=True):
        assert Note.objects(storage).update(number=F("number") + 10) == 3
    assert [one.number for one in Note.objects(storage)] == [10, 11, 12]
    labels = ["TransientTransactionError"]
    with failing(storage, failCommands=["commitTransaction"], errorCode=251, errorLabels=labels):
        assert Note.objects(storage).update(number=F("number") + 10) == 3
    assert [one.number for one in Note.objects(storage)] == [20, 21, 22]
    with failing(storage, failCommands=["insert"], errorCode=112, errorLabels=labels, times=3):
        storage.save_all([Note(pk="d"), Note(pk="e")])
    assert Note.objects(storage).count() == 5


def test_a_transaction_whose_commit_has_to_be_asked_for_again(storage: Any) -> None:
    labels = ["UnknownTransactionCommitResult"]
    with (
        failing(storage, failCommands=["commitTransaction"], errorCode=50, errorLabels=labels),
        storage.transaction(),
    ):
        Note.objects(storage).where(pk="a").update(text="inside")
        Note(pk="new").save(storage)
    assert storage.get(Note, "a").text == "inside"
    assert Note.objects(storage).count() == 4


def test_a_cursor_that_is_lost_is_an_error(storage: Any) -> None:
    storage.save_all([Note() for _ in range(1_500)])
    found = iter(Note.objects(storage))
    next(found)
    with (
        failing(storage, failCommands=["getMore"], errorCode=43),
        pytest.raises(StorageError, match="ursor"),
    ):
        list(found)


def test_cursors_are_closed_when_an_iteration_stops(storage: Any) -> None:
    storage.save_all([Note() for _ in range(1_500)])

    def open_cursors() -> int:
        status = storage.client.admin.command("serverStatus")
        return int(status["metrics"]["cursor"]["open"]["total"])

    before = open_cursors()
    for _ in Note.objects(storage):
        assert open_cursors() == before + 1
        break
    assert open_cursors() == before


@pytest.mark.parametrize(
    ("code", "expected", "said"),
    [
        (13, ConnectionFailed, "refuses"),
        (14031, StorageError, "full"),
        (50, StorageError, "busy"),
        (1, StorageError, "failCommand"),
    ],
)
def test_errors_of_the_server_have_our_names(
    storage: Any, code: int, expected: type[PyModelsError], said: str
) -> None:
    with (
        failing(storage, failCommands=["insert"], errorCode=code),
        pytest.raises(expected, match=said) as caught,
    ):
        Note().save(storage)
    assert str(caught.value).startswith(storage.name)
    assert isinstance(caught.value.__cause__, pymongo.errors.PyMongoError)


@pytest.mark.parametrize("token", ["", "nonsense", "8265AA", "00"])
def test_a_feed_that_goes_on_after_what_is_no_token(storage: Any, token: str) -> None:
    with pytest.raises(UsageError, match="token of a change"):
        Note.objects(storage).watch(after=token, wait=0.1)


@pytest.mark.parametrize("command", ["aggregate", "getMore"])
def test_a_feed_from_before_what_the_server_remembers(storage: Any, command: str) -> None:
    def read() -> None:
        with Note.objects(storage).watch(wait=5) as feed:
            next(feed)

    with (
        failing(storage, failCommands=[command], errorCode=286, errorLabels=[]),
        pytest.raises(StorageError, match=r"oplog.*Note anew"),
    ):
        read()


# --- a single server ------------------------------------------------------------------------


def test_a_single_server_has_no_transactions_and_says_so(tmp_path: Path) -> None:
    server = Server(replica_set=False)
    try:
        with open_storage(tmp_path, uri=server.uri) as storage:
            Note(pk="a").save(storage)
            storage.get(Note, "a").delete()
            with pytest.raises(TransactionsUnsupported, match="replSet"):
                storage.begin()
            with pytest.raises(TransactionsUnsupported, match="whole_batches"):
                storage.save_all([Note(pk="a"), Note(pk="b")])
            assert Note.objects(storage).count() == 0
        with open_storage(tmp_path, uri=server.uri, whole_batches=False) as storage:
            assert storage.save_all([Note(pk="a"), Note(pk="b")]) == 2
            assert Note.objects(storage).update(number=F("number") + 1) == 2
            assert Note.objects(storage).where(number=1).delete() == 2
            before = storage.revision
            Note(pk="a").save(storage)
            assert storage.revision != before
            with pytest.raises(TransactionsUnsupported, match="replSet"):
                storage.transaction()
    finally:
        server.stop()


def test_users_and_what_they_may_do() -> None:
    server = Server(replica_set=False, flags=("--auth",))
    own: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "database": "shop"}
    own["options"] = {"heartbeatFrequencyMS": 500}  # how soon one who was refused is heard again
    try:
        with pymongo.MongoClient[Any]("127.0.0.1", server.port) as client:
            client.admin.command("createUser", "root", pwd="r00t-pass", roles=["root"])
        with pymongo.MongoClient[Any](
            "127.0.0.1", server.port, username="root", password="r00t-pass"
        ) as client:
            roles = [{"role": "readWrite", "db": "shop"}]
            client.shop.command("createUser", "ann", pwd=SECRET, roles=roles)
        ann = {**own, "user": "ann", "password": SECRET, "auth_source": "shop"}
        with get_storage("pymodels.ext.mongodb", **ann) as storage:
            Note(pk="a", text="mine").save(storage)
            assert storage.get(Note, "a").text == "mine"
        for wrong in (
            own,  # nobody
            {**ann, "password": "wr0ng-pass"},
            {**ann, "auth_source": "admin"},  # where nobody knows her
            {**ann, "database": "other"},  # where she may do nothing
        ):
            with get_storage("pymodels.ext.mongodb", **wrong) as storage:
                for name in ("get", "save"):
                    with pytest.raises(ConnectionFailed, match="refuses this user") as caught:
                        OPERATIONS[name](storage)
                    shown = "".join(traceback.format_exception(caught.value))
                    assert "s3cr3t" not in shown
                    assert "wr0ng" not in shown
    finally:
        server.stop()


# --- settings and secrets -------------------------------------------------------------------


def test_a_password_is_shown_nowhere() -> None:
    quoted = "s3cr3t%2Fp%40ss%3Aword"
    port = free_port()
    for settings in (
        {"uri": f"mongodb://ann:{quoted}@127.0.0.1:{port}/?authSource=admin"},
        {"host": "127.0.0.1", "port": port, "user": "ann", "password": SECRET},
        {"uri": f"mongodb://127.0.0.1:{port}", "options": {"username": "a", "password": SECRET}},
    ):
        with get_storage("pymodels.ext.mongodb", database="x", timeout=0.1, **settings) as storage:
            shown = [repr(storage), str(storage), storage.name]
            with pytest.raises(ConnectionFailed) as caught:
                storage.get(Note, "a")
        shown += ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
        for text in shown:
            assert f"127.0.0.1:{port}" in text or "storage" in text
            assert SECRET not in text
            assert quoted not in text
            assert "s3cr3t" not in text


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://ann:{SECRET}@127.0.0.1/",
        "mongodb://ann:s3cr3t%zz@127.0.0.1:port/",
        "mongodb://ann:s3cr3t@127.0.0.1:999999/",
        "mongodb://ann:s3cr3t@",
        "http://ann:s3cr3t@127.0.0.1",
    ],
)
def test_a_uri_that_is_wrong_is_refused_without_its_password(uri: str) -> None:
    with pytest.raises(SettingsError) as caught:
        get_storage("pymodels.ext.mongodb", database="x", uri=uri)
    shown = "".join(traceback.format_exception(caught.value, chain=True))
    message = str(caught.value)
    assert "s3cr3t" not in message
    assert "p@ss" not in message
    assert "word" not in message.replace("password", "").replace("Username and", "")
    assert "s3cr3t" not in shown.replace(uri, "")


WRONG: dict[str, dict[str, Any]] = {
    "database": {"database": "a.b"},
    "no database": {"database": ""},
    "port": {"port": 0},
    "port as text": {"port": "27017"},
    "pool_size": {"pool_size": 0},
    "timeout": {"timeout": -1},
    "socket_timeout": {"socket_timeout": 0},
    "options": {"options": [1]},
    "unknown option": {"options": {"nonsense": 1}},
    "read_preference": {"read_preference": "nearby"},
    "write_concern": {"write_concern": [1]},
    "whole_batches": {"whole_batches": 1},
    "user": {"user": "ann"},
    "password": {"password": "x"},
    "prefix": {"collection_prefix": 1},
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_make_no_sense(name: str) -> None:
    with pytest.raises(SettingsError):
        get_storage("pymodels.ext.mongodb", **{"database": "x", **WRONG[name]})


def test_storages_with_the_same_settings_share_a_client(tmp_path: Path) -> None:
    with open_storage(tmp_path) as one, open_storage(tmp_path) as other:
        assert one.client is other.client
        Note(pk="a").save(one)
        one.close()
        assert other.get(Note, "a").pk == "a"
    with open_storage(tmp_path) as again:
        assert again.native.name == DATABASE
        again.clear()
