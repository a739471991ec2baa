"""Fixtures that several files of tests use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymodels import get_storage
from tests.tyrants import Tyrant, served

_LONG = frozenset(
    {
        "test_all_ways_of_asking_agree",
        "test_lookups_in_declared_places",
        "test_lookups_in_open_places",
        "test_lookups_in_undeclared_places",
        "test_lookups_on_paths",
        "test_lookups_on_text_keys",
        "test_many_writers_and_readers",
        "test_pages_of_random_conditions",
        "test_random_conditions",
        "test_random_conditions_on_keys",
        "test_values_are_changed_to_any_other",
    }
)
"""Tests of the suite that try everything with everything, on one storage after the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as long what takes most of the time, and runs hardly a line of its own."""
    for item in items:
        if isinstance(item, pytest.Function) and item.originalname in _LONG:
            item.add_marker("long")


@pytest.fixture
def public(tmp_path: Path) -> None:
    """Let others pass through the folders above, which are the user's alone.

    They stay so: another test process may be using the same ones.
    """
    temporary = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(temporary) and folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o011)


@pytest.fixture
def tyrant(tmp_path: Path) -> Iterator[Tyrant]:
    """Serve ``storage.tct`` by Tokyo Tyrant."""
    with served(tmp_path / "storage.tct") as tyrant:
        yield tyrant


@pytest.fixture
def tyrant_storage(tyrant: Tyrant) -> Iterator[Any]:
    """Open a storage over that server."""
    with get_storage(tyrant.settings(timeout=60)) as storage:
        yield storage
