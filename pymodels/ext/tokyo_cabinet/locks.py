"""Many readers or one writer, among the threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadersOrWriter:
    """A lock that many threads hold to read, or one to write; a waiting writer goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._readers = 0
        self._writing = False
        self._waiting = 0

    def __enter__(self) -> None:
        """Begin to read."""
        with self._changed:
            while self._writing or self._waiting:
                self._changed.wait()
            self._readers += 1

    def __exit__(self, *error: object) -> None:
        """End reading."""
        with self._changed:
            self._readers -= 1
            if not self._readers and self._waiting:
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Wait for all readers, and keep others out."""
        with self._changed:
            self._waiting += 1
            while self._writing or self._readers:
                self._changed.wait()
            self._waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
