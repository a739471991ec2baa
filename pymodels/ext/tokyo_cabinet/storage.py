"""The storage over a file of Tokyo Cabinet, and what a fork makes of it."""

from __future__ import annotations

import atexit
import inspect
import os
import threading
import weakref
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from pymodels.changes import Change
from pymodels.concurrency import WriteLock
from pymodels.errors import SettingsError, StorageError, StorageInvalid
from pymodels.ext._tokyo.batches import TableBatch
from pymodels.ext._tokyo.storage import TableQuery, TableStorage, check_adopted
from pymodels.ext._tokyo.unfinished import BATCH, LOCK, finishing, read_state
from pymodels.ext.tokyo_cabinet import binding as tokyo
from pymodels.ext.tokyo_cabinet.files import KINDS, Copies, check_path, forget_inherited
from pymodels.ext.tokyo_cabinet.opened import OpenBytes, OpenFile, OpenTable, Tuning
from pymodels.ext.tokyo_cabinet.tables import FileView, start_of
from pymodels.files import checked_path
from pymodels.keyvalue import KeyValueQuery, KeyValueStorage
from pymodels.query import Query as CoreQuery
from pymodels.storage import Prepared
from pymodels.storage import Storage as CoreStorage
from pymodels.tables import META, Batch

_OPTIONS: Final[Mapping[str, int]] = {
    "large": tokyo.TDBTLARGE,
    "deflate": tokyo.TDBTDEFLATE,
    "bzip": tokyo.TDBTBZIP,
    "tcbs": tokyo.TDBTTCBS,
}


class Query(TableQuery):
    """A query over the records in a file of Tokyo Cabinet."""


