"""The backends of Tokyo Cabinet run the conformance suite, each kind of file."""

from __future__ import annotations

from pathlib import Path

from pymodels import get_storage
from pymodels.storage import Storage
from pymodels.testing import (
    BatchTests,
    ProcessTests,
    RecordTests,
    StatefulTests,
    StorageTests,
    TransactionTests,
)


class TestCabinetTable(StorageTests):
    def make(self, path: Path) -> Storage:
        return get_storage("pymodels.ext.tokyo_cabinet", path=path / "storage.tct")


class Tree:
    def make(self, path: Path) -> Storage:
        settings = {"backend": "pymodels.ext.tokyo_cabinet", "kind": "BTREE"}
        return get_storage(settings, path=path / "storage.tcb")


class Hash:
    def make(self, path: Path) -> Storage:
        settings = {"backend": "pymodels.ext.tokyo_cabinet", "kind": "HASH"}
        return get_storage(settings, path=path / "storage.tch")


class TestCabinetTreeRecords(Tree, RecordTests):
    pass


class TestCabinetTreeBatches(Tree, BatchTests):
    pass


class TestCabinetTreeTransactions(Tree, TransactionTests):
    pass


class TestCabinetTreeProcesses(Tree, ProcessTests):
    pass


class TestCabinetTreeStateful(Tree, StatefulTests):
    pass


class TestCabinetHashRecords(Hash, RecordTests):
    pass


class TestCabinetHashBatches(Hash, BatchTests):
    pass


class TestCabinetHashTransactions(Hash, TransactionTests):
    pass


class TestCabinetHashProcesses(Hash, ProcessTests):
    pass


class TestCabinetHashStateful(Hash, StatefulTests):
    pass
