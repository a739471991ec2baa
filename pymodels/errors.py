"""Every error that PyModels raises, as one tree.

Each class is also the builtin exception that a reader would expect to catch::

    PyModelsError
    ├── ModelError (TypeError)              a model is declared wrongly
    ├── SettingsError (ValueError)          a storage cannot be made from these settings
    │   ├── UnknownBackend (ImportError)    no module with a Storage and a Query there
    │   └── DriverMissing (ImportError)     the backend's driver is not installed
    ├── QueryError (ValueError)             a query is built wrongly
    │   ├── UnknownField (AttributeError)   no such field, or no such lookup
    │   ├── OperandInvalid (TypeError)      an operand that this lookup or field cannot take
    │   └── ScanRefused                     allow_scan=False, and no index serves the query
    ├── UsageError (TypeError)              a call that is given what it does not take
    ├── ValidationError (ValueError)        a record that cannot be stored as it is
    │   └── UnsavedReference                it refers to a record that has no key yet
    ├── RecordNotFound (KeyError)           no record where one was asked for
    │   └── DanglingReference               a reference leads to no record
    ├── MultipleFound (LookupError)         several records where one was asked for
    ├── RecordInvalid (ValueError)          a stored record does not fit its model
    ├── DuplicateKey (ValueError)           the primary key or a unique value is taken
    ├── DeleteRefused (ValueError)          others refer to the record, which forbids it
    ├── Conflict (RuntimeError)             somebody else changed the record: try again
    ├── TransactionError (RuntimeError)     a transaction used after its end, or elsewhere
    ├── Unsupported (NotImplementedError)   the backend declares that it cannot do this
    │   └── TransactionsUnsupported
    └── StorageError (OSError)              the store itself failed
        ├── ConnectionFailed (ConnectionError)
        ├── StorageInvalid                  not a file of this backend, or a damaged one
        ├── StorageFull                     no room left on the disk or in the map
        ├── StorageBusy (BlockingIOError)   somebody else holds it
        ├── StorageReadOnly (PermissionError)
        └── StorageClosed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "Conflict",
    "ConnectionFailed",
    "DanglingReference",
    "DeleteRefused",
    "DriverMissing",
    "DuplicateKey",
    "ModelError",
    "MultipleFound",
    "OperandInvalid",
    "PyModelsError",
    "QueryError",
    "RecordInvalid",
    "RecordNotFound",
    "ScanRefused",
    "SettingsError",
    "StorageBusy",
    "StorageClosed",
    "StorageError",
    "StorageFull",
    "StorageInvalid",
    "StorageReadOnly",
    "TransactionError",
    "TransactionsUnsupported",
    "UnknownBackend",
    "UnknownField",
    "UnsavedReference",
    "Unsupported",
    "UsageError",
    "ValidationError",
]


class PyModelsError(Exception):
    """The root of all errors that PyModels raises on purpose.

    >>> issubclass(RecordNotFound, (PyModelsError, KeyError))
    True
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    # KeyError would print the repr of the message and OSError its errno, so say it once here.
    def __str__(self) -> str:
        return self.message


class ModelError(PyModelsError, TypeError):
    """A model is declared in a way that has no meaning."""


class SettingsError(PyModelsError, ValueError):
    """A storage cannot be made from the given settings."""


class UnknownBackend(SettingsError, ImportError):
    """The named backend is not a module with a ``Storage`` and a ``Query``."""


class DriverMissing(SettingsError, ImportError):
    """The backend is known, but the driver that it needs is not installed."""


class QueryError(PyModelsError, ValueError):
    """A query is built in a way that has no meaning."""


class UnknownField(QueryError, AttributeError):
    """A name is neither a declared field nor a lookup."""


class OperandInvalid(QueryError, TypeError):
    """An operand is of a kind that its field or lookup cannot take."""


class ScanRefused(QueryError):
    """The query would read every record, and ``allow_scan=False`` forbids that."""


class UsageError(PyModelsError, TypeError):
    """A call is given an argument that it does not take, or lacks one that it needs."""


class ValidationError(PyModelsError, ValueError):
    """A record cannot be stored as it is; ``problems`` are the (field, reason) pairs."""

    def __init__(self, message: str = "", problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class UnsavedReference(ValidationError):
    """A record refers to another one that has not been saved, so it has no key to store."""


class RecordNotFound(PyModelsError, KeyError):
    """No record was found where exactly one was asked for."""


class DanglingReference(RecordNotFound):
    """A reference leads to a record that does not exist."""


class MultipleFound(PyModelsError, LookupError):
    """More than one record was found where exactly one was asked for."""


class RecordInvalid(PyModelsError, ValueError):
    """A stored record does not fit the model that it was read as.

    Its raw form is still readable by ``storage.raw(model, key)``.
    """

    def __init__(
        self, message: str = "", collection: str = "", key: Any = None, field: str | None = None
    ) -> None:
        super().__init__(message)
        self.collection = collection
        self.key = key
        self.field = field


class DuplicateKey(PyModelsError, ValueError):
    """A primary key, or a value that must be unique, is already taken.

    ``keys`` are those of all records of the batch that failed so, where the backend says it.
    """

    def __init__(
        self,
        message: str = "",
        collection: str = "",
        field: str = "pk",
        value: Any = None,
        keys: Sequence[Any] = (),
    ) -> None:
        super().__init__(message)
        self.collection = collection
        self.field = field
        self.value = value
        self.keys = tuple(keys)


class DeleteRefused(PyModelsError, ValueError):
    """A record cannot be deleted, because of others that refer to it.

    ``referring`` are those: (name of the model, key, name of the field).
    """

    def __init__(
        self,
        message: str = "",
        collection: str = "",
        key: Any = None,
        referring: Sequence[tuple[str, Any, str]] = (),
    ) -> None:
        super().__init__(message)
        self.collection = collection
        self.key = key
        self.referring = tuple(referring)


class Conflict(PyModelsError, RuntimeError):
    """A record has changed since it was read; reading it anew and trying again may succeed."""

    def __init__(self, message: str = "", collection: str = "", key: Any = None) -> None:
        super().__init__(message)
        self.collection = collection
        self.key = key


class TransactionError(PyModelsError, RuntimeError):
    """A transaction is used after its end, out of order, or in another process."""


class Unsupported(PyModelsError, NotImplementedError):
    """The backend declares that it does not offer this."""


class TransactionsUnsupported(Unsupported):
    """The backend declares no transactions."""


class StorageError(PyModelsError, OSError):
    """The store itself failed; the driver's own error is chained as the cause."""


class ConnectionFailed(StorageError, ConnectionError):
    """The server cannot be reached, or went away."""


class StorageInvalid(StorageError):
    """The file is not one of this backend's, or it is damaged."""


class StorageFull(StorageError):
    """There is no room left for what was to be written; nothing of it was stored."""


class StorageBusy(StorageError, BlockingIOError):
    """Somebody else holds the store, and this backend allows one holder at a time."""


class StorageReadOnly(StorageError, PermissionError):
    """A write was asked of a store that was opened for reading, or that cannot be written."""


class StorageClosed(StorageError):
    """The storage was closed before this call."""
