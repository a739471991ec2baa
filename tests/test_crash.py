"""A writer is killed again and again, and nothing that it acknowledged is lost.

On every backend that declares itself durable, and on every kind of shelf that does.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import lmdb
import pytest

from pymodels import Field, Key, Model, ext, get_storage
from pymodels.ext.shelve.engines import ENGINES, has
from pymodels.testing.people import Account

SLOTS = 40
"""Accounts hold one unique value each, out of these; batches pass the values on."""


class Batch(Model):
    """One batch of the writer: what it numbers, and its accounts, are written together."""

    id: Key[int]
    size: Field[int]
    text: Field[str]


class Member(Model):
    """One of the records of a batch."""

    batch: Field[int] = Field(index=True)


Settings: TypeAlias = dict[str, Any]

DURABLE: dict[str, Settings] = {
    "lmdb": {"backend": "pymodels.ext.lmdb"},
    "pickled": {"backend": "pymodels.ext.pickled"},
} | {
    f"shelve, {kind}": {"backend": "pymodels.ext.shelve", "kind": kind}
    for kind, engine in ENGINES.items()
    if engine.durable and has(kind)
}
"""The settings of each, but for the path."""

KILLS = {"lmdb": 100}
"""How often each is killed; the others fewer times, for every batch writes more there."""


def write(settings: Settings, first: int, acknowledge: int) -> None:
    """Write batches for ever; say of each, after it was saved, that it was."""
    randomness = random.Random(first)
    with get_storage(settings) as storage:
        for number in range(first, first + 100_000):
            size = randomness.randrange(1, 9)
            batch = Batch(id=number, size=size, text="x" * randomness.randrange(6000))
            members = [Member(pk=f"{number}-{n}", batch=number) for n in range(size)]
            if number % 3 == 0:
                storage.save_all([batch, *members, *passed_on(storage, number)])
            else:
                with storage.transaction():
                    batch.save(storage)
                    storage.save_all(passed_on(storage, number))
                    with storage.transaction():
                        for member in members:
                            member.save(storage)
            if number % 5 == 0:
                Batch.objects(storage).where(pk=number - 4).update(text="")
            os.write(acknowledge, b"%d\n" % number)


def passed_on(storage: Any, number: int) -> list[Account]:
    """Return two accounts with their unique values exchanged, made at the first time."""
    keys = [str(number % SLOTS), str((number * 7 + 1) % SLOTS)]
    if keys[0] == keys[1]:
        return []
    found = storage.get_many(Account, keys)
    one, other = (found.get(key) or Account(pk=key, login=f"login {key}") for key in keys)
    one.login, other.login = other.login, one.login
    one.visits, other.visits = number, number
    return [one, other]


def killed(settings: Settings, first: int, wait: float) -> list[int]:
    """Let a child write from *first* on, kill it after a while, and return what it acknowledged."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        try:
            write(settings, first, send)
        finally:
            os._exit(1)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        beginning = pipe.readline()  # it is at work by now
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        rest = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    return [
        int(line) for line in (beginning + rest).splitlines(keepends=True) if line[-1:] == b"\n"
    ]


def check(settings: Settings, acknowledged: list[int]) -> int:
    """Check everything that must be true of the file, and return the last batch in it."""
    with get_storage(settings) as storage:
        batches = {batch.id: batch for batch in Batch.objects(storage)}
        assert batches.keys() >= set(acknowledged)
        members: dict[int, int] = {}
        for member in Member.objects(storage):
            members[member.batch] = members.get(member.batch, 0) + 1
        assert members == {number: batch.size for number, batch in batches.items()}
        accounts = {one.pk: one for one in Account.objects(storage)}
        logins = [one.login for one in accounts.values()]
        assert len(set(logins)) == len(logins)
        for key, account in accounts.items():
            assert Account.objects(storage).get(login=account.login).pk == key
            assert account.visits <= max(batches)
        if isinstance(storage.native, lmdb.Environment):  # others make them when they open
            assert list(unique_entries(storage)) == sorted(map(str, logins))
        return max(batches)


def unique_entries(storage: Any) -> Iterator[str]:
    """Yield the values in the unique index itself, as the driver reads them."""
    environment = storage.native
    with environment.begin() as transaction:
        table = environment.open_db(b"unique:account:login", txn=transaction, create=False)
        for entry, _ in transaction.cursor(table):
            yield entry[1:].decode()


@pytest.mark.parametrize("name", DURABLE)
def test_a_writer_that_is_killed_loses_nothing_that_it_acknowledged(
    tmp_path: Path, name: str
) -> None:
    settings = {**DURABLE[name], "path": tmp_path / "records"}
    kills = KILLS.get(name, 30)
    randomness = random.Random(1)
    acknowledged: list[int] = []
    last = 0
    for _ in range(kills):
        written = killed(settings, last + 1, randomness.random() * 0.03)
        assert written, "the child was killed after its first batch, and no sooner"
        assert written == list(range(last + 1, last + 1 + len(written)))
        acknowledged += written
        last = check(settings, acknowledged)
        assert last - acknowledged[-1] in (0, 1), "one batch may be written and not acknowledged"
    assert len(acknowledged) >= kills


def test_every_backend_that_declares_itself_durable_is_killed(tmp_path: Path) -> None:
    covered = set()
    for name, settings in DURABLE.items():
        with get_storage({**settings, "path": tmp_path / name}) as storage:
            assert "durable" in storage.capabilities
            covered.add(settings["backend"])
    declared = set()
    for module in pkgutil.iter_modules(ext.__path__, "pymodels.ext."):
        storage_class = importlib.import_module(module.name).Storage
        if "durable" in storage_class.capabilities:
            declared.add(module.name)
    assert declared <= covered
