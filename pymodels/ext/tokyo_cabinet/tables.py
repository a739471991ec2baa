"""The tables of ``KeyValueStorage`` in a hash or B+ tree file: their names begin the keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Final

from pymodels.ext.tokyo_cabinet.opened import OpenBytes
from pymodels.tables import View

_CHUNK: Final = 256
"""How many keys an iteration over a B+ tree looks ahead."""


def start_of(table: str) -> bytes:
    """Return what the keys of a table begin with; no name holds NUL."""
    return table.replace("%", "%25").replace("\0", "%00").encode() + b"\0"


class FileView(View, AbstractContextManager["FileView"]):
    """The file as it is at each moment; an iteration goes on from the last key that it saw."""

    def __init__(self, file: OpenBytes) -> None:
        self.file = file

    def __exit__(self, *error: object) -> None:
        pass

    def get(self, table: str, key: bytes) -> bytes | None:
        return self.file.get(start_of(table) + key)

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        start = start_of(table)
        first = start + (low or b"")
        last = start[:-1] + b"\1" if high is None else start + high
        ordered = self.file.kind == "BTREE"
        while first < last:
            found = self.file.some_keys(start, first, last, _CHUNK, descending=descending)
            for key in found:
                value = self.file.get(key)
                if value is not None:
                    yield key[len(start) :], value
            if not ordered or len(found) < _CHUNK:
                return
            if descending:
                last = found[-1]
            else:
                first = found[-1] + b"\0"

    def count(self, table: str) -> int:
        start = start_of(table)
        return len(self.file.database.searchkeys(start))
