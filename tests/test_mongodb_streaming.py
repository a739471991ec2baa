"""MongoDB: records are fetched as they are asked for, and cursors are closed when nobody asks."""

from __future__ import annotations

import signal
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pymongo.monitoring import CommandListener

from pymodels import Field, Model, StorageFull
from pymodels.ext.mongodb import ObjectId, met
from pymodels.keys import KEY_KINDS
from pymodels.testing.running import in_child
from tests.limits import full_disk
from tests.mongodb_server import open_storage

COUNT = 2_250
BATCH = 1_000


class Reading(Model):
    place: Field[str] = Field(index=True)
    value: Field[int]


class Heard(CommandListener):
    """What the driver asked of the server: the commands, and how many records each brought."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.brought: list[int] = []
        self.killed: list[int] = []

    def started(self, event: Any) -> None:
        self.commands.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        cursor = event.reply.get("cursor", {})
        batch = cursor.get("firstBatch", cursor.get("nextBatch"))
        if event.command_name in ("find", "getMore"):
            self.brought.append(len(batch))
        self.killed += event.reply.get("cursorsKilled", ())

    def failed(self, event: Any) -> None:
        pass


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def storage(tmp_path: Path, heard: Heard) -> Iterator[Any]:
    with open_storage(tmp_path, options={"event_listeners": [heard]}) as storage:
        storage.save_all(
            [Reading(pk=f"{n:05}", place=f"{n % 7}", value=COUNT - n) for n in range(COUNT)]
        )
        storage.ensure_indexes(Reading)
        heard.commands.clear()
        heard.brought.clear()
        yield storage


ORDERS = ["pk", "-pk", "place", "value"]  # by key, by an index, and sorted by the server


@pytest.mark.parametrize("order", ORDERS)
def test_records_come_in_batches(storage: Any, heard: Heard, order: str) -> None:
    found = iter(Reading.objects(storage).order_by(order))
    assert heard.commands == []
    next(found)
    assert heard.commands == ["find"]
    for _ in range(BATCH):
        next(found)
    assert heard.commands == ["find", "getMore"]
    assert sum(1 for _ in found) == COUNT - BATCH - 1
    assert heard.commands == ["find", "getMore", "getMore"]
    assert heard.brought == [BATCH, BATCH, COUNT - 2 * BATCH]


@pytest.mark.parametrize("how", ["by breaking off", "by an exception", "in a transaction"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_cursor_is_closed_when_the_iteration_stops(
    storage: Any, heard: Heard, order: str, how: str
) -> None:
    readings = Reading.objects(storage).order_by(order)
    if how == "by breaking off":
        for _ in readings:
            break
    elif how == "by an exception":
        with pytest.raises(ZeroDivisionError):
            [1 // 0 for _ in readings]
    else:
        with storage.transaction() as transaction:
            next(iter(readings))
            transaction.rollback()
    assert [one for one in heard.commands if one != "hello"][:2] == ["find", "killCursors"]
    end = time.monotonic() + 10  # of a snapshot, the driver kills it at its second attempt
    while not heard.killed and time.monotonic() < end:
        time.sleep(0.02)
    assert len(heard.killed) == 1


@pytest.mark.parametrize(("size", "brought"), [(100, [100]), (450, [450]), (1_200, [1_000, 200])])
def test_a_page_brings_no_more_than_is_on_it(
    storage: Any, heard: Heard, size: int, brought: list[int]
) -> None:
    assert len(Reading.objects(storage).order_by("value")[:size].all()) == size
    assert heard.brought == brought


@pytest.mark.parametrize("held", [met.HELD, 50])
def test_what_moves_in_an_order_comes_once(
    storage: Any, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that is changed in the loop moves to the end of the index that is read."""
    monkeypatch.setattr(met, "HELD", held)
    seen = []
    for one in Reading.objects(storage).where(place="0").order_by("place"):
        seen.append(one.pk)
        Reading.objects(storage).where(pk=one.pk).update(place="9")
    seen_again = []
    for one in Reading.objects(storage).where(place__gte="1").order_by("place"):
        seen_again.append(one.pk)
        if len(seen_again) % 100 == 1:
            Reading.objects(storage).where(pk=one.pk).update(place="99")
    assert len(seen) == len(set(seen)) == len(range(0, COUNT, 7))
    assert len(seen_again) == len(set(seen_again)) == COUNT


HELD = 2_000
MOST = 8 * HELD
MAKERS = {
    str: lambda n: f"key-{n}",
    int: lambda n: n - 1_000,
    UUID: lambda n: UUID(int=n << 64),
    ObjectId: lambda n: ObjectId(n.to_bytes(12, "big")),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_keys_that_were_met_are_known_in_constant_memory(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(met, "HELD", HELD)
    make = MAKERS[kind]
    known = met.MetKeys(KEY_KINDS[kind].encode, "here")
    tracemalloc.start()
    try:
        for n in range(0, MOST, 2):
            assert known.is_new(make(n))
        held = tracemalloc.get_traced_memory()[1]
        for n in range(0, MOST, 2):
            assert known.is_new(make(n + 1))
            assert not known.is_new(make(MOST - 2 - n))
        assert tracemalloc.get_traced_memory()[1] < 1.1 * held
    finally:
        tracemalloc.stop()
        known.close()


def test_no_room_for_the_keys_that_were_met() -> None:
    def work() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        known = met.MetKeys(str.encode, "mongodb here/shop")
        keys = map("{:040}".format, range(1_000_000))
        with full_disk(1 << 20), pytest.raises(StorageFull) as caught:
            all(map(known.is_new, keys))
        assert caught.value.__cause__ is not None
        return str(caught.value)

    message = in_child(work)
    assert message.startswith("mongodb here/shop: ")
    assert "TMPDIR" in message
