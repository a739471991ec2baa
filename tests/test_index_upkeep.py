"""How indexes are made, kept, dropped, checked and repaired."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from pymodels import Field, Model, UsageError, get_storage
from pymodels import Path as Place
from pymodels.byindex import InIndex
from pymodels.keyvalue import KeyValueStorage
from pymodels.tables import index_table

MANY = 10_500
"""More records than are indexed together with the write that brings an index."""


class Plain(Model, collection="thing"):
    """The records before anybody thought of indexes."""

    number: Field[int] = Field(default=0)
    tags: Field[list[str]] = Field(default_factory=list)


class Thing(Model):
    """The same records, indexed."""

    number: Field[int] = Field(default=0, index=True)
    tags: Field[list[str]] = Field(default_factory=list, index=True)


@pytest.fixture(params=["memory", "lmdb"])
def storage(request: Any, tmp_path: Path) -> Iterator[KeyValueStorage]:
    options: dict[str, Any] = {"backend": f"pymodels.ext.{request.param}"}
    if request.param == "lmdb":
        options["path"] = tmp_path / "things.lmdb"
    opened = get_storage(**options)
    assert isinstance(opened, KeyValueStorage)
    with opened:
        yield opened


def fill(storage: KeyValueStorage, count: int) -> None:
    storage.save_all(
        [Plain(pk=f"{at:06}", number=at % 100, tags=[f"t{at % 3}"]) for at in range(count)]
    )


def uses_index(storage: KeyValueStorage) -> bool:
    Thing.objects(storage).where(number=-1).count()  # whoever reads learns what is ready
    return isinstance(Thing.objects(storage).where(number=7).plan().native, InIndex)


def entries(storage: KeyValueStorage, index: str) -> list[tuple[bytes, bytes]]:
    with storage.writing() as batch:
        return list(batch.entries(index_table("thing", index), None, None, descending=False))


def test_a_few_records_are_indexed_with_the_first_write(storage: KeyValueStorage) -> None:
    fill(storage, 50)
    assert Thing.objects(storage).where(number=7).plan().native is None
    Thing(pk="new", number=7).save(storage)
    assert uses_index(storage)
    found = [thing.pk for thing in Thing.objects(storage).where(number=7)]
    assert found == ["000007", "new"]
    assert storage.check()


def test_many_records_are_indexed_bit_by_bit(storage: KeyValueStorage) -> None:
    fill(storage, MANY)
    Thing(pk="new", number=7).save(storage)
    assert not uses_index(storage)
    assert Thing.objects(storage).where(number=7).count() == MANY // 100 + 1
    assert storage.check()
    Plain.objects(storage).where(pk__in=["000007", "010007"]).update(number=8)
    storage.delete_many(Plain, ["000107", "010107"])
    assert storage.check()
    for _ in range(MANY // 200 + 2):
        Plain(number=7).save(storage)
    assert uses_index(storage)
    assert storage.check()
    assert Thing.objects(storage).where(number=8).count() == MANY // 100 + 2


def test_a_build_can_be_interrupted_and_goes_on(storage: KeyValueStorage) -> None:
    fill(storage, MANY)
    seen: list[tuple[str, int, int]] = []

    def interrupt(collection: str, done: int, total: int) -> None:
        seen.append((collection, done, total))
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.build_indexes(Thing, progress=interrupt)
    assert seen == [("thing", 2000, MANY), ("thing", 4000, MANY)]
    assert not uses_index(storage)
    storage.build_indexes(progress=lambda *told: seen.append(told))
    assert seen[2] == ("thing", 6000, MANY)
    assert seen[-1] == ("thing", MANY, MANY)
    assert uses_index(storage)
    assert storage.check()
    storage.build_indexes(Thing)


def test_an_index_is_dropped_on_request(storage: KeyValueStorage) -> None:
    storage.save_all([Thing(pk=f"{at}", number=at) for at in range(9)])
    assert storage.drop_indexes(Thing) == []
    assert storage.drop_indexes(Plain, "number") == ["number"]
    assert entries(storage, "number") == []
    assert Thing.objects(storage).where(number=7).count() == 1
    assert not uses_index(storage)
    assert storage.drop_indexes(Plain) == ["tags:members"]
    Thing(pk="again", number=7).save(storage)  # the model still declares both
    assert uses_index(storage)
    assert Thing.objects(storage).where(number=7).count() == 2
    assert storage.check()
    with pytest.raises(UsageError, match=r"no index 'numbr'.*number"):
        storage.drop_indexes(Thing, "numbr")


def test_every_view_keeps_the_indexes_of_all(storage: KeyValueStorage) -> None:
    Thing(pk="a", number=1, tags=["x", "y"]).save(storage)
    plain = Plain(pk="b", number=2, tags=["x"]).save(storage)
    plain.tags.append("z")
    plain.save()
    Plain.objects(storage).where(pk="a").update(number=3)
    assert [one.pk for one in Thing.objects(storage).where(tags__contains="z")] == ["b"]
    assert [one.pk for one in Thing.objects(storage).where(number__gte=2)] == ["a", "b"]
    Plain.objects(storage).where(pk="a").delete()
    assert [len(entries(storage, name)) for name in ("number", "tags:members")] == [1, 2]
    assert storage.check()


def test_an_index_that_another_storage_brought_is_kept_by_the_next_save(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"backend": "pymodels.ext.lmdb", "path": tmp_path / "things.lmdb"}
    with get_storage(**settings) as mine, get_storage(**settings) as another:
        for key in ("a", "b"):  # the second save knows what the first one left
            Plain(pk=key, number=1).save(mine)
        Thing(pk="c", number=1).save(another)
        Plain(pk="d", number=1).save(mine)
        with mine.transaction():
            Plain(pk="e", number=1).save(mine)
        assert uses_index(another)  # type: ignore[arg-type]
        assert [one.pk for one in Thing.objects(another).where(number=1)] == list("abcde")


class Level(Enum):
    LOW = 1
    HIGH = 2


class Owner(Model):
    """What others refer to."""


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (int, [2, -5, 2**60]),
        (int | None, [2, None, -5]),
        (float, [1.5, 2, 2.0]),
        (str, ["b", "", "a\0", "x" * 600]),
        (str | None, ["b", None]),
        (bool, [True, False]),
        (bytes, [b"b", b"\0"]),
        (Decimal, [Decimal("1.50"), Decimal(-1)]),
        (date, [date(2024, 2, 29), date(2023, 1, 1)]),
        (Level, [Level.HIGH, Level.LOW]),
        (int | str, ["a", 1, "b"]),
        (Any, [1, "a", [1, 2], None, 1.0]),
        (Owner, ["first", "second"]),
    ],
)
def test_each_new_record_that_is_saved_alone_is_in_the_index(
    storage: KeyValueStorage, annotation: Any, values: list[Any]
) -> None:
    class Held(Model):
        value: Field[annotation] = Field(index=True)  # type: ignore[valid-type]

    for key in ("first", "second"):
        Owner(pk=key).save(storage)
    # The first record of all brings the index, and the first of each family is noted with it.
    several = [*values, *values]
    for number, value in enumerate(several):
        Held(pk=f"{number}", value=value).save(storage)
    assert storage.check()
    for value in values:
        wanted = [f"{at}" for at, one in enumerate(several) if one == value]
        assert [one.pk for one in Held.objects(storage).where(value=value)] == wanted


def test_check_finds_what_is_wrong_and_repairs_it(storage: KeyValueStorage) -> None:
    storage.save_all([Thing(pk=f"{at}", number=at, tags=["x"]) for at in range(5)])
    table = index_table("thing", "number")
    (missing, *_), wrong = entries(storage, "number"), (b"\x11nonsense", b"4")
    with storage.writing() as batch:
        batch.remove(table, [missing])
        batch.add(table, [wrong])
    found = storage.check()
    assert not found
    assert found.problems == [
        "thing, index on number: '0' is missing",
        "thing, index on number: '4' is there wrongly",
    ]
    assert "2 problems" in str(found)
    mended = storage.check(repair=True)
    assert mended.repaired
    assert mended.problems == found.problems
    assert storage.check()
    assert [thing.number for thing in Thing.objects(storage).order_by("number")] == [0, 1, 2, 3, 4]
    assert "5 records" in str(storage.check())


def test_a_value_of_another_family_makes_a_model_read_everything(storage: KeyValueStorage) -> None:
    class Anything(Model, collection="thing"):
        number: Field[Any] = Field(default=None)

    Thing(pk="a", number=1).save(storage)
    assert uses_index(storage)
    Anything(pk="b", number="one").save(storage)
    assert isinstance(Anything.objects(storage).where(number="one").plan().native, InIndex)
    assert [one.pk for one in Anything.objects(storage).where(number="one")] == ["b"]
    Anything.objects(storage).where(pk="b").delete()
    assert [one.pk for one in Thing.objects(storage).where(number=1)] == ["a"]


def test_several_values_through_a_list_are_one_record(storage: KeyValueStorage) -> None:
    class Order(Model, indexes=["lines__n"]):
        lines: Field[Any] = Field(default=None)

    Order(pk="a", lines=[{"n": 1}, {"n": 5}, {"n": 7}]).save(storage)
    Order(pk="b", lines={"n": 5}).save(storage)
    Order(pk="c", lines=[]).save(storage)
    objects = Order.objects(storage)
    for condition, wanted in (
        (Place("lines", "n") > 0, ["a", "b"]),
        (Place("lines", "n") == None, ["c"]),  # noqa: E711 - a condition
        (Place("lines", "n").in_([1, 7]), ["a"]),
    ):
        asked = objects.where(condition)
        assert isinstance(asked.plan().native, InIndex)
        assert [one.pk for one in asked] == wanted
        assert asked.count() == len(wanted)
    assert [one.pk for one in objects.where_not(Place("lines", "n") > 0)] == ["c"]
    assert [one.pk for one in objects.order_by("lines__n")] == ["c", "a", "b"]
    assert storage.check()


def test_an_index_that_went_away_meanwhile_is_not_missed(storage: KeyValueStorage) -> None:
    storage.save_all([Thing(pk=f"{at}", number=9 - at) for at in range(10)])
    asked = Thing.objects(storage).where(number__gte=3).order_by("number")[1:4]
    plan, counted = asked.plan(), Thing.objects(storage).where(number__gte=3).plan()
    storage.drop_indexes(Plain, "number")
    assert [key for key, _ in storage.scan(plan)] == ["5", "4", "3"]
    assert storage.count(counted) == 7


def test_an_iteration_meets_a_record_once_that_moves_on_in_its_index(
    storage: KeyValueStorage,
) -> None:
    storage.save_all([Thing(pk=f"{at:03}", number=at) for at in range(300)])
    asked = Thing.objects(storage).order_by("number")[:120]
    assert isinstance(asked.plan().native, InIndex)
    met = []
    for thing in asked:
        met.append(thing.pk)
        thing.number += 5
        thing.save()
    assert len(met) == len(set(met)) == 120


def test_a_few_rare_records_are_not_looked_for_in_the_order_of_an_index(
    storage: KeyValueStorage,
) -> None:
    storage.save_all([Thing(pk=f"{at:04}", number=at, tags=[f"t{at % 900}"]) for at in range(3000)])
    few = Thing.objects(storage).where(pk__lt="0030", tags__size=1).order_by("-number")[:5]
    explanation = few.explain()
    assert explanation.read == 30
    assert [thing.number for thing in few] == [29, 28, 27, 26, 25]


class Rich(Model):
    """A record with an index of each kind."""

    number: Field[int] = Field(index=True)
    name: Field[str] = Field(unique=True)
    tags: Field[list[str]] = Field(default_factory=list, index=True)
    text: Field[str] = Field(default="", index="trigram")
    size: Field[float] = Field(default=0.0, index="column")

    class Meta:
        """What is not of one field alone."""

        indexes = (
            {"fields": ("number", "name")},
            {"fields": "text", "where": {"number__gte": 5}},
        )


@pytest.mark.parametrize(
    "lookups",
    [
        {"number": 3},
        {"number__lt": 4},
        {"number__in": [1, 3, 11]},
        {"tags__contains": "t1"},
        {"text__contains": "word 7"},
        {"size__gt": 20.0},
        {"name": "n5"},
        {"name__endswith": "3", "number": 3},
        {"pk__startswith": "01"},
        {"pk": "017"},
        {"number": 77},
        {},
    ],
)
def test_deleting_by_a_filter_leaves_indexes_of_what_is_left(
    storage: KeyValueStorage, lookups: dict[str, Any]
) -> None:
    made = [
        Rich(
            pk=f"{at:03}",
            number=at % 10,
            name=f"n{at}",
            tags=[f"t{at % 3}", f"t{at % 2}"],
            text=f"word {at}",
            size=float(at),
        )
        for at in range(40)
    ]
    storage.save_all(made)
    gone = {one.pk for one in Rich.objects(storage).where(**lookups)}
    assert Rich.objects(storage).where(**lookups).delete() == len(gone)
    left = [one for one in made if one.pk not in gone]
    assert [one.pk for one in Rich.objects(storage)] == [one.pk for one in left]
    assert storage.check()
    by_number = [one.pk for one in Rich.objects(storage).where(number=3)]
    assert by_number == [one.pk for one in left if one.number == 3]
    again = [Rich(pk=f"new {one.pk}", number=one.number, name=one.name) for one in made]
    assert storage.save_all([one for one in again if one.pk[4:] in gone]) == len(gone)
    assert storage.check()


def test_deleting_a_page_leaves_the_other_pages(storage: KeyValueStorage) -> None:
    fill(storage, 200)
    Thing(pk="z", number=100).save(storage)
    assert Thing.objects(storage).where(number=7)[:1].delete() == 1
    assert [one.pk for one in Thing.objects(storage).where(number=7)] == ["000107"]
    assert Thing.objects(storage).order_by("-number")[1:3].delete() == 2
    assert [one.pk for one in Thing.objects(storage).where(number__gte=99)] == ["z"]
    assert storage.check()
