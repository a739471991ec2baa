"""Pickled: what the file holds, who may read and write it, and pickles that are not taken."""

from __future__ import annotations

import os
import pickle
import struct
import threading
import zlib
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pymodels import (
    DuplicateKey,
    Field,
    Key,
    Model,
    StorageBusy,
    StorageClosed,
    StorageInvalid,
    StorageReadOnly,
    get_storage,
)
from pymodels.testing.people import Account, Device, Person, Town
from pymodels.testing.running import Child, in_child


class Cookie(Model):
    id: Key[int]
    type: Field[str]
    jar: Field[int | None] = Field(default=None)


class Jar(Model):
    id: Key[int]
    cookies: Field[list[int]] = Field(default_factory=list)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.pickle"


def open_file(path: Path, **options: Any) -> Any:
    return get_storage("pymodels.ext.pickled", path=path, **options)


def cookies() -> dict[Any, Any]:
    return {
        "cookie": {1: {"id": 1, "type": "muffin"}, 2: {"id": 2, "type": "shortbread", "jar": 1}},
        "jar": {1: {"id": 1, "cookies": [2]}},
    }


# --- what the file holds --------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_dict_of_dicts_is_taken_as_it_is(path: Path, protocol: int) -> None:
    path.write_bytes(pickle.dumps(cookies(), protocol))
    before = path.read_bytes()
    with open_file(path) as storage:
        assert len(storage) == 3
        assert [(one.id, one.type) for one in Cookie.objects(storage)] == [
            (1, "muffin"),
            (2, "shortbread"),
        ]
        assert path.read_bytes() == before
        jar = storage.get(Jar, 1)
        assert jar.cookies == [2]
        Cookie(id=3, type="rusk").save(storage)
    expected = cookies()
    expected["cookie"][3] = {"type": "rusk", "jar": None}
    assert pickle.loads(path.read_bytes()) == expected
    with open_file(path) as storage:
        assert [one.type for one in Cookie.objects(storage)] == ["muffin", "shortbread", "rusk"]


def values() -> dict[str, Any]:
    return {
        "none": None,
        "bools": [True, False],
        "numbers": [0, -1, 2**63 - 1, -(2**63), 0.1, -0.0, Decimal("1.50"), Decimal("-1E+5")],
        "texts": ["", "é\0", "x" * 70_000],
        "bytes": [b"", b"\0\xff" * 10, b"y" * 70_000],
        "moments": [
            datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC),
            date(2024, 2, 29),
            time(1, 2, 3, 4),
            timedelta(-1, 5),
        ],
        "uuid": UUID(int=7),
        "shapes": [(1, (2,)), {1, 2, 3}, {"b": {"a": []}, "": {}}],
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_plain_value_is_taken_and_written(path: Path, protocol: int) -> None:
    everything = {"person": {"a": {"name": "Ann", "extra": values()}}}
    path.write_bytes(pickle.dumps(everything, protocol))
    with open_file(path) as storage:
        ann = storage.get(Person, "a")
        assert ann.extra == values()
        assert list(map(type, ann.extra["shapes"])) == [tuple, set, dict]
        ann.age = 5
        ann.save()
    everything["person"]["a"]["age"] = 5
    assert pickle.loads(path.read_bytes()) == everything
    with open_file(path) as storage:
        assert storage.get(Person, "a").extra == values()


def test_keys_of_every_kind_and_collections_that_are_empty(path: Path) -> None:
    with open_file(path) as storage:
        storage.save_all([Town(id=n) for n in (300, -1, 2)])
        Device(id=UUID(int=9)).save(storage)
        Person(pk="a\0b", name="Ann").save(storage).delete()
        everything = dict(storage.collections())
    held = pickle.loads(path.read_bytes())
    assert {name: list(records) for name, records in held.items()} == {
        "town": [300, -1, 2],
        "device": [UUID(int=9)],
        "person": [],
    }
    with open_file(path) as storage:
        assert storage.collections() == everything
        assert list(storage.keys(Town)) == [-1, 2, 300]


def test_what_is_unique_stays_so(path: Path) -> None:
    with open_file(path) as storage:
        storage.save_all([Account(pk=str(n), login=str(n)) for n in range(5)])
    with open_file(path) as storage:
        assert Account.objects(storage).get(login="3").pk == "3"
        assert "unique index" in str(Account.objects(storage).where(login="3").explain())
        with pytest.raises(DuplicateKey):
            Account(pk="new", login="3").save(storage)


