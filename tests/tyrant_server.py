"""A server that answers as Tokyo Tyrant's ``ttserver`` does, over the real Tokyo Cabinet.

It is written from the description of the protocol, for machines that have no ``ttserver``. What a
table can do is done by the library's abstract database (``tcadb``), as it is there.

    python tests/tyrant_server.py -host /tmp/s.sock -port 0 storage.tct

``python tests/tyrant_server.py nursery`` starts such servers as forked children, which is quicker:
it reads ``folder TAB socket TAB file`` from its input, a line each, and writes the child's process
id. The children end with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import signal
import socket
import struct
import sys
import threading
import time
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_uint64, c_void_p

MOST_BYTES = 256 << 20
MOST_ARGUMENTS = 1 << 20

PUT, PUTKEEP, PUTCAT, PUTNR, OUT, GET, MGET, VSIZ = 0x10, 0x11, 0x12, 0x18, 0x20, 0x30, 0x31, 0x38
ITERINIT, ITERNEXT, FWMKEYS = 0x50, 0x51, 0x58
SYNC, OPTIMIZE, VANISH, COPY = 0x70, 0x71, 0x72, 0x73
RNUM, SIZE, STAT, MISC = 0x80, 0x81, 0x88, 0x90

KINDS = {0: "void", 1: "on-memory hash", 2: "on-memory tree", 3: "hash", 4: "B+ tree"}
KINDS |= {5: "fixed-length", 6: "table", 7: "skeleton"}

library = ctypes.CDLL(ctypes.util.find_library("tokyocabinet") or "libtokyocabinet.so.9")

_ONE_KEY = (c_void_p, c_char_p, c_int)
_PAIR = (*_ONE_KEY, c_char_p, c_int)
for _name, _returned, _taken in (
    ("tcfree", None, (c_void_p,)),
    ("tcadbnew", c_void_p, ()),
    ("tcadbopen", c_bool, (c_void_p, c_char_p)),
    ("tcadbclose", c_bool, (c_void_p,)),
    ("tcadbput", c_bool, _PAIR),
    ("tcadbputkeep", c_bool, _PAIR),
    ("tcadbputcat", c_bool, _PAIR),
    ("tcadbout", c_bool, _ONE_KEY),
    ("tcadbget", c_void_p, (*_ONE_KEY, POINTER(c_int))),
    ("tcadbvsiz", c_int, _ONE_KEY),
    ("tcadbiterinit", c_bool, (c_void_p,)),
    ("tcadbiternext", c_void_p, (c_void_p, POINTER(c_int))),
    ("tcadbfwmkeys", c_void_p, (*_ONE_KEY, c_int)),
    ("tcadbsync", c_bool, (c_void_p,)),
    ("tcadboptimize", c_bool, (c_void_p, c_char_p)),
    ("tcadbvanish", c_bool, (c_void_p,)),
    ("tcadbcopy", c_bool, (c_void_p, c_char_p)),
    ("tcadbrnum", c_uint64, (c_void_p,)),
    ("tcadbsize", c_uint64, (c_void_p,)),
    ("tcadbomode", c_int, (c_void_p,)),
    ("tcadbmisc", c_void_p, (c_void_p, c_char_p, c_void_p)),
    ("tclistnew", c_void_p, ()),
    ("tclistpush", None, (c_void_p, c_char_p, c_int)),
    ("tclistnum", c_int, (c_void_p,)),
    ("tclistval", c_void_p, (c_void_p, c_int, POINTER(c_int))),
    ("tclistdel", None, (c_void_p,)),
):
    _function = getattr(library, _name)
    _function.restype, _function.argtypes = _returned, _taken


class Hangup(Exception):
    """What the client has sent makes no sense: the server hangs up, and says nothing."""


def taken(pointer: int | None, size: c_int) -> bytes | None:
    """Return the bytes at *pointer*, and free them."""
    if not pointer:
        return None
    data = ctypes.string_at(pointer, size.value)
    library.tcfree(pointer)
    return data


def taken_list(pointer: int) -> list[bytes]:
    """Return the list at *pointer*, and free it."""
    size, found = c_int(), []
    for number in range(library.tclistnum(pointer)):
        value = library.tclistval(pointer, number, byref(size))
        found.append(ctypes.string_at(value, size.value))
    library.tclistdel(pointer)
    return found


def sized(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def listed(items: list[bytes]) -> bytes:
    return struct.pack(">I", len(items)) + b"".join(map(sized, items))


class Server:
    """One open database, and the clients that are connected."""

    def __init__(self, path: str) -> None:
        self.path = path.partition("#")[0]
        self.database = library.tcadbnew()
        if not library.tcadbopen(self.database, os.fsencode(path)):
            raise OSError(f"{path} cannot be opened")

    def serve(self, listening: socket.socket) -> None:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def close(self) -> None:
        library.tcadbclose(self.database)

    def talk(self, connection: socket.socket) -> None:
        """Answer one client until it hangs up; it may have stopped to send before that."""
        reading = connection.makefile("rb", 1 << 16)
        with connection, reading, contextlib.suppress(Hangup, OSError):
            if connection.family == socket.AF_INET:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while head := reading.read(2):
                if len(head) < 2 or head[0] != 0xC8:
                    return
                connection.sendall(self.answer(head[1], Request(reading)))

    def answer(self, command: int, request: Request) -> bytes:
        database = self.database
        match command:
            case 0x10 | 0x11 | 0x12 | 0x18:  # put, putkeep, putcat, putnr
                key, value = request.parts(2)
                names = {PUT: "tcadbput", PUTKEEP: "tcadbputkeep", PUTCAT: "tcadbputcat"}
                store = getattr(library, names.get(command, "tcadbput"))
                done = store(database, key, len(key), value, len(value))
                return b"" if command == PUTNR else b"\0" if done else b"\1"
            case 0x20:  # out
                (key,) = request.parts(1)
                return b"\0" if library.tcadbout(database, key, len(key)) else b"\1"
            case 0x30:  # get
                found = self.get(*request.parts(1))
                return b"\1" if found is None else b"\0" + sized(found)
            case 0x31:  # mget
                pairs = [(key, self.get(key)) for key in request.list(request.number())]
                there = [(key, value) for key, value in pairs if value is not None]
                return (
                    b"\0"
                    + struct.pack(">I", len(there))
                    + b"".join(
                        struct.pack(">II", len(key), len(value)) + key + value
                        for key, value in there
                    )
                )
            case 0x38:  # vsiz
                (key,) = request.parts(1)
                size = library.tcadbvsiz(database, key, len(key))
                return b"\1" if size < 0 else b"\0" + struct.pack(">I", size)
            case 0x50:  # iterinit
                return b"\0" if library.tcadbiterinit(database) else b"\1"
            case 0x51:  # iternext
                size = c_int()
                found = taken(library.tcadbiternext(database, byref(size)), size)
                return b"\1" if found is None else b"\0" + sized(found)
            case 0x58:  # fwmkeys
                size, most = request.number(), request.signed()
                prefix = request.read(size)
                keys = library.tcadbfwmkeys(database, prefix, len(prefix), most)
                return b"\0" + listed(taken_list(keys))
            case 0x80 | 0x81:  # rnum, size
                ask = library.tcadbrnum if command == RNUM else library.tcadbsize
                return b"\0" + struct.pack(">Q", ask(database))
            case 0x88:  # stat
                return b"\0" + sized(self.stat())
            case 0x90:  # misc
                size, _options, count = request.number(), request.number(), request.number()
                if size >= 1024:
                    raise Hangup
                return self.misc(request.read(size), request.list(count))
        return b"\0" if self.whole(command, request) else b"\1"

    def whole(self, command: int, request: Request) -> bool:
        """Do what concerns the file as a whole."""
        match command:
            case 0x70:  # sync
                return library.tcadbsync(self.database)
            case 0x71:  # optimize
                return library.tcadboptimize(self.database, *request.parts(1))
            case 0x72:  # vanish
                return library.tcadbvanish(self.database)
            case 0x73:  # copy
                return library.tcadbcopy(self.database, *request.parts(1))
        raise Hangup

    def get(self, key: bytes) -> bytes | None:
        size = c_int()
        return taken(library.tcadbget(self.database, key, len(key), byref(size)), size)

    def misc(self, name: bytes, arguments: list[bytes]) -> bytes:
        given = library.tclistnew()
        for argument in arguments:
            library.tclistpush(given, argument, len(argument))
        found = library.tcadbmisc(self.database, name, given)
        library.tclistdel(given)
        return b"\1\0\0\0\0" if not found else b"\0" + listed(taken_list(found))

    def stat(self) -> bytes:
        lines = {
            "version": "1.1.41",
            "protver": "0.91",
            "time": f"{time.time():.6f}",
            "pid": os.getpid(),
            "type": KINDS[library.tcadbomode(self.database)],
            "path": self.path,
            "rnum": library.tcadbrnum(self.database),
            "size": library.tcadbsize(self.database),
            "bigend": 0,
        }
        return "".join(f"{name}\t{value}\n" for name, value in lines.items()).encode()


class Request:
    """What is left to read of one request."""

    def __init__(self, reading) -> None:
        self._reading = reading

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MOST_BYTES:
            raise Hangup
        data = self._reading.read(size)
        if len(data) < size:
            raise Hangup
        return data

    def number(self) -> int:
        return struct.unpack(">I", self.read(4))[0]

    def signed(self) -> int:
        return struct.unpack(">i", self.read(4))[0]

    def parts(self, count: int) -> list[bytes]:
        sizes = [self.number() for _ in range(count)]
        return [self.read(size) for size in sizes]

    def list(self, count: int) -> list[bytes]:
        if count > MOST_ARGUMENTS:
            raise Hangup
        return [self.read(self.number()) for _ in range(count)]


def listen(host: str, port: int) -> socket.socket:
    if port > 0:
        return socket.create_server((host, port))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(host)
    listening.listen(100)
    return listening


def run(host: str, port: int, path: str) -> None:
    """Serve one file until a signal ends it."""
    server = Server(path)
    listening = listen(host, port)

    def end(*_: object) -> None:
        server.close()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    # A signal is handled in this thread, which must not be waiting inside the library.
    threading.Thread(target=server.serve, args=(listening,), daemon=True).start()
    while True:
        signal.pause()


def nursery() -> None:
    """Start servers as they are asked for, until there is nobody left to ask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children: set[int] = set()
    for line in sys.stdin:
        folder, host, path = line.rstrip("\n").split("\t")
        child = os.fork()
        if not child:
            try:
                os.chdir(folder)
                run(host, 0, path)
            except OSError as error:
                sys.stderr.write(f"{error}\n")
            os._exit(1)
        children.add(child)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        children -= {one for one in children if os.waitpid(one, os.WNOHANG)[0]}
    for child in children:  # not yet waited for, so that nobody else has these numbers
        os.kill(child, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    if arguments == ["nursery"]:
        nursery()
        return
    settings = {"-host": "127.0.0.1", "-port": "1978"}
    while len(arguments) > 1:
        settings[arguments.pop(0)] = arguments.pop(0)
    run(settings["-host"], int(settings["-port"]), arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
