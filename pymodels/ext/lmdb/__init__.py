"""Records in a file, by LMDB: the embedded default.

Several processes may read while one writes; a batch is one LMDB transaction, on the disk when
``write`` returns. One file holds all collections, beside it lies LMDB's own lock file.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, ClassVar, Final

import lmdb

from pymodels.catalog import Catalog
from pymodels.columns import NOT_NULL
from pymodels.errors import SettingsError
from pymodels.expecting import Counter, Sizes
from pymodels.ext.lmdb.environment import DURABILITIES, Environment, forget_inherited
from pymodels.ext.lmdb.snapshots import LONGEST_KEY, Counting, NotOpened, Snapshot
from pymodels.ext.lmdb.writing import WriteBatch
from pymodels.files import checked_path
from pymodels.keyvalue import KeyValueQuery, KeyValueStorage
from pymodels.ordered import OrderedIndex
from pymodels.schema import Schema
from pymodels.tables import META, Batch, index_table

__all__ = ["Query", "Storage"]


class Query(KeyValueQuery[Any]):
    """A query over the records in an LMDB file."""


class Storage(KeyValueStorage):
    """Records in the file at *path*.

    Args:
        path: the file; created when missing, in a folder that exists.
        read_only: open for reading; the file must exist.
        max_tables: how many collections and indexes the file may have, together.
        max_readers: how many readers, over all processes, may be at work at once.
        map_size: the most bytes that the file can grow to; by default a tebibyte, or as much of it
            as the machine lets a process reserve.
        durability: what ``save`` waits for. ``"full"``: the record is on the disk, and outlives a
            loss of power. ``"no-metasync"``: the same, except that a loss of power may take back
            the last batch. ``"async"``: nothing; ``sync()`` waits for the disk. A kill of the
            process alone loses nothing, but after a loss of power between two calls of ``sync()``
            the file may be damaged: for what can be made again.

    The driver's own handle, ``storage.native``, is an ``lmdb.Environment``.
    """

    query_class = Query
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"transactions", "durable", "persistent", "processes", "snapshot", "unique", "nul"}
    )
    longest_key = LONGEST_KEY
    keeps_indexes = True
    groups_commits = True

    def __init__(
        self,
        *,
        path: str | os.PathLike[str],
        read_only: bool = False,
        max_tables: int = 256,
        max_readers: int = 512,
        map_size: int | None = None,
        durability: str = "full",
    ) -> None:
        place = checked_path(path)
        _check_number("max_tables", max_tables, 1, 2**31 - 2)
        _check_number("max_readers", max_readers, 2, 2**31 - 2)  # opening a file takes two at once
        if map_size is not None:
            _check_number("map_size", map_size, 1, sys.maxsize)
        if not isinstance(read_only, bool):
            raise SettingsError(f"read_only is True or False, not {read_only!r}")
        if durability not in DURABILITIES:
            raise SettingsError(
                f"durability is one of {', '.join(map(repr, DURABILITIES))}, not {durability!r}"
            )
        super().__init__(name=f"lmdb {place}", read_only=read_only)
        self.path = (path if isinstance(path, Path) else Path(place)).absolute()
        self._options = (read_only, max_tables, max_readers, map_size, durability)
        self._shared: Environment | None = None
        self._lock = threading.Lock()
        _STORAGES.add(self)
        self._open()

    def _open(self) -> Environment:
        with self._lock:
            self.check_open()
            if self._shared is None:
                shared = Environment.acquire(str(self.path), self.name, *self._options)
                try:
                    shared.open_tables()
                    with Snapshot(shared) as view:
                        self.check_format(view.get(META, b"format"))
                except BaseException:
                    shared.release()
                    raise
                for catalog in self.catalogs.values():
                    catalog.stamp = None  # in a forked child, the file may be another one now
                self._shared = shared
            return self._shared

    @property
    def environment(self) -> Environment:
        """The open file, in this process: a forked child opens it anew."""
        return self._shared or self._open()

    @property
    def native(self) -> lmdb.Environment:
        return self.environment.handle

    @property
    def revision(self) -> int:
        return int(self.native.info()["last_txnid"])

    stamp = revision

    def view(self) -> Snapshot:
        return Snapshot(self._shared or self._open())

    def batch(self) -> Batch:
        shared = self._shared or self._open()
        try:
            found = os.stat(shared.path)  # noqa: PTH116 - of text it is a single call
            is_there = (found.st_dev, found.st_ino) == shared.identity
        except OSError:
            is_there = False
        if not is_there:
            shared.check_there()
        return WriteBatch(shared)

    def make_tables(self, names: AbstractSet[str]) -> None:
        self.environment.make_tables(names)

    def read_one(self, schema: Schema, key: Any) -> bytes | None:
        shared = self._shared or self._open()
        table = shared.tables.get(schema.table) or shared.table(schema.table)
        if table is None:
            return None
        try:
            transaction = shared.handle.begin(table.handle)
            try:
                found: bytes | None = transaction.get(schema.key.encode(key))
            finally:
                transaction.abort()
        except lmdb.BadValsizeError:
            return None  # no record has a key that is so long
        except lmdb.Error as error:
            shared.fail(error)
        return found

    def count_at_once(self, table: str, entry: bytes) -> tuple[int, int] | None:
        shared = self._shared or self._open()
        found = shared.tables.get(table)
        if found is None:
            return None
        try:
            transaction = shared.handle.begin(found.handle)
            try:
                cursor = transaction.cursor()
                count: int = cursor.count() if cursor.set_key(entry) else 0
                return count, transaction.id()
            finally:
                transaction.abort()  # and its cursor with it
        except lmdb.Error as error:
            shared.fail(error)

    def records_at_once(
        self, records: str, index: str, entry: bytes
    ) -> tuple[Sequence[tuple[bytes, bytes]], int] | None:
        shared = self._shared or self._open()
        table, entries = shared.tables.get(records), shared.tables.get(index)
        if table is None or entries is None:
            return None
        try:
            transaction = shared.handle.begin(table.handle)
            try:
                cursor = transaction.cursor(entries.handle)
                keys = list(cursor.iternext_dup()) if cursor.set_key(entry) else []
                return transaction.cursor().getmulti(keys), transaction.id()
            finally:
                transaction.abort()  # and its cursors with it
        except lmdb.Error as error:
            shared.fail(error)

    def entries_at_once(self, table: str) -> tuple[list[bytes], int] | None:
        shared = self._shared or self._open()
        found = shared.tables.get(table)
        if found is None:
            return None
        try:
            transaction = shared.handle.begin(found.handle)
            try:
                return list(transaction.cursor().iternext_nodup()), transaction.id()
            finally:
                transaction.abort()  # and its cursor with it
        except lmdb.Error as error:
            shared.fail(error)

    def count_each(self, schema: Schema, asked: Sequence[Any], of_records: bool) -> Sizes:
        shared = self._shared or self._open()
        opened = shared.opened
        try:
            transaction = shared.handle.begin()
            try:
                counts = Counting(transaction, shared.tables, opened)
                return Counter(counts, self.samples, schema).each(asked, of_records)
            finally:
                transaction.abort()  # and its cursors with it
        except NotOpened:
            return super().count_each(schema, asked, of_records)
        except lmdb.Error as error:
            shared.fail(error)

    def end_at_once(
        self, schema: Schema, catalog: Catalog, index: OrderedIndex, *, descending: bool
    ) -> tuple[bytes, bytes] | None:
        shared = self._shared or self._open()
        table = shared.tables.get(schema.table)
        entries = shared.tables.get(index_table(schema.collection, index.name))
        if table is None or entries is None:
            return None
        ((low, _),) = NOT_NULL
        try:
            transaction = shared.handle.begin(table.handle)
            try:
                cursor = transaction.cursor(entries.handle)
                if descending:
                    is_there = cursor.last() and cursor.first_dup()
                else:
                    is_there = cursor.set_range(low)
                entry, key = cursor.item()
                if not is_there or entry < low or transaction.id() != catalog.stamp:
                    return None
                stored = transaction.get(key)
                return None if stored is None else (entry, stored)
            finally:
                transaction.abort()  # and its cursor with it
        except lmdb.Error as error:
            shared.fail(error)

    def sync(self) -> None:
        """Wait until all that was written is on the disk; of use with ``durability="async"``."""
        self.check_writable()
        self.environment.sync()

    def close(self) -> None:
        with self._lock:
            if not self.closed:
                self.closed = True
                shared, self._shared = self._shared, None
                if shared is not None:
                    shared.release()


def _check_number(name: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise SettingsError(f"{name} is a whole number from {least} to {most}, not {value!r}")


_STORAGES: Final[weakref.WeakSet[Storage]] = weakref.WeakSet()


def _after_fork() -> None:
    """Let the storages of a forked child open their files anew; the parent's stay untouched."""
    forget_inherited()
    for storage in list(_STORAGES):
        storage._shared = None
        storage._lock = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)
