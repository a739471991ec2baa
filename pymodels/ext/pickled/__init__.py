"""Records in memory, saved whole to one file after every change: for a few thousand of them.

The file is a pickle of ``{collection: {key: {field: value}}}``, which ``pickle.load`` reads. After
it comes a second one, with what PyModels has to know besides, and what tells a damaged file.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from pymodels.batches import BatchWriter
from pymodels.checks import Unfit
from pymodels.errors import (
    DuplicateKey,
    ModelError,
    SettingsError,
    StorageInvalid,
    ValidationError,
)
from pymodels.ext.pickled.plain import NotPlain, dump, fragment, load
from pymodels.files import (
    FileLock,
    check_place,
    check_there,
    checked_path,
    failure,
    write_whole,
)
from pymodels.held import HeldStorage, HeldView, Table, TableChanges
from pymodels.keys import kind_named
from pymodels.keyvalue import KeyValueQuery
from pymodels.plain import puts
from pymodels.tables import META, CollectionRecord, records_table

__all__ = ["Query", "Storage"]

_COLLECTION: Final = b"collection:"


class Query(KeyValueQuery[Any]):
    """A query over the records of a pickled file."""


class Storage(HeldStorage):
    """Records in memory, and in the file at *path* as they are after the last change.

    Args:
        path: the file; created when missing, in a folder that exists. A pickle of a dict of dicts,
            ``{collection: {key: {field: value}}}``, is taken as it is.
        read_only: open for reading, beside a writer or not; the file must exist.
    """

    query_class = Query
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"transactions", "durable", "persistent", "unique", "nul"}
    )

    def __init__(self, *, path: str | os.PathLike[str], read_only: bool = False) -> None:
        text = checked_path(path)
        if not isinstance(read_only, bool):
            raise SettingsError(f"read_only is True or False, not {read_only!r}")
        super().__init__(name=f"pickled {text}", read_only=read_only)
        # A link stays one: what is written anew is the file that it leads to.
        self.path = Path(os.path.realpath(text))
        self._fragments: dict[str, dict[bytes, bytes]] = {}
        self._lock: FileLock | None = None
        self._seen: tuple[int, ...] = ()
        check_place(self.path, self.name, read_only=read_only)
        if read_only:
            check_there(self.path, self.name)
        else:
            self._lock = FileLock(Path(f"{self.path}-lock"), self.name)
        try:
            self._refresh()
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> Mapping[str, Any]:
        """What is known of the file: its path, its size, and what a save, ``sync`` and close give.

        Raises ``StorageClosed`` if the storage is closed.
        """
        self.check_open()
        return {
            "file": str(self.path),
            "engine": "pickle",
            "bytes": self.path.stat().st_size if self.path.exists() else 0,
            "durable": not self.is_copy,
            "save": "nothing: this is a copy, made by a fork"
            if self.is_copy
            else "the whole file is written beside, synced and renamed",
            "close": "nothing is left to be written",
        }

    def explain(self, plan: Any) -> Mapping[str, Any]:
        return {**super().explain(plan), "engine": "pickle", "file": str(self.path)}

    def view(self) -> HeldView:
        if self.read_only:
            with self.applying:
                self._refresh()
        return super().view()

    def close(self) -> None:
        super().close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def after_fork_in_child(self) -> None:
        if self._lock is not None:
            self._lock.forget()
            self._lock = None

    # --- reading ----------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Read the file, unless it is the one that was read last."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise failure(self.name, error) from error
        before = self.tables
        if data:
            try:
                self._fill(data)
                self._seen = seen
            except NotPlain as error:
                raise StorageInvalid(
                    f"{self.name} is no file of plain pickled records: {error}"
                ) from error
            except Unfit as error:
                raise StorageInvalid(
                    f"{self.name}{error.trail} cannot be kept as a record: {error.reason}"
                ) from error
            except (DuplicateKey, ModelError, msgspec.MsgspecError) as error:
                raise StorageInvalid(f"{self.name} contradicts itself: {error}") from error
            finally:
                if self._seen != seen:
                    self.tables = before

    def _fill(self, data: bytes) -> None:
        """Fill new tables with what a file holds: views of the old ones go on undisturbed."""
        collections, end = load(data)
        if not isinstance(collections, dict):
            raise NotPlain(
                f"it holds a {type(collections).__name__}, and not a dict of collections"
            )
        meta = self._read_trailer(data, end) if end < len(data) else {}
        self.check_format(meta.get(b"format"))
        self.tables = {META: Table()}
        for key, value in meta.items():
            self.tables[META].put(key, value)
        batch = self.batch()
        try:
            for collection, records in collections.items():
                BatchWriter(self, batch).write(puts(collection, records, self.codec))
            self.apply(batch.changes)
        finally:
            batch.rollback()

    def _read_trailer(self, data: bytes, begin: int) -> dict[bytes, bytes]:
        trailer, end = load(data, begin)
        match trailer:
            case {"pymodels": dict(meta), "bytes": int(length), "crc32": int(checksum)}:
                is_whole = length == begin and end == len(data) and _is_bytes(meta)
                if is_whole and checksum == _checksum(meta, zlib.crc32(memoryview(data)[:begin])):
                    return meta
        raise NotPlain("it is damaged, or something else was appended to it")

    # --- writing ----------------------------------------------------------------------------

    def keep(self, changes: TableChanges) -> None:
        if self.is_copy:
            return
        meta = self._changed_meta(changes)
        fragments = {
            name: self._changed_fragments(name, record, changes)
            for name, record in _collections(meta)
        }
        try:
            write_whole(self.path, _parts(meta, fragments))
        except OSError as error:
            raise failure(self.name, error) from error
        self._fragments = fragments

    def _changed_meta(self, changes: TableChanges) -> dict[bytes, bytes]:
        held = self.tables.get(META)
        meta = {} if held is None else dict(held.values)
        for key, value in changes.get(META, {}).items():
            if value is None:
                meta.pop(key, None)
            else:
                meta[key] = value
        return meta

    def _changed_fragments(
        self, collection: str, record: CollectionRecord, changes: TableChanges
    ) -> dict[bytes, bytes]:
        """Return the pickled pairs of a collection; only what is new has to be pickled."""
        table = records_table(collection)
        decode = kind_named(record.key).decode
        changed = changes.get(table, {})
        found = self._fragments.get(collection)
        if found is None:
            held = self.tables.get(table)
            found = {
                key: self._fragment(collection, decode(key), value)
                for key, value in (held.values.items() if held is not None else ())
                if key not in changed
            }
        elif changed:
            found = dict(found)
        for key, value in changed.items():
            if value is None:
                found.pop(key, None)
            else:
                found[key] = self._fragment(collection, decode(key), value)
        return found

    def _fragment(self, collection: str, key: Any, stored: bytes) -> bytes:
        try:
            return fragment(key) + fragment(self.codec.document(stored))
        except RecursionError:
            raise ValidationError(
                f"{collection} {key!r} is nested too deeply to be pickled; nothing of this batch "
                "was written"
            ) from None


def _is_bytes(meta: dict[Any, Any]) -> bool:
    return all(type(one) is bytes for pair in meta.items() for one in pair)


def _checksum(meta: Mapping[bytes, bytes], before: int) -> int:
    """Return a checksum that goes on from the one of the first pickle."""
    for key, value in meta.items():
        before = zlib.crc32(value, zlib.crc32(key, before))
    return before


def _collections(meta: Mapping[bytes, bytes]) -> Iterator[tuple[str, CollectionRecord]]:
    for key, value in meta.items():
        if key.startswith(_COLLECTION):
            record = msgspec.msgpack.decode(value, type=CollectionRecord)
            yield key[len(_COLLECTION) :].decode(), record


def _parts(
    meta: Mapping[bytes, bytes], fragments: Mapping[str, Mapping[bytes, bytes]]
) -> Iterator[bytes]:
    """Yield the two pickles: ``}`` is a new dict, and what lies between ``(`` and ``u`` goes in."""
    length = checksum = 0
    for part in _collections_pickled(fragments):
        length += len(part)
        checksum = zlib.crc32(part, checksum)
        yield part
    yield dump({"pymodels": dict(meta), "bytes": length, "crc32": _checksum(meta, checksum)})


def _collections_pickled(fragments: Mapping[str, Mapping[bytes, bytes]]) -> Iterator[bytes]:
    yield b"\x80\x04}("
    for collection, pairs in fragments.items():
        yield fragment(collection) + b"}("
        yield b"".join(pairs.values())
        yield b"u"
    yield b"u."
