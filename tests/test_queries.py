"""The semantics half of the conformance suite, on the backends that are here."""

from __future__ import annotations

from pathlib import Path

from pymodels import get_storage
from pymodels.storage import Storage
from pymodels.testing import QueryTests, ValueTests


class TestMemory(QueryTests, ValueTests):
    def make(self, path: Path) -> Storage:
        return get_storage("pymodels.ext.memory")


class TestLmdb(QueryTests, ValueTests):
    def make(self, path: Path) -> Storage:
        return get_storage(backend="pymodels.ext.lmdb", path=path / "records.lmdb")


class TestPickled(QueryTests, ValueTests):
    def make(self, path: Path) -> Storage:
        return get_storage("pymodels.ext.pickled", path=path / "records.pickle")


class TestShelve(QueryTests, ValueTests):
    def make(self, path: Path) -> Storage:
        return get_storage("pymodels.ext.shelve", path=path / "records")
