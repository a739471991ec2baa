"""The storages in files run the whole conformance suite, shelves on two kinds of dbm.

The queries, which only ask, are in test_queries.py.
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


class DumbShelf:
    def make(self, path: Path) -> Storage:
        return get_storage("pymodels.ext.shelve", path=path / "records", kind="dbm.dumb")


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


class TestDumbShelfRecords(DumbShelf, RecordTests):
    pass


class TestDumbShelfBatches(DumbShelf, BatchTests):
    pass


class TestDumbShelfTransactions(DumbShelf, TransactionTests):
    pass


class TestDumbShelfProcesses(DumbShelf, ProcessTests):
    pass


class TestDumbShelfStateful(DumbShelf, StatefulTests):
    pass
