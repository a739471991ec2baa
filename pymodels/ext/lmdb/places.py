"""Where LMDB files are, and which paths lead to the same one."""

from __future__ import annotations

import os
from typing import TypeAlias

from pymodels.errors import StorageError

Identity: TypeAlias = str | tuple[int, int]
"""What is the same by whatever path a file is opened: its device, and its number there."""


def look(path: str) -> os.stat_result | None:
    """Return what is at *path*, be it a link; None if nothing is, or nobody may look."""
    try:
        return os.lstat(path)
    except OSError:
        return None


def resolved(path: str, name: str) -> str:
    """Return where a link leads by which a file called *name* was to be opened."""
    found = os.path.realpath(path)
    if os.path.islink(found):  # noqa: PTH114 - pathlib raises or not, by version
        raise StorageError(f"{name} is a link that leads to itself")
    return found


def identity(path: str) -> Identity:
    """Return what tells the file at *path* from others, its real path if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - of text it takes less time
    except OSError:
        found = None
    return identity_of(path, found)


def identity_of(path: str, found: os.stat_result | None) -> Identity:
    """Return the identity of the file at *path*, of which *found* is known."""
    if found is None or not found.st_ino:  # some file systems have no such numbers
        return os.path.realpath(path)
    return found.st_dev, found.st_ino
