"""The storages in files run the storage half of the conformance suite.

The other half, which asks, is in test_queries.py.
"""

from __future__ import annotations

from pathlib import Path

from pymodels import get_storage
from pymodels.storage import Storage
from pymodels.testing.batches import BatchTests
from pymodels.testing.processes import ProcessTests
from pymodels.testing.records import RecordTests
from pymodels.testing.stateful import StatefulTests
from pymodels.testing.transactions import TransactionTests


class Pickled:
    def make(self, path: Path) -> Storage:
        return get_storage("pymodels.ext.pickled", path=path / "records.pickle")


class ShelfInSQLite:
    def make(self, path: Path) -> Storage:
        return get_storage("pymodels.ext.shelve", path=path / "records", kind="dbm.sqlite3")


class TestPickledRecords(Pickled, RecordTests):
    pass


class TestPickledBatches(Pickled, BatchTests):
    pass


class TestPickledTransactions(Pickled, TransactionTests):
    pass


class TestPickledProcesses(Pickled, ProcessTests):
    pass


class TestPickledStateful(Pickled, StatefulTests):
    pass


class TestShelfInSQLiteRecords(ShelfInSQLite, RecordTests):
    pass


class TestShelfInSQLiteBatches(ShelfInSQLite, BatchTests):
    pass


class TestShelfInSQLiteTransactions(ShelfInSQLite, TransactionTests):
    pass


class TestShelfInSQLiteProcesses(ShelfInSQLite, ProcessTests):
    pass


class TestShelfInSQLiteStateful(ShelfInSQLite, StatefulTests):
    pass


class TestDumbShelfProcesses(ProcessTests):
    def make(self, path: Path) -> Storage:
        return get_storage("pymodels.ext.shelve", path=path / "records", kind="dbm.dumb")
