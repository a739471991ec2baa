"""Tokyo Tyrant: a file opened or served, clients that die, servers that fail, the protocol."""

from __future__ import annotations

import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pymodels import (
    Conflict,
    ConnectionFailed,
    F,
    Field,
    Key,
    Model,
    SettingsError,
    StorageBusy,
    StorageClosed,
    StorageInvalid,
    StorageReadOnly,
    TransactionsUnsupported,
    get_storage,
)
from pymodels.errors import StorageError
from pymodels.ext._tokyo.unfinished import BATCH, LOCK, BatchState, read_state
from pymodels.ext.tokyo_cabinet import binding as tokyo
from pymodels.ext.tokyo_tyrant.client import RDB, Error, joined
from tests.tyrants import Tyrant, served

ROOT = Path(__file__).parent.parent


class Country(Model):
    name: Field[str] = Field(unique=True)


class Person(Model):
    name: Field[str] = Field(index=True)
    age: Field[int | None] = Field(default=None, index=True)
    country: Field[Country | None] = Field(default=None)


class Account(Model):
    id: Key[int]
    login: Field[str | None] = Field(default=None, unique=True)
    visits: Field[int] = Field(default=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage.tct"


@pytest.fixture
def tyrant(path: Path) -> Iterator[Tyrant]:
    with served(path) as tyrant:
        yield tyrant


@pytest.fixture
def storage(tyrant: Tyrant) -> Iterator[Any]:
    with get_storage(tyrant.settings(timeout=60)) as storage:
        yield storage


# --- one file, two backends -----------------------------------------------------------------


def application(storage: Any) -> list[Any]:
    """Do some work, and return all that there is then; it knows nothing of the backend."""
    norway = storage.get(Country, "no", None) or Country(pk="no", name="Norway").save(storage)
    Person.objects(storage).where(age__gte=40).update(age=F("age") + 1)
    count = Person.objects(storage).count()
    Person(pk=f"p{count}", name=f"Person {count}", age=38 + count, country=norway).save(storage)
    return [(one.pk, one.name, one.age, one.country.name) for one in Person.objects(storage)]


def test_the_same_file_opened_and_served(path: Path) -> None:
    memory = get_storage("pymodels.ext.memory")
    direct = {"backend": "pymodels.ext.tokyo_cabinet", "path": path}
    for _ in range(2):
        with get_storage(direct) as storage:
            assert application(storage) == application(memory)
        with served(path) as tyrant, get_storage(tyrant.settings()) as storage:
            assert application(storage) == application(memory)
            assert application(storage) == application(memory)
            query = Person.objects(storage).where(age__gt=40)
            assert 'using an index: "age"' in query.explain().details["engine"]
            with pytest.raises(StorageBusy, match="another process"):
                get_storage(direct)
    with get_storage(direct) as storage:
        assert application(storage) == application(memory)
        assert storage.native.get(LOCK) is None
        assert Country.objects(storage).where(name="Norway").count() == 1


def test_there_are_no_transactions(storage: Any) -> None:
    with pytest.raises(TransactionsUnsupported), storage.transaction():
        raise AssertionError("not reached")
    assert "transactions" not in storage.capabilities


def test_files_of_other_programs_are_adopted(path: Path) -> None:
    class Cat(Model, collection="animal", must_have={"type": "cat"}):
        id: Key[int]
        type: Field[str]
        lives: Field[int]

    table = tokyo.TDB()
    table.open(path, tokyo.TDBOWRITER | tokyo.TDBOCREAT)
    table.put(b"7", {b"type": b"cat", b"lives": b"9", b"raw": b"\0\1\0"})
    table.put(b"8", {b"type": b"mouse"})
    table.close()
    with (
        served(path) as tyrant,
        get_storage(tyrant.settings(adopt=["animal"])) as storage,
    ):
        assert [cat.id for cat in Cat.objects(storage).where(lives__gt=5)] == [7]
        Cat(id=9, type="cat", lives=1).save(storage)
        assert [cat.id for cat in Cat.objects(storage)] == [7, 9]
        assert storage.raw(Cat, 7)["raw"] == "\0\1\0"


def test_the_file_as_a_whole(storage: Any, tmp_path: Path) -> None:
    storage.save_all([Account(id=n) for n in range(50)])
    storage.sync()
    storage.copy_file(str(tmp_path / "copy.tct"))
    storage.optimize()
    revision = storage.revision
    storage.vanish()
    assert (len(storage), storage.collections()) == (0, {})
    assert storage.revision != revision
    Account(id=1, login="x").save(storage)
    assert Account.objects(storage).where(login="x").count() == 1
    with get_storage("pymodels.ext.tokyo_cabinet", path=tmp_path / "copy.tct") as copy:
        assert Account.objects(copy).count() == 50


def test_another_client_sees_a_file_that_was_emptied(storage: Any, tyrant: Tyrant) -> None:
    with get_storage(tyrant.settings()) as other:
        Account(id=1, login="x").save(storage)
        assert Account.objects(other).get(login="x").id == 1
        storage.vanish()
        Account(id=2, login="x").save(other)
        assert [one.id for one in Account.objects(storage)] == [2]


# --- clients that die -----------------------------------------------------------------------


def pending_batch(storage: Any) -> None:
    """Leave the file as a client does that dies after its batch was noted."""
    client = storage.native
    state = read_state(client.columns(BATCH))
    changes = [(b"account:a2", client.columns(b"account:a1")), (b"account:a1", None)]
    client.put(LOCK, joined({b"owner": b"dead", b"seconds": b"0.3", b"who": b"a client"}))
    noted = BatchState(state.number + 1, state.epoch, changes)
    client.put(BATCH, joined(noted.columns()))


@pytest.mark.parametrize("first", ["read", "scan", "count", "write", "update"])
def test_what_a_dead_client_left_is_carried_out_first(storage: Any, first: str) -> None:
    Account(id=1, visits=5).save(storage)
    pending_batch(storage)
    match first:
        case "read":
            assert storage.get(Account, 2).visits == 5
        case "scan":
            assert [one.id for one in Account.objects(storage)] == [2]
        case "count":
            assert Account.objects(storage).where(visits__gt=4).count() == 1
        case "write":
            Account(id=3).save(storage)
        case "update":
            assert Account.objects(storage).where(pk=2).update(visits=F("visits") + 1) == 1
    assert storage.get(Account, 1, None) is None
    assert storage.get(Account, 2).visits == 5 + (first == "update")
    assert storage.native.columns(LOCK) is None


def test_whoever_only_reads_waits_for_one_who_may_write(storage: Any, tyrant: Tyrant) -> None:
    Account(id=1).save(storage)
    with get_storage(tyrant.settings(read_only=True)) as reader:
        pending_batch(storage)
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.extend(reader.keys(Account)))
        thread.start()
        time.sleep(0.5)
        assert thread.is_alive()
        Account(id=3).save(storage)
        thread.join(30)
        assert found[0] == 2


