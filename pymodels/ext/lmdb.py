"""Records in a file, by LMDB: the embedded default.

Several processes may read while one writes; a batch is one LMDB transaction, on the disk when
``write`` returns. One file holds all collections, beside it lies LMDB's own lock file.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn, Self

import lmdb

from pymodels.errors import (
    SettingsError,
    StorageBusy,
    StorageClosed,
    StorageError,
    StorageFull,
    StorageInvalid,
    StorageReadOnly,
)
from pymodels.keyvalue import KeyValueQuery, KeyValueStorage
from pymodels.schema import Schema
from pymodels.tables import META, Batch, View, records_table

_MAP_SIZE: Final = 1 << 40
"""How much address space is reserved; the file itself grows only as it is written."""

_SMALLEST_MAP: Final = 1 << 26

_LONGEST_KEY: Final = 511


class Query(KeyValueQuery[Any]):
    """A query over the records in an LMDB file."""


class Storage(KeyValueStorage):
    """Records in the file at *path*.

    Args:
        path: the file; created when missing, in a folder that exists.
        read_only: open for reading; the file must exist.
        max_tables: how many collections and unique indexes the file may have, together.
        max_readers: how many readers, over all processes, may be at work at once.
        map_size: the most bytes that the file can grow to; by default a tebibyte, or as much of it
            as the machine lets a process reserve.

    The driver's own handle, ``storage.native``, is an ``lmdb.Environment``.
    """

    query_class = Query
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"transactions", "durable", "persistent", "processes", "snapshot", "unique", "nul"}
    )
    longest_key = _LONGEST_KEY

    def __init__(
        self,
        *,
        path: str | os.PathLike[str],
        read_only: bool = False,
        max_tables: int = 256,
        max_readers: int = 512,
        map_size: int | None = None,
    ) -> None:
        if not isinstance(path, str | os.PathLike) or not os.fspath(path):
            raise SettingsError(f"path is the name of a file, not {path!r}")
        super().__init__(name=f"lmdb {os.fspath(path)}", read_only=read_only)
        self.path = Path(path).absolute()
        self._options = (read_only, max_tables, max_readers, map_size)
        self._shared: _Environment | None = None
        self._lock = threading.Lock()
        self._open()

    def _open(self) -> _Environment:
        with self._lock:
            self.check_open()
            if self._shared is None or self._shared.pid != os.getpid():
                self._shared = _Environment.acquire(self.path, self.name, *self._options)
                with self.view() as view:
                    self.check_format(view.get(META, b"format"))
            return self._shared

    @property
    def environment(self) -> _Environment:
        """The open file, in this process: a forked child opens it anew."""
        shared = self._shared
        if shared is None or shared.pid != os.getpid() or self.closed:
            return self._open()
        return shared

    @property
    def native(self) -> lmdb.Environment:
        return self.environment.handle

    @property
    def revision(self) -> int:
        return int(self.native.info()["last_txnid"])

    def view(self) -> _View:
        shared = self._shared
        if shared is None or shared.pid != os.getpid() or self.closed:
            shared = self._open()
        return _View(shared)

    def batch(self) -> Batch:
        return _Batch(self.environment)

    def make_tables(self, names: Sequence[str]) -> None:
        self.environment.make_tables(names)

    def read(self, schema: Schema, keys: Sequence[Any]) -> Sequence[bytes | None]:
        if len(keys) != 1:
            return super().read(schema, keys)
        shared = self.environment
        table = shared.table(records_table(schema.collection))
        if table is None:
            return (None,)
        key = schema.key.encode(keys[0])
        if len(key) > _LONGEST_KEY:
            return (None,)
        try:
            with shared.handle.begin(table.handle) as transaction:
                return (transaction.get(key),)
        except lmdb.Error as error:
            shared.fail(error)

    def close(self) -> None:
        with self._lock:
            if not self.closed:
                self.closed = True
                shared, self._shared = self._shared, None
                if shared is not None and shared.pid == os.getpid():
                    shared.release()


class _Table:
    """The handle of a table, and how many were opened before it."""

    __slots__ = ("handle", "number")

    def __init__(self, handle: Any, number: int) -> None:
        self.handle = handle
        self.number = number


class _Environment:
    """One open file: LMDB allows it to be opened once in a process, so storages share it."""

    def __init__(
        self,
        path: Path,
        name: str,
        read_only: bool,
        max_tables: int,
        max_readers: int,
        map_size: int | None,
    ) -> None:
        self.path = path
        self.name = name
        self.pid = os.getpid()
        self.users = 0
        self.read_only = read_only
        self.opened = 0
        self.naming = threading.RLock()
        self._tables: dict[str, _Table] = {}
        self.handle = self._open(max_tables, max_readers, map_size)

    # --- one for each file and process ------------------------------------------------------

    @classmethod
    def acquire(cls, path: Path, name: str, read_only: bool, *options: Any) -> _Environment:
        """Return the environment of *path*, opened if no storage of this process has done so."""
        identity = os.path.realpath(path)
        with _OPENING:
            shared = _ENVIRONMENTS.get(identity)
            if shared is not None and shared.read_only and not read_only:
                raise StorageBusy(
                    f"{name} is open for reading only in this process, and a file can be open in "
                    "one way at a time: close that storage, or open this one with read_only=True"
                )
            if shared is None:
                shared = cls(path, name, read_only, *options)
                _ENVIRONMENTS[identity] = shared
            shared.users += 1
            return shared

    def release(self) -> None:
        """Give it back; the last one who does closes it."""
        with _OPENING:
            self.users -= 1
            if self.users == 0:
                _ENVIRONMENTS.pop(os.path.realpath(self.path), None)
                self.handle.close()

    # --- opening ----------------------------------------------------------------------------

    def _open(self, max_tables: int, max_readers: int, map_size: int | None) -> lmdb.Environment:
        self._check_path()
        size = map_size or _MAP_SIZE
        while True:
            try:
                handle = lmdb.open(
                    str(self.path),
                    map_size=size,
                    subdir=False,
                    readonly=self.read_only,
                    create=not self.read_only,
                    max_dbs=max_tables + 1,
                    max_readers=max_readers,
                    max_spare_txns=8,
                    mode=0o644,
                )
            except (lmdb.MemoryError, lmdb.Error) as error:
                if _is_out_of_memory(error) and map_size is None and size > _SMALLEST_MAP:
                    size //= 2  # the machine limits how much address space a process may have
                    continue
                self._refuse(error)
            self._check_length(handle)
            return handle

    def _check_path(self) -> None:
        if self.path.is_dir():
            raise StorageInvalid(f"{self.name} is a folder, and path is the name of a file")
        if not self.path.parent.is_dir():
            raise StorageError(
                f"{self.name}: the folder {self.path.parent} does not exist; create it first"
            )
        if self.read_only and not self.path.exists():
            raise StorageError(f"{self.name} does not exist, and read_only=True creates nothing")

    def _refuse(self, error: lmdb.Error) -> NoReturn:
        text = str(error)
        if isinstance(error, lmdb.InvalidError | lmdb.CorruptedError | lmdb.VersionMismatchError):
            raise StorageInvalid(
                f"{self.name} is no LMDB file, or one of another version, or damaged: {text}"
            ) from error
        if (
            isinstance(error, lmdb.ReadonlyError)
            or "Permission denied" in text
            or ("Read-only file system" in text)
        ):
            raise StorageReadOnly(
                f"{self.name} cannot be opened for writing: {text}; check the permissions of the "
                "file and its folder, or open it with read_only=True"
            ) from error
        if "No space left" in text:
            raise StorageFull(f"{self.name}: no space is left on the disk: {text}") from error
        raise StorageError(f"{self.name} cannot be opened: {text}") from error

    def _check_length(self, handle: lmdb.Environment) -> None:
        """Refuse a file that was cut off: reading beyond its end would kill the process."""
        info = handle.info()
        self.page_size = handle.stat()["psize"]
        self.length = 0
        needed = (info["last_pgno"] + 1) * self.page_size
        length = self.path.stat().st_size
        if length < needed and info["last_txnid"] > 0:
            handle.close()
            raise StorageInvalid(
                f"{self.name} has {length} bytes, and its own records need {needed}: the file is "
                "truncated; restore it from a copy"
            )

    def fill_up(self) -> None:
        """Give the file the length that its records imply, where LMDB left its last pages unwritten.

        They are free pages, so that nothing is lost; but a file that is too short tells thereby
        that it was truncated.
        """
        info = self.handle.info()
        needed = (info["last_pgno"] + 1) * self.page_size
        if needed > self.length:
            self.length = self.path.stat().st_size
            if self.length < needed:
                os.truncate(self.path, needed)
                self.length = needed

    # --- tables -----------------------------------------------------------------------------

    def table(self, name: str) -> _Table | None:
        """Return a table, or None if there is none of that name yet."""
        found = self._tables.get(name)
        if found is not None:
            return found
        with self.naming:
            found = self._tables.get(name)
            if found is None:
                try:
                    with self.handle.begin() as transaction:
                        made = self.handle.open_db(name.encode(), txn=transaction, create=False)
                except lmdb.NotFoundError:
                    return None
                except lmdb.Error as error:
                    self.fail(error)
                found = self.keep_table(name, made)
            return found

    def make_tables(self, names: Sequence[str]) -> None:
        """Make the tables that are missing, in a transaction of their own.

        LMDB wants a transaction that opens tables to be the only one in the process that does.
        """
        if all(name in self._tables for name in names):
            return
        if all(self.table(name) is not None for name in names):
            return
        with self.naming:
            try:
                with self.handle.begin(write=True) as transaction:
                    made = [
                        (name, self.handle.open_db(name.encode(), txn=transaction, create=True))
                        for name in names
                    ]
            except lmdb.DbsFullError as error:
                raise StorageFull(
                    f"{self.name} has no room for another collection or unique index: open it with "
                    "a larger max_tables"
                ) from error
            except lmdb.Error as error:
                self.fail(error)
            for name, handle in made:
                self.keep_table(name, handle)

    def keep_table(self, name: str, handle: Any) -> _Table:
        """Note the handle of a table; transactions that began before cannot use it."""
        self.opened += 1
        table = self._tables[name] = _Table(handle, self.opened)
        return table

    # --- errors -----------------------------------------------------------------------------

    def fail(self, error: lmdb.Error) -> NoReturn:
        """Raise what the driver's error means."""
        text = str(error)
        if isinstance(error, lmdb.MapFullError):
            raise StorageFull(
                f"{self.name} has reached its map_size; open it with a larger one. Nothing of this "
                "batch was written"
            ) from error
        if isinstance(error, lmdb.DiskError) or _is_full(text):
            raise StorageFull(
                f"{self.name}: the disk is full, or a limit on the size of files is reached "
                f"({text}). Nothing of this batch was written"
            ) from error
        if isinstance(error, lmdb.ReadersFullError):
            raise StorageBusy(
                f"{self.name}: too many readers at once; open it with a larger max_readers"
            ) from error
        if isinstance(error, lmdb.ReadonlyError):
            raise StorageReadOnly(f"{self.name} cannot be written: {text}") from error
        if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.InvalidError):
            raise StorageInvalid(f"{self.name} is damaged: {text}; restore a copy") from error
        if "closed" in text or "deleted" in text:
            raise StorageClosed(f"{self.name} was closed while it was used") from error
        raise StorageError(f"{self.name}: {text}") from error


