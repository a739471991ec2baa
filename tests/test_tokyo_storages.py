"""The backends of Tokyo Cabinet run the conformance suite, each kind of file."""

from __future__ import annotations

from pathlib import Path

from pymodels import get_storage
from pymodels.storage import Storage
from pymodels.testing import StorageTests


class TestCabinetTable(StorageTests):
    def make(self, path: Path) -> Storage:
        return get_storage("pymodels.ext.tokyo_cabinet", path=path / "storage.tct")
