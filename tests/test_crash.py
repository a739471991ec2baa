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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import lmdb
import pytest

from pymodels import Field, Key, Model, ext, get_storage
from pymodels.ext.shelve.engines import ENGINES, has
from pymodels.testing.people import Account

pytestmark = pytest.mark.long

BUILDS_KILLED = 80
BUILT = 1_500
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
    words: Field[list[str]] = Field(default_factory=list, index=True)
    text: Field[str] = Field(default="", index="trigram")

    class Meta:
        """An index of several fields, one of some records only, and a column."""

        indexes = (
            ("text", "batch"),
            {"fields": "batch", "where": {"text": "word 1"}},
            {"fields": "text", "kind": "column"},
        )


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

ELSEWHERE = {
    "pymodels.ext.mongodb": "test_mongodb_failures.py",
    "pymodels.ext.tokyo_cabinet": "test_tokyo_survival.py",
    "pymodels.ext.tokyo_tyrant": "test_tyrant_failures.py",
}
"""Where those are killed that keep their records in other ways, or on servers."""

KILLS = {"lmdb": 120}
"""How often each is killed; the others fewer times, for every batch writes more there."""


def write(settings: Settings, first: int, acknowledge: int) -> None:
    """Write batches for ever; say of each, after it was saved, that it was."""
    randomness = random.Random(first)
    with get_storage(settings) as storage:
        for number in range(first, first + 100_000):
            size = randomness.randrange(1, 9)
            batch = Batch(id=number, size=size, text="x" * randomness.randrange(6000))
            members = [
                Member(
                    pk=f"{number}-{n}",
                    batch=number,
                    words=["a", f"w{n}"],
                    text=f"word {number % 3}",
                )
                for n in range(size)
            ]
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
                Member.objects(storage).where(batch=number - 4).update(text="an older word")
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


class Plain(Model, collection="thing"):
    """Records before anybody thought of indexes."""

    number: Field[int] = Field(default=0)
    text: Field[str] = Field(default="")


class Thing(Model):
    """The same records, indexed."""

    number: Field[int] = Field(default=0, index=True)
    text: Field[str] = Field(default="", index="trigram")

    class Meta:
        """A column of a field that has an index too."""

        indexes = ({"fields": "number", "kind": "column"},)


def build(settings: Settings, first: int, acknowledge: int) -> None:
    """Build indexes and drop them for ever, and save records meanwhile; say of each that it was."""
    with get_storage(settings) as storage:
        numbers = iter(range(first, first + 100_000))

        def save(*told: Any) -> None:
            number = next(numbers)
            Plain(pk=f"new {number}", number=number, text=f"text {number}").save(storage)
            Plain.objects(storage).where(pk=f"{number % BUILT:05}").update(number=-number)
            os.write(acknowledge, b"%d\n" % number)

        while True:
            save()
            storage.build_indexes(Thing, progress=save)
            save()
            if next(numbers) % 2:
                storage.drop_indexes(Plain)


def killed(
    settings: Settings,
    first: int,
    wait: float,
    work: Callable[[Settings, int, int], None] | None = None,
) -> list[int]:
    """Let a child write from *first* on, kill it after a while, and return what it acknowledged."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        try:
            (work or write)(settings, first, send)
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
        found = storage.check()
        assert found, str(found)
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
    covered = set(ELSEWHERE)
    assert all("kill" in (Path(__file__).parent / name).read_text() for name in ELSEWHERE.values())
    for name, settings in DURABLE.items():
        with get_storage({**settings, "path": tmp_path / name}) as storage:
            assert "durable" in storage.capabilities
            covered.add(settings["backend"])
    declared = set()
    for module in pkgutil.iter_modules(ext.__path__, "pymodels.ext."):
        if module.name.startswith("pymodels.ext._"):
            continue  # what several backends share
        storage_class = importlib.import_module(module.name).Storage
        if "durable" in storage_class.capabilities:
            declared.add(module.name)
    assert declared <= covered


def test_a_build_of_indexes_that_is_killed_goes_on(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("pymodels.indexing.AT_ONCE", 100)
    monkeypatch.setattr("pymodels.maintenance.STEP", 200)
    settings = {"backend": "pymodels.ext.lmdb", "path": tmp_path / "records.lmdb"}
    with get_storage(settings) as storage:
        storage.save_all([Plain(pk=f"{n:05}", number=n, text=f"text {n}") for n in range(BUILT)])
    randomness = random.Random(2)
    acknowledged: set[int] = set()
    half_built = 0
    for _ in range(BUILDS_KILLED):
        first = max(acknowledged, default=0) + 1_000
        acknowledged.update(killed(settings, first, randomness.random() * 0.05, build))
        with get_storage(settings) as storage:
            found = storage.check()
            assert found, str(found)
            keys = set(storage.keys(Plain))
            assert keys >= {f"new {number}" for number in acknowledged}
            catalog = storage.catalogs["thing"]
            half_built += any(not index.ready for index in catalog.ordered)
            number = max(acknowledged)
            found = Thing.objects(storage).where(number=-number)
            assert [thing.pk for thing in found] == [f"{number % BUILT:05}"]
            in_column = Thing.objects(storage).where_not(number__gte=0)
            assert f"{number % BUILT:05}" in {thing.pk for thing in in_column}
            several = Thing.objects(storage).where(text__contains=f"t {number}")
            assert f"new {number}" in {thing.pk for thing in several}
    assert half_built > BUILDS_KILLED // 10, "builds were killed in the middle, too"
