"""MongoDB: what a transaction reads is one state of the server, and what it commits is done once.

How commits are asked for again is said by the drivers' specification of transactions, under
``TransientTransactionError`` and ``UnknownTransactionCommitResult``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from pymodels import Conflict, ConnectionFailed, F, Field, Model, TransactionError
from pymodels.ext.mongodb import client, sessions
from pymodels.ext.mongodb.transactions import Transaction
from pymodels.testing.isolation import elsewhere
from tests.mongodb_server import failing, open_storage


class Account(Model):
    owner: Field[str] = Field(default="", index=True)
    balance: Field[int] = Field(default=0)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Any]:
    with open_storage(tmp_path) as storage:
        storage.save_all([Account(pk=key, owner=key.upper(), balance=50) for key in "ab"])
        yield storage


def move(storage: Any, amount: int) -> None:
    with storage.transaction():
        Account.objects(storage).where(pk="a").update(balance=F("balance") - amount)
        Account.objects(storage).where(pk="b").update(balance=F("balance") + amount)


def balances(storage: Any) -> dict[str, int]:
    return {one.pk: one.balance for one in Account.objects(storage)}


# --- what is read ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["by key", "by keys", "by query", "by order", "by count"])
def test_all_readings_are_of_one_state(storage: Any, how: str) -> None:
    transaction = storage.begin()
    accounts = Account.objects(transaction)
    read_b: dict[str, Callable[[], int]] = {
        "by key": lambda: int(accounts.get("b").balance),
        "by keys": lambda: int(transaction.get_many(Account, ["a", "b"])["b"].balance),
        "by query": lambda: int(accounts.where(owner="B").get().balance),
        "by order": lambda: int(accounts.order_by("-owner")[0].balance),
        "by count": lambda: 50 * accounts.where(balance=50).count() // 2,
    }
    before = accounts.get("a").balance
    elsewhere(lambda: move(storage, 20))
    assert (before, read_b[how]()) == (50, 50)
    with pytest.raises(Conflict, match="Account"):
        transaction.commit()
    assert balances(storage) == {"a": 30, "b": 70}


def test_a_long_iteration_is_of_one_state_too(storage: Any) -> None:
    storage.clear()
    storage.save_all([Account(pk=f"{n:04}", owner=f"{n % 7}", balance=1) for n in range(1_000)])

    def meddle() -> None:
        Account.objects(storage).where(pk__gt="0500").update(balance=100)
        Account.objects(storage).where(pk__gt="0900").delete()
        Account(pk="0999x", balance=100).save(storage)

    for order in (["pk"], ["-owner", "pk"]):
        transaction = storage.begin()
        found = iter(Account.objects(transaction).order_by(*order))
        total = next(found).balance
        meddle()
        assert total + sum(one.balance for one in found) == 1_000
        assert Account.objects(transaction).where(balance=100).count() == 0
        transaction.rollback()
        storage.clear()
        storage.save_all([Account(pk=f"{n:04}", owner=f"{n % 7}", balance=1) for n in range(1_000)])


def test_what_was_written_inside_is_seen_by_queries_of_the_server(storage: Any) -> None:
    accounts = Account.objects(storage)
    with storage.transaction():
        accounts.where(pk="a").update(balance=7)
        Account(pk="c", owner="C", balance=9).save(storage)
        assert [one.pk for one in accounts.where(balance__lt=10).order_by("-balance")] == ["c", "a"]
        assert accounts.where(balance=50).count() == 1
    assert balances(storage) == {"a": 7, "b": 50, "c": 9}


def test_a_reading_whose_connection_is_lost_is_made_again_of_the_same_state(storage: Any) -> None:
    transaction = storage.begin()
    assert Account.objects(transaction).get("a").balance == 50
    move(storage, 5)
    with failing(storage, failCommands=["find"], closeConnection=True):
        assert Account.objects(transaction).get("b").balance == 50
    transaction.rollback()


def test_a_transaction_reads_from_the_primary(tmp_path: Path, storage: Any) -> None:
    with open_storage(tmp_path, read_preference="secondary", timeout=0.2) as other:
        with pytest.raises(ConnectionFailed):
            other.get(Account, "a")  # there is no secondary
        with other.transaction():
            assert other.get(Account, "a").balance == 50
            assert Account.objects(other).where(owner="B").count() == 1
            assert other.get(Account, "missing", None) is None


def test_what_was_acknowledged_by_one_member_alone_is_seen(tmp_path: Path, storage: Any) -> None:
    with open_storage(tmp_path, write_concern=1) as quick:
        for number in range(5):
            Account(pk=f"n{number}").save(quick)
            with quick.transaction():
                assert quick.get(Account, f"n{number}").balance == 0


@pytest.mark.parametrize(("code", "said"), [(239, "older states"), (246, "was made while")])
def test_a_state_that_the_server_has_no_more_is_a_conflict(
    storage: Any, code: int, said: str
) -> None:
    transaction = storage.begin()
    assert Account.objects(transaction).get("a").balance == 50
    with (
        failing(storage, failCommands=["find"], errorCode=code),
        pytest.raises(Conflict, match=said) as caught,
    ):
        Account.objects(transaction).get("b")
    assert caught.value.collection == "account"
    assert isinstance(caught.value.__cause__, OperationFailure)
    transaction.rollback()


def test_an_iteration_ends_with_its_transaction(storage: Any) -> None:
    with storage.transaction():
        found = iter(Account.objects(storage))
        next(found)
    with pytest.raises(TransactionError, match="iteration"):
        next(found)


def test_a_transaction_that_only_reads_writes_nothing(storage: Any) -> None:
    before = storage.revision
    with storage.transaction():
        assert balances(storage) == {"a": 50, "b": 50}
        assert storage.get(Account, "missing", None) is None
    collection = storage.collection(Account.__schema__).full_name
    said = storage.client.local["oplog.rs"].find({"ts": {"$gt": before}})
    assert [one for one in said if collection in repr(one)] == []
    for meddle in (
        lambda: Account.objects(storage).where(pk="b").update(owner="other"),
        lambda: Account(pk="missing").save(storage),
    ):
        transaction = storage.begin()
        assert Account.objects(transaction).count() == 2
        assert transaction.get(Account, "missing", None) is None
        meddle()
        with pytest.raises(Conflict):
            transaction.commit()


def test_nothing_is_locked_while_a_transaction_is_open(storage: Any) -> None:
    transaction = storage.begin()
    Account.objects(transaction).where(pk="a").update(balance=1)
    assert Account.objects(storage).update(balance=2) == 2
    assert storage.ensure_indexes(Account).created == ("pymodels index owner",)
    with pytest.raises(Conflict):
        transaction.commit()
    assert balances(storage) == {"a": 2, "b": 2}


def test_the_session_is_given_back(storage: Any) -> None:
    for end in (lambda one: one.rollback(), lambda one: one.commit(), lambda one: one.prepare()):
        transaction = storage.begin()
        assert isinstance(transaction, Transaction)
        Account.objects(transaction).get("a")
        session = transaction.base._session
        assert session.options.snapshot
        end(transaction)
        assert session.has_ended
        if transaction.state == "prepared":
            transaction.rollback()


# --- what is committed ----------------------------------------------------------------------


LOST = {"errmsg": "the answer is lost", "codeName": "NetworkTimeout"}


@pytest.mark.parametrize(
    "what",
    [
        {"closeConnection": True},
        {"writeConcernError": {"code": 89, **LOST}},  # it was done
        {"writeConcernError": {"code": 64, **LOST}, "errorLabels": []},
        {"errorCode": 89, "errorLabels": ["UnknownTransactionCommitResult"]},
        {"errorCode": 112, "errorLabels": ["TransientTransactionError"]},
        {"errorCode": 251, "errorLabels": ["TransientTransactionError"]},
    ],
    ids=["lost", "done", "timed-out", "unknown", "overtaken", "forgotten"],
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_commit_is_done_once(storage: Any, what: dict[str, Any], times: int) -> None:
    with failing(storage, failCommands=["commitTransaction"], times=times, **what):
        move(storage, 10)
        assert Account.objects(storage).update(balance=F("balance") + 1) == 2
    assert balances(storage) == {"a": 41, "b": 61}


def test_a_prepared_transaction_that_the_server_forgot_is_done_again(storage: Any) -> None:
    transaction = storage.begin()
    Account.objects(transaction).where(pk="a").update(balance=1)
    prepared = transaction.prepare()
    storage.client.admin.command("killSessions", [prepared._session.session_id])
    transaction.commit()
    assert balances(storage) == {"a": 1, "b": 50}


def test_a_prepared_transaction_that_the_server_forgot_and_others_overtook(storage: Any) -> None:
    transaction = storage.begin()
    Account.objects(transaction).where(pk="a").update(balance=1)
    prepared = transaction.prepare()
    storage.client.admin.command("killSessions", [prepared._session.session_id])
    elsewhere(lambda: Account.objects(storage).where(pk="a").update(balance=2))
    with pytest.raises(Conflict):
        transaction.commit()
    assert balances(storage) == {"a": 2, "b": 50}


def test_a_commit_that_is_never_confirmed(storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_PATIENCE", 0.2)
    for code in (89, 100):  # 100: so many members there are not, which asking again does not mend
        said = {"code": code, "errmsg": "no majority"}
        with (
            failing(
                storage, failCommands=["commitTransaction"], writeConcernError=said, times=100_000
            ),
            pytest.raises(ConnectionFailed, match="may or may not"),
        ):
            move(storage, 10)
    assert balances(storage) == {"a": 30, "b": 70}  # each was done, and none of them twice


def test_only_the_server_can_say_that_a_commit_was_not_done() -> None:
    forgotten = OperationFailure("no such transaction", 251, {"errorLabels": []})
    assert client.is_transient(forgotten)  # before a commit nothing is done
    assert not client.is_undone_commit(forgotten)
    labels = {"errorLabels": ["TransientTransactionError"]}
    assert client.is_undone_commit(OperationFailure("no such transaction", 251, labels))
