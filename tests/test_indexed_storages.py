"""The storage half of the conformance suite, on storages that index every field of every model."""

from __future__ import annotations

from pathlib import Path

from pymodels.storage import Storage
from pymodels.testing.batches import BatchTests
from pymodels.testing.records import RecordTests
from pymodels.testing.stateful import StatefulTests
from pymodels.testing.transactions import TransactionTests
from tests.indexed_storages import IndexedLmdb, IndexedMemory


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
