"""Servers of Tokyo Tyrant for tests: a real ``ttserver`` where there is one, else our own.

``PYMODELS_TEST_TYRANT`` names the program, if it is not on ``PATH``.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = os.environ.get("PYMODELS_TEST_TYRANT") or shutil.which("ttserver")

_HERE = Path(__file__).parent
_nursery: dict[int, subprocess.Popen[str]] = {}
_programs: dict[int, subprocess.Popen[bytes]] = {}


def start(host: Path | str, path: Path | str) -> int:
    """Start a server of *path* on a Unix socket; return the id of its process."""
    if PROGRAM:
        command = [PROGRAM, "-host", str(host), "-port", "0", "-thnum", "16", str(path)]
        # Python ignores the signal of a full disk, and so does its child: writing fails instead.
        program = subprocess.Popen(command, stdout=subprocess.DEVNULL, restore_signals=False)
        pid = program.pid
        _programs[pid] = program
        atexit.register(end, pid, signal.SIGKILL)
    else:
        nursery = _nursery.get(os.getpid())
        if nursery is None or nursery.poll() is not None:
            nursery = _nursery[os.getpid()] = subprocess.Popen(
                [sys.executable, "-S", str(_HERE / "tyrant_server.py"), "nursery"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            atexit.register(_close, nursery)
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        nursery.stdin.write(f"{Path.cwd()}\t{host}\t{path}\n")
        nursery.stdin.flush()
        pid = int(nursery.stdout.readline())
    _wait_for(host)
    return pid


def _close(nursery: subprocess.Popen[str]) -> None:
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.close()
    nursery.wait(10)
    nursery.stdout.close()


def _wait_for(host: Path | str) -> None:
    latest = time.monotonic() + 30
    while True:
        with socket.socket(socket.AF_UNIX) as tried:
            try:
                tried.connect(str(host))
            except OSError:
                if time.monotonic() > latest:
                    raise
                time.sleep(0.002)
            else:
                return


def end(pid: int, number: int = signal.SIGTERM) -> None:
    """End a server, and wait until it has."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)
        for _ in range(5000):
            if _is_gone(pid):
                return
            time.sleep(0.002)


def _is_gone(pid: int) -> bool:
    if pid in _programs:
        return _programs[pid].poll() is not None
    try:
        is_zombie = _state(Path(f"/proc/{pid}")) == "Z"
        # Its other threads may still be ending, and until then its files are locked.
        return is_zombie and len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
    except OSError:
        return True


def _state(process: Path) -> str:
    """Return the letter that tells what a process, or a thread, is doing."""
    return (process / "stat").read_text().rpartition(")")[2].split()[0]


class Tyrant:
    """A server of one table file; its socket lies in a folder with a short name."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.folder = Path(tempfile.mkdtemp(prefix="tt"))
        self.socket = str(self.folder / "s")
        self.pid = 0
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        Path(self.socket).unlink(missing_ok=True)
        self.pid = start(self.socket, self.path)

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it; by default so that it closes its file."""
        if self.pid:
            end(self.pid, number)
            self.pid = 0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let it do nothing for as long as the block runs; the block begins when it has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            threads = Path(f"/proc/{self.pid}/task")
            while {_state(thread) for thread in threads.iterdir()} != {"T"}:
                time.sleep(0.002)
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Return settings of a storage that it serves."""
        return {"backend": "pymodels.ext.tokyo_tyrant", "socket": self.socket, **more}

    def remove(self) -> None:
        """End it, and forget its folder."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def served(path: Path | str) -> Iterator[Tyrant]:
    """Serve a file for as long as the block runs."""
    tyrant = Tyrant(path)
    try:
        yield tyrant
    finally:
        tyrant.remove()