def test_only_what_changed_is_pickled_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pymodels.ext import pickled

    with open_file(path) as storage:
        storage.save_all([Town(id=n, name=str(n)) for n in range(100)])
        made: list[Any] = []
        fragment = pickled.fragment
        monkeypatch.setattr(pickled, "fragment", lambda one: made.append(one) or fragment(one))
        Town(id=7, name="new").save(storage, replace=True)
        storage.delete_many(Town, [8])
        assert made == [7, {"name": "new"}, "town", "town"]
    held = pickle.loads(path.read_bytes())["town"]
    assert len(held) == 99
    assert held[7] == {"name": "new"}


def test_what_info_says(path: Path) -> None:
    with open_file(path) as storage:
        assert storage.info["bytes"] == 0
        Town(id=1).save(storage)
        assert storage.info["bytes"] == path.stat().st_size
        assert storage.info["file"] == str(path)
        assert storage.info["durable"] is True
        assert Town.objects(storage).explain().details["engine"] == "pickle"
        assert in_child(lambda: storage.info["durable"]) is False
    with pytest.raises(StorageClosed):
        _ = storage.info


# --- written whole --------------------------------------------------------------------------


def test_the_file_is_replaced_and_stays_what_it_was(path: Path) -> None:
    target = path.with_name("elsewhere.pickle")
    path.symlink_to(target)
    with open_file(path) as storage:
        Town(id=1).save(storage)
        target.chmod(0o640)
        before = target.stat().st_ino
        with target.open("rb") as old:
            Town(id=2).save(storage)
            assert list(pickle.load(old)["town"]) == [1], "who reads it goes on to read the old"
    assert path.is_symlink()
    assert target.stat().st_ino != before
    assert target.stat().st_mode & 0o777 == 0o640
    names = sorted(one.name for one in path.parent.iterdir())
    assert names == ["data.pickle", "elsewhere.pickle", "elsewhere.pickle-lock"]


def test_it_is_synced_before_it_takes_the_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def kind(file: int) -> str:
        return Path(f"/proc/self/fd/{file}").readlink().name

    monkeypatch.setattr(os, "fsync", lambda file: (steps.append(f"sync {kind(file)}"), fsync(file)))
    monkeypatch.setattr(
        Path, "replace", lambda one, other: (steps.append("rename"), replace(one, other))[1]
    )
    with open_file(path) as storage:
        Town(id=1).save(storage)
    assert steps == ["sync data.pickle-new", "rename", f"sync {path.parent.name}"]


def test_what_a_killed_writer_left_is_in_nobodys_way(path: Path) -> None:
    with open_file(path) as storage:
        Town(id=1).save(storage)
    path.with_name("data.pickle-new").write_bytes(b"half of a file")
    with open_file(path) as storage:
        assert list(storage.keys(Town)) == [1]
        Town(id=2).save(storage)
    assert not path.with_name("data.pickle-new").exists()
    with open_file(path) as storage:
        assert list(storage.keys(Town)) == [1, 2]


# --- who may open it ------------------------------------------------------------------------


def test_one_writer_at_a_time(path: Path) -> None:
    link = path.with_name("link.pickle")
    link.symlink_to(path)
    with open_file(path) as storage:
        Town(id=1).save(storage)
        for other in (path, link):
            with pytest.raises(StorageBusy, match="in this process"):
                open_file(other)

        def work() -> str:
            with pytest.raises(StorageBusy) as caught:
                open_file(path)
            return str(caught.value)

        assert str(os.getpid()) in in_child(work)
        Town(id=2).save(storage)
    with open_file(path) as storage:
        assert list(storage.keys(Town)) == [1, 2]


def test_a_killed_writer_holds_nothing(path: Path) -> None:
    def work() -> None:
        storage = open_file(path)
        Town(id=1).save(storage)
        os.kill(os.getpid(), 9)

    with pytest.raises(ChildProcessError, match="SIGKILL"):
        in_child(work)
    with open_file(path) as storage:
        assert list(storage.keys(Town)) == [1]


def test_readers_beside_the_writer_see_what_was_saved_last(path: Path) -> None:
    with open_file(path) as writer:
        Town(id=1).save(writer)
        with open_file(path, read_only=True) as reader, open_file(path, read_only=True) as other:
            results = iter(Town.objects(reader))
            assert next(results).id == 1
            Town(id=2).save(writer)
            assert list(results) == [], "an iteration goes on with what there was"
            assert reader.get(Town, 2).id == 2
            assert list(reader.keys(Town)) == list(other.keys(Town)) == [1, 2]
            before = reader.revision
            with writer.transaction():
                Account(pk="a", login="x").save(writer)
                assert Account.objects(reader).count() == 0
            assert Account.objects(reader).get(login="x").pk == "a"
            assert reader.revision != before
            with pytest.raises(StorageReadOnly):
                Town(id=3).save(reader)
            writer.close()
            path.unlink()
            assert list(reader.keys(Town)) == [1, 2]


