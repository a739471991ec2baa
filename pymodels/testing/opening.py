"""How every part of the suite gets a storage: one method to write, and two fixtures.

Each part of the suite is a class of its own that inherits from ``OpensStorage``, so that
``make`` is written once, whichever parts are put together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymodels.storage import Storage


class OpensStorage:
    """What is known of the backend under test: how to open it.

    Everything else is asked of the storage itself, through ``storage.capabilities``.
    """

    def make(self, path: Path) -> Storage:
        """Open a storage in *path*, an empty folder the first time: the one method to write."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method make(self, path) that returns a storage"
        )

    def reopen(self, path: Path) -> Storage:
        """Open the storage in *path* once more, while it may be open already."""
        return self.make(path)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """An empty folder, for one test alone."""
        folder = tmp_path / "storage"
        folder.mkdir()
        return folder

    @pytest.fixture
    def storage(self, path: Path) -> Iterator[Storage]:
        """An empty storage, closed after the test."""
        with self.make(path) as storage:
            yield storage
