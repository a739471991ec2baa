"""The C library itself: which functions there are, what they take, and how to read what they give.

``libtokyocabinet`` is loaded when this module is imported, by ``ctypes``: nothing is compiled.
Calls that can take long release the GIL; those that take microseconds keep it, which is faster.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Mapping
from ctypes import c_bool, c_char_p, c_double, c_int, c_int8, c_int32, c_int64, c_uint64, c_void_p
from typing import Any, Final

from pymodels.errors import DriverMissing

INSTALL: Final = (
    "the library of Tokyo Cabinet (libtokyocabinet.so.9) is not installed. On Debian or Ubuntu: "
    "apt-get install libtokyocabinet9"
)

INT_MAX: Final = 2**31 - 1
"""The most bytes that a key or a value can have, and the most records that a query can give."""


class Error(Exception):
    """What the library reports: its ``code``, and the message that belongs to it."""

    def __init__(self, code: int, message: str, errno: int = 0) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.errno = errno


def _path_of_library() -> str:
    found = ctypes.util.find_library("tokyocabinet")
    return found or "libtokyocabinet.so.9"


try:
    _QUICK: Final = ctypes.PyDLL(_path_of_library(), use_errno=True)
    _LONG: Final = ctypes.CDLL(_path_of_library(), use_errno=True)
except OSError as error:
    raise DriverMissing(INSTALL) from error

_OPEN = (c_void_p, c_char_p, c_int)
_KEY = (c_void_p, c_char_p, c_int)
_PAIR = (c_void_p, c_char_p, c_int, c_char_p, c_int)
_SIZE = ctypes.POINTER(c_int)

# Of each function: what it returns, and what it takes. Those that may read or write a whole file
# release the GIL.
_LONG_FUNCTIONS: Final[Mapping[str, tuple[Any, tuple[Any, ...]]]] = {
    **{f"tc{kind}dbopen": (c_bool, _OPEN) for kind in "htb"},
    **{f"tc{kind}dbclose": (c_bool, (c_void_p,)) for kind in "htb"},
    **{f"tc{kind}dbdel": (None, (c_void_p,)) for kind in "htb"},
    **{f"tc{kind}dbsync": (c_bool, (c_void_p,)) for kind in "htb"},
    **{f"tc{kind}dbvanish": (c_bool, (c_void_p,)) for kind in "htb"},
    **{f"tc{kind}dbmemsync": (c_bool, (c_void_p, c_bool)) for kind in "htb"},
    **{f"tc{kind}dbcopy": (c_bool, (c_void_p, c_char_p)) for kind in "htb"},
    **{
        f"tc{kind}dbtran{step}": (c_bool, (c_void_p,))
        for kind in "htb"
        for step in ("begin", "commit", "abort")
    },
    **{f"tc{kind}dbfwmkeys": (c_void_p, (c_void_p, c_char_p, c_int, c_int)) for kind in "htb"},
    "tchdboptimize": (c_bool, (c_void_p, c_int64, c_int8, c_int8, c_int)),
    "tctdboptimize": (c_bool, (c_void_p, c_int64, c_int8, c_int8, c_int)),
    "tcbdboptimize": (c_bool, (c_void_p, c_int32, c_int32, c_int64, c_int8, c_int8, c_int)),
    "tctdbsetindex": (c_bool, (c_void_p, c_char_p, c_int)),
    "tctdbqrysearch": (c_void_p, (c_void_p,)),
    "tctdbqrysearchout": (c_bool, (c_void_p,)),
    "tctdbmetasearch": (c_void_p, (ctypes.POINTER(c_void_p), c_int, c_int)),
    "tcbdbrange": (
        c_void_p,
        (c_void_p, c_char_p, c_int, c_bool, c_char_p, c_int, c_bool, c_int),
    ),
}
_QUICK_FUNCTIONS: Final[Mapping[str, tuple[Any, tuple[Any, ...]]]] = {
    "tcfree": (None, (c_void_p,)),
    "tcpathunlock": (c_bool, (c_char_p,)),
    "tcerrmsg": (c_char_p, (c_int,)),
    **{f"tc{kind}dbnew": (c_void_p, ()) for kind in "htb"},
    **{f"tc{kind}dbecode": (c_int, (c_void_p,)) for kind in "htb"},
    **{f"tc{kind}dbsetmutex": (c_bool, (c_void_p,)) for kind in "htb"},
    **{f"tc{kind}dbrnum": (c_uint64, (c_void_p,)) for kind in "htb"},
    **{f"tc{kind}dbfsiz": (c_uint64, (c_void_p,)) for kind in "htb"},
    **{f"tc{kind}dbout": (c_bool, _KEY) for kind in "htb"},
    **{f"tc{kind}dbsetxmsiz": (c_bool, (c_void_p, c_int64)) for kind in "htb"},
    "tchdbsetcache": (c_bool, (c_void_p, c_int32)),
    "tcbdbsetcache": (c_bool, (c_void_p, c_int32, c_int32)),
    "tctdbsetcache": (c_bool, (c_void_p, c_int32, c_int32, c_int32)),
    "tchdbtune": (c_bool, (c_void_p, c_int64, c_int8, c_int8, c_int)),
    "tctdbtune": (c_bool, (c_void_p, c_int64, c_int8, c_int8, c_int)),
    "tcbdbtune": (c_bool, (c_void_p, c_int32, c_int32, c_int64, c_int8, c_int8, c_int)),
    "tchdbget": (c_void_p, (*_KEY, _SIZE)),
    "tcbdbget": (c_void_p, (*_KEY, _SIZE)),
    "tctdbget": (c_void_p, _KEY),
    **{f"tchdb{name}": (c_bool, _PAIR) for name in ("put", "putkeep", "putcat")},
    **{f"tcbdb{name}": (c_bool, _PAIR) for name in ("put", "putkeep", "putcat")},
    **{f"tctdb{name}": (c_bool, (*_KEY, c_void_p)) for name in ("put", "putkeep", "putcat")},
    "tchdbiterinit": (c_bool, (c_void_p,)),
    "tchdbiternext": (c_void_p, (c_void_p, _SIZE)),
    "tctdbiterinit": (c_bool, (c_void_p,)),
    "tctdbiternext": (c_void_p, (c_void_p, _SIZE)),
    "tctdbgenuid": (c_int64, (c_void_p,)),
    "tctdbsetinvcache": (c_bool, (c_void_p, c_int64, c_double)),
    "tctdbinum": (c_int, (c_void_p,)),
    "tctdbqrynew": (c_void_p, (c_void_p,)),
    "tctdbqrydel": (None, (c_void_p,)),
    "tctdbqryaddcond": (None, (c_void_p, c_char_p, c_int, c_char_p)),
    "tctdbqrysetorder": (None, (c_void_p, c_char_p, c_int)),
    "tctdbqrysetlimit": (None, (c_void_p, c_int, c_int)),
    "tctdbqryhint": (c_char_p, (c_void_p,)),
    "tctdbqrycount": (c_int, (c_void_p,)),
    "tcbdbcurnew": (c_void_p, (c_void_p,)),
    "tcbdbcurdel": (None, (c_void_p,)),
    **{f"tcbdbcur{name}": (c_bool, (c_void_p,)) for name in ("first", "last", "next", "prev")},
    "tcbdbcurjump": (c_bool, _KEY),
    "tcbdbcurjumpback": (c_bool, _KEY),
    "tcbdbcurkey": (c_void_p, (c_void_p, _SIZE)),
    "tcbdbcurval": (c_void_p, (c_void_p, _SIZE)),
    "tcmapload": (c_void_p, (c_char_p, c_int)),
    "tcmapdump": (c_void_p, (c_void_p, _SIZE)),
    "tcmapdel": (None, (c_void_p,)),
    "tcmaprnum": (c_uint64, (c_void_p,)),
    "tcstrjoin4": (c_void_p, (c_void_p, _SIZE)),
    "tclistdump": (c_void_p, (c_void_p, _SIZE)),
    "tclistdel": (None, (c_void_p,)),
}


class Functions:
    """The functions of the library, by their names."""

    def __init__(self) -> None:
        for library, functions in ((_LONG, _LONG_FUNCTIONS), (_QUICK, _QUICK_FUNCTIONS)):
            for name, (returned, taken) in functions.items():
                function = getattr(library, name)
                function.restype, function.argtypes = returned, taken
                setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:  # for type checkers; all are set above
        raise AttributeError(name)


functions: Final = Functions()
_free = functions.tcfree
_string_at = ctypes.string_at


def message(code: int) -> str:
    """Return what the library says of an error code."""
    found = functions.tcerrmsg(code)
    return found.decode("ascii", "replace") if found else "unknown error"


def taken(pointer: int, size: int) -> bytes:
    """Return the bytes at *pointer*, and free them."""
    try:
        return _string_at(pointer, size)
    finally:
        _free(pointer)


# --- the library's own serial form of maps and lists -------------------------------------------


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of variable length; return it and where it ends."""
    value, shift = 0, 0
    while (byte := data[at]) >= 0x80:
        value += (0xFF - byte) << shift
        shift += 7
        at += 1
    return value + (byte << shift), at + 1