def test_the_copy_of_a_child_stays_out_of_the_file(path: Path) -> None:
    storage = open_file(path)
    Town(id=1).save(storage)

    def work() -> list[int]:
        Town(id=2).save(storage)
        with pytest.raises(StorageBusy):
            open_file(path)
        return list(storage.keys(Town))

    assert in_child(work) == [1, 2]
    child = Child(lambda: list(storage.keys(Town)), waits=True)
    storage.close()
    with open_file(path) as again:  # the child does not hold the lock
        Town(id=3).save(again)
        child.go()
        assert child.result() == [1]
        assert list(again.keys(Town)) == [1, 3]


def test_a_fork_waits_for_a_save_that_is_under_way(path: Path) -> None:
    storage = open_file(path)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            storage.save_all([Town(id=number), Town(id=-number)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            assert in_child(lambda: Town.objects(storage).count()) % 2 == 0
    finally:
        stop.set()
        writer.join()
    count = len(storage)
    storage.close()
    assert len(open_file(path, read_only=True)) == count


# --- pickles that are not taken -------------------------------------------------------------


class Calls:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


HOSTILE = {
    "posix.system": lambda touch: pickle.dumps(Calls(os.system, touch)),
    "builtins.eval": lambda touch: pickle.dumps({"a": {"b": Calls(eval, "1/0")}}),
    "__builtin__.exec": lambda touch: pickle.dumps(
        Calls(exec, f"import os; os.system({touch!r})"), 0
    ),
    "subprocess.getoutput": lambda touch: b"csubprocess\ngetoutput\n(V" + touch.encode() + b"\ntR.",
    "os.popen": lambda touch: b"(V" + touch.encode() + b"\nios\npopen\n.",
    "tests.made.up": lambda touch: b"\x80\x04\x8c\x05tests\x8c\x07made.up\x93)R.",
    "builtins.getattr": lambda touch: pickle.dumps(Calls(getattr, {}, "get")),
    "extension": lambda touch: b"\x80\x04\x82\x01.",
    "persistent": lambda touch: b"\x80\x04K\x01Q.",
    "encoding": lambda touch: b"c_codecs\nencode\n(X\x01\0\0\0xX\x03\0\0\0bz2tR.",
}


@pytest.mark.parametrize("asks", HOSTILE)
@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("where", ["first", "second"])
def test_a_hostile_file_is_refused(path: Path, asks: str, read_only: bool, where: str) -> None:
    trace = path.with_name("trace")
    content = HOSTILE[asks](f"touch {trace}")
    if where == "second":
        content = pickle.dumps({}) + content
    path.write_bytes(content)
    with pytest.raises(StorageInvalid) as caught:
        open_file(path, read_only=read_only)
    assert asks in str(caught.value)
    assert str(path) in str(caught.value)
    assert not trace.exists()
    assert path.read_bytes() == content


def nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value, value]
    return value


def endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


BOMBS = {
    "the same often": lambda: pickle.dumps({"a": {"k": {"v": nested(0, 40)}}}),
    "one text often": lambda: pickle.dumps({"a": {"k": {"v": nested("x" * 100_000, 14)}}}),
    "without an end": lambda: pickle.dumps({"a": {"k": {"v": endless()}}}),
    "deep": lambda: b"(" * 200_000 + b"l" * 200_000 + b".",
    "deep in a record": lambda: (
        b"}X\x01\0\0\0a}X\x01\0\0\0k}X\x01\0\0\0v" + b"(" * 99_999 + b"l" * 99_999 + b"sss."
    ),
    "a huge number": lambda: b"\x80\x04}r\xff\xff\xff\x7f.",
    "a huge number in text": lambda: b"}p99999999999\n.",
    "a huge text": lambda: b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"x.",
    "huge bytes": lambda: b"\x80\x04c__builtin__\nbytes\n\x8a\x05\0\0\0\0\x40\x85R.",
    "a huge frame": lambda: b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"}.",
    "a huge int": lambda: pickle.dumps({"a": {"k": {"v": 1 << 100_000}}}),
    "a huge Decimal": lambda: pickle.dumps({"a": {"k": {"v": Decimal("1E+999999")}}}),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_file_that_would_fill_the_memory_is_refused(path: Path, bomb: str) -> None:
    path.write_bytes(BOMBS[bomb]())

    def work() -> str:
        import resource

        most = 2 << 30
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        with pytest.raises(StorageInvalid) as caught:
            open_file(path)
        return str(caught.value)

    said = in_child(work)
    assert str(path) in said
    assert len(said) < 1000


def test_what_is_held_in_two_places_is_taken(path: Path) -> None:
    note, tags = "x" * 1000, ["a", "b"]
    records = {f"{n}": {"name": note, "tags": tags} for n in range(3000)}
    path.write_bytes(pickle.dumps({"person": records}))
    with open_file(path) as storage:
        assert Person.objects(storage).where(tags=["a", "b"]).count() == 3000
        one = storage.get(Person, "7")
        one.tags.append("c")
        one.save()
        assert Person.objects(storage).where(tags=["a", "b"]).count() == 2999


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "a list"),
        ({"cookie": [{}]}, r"\['cookie'\].*list"),
        ({"cookie": {1: "muffin"}}, r"\['cookie'\]\[1\].*str"),
        ({"cookie": {1: {}, "1": {}}}, r"\['cookie'\].*int, str"),
        ({"cookie": {1.5: {}}}, r"\['cookie'\].*float"),
        ({7: {}}, "name, not 7"),
        ({"cookie": {1: {"price": float("nan")}}}, r"\['cookie'\]\[1\]\['price'\].*nan"),
        ({"cookie": {1: {"when": datetime(2024, 1, 1)}}}, r"\['when'\].*naive"),
        ({"cookie": {1: {"big": 2**64}}}, r"\['big'\].*64"),
        ({"cookie": {1: {"deep": [{"x": {1: 2}}]}}}, r"\['deep'\]\[0\]\['x'\].*text"),
        ({"cookie": {1: {"frozen": bytearray(b"x")}}}, "bytearray"),
    ],
)
def test_what_cannot_be_a_record_is_refused(path: Path, content: Any, message: str) -> None:
    path.write_bytes(pickle.dumps(content, 4))
    before = path.read_bytes()
    with pytest.raises(StorageInvalid, match=message):
        open_file(path)
    assert path.read_bytes() == before


