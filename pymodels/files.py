"""Files that a storage has to itself: where they can be, who holds them, and saving one whole."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pymodels.errors import (
    SettingsError,
    StorageBusy,
    StorageError,
    StorageFull,
    StorageInvalid,
    StorageReadOnly,
)

_FULL: Final = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_HELD: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})


def checked_path(path: Any) -> str:
    """Return a setting that names a file as text, or raise ``SettingsError``."""
    if isinstance(path, str | os.PathLike):
        with suppress(UnicodeError):  # a lone surrogate, which no name of a file has
            name = os.fsdecode(path)
            if name and b"\0" not in os.fsencode(name):
                return name
    raise SettingsError(f"path is the name of a file, not {path!r}")


def check_place(path: Path, name: str, *, read_only: bool) -> None:
    """Raise ``StorageError`` if no file of a storage called *name* can be at *path*."""
    try:
        is_folder, has_place = path.is_dir(), path.parent.is_dir()
    except OSError as error:  # a folder above may keep others out
        raise failure(name, error) from error
    if is_folder:
        raise StorageInvalid(f"{name} is a folder, and path is the name of a file")
    if not has_place:
        raise StorageError(f"{name}: the folder {path.parent} does not exist; create it first")
    if not read_only:
        check_writable(path, name)


def check_there(path: Path, name: str) -> None:
    """Raise ``StorageError`` if there is nothing at *path* to be read."""
    if not path.exists():
        raise StorageError(f"{name} does not exist, and read_only=True creates nothing")
    if path.stat().st_size == 0:
        raise StorageInvalid(f"{name} is empty, and read_only=True makes nothing of it")


def check_writable(path: Path, name: str) -> None:
    """Raise ``StorageReadOnly`` if the file, or its folder, cannot be written."""
    for one in (path, path.parent):
        if one.exists() and not os.access(one, os.W_OK):
            raise StorageReadOnly(
                f"{name}: {one} cannot be written: change its permissions, or open the storage "
                "with read_only=True"
            )


def failure(name: str, error: Exception) -> StorageError:
    """Return the error for what the system, or a driver, says of the store called *name*."""
    number = getattr(error, "errno", None)
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if number in _FULL:
        return StorageFull(
            f"{name}: the disk is full, or a limit on the size of files is reached ({text}). "
            "Nothing of this batch was written"
        )
    if number in _REFUSED:
        return StorageReadOnly(f"{name} cannot be used: {text}; change the permissions")
    if number in _HELD:
        return StorageBusy(f"{name} is in use: {text}; close it there first")
    return StorageError(f"{name}: {text or type(error).__name__}")


def check_room(path: Path, more: int, name: str) -> None:
    """Raise ``StorageFull`` if the file at *path* cannot get so many bytes longer."""
    folder = os.statvfs(path.parent)
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if folder.f_bavail * folder.f_frsize < more or 0 <= most < path.stat().st_size + more:
        raise StorageFull(
            f"{name}: the disk is almost full, or a limit on the size of files almost reached. "
            "Nothing of this batch was written"
        )


class FileLock:
    """Keeps a file to one writer, or to any number of readers, by a lock file beside it.

    The lock file stays when the lock is given back, since removing it could part two who wait. The
    lock ends with the process, however that ends.

    Args:
        path: the lock file.
        name: what messages call the storage.
        shared: hold it as one of several readers; where there is no lock file and none can be
            made, nobody writes, and nothing is locked.

    Raises ``StorageBusy`` if somebody else holds it.
    """

    def __init__(self, path: Path, name: str, *, shared: bool = False) -> None:
        self._file: int | None = None
        try:
            self._file = _open_lock(path)
        except OSError as error:
            if shared and error.errno in _REFUSED:
                return
            raise failure(name, error) from error
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(self._file)
            self.forget()
            if error.errno not in _HELD:
                raise failure(name, error) from error
            raise StorageBusy(
                f"{name} is open {holder}: it can be open for writing once, with nobody beside; "
                "close it there first"
            ) from error
        with suppress(OSError):  # it only makes the message of others better
            os.ftruncate(self._file, 0)
            if not shared:
                os.pwrite(self._file, b"%d" % os.getpid(), 0)

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """Let go of it in a forked child: the parent goes on to hold it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except PermissionError:  # a lock can be held on what can only be read
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _holder(file: int) -> str:
    text = os.pread(file, 20, 0).decode("ascii", "replace")
    if text == str(os.getpid()):
        return "in this process already"
    return f"in another process ({text})" if text.isdigit() else "in another process"


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Put a new file in the place of *path*; after a failure, or a kill, the old one is there.

    The new one is written beside it and renamed, both on the disk when this returns.
    """
    beside = path.with_name(f"{path.name}-new")
    with suppress(FileNotFoundError):
        beside.unlink()
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(file, "wb") as stream:
            _take_after(path, file)
            stream.writelines(parts)
            stream.flush()
            os.fsync(file)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system without such a thing
            raise
    finally:
        os.close(folder)


def _take_after(path: Path, file: int) -> None:
    """Give the new file the permissions of the old one, and its owner if that is allowed."""
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    with suppress(PermissionError):
        os.fchown(file, old.st_uid, old.st_gid)
    os.fchmod(file, stat.S_IMODE(old.st_mode))
