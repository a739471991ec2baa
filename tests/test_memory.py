"""Memory: the records to begin with, and nothing shared with whoever gave or gets them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from pymodels import (
    DuplicateKey,
    Field,
    Key,
    Model,
    ModelError,
    Related,
    SettingsError,
    StorageReadOnly,
    TransactionError,
    get_storage,
    held,
)
from pymodels.testing.people import Account, Device, Person, Town
from pymodels.testing.running import Child, in_child, in_threads


class Jar(Model):
    id: Key[int]
    cookies: Field[list[Cookie]] = Field(default_factory=list)


class Cookie(Model):
    id: Key[int]
    type: Field[str]
    jar: Field[Jar | None] = Field(default=None)
    jars: Related[Jar] = Related("Jar", "cookies")


def cookies() -> dict[str, dict[Any, dict[str, Any]]]:
    return {
        "cookie": {
            1: {"id": 1, "type": "muffin"},
            2: {"id": 2, "type": "shortbread", "jar": 1},
        },
        "jar": {1: {"id": 1, "cookies": [2]}},
    }


def open_memory(**options: Any) -> Any:
    return get_storage("pymodels.ext.memory", **options)


def test_a_dict_of_dicts_to_begin_with() -> None:
    storage = open_memory(data=cookies())
    assert len(storage) == 3
    assert [(one.id, one.type) for one in Cookie.objects(storage)] == [
        (1, "muffin"),
        (2, "shortbread"),
    ]
    shortbread = Cookie.objects(storage).get(2)
    assert shortbread.jar.id == 1
    assert [one.type for one in Jar.objects(storage).get(1).cookies] == ["shortbread"]
    assert [one.id for one in shortbread.jars] == [1]
    assert Cookie.objects(storage).where(jar=None).values("type") == ["muffin"]
    assert storage.raw(Cookie, 1) == {"id": 1, "type": "muffin"}
    Cookie(id=3, type="rusk", jar=1).save(storage)
    assert Cookie.objects(storage).where(jar=1).count() == 2
    shortbread.type = "oatcake"
    shortbread.save()
    assert storage.raw(Cookie, 2) == {"id": 2, "type": "oatcake", "jar": 1}


def test_no_data_at_all() -> None:
    for data in (None, {}, {"cookie": {}}):
        storage = open_memory(data=data)
        assert len(storage) == 0
        Cookie(id=1, type="muffin").save(storage)
        assert len(storage) == 1


def test_data_is_not_shared() -> None:
    data = cookies()
    data["cookie"][1]["extra"] = {"list": [1]}
    storage, other = open_memory(data=data), open_memory(data=data)
    data["cookie"][1]["type"] = "edited"
    data["cookie"][1]["extra"]["list"].append(2)
    data["jar"][1]["cookies"].append(7)
    del data["cookie"][2]
    data["new"] = {1: {}}
    assert storage.raw(Cookie, 1)["type"] == "muffin"
    assert storage.raw(Cookie, 1)["extra"] == {"list": [1]}
    assert Jar.objects(storage).get(1).key_of("cookies") == [2]
    before = {name: {key: dict(one) for key, one in some.items()} for name, some in data.items()}
    storage.clear()
    assert len(storage) == 0
    assert data == before
    assert len(other) == 3


def test_keys_of_every_kind() -> None:
    keys = [UUID(int=1), UUID(int=2)]
    storage = open_memory(
        data={
            "device": {key: {"label": str(key)} for key in reversed(keys)},
            "person": {"b": {"name": "Bob"}, "a": {"name": "Ann", "nobody declared": (1, {2})}},
            "town": {10: {}, -1: {}, 2: {}},
        }
    )
    assert list(storage.keys(Device)) == keys
    assert list(storage.keys(Person)) == ["a", "b"]
    assert list(storage.keys(Town)) == [-1, 2, 10]
    assert storage.get(Person, "a").unknown == {"nobody declared": (1, {2})}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"cookie": {1: {}, "1": {}}}, "int, str"),
        ({"cookie": {1.5: {}}}, "float"),
        ({"cookie": {None: {}}}, "NoneType"),
        ({"cookie": {True: {}}}, "bool"),
        ({"cookie": {2**63: {}}}, "2\\*\\*|9223372036854775808"),
        ({"cookie": {"": {}}}, "''"),
        ({"cookie": {1: ["no mapping"]}}, r"\['cookie'\]\[1\]"),
        ({"cookie": [{}]}, "cookie"),
        ({"cookie": {1: {"when": float("nan")}}}, "when"),
        ({"cookie": {1: {7: "not a name"}}}, r"\['cookie'\]\[1\]"),
        ({"cookie": {1: {"deep": {"object": object()}}}}, "object"),
        ([], "data"),
        ("cookie", "data"),
    ],
)
def test_data_that_will_not_do(data: Any, message: str) -> None:
    if data == []:  # nothing there, but of a type that could hold nothing
        data = [("cookie", {})]
    with pytest.raises(SettingsError, match=message):
        open_memory(data=data)


def test_keys_of_another_kind_than_the_model_declares() -> None:
    storage = open_memory(data={"cookie": {"one": {"type": "muffin"}}})
    with pytest.raises(ModelError, match="text keys"):
        Cookie(id=1, type="rusk").save(storage)
    with pytest.raises(ModelError, match="text keys"):
        list(Cookie.objects(storage))
    assert len(storage) == 1


def test_read_only_data() -> None:
    storage = open_memory(data=cookies(), read_only=True)
    assert Cookie.objects(storage).count() == 2
    with pytest.raises(StorageReadOnly):
        Cookie(id=3, type="rusk").save(storage)
    with pytest.raises(StorageReadOnly):
        storage.clear()


def test_values_that_are_unique_in_the_data() -> None:
    data = {"account": {"a": {"login": "ann"}, "b": {"login": "bob"}, "c": {}, "d": {}}}
    storage = open_memory(data=data)
    with pytest.raises(DuplicateKey):
        Account(pk="e", login="ann").save(storage)
    assert Account.objects(storage).get(login="bob").pk == "b"


def test_two_storages_have_nothing_in_common() -> None:
    one, other = open_memory(), open_memory(name="other")
    Town(id=1).save(one)
    assert len(other) == 0
    assert (one.name, other.name) == ("memory", "other")
    assert one.get(Town, 1) != Town(id=1).save(other)


def test_the_tables_are_at_hand() -> None:
    storage = open_memory(data=cookies())
    assert all(isinstance(table, dict) for table in storage.native.values())
    assert sum(len(table) for name, table in storage.native.items() if "record" in name) == 3


def test_a_fork_makes_a_copy() -> None:
    storage = open_memory(data=cookies())

    def work() -> list[int]:
        Cookie(id=3, type="by the child").save(storage)
        Cookie.objects(storage).get(1).delete()
        return list(storage.keys(Cookie))

    child = Child(work, waits=True)
    Cookie(id=4, type="by the parent").save(storage)
    child.go()
    assert child.result() == [2, 3]
    assert list(storage.keys(Cookie)) == [1, 2, 4]


def test_a_fork_while_another_thread_is_writing() -> None:
    storage = open_memory()
    prepared = storage.begin()
    Town(id=1).save(prepared)
    in_threads([prepared.prepare])  # another thread holds the only writer's place

    def work() -> list[int]:
        Town(id=2).save(storage)
        return list(storage.keys(Town))

    assert in_child(work) == [2]
    prepared.commit()
    assert list(storage.keys(Town)) == [1]


def test_a_fork_waits_for_a_batch_that_is_being_applied() -> None:
    storage = open_memory()
    stop = threading.Event()
    towns = [Town(id=number) for number in range(200)]
    names = iter(range(10**9))

    def write() -> None:
        while not stop.is_set():
            name = f"batch {next(names)}"
            for town in towns:
                town.name = name
            storage.save_all(towns)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            found = in_child(lambda: [town.name for town in Town.objects(storage)])
            assert len(found) in (0, len(towns))
            assert len(set(found)) <= 1
    finally:
        stop.set()
        writer.join()


def test_a_record_saved_while_a_reader_sorts_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_memory()
    for key in (5, 3):
        Town(id=key).save(storage)
    late = [Town(id=4), Town(id=9)]

    def slowly(keys: Iterable[bytes]) -> list[bytes]:
        done = sorted(keys)
        if late:
            late.pop().save(storage)
        return done

    monkeypatch.setattr(held, "sorted", slowly, raising=False)
    for _ in range(3):
        list(storage.keys(Town))
    assert not late
    assert list(storage.keys(Town)) == [3, 4, 5, 9]


def test_a_thread_that_would_wait_for_itself_is_told() -> None:
    storage = open_memory()
    transaction = storage.begin()
    Town(id=1).save(transaction)
    transaction.prepare()
    assert list(storage.keys(Town)) == []
    with pytest.raises(TransactionError, match="prepared"):
        Town(id=2).save(storage)
    waiting = threading.Thread(target=lambda: Town(id=3).save(storage), daemon=True)
    waiting.start()
    transaction.commit()
    waiting.join(60)
    assert list(storage.keys(Town)) == [1, 3]
