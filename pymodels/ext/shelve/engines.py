"""The kinds of dbm that Python may have: how each is told and opened, and what it promises."""

from __future__ import annotations

import dbm
import importlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from pymodels.errors import DriverMissing, SettingsError, StorageError, StorageInvalid
from pymodels.mappings import Bytes

Open: TypeAlias = Callable[[Path, bool], Bytes]


class SQLiteDict(MutableMapping[bytes, bytes]):
    """The files of ``dbm.sqlite3``, on every Python, for any thread, and with transactions.

    Args:
        path: the file.
        read_only: whether it is only to be read.
    """

    def __init__(self, path: Path, read_only: bool) -> None:
        options = "mode=ro" if read_only else "mode=rwc"
        if read_only and not Path(f"{path}-wal").exists():
            options += "&immutable=1"  # nothing is to be made beside it, and our lock keeps it so
        self._connection = sqlite3.connect(
            f"{path.as_uri()}?{options}", uri=True, check_same_thread=False, isolation_level=None
        )
        try:
            found = {row[0] for row in self._run("SELECT name FROM sqlite_master").fetchall()}
            if found and "Dict" not in found:
                raise StorageInvalid(f"{path} is an SQLite file, but not one of dbm.sqlite3")
            if not read_only:
                self._run("PRAGMA journal_mode = WAL")
                self._run("PRAGMA synchronous = FULL")
                self._run(
                    "CREATE TABLE IF NOT EXISTS Dict "
                    "(key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)"
                )
            self._run("SELECT key, value FROM Dict LIMIT 1").fetchall()
        except BaseException:
            self._connection.close()
            raise

    def _run(self, statement: str, *values: bytes) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def __getitem__(self, key: bytes) -> bytes:
        row = self._run("SELECT value FROM Dict WHERE key = ?", key).fetchone()
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._run("REPLACE INTO Dict (key, value) VALUES (?, ?)", key, value)

    def __delitem__(self, key: bytes) -> None:
        if not self._run("DELETE FROM Dict WHERE key = ?", key).rowcount:
            raise KeyError(key)

    def __iter__(self) -> Iterator[bytes]:
        return iter([row[0] for row in self._run("SELECT key FROM Dict").fetchall()])

    def __len__(self) -> int:
        return int(self._run("SELECT count(*) FROM Dict").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make one whole of what is written in the block."""
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._run("ROLLBACK")
            raise

    def close(self) -> None:
        self._connection.close()


def _by_dbm(name: str, *, writing: str = "c") -> Open:
    def open_it(path: Path, read_only: bool) -> Bytes:
        module: Any = importlib.import_module(name)
        opened: Bytes = module.open(str(path), "r" if read_only else writing)
        return opened

    return open_it


@dataclass(frozen=True)
class Engine:
    """One kind of dbm.

    ``suffixes`` are those of its files. ``save``, ``sync`` and ``close`` say in a sentence what
    each of them gives; a storage is ``durable`` where a save gives everything.
    """

    name: str
    open: Open
    suffixes: tuple[str, ...]
    save: str
    sync: str
    close: str
    durable: bool = False
    reopens: bool = False
    """Whether closing and opening it is the only way to have it write."""
    breaks_when_full: bool = False
    """Whether a write that fails for want of room leaves a file that nobody can read."""


_NOTHING_LEFT: Final = "nothing is left to be written"

ENGINES: Final[Mapping[str, Engine]] = {
    engine.name: engine
    for engine in (
        Engine(
            "dbm.sqlite3",
            SQLiteDict,
            ("",),
            save="a batch is one transaction of SQLite, on the disk when the save returns",
            sync=_NOTHING_LEFT,
            close=_NOTHING_LEFT,
            durable=True,
        ),
        Engine(
            "dbm.gnu",
            _by_dbm("dbm.gnu"),
            ("",),
            save="a batch is on the disk when the save returns; one that a kill cuts short is "
            "taken back when the file is opened again",
            sync=_NOTHING_LEFT,
            close=_NOTHING_LEFT,
            durable=True,
            breaks_when_full=True,
        ),
        Engine(
            "dbm.ndbm",
            _by_dbm("dbm.ndbm"),
            (".db", ".pag", ".dir"),
            save="a batch may stay in the memory of this process; a kill loses it, and may damage "
            "the file",
            sync="closes the file and opens it again: everything so far is in it",
            close="everything is in the file",
            reopens=True,
        ),
        Engine(
            "dbm.dumb",
            _by_dbm("dbm.dumb"),
            (".dir", ".dat", ".bak"),
            save="values are in the data file, but the index may know nothing of them; a kill "
            "loses or mixes up what was saved since the last sync or close",
            sync="writes the index anew; a kill while it does so can leave only the one before, "
            "with .bak added to its name",
            close="everything is in the files",
        ),
    )
}
"""The kinds that there are, in the order in which Python chooses one for a new file."""


def has(name: str) -> bool:
    """Tell whether this Python has a kind of dbm; SQLite's files it always can open.

    >>> has("dbm.dumb"), has("dbm.sqlite3")
    (True, True)
    """
    if name == "dbm.sqlite3":
        return True
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def chosen(path: Path, wanted: str | None, name: str) -> Engine:
    """Return the kind of the file at *path*, or the one for a new file there.

    Raises ``SettingsError`` if it is another one than *wanted*, ``DriverMissing`` if this Python
    does not have it, and ``StorageInvalid`` for a file of no kind.
    """
    found = found_kind(path, name)
    if found is not None and wanted not in (None, found):
        raise SettingsError(f"{name} is a {found} file: leave kind={wanted!r} out, or say so")
    kind = found or wanted or _default()
    if not has(kind):
        raise DriverMissing(
            f"{name} needs {kind}, which this Python lacks: install it (on Debian, for its own "
            f"Python, with apt install python3-gdbm), or choose another kind"
        )
    return ENGINES[kind]


def _default() -> str:
    """Return what Python's own ``dbm`` chooses for a new file."""
    for name in ENGINES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        return name
    raise DriverMissing("this Python has no dbm at all")


def found_kind(path: Path, name: str) -> str | None:
    """Return the kind of the file that is there, None if there is none, or an empty one."""
    if path.exists():
        try:
            with path.open("rb") as file:
                start = file.read(16)
        except OSError as error:
            raise StorageError(f"{name} cannot be read: {error.strerror}") from error
        if not start:
            return None
        if start == b"SQLite format 3\0":  # only later Pythons' own dbm know it
            return "dbm.sqlite3"
    found = dbm.whichdb(str(path))
    if found:
        if found not in ENGINES:
            raise StorageInvalid(f"{name} is a {found} file, which is none of {', '.join(ENGINES)}")
        return found
    for suffix in (".db", ".pag", ".dat", ".dir"):
        beside = Path(f"{path}{suffix}")
        if beside.exists():
            raise StorageInvalid(
                f"{name}: {beside} is there, but no whole file of any kind of dbm that this Python "
                f"has ({', '.join(filter(has, ENGINES))}): restore what is missing, or install "
                "its kind"
            )
    if found == "":
        raise StorageInvalid(
            f"{name} is no file of any kind of dbm ({', '.join(ENGINES)}), or a damaged one"
        )
    return None
