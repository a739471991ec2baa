"""The reference evaluator in declared places, on paths and keys, and what it refuses: by hand."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from pymodels import Path
from pymodels.conditions import And, Lookup, Not, Or
from pymodels.errors import OperandInvalid, QueryError, UnknownField
from pymodels.evaluation import value_test
from pymodels.lookups import LOOKUPS
from pymodels.testing import asking
from pymodels.testing.corpus import Sample
from pymodels.testing.expected import expected_samples
from tests.deciding import CHANGING, CODEC, GONE, SOON, Part, Size, Thing, Town, decide, of_field

# --- declared places ------------------------------------------------------------------------

DECLARED = [
    # An absent field does not equal its default: 7, "nobody", [].
    ("age", GONE, "equals", 7, False),
    ("age", GONE, "equals", None, True),
    ("age", GONE, "gte", 0, False),
    ("age", GONE, "in", [7], False),
    ("age", GONE, "in", [None], True),
    ("age", None, "exists", True, True),
    ("age", GONE, "exists", True, False),
    ("name", GONE, "startswith", "no", False),
    ("tags", GONE, "equals", [], False),
    ("tags", GONE, "size", 0, False),
    ("age", 7, "equals", 7.0, True),
    ("age", 2**53 + 1, "equals", 2.0**53, False),
    ("age", 2**53 + 1, "gt", 2.0**53, True),
    ("age", 7, "lt", 2**70, True),
    ("age", 7, "equals", 2**70, False),
    ("age", None, "lt", 9, False),
    ("age", 7, "between", (7, Decimal("7.0")), True),
    ("ratio", 0.1, "gt", Decimal("0.1"), True),
    ("ratio", 0.1, "in", [Decimal("0.1")], False),
    ("ratio", 2.0**53, "lt", 2**53 + 1, True),
    ("price", Decimal("0.1"), "lt", 0.1, True),
    ("price", Decimal(10), "gt", Decimal(9), True),
    ("price", Decimal("1.50"), "equals", Decimal("1.5"), True),
    ("price", Decimal(2), "in", [2, 3], True),
    ("name", "Ann", "gt", "Al", True),
    ("name", "a%", "startswith", "%", False),
    ("name", "a%", "contains", "%", True),
    ("name", None, "contains", "", False),
    ("name", "é", "iequals", "É", True),
    ("flag", True, "equals", True, True),
    ("flag", False, "lt", True, True),
    ("flag", None, "equals", False, False),
    ("when", SOON, "gt", SOON - timedelta(microseconds=1), True),
    ("when", SOON.astimezone(timezone(timedelta(hours=3))), "day", 29, True),
    ("when", SOON, "equals", datetime(2024, 3, 1, 1, 30, tzinfo=CHANGING), True),
    ("when", SOON, "in", [datetime(2024, 3, 1, 0, 30, tzinfo=CHANGING, fold=1)], True),
    ("when", SOON, "lt", datetime(2024, 3, 1, 1, 30, tzinfo=CHANGING, fold=1), True),
    ("when", SOON, "gte", datetime(2024, 3, 1, 0, 30, tzinfo=CHANGING, fold=1), True),
    ("day", date(2024, 2, 29), "lt", date(2024, 3, 1), True),
    ("day", date(2024, 2, 29), "month", 2, True),
    ("size", Size.SMALL, "equals", Size.SMALL, True),
    ("size", Size.SMALL, "equals", "s", True),
    ("size", Size.SMALL, "equals", Size.LARGE, False),
    ("size", Size.SMALL, "in", [Size.SMALL, None], True),
    ("size", Size.SMALL, "startswith", "s", True),
    ("size", Size.LARGE, "startswith", "s", False),
    ("size", Size.SMALL, "iequals", "S", True),
    ("size", Size.SMALL, "contains", "s", True),
    ("size", Size.SMALL, "matches", "^s$", True),
    ("size", Size.SMALL, "gt", "a", True),
    ("tags", ["a", "b"], "contains", "a", True),
    ("tags", ["ab"], "contains", "a", False),
    ("tags", ["a", "b"], "equals", ["a", "b"], True),
    ("tags", ["a", "b"], "equals", ["b", "a"], False),
    ("tags", ["a", "b"], "contains_all", ["b", "a"], True),
    ("tags", ["a", "b"], "contains_any", ["x", "a"], True),
    ("tags", ["a", "b"], "size", 2, True),
    ("lucky", {1, 2}, "contains", 2, True),
    ("lucky", {1, 2}, "equals", {2, 1}, True),
    ("lucky", {1, 2}, "size", 2, True),
    ("parts", [Part("a")], "contains", Part("a"), True),
    ("parts", [Part("a")], "contains", Part("a", Decimal(1)), False),
    ("parts", [Part("a")], "equals", [Part("a", Decimal("0.0"))], True),
    ("prices", {"a": Decimal(1)}, "equals", {"a": 1}, True),
    ("prices", {"b": Decimal(1), "a": Decimal(2)}, "size", 2, True),
    ("loose", {"b": 1, "a": [2]}, "equals", {"a": [2.0], "b": 1}, True),
    ("items", [1, "a", None], "contains", None, True),
    ("items", [Decimal(1)], "equals", [1], True),
    ("town", 3, "equals", 3, True),
    ("town", 3, "equals", None, False),
    ("town", None, "equals", None, True),
    ("town", 3, "in", [1, 3], True),
    ("towns", [1, 2], "contains", 2, True),
    ("towns", [1, 2], "size", 2, True),
    ("any", Decimal(1), "equals", 1, True),
]


@pytest.mark.parametrize(("name", "value", "lookup", "operand", "wanted"), DECLARED)
def test_declared_places(name: str, value: Any, lookup: str, operand: Any, wanted: bool) -> None:
    assert of_field(name, value, lookup, operand) is wanted


def test_short_tests_mean_what_the_table_of_lookups_means() -> None:
    # Where a declared type leaves no doubt the evaluator takes a short cut; no answer may change.
    conditions = [
        condition
        for condition in map(Sample.__schema__.bind, asking.in_declared_places())
        if isinstance(condition, Lookup) and condition.place and not condition.place.inside
    ]
    assert len(conditions) > 1000
    expected = expected_samples(Sample.__schema__, nul=True)
    for condition in conditions[::3]:
        assert condition.place is not None
        meaning = LOOKUPS[condition.name]
        operand, short = meaning.prepare(condition.operand), value_test(condition)
        name = condition.place.stored
        if condition.place.field is None or condition.place.kind.families & {"mapping", "list"}:
            continue
        probe = CODEC.probe(Sample.__schema__, (name,))
        for stored in expected.stored.values():
            value = probe(stored).f0
            value = getattr(value, "value", value)  # of an enum
            assert short(value) is meaning.test(value, operand), (condition, value)


# --- rule 8: paths --------------------------------------------------------------------------

ORDERS = {"orders": [{"total": 5, "lines": [{"n": 1}, {"n": 2}]}, {"total": 9}], "empty": []}
PATHS = [
    ({"address": {"city": "Rome"}}, ("address", "city"), "equals", "Rome", True),
    ({"address": {"city": "Rome"}}, ("address", "zip"), "exists", False, True),
    ({"address": "Rome"}, ("address", "city"), "equals", None, True),
    ({"address": None}, ("address", "city"), "exists", True, False),
    ({}, ("address", "city"), "equals", None, True),
    (ORDERS, ("orders", 0, "total"), "equals", 5, True),
    (ORDERS, ("orders", 1, "total"), "equals", 5, False),
    (ORDERS, ("orders", 2, "total"), "exists", False, True),
    (ORDERS, ("orders", "total"), "equals", 5, True),
    (ORDERS, ("orders", "total"), "equals", 9, True),
    (ORDERS, ("orders", "total"), "gt", 9, False),
    (ORDERS, ("orders", "total"), "between", (6, 10), True),
    (ORDERS, ("orders", "lines", "n"), "equals", 2, True),
    (ORDERS, ("orders", "lines", 1, "n"), "equals", 2, True),
    (ORDERS, ("orders", "lines", 0, "n"), "equals", 2, False),
    (ORDERS, ("orders", "lines", "n"), "equals", None, True),
    (ORDERS, ("empty", "x"), "exists", False, True),
    (ORDERS, ("empty", "x"), "equals", None, True),
    (ORDERS, ("empty", "x"), "equals", 1, False),
    ({"m": {"0": "zero"}}, ("m", "0"), "equals", "zero", True),
    ({"m": {"0": "zero"}}, ("m", 0), "equals", "zero", True),
    ({"m": ["zero"]}, ("m", "0"), "equals", "zero", True),
    ({"m": {"a.b__c": 1}}, ("m", "a.b__c"), "equals", 1, True),
    ({"m": {"a": {"b": 1}}}, ("m", "a.b"), "exists", True, False),
    ({"m": {"$gt": 1}}, ("m", "$gt"), "equals", 1, True),
    ({"m": {"size": 3}}, ("m", "size"), "equals", 3, True),
    ({"m": [[{"x": 1}], [{"x": 2}]]}, ("m", "x"), "equals", 2, True),
    ({"m": [[{"x": 1}], [{"x": 2}]]}, ("m", 0, "x"), "equals", 2, False),
    ({"m": ({"x": 1},)}, ("m", "x"), "equals", 1, True),
    ({"m": {"x": {1, 2}}}, ("m", "x"), "contains", 2, True),
]


@pytest.mark.parametrize(("document", "parts", "lookup", "operand", "wanted"), PATHS)
def test_paths(
    document: dict[str, Any], parts: tuple[Any, ...], lookup: str, operand: Any, wanted: bool
) -> None:
    condition = Path(*parts).lookup(lookup, operand)
    assert decide(Thing, CODEC.from_document(document), condition) is wanted


def test_paths_into_declared_structures() -> None:
    thing = Thing(
        parts=[Part("a", Decimal("1.5")), Part("b")],
        prices={"x.y": Decimal(2), "size": Decimal(3)},
        tags=["a", "b"],
        town=4,  # type: ignore[arg-type]  # a key, where an instance is expected
    )
    stored = CODEC.encode(thing)
    keyword = Thing.__schema__.condition
    wanted: list[tuple[dict[str, Any], bool]] = [
        ({"parts__price": Decimal("1.5")}, True),
        ({"parts__price__gt": 1}, True),
        ({"parts__1__price__gt": 1}, False),
        ({"parts__name__in": ["x", "b"]}, True),
        ({"parts__0__name": "b"}, False),
        ({"tags__1": "b"}, True),
        ({"tags__2__exists": False}, True),
        ({"tags__size": 2}, True),
        ({"prices__size": 2}, True),
        ({"prices__missing": None}, True),
        ({"town": 4}, True),
    ]
    for keywords, answer in wanted:
        assert decide(Thing, stored, keyword((), keywords)) is answer, keywords
    assert decide(Thing, stored, Path("prices", "x.y") == 2)
    assert decide(Thing, stored, Path("prices", "size") == 3)


# --- rule 1, and how conditions are put together --------------------------------------------


def test_and_or_not() -> None:
    stored = CODEC.from_document({"x": 1, "y": None})
    yes, no, null = Path("x") == 1, Path("x") == 2, Path("y") > 0
    assert decide(Thing, stored, yes & yes)
    assert not decide(Thing, stored, yes & no)
    assert decide(Thing, stored, yes | no)
    assert not decide(Thing, stored, no | null)
    assert decide(Thing, stored, ~(no | null))
    assert decide(Thing, stored, ~null)
    assert decide(Thing, stored, ~(yes & null) & ~no)
    assert decide(Thing, stored, Path("x") != 2)
    assert decide(Thing, stored, And(()))
    assert not decide(Thing, stored, Or(()))
    assert decide(Thing, stored, And((yes, yes, ~no)))
    assert decide(Thing, stored, Or((no, no, yes)))
    assert not decide(Thing, stored, Not(Not(no)))


def test_the_primary_key_is_asked_like_a_field() -> None:
    stored = CODEC.from_document({})
    assert decide(Thing, stored, Path("pk") == "k")
    assert decide(Thing, stored, Path("pk").in_(["a", "k"]))
    assert not decide(Thing, stored, Path("pk") > "k")
    assert decide(Thing, stored, Path("pk").startswith(""))
    assert decide(Town, stored, Path("pk") == 3.0, key=3)
    assert decide(Town, stored, Path("id") < 2**70, key=3)


# --- refusals -------------------------------------------------------------------------------

REFUSED: list[dict[str, Any]] = [
    {"age": "7"},
    {"age": True},
    {"age__gt": "7"},
    {"age__in": [1, "2"]},
    {"age__in": 5},
    {"age__in": "12"},
    {"age__between": (1, "2")},
    {"age__between": (1, 2, 3)},
    {"age__between": 5},
    {"age__startswith": "1"},
    {"age__contains": 1},
    {"age__size": 1},
    {"age__year": 2024},
    {"age__exists": 1},
    {"age__exists": None},
    {"name": 7},
    {"name": b"a"},
    {"name__contains": 7},
    {"name__startswith": None},
    {"name__matches": "("},
    {"name__size": 1},
    {"flag": 1},
    {"flag__gt": 0},
    {"when": date(2024, 3, 1)},
    {"when": datetime(2024, 3, 1)},
    {"when__year": "2024"},
    {"when__year": True},
    {"day": SOON},
    {"day__hour": 1},
    {"size": 1},
    {"tags": "a"},
    {"tags": ("a",)},
    {"tags__gt": ["a"]},
    {"tags__between": (["a"], ["b"])},
    {"tags__contains": 1},
    {"tags__startswith": "a"},
    {"tags__size": "1"},
    {"prices__lt": {}},
    {"loose__gte": {"a": 1}},
    {"town": "Rome"},
    {"town": Town(name="unsaved")},
    {"any__gt": [1]},
    {"any__lt": {"a": 1}},
    {"any__between": ([1], [2])},
    {"any": datetime(2024, 3, 1)},
    {"any": object},
    {"any": "\ud800"},
    {"any": float("nan")},
    {"any__in": None},
    {"any__contains_all": 3},
    {"any__icontains": 3},
    {"pk": 7},
    {"pk__in": [7]},
]


@pytest.mark.parametrize("keywords", REFUSED, ids=str)
def test_operands_that_make_no_sense_are_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises(OperandInvalid) as caught:
        Thing.__schema__.condition((), keywords)
    assert "Thing." in str(caught.value) or "Town.id" in str(caught.value)


def test_none_is_never_refused_where_a_value_is_asked_for() -> None:
    for name in Thing.__schema__.fields:
        for lookup in ("equals", "gt", "gte", "lt", "lte"):
            if lookup == "equals" or name not in ("tags", "lucky", "parts", "prices"):
                Thing.__schema__.condition((), {f"{name}__{lookup}": None})


def test_unknown_names_are_refused_with_the_nearest() -> None:
    condition = Thing.__schema__.condition
    for keywords, hint in (
        ({"nmae": 1}, "name"),
        ({"name__startwith": "a"}, "startswith"),
        ({"parts__nmae": "a"}, "name"),
        ({"parts__0__pirce": 1}, "price"),
    ):
        with pytest.raises(UnknownField, match=hint):
            condition((), keywords)
    with pytest.raises(UnknownField, match="town__in"):
        condition((), {"town__name": "Rome"})
    with pytest.raises(QueryError, match="startswith"):
        Path("name").lookup("startwith", "a")


def test_a_condition_has_no_truth_value() -> None:
    for misuse in (
        lambda: bool(Thing.age > 3),
        lambda: (Thing.age > 3) and (Thing.age < 5),
        lambda: 3 < Thing.age < 5,
        lambda: not (Thing.age > 3),
        lambda: (Thing.age > 3) & True,
        lambda: bool(Thing.age),
    ):
        with pytest.raises(QueryError):
            misuse()


def test_an_operand_changed_later_changes_no_query() -> None:
    operands: list[Any] = [[1], {"a": [1]}, {1}]
    for operand in operands:
        condition = Thing.__schema__.bind(Path("x") == operand)
        stored = CODEC.from_document({"x": operand})
        assert decide(Thing, stored, condition)
        if isinstance(operand, dict):
            operand["a"].append(2)
        else:
            operand.clear()
        assert decide(Thing, stored, condition)
