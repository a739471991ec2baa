"""Declarative document models whose records live in any store.

>>> from pymodels import Field, Model, get_storage
>>> class Person(Model):
...     name: Field[str]
...     age: Field[int | None] = Field(default=None)
>>> storage = get_storage("pymodels.ext.memory")
>>> ann = Person(name="Ann", age=42).save(storage)
>>> Person.objects(storage).where(age__gte=18).count()
1
"""

from pymodels.errors import (
    Conflict,
    ConnectionFailed,
    DanglingReference,
    DeleteRefused,
    DriverMissing,
    DuplicateKey,
    ModelError,
    MultipleFound,
    OperandInvalid,
    PyModelsError,
    QueryError,
    RecordInvalid,
    RecordNotFound,
    ScanRefused,
    SettingsError,
    StorageBusy,
    StorageClosed,
    StorageError,
    StorageFull,
    StorageInvalid,
    StorageReadOnly,
    TransactionError,
    TransactionsUnsupported,
    UnknownBackend,
    UnknownField,
    UnsavedReference,
    Unsupported,
    UsageError,
    ValidationError,
)
from pymodels.expressions import F
from pymodels.fields import Field, Key
from pymodels.loading import get_storage
from pymodels.models import Model
from pymodels.paths import Path
from pymodels.references import Related

__version__ = "0.1.0"

__all__ = [
    "F",
    "Field",
    "Key",
    "Model",
    "Path",
    "Related",
    "get_storage",
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
