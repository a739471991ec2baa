"""The conformance suite that a backend passes, with pytest: one class, one method.

>>> from pymodels import get_storage
>>> class TestMine(StorageTests):
...     def make(self, path):
...         return get_storage(backend="pymodels.ext.lmdb", path=path / "records.lmdb")

``StorageTests`` has everything; its parts stand alone as well. What a backend declares among
``pymodels.capabilities.CAPABILITIES`` is tested, and what it does not declare has to be refused.
"""

# ruff: noqa: E402  # pytest has to know of the modules before they are imported

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{part}"
        for part in (
            "answers",
            "batches",
            "deletions",
            "fidelity",
            "finding",
            "isolation",
            "iterating",
            "lists",
            "ordering",
            "prefetching",
            "processes",
            "queries",
            "records",
            "relations",
            "saving",
            "stateful",
            "transactions",
            "uniqueness",
            "values",
            "views",
            "watching",
        )
    )
)

from pymodels.testing.batches import BatchTests
from pymodels.testing.opening import OpensStorage
from pymodels.testing.processes import ProcessTests
from pymodels.testing.queries import QueryTests
from pymodels.testing.records import RecordTests
from pymodels.testing.stateful import StatefulTests
from pymodels.testing.transactions import TransactionTests
from pymodels.testing.values import ValueTests
from pymodels.testing.watching import WatchTests

__all__ = [
    "StorageTests",
    "QueryTests",
    "ValueTests",
    "RecordTests",
    "BatchTests",
    "TransactionTests",
    "ProcessTests",
    "StatefulTests",
    "WatchTests",
    "OpensStorage",
]


class StorageTests(
    QueryTests,
    ValueTests,
    RecordTests,
    BatchTests,
    TransactionTests,
    ProcessTests,
    StatefulTests,
    WatchTests,
):
    """All that a storage has to do; ``make(self, path)`` is the one method to write."""
