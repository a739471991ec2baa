"""Records in the memory of this process: for tests, prototypes and one-time applications.

Records are kept as the same bytes that a file would hold, so that nothing that is read or saved is
shared with the store. After a fork, parent and child each have a copy of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pymodels.checks import Unfit
from pymodels.errors import SettingsError
from pymodels.heldindexes import IndexedStorage
from pymodels.keyvalue import KeyValueQuery
from pymodels.plain import puts
from pymodels.schema import Schema

__all__ = ["Query", "Storage"]


class Query(KeyValueQuery[Any]):
    """A query over the records in memory."""


class Storage(IndexedStorage):
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
        try:
            for collection, records in (data or {}).items():
                self.write(puts(collection, records, self.codec))
        except Unfit as error:
            raise SettingsError(f"data{error.trail}: {error.reason}") from None
        self.read_only = read_only

    def read_one(self, schema: Schema, key: Any) -> bytes | None:
        if self.closed:
            self.check_open()
        found = self.tables.get(schema.table)
        return None if found is None else found.get(schema.key.encode(key))
