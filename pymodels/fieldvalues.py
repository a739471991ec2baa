"""What stands in a field of a stored record, as it is stored: what a column is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from pymodels.messagepack import MessagePack

UNREADABLE: Final = b"\xc7\x01\xff\x00"
"""What a column has of a record that cannot be read at all: a value that no type can be decoded
from, so that whoever comes by looks at the record itself."""


class ColumnReader:
    """Takes out of stored records what stands in some fields.

    Args:
        paths: of each column, by its number among all indexes, the field, as a path of one part.
        codec: what the records are stored in.
    """

    def __init__(self, paths: Mapping[int, tuple[str, ...]], codec: MessagePack) -> None:
        self._decoders: dict[int, Callable[[bytes], Any]] = {
            number: codec.raw_fields(path) for number, path in paths.items()
        }

    def __bool__(self) -> bool:
        return bool(self._decoders)

    def value(self, number: int, stored: bytes) -> bytes:
        """Return what a record has for one of the columns, nothing if that is absent."""
        try:
            return bytes(self._decoders[number](stored).f0)
        except msgspec.DecodeError:
            return UNREADABLE

    def beside(
        self, read: Callable[[bytes], list[Sequence[bytes]]]
    ) -> Callable[[bytes], list[Sequence[bytes]]]:
        """Return a function to what *read* returns, with what stands in the columns."""

        def read_all(stored: bytes) -> list[Sequence[bytes]]:
            found = list(read(stored))
            for number in self._decoders:
                found[number] = (self.value(number, stored),)
            return found

        return read_all
