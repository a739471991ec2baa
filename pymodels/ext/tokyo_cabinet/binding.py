"""Tokyo Cabinet's databases as Python objects, with the names that tokyo-python gave them.

``HDB`` is the hash database, ``BDB`` the B+ tree, ``TDB`` the table database and ``TDBQuery`` a
query on one. Keys, values and columns are ``bytes``. Whatever goes wrong is an ``Error`` with the
library's code and message. A handle is freed once, and never used after that.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     db = TDB()
...     db.open(f"{folder}/casket.tct", TDBOWRITER | TDBOCREAT)
...     db.put(b"ann", {b"name": b"Ann", b"age": b"42"})
...     query = db.query()
...     query.filter("age", TDBQCNUMGE, "18")
...     found = [(key, db.get(key)[b"name"]) for key in query.search()]
...     db.close()
>>> found
[(b'ann', b'Ann')]
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from ctypes import c_int, c_void_p
from typing import Any, ClassVar, Final, TypeAlias

from pymodels.ext.tokyo_cabinet.library import (
    INT_MAX,
    Error,
    dumped_map,
    functions,
    message,
    taken,
    taken_list,
    taken_map,
)

__all__ = ["BDB", "HDB", "INT_MAX", "TDB", "BDBCursor", "Error", "TDBQuery", "message"]

# Error codes.
TCESUCCESS, TCETHREAD, TCEINVALID, TCENOFILE, TCENOPERM, TCEMETA, TCERHEAD = range(7)
TCEOPEN, TCECLOSE, TCETRUNC, TCESYNC, TCESTAT, TCESEEK, TCEREAD, TCEWRITE = range(7, 15)
TCEMMAP, TCELOCK, TCEUNLINK, TCERENAME, TCEMKDIR, TCERMDIR, TCEKEEP, TCENOREC = range(15, 23)

# How a file is opened.
HDBOREADER = BDBOREADER = TDBOREADER = 1 << 0
HDBOWRITER = BDBOWRITER = TDBOWRITER = 1 << 1
HDBOCREAT = BDBOCREAT = TDBOCREAT = 1 << 2
HDBOTRUNC = BDBOTRUNC = TDBOTRUNC = 1 << 3
HDBONOLCK = BDBONOLCK = TDBONOLCK = 1 << 4
HDBOLCKNB = BDBOLCKNB = TDBOLCKNB = 1 << 5
HDBOTSYNC = BDBOTSYNC = TDBOTSYNC = 1 << 6

# How a file is laid out.
HDBTLARGE = BDBTLARGE = TDBTLARGE = 1 << 0
HDBTDEFLATE = BDBTDEFLATE = TDBTDEFLATE = 1 << 1
HDBTBZIP = BDBTBZIP = TDBTBZIP = 1 << 2
HDBTTCBS = BDBTTCBS = TDBTTCBS = 1 << 3

# Indexes of a table.
TDBITLEXICAL, TDBITDECIMAL, TDBITTOKEN, TDBITQGRAM = range(4)
TDBITOPT, TDBITVOID, TDBITKEEP = 9998, 9999, 1 << 24

# Conditions of a query.
TDBQCSTREQ, TDBQCSTRINC, TDBQCSTRBW, TDBQCSTREW, TDBQCSTRAND, TDBQCSTROR = range(6)
TDBQCSTROREQ, TDBQCSTRRX, TDBQCNUMEQ, TDBQCNUMGT, TDBQCNUMGE, TDBQCNUMLT = range(6, 12)
TDBQCNUMLE, TDBQCNUMBT, TDBQCNUMOREQ, TDBQCFTSPH, TDBQCFTSAND, TDBQCFTSOR = range(12, 18)
TDBQCFTSEX, TDBQCNEGATE, TDBQCNOIDX = 18, 1 << 24, 1 << 25
TDBQOSTRASC, TDBQOSTRDESC, TDBQONUMASC, TDBQONUMDESC = range(4)
TDBMSUNION, TDBMSISECT, TDBMSDIFF = range(3)

Path: TypeAlias = str | bytes | os.PathLike[str]

_NOTHING: Final = frozenset({TCESUCCESS, TCENOREC})


class _Database:
    """What the three kinds of database have in common."""

    letter: ClassVar[str]

    def __init__(self) -> None:
        self._handle: int | None = None
        self._pid = os.getpid()
        self._is_open = False
        self._handle = self._call("new")
        self._call("setmutex", self._handle)

    def _call(self, name: str, *arguments: Any) -> Any:
        return getattr(functions, f"tc{self.letter}db{name}")(*arguments)

    def _failed(self, code: int | None = None) -> Error:
        errno = ctypes.get_errno()
        if code is None:
            code = int(self._call("ecode", self._handle))
        return Error(code, message(code), errno)

    def _checked(self, succeeded: bool) -> None:
        if not succeeded:
            raise self._failed()

    @property
    def handle(self) -> int:
        """The library's handle, as a number; only of use in the process that made it."""
        if self._handle is None or self._pid != os.getpid():
            raise Error(TCEINVALID, "this handle was freed, or is of another process")
        return self._handle

    @property
    def open_handle(self) -> int:
        """The handle of an open file: what finds keys finds none in a closed one, and is silent."""
        if not self._is_open:
            raise Error(TCEINVALID, message(TCEINVALID))
        return self.handle

    def __del__(self) -> None:
        handle, self._handle = self._handle, None
        if handle and self._pid == os.getpid():  # what a fork left here belongs to the parent
            self._call("del", handle)

    def __len__(self) -> int:
        return int(self._call("rnum", self.handle))

    def open(self, path: Path, mode: int) -> None:
        """Open the file at *path*."""
        self._checked(self._call("open", self.handle, os.fsencode(path), mode))
        self._is_open = True

    def close(self) -> None:
        """Close the file."""
        self._is_open = False
        self._checked(self._call("close", self.handle))

    def setxmsiz(self, size: int) -> None:
        """Set how many bytes of the file are mapped into memory; before it is opened."""
        self._checked(self._call("setxmsiz", self.handle, size))

    def tune(self, *options: int) -> None:
        """Set how a new file is laid out; before it is opened."""
        self._checked(self._call("tune", self.handle, *options))

    def setcache(self, *sizes: int) -> None:
        """Set the sizes of the caches; before the file is opened."""
        self._checked(self._call("setcache", self.handle, *sizes))

    def optimize(self, *options: int) -> None:
        """Lay the file out anew, without the holes."""
        self._checked(self._call("optimize", self.handle, *options))

    def sync(self) -> None:
        """Have everything written to the device."""
        self._checked(self._call("sync", self.handle))

    def clear(self) -> None:
        """Remove all records."""
        self._checked(self._call("vanish", self.handle))

    def copy(self, path: Path) -> None:
        """Copy the file, and its indexes, while it is in use."""
        self._checked(self._call("copy", self.handle, os.fsencode(path)))

    def begin(self) -> None:
        """Begin a transaction."""
        self._checked(self._call("tranbegin", self.handle))

    def memsync(self, physically: bool = False) -> None:
        """Have what is kept in memory written to the file; while no thread uses it."""
        self._checked(self._call("memsync", self.handle, physically))

    def abandon(self) -> None:
        """Leave the handle as it is for ever: what is in its memory is not to be written."""
        self._is_open = False
        self._handle = None

    def commit(self) -> None:
        """End the transaction, and keep what it wrote."""
        self._checked(self._call("trancommit", self.handle))

    def abort(self) -> None:
        """End the transaction, and forget what it wrote.

        The library forgets it in memory only: a tree of which pages were written is damaged.
        """
        self._checked(self._call("tranabort", self.handle))

    def remove(self, key: bytes) -> bool:
        """Remove the record under *key*; return whether there was one."""
        if self._call("out", self.handle, key, len(key)):
            return True
        return self._absent()

    def _absent(self) -> bool:
        code = int(self._call("ecode", self._handle))
        if code not in _NOTHING:
            raise self._failed(code)
        return False

    def searchkeys(self, prefix: bytes, maximum: int = -1) -> list[bytes]:
        """Return the keys that begin with *prefix*."""
        return taken_list(self._call("fwmkeys", self.open_handle, prefix, len(prefix), maximum))

    @property
    def size(self) -> int:
        """How many bytes the file has."""
        return int(self._call("fsiz", self.handle))


