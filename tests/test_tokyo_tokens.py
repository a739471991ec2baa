"""Indexes of words: they make lookups quick, and decide nothing by themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymodels import Field, Model, RecordInvalid, get_storage
from tests.tyrants import served


class Note(Model):
    text: Field[str | None] = Field(default=None, index="token")
    tags: Field[list[str]] = Field(default=[], index="token")


WORDS = ["a", "ab", "b", "red", "green", "é", "日本", "a,b", "x y", '"', "\\", "[a]", "a]", "\t"]
WORDS += ["", "\x01", "a\x01b", "\0", "RED", "null", "re\nd", "\u00a0", "\x7f"]


@pytest.fixture(params=["cabinet", "tyrant"])
def storage(request: Any, tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "storage.tct"
    if request.param == "cabinet":
        with get_storage("pymodels.ext.tokyo_cabinet", path=path) as opened:
            yield opened
    else:
        with served(path) as tyrant, get_storage(tyrant.settings(timeout=120)) as opened:
            yield opened


def notes(chance: random.Random) -> list[Note]:
    made = []
    for number in range(150):
        words = chance.choices(WORDS, k=chance.randrange(5))
        text = chance.choice([" ", ", ", "\n"]).join(words) if number % 9 else None
        made.append(Note(pk=str(number), text=text, tags=chance.choices(WORDS, k=number % 4)))
    return made


def lookups(chance: random.Random) -> Iterator[dict[str, Any]]:
    for _ in range(60):
        one, *more = chance.choices(WORDS, k=chance.randrange(1, 4))
        phrase = " ".join([one, *more])
        for name in ("contains", "startswith", "endswith", "equals"):
            yield {f"text__{name}": phrase}
        yield {"text__in": [phrase, one]}
        yield {"text__contains_all": [one, *more]}
        yield {"tags__contains": one}
        yield {"tags__contains_all": [one, *more]}
        yield {"tags__contains_any": [one, *more]}
    yield {"tags__contains_all": []}
    yield {"tags__contains_any": []}


def test_lookups_mean_the_same(storage: Any) -> None:
    memory = get_storage("pymodels.ext.memory")
    for one in (storage, memory):
        one.save_all(notes(random.Random(3)))
    found_some = 0
    for asked in lookups(random.Random(4)):
        for negated in (False, True):
            found, wanted = (
                list(
                    (
                        Note.objects(one).where_not(**asked)
                        if negated
                        else Note.objects(one).where(**asked)
                    ).select("pk")
                )
                for one in (storage, memory)
            )
            assert found == wanted, (asked, negated)
            found_some += 0 < len(found) < 150
    assert found_some > 300


@pytest.mark.parametrize(
    ("asked", "finished"),
    [
        ({"tags__contains": "red"}, True),
        ({"tags__contains_any": ["red", "日本"]}, True),
        ({"tags__contains_all": ["red", "a"]}, True),
        ({"text": "red green"}, False),
        ({"text__startswith": "red gr"}, False),
        ({"text__endswith": "d green a"}, False),
        ({"text__contains": "d green a"}, False),
    ],
    ids=["contains", "any", "all", "equals", "startswith", "endswith", "inside"],
)
def test_the_engine_uses_the_index(storage: Any, asked: dict[str, Any], finished: bool) -> None:
    storage.save_all(notes(random.Random(3)))
    Note(pk="x", text="red green a", tags=["red", "a"]).save(storage)
    said = Note.objects(storage).where(**asked).explain()
    column = next(iter(asked)).partition("__")[0]
    assert f'using an index: "{column}" inverted' in said.details["engine"]
    assert (said.finished is not None) is finished
    assert said.read < 150


def test_a_list_that_is_none_is_not_passed_over(storage: Any) -> None:
    class Loose(Model, collection="note"):
        tags: Field[Any] = Field(default=None)

    storage.save_all(notes(random.Random(3)))
    Loose(pk="odd", tags="red").save(storage)
    with pytest.raises(RecordInvalid):
        list(Note.objects(storage).where(tags__contains="red"))


def test_an_index_that_comes_after_the_lists(storage: Any) -> None:
    class Plain(Model, collection="note"):
        tags: Field[list[str]] = Field(default=[])

    storage.save_all([Plain(pk=str(number), tags=["red"] * (number % 3)) for number in range(9)])
    Note(pk="new", tags=["green", "red"]).save(storage)
    query = Note.objects(storage).where(tags__contains="red")
    assert [one.pk for one in query] == ["1", "2", "4", "5", "7", "8", "new"]
