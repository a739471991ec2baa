"""Records in the memory of this process: for tests, prototypes and one-time applications.

Records are kept as the same bytes that a file would hold, so that nothing that is read or saved is
shared with the store. After a fork, parent and child each have a copy of their own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Self

from pymodels.changes import Put
from pymodels.checks import Unfit
from pymodels.concurrency import Uninterrupted
from pymodels.errors import SettingsError
from pymodels.keys import KEY_KINDS, KeyKind
from pymodels.keyvalue import KeyValueQuery, KeyValueStorage
from pymodels.schema import Schema
from pymodels.tables import Batch, View

_CHUNK: Final = 256
"""How many keys an iteration looks ahead; changes further on are seen."""

_GONE: Final[Any] = object()


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
        self._tables: dict[str, _Table] = {}
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

    def view(self) -> _View:
        return _View(self._tables)

    def batch(self) -> Batch:
        return _Batch(self)

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


class _Table:
    """Values by key, and the keys in order as far as somebody has asked for that.

    One thread writes at a time, but any number read, and a reader may put the keys in order while
    they change. So an order counts only for the stamp that it was made under.
    """

    __slots__ = ("ordered", "stamp", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.stamp = 0
        self.ordered: tuple[int, list[bytes]] = (0, [])

    def put(self, key: bytes, value: bytes) -> None:
        if key in self.values:
            self.values[key] = value
            return
        self.values[key] = value
        stamp, order = self.ordered
        if stamp == self.stamp and (not order or order[-1] < key):
            order.append(key)
            self.ordered = (stamp + 1, order)
        self.stamp += 1

    def delete(self, key: bytes) -> None:
        if self.values.pop(key, None) is not None:
            self.stamp += 1

    def keys(self) -> list[bytes]:
        """Return the keys in order; the list may grow at its end, and is not to be changed."""
        stamp, order = self.ordered
        current = self.stamp
        if stamp != current:
            order = sorted(self.values)
            self.ordered = (current, order)
        return order


class _View(View):
    """The tables as they are at each moment; an iteration goes on from the last key that it saw."""

    def __init__(self, tables: dict[str, _Table]) -> None:
        self._tables = tables

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def get(self, table: str, key: bytes) -> bytes | None:
        found = self._tables.get(table)
        return None if found is None else found.values.get(key)

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        found = self._tables.get(table)
        if found is None:
            return
        chunk = _backward if descending else _forward
        values = found.values
        while keys := chunk(found.keys(), low, high):
            for key in keys:
                value = values.get(key)
                if value is not None:
                    yield key, value
            if descending:
                high = keys[-1]
            else:
                low = keys[-1] + b"\0"

    def count(self, table: str) -> int:
        found = self._tables.get(table)
        return 0 if found is None else len(found.values)


def _forward(order: list[bytes], low: bytes | None, high: bytes | None) -> list[bytes]:
    start = 0 if low is None else bisect_left(order, low)
    stop = len(order) if high is None else bisect_left(order, high)
    return order[start : min(stop, start + _CHUNK)]


def _backward(order: list[bytes], low: bytes | None, high: bytes | None) -> list[bytes]:
    start = 0 if low is None else bisect_left(order, low)
    stop = len(order) if high is None else bisect_left(order, high)
    return order[max(start, stop - _CHUNK) : stop][::-1]


class _Batch(_View):
    """Changes kept aside until they are committed; what is read sees them."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage._tables)
        self._storage = storage
        self._changes: dict[str, dict[bytes, Any]] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        changed = self._changes.get(table)
        if changed is not None:
            found = changed.get(key)
            if found is not None:
                return None if found is _GONE else found
        return super().get(table, key)

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        merged = dict(super().items(table, low, high, descending=False))
        for key, value in self._changes.get(table, {}).items():
            if value is _GONE:
                merged.pop(key, None)
            elif (low is None or key >= low) and (high is None or key < high):
                merged[key] = value
        return iter(sorted(merged.items(), reverse=descending))

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._changes.setdefault(table, {})[key] = value

    def delete(self, table: str, key: bytes) -> None:
        self._changes.setdefault(table, {})[key] = _GONE

    def commit(self) -> None:
        with self._storage._applying:
            self._apply()
            self._storage._revision += 1

    def _apply(self) -> None:
        for name, changes in self._changes.items():
            table = self._tables.get(name)
            if table is None:
                table = self._tables.setdefault(name, _Table())
            for key, value in changes.items():
                if value is _GONE:
                    table.delete(key)
                else:
                    table.put(key, value)

    def rollback(self) -> None:
        self._changes.clear()
