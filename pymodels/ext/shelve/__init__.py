"""Records in the files of the standard library's ``shelve``, on any kind of ``dbm``.

Each record is a pickled dict under a key such as ``person:ann``, so ``shelve.open`` reads what is
saved here, and what it has saved can be taken over. Reading a record runs no code of the file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote, unquote
from uuid import UUID

import msgspec

from pymodels.checks import Unfit, check_name
from pymodels.errors import (
    OperandInvalid,
    RecordInvalid,
    SettingsError,
    StorageBusy,
    StorageError,
    StorageFull,
    StorageInvalid,
    StorageReadOnly,
    ValidationError,
)
from pymodels.ext.pickled.plain import NotPlain, dump, load
from pymodels.ext.shelve.engines import ENGINES, Engine, SQLiteDict, chosen, found_kind
from pymodels.files import check_place, check_room, check_writable, checked_path
from pymodels.held import TableChanges
from pymodels.keys import KeyKind, kind_named
from pymodels.keyvalue import KeyValueQuery
from pymodels.kinds import Open
from pymodels.mappings import Bytes, MappingStorage
from pymodels.messagepack import MessagePack
from pymodels.tables import FORMAT, META, CollectionRecord, records_table

__all__ = ["Query", "Storage"]

_OURS: Final = b"\0:pymodels:"
"""How the entries begin that say what PyModels has to know; a shelf's own keys never do."""

_BARE: Final = b"bare"
"""What ``meta`` has the collection under whose keys stand alone."""

_COLLECTION: Final = b"collection:"
_RECORDS: Final = records_table("")

_PARSERS: Final[dict[str, Callable[[str], Any]]] = {"text": str, "int": int, "uuid": UUID}

_SQLITE: Final = {
    sqlite3.SQLITE_FULL: StorageFull,
    sqlite3.SQLITE_IOERR_WRITE: StorageFull,
    sqlite3.SQLITE_IOERR_SHMSIZE: StorageFull,
    sqlite3.SQLITE_READONLY: StorageReadOnly,
    sqlite3.SQLITE_PERM: StorageReadOnly,
    sqlite3.SQLITE_BUSY: StorageBusy,
    sqlite3.SQLITE_LOCKED: StorageBusy,
    sqlite3.SQLITE_NOTADB: StorageInvalid,
    sqlite3.SQLITE_CORRUPT: StorageInvalid,
}


class Query(KeyValueQuery[Any]):
    """A query over the records of a shelf."""


class _InOrder(MessagePack):
    """Makes of a plain mapping the very bytes that it was made from."""

    _any = Open()

    def restored(self, document: dict[Any, Any]) -> bytes:
        for name, value in document.items():
            check_name(name)
            try:
                self._any.check(value)
            except Unfit as error:
                raise error.within(name) from None
        return self._in_order.encode(self._any.pack(document, self._tag))


@dataclass(frozen=True)
class _Keys:
    """The text of the keys of one collection, as a shelf has them."""

    kind: KeyKind

    def text(self, key: bytes) -> bytes:
        return str(self.kind.decode(key)).encode()

    def key(self, text: bytes) -> bytes:
        """Return the encoded key; raise ``ValueError`` for a text that stands for no key."""
        found = _PARSERS[self.kind.name](text.decode())
        try:
            self.kind.check(found)
        except Unfit as error:
            raise ValueError(error.reason) from None
        if str(found).encode() != text:
            raise ValueError("written in another way")
        return self.kind.encode(found)


