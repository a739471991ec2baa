"""LMDB's read transactions as the views that a byte store reads from."""

from __future__ import annotations

import itertools
import operator
import os
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Self

import lmdb
import msgspec

from pymodels.ext.lmdb.environment import Environment, Table
from pymodels.ranges import Range
from pymodels.tables import IndexView, next_size

_CHUNK: Final = 512
"""How many records are asked for in one call of the driver."""

_HEADS: Final = 64
"""How many keys are read at least before the rest of those under an entry is passed over."""

_FIRST: Final = operator.itemgetter(0)

_STEADY: Final = nullcontext()

LONGEST_KEY: Final = 511
"""How many bytes LMDB allows for a key."""


class Snapshot(IndexView):
    """One read transaction: a snapshot."""

    __slots__ = ("_opened", "_shared", "_transaction")

    is_snapshot = True

    def __init__(self, shared: Environment) -> None:
        self._shared = shared
        self._opened = shared.opened
        try:
            self._transaction = shared.handle.begin()
        except lmdb.Error as error:
            shared.fail(error)

    def _begin(self) -> None:
        self._opened = self._shared.opened
        try:
            self._transaction = self._shared.handle.begin()
        except lmdb.Error as error:
            self._shared.fail(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shared.pid == os.getpid():  # a forked child leaves the parent's readers alone
            self._transaction.abort()

    @property
    def stamp(self) -> int | None:
        number: int = self._transaction.id()
        return number

    def _abort(self) -> None:
        if self._shared.pid == os.getpid():
            self._transaction.abort()

    def _handle(self, table: str) -> Any | None:
        shared = self._shared
        found = shared.tables.get(table) or shared.table(table)
        if found is None:
            return None
        if found.number > self._opened:  # a transaction knows the tables opened before it only
            self._transaction.abort()
            self._begin()
        return found.handle

    def get(self, table: str, key: bytes) -> bytes | None:
        handle = self._handle(table)
        if handle is None or not 0 < len(key) <= LONGEST_KEY:
            return None
        try:
            found: bytes | None = self._transaction.get(key, db=handle)
        except lmdb.Error as error:
            self._shared.fail(error)
        return found

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        handle = self._handle(table)
        if handle is None:
            return
        open_cursors = self._shared.cursors
        try:
            with self._transaction.cursor(handle) as cursor:
                open_cursors[id(cursor)] = cursor
                try:
                    if descending:
                        yield from _backward(cursor, low, high)
                    else:
                        yield from _forward(cursor, low, high)
                finally:
                    del open_cursors[id(cursor)]
        except lmdb.Error as error:
            self._shared.fail(error)

    def chunks(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool, first: int
    ) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        handle = self._handle(table)
        if handle is None:
            return
        open_cursors, size = self._shared.cursors, first
        try:
            with self._transaction.cursor(handle) as cursor:
                open_cursors[id(cursor)] = cursor
                try:
                    if not (_to_last(cursor, high) if descending else _to(cursor, low)):
                        return
                    pairs = cursor.iterprev() if descending else iter(cursor)
                    while chunk := list(itertools.islice(pairs, size)):
                        is_last = False
                        if descending and low is not None and chunk[-1][0] < low:
                            chunk, is_last = [pair for pair in chunk if pair[0] >= low], True
                        elif not descending and high is not None and chunk[-1][0] >= high:
                            chunk, is_last = chunk[: bisect_left(chunk, high, key=_FIRST)], True
                        if chunk:
                            yield chunk
                        if is_last:
                            return
                        size = next_size(size)
                finally:
                    del open_cursors[id(cursor)]
        except lmdb.Error as error:
            self._shared.fail(error)

    def count(self, table: str) -> int:
        handle = self._handle(table)
        if handle is None:
            return 0
        try:
            return int(self._transaction.stat(handle)["entries"])
        except lmdb.Error as error:
            self._shared.fail(error)

    # --- indexes ----------------------------------------------------------------------------

    def open(self, tables: Collection[str]) -> None:
        known, opened = self._shared.tables, self._opened
        for table in tables:
            found = known.get(table)
            if found is None or found.number > opened:
                break
        else:
            return
        begun = None
        while begun is not self._transaction:
            begun = self._transaction
            for table in tables:
                self._handle(table)

    def steady(self) -> AbstractContextManager[Any]:
        return _STEADY

    entries = items

    def fetch(self, table: str, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        handle = self._handle(table)
        if handle is None or not keys:
            return ()
        if len(keys) <= _CHUNK:
            return self._fetch(handle, keys)
        chunks = (keys[at : at + _CHUNK] for at in range(0, len(keys), _CHUNK))
        return itertools.chain.from_iterable(self._fetch(handle, chunk) for chunk in chunks)

    def _fetch(self, handle: Any, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        try:
            with self._transaction.cursor(handle) as cursor:
                found: list[tuple[bytes, bytes]] = cursor.getmulti(keys)
        except lmdb.Error as error:
            self._shared.fail(error)
        return found

    def under(self, table: str, entry: bytes) -> list[bytes]:
        handle = self._handle(table)
        if handle is None:
            return []
        try:
            with self._transaction.cursor(handle) as cursor:
                return list(cursor.iternext_dup()) if cursor.set_key(entry) else []
        except lmdb.Error as error:
            self._shared.fail(error)

    def distinct(
        self, table: str, low: bytes, high: bytes, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes, bytes, int]]:
        handle = self._handle(table)
        if handle is None:
            return
        try:
            with self._transaction.cursor(handle) as cursor:
                there = _to_last(cursor, high) if descending else _to(cursor, low)
                while there:
                    entry = cursor.key()
                    if not low <= entry < high:
                        return
                    cursor.first_dup()
                    first = cursor.value()
                    cursor.last_dup()
                    yield entry, first, cursor.value(), int(cursor.count())
                    there = cursor.prev_nodup() if descending else cursor.next_nodup()
        except lmdb.Error as error:
            self._shared.fail(error)

    def end(
        self, table: str, low: bytes, high: bytes, *, descending: bool
    ) -> tuple[bytes, bytes] | None:
        handle = self._handle(table)
        if handle is None:
            return None
        try:
            with self._transaction.cursor(handle) as cursor:
                if not (_to_last(cursor, high) if descending else _to(cursor, low)):
                    return None
                if descending:
                    cursor.first_dup()
                found: tuple[bytes, bytes] = cursor.item()
        except lmdb.Error as error:
            self._shared.fail(error)
        return found if low <= found[0] < high else None

    def each_entry(self, table: str, low: bytes, high: bytes) -> list[bytes]:
        handle = self._handle(table)
        if handle is None:
            return []
        found: list[bytes] = []
        try:
            with self._transaction.cursor(handle) as cursor:
                entries = cursor.iternext_nodup(values=False) if _to(cursor, low) else iter(())
                while chunk := list(itertools.islice(entries, _CHUNK)):
                    found += chunk
                    if chunk[-1] >= high:
                        return found[: bisect_left(found, high)]
        except lmdb.Error as error:
            self._shared.fail(error)
        return found

    def count_under(self, table: str, entry: bytes) -> int:
        handle = self._handle(table)
        if handle is None:
            return 0
        try:
            with self._transaction.cursor(handle) as cursor:
                return int(cursor.count()) if cursor.set_key(entry) else 0
        except lmdb.Error as error:
            self._shared.fail(error)

    def sample(self, table: str, step: int) -> list[bytes]:
        handle = self._handle(table)
        if handle is None:
            return []
        try:
            with self._transaction.cursor(handle) as cursor:
                entries = cursor.iternext(True, False)
                return list(itertools.islice(entries, 0, None, step))
        except lmdb.Error as error:
            self._shared.fail(error)

    def count_between(self, table: str, low: bytes | None, high: bytes | None, most: int) -> int:
        handle = self._handle(table)
        if handle is None:
            return 0
        try:
            counting = Counting(self._transaction, self._shared.tables, self._opened)
            return counting.count_between(table, low, high, most)
        except lmdb.Error as error:
            self._shared.fail(error)

    def among(self, table: str, entry: bytes, keys: Sequence[bytes]) -> Iterable[bytes]:
        handle = self._handle(table)
        if handle is None:
            return []
        try:
            with self._transaction.cursor(handle) as cursor:
                return [key for key in keys if cursor.set_key_dup(entry, key)]
        except lmdb.Error as error:
            self._shared.fail(error)

    def heads(
        self, table: str, low: bytes, high: bytes, *, most: int, descending: bool
    ) -> Iterator[Sequence[bytes]]:
        handle = self._handle(table)
        if handle is None:
            return
        size = max(most, _HEADS)
        try:
            with self._transaction.cursor(handle) as cursor:
                there = _to_last(cursor, high) if descending else _to(cursor, low)
                while there:
                    pairs = cursor.iterprev() if descending else iter(cursor)
                    chunk = list(itertools.islice(pairs, size))
                    first, last = chunk[0][0], chunk[-1][0]
                    if low <= last < high:
                        yield [key for _, key in chunk]
                    else:
                        yield [key for entry, key in chunk if low <= entry < high]
                        return
                    if first == last:  # the other keys under it come after these
                        there = cursor.prev_nodup() if descending else cursor.next_nodup()
                    else:
                        there = cursor.prev() if descending else cursor.next()
        except lmdb.Error as error:
            self._shared.fail(error)


class NotOpened(Exception):
    """A table is not open, or was not when a transaction began."""


class Counting(msgspec.Struct, frozen=True):
    """A transaction that lives only as long as something is counted.

    It knows those of the *tables* that were opened before it, as number *opened* or earlier, and
    raises ``NotOpened`` about others.
    """

    transaction: Any
    tables: Mapping[str, Table]
    opened: int

    def count(self, table: str) -> int:
        if table not in self.tables or self.tables[table].number > self.opened:
            raise NotOpened(table)
        return int(self.transaction.stat(self.tables[table].handle)["entries"])

    def count_points(self, table: str, points: Iterable[Range]) -> tuple[int, ...]:
        if table not in self.tables or self.tables[table].number > self.opened:
            raise NotOpened(table)
        cursor = self.transaction.cursor(self.tables[table].handle)
        sizes: tuple[int, ...] = ()
        for entry, _ in points:
            sizes += (cursor.count() if cursor.set_key(entry) else 0,)
        return sizes

    def count_between(self, table: str, low: bytes | None, high: bytes | None, most: int) -> int:
        if table not in self.tables or self.tables[table].number > self.opened:
            raise NotOpened(table)
        cursor = self.transaction.cursor(self.tables[table].handle)
        if not (cursor.set_range(low) if low else cursor.first()):
            return 0
        entries = list(itertools.islice(cursor.iternext(True, False), most))
        return bisect_left(entries, high) if high is not None else len(entries)

    def sample(self, table: str, step: int) -> list[bytes]:
        if table not in self.tables or self.tables[table].number > self.opened:
            raise NotOpened(table)
        entries = self.transaction.cursor(self.tables[table].handle).iternext(True, False)
        return list(itertools.islice(entries, 0, None, step))


def _to(cursor: Any, low: bytes | None) -> bool:
    """Go to the first key from *low* on, and tell whether there is one."""
    if not low:
        return bool(cursor.first())
    if not cursor.set_range(low[:LONGEST_KEY]):
        return False
    return bool(cursor.key() >= low or cursor.next())


def _to_last(cursor: Any, high: bytes | None) -> bool:
    """Go to the last key before *high*, and tell whether there is one."""
    if high is None or not cursor.set_range(high[:LONGEST_KEY]):
        return bool(cursor.last())
    return bool(cursor.key() < high or cursor.prev())


def _forward(cursor: Any, low: bytes | None, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    if not _to(cursor, low):
        return
    if high is None:
        yield from cursor
        return
    for pair in cursor:
        if pair[0] >= high:
            return
        yield pair


def _backward(cursor: Any, low: bytes | None, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    if not _to_last(cursor, high):
        return
    for pair in cursor.iterprev():
        if low is not None and pair[0] < low:
            return
        yield pair
