"""From what the library reports, and what it does not, to errors of ours."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final, NoReturn

from pymodels.errors import StorageError, StorageFull, StorageInvalid, StorageReadOnly
from pymodels.ext.tokyo_cabinet import binding as tokyo
from pymodels.ext.tokyo_cabinet.binding import Error
from pymodels.ext.tokyo_cabinet.files import busy

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_UNWRITTEN: Final = _FULL | {errno.EIO}
_DAMAGED: Final = frozenset({tokyo.TCEMETA, tokyo.TCERHEAD, tokyo.TCEREAD, tokyo.TCESEEK})

_NAMED: Final = frozenset({tokyo.TCENOFILE, tokyo.TCENOPERM, tokyo.TCEINVALID, tokyo.TCEKEEP})
"""What has nothing to do with room, whatever the system said last."""


def fail(error: Error, name: str) -> NoReturn:
    """Raise our error for one of the library's."""
    code, text = error.code, str(error)
    ctypes.set_errno(0)  # it stays, and the next error may have another reason
    if code in (tokyo.TCETHREAD, tokyo.TCELOCK):
        raise busy(name, text) from error
    if error.errno in _FULL and code not in _NAMED:
        raise StorageFull(
            f"{name}: no space is left ({text}); nothing of this batch was stored"
        ) from error
    if code == tokyo.TCENOFILE:
        raise StorageError(f"{name} does not exist, nor can it be made here ({text})") from error
    if code == tokyo.TCENOPERM:
        raise StorageReadOnly(
            f"{name}: the permissions do not allow this ({text}); open it with read_only=True, or "
            "change them"
        ) from error
    if code in _DAMAGED:
        raise StorageInvalid(
            f"{name} is damaged ({text}): restore it from a copy, or try tctmgr optimize"
        ) from error
    raise StorageError(f"{name}: {text}") from error


def check_written() -> None:
    """Raise ``Error`` if the system refused to write since ``errno`` was set to 0.

    The library compares the -1 of a failed ``pwrite`` without its sign, and takes it for success:
    on a full disk it would lose whatever is put in, and never say so.
    """
    errno = ctypes.get_errno()
    if errno in _UNWRITTEN:
        raise Error(tokyo.TCEWRITE, f"{tokyo.message(tokyo.TCEWRITE)}: {os.strerror(errno)}", errno)
