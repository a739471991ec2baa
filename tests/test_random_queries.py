"""Whatever is asked, storages with indexes find what a storage without any finds, in its order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymodels import Field, Model, Path, get_storage
from pymodels.conditions import Condition

COUNT = 400


class Plain(Model, collection="row"):
    number: Field[int]
    word: Field[str]
    rank: Field[int | None]
    size: Field[float]
    tags: Field[list[str]]
    note: Field[str]


class Indexed(Plain, collection="row"):
    """Each of some fields has an index of its own."""

    class Meta:
        indexes = ("number", "word", "rank", "size")


class Several(Plain, collection="row"):
    """Indexes of several fields, and of members."""

    class Meta:
        indexes = (
            ("word", "number"),
            ("rank", "size", "number"),
            "tags",
            "size",
            {"fields": "note", "kind": "trigram"},
        )


class Entangled(Plain, collection="row"):
    """Several indexes have the same fields, some only of some records."""

    class Meta:
        indexes = (
            "number",
            "word",
            ("word", "number"),
            ("rank", "size"),
            "tags",
            ("size", "tags"),
            ("tags", "rank"),
            {"fields": "tags", "where": {"rank": 2}},
            {"fields": "rank", "where": {"word": "ab"}},
            {"fields": "note", "kind": "trigram"},
        )


WORDS = ("", "a", "ab", "abc", "b", "B", "zo\xeb")


@pytest.fixture(scope="module")
def found_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Queries of the same records: without indexes first, and then with them."""
    chance = random.Random(7)
    rows = [
        {
            "pk": f"{number:03}",
            "number": chance.randrange(-3, 30),
            "word": chance.choice(WORDS),
            "rank": chance.choice((None, 1, 2, 3)),
            "size": chance.choice((-1.5, 0.0, 0.5, 2.0, 10.25)),
            "tags": chance.sample(WORDS, chance.randrange(3)),
            "note": f"{chance.choice(WORDS)} and {chance.choice(WORDS)}",
        }
        for number in range(COUNT)
    ]
    folder = tmp_path_factory.mktemp("random")
    with get_storage("pymodels.ext.memory") as first:
        first.save_all(Plain(**row) for row in rows)
        queries = [Plain.objects(first)]
        others = []
        for model in (Indexed, Several, Entangled):
            for backend, options in (
                ("memory", {}),
                ("lmdb", {"path": folder / model.__name__}),
            ):
                storage = get_storage(f"pymodels.ext.{backend}", **options)
                others.append(storage)
                storage.save_all(model(**row) for row in rows)
                queries.append(model.objects(storage))
        yield queries
        for storage in others:
            storage.close()


NUMBERS = st.integers(-5, 32)
SIZES = st.sampled_from([-2.0, -1.5, 0.0, 0.25, 0.5, 2, 10.25])
TEXTS = st.sampled_from([*WORDS, "c", "and a", "and abc"])


def compared(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Condition]:
    """Draw a condition on a field whose values have an order."""
    names = st.sampled_from(["equals", "gt", "gte", "lt", "lte"])
    return st.one_of(
        st.builds(Path(name).lookup, names, values),
        st.builds(Path(name).between, values, values),
        st.builds(Path(name).in_, st.lists(values, max_size=4)),
    )


LOOKUPS = st.one_of(
    compared("number", NUMBERS),
    compared("word", TEXTS),
    compared("rank", st.integers(0, 4)),
    compared("size", SIZES),
    st.builds(Path("rank").lookup, st.just("equals"), st.none()),
    st.builds(Path("rank").in_, st.just([None, 2])),
    st.builds(Path("word").lookup, st.sampled_from(["startswith", "icontains", "iequals"]), TEXTS),
    st.builds(Path("note").lookup, st.sampled_from(["contains", "icontains", "endswith"]), TEXTS),
    st.builds(Path("tags").contains, TEXTS),
    st.builds(Path("tags").contains_any, st.lists(TEXTS, max_size=2)),
    st.builds(Path("rank").exists, st.booleans()),
    compared("pk", st.integers(0, COUNT).map(lambda number: f"{number:03}")),
)
CONDITIONS = st.recursive(
    LOOKUPS,
    lambda inner: st.one_of(
        st.builds(lambda one, other: one & other, inner, inner),
        st.builds(lambda one, other: one | other, inner, inner),
        st.builds(lambda one: ~one, inner),
    ),
    max_leaves=4,
)
ORDERS = st.sampled_from(
    [
        (),
        ("number",),
        ("-word",),
        ("rank",),
        ("-rank",),
        ("size",),
        ("note",),
        ("word", "number"),
        ("-word", "number"),
        ("pk",),
        ("-pk",),
        ("word", "-pk"),
        ("size", "number"),
        ("-size", "-number"),
    ]
)
SLICES = st.one_of(
    st.none(),
    st.builds(
        lambda start, length: slice(start, start + length), st.integers(0, 30), st.integers(0, 40)
    ),
)


@settings(max_examples=1000, deadline=None)
@given(condition=CONDITIONS, order=ORDERS, page=SLICES)
def test_the_same_records_in_the_same_order(
    found_in: list[Any], condition: Condition, order: tuple[str, ...], page: slice | None
) -> None:
    answers = []
    for query in found_in:
        asked = query.where(condition).order_by(*order)
        if page is not None:
            asked = asked[page]
        answers.append(([one.pk for one in asked], asked.count(), asked.exists()))
    wanted = answers[0]
    assert wanted[1:] == (len(wanted[0]), bool(wanted[0]))
    for answer in answers[1:]:
        assert answer == wanted


@settings(max_examples=200, deadline=None)
@given(condition=CONDITIONS, limit=st.integers(1, 60))
def test_any_of_the_records_where_nobody_cares_which(
    found_in: list[Any], condition: Condition, limit: int
) -> None:
    everything = {one.pk for one in found_in[0].where(condition)}
    for query in found_in:
        some = [one.pk for one in query.where(condition).unordered()[:limit]]
        assert len(set(some)) == len(some) == min(limit, len(everything))
        assert everything.issuperset(some)
