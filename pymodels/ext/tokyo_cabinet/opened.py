"""A file that this process has open: reading, writing whole batches, and the library's errors."""

from __future__ import annotations

import ctypes
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from pymodels.errors import (
    StorageClosed,
    StorageError,
    StorageInvalid,
)
from pymodels.ext._tokyo.columns import parted
from pymodels.ext._tokyo.searching import Step, Table
from pymodels.ext.tokyo_cabinet import binding as tokyo
from pymodels.ext.tokyo_cabinet.binding import BDB, HDB, TDB, Error, TDBQuery
from pymodels.ext.tokyo_cabinet.failures import check_written, fail
from pymodels.ext.tokyo_cabinet.files import (
    Guard,
    check_file,
    index_files,
    mend_logs,
    refuse_second,
    reserve,
)
from pymodels.ext.tokyo_cabinet.locks import ReadersOrWriter

INDEX_KINDS: Final[Mapping[str, int]] = {
    "lexical": tokyo.TDBITLEXICAL,
    "decimal": tokyo.TDBITDECIMAL,
    "token": tokyo.TDBITTOKEN,
    "qgram": tokyo.TDBITQGRAM,
}
OPERATIONS: Final[Mapping[str, int]] = {
    name: getattr(tokyo, f"TDBQC{name}")
    for name in (
        *("STREQ", "STRINC", "STRBW", "STREW", "STRAND", "STROR", "STROREQ", "STRRX"),
        *("NUMEQ", "NUMGT", "NUMGE", "NUMLT", "NUMLE", "NUMBT", "NUMOREQ", "FTSPH"),
    )
}
ORDERS: Final[Mapping[str, int]] = {
    name: getattr(tokyo, f"TDBQO{name}") for name in ("STRASC", "STRDESC", "NUMASC", "NUMDESC")
}
_INDEX_FILES: Final = {"lex": "lexical", "dec": "decimal", "tok": "token", "qgr": "qgram"}


@dataclass(frozen=True)
class Tuning:
    """How a file is opened, and laid out when it is made."""

    options: int = 0
    buckets: int = 0
    cache: int = 0
    mmap_size: int = 0
    sync: bool = False
    lock_timeout: float = 0.0