class _Bytes(_Database):
    """A database from bytes to bytes."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under *key*, or None."""
        size = c_int()
        found = self._call("get", self.handle, key, len(key), size)
        if not found:
            self._absent()
            return None
        return taken(found, size.value)

    def put(self, key: bytes, value: bytes) -> None:
        """Store *value* under *key*, in place of what may be there."""
        size = _size(value)
        self._checked(self._call("put", self.handle, key, len(key), value, size))

    def putkeep(self, key: bytes, value: bytes) -> bool:
        """Store *value* under *key* unless something is there; return whether it was stored."""
        if self._call("putkeep", self.handle, key, len(key), value, _size(value)):
            return True
        code = int(self._call("ecode", self._handle))
        if code != TCEKEEP:
            raise self._failed(code)
        return False


class HDB(_Bytes):
    """The hash database."""

    letter = "h"

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.searchkeys(b""))


class BDB(_Bytes):
    """The B+ tree database."""

    letter = "b"

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.range())

    def range(
        self,
        begin: bytes | None = None,
        binc: bool = True,
        end: bytes | None = None,
        einc: bool = False,
        max: int = -1,  # the name that it has there
    ) -> list[bytes]:
        """Return the keys from *begin* to *end*, in order."""
        return taken_list(
            functions.tcbdbrange(
                self.open_handle, begin, len(begin or b""), binc, end, len(end or b""), einc, max
            )
        )

    def cursor(self) -> BDBCursor:
        """Return a cursor, which is nowhere yet."""
        return BDBCursor(self)