def test_a_batch_that_was_overtaken_writes_nothing(storage: Any, tyrant: Tyrant) -> None:
    settings = tyrant.settings(lock_seconds=0.2)
    with get_storage(settings) as slow, get_storage(settings) as quick:
        Account(id=1).save(slow)

        def change(key: Any, stored: Any) -> None:
            time.sleep(0.5)
            Account.objects(quick).update(visits=7)

        plan = Account.objects(slow).plan()
        changes: list[Any] = []

        def gather(find: Callable[[Any], Any]) -> list[Any]:
            from pymodels.changes import Delete, Expect

            for key, stored in find(plan):
                change(key, stored)
                changes.append(Delete(Account.__schema__, key, Expect.ANYTHING))
            return changes

        with pytest.raises(StorageBusy, match="Nothing was stored"):
            slow.compose(gather)
        assert changes
        assert Account.objects(quick).get(1).visits == 7


def test_a_lock_that_is_kept_is_named(tyrant: Tyrant) -> None:
    with get_storage(tyrant.settings()) as storage:
        Account(id=1).save(storage)
        held = {b"owner": b"x", b"seconds": b"1000", b"who": b"somebody else"}
        storage.native.put(LOCK, joined(held))
        storage._lock._patience = 0.3
        with pytest.raises(StorageBusy, match="somebody else"):
            Account(id=2).save(storage)
        assert storage.get(Account, 1).visits == 0
        assert storage.native.remove_if(LOCK, b"owner", b"y") is False
        assert storage.native.remove_if(LOCK, b"owner", b"x") is True
        Account(id=2).save(storage)


