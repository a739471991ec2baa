"""What is looked at before the library opens a file, and copies that keep its lock.

The library trusts a file's own header, and dies of one that lies. And its lock is the process's
own ``fcntl`` lock, which is lost as soon as *any* descriptor of the file is closed here: so a guard
keeps one of its own open, and takes the lock anew where the library may have lost it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from pymodels.errors import SettingsError, StorageBusy, StorageError, StorageInvalid
from pymodels.ext.tokyo_cabinet.library import functions

_MAGIC: Final = b"ToKyO CaBiNeT\n"
_HEADER: Final = 256
_KIND, _FLAGS = 32, 33
_RECORDS, _ENTRIES = slice(48, 56), slice(184, 192)
"""Where the header says how many records there are, and how many entries a tree has."""

_PAUSE: Final = 0.02
_OPEN_OR_BROKEN: Final = 0b11
KINDS: Final = {"HASH": 0, "BTREE": 1, "TABLE": 3}
_LETTERS: Final = {number: kind for kind, number in KINDS.items()}

_LOG_HEADER: Final = 8
_LOG_ENTRIES: Final[tuple[tuple[struct.Struct, Literal["little", "big"]], ...]] = (
    (struct.Struct("<QI"), "little"),
    (struct.Struct(">QI"), "big"),
)
"""Where an entry of a log belongs in the file, and how long it is."""

_OPEN: Final[set[tuple[int, int]]] = set()
_OPEN_LOCK: Final = threading.Lock()


def check_path(path: Path) -> None:
    """Raise ``SettingsError`` for a path with which the library would not find its own indexes."""
    if re.search(r"[*?\[]", str(path)):
        raise SettingsError(
            f"path: Tokyo Cabinet looks for its index files with a pattern, so that * ? [ cannot "
            f"be in the path, and {str(path)!r} has one"
        )


def index_files(path: Path) -> list[Path]:
    """Return the files of the indexes of a table."""
    prefix = f"{path.name}.idx."
    return sorted(
        one
        for one in path.parent.iterdir()
        if one.name.startswith(prefix) and not one.name.endswith(".wal")
    )


def mend_logs(files: list[Path]) -> None:
    """Cut off what a full disk left of the last entry of each log.

    The library would undo all entries before it, and then go on as if it had not. What belongs to
    an entry is only written after it, so that nothing is missed.
    """
    for file in files:
        log = file.with_name(f"{file.name}.wal")
        if not log.exists() or not (length := log.stat().st_size):
            continue
        with log.open("r+b") as opened:
            size = opened.read(_LOG_HEADER)
            # The library is built with either order of bytes; the wrong one makes the size vast.
            entry = min(_LOG_ENTRIES, key=lambda one: int.from_bytes(size, one[1]))[0]
            whole = opened.tell()
            while len(head := opened.read(entry.size)) == entry.size:
                end = opened.tell() + entry.unpack(head)[1]
                if end > length:
                    break
                whole = opened.seek(end)
            if whole < length:
                opened.truncate(whole)


def check_file(path: Path, kind: str, name: str) -> None:
    """Raise ``StorageInvalid`` for a file that is another's, of another kind, or cut off."""
    with path.open("rb") as file:
        header = file.read(_HEADER)
        length = os.fstat(file.fileno()).st_size
    if not length:
        raise StorageInvalid(
            f"{name} is an empty file: remove it, and it is made anew; if it held records, "
            "restore it from a copy"
        )
    if not header.startswith(_MAGIC):
        raise StorageInvalid(
            f"{name} is not a file of Tokyo Cabinet: give another path, or move this file away"
        )
    if len(header) < _HEADER:
        raise StorageInvalid(f"{name} ends within its header: restore it from a copy")
    found = header[_KIND]
    if found != KINDS[kind]:
        what = _LETTERS.get(found, "another kind")
        raise StorageInvalid(f"{name} is a {what} file, and kind={kind!r} was asked for")
    # The library is built with either order of bytes; a length in the wrong one is astronomical.
    needed = min(struct.unpack_from("<Q", header, 56)[0], struct.unpack_from(">Q", header, 56)[0])
    if length < needed:
        raise StorageInvalid(
            f"{name} has {length} bytes, and its own header says {needed}: the file is truncated; "
            "restore it from a copy"
        )


def reserve(file: int) -> None:
    """Have the file system set aside all that a file consists of."""
    with suppress(OSError):
        os.posix_fallocate(file, 0, os.fstat(file).st_size)


