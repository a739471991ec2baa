"""In which order records come, and in which pages."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from pymodels.conditions import Condition
from pymodels.paths import Path
from pymodels.storage import Storage
from pymodels.testing import asking
from pymodels.testing.answers import AsksSamples, check, differences, has_nul, keys_of
from pymodels.testing.corpus import Identified, Numbered, Sample
from pymodels.testing.expected import Ordered, expected_samples
from pymodels.values import ABSENT


class OrderTests(AsksSamples):
    """Order, ties, nulls, mirrors and pages, against a sort of the suite's own."""

    def test_order(self, loaded: Storage) -> None:
        objects, ordered = Sample.objects(loaded), Ordered(nul=has_nul(loaded))
        keys = expected_samples(Sample.__schema__, nul=has_nul(loaded)).keys
        check(
            wrong
            for terms, nulls in _orders()
            for wrong in differences(
                f"order_by{terms} nulls={nulls}",
                keys_of(objects.order_by(*terms, nulls=nulls)),
                ordered.sort(keys, [_term(term) for term in terms], nulls),
            )
        )

    def test_reverse_is_the_mirror(self, loaded: Storage) -> None:
        objects = Sample.objects(loaded)
        check(
            wrong
            for terms, nulls in [((), None), *_orders()]
            for wrong in differences(
                f"order_by{terms}.reverse() nulls={nulls}",
                keys_of(objects.order_by(*terms, nulls=nulls).reverse()),
                keys_of(objects.order_by(*terms, nulls=nulls))[::-1],
            )
        )

    def test_order_of_keys(self, loaded: Storage) -> None:
        for model in (Sample, Numbered, Identified):
            found = keys_of(model.objects(loaded))
            check(differences(model, found, sorted(found)))
            check(differences("-pk", keys_of(model.objects(loaded).order_by("-pk")), found[::-1]))
            check(differences("pk", keys_of(model.objects(loaded).order_by("pk")), found))

    def test_pages_neither_overlap_nor_skip(self, loaded: Storage) -> None:
        objects = Sample.objects(loaded)
        conditions: list[Condition | None] = [None, Sample.whole > 0, Path("pk") >= "k05"]
        wrong: list[str] = []
        for condition in conditions:
            for terms in ((), ("flag",), ("-grade", "flag"), ("-pk",), ("defaulted", "-whole")):
                query = objects if condition is None else objects.where(condition)
                query = query.order_by(*terms)
                whole, pages = keys_of(query), []
                for start in range(0, len(whole) + 7, 7):
                    pages += keys_of(query[start : start + 7])
                wrong += differences(f"pages of {query!s}", pages, whole)
                wrong += differences(f"{query!s}[5:][2:9]", keys_of(query[5:][2:9]), whole[7:14])
                wrong += differences(f"{query!s}[:0]", keys_of(query[:0]), [])
                wrong += differences(f"{query!s}[3:4]", [one.pk for one in query[3:4]], whole[3:4])
        check(wrong)

    def test_pages_of_random_conditions(self, loaded: Storage) -> None:
        ordered = Ordered(nul=has_nul(loaded))
        expected = expected_samples(Sample.__schema__, nul=has_nul(loaded))
        chance = random.Random(5)  # noqa: S311  # what is wanted is repeatable, not secret
        leaves = [*list(asking.in_declared_places())[::17], *list(asking.on_text_keys())[::3]]
        orders = list(_orders())
        wrong: list[str] = []
        for condition in asking.trees(leaves, 150, seed=4):
            terms, nulls = chance.choice(orders)
            start, stop = chance.randrange(9), chance.randrange(60)
            query = Sample.objects(loaded).where(condition).order_by(*terms, nulls=nulls)
            wanted = expected.finds(query.condition)
            wanted = ordered.sort(wanted, [_term(term) for term in terms], nulls)[start:stop]
            page = query[start:stop]
            wrong += differences(f"{page!s}", keys_of(page), wanted)
            if page.count() != len(wanted):
                wrong.append(f"{page!s}: counts {page.count()} instead of {len(wanted)}")
            if page.exists() is not bool(wanted):
                wrong.append(f"{page!s}: exists() is {page.exists()} of {len(wanted)}")
        check(wrong)


# --- what is sorted by ----------------------------------------------------------------------

_INSIDE: Final[Mapping[str, tuple[str, ...]]] = {
    "bag__x": ("bag", "x"),
    "point__x": ("point", "x"),
    "pair__1": ("pair", "1"),
    "span__price": ("span", "price"),
    "counts__a": ("counts", "a"),
}

_PLAIN: Final = (
    *("flag", "whole", "real", "exact", "number", "text", "data", "instant", "local", "day"),
    *("clock", "length", "uid", "colour", "grade", "either", "friend", "defaulted", "renamed"),
)


def _orders() -> Iterator[tuple[tuple[str, ...], str | None]]:
    names = (*_PLAIN, "anything", *_INSIDE)
    for name in names:
        yield (name,), None
        yield (f"-{name}",), None
    for name in names[::3]:
        yield (name,), "last"
        yield (f"-{name}",), "first"
    yield ("flag", "grade"), None
    yield ("-flag", "grade", "-colour"), None
    yield ("defaulted", "-anything"), None
    yield ("grade", "-bag__x"), "last"
    yield ("-defaulted", "-flag", "text"), "first"


def _term(name: str) -> tuple[Any, bool]:
    descending = name.startswith("-")
    name = name.removeprefix("-")
    return partial(_read, parts=_INSIDE.get(name, (name,))), descending


def _read(values: Mapping[str, Any], parts: tuple[str, ...]) -> Any:
    value = values[parts[0]]
    for part in parts[1:]:
        if value is None or value is ABSENT:
            return None
        if isinstance(value, tuple):
            value = value[int(part)]
        elif isinstance(value, dict):
            value = value.get(part)
        else:
            value = getattr(value, part)
    return getattr(value, "value", value)
