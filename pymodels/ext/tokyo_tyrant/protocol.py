"""One connection to a server, and the binary protocol on it: numbers big-endian, bytes by length.

A request is two bytes, of which the first is always 0xC8, and what the command takes. An answer
begins with a byte that is 0 where the command has succeeded.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

Address: TypeAlias = tuple[str, int] | str
"""A host and a port, or the path of a Unix socket."""

PUT, PUTKEEP, PUTCAT, OUT, GET, MGET, VSIZ = 0x10, 0x11, 0x12, 0x20, 0x30, 0x31, 0x38
ITERINIT, ITERNEXT, FWMKEYS = 0x50, 0x51, 0x58
SYNC, OPTIMIZE, VANISH, COPY = 0x70, 0x71, 0x72, 0x73
RNUM, SIZE, STAT, MISC = 0x80, 0x81, 0x88, 0x90

MOST_BYTES: Final = 256 << 20
"""The most bytes that a server takes as one argument; it hangs up on more."""
MOST_ARGUMENTS: Final = 1 << 20
"""The most arguments that a server takes in one request."""

_LENGTH: Final = struct.Struct(">I")
_TWO: Final = struct.Struct(">II")
_LONG: Final = struct.Struct(">Q")


def framed(command: int, *parts: bytes, numbers: Sequence[int] = ()) -> bytes:
    """Return a request: the lengths of *parts*, then *numbers*, then the parts.

    >>> framed(GET, b"key").hex(" ")
    'c8 30 00 00 00 03 6b 65 79'
    """
    lengths = [*map(len, parts), *numbers]
    head = struct.pack(f">BB{len(lengths)}I", 0xC8, command, *lengths)
    return b"".join((head, *parts))


def framed_list(command: int, items: Sequence[bytes], *, name: bytes | None = None) -> bytes:
    """Return a request with a list of arguments, each after its length.

    >>> framed_list(MISC, [b"a"], name=b"get").hex(" ")
    'c8 90 00 00 00 03 00 00 00 00 00 00 00 01 67 65 74 00 00 00 01 61'
    """
    parts = [struct.pack(">BB", 0xC8, command)]
    if name is None:
        parts.append(_LENGTH.pack(len(items)))
    else:
        parts += (struct.pack(">III", len(name), 0, len(items)), name)
    for item in items:
        parts += (_LENGTH.pack(len(item)), item)
    return b"".join(parts)


class Connection:
    """A connection that is made when it is first used, and anew after it broke."""

    def __init__(self, address: Address, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._file: Any = None
        self._poll: Any = None

    @property
    def is_open(self) -> bool:
        """Whether it was used before and, as far as can be seen, can be used again."""
        if self._socket is None:
            return False
        if self._poll.poll(0):  # nothing was asked, so that only an end can have come
            self.close()
            return False
        return True

    def connect(self) -> None:
        """Connect to the server."""
        if isinstance(self._address, str):
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.settimeout(self._timeout)
            try:
                made.connect(self._address)
            except BaseException:
                made.close()
                raise
        else:
            made = socket.create_connection(self._address, self._timeout)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = made
        self._file = made.makefile("rb")
        self._poll = select.poll()
        self._poll.register(made, select.POLLIN)

    def close(self) -> None:
        """Hang up; used again it connects again."""
        for one in (self._file, self._socket):
            if one is not None:
                one.close()
        self._file = self._socket = self._poll = None

    # --- asking, and parts of answers -------------------------------------------------------

    def send(self, request: bytes) -> None:
        """Send a request, over a new connection if there is none."""
        if self._socket is None:
            self.connect()
        assert self._socket is not None  # noqa: S101  # connect() has made it
        self._socket.sendall(request)

    def read(self, size: int) -> bytes:
        """Return the next bytes of an answer."""
        found: bytes = self._file.read(size)
        if len(found) < size:
            raise ConnectionResetError("the server hung up in the middle of an answer")
        return found

    def succeeded(self) -> bool:
        """Return what the first byte of an answer says."""
        return self.read(1) == b"\0"

    def number(self) -> int:
        """Return a number of four bytes."""
        found: int = _LENGTH.unpack(self.read(4))[0]
        return found

    def long(self) -> int:
        """Return a number of eight bytes."""
        found: int = _LONG.unpack(self.read(8))[0]
        return found

    def sized(self) -> bytes:
        """Return bytes after their length."""
        return self.read(self.number())

    def listed(self) -> list[bytes]:
        """Return a list: how many there are, and each after its length."""
        read, unpack = self.read, _LENGTH.unpack
        return [read(unpack(read(4))[0]) for _ in range(self.number())]

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Return pairs of keys and values, each after both lengths."""
        found = []
        for _ in range(self.number()):
            key, value = _TWO.unpack(self.read(8))
            found.append((self.read(key), self.read(value)))
        return found
