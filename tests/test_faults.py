"""The suite catches what is planted: each faulty backend fails the test that is meant for it.

The same tests pass on the backends that are right, in ``test_queries.py`` and its like.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pymodels.storage import Storage
from pymodels.testing import StorageTests
from pymodels.testing.corpus import load
from pymodels.testing.people import Person
from tests.faulty_engines import (
    LosesNulls,
    SortsOperands,
    TooBroad,
    across_kinds,
    as_floats,
    by_utf16,
    contains_deep,
    contains_like,
    engine,
    exclusively_between,
    in_local_time,
    is_null,
    is_text,
    like,
    never_of_absent,
    nulls_always_last,
    plainly_equal,
    sorting,
    ties_ascending,
)
from tests.faulty_storages import (
    Altered,
    CountsTombstones,
    Defaults,
    ForgetsToSkip,
    ForgetsUnique,
    LimitsTooEarly,
    NoTransactions,
    OneRevision,
    PrefixesEndAtUffff,
    SharedObjects,
    SkipsAfterLimit,
    WritesOneByOne,
    as_a_list,
    keeping,
    stripped,
    through_a_float,
    to_milliseconds,
)
from tests.toys import Engine, storage_with

pytestmark = pytest.mark.long

DECLARED, OPEN = "test_lookups_in_declared_places", "test_lookups_in_open_places"
UNDECLARED = "test_lookups_in_undeclared_places"
SAVED = "test_records_come_back_as_they_were_saved"

FAULTS: Mapping[str, tuple[type[Storage], str]] = {
    # What is wrong: a backend, and the test of the suite that is to catch it.
    "True equals 1": (engine(equals=plainly_equal), OPEN),
    "between leaves out its ends": (engine(between=exclusively_between), OPEN),
    "startswith is a pattern": (
        engine(startswith=lambda value, operand: like(value, f"{operand}%")),
        OPEN,
    ),
    "contains is a pattern": (engine(contains=contains_like), OPEN),
    "caseless by lower": (
        engine(iequals=lambda value, text: is_text(value) and value.lower() == text.lower()),
        OPEN,
    ),
    "matches from the start only": (
        engine(matches=lambda value, pattern: is_text(value) and re.match(pattern, value)),
        OPEN,
    ),
    "numbers compared as floats": (engine(equals=as_floats), OPEN),
    "comparisons across kinds": (engine(gt=across_kinds), OPEN),
    "contains reaches into nested lists": (engine(contains=contains_deep), OPEN),
    "in forgets that absent is null": (engine(**{"in": never_of_absent}), UNDECLARED),
    "exists is false of null": (
        engine(exists=lambda value, present: (not is_null(value)) is present),
        OPEN,
    ),
    "text has a size": (
        engine(size=lambda value, length: hasattr(value, "__len__") and len(value) == length),
        OPEN,
    ),
    "hours in local time": (engine(hour=in_local_time), OPEN),
    "weeks that begin with 0": (
        engine(week_day=lambda value, day: hasattr(value, "weekday") and value.weekday() == day),
        OPEN,
    ),
    "not loses nulls": (storage_with(LosesNulls()), OPEN),
    "a superset declared exact": (storage_with(TooBroad()), OPEN),
    "operands sorted in place": (storage_with(SortsOperands()), OPEN),
    "ties in ascending keys only": (sorting(ties_ascending), "test_order"),
    "nulls always last": (sorting(nulls_always_last), "test_order"),
    "text in the order of UTF-16": (sorting(by_utf16), "test_order"),
    "limit below a filter": (LimitsTooEarly, "test_pages_of_random_conditions"),
    "pages from the start": (ForgetsToSkip, "test_pages_neither_overlap_nor_skip"),
    "limit before offset": (SkipsAfterLimit, "test_pages_neither_overlap_nor_skip"),
    "prefixes end at U+FFFF": (PrefixesEndAtUffff, "test_lookups_on_text_keys"),
    "tombstones counted": (CountsTombstones, "test_delete_by_condition"),
    "ints through floats": (keeping(Altered(through_a_float)), SAVED),
    "instants in milliseconds": (keeping(Altered(to_milliseconds)), SAVED),
    "tuples and sets as lists": (keeping(Altered(as_a_list)), SAVED),
    "spaces at the end of text lost": (keeping(Altered(stripped)), SAVED),
    "absent taken for the default": (keeping(Defaults()), DECLARED),
    "the store's own objects": (
        keeping(SharedObjects()),
        "test_editing_a_result_does_not_edit_the_store",
    ),
    "conflicts not detected": (
        keeping(OneRevision()),
        "test_a_checked_save_refuses_to_overtake",
    ),
    "unique not enforced": (ForgetsUnique, "test_a_value_that_is_taken"),
    "half a batch left behind": (WritesOneByOne, "test_many_are_saved_as_one"),
    "transactions that are none": (NoTransactions, "test_an_exception_undoes_everything"),
}


def run(backend: type[Storage], test: str, path: Path) -> None:
    """Run one test of the suite on a backend, without pytest's help."""

    class Suite(StorageTests):
        def make(self, path: Path) -> Storage:
            return backend()  # type: ignore[call-arg]  # each is a memory storage

    method = getattr(Suite(), test)
    wanted = set(inspect.signature(method).parameters)
    with backend() as storage:  # type: ignore[call-arg]
        if "loaded" in wanted:
            load(storage)
        if "two_people" in wanted:
            storage.save_all([Person(pk="a", name="Ann", age=1), Person(pk="b", name="Bob", age=2)])
        known: dict[str, Any] = {"storage": storage, "loaded": storage, "path": path}
        method(**{name: known.get(name) for name in wanted})


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str, tmp_path: Path) -> None:
    backend, test = FAULTS[fault]
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(backend, test, tmp_path)


@pytest.mark.parametrize("test", sorted({test for _, test in FAULTS.values()}))
def test_without_a_fault_nothing_is_caught(test: str, tmp_path: Path) -> None:
    run(storage_with(Engine()), test, tmp_path)
