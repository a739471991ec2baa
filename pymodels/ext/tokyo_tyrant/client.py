"""A client of Tokyo Tyrant for many threads: pooled connections, and each command as a method."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pymodels.ext.tokyo_tyrant import protocol
from pymodels.ext.tokyo_tyrant.protocol import Address, Connection, framed, framed_list
from pymodels.handles import HandlePool

__all__ = ["RDB", "Error"]

R = TypeVar("R")


class Error(Exception):
    """The server could not do what it was asked; it does not say why."""


class RDB:
    """A remote database: what ``ttserver`` can do, by the names of its commands.

    A connection that broke is made anew. What was under way then is asked again only if asking
    twice is the same as asking once; for the rest, ``ConnectionError`` is raised.

    Args:
        address: a host and a port, or the path of a Unix socket.
        timeout: how many seconds an answer may take.
        pool_size: how many connections there are at most; further threads wait for one.
        name: what messages call the server.
    """

    def __init__(
        self,
        address: Address,
        timeout: float = 30.0,
        pool_size: int = 16,
        name: str = "a server",
    ) -> None:
        self.address = address
        self._size = pool_size
        self._slots = os.getpid(), threading.BoundedSemaphore(pool_size)
        self._pool = HandlePool(name, lambda: Connection(address, timeout), Connection.close)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        pid, slots = self._slots
        if pid != os.getpid():  # threads of the parent have no connections here
            slots = threading.BoundedSemaphore(self._size)
            self._slots = os.getpid(), slots
        with slots:
            connection = self._pool.take()
            try:
                yield connection
            except BaseException:
                connection.close()  # half of an answer may be left in it
                raise
            finally:
                self._pool.give_back(connection)

    def _ask(self, request: bytes, answer: Callable[[Connection], R], *, again: bool = True) -> R:
        while True:
            with self._connection() as connection:
                was_open = connection.is_open
                try:
                    connection.send(request)
                    return answer(connection)
                except ConnectionError:
                    connection.close()
                    if not (was_open and again):  # else the server may have been restarted
                        raise

    def _done(self, request: bytes, *, again: bool = True) -> bool:
        return self._ask(request, Connection.succeeded, again=again)

    def _checked(self, request: bytes, what: str) -> None:
        if not self._done(request):
            raise Error(f"the server refused {what}{self.error()}")

    # --- records of bytes; the columns of a table stand there with NUL between them ---------

    def put(self, key: bytes, value: bytes) -> None:
        """Store *value* under *key*, in place of what may be there."""
        self._checked(framed(protocol.PUT, key, value), "put")

    def putkeep(self, key: bytes, value: bytes) -> bool:
        """Store *value* under *key* unless something is there; return whether it was stored."""
        return self._done(framed(protocol.PUTKEEP, key, value), again=False)

    def putcat(self, key: bytes, value: bytes) -> None:
        """Add to what is under *key*."""
        if not self._done(framed(protocol.PUTCAT, key, value), again=False):
            raise Error(f"the server refused putcat{self.error()}")

    def out(self, key: bytes) -> bool:
        """Remove the record under *key*; return whether there was one."""
        return self._done(framed(protocol.OUT, key), again=False)

    def get(self, key: bytes) -> bytes | None:
        """Return what is under *key*, or None."""
        return self._ask(framed(protocol.GET, key), lambda c: c.sized() if c.succeeded() else None)

    def mget(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what is under *keys*, of those that are there."""

        def answer(connection: Connection) -> dict[bytes, bytes]:
            connection.succeeded()
            return dict(connection.pairs())

        return self._ask(framed_list(protocol.MGET, keys), answer)

    def vsiz(self, key: bytes) -> int | None:
        """Return how many bytes are under *key*, None if there is nothing."""
        return self._ask(
            framed(protocol.VSIZ, key), lambda c: c.number() if c.succeeded() else None
        )

    def fwmkeys(self, prefix: bytes, maximum: int = -1) -> list[bytes]:
        """Return the keys that begin with *prefix*."""

        def answer(connection: Connection) -> list[bytes]:
            connection.succeeded()
            return connection.listed()

        request = framed(protocol.FWMKEYS, prefix, numbers=[maximum & 0xFFFFFFFF])
        return self._ask(request, answer)

    def iterinit(self) -> None:
        """Begin to go through all keys; a server has one such iteration for all its clients."""
        if not self._done(framed(protocol.ITERINIT), again=False):
            raise Error(f"the server refused iterinit{self.error()}")

    def iternext(self) -> bytes | None:
        """Return the next key, None at the end."""
        return self._ask(
            framed(protocol.ITERNEXT), lambda c: c.sized() if c.succeeded() else None, again=False
        )

    # --- the database as a whole ------------------------------------------------------------

    def rnum(self) -> int:
        """Return how many records there are."""
        return self._long(protocol.RNUM)

    def size(self) -> int:
        """Return how many bytes the database has."""
        return self._long(protocol.SIZE)

    def _long(self, command: int) -> int:
        def answer(connection: Connection) -> int:
            connection.succeeded()
            return connection.long()

        return self._ask(framed(command), answer)

    def stat(self) -> dict[str, str]:
        """Return what the server says of itself."""

        def answer(connection: Connection) -> dict[str, str]:
            connection.succeeded()
            lines = connection.sized().decode("utf-8", "replace").splitlines()
            return dict(line.partition("\t")[::2] for line in lines)

        return self._ask(framed(protocol.STAT), answer)

    def sync(self) -> None:
        """Have everything written to the server's disk."""
        self._checked(framed(protocol.SYNC), "sync")

    def vanish(self) -> None:
        """Remove all records."""
        self._checked(framed(protocol.VANISH), "vanish")

    def optimize(self, parameters: str = "") -> None:
        """Lay the file out anew."""
        self._checked(framed(protocol.OPTIMIZE, parameters.encode()), "optimize")

    def copy(self, path: str) -> None:
        """Copy the file to *path* on the server's machine, while it is in use."""
        self._checked(framed(protocol.COPY, path.encode()), "copy")

    # --- tables -----------------------------------------------------------------------------

    def misc(
        self, name: str, arguments: Sequence[bytes] = (), *, again: bool = True
    ) -> list[bytes] | None:
        """Call a function of the database by its name; return its answer, None if it failed."""

        def answer(connection: Connection) -> list[bytes] | None:
            succeeded = connection.succeeded()
            found = connection.listed()
            return found if succeeded else None

        request = framed_list(protocol.MISC, arguments, name=name.encode())
        return self._ask(request, answer, again=again)

    def error(self) -> str:
        """Return what the server says of its last error, as an end of a message."""
        found = self.misc("error")
        text = found[0].decode("utf-8", "replace") if found else ""
        return f" ({text})" if text and not text.startswith("0:") else ""

    def columns(self, key: bytes) -> dict[bytes, bytes] | None:
        """Return the columns of the record under *key*, or None."""
        found = self.misc("get", [key])
        if found is None:
            return None
        return dict(zip(found[::2], found[1::2], strict=True))

    def put_columns(self, key: bytes, columns: Mapping[bytes, bytes]) -> None:
        """Store a record of columns, in place of what may be there."""
        arguments = [key]
        for name, value in columns.items():
            arguments += (name, value)
        self.changed("put", arguments)

    def changed(self, name: str, arguments: Sequence[bytes]) -> None:
        """Call a function that changes the database, and is the same when it is called twice."""
        if self.misc(name, arguments) is None:
            raise Error(f"the server refused {name}{self.error()}")

    def search(self, arguments: Sequence[bytes], *, meta: bool = False) -> list[bytes]:
        """Search a table; each argument is a step, its parts with NUL between them."""
        found = self.misc("metasearch" if meta else "search", arguments)
        if found is None:
            raise Error(f"the server refused a search{self.error()}")
        return found

    def indexed(self) -> int:
        """Return how many records there are by the index of keys, if the table has one."""
        return int(self.search([b"addcond\0\0STRBW\0", b"count"])[0])

    def remove_if(self, key: bytes, column: bytes, value: bytes) -> bool:
        """Remove a record if a column has *value*, with nobody in between; tell whether it did."""
        conditions = [
            b"\0".join((b"addcond", b"", b"STREQ", key)),
            b"\0".join((b"addcond", column, b"STREQ", value)),
        ]
        return bool(self.misc("search", [*conditions, b"get", b"out"], again=False))

    def genuid(self) -> int:
        """Return a number that this table has not given out before."""
        found = self.misc("genuid", again=False)
        if not found:
            raise Error(f"the server refused genuid{self.error()}")
        return int(found[0])


def joined(columns: Mapping[bytes, bytes]) -> bytes:
    r"""Return columns with NUL between them; none may hold one.

    >>> joined({b"name": b"Ann", b"age": b"42"})
    b'name\x00Ann\x00age\x0042'
    """
    parts: list[Any] = []
    for pair in columns.items():
        parts += pair
    return b"\0".join(parts)
