"""The reference evaluator against the written semantics: every expectation here is by hand.

Each case names a stored value (``GONE``: the record has no such field), a lookup, an operand and
what the semantics say; the complement is checked along with it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from pymodels.lookups import LOOKUPS
from tests.deciding import CHANGING, GONE, SOON, of_open

# --- the table of values --------------------------------------------------------------------

EQUAL = [
    (1, 1.0),
    (1, Decimal(1)),
    (1.0, Decimal("1.00")),
    (0, -0.0),
    (0, Decimal("-0")),
    (2**53, 2.0**53),
    (10**18, Decimal("1E+18")),
    (0.5, Decimal("0.5")),
    ([1, 2], [1.0, Decimal(2)]),
    ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}),
    ({1, 2}, {2, 1}),
    (
        datetime(2024, 3, 1, tzinfo=UTC),
        datetime(2024, 3, 1, 2, tzinfo=timezone(timedelta(hours=2))),
    ),
    (datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 1, 2, tzinfo=CHANGING)),
    (datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 1, 1, tzinfo=CHANGING, fold=1)),
    (timedelta(days=1), timedelta(hours=24)),
    ("é", "\u00e9"),
]
DIFFERENT = [
    (True, 1),
    (False, 0),
    (False, ""),
    (False, None),
    (0, None),
    ("", None),
    ([], None),
    ({}, None),
    (2, "2"),
    (2**53 + 1, 2.0**53),
    (2**63 - 1, 2.0**63),
    (0.1, Decimal("0.1")),
    ("a", "A"),
    ("é", "e\u0301"),
    ("a", "a "),
    ("a", b"a"),
    ([], ()),
    ([1], (1,)),
    ([1], {1}),
    ([1, 2], [2, 1]),
    ([True], [1]),
    ([[]], []),
    ({"a": None}, {}),
    ({"a": 1}, {"a": True}),
    ({}, []),
    (date(2024, 3, 1), datetime(2024, 3, 1, tzinfo=UTC)),
    (date(2024, 3, 1), "2024-03-01"),
    (time(1), timedelta(hours=1)),
    (UUID(int=1), str(UUID(int=1))),
    (UUID(int=1), 1),
    (SOON, SOON + timedelta(microseconds=1)),
    (Decimal("9" * 34), Decimal("9" * 33 + "8")),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_values_that_are_the_same(left: Any, right: Any) -> None:
    assert of_open(left, "equals", right)
    assert of_open(right, "equals", left)
    assert of_open([left], "contains", right)
    assert of_open(left, "in", ["other", right])
    assert of_open({"a": [left]}, "equals", {"a": [right]})


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_values_that_differ(left: Any, right: Any) -> None:
    assert not of_open(left, "equals", right)
    assert not of_open(right, "equals", left)
    assert not of_open([left], "contains", right)
    assert not of_open(left, "in", ["other", right])
    assert not of_open({"a": [left]}, "equals", {"a": [right]})


# --- rules 2 to 7, in open places -----------------------------------------------------------

CASES = [
    # 2: None is true of null and of absent, and of nothing else; exists of present, null included.
    (None, "equals", None, True),
    (GONE, "equals", None, True),
    (0, "equals", None, False),
    (False, "equals", None, False),
    ("", "equals", None, False),
    (None, "exists", True, True),
    (0, "exists", True, True),
    (GONE, "exists", True, False),
    (GONE, "exists", False, True),
    (None, "exists", False, False),
    (GONE, "equals", 0, False),
    # 3: between values of one kind.
    (1, "gt", 0, True),
    (1, "gt", 1, False),
    (1, "gte", 1, True),
    (1, "gte", Decimal("1.0"), True),
    (1, "lt", 1.5, True),
    (1, "lte", 1, True),
    (2**53 + 1, "gt", 2.0**53, True),
    (2**53, "lt", Decimal(2**53 + 1), True),
    (0.1, "gt", Decimal("0.1"), True),
    (0.3, "lt", Decimal("0.3"), True),
    (-(2**63), "lt", -1e308, False),
    (5, "lt", 2**70, True),
    (5, "gt", -(2**70), True),
    ("b", "gt", "a", True),
    ("B", "lt", "a", True),
    ("10", "lt", "2", True),
    ("é", "gt", "z", True),
    ("\uffff", "lt", "😀", True),
    ("a", "gt", "", True),
    ("", "gte", "", True),
    ("1", "gt", 0, False),
    ("1", "lte", 5, False),
    (1, "lt", "2", False),
    (True, "gt", False, True),
    (True, "gt", 0, False),
    (True, "gte", 1, False),
    (1, "gte", True, False),
    (None, "gt", 0, False),
    (None, "lte", 0, False),
    (None, "gte", None, False),
    (None, "lte", None, False),
    (GONE, "lt", 1, False),
    (GONE, "gte", None, False),
    (0, "gte", None, False),
    ([5], "gt", 1, False),
    ({"a": 5}, "lt", 9, False),
    (b"b", "gt", b"a", True),
    (b"\xff", "gt", b"\x7f", True),
    (b"a", "lt", "b", False),
    (SOON, "lt", SOON + timedelta(microseconds=1), True),
    (SOON, "gt", SOON, False),
    (date(2024, 1, 1), "lt", date(2024, 1, 2), True),
    (date(2024, 1, 1), "lt", SOON, False),
    (time(1), "lt", time(1, 0, 0, 1), True),
    (time(1), "lt", timedelta(days=1), False),
    (timedelta(microseconds=-1), "lt", timedelta(0), True),
    (UUID(int=1), "lt", UUID(int=2), True),
    (1, "between", (1, 3), True),
    (3, "between", (1, 3), True),
    (3, "between", [1, 3], True),
    (4, "between", (1, 3), False),
    (2, "between", (3, 1), False),
    (2, "between", (1, "z"), False),
    (2, "between", (None, 3), False),
    (None, "between", (0, 1), False),
    ("b", "between", ("a", "c"), True),
    # 4: equals reaches into nothing; contains does.
    ([1], "equals", 1, False),
    ([1], "equals", [1], True),
    ([1, [2]], "contains", 2, False),
    ([1, [2]], "contains", [2], True),
    ([1, None], "contains", None, True),
    ([], "contains", None, False),
    (None, "contains", None, False),
    (GONE, "contains", None, False),
    (["abc"], "contains", "b", False),
    ((1, 2), "contains", 2, True),
    ({1, 2}, "contains", 3, False),
    ([{"a": 1}], "contains", {"a": 1}, True),
    ([True], "contains", 1, False),
    ("abc", "contains", "b", True),
    ("abc", "contains", "", True),
    ("abc", "contains", "B", False),
    ("123", "contains", 2, False),
    ({"a": 1}, "contains", "a", False),
    (b"abc", "contains", b"b", False),
    (5, "contains", 5, False),
    ([1, 2, 3], "contains_all", [3, 1], True),
    ([1, 2, 3], "contains_all", [3, 4], False),
    ([1], "contains_all", [], True),
    ("abc", "contains_all", ["c", "a"], True),
    ("abc", "contains_all", ["c", "d"], False),
    ("abc", "contains_all", [], True),
    (None, "contains_all", [], False),
    (GONE, "contains_all", [], False),
    (7, "contains_all", [], False),
    ([1, 2], "contains_any", [5, 2], True),
    ([1, 2], "contains_any", [5], False),
    ([1, 2], "contains_any", [], False),
    ("abc", "contains_any", ["x", "c"], True),
    ("abc", "contains_any", [1, "x"], False),
    # 5: text is literal; a pattern is Python's; the twins fold case.
    ("a%b", "startswith", "a%", True),
    ("axb", "startswith", "a%", False),
    ("axb", "startswith", "a_", False),
    ("axb", "contains", ".", False),
    ("axb", "endswith", ".", False),
    ("a.b", "contains", ".b", True),
    ("a\\b", "contains", "\\", True),
    ("[a]", "startswith", "[a]", True),
    ("Ab", "startswith", "a", False),
    ("ab\n", "endswith", "b", False),
    ("ab", "endswith", "", True),
    ("ab", "startswith", "", True),
    ("a", "startswith", "ab", False),
    (None, "startswith", "", False),
    (GONE, "endswith", "", False),
    (["ab"], "startswith", "a", False),
    (2, "startswith", "2", False),
    ("JÖRG", "iequals", "jörg", True),
    ("Straße", "iequals", "STRASSE", True),
    ("ẞ", "iequals", "ß", True),
    ("ΣΑΣ", "iequals", "σας", True),
    ("İ", "iequals", "i", False),
    ("a", "iequals", "a ", False),
    (None, "iequals", "none", False),
    ("Straße", "icontains", "ASS", True),
    ("Straße", "iendswith", "SSE", True),
    ("ßeta", "istartswith", "S", True),
    ("100%", "icontains", "%", True),
    ("1000", "icontains", "%", False),
    ("AbC", "istartswith", "aB", True),
    ("AbC", "iendswith", "Bc", True),
    (["AB"], "icontains", "ab", False),
    ("ab", "istartswith", "B", False),
    ("ab", "iendswith", "A", False),
    ("xaby", "matches", "ab", True),
    ("xaby", "matches", "^ab", False),
    ("b\n", "matches", "b$", True),
    ("a\nb", "matches", "a.b", False),
    ("a\nb", "matches", "(?s)a.b", True),
    ("a\nb", "matches", "^b", False),
    ("a\nb", "matches", "(?m)^b", True),
    ("AB", "matches", "ab", False),
    ("AB", "imatches", "ab", True),
    ("É", "imatches", "é", True),
    ("ss", "imatches", "ß", False),
    ("٣", "matches", r"\d", True),
    ("", "matches", "", True),
    (None, "matches", "", False),
    (5, "matches", "5", False),
    ([" a"], "imatches", "a", False),
    # 6: in.
    (1, "in", [], False),
    (None, "in", [], False),
    (1, "in", [1, None], True),
    (None, "in", [1, None], True),
    (GONE, "in", [1, None], True),
    (GONE, "in", [1], False),
    (2, "in", [1, None], False),
    (1, "in", [True, "1"], False),
    (1.0, "in", (1,), True),
    ([1], "in", [[1], 2], True),
    (1, "in", [[1], 2], False),
    ({"a": 1}, "in", [{"a": 1}], True),
    # 7: parts of moments in UTC, and lengths.
    (SOON, "year", 2024, True),
    (SOON, "month", 2, True),
    (SOON, "day", 29, True),
    (SOON, "hour", 23, True),
    (SOON, "week_day", 4, True),
    (SOON, "week_day", 5, False),
    (SOON, "day", 1, False),
    (datetime(2024, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))), "day", 29, True),
    (datetime(2024, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))), "month", 3, False),
    (datetime(2024, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))), "hour", 23, True),
    (datetime(2024, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2))), "year", 2025, True),
    (date(2024, 3, 3), "week_day", 7, True),
    (date(2024, 3, 4), "week_day", 1, True),
    (date(2024, 3, 1), "hour", 0, False),
    (time(23), "hour", 23, False),
    ("2024-03-01", "year", 2024, False),
    (None, "year", 2024, False),
    (2024, "year", 2024, False),
    ([1, 2], "size", 2, True),
    ([], "size", 0, True),
    ({"a": 1}, "size", 1, True),
    ((1,), "size", 1, True),
    ({1, 2}, "size", 2, True),
    ("ab", "size", 2, False),
    (b"ab", "size", 2, False),
    (None, "size", 0, False),
    (GONE, "size", 0, False),
    ([], "size", -1, False),
    # 10: an operand is data.
    ({"$gt": ""}, "equals", {"$gt": ""}, True),
    ("a", "equals", {"$gt": ""}, False),
    ({"$ne": None}, "in", [{"$ne": None}], True),
    ("a", "equals", "' OR 1=1 --", False),
]


@pytest.mark.parametrize(("value", "lookup", "operand", "wanted"), CASES)
def test_open_places(value: Any, lookup: str, operand: Any, wanted: bool) -> None:
    assert of_open(value, lookup, operand) is wanted


def test_every_lookup_has_a_case_that_is_true_and_one_that_is_false() -> None:
    for wanted in (True, False):
        asked = {lookup for _, lookup, _, answer in CASES if answer is wanted}
        # A backend may bring a lookup of its own, which it tests itself.
        core = {name for name, one in LOOKUPS.items() if one.test.__module__ == "pymodels.lookups"}
        assert core - asked == set()