class Storage(CoreStorage):
    """Records in the file at *path*.

    One process at a time can have it open; a second one is told at once (``StorageBusy``).

    Args:
        path: the file; created when missing, in a folder that exists.
        kind: ``TABLE``, records as columns that the engine looks into; or ``HASH`` or ``BTREE``,
            which map keys to bytes.
        read_only: open for reading; the file must exist, and several processes can do so.
        sync: have every batch on the disk before it is acknowledged, so that it survives a loss of
            power too, and not only of the process.
        options: how a new file is laid out, names out of ``large`` (beyond 2 GiB), ``deflate``,
            ``bzip`` and ``tcbs`` (compressed).
        buckets: how many buckets a new file has; about twice as many as records is best.
        cache: how many records are kept in memory.
        mmap_size: how many bytes of the file are mapped into memory: faster, but a full disk then
            kills the process.
        lock_timeout: how many seconds to wait for another process that has the file open; 0 raises
            ``StorageBusy`` at once.
        adopt: collections whose records other programs wrote: their keys have no prefix, and their
            columns are read as the model declares them. Tell models apart by ``must_have``.

    Raises ``SettingsError``, ``StorageBusy``, ``StorageInvalid`` or another ``StorageError``. The
    driver's own handle, ``storage.native``, is a ``TDB``, ``HDB`` or ``BDB``.

    >>> import tempfile
    >>> from pymodels import Field, Model, get_storage
    >>> class Person(Model):
    ...     name: Field[str]
    >>> folder = tempfile.TemporaryDirectory()
    >>> with get_storage("pymodels.ext.tokyo_cabinet", path=f"{folder.name}/a.tct") as storage:
    ...     ann = Person(pk="ann", name="Ann").save(storage)
    ...     storage.native.get(b"person:ann")[b"name"]
    b'Ann'
    >>> folder.cleanup()
    """

    query_class: ClassVar[type[CoreQuery[Any]] | None] = Query
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"transactions", "durable", "persistent", "unique", "nul"}
    )

    def __new__(cls, *, kind: str = "TABLE", **settings: Any) -> Self:
        """Choose the class for the kind of file."""
        made: Any = cls
        if cls is Storage:
            made = TableFile if kind == "TABLE" else BytesFile
        return object.__new__(made)  # type: ignore[no-any-return]

    def __init__(
        self,
        *,
        path: str | os.PathLike[str],
        kind: str = "TABLE",
        read_only: bool = False,
        sync: bool = False,
        options: Sequence[str] = (),
        buckets: int = 0,
        cache: int = 0,
        mmap_size: int = 0,
        lock_timeout: float = 0,
        adopt: Sequence[str] = (),
    ) -> None:
        checked_path(path)
        if kind not in KINDS:
            raise SettingsError(f"kind is one of {', '.join(KINDS)}, not {kind!r}")
        for setting, flag in (("read_only", read_only), ("sync", sync)):
            if not isinstance(flag, bool):
                raise SettingsError(f"{setting} is True or False, not {flag!r}")
        for setting, number in (("buckets", buckets), ("cache", cache), ("mmap_size", mmap_size)):
            if type(number) is not int or not 0 <= number < 2**31:
                raise SettingsError(
                    f"{setting} is a whole number from 0 (the library's own choice) to 2147483647, "
                    f"not {number!r}"
                )
        if isinstance(lock_timeout, bool) or not isinstance(lock_timeout, int | float):
            raise SettingsError(f"lock_timeout is a number of seconds, not {lock_timeout!r}")
        if not 0 <= lock_timeout < float("inf"):
            raise SettingsError(f"lock_timeout is a number of seconds from 0, not {lock_timeout!r}")
        if isinstance(options, str) or not set(options) <= _OPTIONS.keys():
            raise SettingsError(
                f"options is a list of names out of {', '.join(_OPTIONS)}, not {options!r}"
            )
        check_adopted(adopt)
        given: dict[str, Any] = {"adopt": adopt} if kind == "TABLE" else {}
        super().__init__(name=f"tokyo cabinet {os.fspath(path)}", read_only=read_only, **given)
        self.path = Path(path).absolute()
        check_path(self.path)
        self.kind = kind
        if adopt and kind != "TABLE":
            raise SettingsError("adopt is for kind='TABLE'")
        layout = sum(_OPTIONS[option] for option in set(options))
        self._tuning = Tuning(layout, buckets, cache, mmap_size, sync, lock_timeout)
        self._opening = threading.Lock()
        self._file: OpenFile | None = None
        self._batches = 0
        self._copies = Copies()
        self._lock_of_copy: int | None = None
        self._fork_lock: Any = None
        self.file()
        try:
            self.check_file()
        except BaseException:
            self.close()
            raise
        _STORAGES.add(self)

    @abstractmethod
    def check_file(self) -> None:
        """Raise ``StorageInvalid`` if a later version of PyModels wrote the file."""

    @abstractmethod
    def opened(self) -> OpenFile:
        """Open the file."""

    def file(self) -> Any:
        """Return the open file, opened anew in a forked child."""
        found = self._file
        if found is None:
            with self._opening:
                self.check_open()
                if self._file is None:
                    self._file = self.opened()
                found = self._file
        return found

    write_lock: WriteLock

    @property
    def native(self) -> Any:
        return self.file().database

    @property
    def revision(self) -> int:
        self.check_open()
        return self._batches

    def note_batch(self) -> None:
        """Count a batch that was written."""
        self._batches += 1

    # --- the file as a whole ----------------------------------------------------------------

    def sync(self) -> None:
        """Have everything that was written on the disk; raise ``StorageError`` if it cannot be."""
        self.check_writable()
        self.file().sync()

    def copy_file(self, path: str | os.PathLike[str]) -> None:
        """Copy the file and its indexes to *path*, while it is in use: a hot backup."""
        self.check_open()
        goal = Path(path).absolute()
        check_path(goal)
        if goal == self.path:
            raise SettingsError(f"{self.name} cannot be copied onto itself")
        self.file().copy(goal)

    def optimize(self) -> None:
        """Lay the file out anew, without the holes that deleted records left."""
        self.check_writable()
        self.file().optimize()

    def vanish(self) -> None:
        """Remove everything from the file, what other programs wrote as well."""
        self.check_writable()
        turn = self.write_lock.acquire()
        try:
            self.file().vanish()
            self.note_batch()
        finally:
            turn.release()

    def close(self) -> None:
        with self._opening:
            if not self.closed:
                self.closed = True
                found, self._file = self._file, None
                if found is not None:
                    found.close()
                self._copies.clean()

    # --- forks ------------------------------------------------------------------------------

    def _before_fork(self) -> None:
        self._copies.clean()
        found = self._file
        if found is None or self.closed:
            return
        self._fork_lock = found.lock.writing()
        self._fork_lock.__enter__()
        if self.read_only or found.closed:
            return
        with suppress(StorageError, OSError, tokyo.Error):
            found.database.sync()
            folder, self._lock_of_copy = self._copies.make(found.files())
            self._copy = folder / self.path.name
            found.hold()

    def _after_fork_here(self) -> None:
        if self._lock_of_copy is not None:
            os.close(self._lock_of_copy)  # the child holds it, as long as it lives
            self._lock_of_copy = None
        if self._fork_lock is not None:
            lock, self._fork_lock = self._fork_lock, None
            lock.__exit__(None, None, None)

    def _after_fork_in_child(self) -> None:
        _INHERITED.append((self._file, self._fork_lock))
        had_copy = self._lock_of_copy is not None
        self._file, self._fork_lock, self._lock_of_copy = None, None, None
        self._copies = Copies()
        self._opening = threading.Lock()
        if had_copy:
            self.path = self._copy