class Storage(MappingStorage):
    """Records in the shelf at *path*.

    Args:
        path: the file, as ``shelve.open`` takes it: some kinds add a suffix, or several. It is
            created when missing; its folder must exist.
        kind: which kind of dbm a new file is to be, such as ``"dbm.sqlite3"``; by default the one
            that Python's ``dbm`` chooses.
        collection: the collection whose records stand under their bare keys, as in a shelf that
            another program has filled.
        keys: what these keys are: ``"text"``, ``"int"`` or ``"uuid"``.
        read_only: open for reading, beside other readers; the file must exist.
    """

    query_class = Query
    codec = _InOrder()
    capabilities: ClassVar[frozenset[str]] = MappingStorage.capabilities | {"persistent"}
    may_declare: ClassVar[frozenset[str]] = frozenset({"durable"})

    def __init__(
        self,
        *,
        path: str | os.PathLike[str],
        kind: str | None = None,
        collection: str | None = None,
        keys: str = "text",
        read_only: bool = False,
    ) -> None:
        text = checked_path(path)
        if kind is not None and kind not in ENGINES:
            raise SettingsError(f"kind is one of {', '.join(ENGINES)}, not {kind!r}")
        if collection is not None and (not isinstance(collection, str) or not collection):
            raise SettingsError(f"collection is the name of a collection, not {collection!r}")
        if keys not in _PARSERS:
            raise SettingsError(f"keys is one of {', '.join(_PARSERS)}, not {keys!r}")
        if not isinstance(read_only, bool):
            raise SettingsError(f"read_only is True or False, not {read_only!r}")
        name = f"shelve {text}"
        self.path = Path(os.path.realpath(text))
        self._kind = kind
        self._bare = collection
        self._bare_keys = kind_named(keys)
        self._known: dict[str, _Keys] = {}
        check_place(self.path, name, read_only=read_only)
        if read_only and found_kind(self.path, name) is None:
            raise StorageError(f"{name} does not exist, and read_only=True creates nothing")
        super().__init__(self._open, name=name, read_only=read_only, lock=f"{self.path}-lock")
        if self._engine.durable:
            self.capabilities = type(self).capabilities | {"durable"}  # type: ignore[misc]

    def _open(self) -> Bytes:
        self._engine: Engine = chosen(self.path, self._kind, self.name)
        for suffix in self._engine.suffixes:
            file = Path(f"{self.path}{suffix}")
            if not self.read_only and file.exists():
                check_writable(file, self.name)
        self.journal = self.syncs = self._engine.durable
        return self._engine.open(self.path, self.read_only)

    # --- what it is -------------------------------------------------------------------------

    @property
    def engine(self) -> str:
        return self._engine.name

    @property
    def info(self) -> Mapping[str, Any]:
        if self.is_copy:
            nothing = "nothing: this is a copy, made by a fork"
            given = dict.fromkeys(("save", "sync", "close"), nothing)
        else:
            engine = self._engine
            given = {"save": engine.save, "sync": engine.sync, "close": engine.close}
        return {**super().info, "file": str(self.path), "collection": self._bare, **given}

    def explain(self, plan: Any) -> Mapping[str, Any]:
        return {**super().explain(plan), "file": str(self.path)}

    def failed(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", 0)
            meant = _SQLITE.get(code) or _SQLITE.get(code & 0xFF, StorageError)
            return meant(f"{self.name}: {error}")
        return super().failed(error)

    def atomically(self) -> AbstractContextManager[Any] | None:
        mapping = self._mapping
        return mapping.transaction() if isinstance(mapping, SQLiteDict) else None

    def check_room(self, entries: Mapping[bytes, bytes | None]) -> None:
        if self._engine.breaks_when_full:
            # Each entry may split a bucket, and make the table of buckets twice as long.
            more = sum(len(entry) + len(value or b"") + 8192 for entry, value in entries.items())
            check_room(self.path, 2 * more + self.path.stat().st_size // 64, self.name)

    def _sync(self) -> None:
        if self._engine.reopens and not self.is_copy:
            self._close_mapping()
            self._mapping = self._engine.open(self.path, self.read_only)
        else:
            super()._sync()

    def _close_mapping(self) -> None:
        # The index of dbm.dumb is a text: let what tells a whole one be its last line.
        last = self.entry(META, _BARE)
        try:
            if self._engine.name == "dbm.dumb" and not self.read_only and last in self._mapping:
                value = self._mapping[last]
                del self._mapping[last]
                self._mapping[last] = value
        finally:
            super()._close_mapping()

    # --- what PyModels has to know ----------------------------------------------------------

    def meta_read(self) -> None:
        super().meta_read()
        meta = self.tables[META]
        noted = meta.get(_BARE)
        if noted is not None:
            bare = noted.decode() or None
            if self._bare not in (None, bare):
                raise SettingsError(
                    f"{self.name} has {f'the records of {bare!r}' if bare else 'no records'} under "
                    f"bare keys: open it without collection={self._bare!r}"
                )
            self._bare = bare
        elif meta.values:
            raise StorageInvalid(
                f"{self.name} lacks an entry that PyModels wrote: it was cut off; restore a copy"
            )
        elif self._bare is not None:
            record = msgspec.msgpack.encode(CollectionRecord(self._bare_keys.name))
            meta.put(f"collection:{self._bare}".encode(), record)

    def keep(self, changes: TableChanges) -> None:
        meta = self.tables.get(META)
        changed = dict(changes.get(META, {}))
        if meta is None or meta.get(_BARE) is None:
            held = {} if meta is None else meta.values
            changed = {b"format": b"%d" % FORMAT, **held, **changed}
            changed[_BARE] = (self._bare or "").encode()
        names = [key[len(_COLLECTION) :].decode() for key in changed if _is_collection(key)]
        try:
            for name in names:
                self._known[name] = _keys_in(changed[_COLLECTION + name.encode()])
            super().keep({**changes, META: changed})
        except BaseException:
            for name in names:
                self._known.pop(name, None)
            raise
        self.apply({META: changed})

    def _keys_of(self, collection: str) -> _Keys:
        found = self._known.get(collection)
        if found is None:
            data = self.tables[META].get(_COLLECTION + collection.encode())
            if data is None:
                raise ValueError(f"nothing is known of the collection {collection!r}")
            found = self._known[collection] = _keys_in(data)
        return found

    # --- entries ----------------------------------------------------------------------------

    def entry(self, table: str, key: bytes) -> bytes:
        if table == META:
            return _OURS + key
        collection = table[len(_RECORDS) :]
        text = self._keys_of(collection).text(key)
        if collection != self._bare:
            between = b"" if self._bare is None else b"\0"
            return between + quote(collection, safe="").encode() + b":" + text
        if text.startswith(b"\0"):
            raise OperandInvalid(
                f"{collection}: the key {text.decode()!r:.60} begins with a NUL, which {self.name} "
                "keeps for itself: choose another key"
            )
        return text

    def table_and_key(self, entry: bytes) -> tuple[str, bytes]:
        if entry.startswith(_OURS):
            return META, entry[len(_OURS) :]
        if self._bare is not None:
            if not entry.startswith(b"\0"):
                return records_table(self._bare), self._keys_of(self._bare).key(entry)
            entry = entry[1:]
        name, colon, text = entry.decode().partition(":")
        collection = unquote(name, errors="strict")
        if not colon or quote(collection, safe="") != name:
            raise ValueError("a shelf of somebody else")
        return records_table(collection), self._keys_of(collection).key(text.encode())

    def foreign(self, entry: Any) -> StorageInvalid:
        shown = entry.decode(errors="replace") if isinstance(entry, bytes) else entry
        if self._bare is not None:
            return StorageInvalid(
                f"{self.name}: {shown!r:.60} is no key of {self._bare!r}, whose keys are "
                f"{self._keys_of(self._bare).kind.name}: open it with other keys=..., or take the "
                "entry away"
            )
        return StorageInvalid(
            f"{self.name} holds an entry {shown!r:.60} that PyModels did not write: open it with "
            "collection=... to have such entries as the records of that collection"
        )

    def dump(self, table: str, stored: bytes) -> bytes:
        if table == META:
            return dump(stored)
        try:
            return dump(self.codec.document(stored))
        except msgspec.DecodeError:
            return dump(stored)
        except RecursionError:
            raise ValidationError(
                f"{self.name}: a record is nested too deeply to be pickled; nothing of this batch "
                "was written"
            ) from None

    def load(self, table: str, key: bytes, data: bytes) -> bytes:
        try:
            value, _ = load(data)
        except NotPlain as error:
            raise StorageInvalid(
                f"{self.name}: the entry {self.entry(table, key).decode()!r} is no plain pickle: "
                f"{error}"
            ) from error
        if type(value) is bytes:
            return value
        try:
            if type(value) is not dict or table == META:
                raise Unfit(f"expected a dict of fields, got {type(value).__name__}")
            return self.codec.restored(value)
        except Unfit as error:
            raise self._invalid(table, key, error.reason, error.trail) from error
        except Exception as error:  # what a forged value of a sound type may raise
            raise self._invalid(table, key, f"damaged ({error})") from error

    def _invalid(self, table: str, key: bytes, reason: str, trail: str = "") -> RecordInvalid:
        collection = table[len(_RECORDS) :]
        found = self._keys_of(collection).kind.decode(key) if table != META else key
        field = trail[2 : trail.index("]") - 1] if trail else None
        return RecordInvalid(
            f"{self.name}: {collection} {found!r}{trail}: {reason}. The shelve module itself reads "
            "the record as it is stored",
            collection,
            found,
            field,
        )


def _is_collection(key: bytes) -> bool:
    return key.startswith(_COLLECTION)


def _keys_in(record: bytes | None) -> _Keys:
    data = record or b""
    return _Keys(kind_named(msgspec.msgpack.decode(data, type=CollectionRecord).key))
