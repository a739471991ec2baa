"""LMDB's write transactions as the batches that a byte store writes with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import lmdb

from pymodels.ext.lmdb.environment import Environment, name_of
from pymodels.ext.lmdb.snapshots import Snapshot
from pymodels.tables import INDEX, META


class WriteBatch(Snapshot):
    """One write transaction; LMDB lets one in at a time, over all processes."""

    __slots__ = ("_done", "_is_single", "_made", "_stamp")

    def __init__(self, shared: Environment) -> None:
        self._made: dict[str, Any] = {}
        self._done = self._is_single = False
        self._shared = shared
        self._opened = shared.opened
        try:
            self._transaction = begun = shared.handle.begin(write=True)
            self._stamp: int | None = begun.id() - 1
        except lmdb.Error as error:
            shared.fail(error)

    @property
    def stamp(self) -> int | None:
        """The number of the state that it began with, as long as ``meta`` is as it was there.

        Once it is committed, that of the state that it made.
        """
        return self._stamp

    def _handle(self, table: str) -> Any | None:
        found = self._shared.tables.get(table)
        if found is not None and found.number <= self._opened:
            return found.handle
        return self._made.get(table) or self._open_here(table, create=False)

    def _made_handle(self, table: str) -> Any:
        """Return the handle of a table, which is made if there is none."""
        found = self._shared.tables.get(table)
        if found is not None and found.number <= self._opened:
            return found.handle
        return self._made.get(table) or self._open_here(table, create=True)

    def _open_here(self, table: str, *, create: bool) -> Any | None:
        """Open, for this transaction, a table that the process has not used before it began."""
        try:
            made = self._shared.handle.open_db(
                name_of(table),
                txn=self._transaction,
                create=create,
                dupsort=table.startswith(INDEX),
            )
        except lmdb.NotFoundError:
            return None
        except lmdb.Error as error:
            self._shared.fail(error)
        self._made[table] = made
        return made

    def put(self, table: str, key: bytes, value: bytes) -> None:
        if table == META:
            self._stamp = None
        handle = self._made_handle(table)
        try:
            self._transaction.put(key, value, db=handle)
        except lmdb.Error as error:
            self._shared.fail(error)

    def insert(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        handle = self._made_handle(table)
        try:
            with self._transaction.cursor(handle) as cursor:
                follows = not cursor.last() or cursor.key() < pairs[0][0]
                if not follows:
                    taken = cursor.getmulti([key for key, _ in pairs])
                    if taken:
                        return taken[0][0]
                cursor.putmulti(pairs, append=follows)
        except lmdb.Error as error:
            self._shared.fail(error)
        return None

    def insert_one(
        self, table: str, key: bytes, value: bytes, entries: Iterable[tuple[str, bytes]]
    ) -> bool:
        put = self._transaction.put
        self._is_single = True
        try:
            # By position, as the driver is slow to look for names: duplicates, overwriting, order.
            if not put(key, value, True, False, False, self._made_handle(table)):
                return False
            for index, entry in entries:
                put(entry, key, True, True, False, self._made_handle(index))
        except lmdb.Error as error:
            self._shared.fail(error)
        return True

    def put_all(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        handle = self._made_handle(table)
        try:
            with self._transaction.cursor(handle) as cursor:
                cursor.putmulti(pairs)
        except lmdb.Error as error:
            self._shared.fail(error)

    def delete(self, table: str, key: bytes) -> None:
        handle = self._handle(table)
        if handle is not None:
            try:
                self._transaction.delete(key, db=handle)
            except lmdb.Error as error:
                self._shared.fail(error)

    def add(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        handle = self._made_handle(table)
        try:
            with self._transaction.cursor(handle) as cursor:
                follows = not cursor.last() or cursor.item() < pairs[0]
                cursor.putmulti(pairs, append=follows)
        except lmdb.Error as error:
            self._shared.fail(error)

    def delete_all(self, table: str, keys: Sequence[bytes]) -> None:
        handle = self._handle(table)
        if handle is None:
            return
        delete = self._transaction.delete
        try:
            for key in keys:
                delete(key, db=handle)
        except lmdb.Error as error:
            self._shared.fail(error)

    def remove(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        handle = self._handle(table)
        if handle is None or not pairs:
            return
        delete = self._transaction.delete
        try:
            if pairs[0][0] == pairs[-1][0] and self._has_no_others(handle, pairs):
                delete(pairs[0][0], db=handle)
                return
            for entry, key in pairs:
                delete(entry, key, handle)
        except lmdb.Error as error:
            self._shared.fail(error)

    def _has_no_others(self, handle: Any, pairs: Sequence[tuple[bytes, bytes]]) -> bool:
        """Tell whether *pairs* are all that the index has under their entry, which is the same."""
        with self._transaction.cursor(handle) as cursor:
            if not cursor.set_key(pairs[0][0]) or cursor.count() != len(pairs):
                return False
            return bool(list(cursor.iternext_dup()) == [key for _, key in pairs])

    def drop(self, table: str) -> None:
        handle = self._handle(table)
        if handle is not None:
            try:
                # Emptied, not deleted: other threads and processes may have it open.
                self._transaction.drop(handle, delete=False)
            except lmdb.Error as error:
                self._shared.fail(error)

    def nested(self) -> WriteBatch:
        """Begin a batch inside this one; it sees what this one has written."""
        return _NestedBatch(self)

    def commit(self) -> None:
        if self._shared.pid != os.getpid():
            self._shared.fail(lmdb.Error("a batch of another process"))
        try:
            self._transaction.commit()
        except lmdb.Error as error:
            self._made_known(keep=False)
            self._shared.fail(error)
        self._done = True
        if self._stamp is not None:
            self._stamp += 1
        if self._made:
            self._made_known(keep=True)
        if not self._is_single:  # else it is left to the next batch, or to closing
            self._shared.fill_up()

    def rollback(self) -> None:
        if not self._done:
            self._abort()
            self._made_known(keep=False)

    def _made_known(self, *, keep: bool) -> None:
        self._done = True
        if keep:
            for name, handle in self._made.items():
                self._shared.keep_table(name, handle)


class _NestedBatch(WriteBatch):
    """A write transaction inside another one, which ends without a word to the disk."""

    __slots__ = ("_outer",)

    def __init__(self, outer: WriteBatch) -> None:
        self._outer = outer
        self._shared = outer._shared
        self._opened = outer._opened
        self._made = outer._made
        self._done = self._is_single = False
        self._stamp = None
        try:
            self._transaction = outer._shared.handle.begin(write=True, parent=outer._transaction)
        except lmdb.Error as error:
            outer._shared.fail(error)

    def commit(self) -> None:
        self._done = True
        try:
            self._transaction.commit()
        except lmdb.Error as error:
            self._shared.fail(error)

    def rollback(self) -> None:
        if not self._done:
            self._done = True
            self._abort()
