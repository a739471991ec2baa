"""The backend of Tokyo Tyrant runs the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymodels import get_storage
from pymodels.storage import Storage
from pymodels.testing import StorageTests
from tests.tyrants import Tyrant

STARTED: dict[Path, Tyrant] = {}


def end_in(folder: Path) -> None:
    for path in [path for path in STARTED if path.is_relative_to(folder)]:
        STARTED.pop(path).remove()


@pytest.fixture(autouse=True, scope="module")
def all_servers_end() -> Iterator[None]:
    yield
    end_in(Path("/"))


class TestTyrant(StorageTests):
    """A folder has a server, which the first to open it starts."""

    @pytest.fixture(autouse=True)
    def servers_end(self, tmp_path: Path) -> Iterator[None]:
        yield
        end_in(tmp_path)

    def make(self, path: Path) -> Storage:
        named = path / "socket"
        if not named.exists():
            STARTED[path] = Tyrant(path / "storage.tct")
            named.write_text(STARTED[path].socket)
        return get_storage(
            "pymodels.ext.tokyo_tyrant", socket=named.read_text(), timeout=120, lock_seconds=60
        )
