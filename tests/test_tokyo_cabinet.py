"""Tokyo Cabinet: what is in the file, who may open it, and what survives."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pymodels import (
    Field,
    Key,
    Model,
    RecordInvalid,
    SettingsError,
    StorageBusy,
    StorageError,
    StorageInvalid,
    StorageReadOnly,
    get_storage,
)
from pymodels.ext._tokyo.search import search
from pymodels.ext._tokyo.unfinished import BATCH, LOCK, BatchState
from pymodels.ext.tokyo_cabinet import binding as tokyo

BACKEND = "pymodels.ext.tokyo_cabinet"


class Person(Model):
    name: Field[str | None] = Field(default=None)
    age: Field[int | None] = Field(default=None)
    extra: Field[Any] = Field(default=None)


class Town(Model):
    id: Key[int]
    name: Field[str] = Field(default="")


class Book(Model):
    title: Field[str | None] = Field(default=None, index=True)
    pages: Field[int | None] = Field(default=None, index=True)
    printed: Field[datetime | None] = Field(default=None, index="decimal")
    tags: Field[str | None] = Field(default=None, index="token")
    text: Field[str | None] = Field(default=None, index="qgram")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage.tct"


def opened(path: Path, **more: Any) -> Any:
    return get_storage(BACKEND, path=path, **more)


def foreign(path: Path, records: dict[bytes, dict[bytes, bytes]]) -> None:
    """Write a table as another program would."""
    table = tokyo.TDB()
    table.open(path, tokyo.TDBOWRITER | tokyo.TDBOCREAT)
    for key, columns in records.items():
        table.put(key, columns)
    table.close()


def columns(path: Path, key: bytes) -> dict[bytes, bytes] | None:
    table = tokyo.TDB()
    table.open(path, tokyo.TDBOREADER)
    try:
        return table.get(key)
    finally:
        table.close()


# --- what is in the file --------------------------------------------------------------------


def test_columns_are_text_that_others_can_read(path: Path) -> None:
    with opened(path) as storage:
        Person(pk="ann", name="Ann", age=42, extra=[1, "x"]).save(storage)
    found = columns(path, b"person:ann")
    assert found is not None
    assert (found[b"name"], found[b"age"], found[b"extra"]) == (b"Ann", b"42", b'[1,"x"]')


def test_null_absent_and_empty_are_three_things(path: Path) -> None:
    class Nickname(Model, collection="person"):
        nick: Field[str | None] = Field(default="none given")

    with opened(path) as storage:
        Person(pk="absent", name="A").save(storage)
        Nickname(pk="null", nick=None).save(storage)
        Nickname(pk="empty", nick="").save(storage)
        Nickname(pk="space", nick=" ").save(storage)
    with opened(path) as storage:
        found = {one.pk: one.nick for one in Nickname.objects(storage)}
        assert found == {"absent": "none given", "null": None, "empty": "", "space": " "}
        query = Nickname.objects(storage)
        assert [one.pk for one in query.where(nick=None)] == ["absent", "null"]
        assert [one.pk for one in query.where(nick="")] == ["empty"]
        assert [one.pk for one in query.where(nick=" ")] == ["space"]
        assert [one.pk for one in query.where(nick__exists=False)] == ["absent"]


@pytest.mark.parametrize("indexed", [False, True])
def test_numbers_beyond_what_the_engine_compares_exactly(path: Path, *, indexed: bool) -> None:
    class Number(Model):
        value: Field[int] = Field(index=indexed)

    values = [
        *(sign * (2**53 + more) for sign in (1, -1) for more in range(-2, 4)),
        2**63 - 1,
        2**63 - 2,
        -(2**63),
        0,
        7,
    ]
    with opened(path) as storage:
        storage.save_all([Number(pk=str(value), value=value) for value in values])
        query = Number.objects(storage)
        for operand in values:
            for lookup, compare in (
                ("equals", operand.__eq__),
                ("gt", operand.__lt__),
                ("gte", operand.__le__),
                ("lt", operand.__gt__),
                ("lte", operand.__ge__),
            ):
                found = {one.value for one in query.where(**{f"value__{lookup}": operand})}
                assert found == {value for value in values if compare(value)}, (lookup, operand)
        low, high = 2**53 - 1, 2**53 + 1
        between = query.where(value__between=(low, high))
        assert sorted(one.value for one in between) == [2**53 - 1, 2**53, 2**53 + 1]
        assert query.where(value__in=[2**53 + 1, 7]).count() == 2


def test_columns_of_other_programs_survive(path: Path) -> None:
    with opened(path) as storage:
        Person(pk="ann", name="Ann").save(storage)
        record = storage.native.get(b"person:ann")
        storage.native.put(b"person:ann", record | {b"phone": b"12", b"raw": b"\0\xff"})
    with opened(path) as storage:
        ann = Person.objects(storage).get("ann")
        ann.age = 3
        ann.save()
        assert storage.raw(Person, "ann")["phone"] == "12"
    found = columns(path, b"person:ann")
    assert found is not None
    assert found[b"phone"] == b"12"
    assert found[b"age"] == b"3"


def test_collections_share_a_file_without_meeting(path: Path) -> None:
    class Odd(Model, collection="person:x"):
        name: Field[str]

    with opened(path) as storage:
        Person(pk="x:1", name="one").save(storage)
        Odd(pk="1", name="two").save(storage)
        storage.save_all([Town(id=number, name=str(number)) for number in (-10, -9, 0, 9, 10, 99)])
        assert [one.name for one in Person.objects(storage)] == ["one"]
        assert [one.name for one in Odd.objects(storage)] == ["two"]
        assert [town.id for town in Town.objects(storage)] == [-10, -9, 0, 9, 10, 99]
        assert [town.id for town in Town.objects(storage).reverse()[:2]] == [99, 10]
        assert Town.objects(storage).count() == 6
        assert len(storage) == 8


# --- indexes --------------------------------------------------------------------------------


def books() -> list[Book]:
    words = ["sea", "Sailing", "to", "Byzantium", "straße", "STRASSE", "ſea", "Éa", "x"]
    chance = random.Random(7)
    return [
        Book(
            pk=f"{number:03}",
            title=" ".join(chance.choices(words, k=2)) if number % 9 else None,
            pages=chance.choice([None, 1, 10, 9, 100, 2**60, -5]),
            printed=datetime(1900 + number, 1, 1, tzinfo=UTC),
            tags=" ".join(chance.choices(words, k=3)),
            text=" ".join(chance.choices(words, k=8)) if number % 7 else "",
        )
        for number in range(90)
    ]


@pytest.mark.parametrize(
    ("lookups", "index"),
    [
        ({"pages__gte": 10}, '"pages"'),
        ({"pages": 9}, '"pages"'),
        ({"title": "x STRASSE"}, '"title"'),
        ({"title__startswith": "Sail"}, '"title"'),
        ({"printed__lt": datetime(1950, 6, 1, tzinfo=UTC)}, '"printed"'),
        ({"text__search": "BYZANT sea"}, '"text"'),
    ],
    ids=["gte", "number", "text", "startswith", "instant", "search"],
)
def test_the_engine_uses_declared_indexes(path: Path, lookups: Any, index: str) -> None:
    records = books()
    memory = get_storage("pymodels.ext.memory")
    memory.save_all(books())
    with opened(path) as storage:
        storage.save_all(records)
        query = Book.objects(storage).where(**lookups)
        assert f"using an index: {index}" in query.explain().details["engine"]
        found = [one.pk for one in query]
        assert found == [one.pk for one in Book.objects(memory).where(**lookups)]
        assert 0 < len(found) < len(records)


def test_an_index_that_is_declared_later(path: Path) -> None:
    class Plain(Model, collection="book"):
        pages: Field[Any] = Field(default=None)

    with opened(path) as storage:
        storage.save_all([Plain(pk=str(number), pages=number) for number in range(50)])
        Plain(pk="odd", pages="many").save(storage)
        Book(pk="new", pages=1000).save(storage)
        query = Book.objects(storage).where(pages__gt=48)
        with pytest.raises(RecordInvalid):  # what does not fit is never skipped
            list(query)
        Plain.objects(storage).get("odd").delete()
        assert [one.pk for one in query] == ["49", "new"]
        assert 'using an index: "pages"' in query.explain().details["engine"]


def test_search_means_the_same_without_the_engine(path: Path) -> None:
    class Note(Model):
        text: Field[str] = Field(index="qgram")

    class Unindexed(Model):
        text: Field[str]

    chance = random.Random(3)
    letters = [*"aBéÉßſK \u3000日\u0301'-", "  "]
    texts = ["".join(chance.choices(letters, k=chance.randrange(1, 9))) for _ in range(150)]
    wanted = ["a", "b", "A b", "é", "k", "日", "日 本", "ab ß", "-", "", " ", "\u0301", '"a']
    wanted += ["".join(chance.choices(letters, k=chance.randrange(1, 4))) for _ in range(60)]
    with opened(path) as storage:
        storage.save_all([Note(pk=str(n), text=text) for n, text in enumerate(texts)])
        storage.save_all([Unindexed(pk=str(n), text=text) for n, text in enumerate(texts)])
        for operand in wanted:
            words = tuple(operand.translate({i: i + 32 for i in range(65, 91)}).split())
            expected = {str(n) for n, text in enumerate(texts) if search(text, words)}
            for model in (Note, Unindexed):
                found = {one.pk for one in model.objects(storage).where(text__search=operand)}
                assert found == expected, (operand, model)


# --- files of other programs ----------------------------------------------------------------


ANIMALS = {
    b"7": {b"type": b"cat", b"name": b"Tom", b"lives": b"9"},
    b"8": {b"type": b"mouse", b"name": b"Jerry", b"lives": b"many"},
    b"9": {b"type": b"cat", b"name": b"Kitty", b"lives": b"7", b"weight": b"2.5"},
}


class Cat(Model, collection="animal", must_have={"type": "cat"}):
    id: Key[int]
    type: Field[str]
    name: Field[str]
    lives: Field[int]
    weight: Field[float | None] = Field(default=None)


def test_files_of_other_programs_are_adopted(path: Path) -> None:
    foreign(path, ANIMALS)
    with opened(path, adopt=["animal"]) as storage:
        cats = Cat.objects(storage)
        assert [(cat.id, cat.name, cat.lives) for cat in cats] == [(7, "Tom", 9), (9, "Kitty", 7)]
        assert cats.where(lives__gt=8).get().name == "Tom"
        assert cats.where(weight=2.5).get().id == 9
        assert cats.where(name__in=["Tom", "Jerry"]).count() == 1
        tom = cats.get(7)
        tom.lives = 8
        tom.save()
        Cat(id=10, name="Leo", lives=1).save(storage)
        Town(id=7, name="Rome").save(storage)
        assert [cat.id for cat in cats] == [7, 9, 10]
        assert [town.name for town in Town.objects(storage)] == ["Rome"]
    found = columns(path, b"7")
    assert found is not None
    assert (found[b"lives"], found[b"name"]) == (b"8", b"Tom")
    assert columns(path, b"8") == ANIMALS[b"8"]


def test_what_does_not_fit_is_named(path: Path) -> None:
    foreign(path, {b"x": {b"type": b"cat", b"name": b"Tom", b"lives": b"9"}})
    with opened(path, adopt=["animal"]) as storage, pytest.raises(RecordInvalid, match="b'x'"):
        list(Cat.objects(storage))


def test_an_empty_column_is_refused_an_index(path: Path) -> None:
    foreign(path, {b"person:a": {b"title": b""}})

    class Titled(Model, collection="person"):
        title: Field[str | None] = Field(default=None, index=True)

    with opened(path) as storage, pytest.raises(StorageInvalid, match="empty column 'title'"):
        Titled(pk="b", title="x").save(storage)


# --- who may open it ------------------------------------------------------------------------


def in_another_process(code: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parent.parent,
    )


OPEN = """
import sys
from pymodels import get_storage, StorageError
try:
    get_storage("pymodels.ext.tokyo_cabinet", path=sys.argv[1])
