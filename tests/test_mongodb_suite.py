"""MongoDB runs the conformance suite, on a real server."""

from __future__ import annotations

from pathlib import Path

from hypothesis import settings

from pymodels.storage import Storage
from pymodels.testing.batches import BatchTests
from pymodels.testing.processes import ProcessTests
from pymodels.testing.queries import QueryTests
from pymodels.testing.records import RecordTests
from pymodels.testing.stateful import PROFILE, StatefulTests
from pymodels.testing.transactions import TransactionTests
from pymodels.testing.values import ValueTests
from pymodels.testing.watching import WatchTests
from tests.mongodb_server import open_storage


class MongoDB:
    def make(self, path: Path) -> Storage:
        return open_storage(path)


class TestMongoDBRecords(MongoDB, RecordTests):
    pass


class TestMongoDBValues(MongoDB, ValueTests):
    pass


class TestMongoDBBatches(MongoDB, BatchTests):
    pass


class TestMongoDBTransactions(MongoDB, TransactionTests):
    pass


class TestMongoDBProcesses(MongoDB, ProcessTests):
    pass


class TestMongoDBQueries(MongoDB, QueryTests):
    pass


class TestMongoDBStateful(MongoDB, StatefulTests):
    steps = settings(PROFILE, max_examples=12)


class TestMongoDBWatching(MongoDB, WatchTests):
    pass
