"""The conformance suite, unchanged, on storages that index every field of every model."""

from __future__ import annotations

from pathlib import Path

from pymodels.storage import Storage
from pymodels.testing import QueryTests, ValueTests
from tests.indexed_storages import IndexedLmdb, IndexedMemory


class TestMemory(QueryTests, ValueTests):
    def make(self, path: Path) -> Storage:
        return IndexedMemory()


class TestLmdb(QueryTests, ValueTests):
    def make(self, path: Path) -> Storage:
        return IndexedLmdb.at(path)