def saved(path: Path) -> bytes:
    with open_file(path) as storage:
        storage.save_all([Town(id=n, name="x" * 20) for n in range(20)])
        storage.save_all([Account(pk=str(n), login=str(n)) for n in range(20)])
    return path.read_bytes()


def test_a_file_that_was_cut_off_or_changed_is_refused(path: Path) -> None:
    content = saved(path)
    lengths = [*range(1, len(content), 41), *range(len(content) - 40, len(content))]
    for length in lengths:
        path.write_bytes(content[:length])
        with pytest.raises(StorageInvalid):
            open_file(path)
    for position in range(0, len(content), 37):
        changed = bytearray(content)
        changed[position] ^= 0x41
        path.write_bytes(changed)
        with pytest.raises(StorageInvalid):
            open_file(path)
    path.write_bytes(content + b"more")
    with pytest.raises(StorageInvalid, match="appended"):
        open_file(path)
    path.write_bytes(content)
    with open_file(path) as storage:
        assert len(storage) == 40


def with_trailer(collections: Any, trailer: Any) -> bytes:
    begin = pickle.dumps(collections, 4)
    checksum = zlib.crc32(begin)
    for pair in trailer.get("pymodels", {}).items():
        for one in pair:
            checksum = zlib.crc32(one if isinstance(one, bytes) else b"", checksum)
    return begin + pickle.dumps({**trailer, "bytes": len(begin), "crc32": checksum}, 4)


@pytest.mark.parametrize(
    ("trailer", "message"),
    [
        ({"pymodels": {b"format": b"2"}}, "newer PyModels"),
        ({"pymodels": {"format": 1}}, "damaged"),
        ({"pymodels": {b"collection:town": b"\xc1"}}, "collection 'town' is damaged"),
        ({"pymodels": {b"collection:town": b"\x81\xa3key\xa4text"}}, "text keys"),
        ({"something": "else"}, "damaged"),
    ],
)
def test_a_second_pickle_that_will_not_do(path: Path, trailer: Any, message: str) -> None:
    path.write_bytes(with_trailer({"town": {1: {"name": "Bath"}}}, trailer))
    with pytest.raises(StorageInvalid, match=message):
        open_file(path)


def test_a_reader_keeps_what_it_has_if_the_file_is_overwritten_by_another(path: Path) -> None:
    saved(path)
    with open_file(path, read_only=True) as reader:
        assert len(reader) == 40
        path.write_bytes(b"something else")
        with pytest.raises(StorageInvalid):
            len(reader)
        path.write_bytes(pickle.dumps({"town": {1: {}}}))
        assert len(reader) == 1