class BDBCursor:
    """A place in a B+ tree; it holds on to its database."""

    def __init__(self, database: BDB) -> None:
        self._handle: int | None = None
        self._database = database
        self._handle = functions.tcbdbcurnew(database.handle)

    def __del__(self) -> None:
        handle, self._handle = self._handle, None
        if handle and self._database._pid == os.getpid():
            functions.tcbdbcurdel(handle)

    def _moved(self, name: str, *arguments: Any) -> bool:
        _ = self._database.handle
        return bool(getattr(functions, f"tcbdbcur{name}")(self._handle, *arguments))

    def first(self) -> bool:
        """Go to the first pair; return whether there is one."""
        return self._moved("first")

    def last(self) -> bool:
        """Go to the last pair; return whether there is one."""
        return self._moved("last")

    def next(self) -> bool:
        """Go to the next pair; return whether there is one."""
        return self._moved("next")

    def prev(self) -> bool:
        """Go to the pair before; return whether there is one."""
        return self._moved("prev")

    def jump(self, key: bytes, back: bool = False) -> bool:
        """Go to *key* or the first key after it, or with *back* to it or the last one before."""
        return self._moved("jumpback" if back else "jump", key, len(key))

    def _here(self, name: str) -> bytes | None:
        _ = self._database.handle
        size = c_int()
        found = getattr(functions, f"tcbdbcur{name}")(self._handle, size)
        return taken(found, size.value) if found else None

    def key(self) -> bytes | None:
        """Return the key at this place, None if there is none."""
        return self._here("key")

    def value(self) -> bytes | None:
        """Return the value at this place, None if there is none."""
        return self._here("val")


