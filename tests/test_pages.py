"""The first records of what an index finds: the same ones, and without reading all the others."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pymodels import Field, Model, get_storage
from pymodels.byindex import AllOf, InIndex
from pymodels.ext import memory
from pymodels.keyvalue import KeyValueStorage

COUNT = 3_000


class Item(Model):
    """A record in some large ranges and some small ones."""

    half: Field[int] = Field(index=True)
    spread: Field[float] = Field(index=True)
    late: Field[int] = Field(index=True)
    few: Field[int] = Field(index=True)
    tags: Field[list[str]] = Field(index=True)
    text: Field[str] = Field(index="trigram")
    plain: Field[int] = Field(default=0)


class Unindexed(memory.Storage):
    """Keeps no index."""

    keeps_indexes = False


def items() -> list[Item]:
    chance = random.Random(7)
    return [
        Item(
            pk=f"{number:05}",
            half=number % 2,
            spread=chance.random(),
            late=int(number > COUNT - 40),
            few=number % 300,
            tags=chance.sample(["a", "b", "c", "d"], 2),
            text=chance.choice(["green apple", "apple pie", "pie"]),
            plain=chance.randrange(10),
        )
        for number in range(COUNT)
    ]


@pytest.fixture(scope="module", params=["memory", "lmdb"])
def storage(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyValueStorage]:
    options: dict[str, Any] = {"backend": f"pymodels.ext.{request.param}"}
    if request.param == "lmdb":
        options["path"] = tmp_path_factory.mktemp("pages") / "items.lmdb"
    with get_storage(**options) as opened:
        assert isinstance(opened, KeyValueStorage)
        opened.save_all(items())
        yield opened


@pytest.fixture(scope="module")
def reference() -> Unindexed:
    found = Unindexed()
    found.save_all(items())
    return found


ASKED: list[Callable[[Any], Any]] = [
    lambda q: q.where(half=1),
    lambda q: q.where(half__in=[0, 1]),
    lambda q: q.where(half__gte=0),
    lambda q: q.where(spread__gt=0.5),
    lambda q: q.where(spread__between=(0.2, 0.21)),
    lambda q: q.where(late=1),
    lambda q: q.where(late__gte=1),
    lambda q: q.where_not(few__lt=290),
    lambda q: q.where(tags__contains_any=["a", "b", "c"]),
    lambda q: q.where(tags__contains="d"),
    lambda q: q.where(half=1, plain__lt=5),
    lambda q: q.where(spread__gt=0.3, plain=3),
    lambda q: q.where(late=1, plain=3),
    lambda q: q.where(few=7, half=1),
    lambda q: q.where(few=7, half=0),
    lambda q: q.where(text__contains="green apple"),
    lambda q: q.where(text__icontains="PIE", few__lt=30),
]


@pytest.mark.parametrize("number", range(len(ASKED)))
def test_a_page_has_the_records_that_it_should_have(
    storage: KeyValueStorage, reference: Unindexed, number: int, monkeypatch: Any
) -> None:
    query, wanted = ASKED[number](Item.objects(storage)), ASKED[number](Item.objects(reference))
    found = [item.pk for item in wanted]
    assert bool(found) is (number != 14)
    for at_first in (1, 64, 1024):
        monkeypatch.setattr("pymodels.fetching._AT_FIRST", at_first)
        for start, stop in ((0, 1), (0, 10), (7, 60), (len(found) - 3, len(found) + 9)):
            start = max(0, start)
            assert [item.pk for item in query[start:stop]] == found[start:stop]
            backwards = [item.pk for item in query.reverse()[start:stop]]
            assert backwards == found[::-1][start:stop]
            some = {item.pk for item in query.unordered()[start:stop]}
            assert len(some) == len(found[start:stop])
            assert some <= set(found)
        assert query.exists() == bool(found)
        assert query.count() == len(found)
        with storage.transaction():
            Item(pk="00000+", half=0, spread=0.0, late=0, few=0, tags=[], text="", plain=9).save(
                storage
            )
            inside = [item.pk for item in ASKED[number](Item.objects(storage))[:10]]
            storage.current.rollback()  # type: ignore[attr-defined]
        assert [key for key in inside if key != "00000+"][:9] == found[:10][: len(inside)][:9]


class Counting:
    """Counts the entries and records that a storage reads."""

    def __init__(self, storage: KeyValueStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = 0
        view = type(storage.view())
        for name in ("heads", "items", "entries", "fetch", "under", "among"):
            monkeypatch.setattr(view, name, self._counted(getattr(view, name)))

    def _counted(self, function: Any) -> Any:
        def counted(*given: Any, **options: Any) -> Any:
            found = function(*given, **options)
            if isinstance(found, list):
                self.read += len(found)
                return found
            return self._one_by_one(found)

        return counted

    def _one_by_one(self, found: Iterator[Any]) -> Iterator[Any]:
        for one in found:
            self.read += len(one) if isinstance(one, list) else 1
            yield one


@pytest.mark.parametrize(
    ("ask", "most"),
    [
        (lambda q: q.where(half=1)[:10], 200),
        (lambda q: q.where(half=1).reverse()[:10], 200),
        (lambda q: q.where(half__gte=0)[:10], 200),
        (lambda q: q.where(half__gte=0, plain__lt=5)[:10], 600),
        (lambda q: q.where(spread__gt=0.0).unordered()[:10], 100),
        (lambda q: q.where(late__gte=0).unordered()[:1], 100),
    ],
)
def test_a_page_is_read_without_the_rest(
    storage: KeyValueStorage, monkeypatch: Any, ask: Any, most: int
) -> None:
    wanted = ask(Item.objects(storage)).all()  # which takes a sample of the index, for a while
    counting = Counting(storage, monkeypatch)
    found = [item.pk for item in ask(Item.objects(storage))]
    assert found == [item.pk for item in wanted]
    assert counting.read <= most, "far fewer than there are records"


def test_the_keys_of_the_small_part_are_looked_for_in_the_large_one(
    storage: KeyValueStorage, reference: Unindexed, monkeypatch: Any
) -> None:
    query = Item.objects(storage).where(few=7, half=1)
    native = query.plan().native
    assert isinstance(native, AllOf)
    assert all(isinstance(part, InIndex) for part in native.parts)
    counting = Counting(storage, monkeypatch)
    assert query.count() == Item.objects(reference).where(few=7, half=1).count() == 10
    assert counting.read <= 50, "and not the half of all records"
