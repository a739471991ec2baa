"""Tables whose keys this process holds in memory and in order; values may be kept elsewhere.

``HeldStorage`` is what the storages in memory, in one whole file and over any mapping have in
common: views, batches, one writer at a time, and a copy of its own for a forked child.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Self, TypeAlias

from pymodels.concurrency import Uninterrupted
from pymodels.keyvalue import KeyValueStorage
from pymodels.tables import Batch, View

_CHUNK: Final = 256
"""How many keys an iteration looks ahead; changes further on are seen."""

TableChanges: TypeAlias = Mapping[str, Mapping[bytes, bytes | None]]
"""What a batch changes, by table and key; None stands for a key that is removed."""


class HeldStorage(KeyValueStorage):
    """A storage that knows all its keys; a batch first goes to where ``keep`` puts it.

    After a fork, parent and child each have a copy of their own, and ``is_copy`` is true in the
    child: what it writes stays in its memory.
    """

    def __init__(self, *, name: str, read_only: bool = False) -> None:
        super().__init__(name=name, read_only=read_only)
        self.tables: dict[str, Table] = {}
        self.is_copy = False
        self.applying = _Applying(self)
        self._revision = 0

    def new_table(self, name: str) -> Table:
        """Return an empty table for what is called *name*."""
        return Table()

    def keep(self, changes: TableChanges) -> None:
        """Put a batch where it outlives this process; raise, and nothing of it is there."""

    def before_fork(self) -> None:
        """Make ready what a child will need; ``applying`` is held until the fork is over."""

    def after_fork_in_parent(self) -> None:
        """Forget what only a child needs."""

    def after_fork_in_child(self) -> None:
        """Let go of what belongs to the parent."""

    @property
    def native(self) -> Any:
        """The tables, a mapping from names to mappings of bytes; not to be changed."""
        self.check_open()
        return {name: table.values for name, table in self.tables.items()}

    @property
    def revision(self) -> int:
        self.check_open()
        return self._revision

    def view(self) -> HeldView:
        return HeldView(self.tables)

    def batch(self) -> HeldBatch:
        return HeldBatch(self)

    def close(self) -> None:
        self.closed = True

    def apply(self, changes: TableChanges) -> None:
        """Make the changes of a batch true in the tables, and only there."""
        for name, changed in changes.items():
            table = self.tables.get(name)
            if table is None:
                table = self.tables.setdefault(name, self.new_table(name))
            for key, value in changed.items():
                if value is None:
                    table.delete(key)
                else:
                    table.put(key, value)
        self._revision += 1


class _Applying(Uninterrupted):
    """The section in which a batch is applied; at a fork, the storage is told."""

    __slots__ = ("_storage",)

    def __init__(self, storage: HeldStorage) -> None:
        super().__init__()
        self._storage = weakref.ref(storage)

    def _new_lock(self) -> Any:
        return threading.RLock()  # whoever reads an index inside may have to go to a mapping

    def before_fork(self) -> None:
        storage = self._storage()
        if storage is not None:
            storage.before_fork()

    def after_fork_in_parent(self) -> None:
        storage = self._storage()
        if storage is not None:
            storage.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        storage = self._storage()
        if storage is not None:
            storage.is_copy = True
            storage.after_fork_in_child()


class Table:
    """Values by key, and the keys in order as far as somebody has asked for that.

    One thread writes at a time, but any number read, and a reader may put the keys in order while
    they change. So an order counts only for the stamp that it was made under.
    """

    __slots__ = ("get", "ordered", "stamp", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.get: Callable[[bytes], bytes | None] = self.values.get
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


class HeldView(View):
    """The tables as they are at each moment; an iteration goes on from the last key that it saw."""

    def __init__(self, tables: dict[str, Table]) -> None:
        self._tables = tables

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def get(self, table: str, key: bytes) -> bytes | None:
        found = self._tables.get(table)
        return None if found is None else found.get(key)

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        found = self._tables.get(table)
        if found is None:
            return
        get = found.get
        while keys := next_keys(found, low, high, descending=descending):
            for key in keys:
                value = get(key)
                if value is not None:
                    yield key, value
            if descending:
                high = keys[-1]
            else:
                low = keys[-1] + b"\0"

    def count(self, table: str) -> int:
        found = self._tables.get(table)
        return 0 if found is None else len(found.values)


def next_keys(
    table: Table, low: bytes | None, high: bytes | None, *, descending: bool
) -> list[bytes]:
    """Return the next keys of a range, in the order in which they are read."""
    return (_backward if descending else _forward)(table.keys(), low, high)


def _forward(order: list[bytes], low: bytes | None, high: bytes | None) -> list[bytes]:
    start = 0 if low is None else bisect_left(order, low)
    stop = len(order) if high is None else bisect_left(order, high)
    return order[start : min(stop, start + _CHUNK)]


def _backward(order: list[bytes], low: bytes | None, high: bytes | None) -> list[bytes]:
    start = 0 if low is None else bisect_left(order, low)
    stop = len(order) if high is None else bisect_left(order, high)
    return order[max(start, stop - _CHUNK) : stop][::-1]


class HeldBatch(HeldView, Batch):
    """Changes kept aside until they are committed; what is read sees them."""

    def __init__(self, storage: HeldStorage) -> None:
        HeldView.__init__(self, storage.tables)
        self._storage = storage
        self.changes: dict[str, dict[bytes, bytes | None]] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        changed = self.changes.get(table)
        if changed is not None and key in changed:
            return changed[key]
        return super().get(table, key)

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        merged = dict(super().items(table, low, high, descending=False))
        for key, value in self.changes.get(table, {}).items():
            if value is None:
                merged.pop(key, None)
            elif (low is None or key >= low) and (high is None or key < high):
                merged[key] = value
        return iter(sorted(merged.items(), reverse=descending))

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self.changes.setdefault(table, {})[key] = value

    def delete(self, table: str, key: bytes) -> None:
        self.changes.setdefault(table, {})[key] = None

    def commit(self) -> None:
        with self._storage.applying:
            self._storage.keep(self.changes)
            self.apply()

    def apply(self) -> None:
        """Make the changes true in memory; nobody else does so meanwhile."""
        self._storage.apply(self.changes)

    def rollback(self) -> None:
        self.changes.clear()
