"""Values that are read off an index are those that the records have."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymodels import Field, Model, get_storage
from pymodels.encoding import decoded_text, decoded_texts, encode
from pymodels.errors import RecordInvalid, StorageClosed


class Note(Model):
    text: Field[str | None] = Field(index=True)
    city: Field[str] = Field(index=True)
    number: Field[Any] = Field(default=None, index=True)


TEXTS = ["b", None, "a", "a\0", "a\1", "a\0\1", "\1\1\2", "a\1\2", "ä", "", "\U0001f600", "b"]


@pytest.fixture(params=["memory", "lmdb"])
def notes(request: Any, tmp_path: Path) -> Any:
    settings = {"path": tmp_path / "notes"} if request.param == "lmdb" else {}
    with get_storage(f"pymodels.ext.{request.param}", **settings) as storage:
        storage.save_all(
            Note(text=text, city=f"City {number % 3}") for number in range(4) for text in TEXTS
        )
        yield Note.objects(storage)


@given(st.text() | st.text("\0\1\2ab"))
def test_text_comes_back_from_its_encoding(text: str) -> None:
    assert decoded_text(encode(text)) == text


@given(st.lists(st.text() | st.text("\0\1\2\x20ab")))
def test_many_texts_come_back_as_each_does(texts: list[str]) -> None:
    assert decoded_texts([encode(text) for text in texts]) == texts


def in_order(texts: Any) -> list[Any]:
    """Return text sorted by code points, after null."""
    return sorted(texts, key=lambda text: (text is not None, text or ""))


def test_distinct_text_with_nothing_lost(notes: Any) -> None:
    assert notes.values("text") == in_order(set(TEXTS))
    counted = Counter(TEXTS)
    assert notes.group_by("text").count() == [
        (text, counted[text] * 4) for text in in_order(counted)
    ]
    assert (notes.min("text"), notes.max("text")) == ("", "\U0001f600")


def test_of_a_part_of_the_records(notes: Any) -> None:
    between = notes.where(text__between=("a", "b"))
    assert between.values("text") == ["a", "a\0", "a\0\1", "a\1", "a\1\2", "b"]
    assert (between.min("text"), between.max("text")) == ("a", "b")
    assert notes.where(city="City 1").values("city") == ["City 1"]
    assert notes.where(city="nowhere").values("city") == []
    assert notes.where(city="nowhere").max("city") is None


def test_text_that_is_too_long_for_an_index(notes: Any) -> None:
    long = ["c" * 600 + end for end in "ba"]
    notes.storage.save_all(Note(text=text, city="x") for text in long)
    assert notes.values("text") == in_order({*TEXTS, *long})
    assert notes.where(text__startswith="c").values("text") == sorted(long)
    assert notes.where(text__startswith="c").max("text") == max(long)


def test_many_values_between_two(notes: Any) -> None:
    names = [f"n{number:04}" for number in range(1500)]
    notes.storage.save_all(Note(text=name, city="x") for name in names)
    assert notes.where(text__between=("n0100", "n1300")).values("text") == names[100:1301]
    assert notes.where(text__startswith="n").values("text") == names


@pytest.mark.parametrize("numbers", [[2, 2.0, 1.0, 1], [2.0, 2, 1, 1.0]])
def test_of_equal_ends_the_first_by_key(notes: Any, numbers: list[Any]) -> None:
    assert notes.min("number") is notes.max("number") is None
    for at, number in enumerate(numbers):
        Note(pk=f"n{at}", text="", city="", number=number).save(notes.storage)
    for some in (notes, notes.where(number__gte=1), notes.where(number__lt=3)):
        ends = [some.min("number"), some.max("number")]
        assert list(map(repr, ends)) == [repr(numbers[2]), repr(numbers[0])]
    assert notes.where(number__gt=2).max("number") is None
    assert repr(notes.where(number__lt=2).max("number")) == repr(numbers[2])


def test_ends_are_those_of_the_moment(notes: Any) -> None:
    storage = notes.storage
    assert [notes.min("text"), notes.max("text")] == ["", "\U0001f600"]  # the index is known now
    with storage.transaction():
        Note(pk="last", text="\U0001f601", city="Z").save(storage)
        assert notes.max("text") == "\U0001f601"
        notes.where(text="").delete()
        assert notes.min("text") == "\1\1\2"
        storage.current.rollback()
    assert [notes.min("text"), notes.max("text")] == ["", "\U0001f600"]
    notes.update(text=None)
    assert notes.min("text") is notes.max("text") is None
    long = ["c" * 1000 + end for end in "ab"]
    storage.save_all(Note(text=text, city="long") for text in long)
    assert [notes.min("text"), notes.max("text")] == long
    notes.delete()
    assert notes.min("text") is notes.max("text") is None


def test_ends_that_another_view_stored(notes: Any) -> None:
    class Loose(Model, collection="note"):
        text: Field[Any]
        city: Field[str]

    assert notes.max("text") == "\U0001f600"
    other = Loose(pk="other", text=b"bytes sort after text", city="").save(notes.storage)
    for ask in (notes.min, notes.max):
        with pytest.raises(RecordInvalid, match="'other', field 'text'"):
            ask("text")
    other.delete()
    assert [notes.min("text"), notes.max("text")] == ["", "\U0001f600"]


def test_ends_that_another_storage_stored(tmp_path: Path) -> None:
    with (
        get_storage("pymodels.ext.lmdb", path=tmp_path / "notes") as mine,
        get_storage("pymodels.ext.lmdb", path=tmp_path / "notes") as theirs,
    ):
        notes = Note.objects(mine)
        Note(pk="a", text="m", city="").save(mine)
        assert [notes.min("text"), notes.max("text")] == ["m", "m"]
        for text in "az":
            Note(pk=text * 2, text=text, city="").save(theirs)
            assert notes.max("text") == max("m", text)
        assert [notes.min("text"), notes.max("text")] == ["a", "z"]
    with pytest.raises(StorageClosed):
        notes.max("text")
