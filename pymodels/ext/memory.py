"""Records in the memory of this process: for tests, prototypes and one-time applications.

Records are kept as the same bytes that a file would hold, so that nothing that is read or saved is
shared with the store. After a fork, parent and child each have a copy of their own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Final, Self

from pymodels.changes import Put
from pymodels.checks import Unfit
from pymodels.concurrency import Uninterrupted
from pymodels.errors import SettingsError
from pymodels.keys import KEY_KINDS, KeyKind
from pymodels.keyvalue import KeyValueQuery, KeyValueStorage
from pymodels.schema import Schema
from pymodels.tables import INDEX, Batch, IndexView, in_chunks

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
        self._tables: dict[str, _Table] = {}
        self._indexes: dict[str, _Index] = {}
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
        return _View(self._tables, self._indexes, self._applying)

    def read_one(self, schema: Schema, key: Any) -> bytes | None:
        if self.closed:
            self.check_open()
        found = self._tables.get(schema.table)
        return None if found is None else found.values.get(schema.key.encode(key))

    def batch(self) -> Batch:
        return _Batch(self)

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


class _Index:
    """Keys by entry, and the entries in order as far as somebody has asked for that.

    As in a table, an order counts only for the stamp that it was made under.
    """

    __slots__ = ("keys", "ordered", "size", "stamp")

    def __init__(self) -> None:
        self.keys: dict[bytes, list[bytes]] = {}
        self.stamp = 0
        self.ordered: tuple[int, list[bytes]] = (0, [])
        self.size = 0

    def add(self, entry: bytes, key: bytes) -> None:
        found = self.keys.get(entry)
        if found is None:
            self.keys[entry] = [key]
            stamp, order = self.ordered
            if stamp == self.stamp and (not order or order[-1] < entry):
                order.append(entry)
                self.ordered = (stamp + 1, order)
            self.stamp += 1
        elif found[-1] < key:
            found.append(key)
        else:
            at = bisect_left(found, key)
            if found[at] == key:
                return
            found.insert(at, key)
        self.size += 1

    def remove(self, entry: bytes, key: bytes) -> None:
        found = self.keys.get(entry)
        at = 0 if found is None else bisect_left(found, key)
        if found is None or at == len(found) or found[at] != key:
            return
        self.size -= 1
        if len(found) > 1:
            del found[at]
        else:
            del self.keys[entry]
            self.stamp += 1

    def between(self, low: bytes | None, high: bytes | None) -> list[bytes]:
        """Return the entries from *low* (included) to *high*, in order."""
        stamp, order = self.ordered
        current = self.stamp
        if stamp != current:
            order = sorted(self.keys)
            self.ordered = (current, order)
        start = 0 if low is None else bisect_left(order, low)
        stop = len(order) if high is None else bisect_left(order, high)
        return order[start:stop]


class _View(IndexView):
    """The tables as they are at each moment; an iteration goes on from the last key that it saw."""

    is_snapshot = False

    def __init__(
        self,
        tables: dict[str, _Table],
        indexes: dict[str, _Index],
        changing: AbstractContextManager[Any],
    ) -> None:
        self._tables = tables
        self._indexes = indexes
        self._changing = changing

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

    def chunks(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool, first: int
    ) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        if table.startswith(INDEX):
            yield from in_chunks(self.entries(table, low, high, descending=descending), first)
            return
        found = self._tables.get(table)
        if found is None:
            return
        chunk_of = _backward if descending else _forward
        values = found.values
        while keys := chunk_of(found.keys(), low, high):
            try:
                yield [(key, values[key]) for key in keys]
            except KeyError:  # one of them is being deleted
                yield [(key, value) for key in keys if (value := values.get(key)) is not None]
            if descending:
                high = keys[-1]
            else:
                low = keys[-1] + b"\0"

    def count(self, table: str) -> int:
        if table.startswith(INDEX):
            index = self._indexes.get(table)
            return 0 if index is None else index.size
        found = self._tables.get(table)
        return 0 if found is None else len(found.values)

    # --- indexes ----------------------------------------------------------------------------

    def open(self, tables: Iterable[str]) -> None:
        pass  # there is but one state

    def steady(self) -> AbstractContextManager[Any]:
        return self._changing

    def fetch(self, table: str, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        found = self._tables.get(table)
        if found is None:
            return []
        get = found.values.get
        return [(key, stored) for key in keys if (stored := get(key)) is not None]

    def entries(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        index = self._indexes.get(table)
        if index is None:
            return
        entries = index.between(low, high)
        for entry in reversed(entries) if descending else entries:
            keys = list(index.keys.get(entry, ()))
            for key in reversed(keys) if descending else keys:
                yield entry, key

    def under(self, table: str, entry: bytes) -> list[bytes]:
        index = self._indexes.get(table)
        return [] if index is None else list(index.keys.get(entry, ()))

    def count_under(self, table: str, entry: bytes) -> int:
        index = self._indexes.get(table)
        return 0 if index is None else len(index.keys.get(entry, ()))


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
        super().__init__(storage._tables, storage._indexes, nullcontext())
        self._storage = storage
        self._changes: dict[str, dict[bytes, Any]] = {}
        self._dropped: list[str] = []
        self._entries: dict[str, dict[tuple[bytes, bytes], bool]] = {}

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

    def chunks(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool, first: int
    ) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        read = self.entries if table.startswith(INDEX) else self.items
        return in_chunks(read(table, low, high, descending=descending), first)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._changes.setdefault(table, {})[key] = value

    def delete(self, table: str, key: bytes) -> None:
        self._changes.setdefault(table, {})[key] = _GONE

    def insert(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        changed, known = self._changes.setdefault(table, {}), self._tables.get(table)
        there = known.values if known is not None else {}
        for key, _ in pairs:
            if (key in there and changed.get(key) is not _GONE) or (
                changed.get(key, _GONE) is not _GONE
            ):
                return key
        changed.update(pairs)
        return None

    # --- indexes ----------------------------------------------------------------------------

    def entries(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        changed = self._entries.get(table, {})
        found = (
            set()
            if table in self._dropped
            else set(super().entries(table, low, high, descending=False))
        )
        for pair, there in changed.items():
            if (low is None or pair[0] >= low) and (high is None or pair[0] < high):
                (found.add if there else found.discard)(pair)
        return iter(sorted(found, reverse=descending))

    def under(self, table: str, entry: bytes) -> list[bytes]:
        if table in self._entries or table in self._dropped:
            return [key for _, key in self.entries(table, entry, entry + b"\0", descending=False)]
        return super().under(table, entry)

    def count_under(self, table: str, entry: bytes) -> int:
        return len(self.under(table, entry))

    def add(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._entries.setdefault(table, {}).update(dict.fromkeys(pairs, True))

    def remove(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._entries.setdefault(table, {}).update(dict.fromkeys(pairs, False))

    def drop(self, table: str) -> None:
        self._entries.pop(table, None)
        self._dropped.append(table)

    def commit(self) -> None:
        with self._storage._applying:
            self._apply()
            self._apply_entries()
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

    def _apply_entries(self) -> None:
        for name in self._dropped:
            self._indexes.pop(name, None)
        for name, pairs in self._entries.items():
            index = self._indexes.get(name)
            if index is None:
                index = self._indexes.setdefault(name, _Index())
            for (entry, key), there in pairs.items():
                if there:
                    index.add(entry, key)
                else:
                    index.remove(entry, key)

    def rollback(self) -> None:
        self._changes.clear()
        self._entries.clear()
        self._dropped.clear()
