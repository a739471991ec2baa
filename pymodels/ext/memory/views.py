"""How tables in memory are read, and changed by a batch."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Self

from pymodels.ext.memory.dicts import Index, Table
from pymodels.tables import INDEX, IndexView, in_chunks

if TYPE_CHECKING:
    from pymodels.ext.memory import Storage

_CHUNK: Final = 256
"""How many keys an iteration looks ahead; changes further on are seen."""

_GONE: Final[Any] = object()
_entry_of: Final = operator.itemgetter(0)


class MemoryView(IndexView):
    """The tables as they are at each moment; an iteration goes on from the last key that it saw."""

    is_snapshot = False

    def __init__(
        self,
        tables: dict[str, Table],
        indexes: dict[str, Index],
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

    def distinct(
        self, table: str, low: bytes, high: bytes, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes, bytes, int]]:
        pairs = self.entries(table, low, high, descending=descending)
        for entry, group in groupby(pairs, key=_entry_of):
            keys = [key for _, key in group]
            yield entry, min(keys), max(keys), len(keys)

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


class MemoryBatch(MemoryView):
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
                table = self._tables.setdefault(name, Table())
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
                index = self._indexes.setdefault(name, Index())
            for (entry, key), there in pairs.items():
                if there:
                    index.add(entry, key)
                else:
                    index.remove(entry, key)

    def rollback(self) -> None:
        self._changes.clear()
        self._entries.clear()
        self._dropped.clear()
