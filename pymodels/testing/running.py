"""How the suite runs things at once: in threads, in forked children, in processes of their own."""

from __future__ import annotations

import importlib.util
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

_PATIENCE: Final = 120.0
"""Seconds after which something that hangs is a failure; nothing here comes near to it."""

_LEAVE: Final = 10.0
"""Seconds that a child has to end once it has said what it had to say."""


def in_threads(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run all of *works* at once; return what they returned, or raise what one of them raised."""
    start = threading.Barrier(len(works))
    results: list[Any] = [None] * len(works)
    errors: list[BaseException] = []

    def run(position: int, work: Callable[[], Any]) -> None:
        try:
            start.wait(_PATIENCE)
            results[position] = work()
        except BaseException as error:  # noqa: BLE001  # raised again in the test's own thread
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=(position, work), daemon=True)
        for position, work in enumerate(works)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
    if errors:
        raise errors[0]
    if any(thread.is_alive() for thread in threads):
        raise TimeoutError("a thread of this test is still at work: it seems to hang")
    return results


class Child:
    """A forked child that does some work, and sends back what that returned or raised.

    It begins when ``go()`` is called, at once unless *waits*.
    """

    def __init__(self, work: Callable[[], Any], *, waits: bool = False) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        result, send = os.pipe()
        wake, self._go = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(result)
            os.close(self._go)
            _work_and_exit(work, wake, send)
        os.close(send)
        os.close(wake)
        self._result = result
        if not waits:
            self.go()

    def go(self) -> None:
        """Let the child begin."""
        os.write(self._go, b"!")
        os.close(self._go)

    def result(self) -> Any:
        """Wait for the child, and return what its work returned; raise if it failed or died."""
        data = bytearray()
        while True:
            readable, _, _ = select.select([self._result], [], [], _PATIENCE)
            if not readable:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                os.close(self._result)
                raise TimeoutError("a forked child of this test seems to hang")
            chunk = os.read(self._result, 1 << 16)
            if not chunk:
                break
            data += chunk
        os.close(self._result)
        code = self._exit_code()
        if code < 0:
            raise ChildProcessError(f"a child was killed by {signal.Signals(-code).name}")
        if not data:
            raise ChildProcessError(f"a child ended with {code} and said nothing")
        succeeded, value = pickle.loads(bytes(data))  # noqa: S301  # our own child wrote it
        if not succeeded:
            raise AssertionError(f"in a forked child:\n{value}")
        return value

    def _exit_code(self) -> int:
        """Wait for the end of the child, and bring it about if need be.

        What measures coverage saves that when a process ends, and may wait for ever then: for a
        lock that another thread of the parent held at the moment of the fork.
        """
        latest = time.monotonic() + _LEAVE
        while True:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > latest:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                return 0
            time.sleep(0.002)


def _work_and_exit(work: Callable[[], Any], wake: int, send: int) -> NoReturn:
    try:
        os.read(wake, 1)
        try:
            answer: tuple[bool, Any] = (True, work())
        except BaseException:  # noqa: BLE001  # sent to the parent, which fails
            answer = (False, traceback.format_exc())
        with os.fdopen(send, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
    finally:
        os._exit(0)


def in_child(work: Callable[[], Any]) -> Any:
    """Run *work* in a forked child and return what it returned."""
    return Child(work).result()


class Signal:
    """Something that one process tells another one, made before the fork that parts them."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def give(self) -> None:
        """Tell it."""
        os.write(self._write, b"!")

    def wait(self) -> None:
        """Wait until the other process tells it."""
        readable, _, _ = select.select([self._read], [], [], _PATIENCE)
        if not readable:
            raise TimeoutError("another process of this test seems to hang")
        os.read(self._read, 1)

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)


class Opener:
    """Opens a test class's storage in a process that was not forked from this one.

    It can be pickled: it finds the class again by its file, wherever that was imported from.
    """

    def __init__(self, tests: object, path: Path) -> None:
        made = type(tests)
        self._module = made.__module__
        self._file = getattr(sys.modules[made.__module__], "__file__", None)
        self._name = made.__qualname__
        self._path = path

    def open(self) -> Any:
        """Return the storage, opened once more."""
        module = sys.modules.get(self._module)
        if module is None:
            spec = importlib.util.spec_from_file_location(self._module, str(self._file))
            if spec is None or spec.loader is None:
                raise ImportError(f"{self._file} cannot be imported by another process")
            module = importlib.util.module_from_spec(spec)
            sys.modules[self._module] = module
            spec.loader.exec_module(module)
        found: Any = module
        for name in self._name.split("."):
            found = getattr(found, name)
        return found().reopen(self._path)