class OpenFile:
    """A file that is open, and the lock that readers and the writer of this process share."""

    database: Any

    def __init__(self, path: Path, kind: str, name: str, *, read_only: bool, tuning: Tuning):
        self.path, self.kind, self.name = path, kind, name
        self.lock = ReadersOrWriter()
        self.closed = False
        self.pid = os.getpid()
        self.tuning = tuning
        refuse_second(path, name)
        if path.is_dir():
            raise StorageInvalid(f"{name} is a folder, and path is the name of a file")
        self.was_there = path.exists()
        if self.was_there:
            check_file(path, kind, name)
            for index in index_files(path):
                check_file(index, "BTREE", f"{name}, its index {index.name}")
        elif read_only:
            raise StorageError(f"{name} does not exist; read_only=True makes no file")
        elif not path.parent.is_dir():
            raise StorageError(f"{name} cannot be made: there is no folder {path.parent}")
        self.read_only = read_only
        self._mode = tokyo.TDBOLCKNB | (
            tokyo.TDBOREADER if read_only else tokyo.TDBOWRITER | tokyo.TDBOCREAT
        )
        if tuning.sync:
            self._mode |= tokyo.TDBOTSYNC
        self.was_killed = False
        if self.was_there:
            self._guard = Guard(path, name)
            try:
                self._take()
                self._open()
            except BaseException:
                self._guard.release()
                raise
        else:
            self._open()
            self._guard = Guard(path, name)
            self._guard.reserve()

    def _take(self) -> None:
        self._guard.take(shared=self.read_only, seconds=self.tuning.lock_timeout)
        lacks_keys = self._guard.lacks_keys()
        if not self.read_only:
            self.was_killed = lacks_keys or self._guard.was_not_closed()
            if self.was_killed:
                mend_logs(self.files())
        elif lacks_keys:
            raise StorageInvalid(
                f"{self.name}: its indexes are behind its records, since a server was killed: open "
                "it once without read_only=True, which makes them anew"
            )

    def _open(self) -> None:
        self.database = self.made()
        try:
            self.database.setxmsiz(self.tuning.mmap_size)
            self.database.open(self.path, self._mode)
        except Error as error:
            if not self.was_there and self.path.exists() and not self.path.stat().st_size:
                self.path.unlink()
            fail(error, self.name)

    @abstractmethod
    def made(self) -> Any:
        """Return a new handle, tuned."""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read, beside other readers."""
        self._check_process()
        with self.lock:
            if self.closed:
                self.gone()
            try:
                yield
            except Error as error:
                fail(error, self.name)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write, alone."""
        self._check_process()
        with self.lock.writing():
            if self.closed:
                self.gone()
            ctypes.set_errno(0)
            try:
                yield
                check_written()
            except Error as error:
                fail(error, self.name)

    def _check_process(self) -> None:
        if self.pid != os.getpid():
            raise StorageError(f"{self.name}: what the parent process began cannot go on here")

    def gone(self) -> NoReturn:
        """Raise what a closed file answers."""
        raise StorageClosed(f"{self.name} is closed: open it again with get_storage(settings)")

    def apply(self, changes: Mapping[bytes, Any]) -> None:
        """Write a batch in one transaction of the library's."""
        if not changes:
            return
        with self.writing():
            database = self.database
            is_written = False
            try:
                database.begin()
                for key, value in changes.items():
                    if value is None:
                        database.remove(key)
                    else:
                        database.put(key, value)
                database.memsync()  # a tree keeps its pages until then
                check_written()
                is_written = True
                database.commit()
                check_written()
            except BaseException:
                self.start_again(halfway=is_written)
                raise

    def start_again(self, *, halfway: bool) -> None:
        """Open the file anew, as after a kill: its logs bring it back to where a batch began.

        The library's own way back leaves a tree damaged where some of its pages were written, and
        it dies of that when it closes the file.
        """
        files = self.files()
        self.database.abandon()
        self._guard.let_go(files)
        mend_logs(files)
        try:
            self._open()
        except StorageError:
            self.closed = True
            self._guard.release()
            raise
        self._guard.hold()

    def sync(self) -> None:
        """Have everything written to the device."""
        with self.writing():
            self.database.sync()

    def copy(self, goal: Path) -> None:
        """Copy the file and its indexes."""
        with self.writing():
            try:
                self.database.copy(goal)
            finally:
                self._guard.hold()

    def vanish(self) -> None:
        """Remove every record, of all programs."""
        with self.writing():
            self.database.clear()

    def optimize(self) -> None:
        """Lay the file out anew, without holes."""
        with self.writing():
            try:
                layout = (-1,) * (5 if isinstance(self.database, BDB) else 3)
                self.database.optimize(*layout, 255)  # as it is
            finally:
                self._guard.hold()

    def files(self) -> list[Path]:
        """Return all files that the records are in."""
        return [self.path, *index_files(self.path)]

    def hold(self) -> None:
        """Take the lock on the file anew."""
        self._guard.hold()

    def close(self) -> None:
        """Close the file; what others ask after that is answered by ``StorageClosed``."""
        with self.lock.writing():
            if not self.closed:
                self.closed = True
                try:
                    self.database.close()
                except Error as error:
                    fail(error, self.name)
                finally:
                    self._guard.release()


