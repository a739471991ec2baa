"""Columns: blocks of values, what is found and computed by them, and how they are kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path as File
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymodels import (
    Field,
    Model,
    ModelError,
    Path,
    RecordInvalid,
    ScanRefused,
    StorageInvalid,
    blocks,
    get_storage,
)
from pymodels.ext import memory
from pymodels.keyvalue import KeyValueStorage
from pymodels.tables import column_table, records_table

COUNT = 300


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Old(Model, collection="thing"):
    """Records from before most fields: they have none of these."""

    text: Field[str] = Field(default="")


class Thing(Model):
    """A record of which every field is in a column, and one of them in an index too."""

    text: Field[str] = Field(default="", index="column")
    number: Field[int | None] = Field(default=None, index="column")
    ratio: Field[float] = Field(default=0.0, index="column")
    exact: Field[Decimal | None] = Field(default=None, index="column")
    moment: Field[datetime | None] = Field(default=None, index="column")
    day: Field[date | None] = Field(default=None, index="column")
    lasts: Field[timedelta | None] = Field(default=None, index="column")
    label: Field[UUID | None] = Field(default=None, index="column")
    flag: Field[bool] = Field(default=False, index="column")
    colour: Field[Colour | None] = Field(default=None, index="column")
    words: Field[list[str]] = Field(default_factory=list, index="column")
    anything: Field[Any] = Field(default=None, index="column")
    rank: Field[int] = Field(default=0, index=True)
    plain: Field[int] = Field(default=0)


class Unindexed(memory.Storage):
    """Keeps no index, so that the reference evaluator decides everything."""

    keeps_indexes = False


def things() -> list[Model]:
    chance = random.Random(5)
    open_values = (1, 1.0, 2.5, "x", "", None, True, Decimal(2), date(2020, 1, 1), [1, "x"], b"b")
    start = datetime(2020, 1, 1, tzinfo=UTC)
    made: list[Model] = [
        Thing(
            pk=f"{number:05}",
            text=chance.choice(["apple", "Pear", "straße", "", "x" * 700]) + str(number % 9),
            number=chance.choice([None, *range(-3, 20), 2**60]),
            ratio=chance.choice([0.0, -0.0, 0.1, 1e-300, 1e300, chance.random()]),
            exact=chance.choice([None, Decimal("0.10"), Decimal(3), Decimal("1e20")]),
            moment=chance.choice([None, start + timedelta(hours=chance.randrange(999))]),
            day=chance.choice([None, date(2000 + chance.randrange(9), 2, 1)]),
            lasts=chance.choice([None, timedelta(chance.randrange(9))]),
            label=chance.choice([None, UUID(int=chance.randrange(9))]),
            flag=chance.random() < 0.5,
            colour=chance.choice([None, *Colour]),
            words=[f"w{chance.randrange(5)}" for _ in range(chance.randrange(4))],
            anything=chance.choice(open_values),
            rank=number,
            plain=chance.randrange(10),
        )
        for number in range(COUNT)
        if number % 7
    ]
    made += [Old(pk=f"{number:05}", text=f"old {number}") for number in range(0, COUNT, 7)]
    return made


def opened(backend: str, folder: File) -> KeyValueStorage:
    options: dict[str, Any] = {"backend": f"pymodels.ext.{backend}"}
    if backend == "lmdb":
        options["path"] = folder / "things.lmdb"
    found = get_storage(**options)
    assert isinstance(found, KeyValueStorage)
    return found


@pytest.fixture(scope="module", autouse=True)
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MOST", 16)
        patch.setattr(blocks, "LARGEST", 4000)
        yield


@pytest.fixture(scope="module", params=["memory", "lmdb"])
def storage(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyValueStorage]:
    with opened(request.param, tmp_path_factory.mktemp("columns")) as found:
        found.save_all(things())
        Thing(pk="first", rank=-1).save(found)  # as the first of this model: now there are columns
        yield found


@pytest.fixture(scope="module")
def reference() -> Unindexed:
    found = Unindexed()
    found.save_all(things())
    Thing(pk="first", rank=-1).save(found)
    return found


FILTERS: list[tuple[str, Callable[[Any], Any]]] = [
    ("column of text", lambda q: q.where(text__contains="ppl")),
    ("column of text", lambda q: q.where(text__iendswith="SSE3")),
    ("column of text", lambda q: q.where(text__matches="^(a|P).*[2-4]$")),
    ("column of number", lambda q: q.where(number__gte=5)),
    ("column of number", lambda q: q.where(number=None)),
    ("column of number", lambda q: q.where(number__exists=False)),
    ("column of number", lambda q: q.where_not(number__in=[1, 2, None])),
    ("column of ratio", lambda q: q.where(ratio=0)),
    ("column of exact", lambda q: q.where(exact=Decimal("0.1"))),
    ("column of moment", lambda q: q.where(moment__hour=7)),
    ("column of day", lambda q: q.where(day__year=2004)),
    ("column of lasts", lambda q: q.where(lasts__lt=timedelta(3))),
    ("column of label", lambda q: q.where(label=UUID(int=3))),
    ("column of colour", lambda q: q.where(colour=Colour.RED)),
    ("column of words", lambda q: q.where(words__contains="w1")),
    ("column of words", lambda q: q.where(words__size=2)),
    ("column of anything", lambda q: q.where(anything=1)),
    ("column of anything", lambda q: q.where(anything=True)),
    ("column of anything", lambda q: q.where(anything__contains="x")),
    ("columns of flag, number", lambda q: q.where(flag=True, number__lt=5)),
    (
        "columns of flag, number, text",
        lambda q: q.where((Path("flag") == True) | (Thing.number == 3), text__contains="p"),  # noqa: E712
    ),
    ("column of text", lambda q: q.where(text__contains="p", plain__lt=5)),
]


def keys(found: Any) -> list[Any]:
    return [one.pk for one in found]


@pytest.mark.parametrize("number", range(len(FILTERS)))
def test_columns_find_what_is_asked_for(
    storage: KeyValueStorage, reference: Unindexed, number: int
) -> None:
    engine, ask = FILTERS[number]
    query, wanted = ask(Thing.objects(storage)), ask(Thing.objects(reference))
    assert repr(query.plan().native) == engine
    found = keys(wanted)
    assert found, "a query that finds nothing shows little"
    assert keys(query) == found
    assert keys(query.reverse()) == found[::-1]
    assert sorted(keys(query.unordered())) == found
    assert keys(query[2:5]) == found[2:5]
    assert keys(query.reverse()[1:4]) == found[::-1][1:4]
    assert query.count() == len(found)
    assert query[1:4].count() == len(found[1:4])
    assert keys(query.order_by("-plain")) == keys(wanted.order_by("-plain"))
    with storage.transaction():
        assert keys(ask(Thing.objects(storage))) == found


ORDERS = ("text", "number", "ratio", "exact", "moment", "day", "lasts", "label", "flag", "anything")


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("nulls", ["first", "last"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_columns_give_the_first_ones_in_their_order(
    storage: KeyValueStorage, reference: Unindexed, name: str, nulls: str, sign: str
) -> None:
    def ordered(storage: Any) -> Any:
        return Thing.objects(storage).order_by(f"{sign}{name}", nulls=nulls)

    query = ordered(storage)[:5]
    assert repr(query.plan().native_order) == f"{'descending ' if sign else ''}column of {name}"
    for start, stop in ((0, 5), (40, 47), (200, 230), (290, 400)):
        wanted = keys(ordered(reference)[start:stop])
        assert keys(ordered(storage)[start:stop]) == wanted
        some = ordered(reference).where(flag=False)[start // 2 : stop // 2]
        assert keys(ordered(storage).where(flag=False)[start // 2 : stop // 2]) == keys(some)


def test_what_columns_cannot_sort_is_sorted_by_records(
    storage: KeyValueStorage, reference: Unindexed
) -> None:
    for ask in (
        lambda q: q.order_by("number", "-text")[:9],
        lambda q: q.order_by("-number", "text")[:9],
        lambda q: q.order_by("number").where(plain__lt=3)[:9],
        lambda q: q.order_by("number"),
    ):
        assert keys(ask(Thing.objects(storage))) == keys(ask(Thing.objects(reference)))


AGGREGATES: list[Callable[[Any], Any]] = [
    lambda q: q.sum("number"),
    lambda q: q.sum("ratio"),
    lambda q: q.avg("ratio"),
    lambda q: q.avg("exact"),
    lambda q: q.sum("anything"),
    lambda q: q.min("text"),
    lambda q: q.max("anything"),
    lambda q: q.max("words"),
    lambda q: q.values("number"),
    lambda q: q.values("words"),
    lambda q: q.values("colour"),
    lambda q: q.group_by("flag").count(),
    lambda q: q.group_by("anything").count(),
    lambda q: q.group_by("flag", "colour").avg("number"),
    lambda q: q.group_by("number").max("words"),
    lambda q: q.where(flag=True).sum("number"),
    lambda q: q.where(text__contains="p").group_by("flag").sum("ratio"),
    lambda q: q.where(text__contains="nowhere").max("number"),
    lambda q: q.where(text__contains="p").order_by("-number")[:7].sum("ratio"),
    lambda q: q.where(plain__lt=3).sum("ratio"),
]


@pytest.mark.parametrize("number", range(len(AGGREGATES)))
def test_columns_give_the_same_aggregates(
    storage: KeyValueStorage, reference: Unindexed, number: int
) -> None:
    ask = AGGREGATES[number]
    found = ask(Thing.objects(storage))
    assert repr(found) == repr(ask(Thing.objects(reference)))


def test_aggregates_read_no_records(storage: KeyValueStorage, monkeypatch: Any) -> None:
    def refused(*args: Any) -> Any:
        raise AssertionError("records are read")

    monkeypatch.setattr("pymodels.query.execute", refused)
    for ask in AGGREGATES[:17]:
        ask(Thing.objects(storage))
    with pytest.raises(AssertionError, match="records are read"):
        AGGREGATES[-1](Thing.objects(storage))


def test_an_index_that_finds_a_few_goes_before_a_column(storage: KeyValueStorage) -> None:
    plan = Thing.objects(storage).where(rank__lt=10, text__contains="p").plan()
    assert repr(plan.native) == "range of index on rank"
    plan = Thing.objects(storage).order_by("rank")[:5].plan()
    assert repr(plan.native_order) == "index on rank"


def test_going_through_a_column_counts_as_a_scan(storage: KeyValueStorage) -> None:
    careful = Thing.objects(storage, allow_scan=False).where(text__contains="p")
    with pytest.raises(ScanRefused):
        careful.all()
    explanation = Thing.objects(storage).where(text__contains="p").explain()
    assert explanation.scan
    assert explanation.read == explanation.returned == careful._with(allow_scan=True).count()


# --- keeping them ---------------------------------------------------------------------------


@pytest.fixture(params=["memory", "lmdb"])
def fresh(request: Any, tmp_path: File) -> Iterator[KeyValueStorage]:
    with opened(request.param, tmp_path) as found:
        yield found


def test_columns_follow_every_write(fresh: KeyValueStorage) -> None:
    reference = Unindexed()
    chance = random.Random(6)
    for turn in range(60):
        keys_of = [f"{chance.randrange(120):03}" for _ in range(chance.choice([1, 1, 2, 40]))]
        made = {key: chance.choice([None, turn]) for key in keys_of}
        gone = [f"{chance.randrange(120):03}" for _ in range(chance.choice([0, 1, 30]))]
        for each in (fresh, reference):
            each.save_all(
                [Thing(pk=k, number=n, text=f"{turn}") for k, n in made.items()], replace=True
            )
            each.delete_many(Thing, gone)
            Thing.objects(each).where(number=turn - 3).update(text="updated", number=None)
        if turn % 10 == 9:
            found = fresh.check()
            assert found, str(found)
        asked = [Thing.objects(each).where(text__contains="1") for each in (fresh, reference)]
        assert keys(asked[0]) == keys(asked[1])
        assert Thing.objects(fresh).sum("number") == Thing.objects(reference).sum("number")
    Thing.objects(fresh).delete()
    assert Thing.objects(fresh).values("text") == []
    assert fresh.check()


def test_a_column_is_built_in_steps_and_dropped(fresh: KeyValueStorage, monkeypatch: Any) -> None:
    monkeypatch.setattr("pymodels.indexing.AT_ONCE", 10)
    monkeypatch.setattr("pymodels.maintenance.STEP", 30)
    fresh.save_all([Old(pk=f"{n:03}", text=f"t{n % 5}") for n in range(100)])
    steps: list[int] = []

    def interrupted(name: str, done: int, total: int) -> None:
        steps.append(done)
        if len(steps) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fresh.build_indexes(Thing, progress=interrupted)
    asked = Thing.objects(fresh).where(text__contains="3")
    assert asked.plan().native is None
    assert asked.count() == 20
    Thing.objects(fresh).where(pk="003").update(text="none")
    Thing.objects(fresh).where(pk="098").update(text="none")
    assert fresh.check()
    fresh.build_indexes()
    assert repr(asked.plan().native) == "column of text"
    assert asked.count() == 18
    assert fresh.check()
    dropped = fresh.drop_indexes(Old)
    assert {"text:column", "rank"} <= set(dropped)
    with fresh.view() as view:
        left = column_table("thing", "text:column")
        assert list(view.items(left, None, None, descending=False)) == []
    assert asked.count() == 18
    assert asked.plan().native is None


def test_check_finds_a_wrong_column_and_repairs_it(fresh: KeyValueStorage) -> None:
    fresh.save_all([Thing(pk=f"{n:03}", text=f"t{n % 5}") for n in range(60)])
    table = column_table("thing", "text:column")
    asked = Thing.objects(fresh).where(text__contains="3")
    right = keys(asked)
    with fresh.writing() as batch:
        blocks.change(batch, table, [(b"", b"003")], [(b"\xa1x", b"004"), (b"\xa1y", b"zzz")])
    found = fresh.check()
    assert [problem.split(": ")[1] for problem in found.problems] == [
        "'003' is missing",
        "'004' is missing",
        "'004' is there wrongly",
        "'zzz' is there wrongly",
    ]
    assert fresh.check(repair=True).repaired
    assert fresh.check()
    assert keys(asked) == right


def test_damaged_blocks_are_found_and_mislead_nobody(fresh: KeyValueStorage) -> None:
    fresh.save_all([Thing(pk=f"{n:03}", text=f"t{n % 5}", number=n) for n in range(60)])
    with fresh.writing() as batch:
        for name in ("text:column", "number:column"):
            table = column_table("thing", name)
            *_, (last, data) = batch.items(table, None, None, descending=False)
            batch.put(table, last, data[: len(data) // 2])
    found = fresh.check()
    assert len(found.problems) == 2
    assert all("cannot be read" in problem for problem in found.problems)
    assert keys(Thing.objects(fresh).where(text__contains="3")) == [
        f"{n:03}" for n in range(60) if n % 5 == 3
    ]
    assert keys(Thing.objects(fresh).order_by("-number")[:2]) == ["059", "058"]
    assert Thing.objects(fresh).sum("number") == sum(range(60))
    with pytest.raises(StorageInvalid, match=r"check\(repair=True\)"):
        Thing(pk="zzz").save(fresh)
    assert fresh.check(repair=True).repaired
    Thing(pk="zzz").save(fresh)
    assert fresh.check()


class Loose(Model, collection="thing"):
    """The same records, of which the field may be anything."""

    text: Field[Any] = Field(default=None)
    number: Field[Any] = Field(default=None)


def test_a_record_that_does_not_fit_is_met_where_it_is(fresh: KeyValueStorage) -> None:
    fresh.save_all([Thing(pk=f"{n:03}", text=f"t{n % 5}", number=n) for n in range(60)])
    Loose.objects(fresh).where(pk="030").update(text=7)
    met: list[Any] = []
    with pytest.raises(RecordInvalid) as error:
        met.extend(one.pk for one in Thing.objects(fresh).where(text__contains="3"))
    assert (error.value.key, error.value.field) == ("030", "text")
    assert met == ["003", "008", "013", "018", "023", "028"]
    met.clear()
    with pytest.raises(RecordInvalid):
        met.extend(one.pk for one in Thing.objects(fresh).where(text__contains="3").reverse())
    assert met == ["058", "053", "048", "043", "038", "033"]
    for ask in (
        lambda q: q.where(text__contains="3").count(),
        lambda q: q.order_by("text")[:3].all(),
        lambda q: q.max("text"),
        lambda q: q.values("text"),
    ):
        with pytest.raises(RecordInvalid):
            ask(Thing.objects(fresh))
    assert Thing.objects(fresh).sum("number") == sum(range(60))  # another field, which fits
    assert keys(Loose.objects(fresh).where(text=7)) == ["030"]
    assert fresh.check()


def test_what_is_no_record_is_passed_over_by_no_column(fresh: KeyValueStorage) -> None:
    fresh.save_all([Thing(pk=f"{n:03}", text=f"t{n % 5}") for n in range(20)])
    with fresh.writing() as batch:
        batch.put(records_table("thing"), b"011", b"\xc1")
    fresh.check(repair=True)
    with pytest.raises(RecordInvalid) as error:
        Thing.objects(fresh).where(text__contains="nowhere").all()
    assert error.value.key == "011"


def test_an_iteration_survives_writes_in_the_loop(fresh: KeyValueStorage) -> None:
    fresh.save_all([Thing(pk=f"{n:03}", text="same", number=n) for n in range(90)])
    met = []
    for thing in Thing.objects(fresh).where(text__contains="sam"):
        met.append(thing.pk)
        thing.number = -1
        thing.save()
        Thing(pk=f"{thing.pk}+", text="other").save(fresh)
        Thing.objects(fresh).where(pk=f"{89 - len(met):03}+").delete()
    assert met == [f"{n:03}" for n in range(90)]
    assert fresh.check()


def test_a_column_is_of_one_whole_field() -> None:
    for options in (
        {"fields": ("text", "number")},
        {"fields": "text", "where": {"number": 3}},
        {"fields": "text", "caseless": True},
        {"fields": "bag__x"},
    ):
        with pytest.raises(ModelError, match="a column has the values of one whole field"):

            class Wrong(Model, indexes=[{"kind": "column", **options}]):
                text: Field[str]
                number: Field[int]
                bag: Field[dict[str, int]]


# --- blocks ---------------------------------------------------------------------------------


class Held(dict[bytes, bytes]):
    """A table, as much of it as blocks ask for."""

    def items(  # type: ignore[override]
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        found = [key for key in self.keys() if (low or b"") <= key and (high is None or key < high)]
        return iter([(key, self[key]) for key in sorted(found, reverse=descending)])

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self[key] = value

    def delete(self, table: str, key: bytes) -> None:
        del self[key]


VALUES = st.one_of(st.none(), st.text(max_size=30), st.just(blocks.ABSENT), st.binary(max_size=999))
CHANGES = st.dictionaries(st.binary(min_size=1, max_size=2), VALUES | st.just(...), max_size=60)


@given(st.lists(CHANGES, max_size=8))
@settings(max_examples=60, deadline=None)
def test_blocks_hold_what_was_put_into_them(batches: list[dict[bytes, Any]]) -> None:
    held: Any = Held()
    wanted: dict[bytes, bytes] = {}
    for changes in batches:
        removed = [(b"", key) for key, value in changes.items() if value is ...]
        added = [
            (value if value == b"" else msgspec.msgpack.encode(value), key)
            for key, value in changes.items()
            if value is not ...
        ]
        blocks.change(held, "t", removed, added)
        for _, key in removed:
            wanted.pop(key, None)
        wanted |= {key: value for value, key in added}
        assert list(blocks.pairs(held, "t")) == [(wanted[key], key) for key in sorted(wanted)]
        assert list(blocks.problems(held, "t")) == []
