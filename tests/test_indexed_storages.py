"""The storage half of the conformance suite, on storages that index every field of every model.

And on those that keep every field in columns.
"""

from __future__ import annotations

from pathlib import Path

from pymodels.storage import Storage
from pymodels.testing.batches import BatchTests
from pymodels.testing.records import RecordTests
from pymodels.testing.stateful import StatefulTests
from pymodels.testing.transactions import TransactionTests
from tests.indexed_storages import (
    ColumnsInLmdb,
    ColumnsInMemory,
    IndexedLmdb,
    IndexedMemory,
    SmallBlocks,
)


class Memory:
    def make(self, path: Path) -> Storage:
        return IndexedMemory(name=f"memory {path.name}")


class Lmdb:
    def make(self, path: Path) -> Storage:
        return IndexedLmdb.at(path)


class TestMemoryBatches(Memory, BatchTests):
    pass


class TestMemoryStateful(Memory, StatefulTests):
    pass


class TestLmdbRecords(Lmdb, RecordTests):
    pass


class TestLmdbBatches(Lmdb, BatchTests):
    pass


class TestLmdbTransactions(Lmdb, TransactionTests):
    pass


class TestLmdbStateful(Lmdb, StatefulTests):
    pass


class LmdbColumns(SmallBlocks):
    def make(self, path: Path) -> Storage:
        return ColumnsInLmdb.at(path)


class TestMemoryColumnsStateful(SmallBlocks, StatefulTests):
    def make(self, path: Path) -> Storage:
        return ColumnsInMemory(name=f"memory {path.name}")


class TestLmdbColumnsBatches(LmdbColumns, BatchTests):
    pass


class TestLmdbColumnsTransactions(LmdbColumns, TransactionTests):
    pass


class TestLmdbColumnsStateful(LmdbColumns, StatefulTests):
    pass
