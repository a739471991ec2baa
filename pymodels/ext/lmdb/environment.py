"""One open LMDB file: opening, tables, forks, and what the driver's errors mean."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import struct
import threading
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final, NoReturn

import lmdb

from pymodels.errors import (
    StorageBusy,
    StorageError,
    StorageInvalid,
)
from pymodels.ext.lmdb.failures import fail, refuse
from pymodels.ext.lmdb.places import Identity, identity, identity_of, look, resolved
from pymodels.tables import COLUMNS, INDEX, META, RECORDS, UNIQUE

_MAP_SIZE: Final = 1 << 40
"""How much address space is reserved; the file itself grows only as it is written."""

DURABILITIES: Final = ("full", "no-metasync", "async")

_SMALLEST_MAP: Final = 1 << 26


class Table:
    """The handle of a table, and how many were opened before it."""

    __slots__ = ("handle", "number")

    def __init__(self, handle: Any, number: int) -> None:
        self.handle = handle
        self.number = number


_AT_ONCE: Final = 32
"""So many tables are opened together with their file."""

_OURS: Final = frozenset({META.encode()})
_PREFIXES: Final = tuple(prefix.encode() for prefix in (RECORDS, UNIQUE, INDEX, COLUMNS))
"""What the names of tables are, or begin with, where LMDB can hold them as they are."""

_LOOKS: Final = 3
"""How often a file is looked at that is shorter than it should be."""


def name_of(table: str) -> bytes:
    r"""Return the name of a table as LMDB takes it, for which a NUL ends a name.

    >>> name_of("records:person"), len(name_of("records:a\0b"))
    (b'records:person', 32)
    """
    name = table.encode()
    return (
        name
        if b"\0" not in name
        else b"named:" + hashlib.blake2b(name, digest_size=13).hexdigest().encode()
    )


class Environment:
    """One open file: LMDB allows it to be opened once in a process, so storages share it."""

    def __init__(
        self,
        path: str,
        name: str,
        read_only: bool,
        max_tables: int,
        max_readers: int,
        map_size: int | None,
        durability: str,
    ) -> None:
        self.durability = durability
        found = look(path)
        if found is not None and stat.S_ISLNK(found.st_mode):  # so that all have one lock file
            path = resolved(path, name)
            found = look(path)
        self.path = path
        self.paths: set[str] = set()
        self.identity: Identity = ""
        self.name = name
        self.pid = os.getpid()
        self.users = 0
        self.read_only = read_only
        self.opened = 0
        self.naming = threading.RLock()
        self.tables: dict[str, Table] = {}
        self.cursors: dict[int, Any] = {}
        self._most_tables: int | None = max_tables
        self._opening = threading.Lock()
        self._check_place(found)
        self.handle = self._open(max_tables, max_readers, map_size)
        try:
            self._check_length()
        except BaseException:
            self.handle.close()
            raise

    # --- one for each file and process ------------------------------------------------------

    @classmethod
    def acquire(cls, path: str, name: str, read_only: bool, *options: Any) -> Environment:
        """Return the environment of *path*, opened if no storage of this process has done so."""
        with _OPENING:
            shared = _ENVIRONMENTS.get(identity(path)) if _ENVIRONMENTS else None
            if shared is not None and shared.read_only and not read_only:
                raise StorageBusy(
                    f"{name} is open for reading only in this process, and a file can be open in "
                    "one way at a time: close that storage, or open this one with read_only=True"
                )
            if shared is not None and not read_only and shared.durability != options[-1]:
                raise StorageBusy(
                    f"{name} is open with durability={shared.durability!r} in this process, and a "
                    "file can be open in one way at a time: close that storage, or ask for the same"
                )
            if shared is None:
                shared = cls(path, name, read_only, *options)
                _ENVIRONMENTS[shared.identity] = shared
            shared.users += 1
            shared.paths.add(path)
            return shared

    def release(self) -> None:
        """Give it back; the last one who does closes it."""
        with _OPENING:
            self.users -= 1
            if self.users == 0:
                if _ENVIRONMENTS.get(self.identity) is self:
                    del _ENVIRONMENTS[self.identity]
                try:
                    if not self.read_only:
                        if self.durability != "full":
                            self.sync()
                        self.fill_up()
                finally:
                    self.handle.close()

    # --- opening ----------------------------------------------------------------------------

    def _open(self, max_tables: int, max_readers: int, map_size: int | None) -> lmdb.Environment:
        size = map_size or _MAP_SIZE
        while True:
            try:
                return lmdb.open(
                    self.path,
                    map_size=size,
                    subdir=False,
                    readonly=self.read_only,
                    create=not self.read_only,
                    max_dbs=max_tables + 1,
                    max_readers=max_readers,
                    max_spare_txns=8,
                    metasync=self.durability == "full",
                    sync=self.durability != "async",
                    mode=0o644,
                )
            except (lmdb.MemoryError, lmdb.Error) as error:
                if _is_out_of_memory(error) and map_size is None and size > _SMALLEST_MAP:
                    size //= 2  # the machine limits how much address space a process may have
                    continue
                if _is_out_of_memory(error):
                    raise StorageError(
                        f"{self.name} cannot be opened: this machine has no address space for a "
                        f"map_size of {size} bytes: open it with a smaller one"
                    ) from error
                refuse(self.name, error)

    def _check_place(self, found: os.stat_result | None) -> None:
        """Refuse a place where no file can be opened; *found* is what is known of it."""
        try:
            found = found or os.stat(self.path)  # noqa: PTH116 - of text it takes less time
        except (FileNotFoundError, NotADirectoryError):
            folder = Path(self.path).parent
            if folder.exists() and not folder.is_dir():
                raise StorageError(f"{self.name}: {folder} is a file, no folder") from None
            if not folder.is_dir():
                raise StorageError(
                    f"{self.name}: the folder {folder} does not exist; create it first"
                ) from None
            if self.read_only:
                raise StorageError(
                    f"{self.name} does not exist, and read_only=True creates nothing"
                ) from None
            return
        except OSError:
            return  # opening it will fail, and tells why
        if stat.S_ISDIR(found.st_mode):
            raise StorageInvalid(f"{self.name} is a folder, and path is the name of a file")
        if not stat.S_ISREG(found.st_mode):
            raise StorageInvalid(f"{self.name} is a device or a pipe, and path is that of a file")
        if self.read_only and found.st_size == 0:
            raise StorageInvalid(f"{self.name} is empty, and read_only=True makes nothing of it")

    def _check_length(self) -> None:
        """Refuse a file that was cut off: reading beyond its end would kill the process."""
        meta = self.handle.stat()
        self.page_size, self._names = meta["psize"], meta["entries"]
        needed = 0
        for _ in range(_LOOKS):  # a writer may be just about to fill it up
            info = self.handle.info()
            needed = (info["last_pgno"] + 1) * self.page_size
            try:
                found = os.stat(self.path)  # noqa: PTH116 - of text it takes less time
            except OSError as error:
                raise StorageError(f"{self.name} was taken away while it was opened") from error
            self.identity, self.length = identity_of(self.path, found), found.st_size
            if self.length >= needed or info["last_txnid"] == 0 or self._is_whole():
                return
            time.sleep(0.01)
        raise StorageInvalid(
            f"{self.name} has {self.length} bytes, and its own records need {needed}: the file is "
            "truncated; restore it from a copy"
        )

    def open_tables(self) -> None:
        """Open the tables that there are in one go, as each takes a transaction of its own later.

        Not if they are more than may be open: then those come first that are asked for. This waits
        for whoever writes to the file, and is done once.
        """
        with self._opening:
            most, self._most_tables = self._most_tables, None
            if most is None or self.read_only or not 0 < self._names <= min(most, _AT_ONCE):
                return
            try:
                with self.handle.begin(write=True) as transaction:
                    names = list(transaction.cursor().iternext(True, False))
                    made = [(name, self._table_of(name, transaction)) for name in names]
            except lmdb.Error as error:
                self.fail(error)
        for name, handle in made:
            if handle is not None:
                self.keep_table(name.decode(), handle)

    def _table_of(self, name: bytes, transaction: Any) -> Any | None:
        """Return the handle of a table of ours, None for what another program has in the file."""
        if name not in _OURS and not name.startswith(_PREFIXES):
            return None
        try:
            name.decode()
            return self.handle.open_db(name, txn=transaction, create=False)
        except (UnicodeDecodeError, lmdb.IncompatibleError, lmdb.NotFoundError):
            return None

    def _is_whole(self) -> bool:
        """Tell of a file that is too short whether all that it lacks are free pages.

        A writer that was killed right after a commit leaves it like that.
        """
        from lmdb import verify

        try:
            found: list[Any] = verify.verify(self.path, subdir=False)  # type: ignore[no-untyped-call]
        except (verify.VerifyError, struct.error, OSError):
            return False
        return not found

    def fill_up(self) -> None:
        """Give the file the length that its records imply; LMDB may leave its last pages unwritten.

        They are free pages, so that nothing is lost; but a file that is too short tells thereby
        that it was truncated.
        """
        try:
            info = self.handle.info()
        except lmdb.Error:
            return  # another thread has closed the file meanwhile; the batch is written
        needed = (info["last_pgno"] + 1) * self.page_size
        if needed <= self.length:
            return
        path = self._where()
        if path is None:
            return  # somebody has just taken it away
        try:
            self.length = os.stat(path).st_size  # noqa: PTH116 - of text it takes less time
            if self.length < needed:
                os.truncate(path, needed)
                self.length = needed
        except OSError:
            return  # the batch is written, and whoever opens the file sees what the pages are

    def check_there(self) -> None:
        """Raise ``StorageError`` if what is written would go to a file that nobody finds again."""
        if self._where() is None:
            raise StorageError(
                f"{self.name} was deleted, moved or replaced while it was open: what was written "
                "since is in the file that was opened, and lost with it unless that was moved. "
                "Nothing of this batch was written: put the file back, or close the storage and "
                "open it again"
            )

    def _where(self) -> str | None:
        """Return a path at which the open file is, None if it is at none."""
        if identity(self.path) == self.identity:
            return self.path
        return next((path for path in self.paths if identity(path) == self.identity), None)

    def sync(self) -> None:
        """Wait until all that was written is on the disk."""
        try:
            self.handle.sync(True)
        except lmdb.Error as error:
            self.fail(error)

    # --- tables -----------------------------------------------------------------------------

    def table(self, name: str) -> Table | None:
        """Return a table, or None if there is none of that name yet."""
        found = self.tables.get(name)
        if found is not None:
            return found
        if self.pid != os.getpid():
            self.fail(lmdb.Error("an environment of another process"))
        try:
            if self.read_only:
                with self.naming:
                    made = self.handle.open_db(name_of(name), create=False)
            elif self._has_table(name):
                # What a read transaction opens is closed again at its end.
                with self.handle.begin(write=True) as transaction:
                    made = self.handle.open_db(name_of(name), txn=transaction, create=False)
            else:
                return None
        except lmdb.NotFoundError:
            return None
        except lmdb.Error as error:
            self.fail(error)
        return self.keep_table(name, made)

    def _has_table(self, name: str) -> bool:
        """Look without waiting for a writer, as most of those who ask only want to read."""
        with self.handle.begin() as transaction:
            return transaction.get(name_of(name)) is not None

    def make_tables(self, names: AbstractSet[str]) -> None:
        """Make the tables that are missing, in a transaction of their own.

        LMDB wants a transaction that opens tables to be the only one in the process that does; so
        all of them are write transactions, of which there is but one at a time.
        """
        if self.tables.keys() >= names:
            return
        try:
            with self.handle.begin(write=True) as transaction:
                made = [
                    (
                        name,
                        self.handle.open_db(
                            name_of(name),
                            txn=transaction,
                            create=True,
                            dupsort=name.startswith(INDEX),
                        ),
                    )
                    for name in names
                ]
        except lmdb.Error as error:
            self.fail(error)
        for name, handle in made:
            self.keep_table(name, handle)

    def keep_table(self, name: str, handle: Any) -> Table:
        """Note the handle of a table; transactions that began before cannot use it."""
        with self.naming:
            table = self.tables.get(name)
            if table is None:
                self.opened += 1
                table = self.tables[name] = Table(handle, self.opened)
            return table

    # --- errors -----------------------------------------------------------------------------

    def fail(self, error: lmdb.Error) -> NoReturn:
        """Raise what the driver's error means."""
        if self.pid != os.getpid():
            raise StorageError(
                f"{self.name}: what was begun before a fork does not go on in the child; begin it "
                "there"
            ) from error
        fail(self.name, error)


