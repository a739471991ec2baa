"""Many records, many clients, many calls: nothing is lost, and no memory either.

``PYMODELS_SOAK=100000`` makes it long: so many records by eight processes, and ten times as many
calls of the binding. What it takes is printed (``pytest -s``).
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from pymodels import Field, Key, Model, get_storage
from pymodels.ext.tokyo_cabinet import binding as tokyo
from tests.tyrants import served

pytestmark = pytest.mark.long

RECORDS = int(os.environ.get("PYMODELS_SOAK", "1000"))
CLIENTS = 8
BATCH = 50

CLIENT = """
import sys
from pymodels import F, Field, Key, Model, get_storage

class Account(Model):
    id: Key[int]
    owner: Field[int] = Field(index=True)
    login: Field[str | None] = Field(default=None, unique=True)
    visits: Field[int] = Field(default=0)

socket, me, count, size = sys.argv[1], *map(int, sys.argv[2:])
numbers = range(1 + me, 1 + me + 8 * count, 8)
with get_storage("pymodels.ext.tokyo_tyrant", socket=socket, timeout=600) as storage:
    for start in range(0, count, size):
        some = numbers[start:start + size]
        if start // size % 5:
            storage.save_all([Account(id=n, owner=me, login=f"a{n}") for n in some])
        else:  # one by one, as applications do
            for n in some[:5]:
                Account(id=n, owner=me, login=f"a{n}").save(storage)
            storage.save_all([Account(id=n, owner=me, login=f"a{n}") for n in some[5:]])
        shared = Account.objects(storage).where(pk=0).update(visits=F("visits") + 1)
        assert shared == 1
        assert Account.objects(storage).get(some[0]).login == f"a{some[0]}"
"""


class Account(Model):
    id: Key[int]
    owner: Field[int] = Field(index=True)
    login: Field[str | None] = Field(default=None, unique=True)
    visits: Field[int] = Field(default=0)


def test_eight_clients_lose_nothing(tmp_path: Path) -> None:
    count = RECORDS // CLIENTS
    path = tmp_path / "storage.tct"
    with served(path) as tyrant:
        with get_storage(tyrant.settings(timeout=600)) as storage:
            Account(id=0, owner=-1).save(storage)
        begin = time.monotonic()
        clients = [
            subprocess.Popen(
                [sys.executable, "-c", CLIENT, tyrant.socket, *map(str, (me, count, BATCH))],
                cwd=Path(__file__).parent.parent,
            )
            for me in range(CLIENTS)
        ]
        assert [one.wait(3600) for one in clients] == [0] * CLIENTS
        took = time.monotonic() - begin
        with get_storage(tyrant.settings(timeout=600)) as storage:
            check(storage, count)
    with get_storage("pymodels.ext.tokyo_cabinet", path=path) as storage:  # the same file, opened
        check(storage, count)
    sys.stdout.write(
        f"\n{CLIENTS * count:,} records by {CLIENTS} clients in {took:,.0f} s: none lost\n"
    )


def check(storage: object, count: int) -> None:
    """See that all records are there, once, and all that was counted."""
    accounts = Account.objects(storage)
    logins = {one.id: one.login for one in accounts if one.id}
    assert logins == {number: f"a{number}" for number in range(1, 1 + CLIENTS * count)}
    for me in range(CLIENTS):
        assert accounts.where(owner=me).count() == count
    assert accounts.get(0).visits == CLIENTS * -(-count // BATCH)
    for number in range(1, CLIENTS * count, max(1, count // 4)):
        assert accounts.get(login=f"a{number}").id == number


# --- memory -------------------------------------------------------------------------------------


def resident() -> int:
    """Return how many bytes of memory this process has."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def grown(work: Callable[[int], None], rounds: int) -> tuple[int, int]:
    """Return by how many bytes the process, and Python's own objects, grew while it worked."""
    work(max(200, rounds // 10))  # what is kept once is made here
    gc.collect()
    process = resident()
    work(rounds)
    process = resident() - process
    tracemalloc.start()
    try:
        work(50)
        objects = min(traced(work, min(rounds, 10_000)) for _ in range(3))
    finally:
        tracemalloc.stop()
    return process, objects


def traced(work: Callable[[int], None], rounds: int) -> int:
    """Return by how many bytes objects grew; something else of the process may have made some."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    work(rounds)
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before


def on_table(folder: Path) -> tuple[Callable[[int], None], int]:
    table = tokyo.TDB()
    table.open(folder / "a.tct", tokyo.TDBOWRITER | tokyo.TDBOCREAT)
    table.setindex("age", tokyo.TDBITDECIMAL)

    def work(times: int) -> None:
        for _ in range(times):
            table.put(b"key", {b"name": b"x" * 100, b"age": b"7"})
            table.put(b"nul", {b"name": b"\0" * 100})
            table.get(b"key")
            table.get(b"nul")
            table.get(b"none")
            table.putkeep(b"key", {})
            table.searchkeys(b"k")
            query = table.query()
            query.filter("age", tokyo.TDBQCNUMEQ, "7")
            query.sort("age", tokyo.TDBQONUMASC)
            query.limit(3)
            query.search()
            query.hint()
            table.metasearch([query, table.query()])
            try:
                table.put(b"", {b"": b""})
            except tokyo.Error:
                pass

    return work, 13


def on_bytes(folder: Path) -> tuple[Callable[[int], None], int]:
    tree, hashed = tokyo.BDB(), tokyo.HDB()
    for made, name in ((tree, "a.tcb"), (hashed, "a.tch")):
        made.open(folder / name, tokyo.BDBOWRITER | tokyo.BDBOCREAT)

    def work(times: int) -> None:
        for _ in range(times):
            for made in (tree, hashed):
                made.put(b"key", b"x" * 1000)
                made.get(b"key")
                made.get(b"none")
                made.putkeep(b"key", b"")
                made.searchkeys(b"k")
            tree.range(b"a", True, b"z", False, 5)
            cursor = tree.cursor()
            cursor.first()
            cursor.key()
            cursor.value()

    return work, 15


@pytest.mark.parametrize("kind", [on_table, on_bytes], ids=["table", "bytes"])
def test_memory_stays_flat(
    tmp_path: Path, kind: Callable[[Path], tuple[Callable[[int], None], int]]
) -> None:
    """Of many calls; a leak of one small object for each would be some hundred kilobytes."""
    work, calls = kind(tmp_path)
    rounds = max(1000, RECORDS * 10 // calls)
    process, objects = grown(work, rounds)
    said = f"{rounds * calls:,} calls: the process grew by {process:,} bytes, Python {objects:,}"
    sys.stdout.write(f"\n{said}\n")
    assert process < 1 << 20
    assert objects < 20_000
