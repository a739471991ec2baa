"""Indexes in dicts, whose entries are put in order when somebody asks for that."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, groupby, islice, repeat
from typing import Any, Final

from pymodels.expecting import Counter, Sizes
from pymodels.held import HeldBatch, HeldStorage, HeldView, Table, next_keys
from pymodels.schema import Schema
from pymodels.tables import INDEX, IndexBatch, IndexView, in_chunks

_entry_of: Final = operator.itemgetter(0)


class Index:
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

    def span(self, low: bytes | None, high: bytes | None) -> tuple[list[bytes], int, int]:
        """Return all entries in order, and where those from *low* (included) to *high* are."""
        stamp, order = self.ordered
        current = self.stamp
        if stamp != current:
            order = sorted(self.keys)
            self.ordered = (current, order)
        start = 0 if low is None else bisect_left(order, low)
        stop = len(order) if high is None else bisect_left(order, high)
        return order, start, stop

    def between(self, low: bytes | None, high: bytes | None) -> list[bytes]:
        """Return the entries from *low* (included) to *high*, in order."""
        order, start, stop = self.span(low, high)
        return order[start:stop]


class IndexedStorage(HeldStorage):
    """A storage that holds indexes besides its keys."""

    keeps_indexes = True

    def __init__(self, *, name: str, read_only: bool = False) -> None:
        super().__init__(name=name, read_only=read_only)
        self.indexes: dict[str, Index] = {}

    def view(self) -> IndexedView:
        return IndexedView(self)

    def batch(self) -> IndexedBatch:
        return IndexedBatch(self)

    def count_each(self, schema: Schema, asked: Sequence[Any], of_records: bool) -> Sizes:
        # There is nothing to close of a view, and a query that is planned counts each call.
        return Counter(IndexedView(self), self.samples, schema).each(asked, of_records)


class IndexedView(HeldView, IndexView):
    """The tables and indexes as they are at each moment."""

    is_snapshot = False

    def __init__(self, storage: IndexedStorage) -> None:
        self._tables = storage.tables
        self._indexes = storage.indexes
        self._changing: AbstractContextManager[Any] = storage.applying

    def count(self, table: str) -> int:
        if table in self._indexes:
            try:
                return self._indexes[table].size
            except KeyError:  # another thread drops it
                return 0
        found = self._tables.get(table)
        return 0 if found is None else len(found.values)

    def open(self, tables: Collection[str]) -> None:
        pass  # there is but one state

    def steady(self) -> AbstractContextManager[Any]:
        return self._changing

    def chunks(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool, first: int
    ) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        if table.startswith(INDEX):
            yield from in_chunks(self.entries(table, low, high, descending=descending), first)
            return
        found = self._tables.get(table)
        if found is None:
            return
        values, get = found.values, found.get
        are_here = type(found) is Table  # and not in some mapping
        while keys := next_keys(found, low, high, descending=descending):
            try:
                chunk = [(key, values[key]) for key in keys] if are_here else None
            except KeyError:  # one of them is being deleted
                chunk = None
            if chunk is None:
                chunk = [(key, value) for key in keys if (value := get(key)) is not None]
            yield chunk
            if descending:
                high = keys[-1]
            else:
                low = keys[-1] + b"\0"

    def fetch(self, table: str, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        found = self._tables.get(table)
        if found is None:
            return []
        get = found.get
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
        index = self._indexes.get(table)
        if index is None:
            return
        entries = index.between(low, high)
        for entry in reversed(entries) if descending else entries:
            keys = index.keys.get(entry)
            if keys:
                yield entry, keys[0], keys[-1], len(keys)

    def end(
        self, table: str, low: bytes, high: bytes, *, descending: bool
    ) -> tuple[bytes, bytes] | None:
        index = self._indexes.get(table)
        order, start, stop = ([], 0, 0) if index is None else index.span(low, high)
        if index is None or start >= stop:
            return None
        entry = order[stop - 1 if descending else start]
        return entry, index.keys[entry][0]

    def each_entry(self, table: str, low: bytes, high: bytes) -> list[bytes]:
        index = self._indexes.get(table)
        return [] if index is None else index.between(low, high)

    def count_under(self, table: str, entry: bytes) -> int:
        try:
            return len(self._indexes[table].keys[entry])
        except KeyError:
            return 0

    def count_points(self, table: str, points: Iterable[tuple[bytes, bytes]]) -> tuple[int, ...]:
        sizes: tuple[int, ...] = ()
        for entry, _ in points:
            try:
                sizes += (len(self._indexes[table].keys[entry]),)
            except KeyError:
                sizes += (0,)
        return sizes

    def sample(self, table: str, step: int) -> list[bytes]:
        index = self._indexes.get(table)
        if index is None:
            return []
        entries = index.between(None, None)
        numbers = map(len, map(index.keys.get, entries, repeat(())))
        return list(islice(chain.from_iterable(map(repeat, entries, numbers)), 0, None, step))

    def count_between(self, table: str, low: bytes | None, high: bytes | None, most: int) -> int:
        if table in self._tables:
            keys = self._tables[table].keys()
            start = 0 if low is None else bisect_left(keys, low)
            stop = len(keys) if high is None else bisect_left(keys, high)
            return min(most, max(0, stop - start))
        try:
            index = self._indexes[table]
        except KeyError:
            return 0
        order, start, stop = index.span(low, high)
        end = start + most if stop - start > most else stop  # each is of one record at least
        entries = order[start:end]
        return min(most, sum(map(len, map(index.keys.get, entries, repeat(())))))

    def among(self, table: str, entry: bytes, keys: Sequence[bytes]) -> Iterable[bytes]:
        index = self._indexes.get(table)
        return [] if index is None else _among(index.keys.get(entry, []), keys)

    def heads(
        self, table: str, low: bytes, high: bytes, *, most: int, descending: bool
    ) -> Iterator[Sequence[bytes]]:
        index = self._indexes.get(table)
        if index is None:
            return
        for entry in index.between(low, high):
            keys = index.keys.get(entry, [])
            yield keys[-most:] if descending else keys[:most]


def _among(there: list[bytes], keys: Sequence[bytes]) -> list[bytes]:
    """Return those of *keys* that are in a list which is in order."""
    found: list[bytes] = []
    for key in keys:
        at = bisect_left(there, key)
        if at < len(there) and there[at] == key:
            found.append(key)
    return found


class IndexedBatch(HeldBatch, IndexedView, IndexBatch):
    """Changes of tables and indexes, kept aside until they are committed."""

    def __init__(self, storage: IndexedStorage) -> None:
        HeldBatch.__init__(self, storage)
        self._indexes = storage.indexes
        self._changing = nullcontext()
        self._dropped: list[str] = []
        self._entries: dict[str, dict[tuple[bytes, bytes], bool]] = {}

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        if table in self.changes:
            return super().items(table, low, high, descending=descending)
        return HeldView.items(self, table, low, high, descending=descending)

    def chunks(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool, first: int
    ) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        read = self.entries if table.startswith(INDEX) else self.items
        return in_chunks(read(table, low, high, descending=descending), first)

    def fetch(self, table: str, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        return [(key, stored) for key in keys if (stored := self.get(table, key)) is not None]

    def insert(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        changed, known = self.changes.setdefault(table, {}), self._tables.get(table)
        there = known.values if known is not None else {}
        for key, _ in pairs:
            if (changed[key] if key in changed else there.get(key)) is not None:
                return key
        changed.update(pairs)
        return None

    def insert_one(
        self, table: str, key: bytes, value: bytes, entries: Iterable[tuple[str, bytes]]
    ) -> bool:
        if self.insert(table, ((key, value),)) is not None:
            return False
        for index, entry in entries:
            self.add(index, ((entry, key),))
        return True

    def put_all(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self.changes.setdefault(table, {}).update(pairs)

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

    def distinct(
        self, table: str, low: bytes, high: bytes, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes, bytes, int]]:
        pairs = self.entries(table, low, high, descending=descending)
        for entry, group in groupby(pairs, key=_entry_of):
            keys = [key for _, key in group]
            yield entry, min(keys), max(keys), len(keys)

    def under(self, table: str, entry: bytes) -> list[bytes]:
        if table in self._entries or table in self._dropped:
            return [key for _, key in self.entries(table, entry, entry + b"\0", descending=False)]
        return super().under(table, entry)

    def end(
        self, table: str, low: bytes, high: bytes, *, descending: bool
    ) -> tuple[bytes, bytes] | None:
        return IndexView.end(self, table, low, high, descending=descending)

    def each_entry(self, table: str, low: bytes, high: bytes) -> list[bytes]:
        return IndexView.each_entry(self, table, low, high)

    def count_under(self, table: str, entry: bytes) -> int:
        return len(self.under(table, entry))

    def sample(self, table: str, step: int) -> list[bytes]:
        return IndexView.sample(self, table, step)

    def count_between(self, table: str, low: bytes | None, high: bytes | None, most: int) -> int:
        return IndexView.count_between(self, table, low, high, most)

    def among(self, table: str, entry: bytes, keys: Sequence[bytes]) -> Iterable[bytes]:
        return _among(self.under(table, entry), keys)

    def heads(
        self, table: str, low: bytes, high: bytes, *, most: int, descending: bool
    ) -> Iterator[Sequence[bytes]]:
        yield [key for _, key in self.entries(table, low, high, descending=False)]

    def add(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._entries.setdefault(table, {}).update(dict.fromkeys(pairs, True))

    def delete_all(self, table: str, keys: Sequence[bytes]) -> None:
        self.changes.setdefault(table, {}).update(dict.fromkeys(keys))

    def remove(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._entries.setdefault(table, {}).update(dict.fromkeys(pairs, False))

    def drop(self, table: str) -> None:
        if not table.startswith(INDEX):
            for key, _ in self.items(table, None, None, descending=False):
                self.delete(table, key)
            return
        self._entries.pop(table, None)
        self._dropped.append(table)

    def apply(self) -> None:
        super().apply()
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
        super().rollback()
        self._entries.clear()
        self._dropped.clear()