class TDB(_Database):
    """The table database: records of named columns."""

    letter = "t"

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.searchkeys(b""))

    def get(self, key: bytes) -> dict[bytes, bytes] | None:
        """Return the columns of the record under *key*, or None."""
        found = self.joined(key)
        if not isinstance(found, bytes):
            return found
        parts = found.split(b"\0") if found else []
        return dict(zip(parts[::2], parts[1::2], strict=True))

    def joined(self, key: bytes) -> bytes | dict[bytes, bytes] | None:
        """Return the same as bytes, with NUL between names and values, unless they have NUL."""
        if self._pid != os.getpid() or self._handle is None:
            _ = self.handle
        found = functions.tctdbget(self._handle, key, len(key))
        if not found:
            self._absent()
            return None
        return taken_map(found)

    def _stored(self, name: str, key: bytes, columns: Mapping[bytes, bytes]) -> bool:
        data = dumped_map(columns)
        handle = self.handle
        mapping = functions.tcmapload(data, _size(data))
        try:
            return bool(self._call(name, handle, key, len(key), mapping))
        finally:
            functions.tcmapdel(mapping)

    def put(self, key: bytes, columns: Mapping[bytes, bytes]) -> None:
        """Store a record, in place of what may be there."""
        self._checked(self._stored("put", key, columns))

    def putkeep(self, key: bytes, columns: Mapping[bytes, bytes]) -> bool:
        """Store a record unless one is there; return whether it was stored."""
        if self._stored("putkeep", key, columns):
            return True
        code = int(functions.tctdbecode(self._handle))
        if code != TCEKEEP:
            raise self._failed(code)
        return False

    def putcat(self, key: bytes, columns: Mapping[bytes, bytes]) -> None:
        """Add columns to a record; those that are there stay as they are."""
        self._checked(self._stored("putcat", key, columns))

    def setindex(self, name: str | bytes, kind: int) -> None:
        """Make, keep, optimize or remove the index of a column; "" is the key."""
        self._checked(functions.tctdbsetindex(self.handle, _text(name), kind))

    @property
    def indexes(self) -> int:
        """How many indexes are in use."""
        return int(functions.tctdbinum(self.handle))

    def uid(self) -> int:
        """Return a number that this file has not given out before."""
        return int(functions.tctdbgenuid(self.handle))

    def query(self) -> TDBQuery:
        """Return a query without conditions."""
        return TDBQuery(self)

    def metasearch(self, queries: Sequence[TDBQuery], kind: int = TDBMSUNION) -> list[bytes]:
        """Return the keys that the queries find together: the order and limit are the first's."""
        _ = self.open_handle
        handles = (c_void_p * len(queries))(*(query.handle for query in queries))
        return taken_list(functions.tctdbmetasearch(handles, len(queries), kind))


class TDBQuery:
    """A query on a table; it holds on to its database."""

    def __init__(self, database: TDB) -> None:
        self._handle: int | None = None
        self._database = database
        self._handle = functions.tctdbqrynew(database.handle)

    def __del__(self) -> None:
        handle, self._handle = self._handle, None
        if handle and self._database._pid == os.getpid():
            functions.tctdbqrydel(handle)

    @property
    def handle(self) -> int:
        """The library's handle, as a number."""
        _ = self._database.handle
        assert self._handle is not None  # noqa: S101  # only __del__ clears it
        return self._handle

    def filter(self, column: str | bytes, condition: int, expression: str | bytes) -> None:
        """Add a condition; "" is the key. Neither text may hold NUL: the library would cut it."""
        functions.tctdbqryaddcond(self.handle, _text(column), condition, _text(expression))

    def sort(self, column: str | bytes, order: int) -> None:
        """Set the order; "" is the key."""
        functions.tctdbqrysetorder(self.handle, _text(column), order)

    def limit(self, max: int, skip: int = 0) -> None:  # the name that it has there
        """Set how many records to find at most, and how many to leave out first."""
        functions.tctdbqrysetlimit(self.handle, max, skip)

    def search(self) -> list[bytes]:
        """Return the keys of the records that are found."""
        _ = self._database.open_handle
        return taken_list(functions.tctdbqrysearch(self.handle))

    def remove(self) -> None:
        """Remove the records that are found."""
        if not functions.tctdbqrysearchout(self.handle):
            raise self._database._failed()

    def count(self) -> int:
        """Return how many records the last search found."""
        return int(functions.tctdbqrycount(self.handle))

    def hint(self) -> str:
        """Return what the library says of how it went about the last search."""
        found: bytes = functions.tctdbqryhint(self.handle)
        return found.decode("utf-8", "replace")


def _size(data: bytes) -> int:
    """Return how many bytes there are, as the library's ``int`` can say it."""
    if len(data) > INT_MAX:
        raise Error(TCEINVALID, f"{len(data)} bytes are more than a record can have")
    return len(data)


def _text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    if 0 in data:
        raise ValueError("the library cuts text at NUL, so that none is allowed here")
    return data
