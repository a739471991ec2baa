"""The conformance suite, unchanged, on storages that index every field or keep it in columns."""

from __future__ import annotations

from pathlib import Path

from pymodels.storage import Storage
from pymodels.testing import QueryTests, ValueTests
from tests.indexed_storages import (
    ColumnsInLmdb,
    ColumnsInMemory,
    IndexedLmdb,
    IndexedMemory,
    SmallBlocks,
)


class TestMemory(QueryTests, ValueTests):
    def make(self, path: Path) -> Storage:
        return IndexedMemory()


class TestLmdb(QueryTests, ValueTests):
    def make(self, path: Path) -> Storage:
        return IndexedLmdb.at(path)


class TestMemoryColumns(SmallBlocks, QueryTests):
    def make(self, path: Path) -> Storage:
        return ColumnsInMemory()


class TestLmdbColumns(SmallBlocks, ValueTests):
    def make(self, path: Path) -> Storage:
        return ColumnsInLmdb.at(path)