except StorageError as error:
    print(type(error).__name__, error)
"""


def test_a_second_opener_is_told_at_once(path: Path, tmp_path: Path) -> None:
    with opened(path) as storage:
        Person(pk="a").save(storage)
        with pytest.raises(StorageBusy, match="open already"):
            opened(path)
        said = in_another_process(OPEN, path).stdout
        assert said.startswith("StorageBusy tokyo cabinet")
        assert "tokyo_tyrant" in said
        storage.copy_file(tmp_path / "copy.tct")
        storage.optimize()
        assert "StorageBusy" in in_another_process(OPEN, path).stdout  # the lock is still ours
    assert in_another_process(OPEN, path).stdout == ""


def test_a_file_that_is_only_read(path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        opened(path, read_only=True)
    assert not path.exists()
    with opened(path) as storage:
        Person(pk="a", name="Ann").save(storage)
    with opened(path, read_only=True) as storage:
        assert Person.objects(storage).where(name="Ann").count() == 1
        with pytest.raises(StorageReadOnly):
            Person(pk="b").save(storage)
        with pytest.raises(StorageReadOnly):
            storage.optimize()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "table"}, "kind is one of HASH, BTREE, TABLE"),
        ({"path": ""}, "path is the name of a file"),
        ({"path": "a*.tct"}, "cannot be in the path"),
        ({"options": ["fast"]}, "options is a list of names out of large"),
        ({"options": "large"}, "options is a list"),
        ({"buckets": -1}, "buckets is a whole number from 0"),
        ({"cache": True}, "cache is a whole number"),
        ({"sync": 1}, "sync is True or False"),
        ({"adopt": "animal"}, "adopt is a list"),
        ({"kind": "HASH", "adopt": ["animal"]}, "adopt is for kind='TABLE'"),
        ({"bucket": 3}, "did you mean 'buckets'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_make_no_sense(path: Path, settings: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        get_storage({"backend": BACKEND, "path": path, **settings})
    assert said in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize("kind", ["TABLE", "HASH", "BTREE"])
def test_tuning(tmp_path: Path, kind: str) -> None:
    options = ["large", "deflate"]
    settings = {"path": tmp_path / "file", "kind": kind, "options": options, "buckets": 5000}
    with get_storage(BACKEND, **settings, cache=100, mmap_size=1 << 20, sync=True) as storage:
        storage.save_all([Person(pk=str(n), name="a" * 1000) for n in range(100)])
        assert storage.native.size < 100_000 or kind == "HASH"
    with get_storage(BACKEND, path=tmp_path / "file", kind=kind) as storage:
        assert Person.objects(storage).count() == 100
    other = "TABLE" if kind != "TABLE" else "HASH"
    with pytest.raises(StorageInvalid, match=f"is a {kind} file"):
        get_storage(BACKEND, path=tmp_path / "file", kind=other)


# --- the file as a whole --------------------------------------------------------------------


def test_a_hot_backup(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tct"
    with opened(path) as storage:
        storage.save_all(books())
        storage.copy_file(copy)
        Book.objects(storage).delete()
        with pytest.raises(SettingsError, match="onto itself"):
            storage.copy_file(path)
    with opened(copy) as backup:
        assert Book.objects(backup).count() == 90
        query = Book.objects(backup).where(pages__gt=50)
        assert 'using an index: "pages"' in query.explain().details["engine"]


def test_optimizing_gives_space_back(path: Path) -> None:
    with opened(path) as storage:
        storage.save_all([Person(pk=str(n), name="a" * 5000) for n in range(300)])
        Person.objects(storage).where_not(pk="7").delete()
        before = path.stat().st_size
        storage.optimize()
        assert path.stat().st_size < before / 3
        assert [one.pk for one in Person.objects(storage)] == ["7"]
        Person(pk="8").save(storage)


def test_vanishing(path: Path) -> None:
    foreign(path, {b"x": {b"a": b"b"}})
    with opened(path) as storage:
        storage.save_all(books())
        revision = storage.revision
        storage.vanish()
        assert len(storage.native) == 0
        assert storage.revision != revision
        assert storage.collections() == {}
        storage.save_all(books())
        assert Book.objects(storage).where(pages__gt=50).count() > 0


# --- what survives --------------------------------------------------------------------------


WRITE = """
import sys
from pymodels import Field, Model, get_storage

