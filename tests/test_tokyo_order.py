"""Pages in the order of an indexed column: the engine finds them, and they are exactly ours."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from pymodels import Field, Model, RecordInvalid, get_storage
from tests.tyrants import served


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Thing(Model):
    number: Field[int | None] = Field(default=None, index=True)
    weight: Field[float | None] = Field(default=None, index="decimal")
    text: Field[str | None] = Field(default=None, index=True)
    born: Field[datetime | None] = Field(default=None, index="lexical")
    done: Field[bool] = Field(default=False, index=True)
    group: Field[int] = Field(default=0)
    kind: Field[str] = Field(default="a", index=True)
    size: Field[Size] = Field(default=Size.SMALL, index=True)
    plain: Field[int] = Field(default=0)


class Part(Model, collection="thing"):
    """Another view of the same records, which leaves fields out."""

    group: Field[int] = Field(default=0)


class Elsewhere(Model):
    """Columns of the same names, in another collection of the same file."""

    number: Field[int]
    text: Field[str]
    done: Field[bool]


TEXTS = ["", " ", "a", "ab", "a b", "Z", "é", "e\u0301", "ß", "日本", "\x01", "\t", "\U0001f600"]
TEXTS += ["\uffff", "a\x01", "null", "true", "7", "x" * 300]
NUMBERS = [0, 7, -7, 10, 9, -10]
FLOATS = [0.0, -0.0, 0.5, -0.5, -0.25, 0.1, 0.1 + 2**-56, 1e-7, -1e-7, 1e15, 1e15 + 0.125, 2.0]
FLOATS += [1 / 3, 1 / 3 + 2**-54, 123456.789, -2.5, 1e-300, 7.0]
START = datetime(1, 1, 1, tzinfo=UTC)
MOMENTS = [START, START + timedelta(microseconds=1), datetime(2024, 2, 29, tzinfo=UTC)]
MOMENTS += [datetime(2024, 2, 29, 0, 0, 0, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]


def things(chance: random.Random, count: int, *, gaps: bool) -> list[Model]:
    """Return records of which many tie; with *gaps* some have no value, or lack the fields."""
    made: list[Model] = []
    for number in range(count):
        key = f"{chance.randrange(10**6):06}{number}"
        if gaps and chance.random() < 0.1:
            made.append(Part(pk=key, group=chance.randrange(3)))
            continue
        none = gaps and chance.random() < 0.2
        made.append(
            Thing(
                pk=key,
                number=None
                if none
                else chance.choice([0, 7, -7, 10, 9, -10, chance.randrange(99)]),
                weight=None if none else chance.choice([*FLOATS, chance.uniform(-9, 9)]),
                text=None if none else chance.choice(TEXTS if gaps else TEXTS[1:]),
                born=None if none else chance.choice(MOMENTS),
                done=chance.random() < 0.3,
                group=chance.randrange(3),
                kind=chance.choice("ab"),
            )
        )
    return made


@pytest.fixture(params=["cabinet", "tyrant"])
def open_storage(request: Any, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    path = tmp_path / "storage.tct"
    if request.param == "cabinet":
        yield lambda: get_storage("pymodels.ext.tokyo_cabinet", path=path)
    else:
        with served(path) as tyrant:
            yield lambda: get_storage(tyrant.settings(timeout=120))


CONDITIONS: tuple[dict[str, Any], ...] = (
    {},
    {"kind": "a"},
    {"group__in": [0, 2]},
    {"number__gte": 5},
    {"number__in": [7, 9, -10]},
    {"text__startswith": "a"},
    {"text__in": ["a", "ab", "Z"]},
    {"number__between": (-8, 10), "kind": "b"},
    {"pk__lte": "5"},
    {"pk__startswith": "1"},
)
FIELDS = ("number", "weight", "text", "born", "done")


def orders(chance: random.Random) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    for field in FIELDS:
        for sign in ("", "-"):
            yield (f"{sign}{field}",), {}
            yield (f"{sign}{field}",), {"nulls": chance.choice(["first", "last"])}
            yield (f"{sign}{field}", chance.choice(["pk", "-pk"])), {}


@pytest.mark.parametrize("gaps", [False, True], ids=["all have values", "some have none"])
def test_pages_are_those_of_the_evaluator(open_storage: Callable[[], Any], gaps: bool) -> None:
    chance = random.Random(11)
    memory = get_storage("pymodels.ext.memory")
    asked_of_engine = 0
    with open_storage() as storage:
        storage.save_all([Elsewhere(number=3, text="e", done=True) for _ in range(9)])
        for one in (storage, memory):
            one.save_all(things(random.Random(12), 120, gaps=gaps))
        for terms, more in orders(chance):
            skip, most = chance.choice([(0, 5), (3, 10), (0, 60), (40, 30), (100, 50), (0, 1)])
            for conditions in CONDITIONS:
                found, wanted = (
                    Thing.objects(one)
                    .where(**conditions)
                    .order_by(*terms, **more)[skip : skip + most]
                    .select("pk")
                    for one in (storage, memory)
                )
                assert list(found) == list(wanted), (terms, more, conditions, skip, most)
            page = Thing.objects(storage).order_by(*terms, **more)[:7]
            asked_of_engine += page.explain().sorted_by.startswith("engine")
            mirrored = Thing.objects(memory).order_by(*terms, **more).reverse()[:7]
            page = Thing.objects(storage).order_by(*terms, **more).reverse()[:7]
            assert [each.pk for each in page] == [each.pk for each in mirrored], (terms, more)
    assert asked_of_engine == 3 * 2 * len(FIELDS)


def test_the_engine_stops_early(open_storage: Callable[[], Any]) -> None:
    with open_storage() as storage:
        storage.save_all(things(random.Random(1), 100, gaps=False))
        said = Thing.objects(storage).order_by("-number")[:5].explain()
        assert said.sorted_by == "engine (number NUMDESC, ties by key in Python)"
        assert 'using an index: "number" desc (order)' in said.details["engine"]
        assert (said.read, said.returned) == (5, 5)
        for by_python in (
            Thing.objects(storage).order_by("number"),  # all of them
            Thing.objects(storage).order_by("plain")[:5],  # which has no index
            Thing.objects(storage).order_by("size")[:5],  # whose text need not be a size
            Thing.objects(storage).order_by("number", "text")[:5],
            Thing.objects(storage).where(group__in=[1], number=None).order_by("number")[:5],
        ):
            assert by_python.explain().sorted_by == "Python"


def test_what_has_no_value_is_noticed_whenever_it_comes(open_storage: Callable[[], Any]) -> None:
    with open_storage() as storage:
        storage.save_all([Thing(pk=str(number), number=number, text="x") for number in range(9)])
        pages = Thing.objects(storage).order_by("number")[:2]
        assert [one.pk for one in pages] == ["0", "1"]
        seven = Thing.objects(storage).get("7")
        seven.number = None
        seven.save()
        assert [one.pk for one in pages] == ["7", "0"]
        Part(pk="part").save(storage)
        assert [one.pk for one in pages] == ["7", "part"]
        assert [one.pk for one in Thing.objects(storage).order_by("text")[:2]] == ["part", "0"]
        Thing.objects(storage).where(pk="3").update(text="")
        assert [one.pk for one in Thing.objects(storage).order_by("text")[:2]] == ["part", "3"]
        backwards = Thing.objects(storage).order_by("-text")[8:]
        assert [one.pk for one in backwards] == ["3", "part"]


def test_an_index_that_is_declared_after_the_records(open_storage: Callable[[], Any]) -> None:
    class Plain(Model, collection="late"):
        number: Field[int | None] = Field(default=None)

    class Late(Model, collection="late"):
        number: Field[int | None] = Field(default=None, index=True)

    with open_storage() as storage:
        numbers = [3, None, 1, 2]
        storage.save_all([Plain(pk=str(at), number=one) for at, one in enumerate(numbers)])
        query = Late.objects(storage).order_by("number")[:2]
        assert query.explain().sorted_by == "Python"
        Late(pk="new", number=0).save(storage)
        assert query.explain().sorted_by.startswith("engine")
        assert [one.pk for one in query] == ["1", "new"]


def test_numbers_that_the_engine_cannot_tell_apart(open_storage: Callable[[], Any]) -> None:
    with open_storage() as storage:
        numbers = [2**53 + 1, 2**53, 2**63 - 1, 2**63 - 2, -(2**53) - 1, -(2**53), 5]
        storage.save_all([Thing(pk=str(one), number=one) for one in numbers])
        found = [one.number for one in Thing.objects(storage).order_by("number")[:6]]
        assert found == sorted(numbers)[:6]
        found = [one.number for one in Thing.objects(storage).order_by("-number")[2:6]]
        assert found == sorted(numbers, reverse=True)[2:6]


def test_what_does_not_fit_is_not_passed_over(open_storage: Callable[[], Any]) -> None:
    class Loose(Model, collection="thing"):
        number: Field[Any] = Field(default=None)

    with open_storage() as storage:
        storage.save_all([Thing(pk=str(number), number=number) for number in range(5)])
        Loose(pk="odd", number="many").save(storage)
        with pytest.raises(RecordInvalid, match="odd"):
            list(Thing.objects(storage).order_by("number")[:2])


def test_pages_in_what_is_changed_and_counted(open_storage: Callable[[], Any]) -> None:
    with open_storage() as storage:
        storage.save_all([Thing(pk=str(number), number=-number) for number in range(20)])
        page = Thing.objects(storage).order_by("number")[2:5]
        assert page.count() == 3
        assert page.exists()
        assert Thing.objects(storage).order_by("number").first().pk == "19"
        assert Thing.objects(storage).order_by("-number").first().pk == "0"
        assert page.delete() == 3
        left = [one.number for one in Thing.objects(storage).order_by("number")[:3]]
        assert left == [-19, -18, -14]
