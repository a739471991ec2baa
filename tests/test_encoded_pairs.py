"""Entries of many records at once are those of each, in order."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymodels.encoding import encode, encoded_pairs

ONE_TYPE = st.one_of(
    st.lists(st.sampled_from(["", "a", "b", "a\0", "\1", "é", "x" * 20, "x" * 21])),
    st.lists(st.integers(-3, 3)),
    st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.5])),
    st.lists(st.sampled_from([b"", b"a"])),
    st.lists(st.sampled_from([date(2020, 1, 1), date(2021, 1, 1)])),
)
SEVERAL = st.lists(
    st.sampled_from([1, 1.0, True, Decimal(1), None, "1", b"1", [1], [True], (1,), (True,), {1}])
)


@pytest.mark.parametrize("longest", [10, 480])
@given(values=ONE_TYPE | SEVERAL)
def test_as_one_by_one(values: list[Any], longest: int) -> None:
    keys = [b"%03d" % number for number in range(len(values))]
    wanted = sorted((encode(v)[:longest], k) for v, k in zip(values, keys, strict=True))
    assert list(encoded_pairs(values, keys, longest)) == wanted