class Pair(Model):
    number: Field[int] = Field(unique=True)
    text: Field[str] = Field(default="x" * 50, index=True)

storage = get_storage("pymodels.ext.tokyo_cabinet", path=sys.argv[1], kind=sys.argv[2])
for number in range(int(sys.argv[3]), 10**9, 2):
    storage.save_all([Pair(pk=f"{number}a", number=number), Pair(pk=f"{number}b", number=-number)])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


class Pair(Model):
    number: Field[int] = Field(unique=True)
    text: Field[str] = Field(default="", index=True)


@pytest.mark.parametrize("kind", ["TABLE", "HASH", "BTREE"])
def test_a_killed_writer_loses_nothing_and_leaves_no_half(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    start = 1
    for turn in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(path), kind, str(start)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(40 + 7 * turn)]
        child.kill()
        said += child.stdout.readlines()
        child.stdout.close()
        child.wait()
        acknowledged = [int(line) for line in said if line.endswith("\n") and line.strip()]
        assert acknowledged
        with get_storage(BACKEND, path=path, kind=kind) as storage:
            keys = {one.pk for one in Pair.objects(storage)}
            assert {f"{n}{end}" for n in acknowledged for end in "ab"} <= keys
            assert {key[:-1] for key in keys if key[-1] == "a"} == {
                key[:-1] for key in keys if key[-1] == "b"
            }
            numbers = [one.number for one in Pair.objects(storage)]
            for number in random.Random(turn).sample(numbers, 20):
                assert Pair.objects(storage).where(number=number).count() == 1
            same = Pair.objects(storage).where(text="x" * 50)
            assert same.count() == len(keys)
            start = max(numbers) + 2


