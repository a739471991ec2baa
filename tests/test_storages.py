"""Both storages run the storage half of the conformance suite."""

from __future__ import annotations

from pathlib import Path

from pymodels import get_storage
from pymodels.storage import Storage
from pymodels.testing.batches import BatchTests
from pymodels.testing.processes import ProcessTests
from pymodels.testing.records import RecordTests
from pymodels.testing.stateful import StatefulTests
from pymodels.testing.transactions import TransactionTests
from pymodels.testing.watching import WatchTests


class Memory:
    def make(self, path: Path) -> Storage:
        return get_storage("pymodels.ext.memory", name=f"memory {path.name}")


class Lmdb:
    def make(self, path: Path) -> Storage:
        return get_storage("pymodels.ext.lmdb", path=path / "records.lmdb")


class TestMemoryRecords(Memory, RecordTests):
    pass


class TestMemoryBatches(Memory, BatchTests):
    pass


class TestMemoryTransactions(Memory, TransactionTests):
    pass


class TestMemoryProcesses(Memory, ProcessTests):
    pass


class TestMemoryStateful(Memory, StatefulTests):
    pass


class TestLmdbRecords(Lmdb, RecordTests):
    pass


class TestLmdbBatches(Lmdb, BatchTests):
    pass


class TestLmdbTransactions(Lmdb, TransactionTests):
    pass


class TestLmdbProcesses(Lmdb, ProcessTests):
    pass


class TestLmdbStateful(Lmdb, StatefulTests):
    pass


class TestMemoryWatching(Memory, WatchTests):
    pass


class TestLmdbWatching(Lmdb, WatchTests):
    pass
