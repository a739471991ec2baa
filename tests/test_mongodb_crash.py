"""MongoDB is killed while eight processes write, and nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from pymodels import ConnectionFailed, Field, Model
from pymodels.ext import mongodb  # before the fork, or every process has to
from tests.mongodb_server import Server, open_storage

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("PYMODELS_TEST_MONGODB_SECONDS", "4"))
"""How long the processes write at least; PYMODELS_TEST_MONGODB_SECONDS=60 makes it a minute."""

PROCESSES = 8
KINDS = ("insert", "insert", "save", "update", "delete")
KILLS = max(2, int(SECONDS / 6))
PATIENCE = 120.0


class Entry(Model):
    writer: Field[int] = Field(index=True)
    number: Field[int]


class Ledger:
    """What one process knows of its records: for each key, the numbers that may be stored.

    None is a number too: no record. More than one is possible only where an answer was lost.
    """

    def __init__(self) -> None:
        self.possible: dict[str, list[int | None]] = {}
        self.lost: list[list[str]] = []

    def know(self, keys: list[str], number: int | None) -> None:
        for key in keys:
            self.possible[key] = [number]

    def doubt(self, keys: list[str], number: int | None) -> None:
        self.lost.append(keys)
        for key in keys:
            self.possible[key] = [*self.possible.get(key, [None]), number]

    def certain(self) -> list[str]:
        """Return the keys of records that are there for certain."""
        return [
            key for key, some in self.possible.items() if len(some) == 1 and some[0] is not None
        ]


def write(writer: int, uri: str, path: Path, last: Any, lost: Any, finished: Any) -> None:
    """Insert, update and delete until all is finished; then say what has to be there."""
    chance, ledger = random.Random(writer), Ledger()
    again = {"retryWrites": writer % 2 == 0}  # the others see every failure
    storage = open_storage(path, uri=uri, timeout=2, socket_timeout=10, options=again)
    number = 0
    while not finished.is_set():
        number += 1
        keys = [f"{writer}-{number}-{n}" for n in range(chance.choice((1, 1, 3)))]
        new: int | None = number
        known = ledger.certain()
        kind = (
            chance.choice(("insert", "insert", "save", "update", "delete")) if known else "insert"
        )
        try:
            if kind == "insert":
                storage.save_all([Entry(pk=key, writer=writer, number=number) for key in keys])
            elif kind == "update":
                keys = [chance.choice(known)]
                Entry.objects(storage).where(pk__in=keys).update(number=number)
            elif kind == "save":
                keys = [chance.choice(known)]
                entry = storage.get(Entry, keys[0])
                entry.number = number
                entry.save()
            else:
                keys, new = chance.sample(known, min(2, len(known))), None
                storage.delete_many(Entry, keys)
        except ConnectionFailed:
            ledger.doubt(keys, new)
            lost.set()
            time.sleep(0.05)
        else:
            ledger.know(keys, new)
            last[writer] = time.monotonic()
    (path / f"{writer}.json").write_text(json.dumps(vars(ledger)))


def test_what_was_acknowledged_survives(tmp_path: Path) -> None:
    server = Server(flags=("--journalCommitInterval", "20"))
    context = multiprocessing.get_context("fork")
    last: Any = context.Array("d", PROCESSES)
    lost, finished = context.Event(), context.Event()
    writers: list[Any] = [
        context.Process(
            target=write, args=(number, server.uri, tmp_path, last, lost, finished), daemon=True
        )
        for number in range(PROCESSES)
    ]

    def wait_for_all_since(moment: float) -> None:
        """Wait until every process has had something acknowledged after a moment."""
        begin = time.monotonic()
        while min(last) <= moment:
            assert time.monotonic() < begin + PATIENCE
            assert all(one.exitcode is None for one in writers)
            time.sleep(0.02)

    try:
        for one in writers:
            one.start()
        wait_for_all_since(0)
        kills, begin = 0, time.monotonic()
        while kills < KILLS or not lost.is_set():  # a kill may fall between two writes
            assert time.monotonic() < begin + SECONDS + PATIENCE
            time.sleep(SECONDS / KILLS)
            server.kill()
            kills, killed = kills + 1, time.monotonic()
            server.start()
            wait_for_all_since(killed)
        finished.set()
        for one in writers:
            one.join(120)
            assert one.exitcode == 0
        with open_storage(tmp_path, uri=server.uri, timeout=60) as storage:
            assert isinstance(storage, mongodb.Storage)
            found = {entry.pk: entry for entry in Entry.objects(storage)}
            assert {entry.writer for entry in Entry.objects(storage).where(writer__gte=0)} == set(
                range(PROCESSES)
            )
        ledgers = [json.loads((tmp_path / f"{n}.json").read_text()) for n in range(PROCESSES)]
    finally:
        server.stop()
    wrong = [
        (key, possible, None if key not in found else found[key].number)
        for ledger in ledgers
        for key, possible in ledger["possible"].items()
        if (None if key not in found else found[key].number) not in possible
    ]
    assert wrong == []
    assert found.keys() <= {key for ledger in ledgers for key in ledger["possible"]}
    assert any(ledger["lost"] for ledger in ledgers)
    for ledger in ledgers:
        for keys in ledger["lost"]:
            if all(ledger["possible"][key] == ledger["possible"][keys[0]] for key in keys):
                there = {None if key not in found else found[key].number for key in keys}
                assert len(there) == 1, f"a batch went half way: {keys}"
