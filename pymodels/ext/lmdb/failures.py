"""What the errors of LMDB mean."""

from __future__ import annotations

import errno
import os
from typing import NoReturn

import lmdb

from pymodels.concurrency import waits_for_itself
from pymodels.errors import (
    StorageBusy,
    StorageClosed,
    StorageError,
    StorageFull,
    StorageInvalid,
    StorageReadOnly,
)


def refuse(name: str, error: lmdb.Error) -> NoReturn:
    """Raise what it means that a file called *name* could not be opened."""
    text = str(error)
    if isinstance(error, lmdb.InvalidError | lmdb.CorruptedError | lmdb.VersionMismatchError):
        raise StorageInvalid(
            f"{name} is no LMDB file, or one of another version, or damaged: {text}"
        ) from error
    if (
        isinstance(error, lmdb.ReadonlyError)
        or "Permission denied" in text
        or ("Read-only file system" in text)
    ):
        raise StorageReadOnly(
            f"{name} cannot be opened for writing: {text}; check the permissions of the "
            "file and its folder, or open it with read_only=True"
        ) from error
    if "already open in this process" in text:
        raise StorageBusy(
            f"{name} cannot be opened: this process has its file, or the lock file beside "
            "it, open already, by another name or as it was before somebody deleted or "
            "replaced it. Close that storage first"
        ) from error
    if _is_full(text):
        raise StorageFull(
            f"{name} cannot be made: the disk is full, or a limit on the size of files is reached "
            f"({text})"
        ) from error
    if os.strerror(errno.EISDIR) in text:
        raise StorageError(
            f"{name} cannot be opened: its lock file, of the same name with -lock, is a folder"
        ) from error
    raise StorageError(f"{name} cannot be opened: {text}") from error


def fail(name: str, error: lmdb.Error) -> NoReturn:
    """Raise what an error means of an open file called *name*."""
    text = str(error)
    if "same thread" in text:
        raise waits_for_itself(name) from error
    if isinstance(error, lmdb.MapFullError):
        raise StorageFull(
            f"{name} has reached its map_size; open it with a larger one. Nothing of this "
            "batch was written"
        ) from error
    if isinstance(error, lmdb.DbsFullError):
        raise StorageFull(
            f"{name} has more collections and indexes than max_tables allows, or as many "
            "and no room for another one: open it with a larger max_tables"
        ) from error
    if isinstance(error, lmdb.MapResizedError):
        raise StorageFull(
            f"{name} was made larger by another process than map_size is here: close it, "
            "and open it with a larger map_size"
        ) from error
    if isinstance(error, lmdb.DiskError) or _is_full(text):
        raise StorageFull(
            f"{name}: the disk is full, or a limit on the size of files is reached "
            f"({text}). Nothing of this batch was written"
        ) from error
    if isinstance(error, lmdb.ReadersFullError):
        raise StorageBusy(
            f"{name}: too many readers at once; open it with a larger max_readers"
        ) from error
    if isinstance(error, lmdb.ReadonlyError):
        raise StorageReadOnly(f"{name} cannot be written: {text}") from error
    if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.InvalidError):
        raise StorageInvalid(f"{name} is damaged: {text}; restore a copy") from error
    if "closed" in text or "deleted" in text:
        raise StorageClosed(f"{name} was closed while it was used") from error
    raise StorageError(f"{name}: {text}") from error


def _is_full(text: str) -> bool:
    return any(os.strerror(code) in text for code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT))
