"""A storage over any mapping from bytes to bytes: its keys are in memory too, and in order.

A mapping has no order, no transactions, often no threads, and seldom survives a fork. So one
storage has it to itself: it reads all keys when it opens, goes to the mapping for values by one
thread at a time, notes what a batch overwrites before it does so, and leaves a forked child a copy.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import msgspec

from pymodels.errors import (
    DuplicateKey,
    PyModelsError,
    RecordInvalid,
    SettingsError,
    StorageError,
    StorageInvalid,
)
from pymodels.files import FileLock, failure
from pymodels.held import Table, TableChanges
from pymodels.indexing import IndexWriter
from pymodels.journals import decode_journal, encode_journal
from pymodels.ondemand import IndexedOnDemand
from pymodels.schema import Schema
from pymodels.tables import META, records_table

if TYPE_CHECKING:
    pass

Bytes: TypeAlias = MutableMapping[bytes, bytes]

JOURNAL: Final = b"\0journal"
"""The entry that holds, while a batch is written, what it overwrites."""

_RECORDS: Final = records_table("")

_MOST_CACHED: Final = 1 << 25
"""How many bytes of values are kept in memory once they were read or written."""


class MappingStorage(IndexedOnDemand):
    r"""Records in a mapping from bytes to bytes.

    Args:
        open_mapping: a function that opens the mapping; it is called once the lock is held. What
            it opens is closed by its ``close()``, if it has one.
        name: what messages call the storage, without passwords.
        read_only: refuse every write; readers may share the mapping with each other.
        lock: the path of a file that keeps others out, if the mapping persists.

    Raises ``StorageBusy`` if others hold the lock, ``StorageInvalid`` if the mapping holds
    something else than records, and ``StorageError`` for whatever keeps it from being opened.

    >>> from pymodels import Field, Model
    >>> class Cookie(Model):
    ...     type: Field[str]
    >>> held: dict[bytes, bytes] = {}
    >>> with MappingStorage(lambda: held, name="a dict") as jar:
    ...     saved = Cookie(pk="1", type="muffin").save(jar)
    >>> sorted(held)
    [b'meta\x00collection:cookie', b'meta\x00format', b'records:cookie\x001']
    """

    capabilities: ClassVar[frozenset[str]] = frozenset({"transactions", "unique", "nul"})
    driver_errors: ClassVar[Mapping[type[Exception], type[StorageError]]] = {}
    """What the mapping's own exceptions mean, where their ``errno`` does not say it."""
    journal: bool = True
    """Whether a batch that a kill cuts short is taken back when the mapping is opened again."""
    syncs: bool = False
    """Whether each batch ends, and each step of it, with the mapping's own ``sync()``."""

    def __init__(
        self,
        open_mapping: Callable[[], Bytes],
        *,
        name: str,
        read_only: bool = False,
        lock: str | os.PathLike[str] | None = None,
    ) -> None:
        if not isinstance(read_only, bool):
            raise SettingsError(f"read_only is True or False, not {read_only!r}")
        super().__init__(name=name, read_only=read_only)
        self._open_mapping = open_mapping
        self._mapping: Bytes = {}
        self._copy: dict[bytes, bytes] | None = None
        self._no_copy: Exception | None = None
        self._broken: StorageError | None = None
        self._cached: deque[tuple[Table, bytes, int]] = deque()
        self._cached_bytes = 0
        self._lock: FileLock | None = None
        try:
            if lock is not None:
                self._lock = FileLock(Path(lock), name, shared=read_only)
            self._mapping = self._opened()
            try:
                self._fill()
            except BaseException:
                self._close_mapping()
                raise
        except BaseException:
            self.closed = True
            self._release()
            raise

    # --- what an engine may say otherwise ---------------------------------------------------

    def entry(self, table: str, key: bytes) -> bytes:
        """Return the key in the mapping of what a table has under *key*."""
        return table.replace("%", "%25").replace("\0", "%00").encode() + b"\0" + key

    def table_and_key(self, entry: bytes) -> tuple[str, bytes]:
        """Return what ``entry`` was given; raise ``ValueError`` for an entry of somebody else."""
        name, _, key = entry.partition(b"\0")
        return name.decode().replace("%00", "\0").replace("%25", "%"), key

    def dump(self, table: str, stored: bytes) -> bytes:
        """Return the form in which the mapping holds a value."""
        return stored

    def load(self, table: str, key: bytes, data: bytes) -> bytes:
        """Return the value that ``dump`` was given."""
        return data

    def atomically(self) -> AbstractContextManager[Any] | None:
        """Return the mapping's own transaction, as a context; None if it has none."""
        return None

    def check_room(self, entries: Mapping[bytes, bytes | None]) -> None:
        """Raise ``StorageFull`` if *entries* do not fit where failing to write does damage."""

    @property
    def engine(self) -> str:
        """What the mapping is called."""
        kind = type(self._mapping)
        return f"{kind.__module__}.{kind.__qualname__}"

    # --- what it is -------------------------------------------------------------------------

    @property
    def native(self) -> Any:
        self.check_open()
        return self._mapping

    @property
    def info(self) -> Mapping[str, Any]:
        """What is known of the mapping, and what a save, ``sync()`` and ``close()`` give.

        Raises ``StorageClosed`` if the storage is closed.
        """
        self.check_open()
        return {
            "engine": self.engine,
            "entries": sum(len(table.values) for table in self.tables.values()),
            "durable": "durable" in self.capabilities and not self.is_copy,
        }

    def explain(self, plan: Any) -> Mapping[str, Any]:
        return {**super().explain(plan), "engine": self.engine}

    def sync(self) -> None:
        """Have the mapping write what it still holds in memory, if it has such a thing.

        Raises ``StorageError`` if that fails.
        """
        with self.applying:
            self.check_open()
            try:
                self._sync()
            except Exception as error:
                raise self.failed(error) from error

    def _sync(self) -> None:
        sync = getattr(self._mapping, "sync", None)
        if sync is not None:
            sync()

    def close(self) -> None:
        with self.applying:
            if self.closed:
                return
            self.closed = True
            try:
                self._close_mapping()
            except Exception as error:
                raise self.failed(error) from error
            finally:
                self._release()

    def _close_mapping(self) -> None:
        close = getattr(self._mapping, "close", None)
        self._mapping = {}
        if close is not None:
            close()

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def failed(self, error: Exception) -> Exception:
        """Return the error for what the mapping raised."""
        if isinstance(error, PyModelsError):
            return error
        for kind, meant in self.driver_errors.items():
            if isinstance(error, kind):
                return meant(f"{self.name}: {error}")
        return failure(self.name, error)

    # --- opening ----------------------------------------------------------------------------

    def _opened(self) -> Bytes:
        try:
            return self._open_mapping()
        except Exception as error:
            meant = self.failed(error)
            if type(meant) is StorageError and not isinstance(error, FileNotFoundError):
                meant = StorageInvalid(
                    f"{self.name} cannot be opened, as if it were no {self.name.split()[0]} file, "
                    f"or a damaged one: {error}; restore a copy"
                )
            raise meant from error

    def _fill(self) -> None:
        """Read all keys, and what is to be known of collections; make the indexes anew."""
        try:
            self._take_back()
            self.tables = {META: self.new_table(META)}
            entries = list(self._mapping.keys())
            self._check_count(len(entries))
            ours = self.entry(META, b"")
            for entry in entries:
                if isinstance(entry, bytes) and entry.startswith(ours):
                    self._fill_in(entry)
            self.meta_read()
            for entry in entries:
                if not isinstance(entry, bytes) or not entry.startswith(ours):
                    self._fill_in(entry)
        except PyModelsError:
            raise
        except Exception as error:
            raise self.failed(error) from error
        self._make_indexes()

    def _check_count(self, found: int) -> None:
        """Raise ``StorageInvalid`` if a mapping does not hold as many entries as it yields."""
        try:
            held = len(self._mapping)
        except Exception as error:
            raise StorageInvalid(f"{self.name} is damaged ({error}); restore a copy") from error
        if held != found:
            raise StorageInvalid(
                f"{self.name} is damaged: it has {held} entries, and {found} are found; restore a "
                "copy"
            )

    def meta_read(self) -> None:
        """Look at what was remembered of the collections, before their keys are read."""
        self.check_format(self.tables[META].get(b"format"))

    def _fill_in(self, entry: bytes) -> None:
        try:
            name, key = self.table_and_key(bytes(entry))
            if not (name == META or name.startswith(_RECORDS)):
                raise ValueError(name)
        except (ValueError, TypeError) as error:
            raise self.foreign(entry) from error
        table = self.tables.setdefault(name, self.new_table(name))
        table.put(key, self.load(name, key, self._mapping[entry]) if name == META else b"")

    def foreign(self, entry: Any) -> StorageInvalid:
        """Return the error for an entry that somebody else has written."""
        return StorageInvalid(
            f"{self.name} holds an entry {entry!r:.60} that PyModels did not write: it needs a "
            "place of its own"
        )

    def _make_indexes(self) -> None:
        """Make the entries of indexes, which are nowhere but in memory.

        An index whose values somebody has repeated meanwhile is forgotten: queries look at every
        record then, and whoever saves with a model that declares it is told.
        """
        batch = self.batch()
        try:
            writer = IndexWriter(self, batch)
            for name, kind in self.collections().items():
                known = self.collection_record(batch, name)
                if known is None or not (known.indexes or known.ordered):
                    continue
                known.ordered = {}  # they are made when somebody asks for them
                for index in list(known.indexes.values()):
                    try:
                        writer.build(Schema(None, name, name, kind, "pk"), index)
                    except (DuplicateKey, RecordInvalid, StorageInvalid):
                        del known.indexes[index.name]
                batch.put(META, f"collection:{name}".encode(), msgspec.msgpack.encode(known))
            self.apply(batch.changes)
        finally:
            batch.rollback()

    # --- reading ----------------------------------------------------------------------------

    def new_table(self, name: str) -> Table:
        return _Entries(self, name) if name.startswith(_RECORDS) else Table()

    def fetch(self, table: Table, name: str, key: bytes) -> bytes | None:
        """Return a value from the mapping, one thread at a time, and keep it for a while."""
        with self.applying:
            self._check_usable()
            if key not in table.values:
                return None
            try:
                data = self._mapping[self.entry(name, key)]
            except KeyError as error:
                raise StorageInvalid(
                    f"{self.name} lost an entry that it had when it was opened: it is damaged, or "
                    "somebody else has written to it; close the storage, and restore a copy"
                ) from error
            except Exception as error:
                raise self.failed(error) from error
            stored = self.load(name, key, data)
            self.cache(table, key, stored)
        return stored

    def cache(self, table: Table, key: bytes, stored: bytes) -> None:
        """Keep a value that was read or written of late; the oldest of them leave memory again."""
        table.values[key] = stored
        self._cached.append((table, key, len(stored)))
        self._cached_bytes += len(stored)
        while self._cached_bytes > _MOST_CACHED:
            old_table, old_key, length = self._cached.popleft()
            self._cached_bytes -= length
            if old_key in old_table.values:
                old_table.values[old_key] = b""

    def _check_usable(self) -> None:
        self.check_open()
        if self._broken is not None:
            raise self._broken

    # --- writing ----------------------------------------------------------------------------

    def keep(self, changes: TableChanges) -> None:
        self._check_usable()
        entries = {
            self.entry(name, key): None if value is None else self.dump(name, value)
            for name, changed in changes.items()
            if name == META or name.startswith(_RECORDS)
            for key, value in changed.items()
        }
        if self.is_copy:
            self._put(entries)
            return
        self.check_room(entries)
        own = self.atomically()
        try:
            if own is None:
                self._put_or_take_back(entries)
            else:
                with own:
                    self._put(entries)
        except Exception as error:
            raise self.failed(error) from error

    def _put(self, entries: Mapping[bytes, bytes | None]) -> None:
        mapping = self._mapping
        for entry, value in entries.items():
            if value is not None:
                mapping[entry] = value
            elif entry in mapping:
                del mapping[entry]

    def _put_or_take_back(self, entries: Mapping[bytes, bytes | None]) -> None:
        mapping = self._mapping
        before = {entry: mapping.get(entry) for entry in entries}
        noted = self.journal and len(entries) > 1
        try:
            if noted:
                mapping[JOURNAL] = encode_journal(before)
                self._sync_if_wanted()
            self._put(entries)
            self._sync_if_wanted()
            if noted:
                del mapping[JOURNAL]
                self._sync_if_wanted()
        except BaseException:
            self._restore(before)
            raise

    def _sync_if_wanted(self) -> None:
        if self.syncs:
            self._sync()

    def _restore(self, before: Mapping[bytes, bytes | None]) -> None:
        """Put back what a failed batch has overwritten; if need be, open the mapping anew."""
        for attempt in range(2):
            try:
                if attempt:
                    self._close_mapping()
                    self._mapping = self._open_mapping()
                    self._check_complete(before)
                self._put({**before, JOURNAL: None})
                self._sync_if_wanted()
            except Exception as error:  # noqa: BLE001  # a mapping can raise anything
                self._broken = StorageError(
                    f"{self.name} could neither write a batch nor take it back ({error}): close "
                    "the storage and open it again"
                )
            else:
                self._broken = None
                return

    def _check_complete(self, changed: Mapping[bytes, bytes | None]) -> None:
        """Raise ``StorageInvalid`` if a mapping that was opened anew has lost what nobody wrote."""
        mapping = self._mapping
        for name, table in self.tables.items():
            if name == META or name.startswith(_RECORDS):
                for key in table.values:
                    entry = self.entry(name, key)
                    if entry not in changed and entry not in mapping:
                        raise StorageInvalid("entries are missing")

    def _take_back(self) -> None:
        """Take back the batch that a writer was killed in."""
        if JOURNAL not in self._mapping:
            return
        before = decode_journal(self._mapping[JOURNAL])
        if self.read_only:
            raise StorageError(
                f"{self.name}: a writer was killed in the middle of a batch; open it for writing "
                "once, which takes that batch back"
            )
        self._put({**before, JOURNAL: None})
        self._sync_if_wanted()

    # --- forks ------------------------------------------------------------------------------

    def before_fork(self) -> None:
        if self.closed or self.is_copy:
            return
        try:
            self._copy = {
                entry: self._mapping[entry]
                for name, table in self.tables.items()
                if name == META or name.startswith(_RECORDS)
                for key in table.values
                if (entry := self.entry(name, key)) in self._mapping
            }
        except Exception as error:  # noqa: BLE001  # a mapping can raise anything
            self._no_copy = error

    def after_fork_in_parent(self) -> None:
        self._copy = self._no_copy = None

    def after_fork_in_child(self) -> None:
        copy, error = self._copy, self._no_copy
        self._copy = self._no_copy = None
        if copy is None and error is None:
            return  # it was closed before the fork, or is a copy already
        if self._lock is not None:
            self._lock.forget()
            self._lock = None
        # Closing it, even by being collected, could touch the parent's file: it stays for ever.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._mapping))
        self._mapping = copy or {}
        if error is not None:
            self._broken = StorageError(
                f"{self.name} could not be copied for a forked child ({error}): open it there"
            )


class _Entries(Table):
    """The keys of a table whose values are in the mapping; those used of late are here as well."""

    __slots__ = ("_name", "_storage")

    def __init__(self, storage: MappingStorage, name: str) -> None:
        super().__init__()
        self._storage = storage
        self._name = name
        self.get = self._get

    def _get(self, key: bytes) -> bytes | None:
        found = self.values.get(key)
        return self._storage.fetch(self, self._name, key) if found == b"" else found

    def put(self, key: bytes, value: bytes) -> None:
        super().put(key, b"")
        if value:
            self._storage.cache(self, key, value)