class OpenTable(OpenFile, Table):
    """A table that is open."""

    database: TDB

    def __init__(self, path: Path, kind: str, name: str, *, read_only: bool, tuning: Tuning):
        super().__init__(path, kind, name, read_only=read_only, tuning=tuning)
        self.indexes = self._found_indexes()
        try:
            if self.was_killed:
                self._rebuild()
            if not read_only and (b"", "lexical") not in self.indexes:
                self.set_index(b"", "lexical")
        except BaseException:
            self.close()
            raise

    def made(self) -> TDB:
        database = TDB()
        database.tune(self.tuning.buckets, -1, -1, self.tuning.options)
        database.setcache(self.tuning.cache, 0, 0)
        return database

    def _found_indexes(self) -> set[tuple[bytes, str]]:
        from urllib.parse import unquote_to_bytes

        found = set()
        for file in index_files(self.path):
            name, _, letters = file.name[len(self.path.name) + 5 :].rpartition(".")
            if letters in _INDEX_FILES:
                found.add((unquote_to_bytes(name), _INDEX_FILES[letters]))
        return found

    def _rebuild(self) -> None:
        """Make the indexes anew, which may be behind the records, or ahead of them."""
        with self.writing():
            self._remake()

    def _remake(self) -> None:
        for column, kind in sorted(self.indexes):
            self.database.setindex(column, tokyo.TDBITVOID)
            self.database.setindex(column, INDEX_KINDS[kind])

    def start_again(self, *, halfway: bool) -> None:
        super().start_again(halfway=halfway)
        if halfway:  # some of the files may have the batch
            self._remake()

    def set_index(self, column: bytes, kind: str) -> None:
        """Make an index, if it is not there."""
        if (column, kind) not in self.indexes:
            self.refuse_empty(column)
            with self.writing():
                before = self.files()
                try:
                    self.database.setindex(column, INDEX_KINDS[kind])
                    check_written()
                except Error:
                    with suppress(Error):  # a part of it would find a part of the records
                        self.database.setindex(column, tokyo.TDBITVOID)
                    raise
                for file in self.files():
                    if file not in before:  # it is written through a map, as the table is
                        with file.open("r+b") as made:
                            reserve(made.fileno())
            self.indexes = {*self.indexes, (column, kind)}

    def get_many(self, keys: Sequence[bytes]) -> Sequence[dict[bytes, bytes] | None]:
        self._check_process()
        with self.lock:  # as in `reading`, at less than half its price
            if self.closed:
                self.gone()
            joined = self.database.joined
            try:
                found = [joined(key) for key in keys]
            except Error as error:
                fail(error, self.name)
        return [parted(one) if isinstance(one, bytes) else one for one in found]

    def has_index(self, column: bytes, watched: frozenset[bytes]) -> bool:
        return any((column, kind) in self.indexes for kind in INDEX_KINDS)

    def ask(
        self,
        queries: Sequence[Sequence[Step]],
        order: tuple[bytes, str] | None = None,
        skip: int = 0,
        most: int | None = None,
    ) -> list[bytes]:
        with self.reading():
            made = [self._query(steps) for steps in queries]
            if len(made) > 1:
                return self.database.metasearch(made)
            return self._limited(made[0], order, skip, most).search()

    def hint(self, query: Sequence[Step], order: tuple[bytes, str] | None, most: int | None) -> str:
        with self.reading():
            made = self._limited(self._query(query), order, 0, most)
            made.search()
            return made.hint().strip()

    def _query(self, steps: Sequence[Step]) -> TDBQuery:
        query = self.database.query()
        for step in steps:
            operation = OPERATIONS[step.operation]
            if step.is_negated:
                operation |= tokyo.TDBQCNEGATE
            elif step.avoids_index:
                operation |= tokyo.TDBQCNOIDX
            query.filter(step.column, operation, step.operand)
        return query

    @staticmethod
    def _limited(
        query: TDBQuery, order: tuple[bytes, str] | None, skip: int, most: int | None
    ) -> TDBQuery:
        if order is not None:
            query.sort(order[0], ORDERS[order[1]])
        if skip or most is not None:
            query.limit(-1 if most is None else most, skip)
        return query

    def apply_with_indexes(
        self, changes: Mapping[bytes, Any], indexes: Mapping[bytes, str]
    ) -> None:
        """Make the indexes that a batch is the first to declare, and write it."""
        for column, kind in indexes.items():
            self.set_index(column, kind)
        self.apply(changes)


class OpenBytes(OpenFile):
    """A hash or B+ tree file that is open."""

    database: HDB | BDB

    def made(self) -> HDB | BDB:
        if self.kind == "HASH":
            hashed = HDB()
            hashed.tune(self.tuning.buckets, -1, -1, self.tuning.options)
            hashed.setcache(self.tuning.cache)
            return hashed
        tree = BDB()
        tree.tune(0, 0, self.tuning.buckets, -1, -1, self.tuning.options)
        tree.setcache(self.tuning.cache, 0)
        return tree

    def get(self, key: bytes) -> bytes | None:
        """Return the value under *key*, or None."""
        with self.reading():
            return self.database.get(key)

    def some_keys(
        self, start: bytes, low: bytes, high: bytes, most: int, *, descending: bool
    ) -> list[bytes]:
        """Return the first keys from *low* to *high*, not included, or the last ones.

        All of them begin with *start*; a hash file gives all that there are.
        """
        with self.reading():
            if isinstance(self.database, HDB):
                found = sorted(k for k in self.database.searchkeys(start) if low <= k < high)
                return found[::-1] if descending else found
            if not descending:
                return self.database.range(low, True, high, False, most)
            return self._backward(self.database, low, high, most)

    @staticmethod
    def _backward(tree: BDB, low: bytes, high: bytes, most: int) -> list[bytes]:
        cursor = tree.cursor()
        found: list[bytes] = []
        there = cursor.jump(high, back=True)
        while there and len(found) < most:
            key = cursor.key()
            if key is None or key < low:
                break
            if key < high:
                found.append(key)
            there = cursor.prev()
        return found