def _is_out_of_memory(error: Exception) -> bool:
    return os.strerror(errno.ENOMEM) in str(error) or isinstance(error, lmdb.MemoryError)


def _is_full(text: str) -> bool:
    return any(os.strerror(code) in text for code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT))


_ENVIRONMENTS: Final[dict[str, _Environment]] = {}
_OPENING = threading.Lock()


def _forget_inherited() -> None:
    """Leave the parent's environments alone in a forked child.

    Closing one would clear the parent's readers from the lock file, so they are kept for ever.
    """
    global _OPENING
    _OPENING = threading.Lock()
    for shared in _ENVIRONMENTS.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(shared.handle))
    _ENVIRONMENTS.clear()


os.register_at_fork(after_in_child=_forget_inherited)


class _View(View):
    """One read transaction: a snapshot."""

    __slots__ = ("_opened", "_shared", "_transaction")

    def __init__(self, shared: _Environment) -> None:
        self._shared = shared
        self._begin()

    def _begin(self) -> None:
        self._opened = self._shared.opened
        try:
            self._transaction = self._shared.handle.begin()
        except lmdb.Error as error:
            self._shared.fail(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._transaction.abort()

    def _handle(self, table: str) -> Any | None:
        found = self._shared.table(table)
        if found is None:
            return None
        if found.number > self._opened:  # a transaction knows the tables opened before it only
            self._transaction.abort()
            self._begin()
        return found.handle

    def get(self, table: str, key: bytes) -> bytes | None:
        handle = self._handle(table)
        if handle is None or not 0 < len(key) <= _LONGEST_KEY:
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
        try:
            with self._transaction.cursor(handle) as cursor:
                if descending:
                    yield from _backward(cursor, low, high)
                else:
                    yield from _forward(cursor, low, high)
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


def _forward(cursor: Any, low: bytes | None, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    if not (cursor.set_range(low[:_LONGEST_KEY]) if low else cursor.first()):
        return
    if low and cursor.key() < low and not cursor.next():
        return
    if high is None:
        yield from cursor
        return
    for pair in cursor:
        if pair[0] >= high:
            return
        yield pair


def _backward(cursor: Any, low: bytes | None, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    if high is None:
        there = cursor.last()
    elif cursor.set_range(high[:_LONGEST_KEY]):
        there = cursor.key() < high or cursor.prev()
    else:
        there = cursor.last()
    if not there:
        return
    for pair in cursor.iterprev():
        if low is not None and pair[0] < low:
            return
        yield pair


class _Batch(_View):
    """One write transaction; LMDB lets one in at a time, over all processes."""

    __slots__ = ("_done", "_made")

    def __init__(self, shared: _Environment) -> None:
        self._made: dict[str, Any] = {}
        self._done = False
        super().__init__(shared)

    def _begin(self) -> None:
        self._opened = self._shared.opened
        try:
            self._transaction = self._shared.handle.begin(write=True)
        except lmdb.Error as error:
            self._shared.fail(error)

    def _handle(self, table: str) -> Any | None:
        made = self._made.get(table)
        if made is not None:
            return made
        found = self._shared.table(table)
        if found is None or found.number <= self._opened:
            return None if found is None else found.handle
        return self._open_here(table)

    def _open_here(self, table: str) -> Any:
        """Open, for this transaction, a table that another process made since it began."""
        if not self._made:
            self._shared.naming.acquire()
        try:
            made = self._shared.handle.open_db(table.encode(), txn=self._transaction, create=True)
        except lmdb.Error as error:
            if not self._made:
                self._shared.naming.release()
            self._shared.fail(error)
        self._made[table] = made
        return made

    def put(self, table: str, key: bytes, value: bytes) -> None:
        handle = self._handle(table)
        if handle is None:
            handle = self._open_here(table)
        try:
            self._transaction.put(key, value, db=handle)
        except lmdb.Error as error:
            self._shared.fail(error)

    def delete(self, table: str, key: bytes) -> None:
        handle = self._handle(table)
        if handle is not None:
            try:
                self._transaction.delete(key, db=handle)
            except lmdb.Error as error:
                self._shared.fail(error)

    def commit(self) -> None:
        try:
            self._transaction.commit()
        except lmdb.Error as error:
            self._made_known(keep=False)
            self._shared.fail(error)
        self._made_known(keep=True)
        self._shared.fill_up()

    def rollback(self) -> None:
        if not self._done:
            self._transaction.abort()
            self._made_known(keep=False)

    def _made_known(self, *, keep: bool) -> None:
        self._done = True
        if self._made:
            if keep:
                for name, handle in self._made.items():
                    self._shared.keep_table(name, handle)
            self._shared.naming.release()