class Guard:
    """Keeps a path for this process: nobody opens it twice, and the lock is not lost."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self._pid = os.getpid()
        try:
            self._file = os.open(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)
        except OSError as error:
            raise StorageError(f"{name} cannot be opened: {error.strerror}") from error
        status = os.fstat(self._file)
        self._identity = status.st_dev, status.st_ino
        _OPEN.add(self._identity)

    def reserve(self) -> None:
        """Have the file system set aside all that a new file consists of.

        The library writes there through a map, and a full disk would kill the process.
        """
        reserve(self._file)

    def take(self, *, shared: bool, seconds: float) -> None:
        """Take the lock on the file, if need be after a while; raise ``StorageBusy`` without it.

        What is done to the file before the library opens it is not done to a file in use.
        """
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        latest = time.monotonic() + seconds
        while True:
            try:
                fcntl.lockf(self._file, kind | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    return  # it may not be written: that is for the library to say
                if time.monotonic() >= latest:
                    raise busy(self.name, str(error.strerror)) from error
                time.sleep(_PAUSE)
            else:
                return

    def was_not_closed(self) -> bool:
        """Tell whether whoever had the file open has died, or could not write to it.

        Its indexes may then be behind, or ahead: a server keeps what is new of them in its memory.
        """
        headers = [os.pread(self._file, _HEADER, 0)]  # to open and close it would lose the lock
        headers += map(_header, index_files(self.path))
        return any(len(one) == _HEADER and one[_FLAGS] & _OPEN_OR_BROKEN for one in headers)

    def lacks_keys(self) -> bool:
        """Tell whether a table has other records than its index of keys says.

        So it is if a server was killed, and the file served and closed again: what tells that it
        was not closed is gone then.
        """
        header = os.pread(self._file, _HEADER, 0)
        index = self.path.with_name(f"{self.path.name}.idx..lex")
        if header[_KIND] != KINDS["TABLE"] or not index.exists():
            return False
        return header[_RECORDS] != _header(index)[_ENTRIES]

    def hold(self) -> None:
        """Take the lock anew, which the library may have lost by closing the file."""
        with suppress(OSError):
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def let_go(self, files: list[Path]) -> None:
        """Close what the library has open of *files*, whose handle nobody will use again."""
        for file in files:
            functions.tcpathunlock(os.fsencode(file.resolve()))
        names = {one.resolve() for file in files for one in (file, Path(f"{file}.wal"))}
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if int(link.name) != self._file and link.readlink() in names:
                    os.close(int(link.name))
        self.hold()

    def release(self) -> None:
        """Let others open the path; the library must have closed it."""
        if self._pid == os.getpid():
            _OPEN.discard(self._identity)
            os.close(self._file)


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER)


def busy(name: str, why: str) -> StorageBusy:
    """Return the error for a file that another process has open."""
    return StorageBusy(
        f"{name} is open in another process ({why}): one at a time can have it. Close it there, "
        "give lock_timeout to wait for that, or serve it with ttserver and use "
        "pymodels.ext.tokyo_tyrant"
    )


def refuse_second(path: Path, name: str) -> None:
    """Raise ``StorageBusy`` if this process has the file open already.

    Even a look into it would end the lock on it.
    """
    try:
        status = path.stat()
    except OSError:
        return
    if (status.st_dev, status.st_ino) in _OPEN:
        raise StorageBusy(
            f"{name} is open already, by another storage of this process: use that one"
        )


def forget_inherited() -> None:
    """In a forked child: what the parent had open is not open here."""
    _OPEN.clear()


# --- copies for forked children ------------------------------------------------------------------


class Copies:
    """Copies of files for forked children, each removed once its child has ended."""

    def __init__(self) -> None:
        self._made: list[tuple[Path, Path]] = []

    def make(self, files: list[Path]) -> tuple[Path, int]:
        """Copy *files* into a folder of their own; return it, and a lock that its owner holds."""
        folder = Path(tempfile.mkdtemp(prefix="pymodels-"))
        mark = folder / "in use"
        lock = os.open(mark, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        for file in files:
            copied(file, folder / file.name)
            with (folder / file.name).open("r+b") as copy:  # nobody has that open, nor has died
                copy.seek(_FLAGS)
                copy.write(b"\0")
        self._made.append((folder, mark))
        return folder, lock

    def clean(self) -> None:
        """Remove the copies of children that have ended."""
        left = []
        for folder, mark in self._made:
            if not _removed(folder, mark):
                left.append((folder, mark))
        self._made = left


def _removed(folder: Path, mark: Path) -> bool:
    try:
        lock = os.open(mark, os.O_RDWR)
    except OSError:
        return True  # it is gone already
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # the child is alive
    finally:
        os.close(lock)
    with suppress(OSError):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    return True


def copied(source: Path, goal: Path) -> None:
    """Copy a file; where the file system can share its blocks, nothing is copied at all."""
    with source.open("rb") as read, goal.open("wb") as write:
        left = os.fstat(read.fileno()).st_size
        while left > 0:
            try:
                done = os.copy_file_range(read.fileno(), write.fileno(), min(left, 1 << 30))
            except OSError:
                done = os.sendfile(write.fileno(), read.fileno(), None, min(left, 1 << 30))
            if not done:
                break
            left -= done