def _written(number: int) -> bytes:
    """Return a number in the form of variable length.

    >>> _number(_written(5), 0), _number(_written(300), 0)
    ((5, 1), (300, 2))
    """
    found = bytearray()
    while number >= 0x80:
        found.append(0xFF - (number & 0x7F))
        number >>= 7
    found.append(number)
    return bytes(found)


def loaded_map(data: bytes) -> dict[bytes, bytes]:
    """Return the map that ``tcmapdump`` wrote."""
    found: dict[bytes, bytes] = {}
    at, end = 0, len(data)
    while at < end:
        size = data[at]
        if size < 0x80:
            at += 1
        else:
            size, at = _number(data, at)
        name = data[at : at + size]
        at += size
        size = data[at]
        if size < 0x80:
            at += 1
        else:
            size, at = _number(data, at)
        found[name] = data[at : at + size]
        at += size
    return found


def taken_map(pointer: int) -> bytes | dict[bytes, bytes]:
    """Return the map at *pointer*, and free it.

    It is joined by NUL, which Python splits fast, or a dict if something inside has a NUL.
    """
    size = c_int()
    try:
        found = taken(functions.tcstrjoin4(pointer, size), size.value)
        pairs = functions.tcmaprnum(pointer)
        if found.count(b"\0") == 2 * pairs - 1 or not pairs:
            return found
        return loaded_map(taken(functions.tcmapdump(pointer, size), size.value))
    finally:
        functions.tcmapdel(pointer)


def dumped_map(columns: Mapping[bytes, bytes]) -> bytes:
    """Return what ``tcmapload`` reads.

    >>> loaded_map(dumped_map({b"a": b"1", b"b" * 200: b""})) == {b"a": b"1", b"b" * 200: b""}
    True
    """
    parts: list[bytes] = []
    for name, value in columns.items():
        parts += (_written(len(name)), name, _written(len(value)), value)
    return b"".join(parts)


def loaded_list(data: bytes) -> list[bytes]:
    """Return the list that ``tclistdump`` wrote."""
    found: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        size = data[at]
        if size < 0x80:
            at += 1
        else:
            size, at = _number(data, at)
        found.append(data[at : at + size])
        at += size
    return found


def taken_list(pointer: int | None) -> list[bytes]:
    """Return the list at *pointer*, and free it."""
    if not pointer:
        return []
    size = c_int()
    try:
        dumped = functions.tclistdump(pointer, size)
    finally:
        functions.tclistdel(pointer)
    return loaded_list(taken(dumped, size.value))
