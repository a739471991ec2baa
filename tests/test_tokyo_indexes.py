"""Tokyo Cabinet: which indexes the engine uses, and that they change no answer."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pymodels import (
    Field,
    Model,
    RecordInvalid,
    get_storage,
)
from pymodels.ext._tokyo.search import search
from tests.tokyo_files import (
    Book,
    books,
    opened,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage.tct"


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
