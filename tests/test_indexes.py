"""What is found by an index, in its order, or without one; and that it is what is asked for."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path as File
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymodels import DuplicateKey, Field, Model, ModelError, Path, ScanRefused, get_storage
from pymodels.byindex import AllOf, AnyOf, InIndex
from pymodels.columns import Column
from pymodels.ext import memory
from pymodels.grouping import read_column
from pymodels.ordered import LONGEST
from pymodels.query import Query
from pymodels.storage import Storage
from pymodels.trigrams import required, trigrams

COUNT = 600


class Person(Model):
    """A record that is indexed in most ways."""

    name: Field[str] = Field(index=True)
    age: Field[int | None] = Field(default=None, index=True)
    city: Field[str] = Field(default="", index=True)
    tags: Field[list[str]] = Field(default_factory=list, index=True)
    bio: Field[str] = Field(default="", index="trigram")
    mail: Field[str | None] = Field(default=None, index="caseless")
    born: Field[date | None] = Field(default=None, index=True)
    address: Field[dict[str, Any]] = Field(default_factory=dict)
    open: Field[Any] = Field(default=None, index=True)
    plain: Field[int] = Field(default=0)

    class Meta:
        """Further indexes: several fields, paths, and one of some records only."""

        indexes = (
            ("city", "age"),
            "address__zip",
            {"fields": "plain", "where": {"city": "c1"}},
        )


class Unindexed(memory.Storage):
    """Keeps no index, so that the reference evaluator decides everything."""

    keeps_indexes = False


def people(count: int = COUNT) -> list[Person]:
    chance = random.Random(4)
    return [
        Person(
            pk=f"{number:05}",
            name=f"name {number % 50}",
            age=chance.choice([None, *range(80)]),
            city=f"c{chance.randrange(20)}",
            tags=[f"t{chance.randrange(9)}" for _ in range(chance.randrange(4))],
            bio=chance.choice(["likes apples", "LIKES Pears", "straße", ""]) + str(number),
            mail=chance.choice([None, f"User{number}@X.org", f"user{number}@x.org"]),
            born=date(1950 + chance.randrange(60), 1 + chance.randrange(12), 1),
            address={"zip": chance.randrange(30)},
            open=chance.choice([1, 1.5, "x", None, Decimal(2), date(2020, 1, 1)]),
            plain=chance.randrange(10),
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module", params=["memory", "lmdb"])
def storage(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    options: dict[str, Any] = {"backend": f"pymodels.ext.{request.param}"}
    if request.param == "lmdb":
        options["path"] = tmp_path_factory.mktemp("indexes") / "people.lmdb"
    with get_storage(**options) as opened:
        opened.save_all(people())
        yield opened


@pytest.fixture(scope="module")
def reference() -> Storage:
    unindexed = Unindexed()
    unindexed.save_all(people())
    return unindexed


EITHER = (Path("age") == 3) | (Person.name == "name 3")
ASKED: list[tuple[str, Any]] = [
    ("index on age", lambda q: q.where(age=3)),
    ("index on age", lambda q: q.where(age=None)),
    ("3 values in index on age", lambda q: q.where(age__in=[1, 2, None])),
    ("range of index on age", lambda q: q.where(age__gte=70)),
    ("range of index on age", lambda q: q.where(age__gt=10, age__lt=13)),
    ("range of index on age", lambda q: q.where(age__between=(3, 5))),
    ("range of index on age", lambda q: q.where_not(age__gte=5)),
    ("range of index on name", lambda q: q.where(name__startswith="name 4")),
    ("index on tags:members", lambda q: q.where(tags__contains="t1")),
    ("2 values in index on tags:members", lambda q: q.where(tags__contains_any=["t1", "t2"])),
    ("index on tags:members", lambda q: q.where(tags__contains_all=["t1", "t2"])),
    ("index on mail:caseless", lambda q: q.where(mail__iequals="USER7@x.ORG")),
    ("range of index on mail:caseless", lambda q: q.where(mail__istartswith="uSer1")),
    ("index on mail:caseless", lambda q: q.where(mail="user9@x.org")),
    ("range of index on born:date", lambda q: q.where(born__year=1960)),
    ("range of index on born:date", lambda q: q.where(born__lt=date(1951, 5, 1))),
    ("index on address__zip", lambda q: q.where(address__zip=7)),
    ("index on bio:trigram", lambda q: q.where(bio__matches=r"^likes .*les1\d+")),
    ("index on bio:trigram", lambda q: q.where(bio__matches="strasse|straße1")),
    ("index on bio:trigram", lambda q: q.where(bio__icontains="STRASSE")),
    ("index on city+age", lambda q: q.where(city="c1", age__lt=40)),
    ("index on open", lambda q: q.where(open__gt=date(2019, 1, 1))),
    ("index on open", lambda q: q.where(open=2)),
    ("(index on age) or (index on name)", lambda q: q.where(EITHER)),
]


@pytest.mark.parametrize("number", range(len(ASKED)))
def test_what_finds_records(number: int, storage: Storage, reference: Storage) -> None:
    told, ask = ASKED[number]
    asked = ask(Person.objects(storage))
    wanted = [person.pk for person in ask(Person.objects(reference))]
    explained = asked.explain()
    assert told in repr(explained.engine)
    assert [person.pk for person in asked] == wanted
    assert asked.count() == len(wanted) == explained.returned
    assert sorted(person.pk for person in asked.unordered()) == wanted
    assert [person.pk for person in asked[2:5]] == wanted[2:5]
    assert explained.read < COUNT
    plain = ask(Person.objects(reference)).select("pk", "plain")
    assert list(asked.select("pk", "plain")) == list(plain)


ORDERS: list[tuple[str, Any]] = [
    ("index on age", lambda q: q.order_by("age")[:7]),
    ("descending index on age", lambda q: q.order_by("-age")[5:12]),
    ("index on age", lambda q: q.order_by("age", nulls="last")[0:900]),
    ("descending index on age", lambda q: q.order_by("-age", nulls="first")[:20]),
    ("index on city+age", lambda q: q.order_by("city", "age")[:50]),
    ("descending index on city+age", lambda q: q.order_by("-city", "-age")),
    ("index on city+age", lambda q: q.where(city="c3").order_by("age")),
    ("descending index on age", lambda q: q.where(age__gt=30).order_by("-age", "-pk")[:9]),
    ("index on age", lambda q: q.where(plain__lt=5).order_by("age")[:3]),
    ("index on born:date", lambda q: q.order_by("born")[:20]),
    ("index on open", lambda q: q.order_by("open")[:300]),
]


@pytest.mark.parametrize("number", range(len(ORDERS)))
def test_what_orders_records(number: int, storage: Storage, reference: Storage) -> None:
    told, ask = ORDERS[number]
    asked = ask(Person.objects(storage))
    assert repr(asked.plan().native_order) == told
    assert [one.pk for one in asked] == [one.pk for one in ask(Person.objects(reference))]


def test_a_page_in_the_order_of_an_index_reads_no_more_than_it_returns(storage: Storage) -> None:
    explained = Person.objects(storage).order_by("age")[100:120].explain()
    assert (explained.read, explained.returned) == (20, 20)


def test_an_index_of_some_records_is_used_where_its_condition_is_asked(storage: Storage) -> None:
    objects = Person.objects(storage)
    assert "plain#" in repr(objects.where(city="c1", plain=3).explain().engine)
    assert objects.where(plain=3).plan().native is None
    assert "plain#" not in repr(objects.where(city="c2", plain=3).explain().engine)


def test_runs_of_three_characters_find_text(storage: Storage, reference: Storage) -> None:
    for lookup, operand in (
        ("icontains", "pears"),
        ("icontains", "STRASSE"),
        ("contains", "apples1"),
        ("endswith", Person.objects(reference).get("00077").bio[-4:]),
        ("istartswith", "likes p"),
    ):
        asked = Person.objects(storage).where(**{f"bio__{lookup}": operand})
        wanted = Person.objects(reference).where(**{f"bio__{lookup}": operand})
        assert [one.pk for one in asked] == [one.pk for one in wanted]
        assert wanted.count() > 0
        assert isinstance(asked.plan().native, AllOf | InIndex)
    assert Person.objects(storage).where(bio__contains="es").plan().native is None


def test_several_indexes_meet_where_that_spares_reading(storage: Storage) -> None:
    asked = Person.objects(storage).where(name__in=["name 1", "name 2"], tags__contains="t1")
    assert [one.pk for one in asked] == [
        one.pk
        for one in Person.objects(storage)
        if one.name in ("name 1", "name 2") and "t1" in one.tags
    ]


def test_a_condition_that_no_index_knows_keeps_or_from_being_found(storage: Storage) -> None:
    objects = Person.objects(storage)
    assert objects.where((Path("age") == 3) | (Path("plain") == 3)).plan().native is None
    assert isinstance(objects.where((Path("age") == 3) | (Path("pk") == "1")).plan().native, AnyOf)


def test_a_scan_is_refused_unless_an_index_helps(storage: Storage) -> None:
    careful = storage.query(Person, allow_scan=False)
    assert careful.where(age=3).count() == Person.objects(storage).where(age=3).count()
    with pytest.raises(ScanRefused):
        careful.where(plain=3).count()


def test_a_transaction_sees_its_own_changes_through_indexes(storage: Storage) -> None:
    before = Person.objects(storage).where(age=3).count()
    with storage.begin() as transaction:
        Person(pk="new", name="n", age=3).save(storage)
        assert Person.objects(storage).where(age=3).count() == before + 1
        transaction.rollback()
    assert Person.objects(storage).where(age=3).count() == before


# --- through other views --------------------------------------------------------------------


class Loose(Model, collection="person"):
    """The same records by a model that declares nothing of them."""


class Texts(Model, collection="person"):
    """The same records, where what is a date to others is text."""

    born: Field[str | None] = Field(default=None)


def test_a_view_uses_the_indexes_that_hold_what_it_reads(storage: Storage) -> None:
    assert isinstance(Loose.objects(storage).where(Path("age") == 3).plan().native, InIndex)
    assert Texts.objects(storage).where(born__startswith="19").plan().native is None
    assert Texts.objects(storage).where(born__startswith="1960").count() == (
        Person.objects(storage).where(born__year=1960).count()
    )


# --- long values ----------------------------------------------------------------------------


class Page(Model):
    """A record with text that is longer than an index takes."""

    text: Field[str | None] = Field(default=None, index=True)
    number: Field[int] = Field(default=0)

    class Meta:
        """Also with another field behind it."""

        indexes = (("text", "number"),)


LONG = "x" * (LONGEST - 20)
LONG_TEXTS = st.builds(
    lambda tail, end: LONG[:-3] + "x" * tail + end,
    st.integers(0, 60),
    st.text("ab\0", max_size=3),
)


def finds(objects: Query[Page], text: str) -> list[Any]:
    return [
        [one.pk for one in query]
        for query in (
            objects.where(text=text),
            objects.where(text__gt=text),
            objects.where(text__lte=text),
            objects.where(text__startswith=text),
            objects.where(text=text, number__gte=1),
            objects.where(text=text, number__lt=1),
            objects.where(text=text, number=1),
            objects.where(text=text, number__between=(0, 1)).order_by("number"),
            objects.where(text__in=[text, "x"]),
            objects.where_not(text=text),
            objects.order_by("text"),
            objects.order_by("-text")[2:9],
            objects.order_by("text", "number"),
            objects.where(text=text).order_by("number"),
            objects.where(text__gt=text).order_by("-text"),
        )
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(LONG_TEXTS, st.none()), min_size=1, max_size=12), LONG_TEXTS)
def test_long_values_are_found_and_sorted_exactly(texts: list[Any], other: str) -> None:
    indexed, unindexed = get_storage("pymodels.ext.memory"), Unindexed()
    for opened in (indexed, unindexed):
        opened.save_all(
            [Page(pk=f"{at:02}", text=text, number=at % 3) for at, text in enumerate(texts)]
        )
    for text in {other, *filter(None, texts[:2])}:
        assert finds(Page.objects(indexed), text) == finds(Page.objects(unindexed), text)


def test_long_values_in_a_file(tmp_path: File) -> None:
    texts = [LONG + "x" * tail + end for tail in range(10, 40) for end in ("", "b", "a")]
    with get_storage(backend="pymodels.ext.lmdb", path=tmp_path / "long.lmdb") as opened:
        opened.save_all([Page(pk=f"{at:03}", text=text) for at, text in enumerate(texts)])
        assert [one.text for one in Page.objects(opened).order_by("text")] == sorted(texts)
        assert [one.text for one in Page.objects(opened).where(text=texts[7])] == [texts[7]]
        assert Page.objects(opened).where(text__gt=texts[7]).count() == (
            sum(text > texts[7] for text in texts)
        )


# --- unique, in part and whatever the case --------------------------------------------------


def test_declarations_that_make_no_sense() -> None:
    for options, told in (
        ({"indexes": ["other"]}, "no field"),
        ({"indexes": ["number__nothing"]}, "number__nothing"),
        ({"indexes": [{"fields": "number", "where": {"nothing": 1}, "wheree": 1}]}, "'where'"),
        ({"indexes": [{"fields": "inside__x", "unique": True}]}, "whole fields"),
    ):
        with pytest.raises(ModelError) as caught:
            _declare(options)
        assert told in str(caught.value)


def _declare(options: dict[str, Any]) -> Any:
    class Declared(Model, **options):
        number: Field[int] = Field(default=0)
        inside: Field[dict[str, int]] = Field(default_factory=dict)

    return Declared.__schema__


def test_a_unique_field_can_be_ordered_as_well() -> None:
    class Numbered(Model):
        number: Field[int] = Field(unique=True, index=True)

    opened = get_storage("pymodels.ext.memory")
    opened.save_all([Numbered(number=number) for number in (3, 1, 2)])
    assert "unique index" in repr(Numbered.objects(opened).where(number=2).plan().native)
    assert [one.number for one in Numbered.objects(opened).where(number__gt=1)] == [3, 2]
    assert Numbered.objects(opened).order_by("number").plan().native is not None
    with pytest.raises(DuplicateKey):
        Numbered(number=2).save(opened)


def test_values_are_read_off_an_index(storage: Storage, reference: Storage) -> None:
    indexed, plain = Person.objects(storage), Person.objects(reference)
    for narrow in (
        lambda people: people,
        lambda people: people.where(age__gte=40),
        lambda people: people.where(age__between=(30, 31)),
        lambda people: people.where(city="c3"),
        lambda people: people.where(age__gt=200),
        lambda people: people[10:30],
    ):
        for field in ("age", "city", "born", "open", "plain", "name"):
            mine, other = narrow(indexed), narrow(plain)
            for ask in ("values", "min", "max"):
                found, wanted = getattr(mine, ask)(field), getattr(other, ask)(field)
                assert found == wanted, (ask, field)
                assert repr(found) == repr(wanted), (ask, field)
            assert repr(mine.group_by(field).count()) == repr(other.group_by(field).count())


def test_values_of_an_index_take_a_record_each(storage: Storage) -> None:
    people = Person.objects(storage)
    counted = read_column(people, "city", Column.counts)
    assert counted is not None
    assert [value for value, _ in counted] == people.values("city")
    assert sum(count for _, count in counted) == COUNT
    # A partial index has not all of them.
    assert read_column(people, "plain", Column.values) is None
    assert read_column(people[:5], "city", Column.values) is None


def test_explain_says_what_was_expected_and_met_and_what_would_help(storage: Storage) -> None:
    people = Person.objects(storage)
    explanation = people.where(city="c3", plain__gt=7).explain()
    there = people.where(city="c3").count()
    assert (explanation.expected, explanation.read) == (there, there)
    assert repr(explanation.engine) == "index on city"
    assert explanation.suggestion is None
    for asked, told in (
        (people.where(plain__gt=7), "index=True on plain would find these records"),
        (people.where(address__size=1).order_by("plain"), "index=True on plain would give this"),
        (people.where(name__icontains="ame"), 'index="trigram" on name would find'),
        (people.where(name__iequals="NAME 3"), 'index="caseless" on name would find'),
        (people.where(name__icontains="me"), 'index="column" on name would spare'),
        (people.where(name__imatches="ame"), 'index="column" on name would spare'),
        (people.where_not(plain=3), 'index="column" on plain would spare'),
        (people.where(address__size=1), 'index="column" on address would spare'),
        (people.where(pk__contains=""), None),
    ):
        explanation = asked.explain()
        if told is None:
            assert explanation.suggestion is None
        else:
            assert explanation.suggestion is not None
            assert explanation.suggestion.startswith(told)
            assert told in str(explanation)
        assert explanation.expected == explanation.read == COUNT


PATTERNS = [
    "abc", "a(bcd)+efg", "abcd?", "ab{2}cde", "(?i)abc", "abc|abd", "[a-c]bcd.xyz", "abc$",
    "(?=abc)abcd", "(?!abc)xyz", "(?:abc){0}", "(?x) a b c", "(?P<n>abc)(?P=n)", "", ".*",
    r"abc\d", r"\babc",
]  # fmt: skip
TEXTS = [
    "abc", "abcabc", "abd", "abbcde", "abxyz", "abce", "aefg", "abcdefg", "ABC", "bbcd-xyz",
    "xyz", "abcd", "", "abc7", "abbabc", "abcdxyz",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_a_pattern_requires_is_in_all_that_it_finds(pattern: str) -> None:
    for text in TEXTS:
        if re.search(pattern, text):
            there = set(trigrams(text))
            assert there.issuperset(required("matches", pattern)), text


def test_some_patterns_require_something() -> None:
    assert [bool(required("matches", pattern)) for pattern in PATTERNS[:3]] == [True] * 3