def _is_out_of_memory(error: Exception) -> bool:
    return os.strerror(errno.ENOMEM) in str(error) or isinstance(error, lmdb.MemoryError)


try:
    from lmdb import _envid
except ImportError:  # a private part of the driver, which later versions may do without
    _driver_keys: Any = None
else:
    _driver_keys = _envid.env_keys

_ENVIRONMENTS: Final[dict[Identity, Environment]] = {}
_OPENING = threading.Lock()


def forget_inherited() -> None:
    """Leave the parent's environments alone in a forked child.

    Closing one, or ending a transaction of it, would clear the parent's readers from the lock file,
    so the environments are kept for ever. Iterations that were open are told that they are over.
    """
    global _OPENING  # noqa: PLW0603 - another thread of the parent may have held it
    _OPENING = threading.Lock()
    for shared in _ENVIRONMENTS.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(shared.handle))
        for cursor in list(shared.cursors.values()):
            cursor.close()
        shared.tables = {}  # whoever still has a snapshot asks here, and is told as well
    _ENVIRONMENTS.clear()
    if _driver_keys is not None:
        # The driver takes a file for open that only the parent has open: keys of its own, then.
        _envid.env_keys = _keys_of_child


def _keys_of_child(path: Any, subdir: Any) -> tuple[Any, ...]:
    return tuple((os.getpid(), key) for key in _driver_keys(path, subdir))
