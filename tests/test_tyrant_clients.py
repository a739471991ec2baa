"""Tokyo Tyrant: many clients at once, and clients that die."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pymodels import (
    Conflict,
    F,
    StorageBusy,
    get_storage,
)
from pymodels.ext._tokyo.unfinished import BATCH, LOCK, BatchState, read_state
from pymodels.ext.tokyo_tyrant.client import joined
from tests.tyrant_models import Account
from tests.tyrants import Tyrant

ROOT = Path(__file__).parent.parent


@pytest.fixture
def storage(tyrant_storage: Any) -> Any:
    return tyrant_storage


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