# What a user may give is what __init__ takes, whichever class that makes of it.
Storage.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    list(inspect.signature(Storage.__init__).parameters.values())[1:]
)

_STORAGES: Final[weakref.WeakSet[Storage]] = weakref.WeakSet()
_INHERITED: Final[list[Any]] = []
"""What the parent of this process had open: never used here, and never freed."""


def _before_fork() -> None:
    for storage in list(_STORAGES):
        storage._before_fork()


def _after_fork_here() -> None:
    for storage in list(_STORAGES):
        storage._after_fork_here()


def _after_fork_in_child() -> None:
    forget_inherited()
    for storage in list(_STORAGES):
        storage._after_fork_in_child()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_here,
    after_in_child=_after_fork_in_child,
)


@atexit.register
def _close_all() -> None:
    for storage in list(_STORAGES):
        with suppress(StorageError):
            storage.close()


# --- tables --------------------------------------------------------------------------------------


class TableFile(Storage, TableStorage):
    """Records as columns of a table file."""

    def opened(self) -> OpenTable:
        return OpenTable(
            self.path, self.kind, self.name, read_only=self.read_only, tuning=self._tuning
        )

    def table(self) -> OpenTable:
        file: OpenTable = self.file()
        return file

    def check_file(self) -> None:
        self.check_format()
        table = self.table()
        left = read_state(table.get(BATCH))
        if not self.read_only:
            table.apply(finishing(left, locked=table.get(LOCK) is not None))
        elif left.pending:
            raise StorageInvalid(
                f"{self.name} was served by Tokyo Tyrant, and a client died in the middle of a "
                "batch: open it once without read_only=True, which carries out the rest"
            )

    def begin_batch(self) -> FileTableBatch:
        return FileTableBatch(self)

    def prepare(self, changes: Sequence[Change]) -> Prepared:
        return self.stage(changes)

    def vanish(self) -> None:
        super().vanish()
        self.forget_catalogs()


class FileTableBatch(TableBatch):
    """A batch for a table file."""

    def __init__(self, storage: TableFile) -> None:
        super().__init__(storage)
        self._file = storage

    def apply(self) -> None:
        self._file.table().apply_with_indexes(self.changes, self.new_indexes)
        self._file.note_batch()


# --- bytes ---------------------------------------------------------------------------------------


class BytesFile(Storage, KeyValueStorage):
    """Records as bytes in a hash or B+ tree file."""

    query_class = KeyValueQuery

    def check_file(self) -> None:
        with self.view() as view:
            self.check_format(view.get(META, b"format"))

    def opened(self) -> OpenBytes:
        return OpenBytes(
            self.path, self.kind, self.name, read_only=self.read_only, tuning=self._tuning
        )

    def view(self) -> FileView:
        return FileView(self.file())

    def batch(self) -> Batch:
        return FileBatch(self)


class FileBatch(FileView, Batch):
    """Changes kept aside until they are committed; what is read sees them."""

    def __init__(self, storage: BytesFile) -> None:
        super().__init__(storage.file())
        self._storage = storage
        self._changes: dict[bytes, bytes | None] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        full = start_of(table) + key
        if full in self._changes:
            return self._changes[full]
        return self.file.get(full)

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        start = start_of(table)
        merged = dict(super().items(table, low, high, descending=False))
        for full, value in self._changes.items():
            if full.startswith(start):
                key = full[len(start) :]
                if value is None:
                    merged.pop(key, None)
                elif (low is None or key >= low) and (high is None or key < high):
                    merged[key] = value
        return iter(sorted(merged.items(), reverse=descending))

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._changes[start_of(table) + key] = value

    def delete(self, table: str, key: bytes) -> None:
        self._changes[start_of(table) + key] = None

    def commit(self) -> None:
        if self._changes:
            self.file.apply(self._changes)
            self._storage.note_batch()

    def rollback(self) -> None:
        self._changes.clear()