def test_a_file_that_was_cut_off(path: Path) -> None:
    with opened(path) as storage:
        storage.save_all(books())
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(StorageInvalid, match="truncated; restore it from a copy"):
        opened(path)


@pytest.mark.parametrize("content", [b"", b"no database at all", b"ToKyO CaBiNeT\nshort"])
def test_files_that_are_none(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StorageInvalid):
        opened(path)
    assert path.read_bytes() == content


def test_what_a_client_of_the_server_left_unfinished(path: Path) -> None:
    with opened(path) as storage:
        Person(pk="a", name="old").save(storage)
        Person(pk="b", name="old").save(storage)
        pending = [
            (b"person:a", storage.native.get(b"person:a") | {b"name": b"new"}),
            (b"person:b", None),
        ]
        storage.native.put(BATCH, BatchState(5, b"", pending).columns())
        storage.native.put(LOCK, {b"owner": b"somebody"})
    with pytest.raises(StorageInvalid, match="open it once without read_only"):
        opened(path, read_only=True)
    with opened(path) as storage:
        assert {one.pk: one.name for one in Person.objects(storage)} == {"a": "new"}
        assert storage.native.get(LOCK) is None
    with opened(path, read_only=True) as storage:
        assert Person.objects(storage).count() == 1


# --- the binding ----------------------------------------------------------------------------


