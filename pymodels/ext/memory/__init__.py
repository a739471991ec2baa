"""Records in the memory of this process: for tests, prototypes and one-time applications.

Records are kept as the same bytes that a file would hold, so that nothing that is read or saved is
shared with the store. After a fork, parent and child each have a copy of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pymodels.changes import Put
from pymodels.checks import Unfit
from pymodels.concurrency import Uninterrupted
from pymodels.errors import SettingsError
from pymodels.ext.memory.dicts import Index, Table
from pymodels.ext.memory.views import MemoryBatch, MemoryView
from pymodels.keys import KEY_KINDS, KeyKind
from pymodels.keyvalue import KeyValueQuery, KeyValueStorage
from pymodels.schema import Schema
from pymodels.tables import Batch

__all__ = ["Query", "Storage"]


class Query(KeyValueQuery[Any]):
    """A query over the records in memory."""


class Storage(KeyValueStorage):
    """Records in a dict.

    Args:
        data: records to begin with, as ``{"cookie": {1: {"type": "muffin"}}}``: collections, keys
            of one kind in each (text, int or UUID), plain mappings.
        read_only: refuse every write.
        name: what messages call it.

    >>> from pymodels import Field, Key, Model, get_storage
    >>> class Cookie(Model):
    ...     id: Key[int]
    ...     type: Field[str]
    >>> jar = get_storage("pymodels.ext.memory", data={"cookie": {1: {"type": "muffin"}}})
    >>> Cookie.objects(jar).get(1).type
    'muffin'
    """

    query_class = Query
    capabilities: ClassVar[frozenset[str]] = frozenset({"transactions", "unique", "nul"})
    keeps_indexes = True

    def __init__(
        self,
        *,
        data: Mapping[str, Mapping[Any, Mapping[str, Any]]] | None = None,
        read_only: bool = False,
        name: str = "memory",
    ) -> None:
        if not isinstance(read_only, bool):
            raise SettingsError(f"read_only is True or False, not {read_only!r}")
        if not isinstance(name, str) or not name:
            raise SettingsError(f"name is what messages call the storage, not {name!r}")
        if not isinstance(data, Mapping | None):
            raise SettingsError(f"data maps collections to records, and {data!r:.60} does not")
        super().__init__(name=name, read_only=False)
        self._tables: dict[str, Table] = {}
        self._indexes: dict[str, Index] = {}
        self._applying = Uninterrupted()
        self._revision = 0
        for collection, records in (data or {}).items():
            self._fill(collection, records)
        self.read_only = read_only

    def _fill(self, collection: str, records: Any) -> None:
        if not isinstance(collection, str) or not collection:
            raise SettingsError(f"data: a collection has a name, not {collection!r}")
        if not isinstance(records, Mapping):
            raise SettingsError(
                f"data[{collection!r}] maps keys to records, and {type(records).__name__} does not"
            )
        if not records:
            return
        schema = Schema(None, collection, collection, _key_kind(collection, records), "pk")
        changes = []
        for key, record in records.items():
            try:
                schema.key.check(key)
                if not isinstance(record, Mapping):
                    raise Unfit(f"a record is a mapping, not {type(record).__name__}")
                changes.append(Put(schema, key, self.codec.from_document(record)))
            except Unfit as error:
                raise SettingsError(
                    f"data[{collection!r}][{key!r}]{error.trail}: {error.reason}"
                ) from None
        self.write(changes)

    @property
    def native(self) -> Any:
        """The tables, a mapping from names to mappings of bytes; not to be changed."""
        return {name: table.values for name, table in self._tables.items()}

    @property
    def revision(self) -> int:
        return self._revision

    def view(self) -> MemoryView:
        return MemoryView(self._tables, self._indexes, self._applying)

    def batch(self) -> Batch:
        return MemoryBatch(self)

    def read_one(self, schema: Schema, key: Any) -> bytes | None:
        self.check_open()
        found = self._tables.get(schema.table)
        return None if found is None else found.values.get(schema.key.encode(key))

    def close(self) -> None:
        self.closed = True


def _key_kind(collection: str, records: Mapping[Any, Any]) -> KeyKind:
    kinds = {type(key) for key in records}
    kind = KEY_KINDS.get(next(iter(kinds))) if len(kinds) == 1 else None
    if kind is None:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise SettingsError(
            f"data[{collection!r}] has keys of the types {names}: the keys of a collection are all "
            f"of one kind, {', '.join(sorted(kind.__name__ for kind in KEY_KINDS))}"
        )
    return kind
