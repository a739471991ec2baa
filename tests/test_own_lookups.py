"""Lookups that a user registers, and paths that are taken literally, on both backends."""

from pathlib import Path as FilePath
from typing import Any

import pytest

from pymodels import Field, Model, ModelError, OperandInvalid, Path, UnknownField, get_storage
from pymodels.lookups import LOOKUPS, lookup
from tests.complaints import complaint


@pytest.fixture(params=["memory", "lmdb"])
def storage(request, tmp_path: FilePath):
    settings = {"path": tmp_path / "records.lmdb"} if request.param == "lmdb" else {}
    with get_storage(f"pymodels.ext.{request.param}", **settings) as storage:
        yield storage


@pytest.fixture(autouse=True)
def own_lookups():
    """Whatever a test registers is gone after it."""
    before = dict(LOOKUPS)
    yield
    for name in LOOKUPS.keys() - before.keys():
        del LOOKUPS[name]
    assert before == LOOKUPS


class Word(Model):
    text: Field[str] = ""
    number: Field[int | None] = None
    words: Field[list[str]] = []
    open: Field[Any] = None


@pytest.fixture
def words(storage):
    records = [
        Word(pk="a", text="level", number=9, words=["noon", "x"], open=7),
        Word(pk="b", text="Hello", number=10, open="noon"),
        Word(pk="c", text="", number=None, words=["moon"], open={"a": "noon"}),
        Word(pk="d", text="noon", number=-3, words=["stats"], open=["noon", "no"]),
    ]
    storage.save_all(records)
    return Word.objects(storage)


def keys(query):
    return [one.pk for one in query]


def register_palindrome():
    @lookup("palindrome")
    def palindrome(value, operand):
        return (type(value) is str and value != "" and value == value[::-1]) is operand

    return palindrome


def test_one_decorated_function_is_a_lookup_everywhere(words):
    with complaint(UnknownField, "'palindrome'"):
        words.where(text__palindrome=True)
    register_palindrome()
    assert keys(words.where(text__palindrome=True)) == ["a", "d"]
    assert keys(words.where(text__palindrome=False)) == ["b", "c"]
    assert keys(words.where_not(text__palindrome=True)) == ["b", "c"]
    assert keys(words.where(Word.text.lookup("palindrome", True))) == ["a", "d"]
    assert keys(words.where(Path("open").lookup("palindrome", True))) == ["b"]
    assert keys(words.where(open__a__palindrome=True)) == ["c"]
    assert keys(words.where(pk__palindrome=True)) == ["a", "b", "c", "d"]
    assert keys(words.where(text__palindrome=True, number__gt=0)) == ["a"]
    assert keys(words.order_by("-text").where(text__palindrome=True)[:1]) == ["d"]
    assert words.where(text__palindrome=True).count() == 2
    assert words.where(text__palindrome=True).update(number=1) == 2
    assert words.where(text__palindrome=True).delete() == 2
    assert keys(words) == ["b", "c"]


def test_a_path_that_passes_a_list_asks_each_member(storage):
    class Verse(Model):
        lines: Field[list[dict[str, str]]]

    register_palindrome()
    Verse(pk="a", lines=[{"end": "cold"}, {"end": "noon"}]).save(storage)
    Verse(pk="b", lines=[{"end": "cold"}]).save(storage)
    Verse(pk="c", lines=[]).save(storage)
    verses = Verse.objects(storage)
    assert keys(verses.where(lines__end__palindrome=True)) == ["a"]
    assert keys(verses.where(lines__1__end__palindrome=True)) == ["a"]


def test_check_and_prepare(words):
    prepared = []

    def whole(operand, kind, path):
        if type(operand) is not int or operand == 0:
            raise OperandInvalid(f"{path}: divisible_by takes an int that is not 0")
        return operand

    def remember(operand):
        prepared.append(operand)
        return operand

    @lookup("divisible_by", check=whole, prepare=remember)
    def divisible_by(value, operand):
        return type(value) is int and value % operand == 0

    with complaint(OperandInvalid, "Word.number", "divisible_by", "not 0"):
        words.where(number__divisible_by=0)
    assert prepared == []
    assert keys(words.where(number__divisible_by=3)) == ["a", "d"]
    assert prepared == [3]  # once, not once a record
    assert keys(words.where_not(number__divisible_by=3)) == ["b", "c"]


def test_a_view_can_demand_a_lookup_of_ones_own(storage, words):
    register_palindrome()

    class Palindrome(Word, must_have={"text__palindrome": True}):
        pass

    assert keys(Palindrome.objects(storage)) == ["a", "d"]


@pytest.mark.parametrize("name", ["equals", "gt", "in"])
def test_a_taken_name(name):
    with complaint(ModelError, repr(name), "exists already"):
        lookup(name)


@pytest.mark.parametrize("name", ["two words", "a__b", "", "1st", "a-b"])
def test_names_that_no_keyword_could_say(name):
    with complaint(ModelError, repr(name), "identifier"):
        lookup(name)


# --- literal paths --------------------------------------------------------------------------


@pytest.fixture
def strange(storage):
    class Strange(Model):
        table: Field[dict[str, Any]] = {}

    Strange(pk="a", table={"a.b__c": 1, "size": 2, "0": 3, "$gt": 4, "gt": {"lt": 5}}).save(storage)
    Strange(pk="b", table={"a": {"b": {"c": 1}}, "x": [3, 2, 1]}).save(storage)
    return Strange.objects(storage)


@pytest.mark.parametrize(
    ("parts", "value", "found"),
    [
        (("table", "a.b__c"), 1, ["a"]),
        (("table", "size"), 2, ["a"]),
        (("table", "0"), 3, ["a"]),
        (("table", 0), 3, ["a"]),
        (("table", "$gt"), 4, ["a"]),
        (("table", "gt", "lt"), 5, ["a"]),
        (("table", "a", "b", "c"), 1, ["b"]),
        (("table", "x", 0), 3, ["b"]),
        (("table", "x", "0"), 3, ["b"]),
        (("table", "x", 3), 1, []),
        (("table__size",), 2, []),
    ],
)
def test_path_takes_its_parts_literally(strange, parts, value, found):
    assert keys(strange.where(Path(*parts) == value)) == found
    assert keys(strange.where(~(Path(*parts) == value))) == sorted({"a", "b"} - set(found))


def test_literal_parts_after_a_field(strange):
    table = strange.model.table
    assert keys(strange.where(table["a.b__c"] == 1)) == ["a"]
    assert keys(strange.where(table["x"].contains(2))) == ["b"]
    assert strange.values(Path("table", "a.b__c")) == [None, 1]
    assert list(strange.select(Path("table", "size"))) == [(2,), (None,)]
    assert keys(strange.order_by(Path("table", "size"), nulls="first")) == ["b", "a"]


def test_undeclared_fields(storage, words):
    class Text(Model, collection="word"):
        pass

    texts = Text.objects(storage)
    assert keys(texts.where(Path("number") > 0)) == ["a", "b"]
    assert keys(texts.where(Path("nowhere").exists())) == []
    assert keys(texts.where(Path("nowhere") == None)) == ["a", "b", "c", "d"]  # noqa: E711
    assert texts.values(Path("text")) == ["", "Hello", "level", "noon"]
