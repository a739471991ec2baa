"""What of the suite runs over mongomock, with each gap declared; it is no oracle for anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from pymodels.testing.batches import BatchTests
from pymodels.testing.queries import QueryTests
from pymodels.testing.records import RecordTests
from pymodels.testing.values import ValueTests
from tests.mongomock_storage import Storage

pytestmark = pytest.mark.long

GAPS: Final[dict[str, set[str]]] = {
    "mongomock knows no $type in an expression, so that a revision cannot be checked": {
        "test_a_checked_deletion",
        "test_a_checked_save_refuses_to_overtake",
        "test_checked_saves_from_many_threads_lose_nothing",
        "test_each_expectation",
    },
    "mongomock cannot match a list of types": {
        "test_the_revision_is_another_after_each_write",
        "test_updating_all_in_the_loop",
    },
    "without transactions a batch is not whole, and threads overtake each other": {
        "test_a_big_batch",
        "test_an_update_that_fails_for_one_changes_none",
        "test_edits_of_different_fields_from_many_threads_all_win",
        "test_increments_from_many_threads_lose_nothing",
        "test_many_threads_make_one_record",
        "test_what_many_threads_delete_is_deleted_once",
    },
    "mongomock explains nothing": {"test_explain_counts_what_was_returned"},
    "Python answers every query here, as in the tests of the reference, and takes minutes for": {
        "test_all_ways_of_asking_agree",
        "test_lookups_in_declared_places",
        "test_lookups_in_open_places",
        "test_lookups_in_undeclared_places",
        "test_lookups_on_paths",
        "test_pages_neither_overlap_nor_skip",
        "test_pages_of_random_conditions",
        "test_queries_combine",
        "test_random_conditions",
        "test_reverse_is_the_mirror",
        "test_update_by_condition",
    },
}
"""Why, and which tests."""


def without_gaps(tests: type) -> type:
    """Return *tests* without those that fail; each of them has to be there."""
    gone = {name for names in GAPS.values() for name in names if hasattr(tests, name)}
    return type(tests.__name__, (tests,), dict.fromkeys(gone))


class Mongomock:
    def make(self, path: Path) -> Any:
        return Storage(path)


class TestMongomockRecords(Mongomock, without_gaps(RecordTests)):  # type: ignore[misc]
    pass


class TestMongomockValues(Mongomock, without_gaps(ValueTests)):  # type: ignore[misc]
    pass


class TestMongomockQueries(Mongomock, without_gaps(QueryTests)):  # type: ignore[misc]
    pass


class TestMongomockBatches(Mongomock, without_gaps(BatchTests)):  # type: ignore[misc]
    pass


@pytest.mark.parametrize("reason", GAPS)
def test_every_gap_is_a_test_of_the_suite(reason: str) -> None:
    known = {name for one in (QueryTests, RecordTests, ValueTests, BatchTests) for name in dir(one)}
    assert GAPS[reason] <= known