CLIENT = """
import random, sys
from pymodels import F, Field, Key, Model, get_storage

class Account(Model):
    id: Key[int]
    login: Field[str | None] = Field(default=None, unique=True)
    visits: Field[int] = Field(default=0)

socket, me, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(me)
settings = {"backend": "pymodels.ext.tokyo_tyrant", "lock_seconds": 2, "timeout": 120}
with get_storage(settings, socket=socket) as storage:
    for turn in range(times):
        one, other = chance.sample(range(10), 2)
        Account.objects(storage).where(pk__in=[one, other]).update(visits=F("visits") + 1)
        number = 1000 * me + turn
        storage.save_all([
            Account(id=10_000 + number, login=f"a{number}"),
            Account(id=-10_000 - number, login=f"b{number}"),
        ])
        sys.stdout.write(f"{turn}\\n")
        sys.stdout.flush()
"""


def client(tyrant: Tyrant, me: int, times: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CLIENT, tyrant.socket, str(me), str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_clients_at_once_lose_nothing(storage: Any, tyrant: Tyrant) -> None:
    storage.save_all([Account(id=n) for n in range(10)])
    clients = [client(tyrant, me, 25) for me in range(4)]
    assert [one.communicate(timeout=200)[0].count("\n") for one in clients] == [25] * 4
    accounts = list(Account.objects(storage))
    assert sum(one.visits for one in accounts) == 2 * 25 * 4
    assert len(accounts) == 10 + 2 * 25 * 4
    for number in range(0, 4000, 1000):
        assert Account.objects(storage).get(login=f"b{number}").id == -10_000 - number


def test_killed_clients_leave_no_half(storage: Any, tyrant: Tyrant) -> None:
    storage.save_all([Account(id=n) for n in range(10)])
    chance = random.Random(5)
    acknowledged: set[int] = set()
    for turn in range(3):
        clients = {10 * turn + me: client(tyrant, 10 * turn + me, 10_000) for me in range(2)}
        said: dict[int, list[str]] = {}
        for me, one in clients.items():
            assert one.stdout is not None
            said[me] = [one.stdout.readline() for _ in range(3 + chance.randrange(5))]
        for one in clients.values():
            one.kill()
        for me, one in clients.items():
            assert one.stdout is not None
            said[me] += one.stdout.readlines()
            one.stdout.close()
            one.wait()
            acknowledged |= {1000 * me + int(line) for line in said[me] if line.endswith("\n")}
    accounts = {one.id: one for one in Account.objects(storage)}
    numbers = {key - 10_000 for key in accounts if key >= 10_000}
    assert acknowledged <= numbers
    assert {-key - 10_000 for key in accounts if key < 0} == numbers
    visits = sum(accounts[key].visits for key in range(10))
    assert visits % 2 == 0  # both of a batch, or none
    assert visits >= 2 * len(acknowledged)
    for number in sorted(numbers):
        assert Account.objects(storage).where(login=f"a{number}").count() == 1


def test_expectations_hold_between_clients(storage: Any, tyrant: Tyrant) -> None:
    with get_storage(tyrant.settings()) as other:
        Account(id=1).save(storage)
        mine, theirs = storage.get(Account, 1), other.get(Account, 1)
        theirs.visits = 3
        theirs.save()
        mine.login = "x"
        with pytest.raises(Conflict):
            mine.save(check=True)
        mine = storage.get(Account, 1)
        mine.login = "x"
        mine.save()
        assert (other.get(Account, 1).visits, other.get(Account, 1).login) == (3, "x")


# --- servers that fail ----------------------------------------------------------------------


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


def test_a_server_that_does_not_answer(tyrant: Tyrant) -> None:
    import os

    with get_storage(tyrant.settings(timeout=0.5)) as storage:
        Account(id=1).save(storage)
        os.kill(tyrant.pid, signal.SIGSTOP)
        try:
            with pytest.raises(ConnectionFailed, match="did not answer in time"):
                storage.get(Account, 1)
        finally:
            os.kill(tyrant.pid, signal.SIGCONT)
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


# --- the client and the protocol ------------------------------------------------------------


def test_every_command(tyrant: Tyrant, tmp_path: Path) -> None:
    client = RDB(tyrant.socket)
    client.put(b"a", joined({b"n": b"1"}))
    assert client.putkeep(b"a", b"") is False
    assert client.putkeep(b"b", joined({b"n": b"2"})) is True
    client.putcat(b"b", joined({b"m": b"x"}))
    assert client.get(b"b") == b"n\x002\0m\0x"
    assert client.columns(b"b") == {b"n": b"2", b"m": b"x"}
    assert client.columns(b"c") is None
    assert client.mget([b"a", b"c", b"b"]).keys() == {b"a", b"b"}
    assert client.vsiz(b"c") is None
    assert client.fwmkeys(b"") == [b"a", b"b"]
    assert len(client.fwmkeys(b"", 1)) == 1
    client.iterinit()
    assert {client.iternext(), client.iternext()} == {b"a", b"b"}
    assert client.iternext() is None
    assert client.rnum() == 2
    assert client.size() > 0
    assert client.stat()["type"] == "table"
    assert client.genuid() < client.genuid()
    steps = [b"addcond\0n\0NUMGE\0001", b"setorder\0n\0NUMDESC", b"setlimit\0001\0000"]
    assert client.search(steps) == [b"b"]
    assert client.search([steps[0], b"next", steps[0]], meta=True) == [b"a", b"b"]
    client.put_columns(b"nul", {b"n": b"\0"})
    assert client.columns(b"nul") == {b"n": b"\0"}
    assert (client.out(b"nul"), client.out(b"nul")) == (True, False)
    client.sync()
    client.copy(str(tmp_path / "copy.tct"))
    assert (tmp_path / "copy.tct").exists()
    client.optimize()
    client.vanish()
    assert client.rnum() == 0
    with pytest.raises(Error, match="refused copy"):
        client.copy("/no/such/folder/x")
    assert client.misc("no such function") is None
    with pytest.raises(Error, match="refused no such function"):
        client.changed("no such function", [])
    client.close()


def raw(tyrant: Tyrant) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(20)
    made.connect(tyrant.socket)
    return made


def test_a_request_in_pieces_and_a_socket_closed_on_one_side(tyrant: Tyrant) -> None:
    with raw(tyrant) as connection:
        request = b"\xc8\x10" + struct.pack(">II", 1, 3) + b"k" + b"a\0b"
        for byte in request:
            connection.sendall(bytes([byte]))
            time.sleep(0.001)
        assert connection.recv(10) == b"\0"
        connection.sendall(b"\xc8\x30" + struct.pack(">I", 1) + b"k")
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(100):
            answer += chunk
        assert answer == b"\0\0\0\0\3a\0b"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\xc8\x30" + struct.pack(">I", 1 << 30),
        b"\xc8\x90" + struct.pack(">III", 3, 0, 1 << 21),
        b"\xc8\x30\0\0",
    ],
    ids=["too long", "too many", "cut short"],
)
def test_requests_that_make_no_sense(tyrant: Tyrant, request_bytes: bytes) -> None:
    with raw(tyrant) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b""
    client = RDB(tyrant.socket)
    assert client.rnum() == 0  # the server is none the worse
    client.close()


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