def test_errors_have_codes_and_messages(path: Path) -> None:
    table = tokyo.TDB()
    with pytest.raises(tokyo.Error) as caught:
        table.open(path, tokyo.TDBOREADER)
    assert caught.value.code == tokyo.TCENOFILE
    assert "file not found" in str(caught.value)
    with pytest.raises(tokyo.Error):
        table.put(b"a", {b"b": b"c"})
    with pytest.raises(ValueError, match="NUL"):
        table.query().filter("a\0b", tokyo.TDBQCSTREQ, "x")


def test_columns_with_nul_come_back_from_the_binding(path: Path) -> None:
    table = tokyo.TDB()
    table.open(path, tokyo.TDBOWRITER | tokyo.TDBOCREAT)
    for stored in ({}, {b"a": b""}, {b"a\0b": b"c\0\0", b"d": b"x" * 300}):
        table.put(b"k", stored)
        assert table.get(b"k") == stored
    table.close()


def test_a_query_outlives_the_names_of_its_table(path: Path) -> None:
    table = tokyo.TDB()
    table.open(path, tokyo.TDBOWRITER | tokyo.TDBOCREAT)
    table.put(b"a", {b"n": b"1"})
    query = table.query()
    query.filter("n", tokyo.TDBQCNUMGE, "0")
    del table
    assert query.search() == [b"a"]


def test_memory_stays_flat(path: Path) -> None:
    """Of many calls; a leak of one small object for each would be some megabytes."""

    def resident() -> int:
        status = Path("/proc/self/statm").read_text().split()
        return int(status[1]) * os.sysconf("SC_PAGE_SIZE")

    table = tokyo.TDB()
    table.open(path, tokyo.TDBOWRITER | tokyo.TDBOCREAT)

    def work(times: int) -> None:
        for _ in range(times):
            table.put(b"key", {b"name": b"x" * 100, b"age": b"7"})
            table.get(b"key")
            table.get(b"none")
            table.searchkeys(b"k")
            query = table.query()
            query.filter("age", tokyo.TDBQCNUMEQ, "7")
            query.search()

    work(2000)
    before = resident()
    work(8_000)
    assert resident() - before < 1 << 20
    table.close()


def test_a_killed_process_is_no_lock(path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path), "TABLE", "1"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises(StorageBusy):
        opened(path)
    child.send_signal(signal.SIGKILL)
    child.stdout.close()
    child.wait()
    with opened(path) as storage:
        assert Pair.objects(storage).count() >= 2
