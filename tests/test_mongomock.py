"""What of the suite runs over mongomock, with each gap declared; it is no oracle for anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from pymodels.testing.batches import BatchTests
from pymodels.testing.records import RecordTests
from pymodels.testing.values import ValueTests
from tests.mongomock_storage import Storage

GAPS: Final[dict[str, set[str]]] = {
    "mongomock takes no UUIDs with current pymongo": {
        "test_keys_of_every_kind_come_back",
        "test_keys_that_are_made_ascend",
        "test_open_places_keep_values_deep_inside",
        "test_records_are_there_when_opened_again",
        "test_records_come_back_as_they_were_saved",
        "test_undeclared_fields_survive_load_and_save",
        "test_uuid_keys_keep_their_order",
        "test_values_are_changed_to_any_other",
        "test_values_are_updated_by_a_query",
        "test_values_come_back_from_declared_fields",
    },
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
}
"""Why, and which tests. Queries are not asked at all: every one of those stores a UUID."""


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


class TestMongomockBatches(Mongomock, without_gaps(BatchTests)):  # type: ignore[misc]
    pass


@pytest.mark.parametrize("reason", GAPS)
def test_every_gap_is_a_test_of_the_suite(reason: str) -> None:
    known = {name for one in (RecordTests, ValueTests, BatchTests) for name in dir(one)}
    assert GAPS[reason] <= known
