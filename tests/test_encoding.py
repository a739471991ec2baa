"""Encodings sort as values do; the written order between kinds is the judge, by another way."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymodels.encoding import FAMILIES, encode, successor, text_prefix
from pymodels.testing import pools
from pymodels.testing.expected import rank
from pymodels.values import SORTABLE, family

POOLS: list[tuple[str, tuple[Any, ...]]] = [
    (name, pool) for name, pool in vars(pools).items() if name.isupper() and isinstance(pool, tuple)
]
CONTROL = ("\0", "\1", "a\1", "a\1\1", "a\0\1", "a\1\2b", "a\2")

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=20, min_value=-9, max_value=9),
    st.integers(-(10**34) + 1, 10**34 - 1).map(Decimal),
    st.text(),
    st.text("\0\1\2ab"),
    st.binary(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(st.integers(0, 9), max_size=3),
        st.dictionaries(st.text("\0a\xff", max_size=2), inner, max_size=3),
    ),
    max_leaves=6,
)


def agree(left: Any, right: Any) -> bool:
    first, second = rank(left), rank(right)
    one, other = encode(left), encode(right)
    return (first < second, first == second) == (one < other, one == other)


@pytest.mark.parametrize(("name", "pool"), POOLS, ids=[name for name, _ in POOLS])
def test_values_that_are_easily_mistaken_sort_as_they_should(name: str, pool: Any) -> None:
    every = [*pool, None, *(() if name != "TEXTS" else CONTROL)]
    wrong = [pair for pair in itertools.combinations(every, 2) if not agree(*pair)]
    assert wrong == []


def test_families_sort_among_each_other() -> None:
    some = [value for _, pool in POOLS for value in pool[:3]]
    assert [pair for pair in itertools.combinations(some, 2) if not agree(*pair)] == []


@given(VALUES, VALUES)
def test_any_two_values_sort_as_they_should(left: Any, right: Any) -> None:
    assert agree(left, right)


@given(st.integers(2**53, 2**63 - 1), st.sampled_from(["0", "0.5", "-0.5", "1E-14"]))
def test_numbers_that_round_to_the_same_float_stay_apart(whole: int, part: str) -> None:
    beside = Decimal(whole) + Decimal(part)
    assert agree(whole, beside)
    assert agree(float(whole), beside)
    assert agree(-whole, -beside)
    assert agree(whole, float(whole))


@given(VALUES, VALUES)
def test_no_encoding_is_the_beginning_of_another(left: Any, right: Any) -> None:
    one, other = encode(left), encode(right)
    assert one == other or not (one.startswith(other) or other.startswith(one))


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
def test_several_values_sort_as_their_sequence(left: list[Any], right: list[Any]) -> None:
    if len(left) != len(right):
        return
    one, other = b"".join(map(encode, left)), b"".join(map(encode, right))
    first, second = [rank(value) for value in left], [rank(value) for value in right]
    assert (first < second, first == second) == (one < other, one == other)


@given(SCALARS)
def test_each_family_has_a_range_of_its_own(value: Any) -> None:
    name = family(value)
    low, high = FAMILIES[name]
    assert low <= encode(value) < high
    for other in (SORTABLE | {"null"}) - {name, "date", "instant"}:
        start, end = FAMILIES[other]
        assert not start <= encode(value) < end


@given(st.text("ab\0\1\uffff"), st.text("ab\0\1\uffff"))
def test_prefixes(text: str, prefix: str) -> None:
    low = text_prefix(prefix)
    assert (low <= encode(text) < successor(low)) is text.startswith(prefix)


@pytest.mark.parametrize("zeros", [400, 6200, 20_000])
def test_ints_that_no_record_holds_are_beyond_all_that_one_does(zeros: int) -> None:
    huge = 10**zeros
    most = Decimal("9" * 34 + "E+6111") if zeros > 6144 else 1.7e308
    assert encode(most) < encode(huge)
    assert encode(-huge) < encode(-most)


def test_an_instant_counts_whatever_its_zone() -> None:
    east = datetime.fromisoformat("2024-03-01T05:30+05:30")
    assert encode(east) == encode(datetime(2024, 3, 1, tzinfo=UTC))
    assert encode(timedelta.min) < encode(timedelta(0)) < encode(timedelta.max)
