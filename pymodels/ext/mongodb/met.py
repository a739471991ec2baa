"""Which keys an iteration has met: in memory while they are few, in a temporary file beyond."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from pymodels.errors import StorageFull

HELD: Final = 20_000
"""How many keys are held in memory, at some 100 bytes each."""

_CACHE: Final = 8_000
"""How many kB of the file are held in memory."""


class MetKeys:
    """The keys that one iteration has met, in constant memory.

    Args:
        encode: makes bytes of a key.
        name: the storage's, for messages.

    >>> met = MetKeys(str.encode, "here")
    >>> [met.is_new(key) for key in ("a", "b", "a")]
    [True, True, False]
    """

    def __init__(self, encode: Callable[[Any], bytes], name: str) -> None:
        self._encode = encode
        self._name = name
        self._keys: set[Any] = set()
        self._file: sqlite3.Connection | None = None

    def is_new(self, key: Any) -> bool:
        """Tell whether *key* is met for the first time, and note it.

        Raises ``StorageFull`` if the temporary file cannot be written.
        """
        keys = self._keys
        if self._file is None:
            before = len(keys)
            keys.add(key)
            if len(keys) == before:
                return False
            if before < HELD:
                return True
        try:
            if self._file is None:
                self._file = _opened()
                rows = [(one,) for one in sorted(map(self._encode, keys))]
                self._file.executemany("insert into met values (?)", rows)
                keys.clear()
                return True
            row = (self._encode(key),)
            return self._file.execute("insert or ignore into met values (?)", row).rowcount == 1
        except sqlite3.Error as error:
            raise StorageFull(
                f"{self._name}: an iteration over more than {HELD:,} records, in another order "
                f"than that of their keys, notes in a temporary file which it has met: {error}. "
                "Make room where temporary files are, or let TMPDIR name another folder"
            ) from error

    def close(self) -> None:
        """Forget the keys, and the file."""
        self._keys.clear()
        if self._file is not None:
            self._file.close()


def _opened() -> sqlite3.Connection:
    """Open a file that has no name, and that nobody reads after this process."""
    file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for setting in ("journal_mode = off", "synchronous = off", f"cache_size = -{_CACHE}"):
        file.execute(f"pragma {setting}")
    file.execute("create table met (key blob primary key) without rowid")
    file.execute("begin")  # or every key would be written out by itself
    return file
