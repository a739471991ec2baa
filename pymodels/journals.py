"""What a batch has overwritten, as bytes, so that it can be taken back after a kill."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import msgspec


def encode_journal(before: Mapping[bytes, bytes | None]) -> bytes:
    """Return the entries as they were, with a sum that tells whether all of it was written."""
    data = msgspec.msgpack.encode(list(before.items()))
    return zlib.crc32(data).to_bytes(4, "big") + data


def decode_journal(data: bytes) -> dict[bytes, bytes | None]:
    """Return what a batch has overwritten; nothing if it was killed before that was noted."""
    content = data[4:]
    if zlib.crc32(content) != int.from_bytes(data[:4], "big"):
        return {}
    pairs = msgspec.msgpack.decode(content, type=list[tuple[bytes, bytes | None]])
    return dict(pairs)
