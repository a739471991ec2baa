"""Columns: the values of one field of all records, side by side, apart from the records.

A column is a table of blocks. A block holds the keys of some hundred records, in order, and what is
stored of the field in each: one call decodes them all. It is named by the least key that it may
hold, so that blocks of one column and of another need not begin at the same records; but each
column has every record, in the order of keys.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from pymodels.errors import StorageInvalid
from pymodels.tables import Batch, View

MOST: Final = 512
"""How many records a block has at most: with more a single save writes too much."""

LARGEST: Final = 1 << 15
"""How many bytes a block has, about, at most; a single value may have more."""

FIRST: Final = b"\0"
"""The name of the first block: no key is less."""

ABSENT: Final = b""
"""What a column has of a record without the field."""

_NULL: Final = msgspec.Raw(b"\xc0")
_EMPTY: Final = msgspec.Raw(ABSENT)
_FEW: Final = 16
"""Up to how many changes of a block are made one by one."""


class Block(msgspec.Struct, array_like=True, gc=False):
    """Keys in order, the values under them, and at which positions there is none (but null)."""

    keys: list[bytes] = []
    values: list[msgspec.Raw] = []
    absent: list[int] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Block).decode


# --- reading --------------------------------------------------------------------------------


def pairs(view: View, table: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield what is stored of every record, and its key, as the entries of an index are.

    Raises ``msgspec.DecodeError`` for a damaged block.
    """
    for _, data in view.items(table, None, None, descending=False):
        block = _checked(data)
        yield from zip(map(bytes, _stored(block)), block.keys, strict=True)


def _stored(block: Block) -> list[msgspec.Raw]:
    """Return the values of a block, empty where there is none."""
    values = block.values
    for position in block.absent:
        values[position] = _EMPTY
    return values


def _checked(data: bytes) -> Block:
    block = _decode(data)
    if len(block.keys) != len(block.values) or any(
        not 0 <= position < len(block.keys) for position in block.absent
    ):
        raise msgspec.DecodeError("a block has other values than keys")
    return block


def problems(view: View, table: str) -> Iterator[str]:
    """Yield what is wrong with the blocks themselves, whatever they hold."""
    last = b""
    for name, data in view.items(table, None, None, descending=False):
        try:
            keys = _checked(data).keys
        except msgspec.DecodeError as error:
            yield f"the block from {name!r} on cannot be read: {error}"
            continue
        in_order = all(one < other for one, other in pairwise(keys))
        if not keys or not in_order or keys[0] < name or not last < keys[0]:
            yield f"the block from {name!r} on has not the keys that it should have"
        last = keys[-1] if keys else last


# --- writing --------------------------------------------------------------------------------


def change(
    batch: Batch,
    table: str,
    removed: Iterable[tuple[bytes, bytes]],
    added: Iterable[tuple[bytes, bytes]],
) -> None:
    """Take pairs of value and key out of a column, and put others in; each block is read once."""
    changes: dict[bytes, bytes | None] = {key: None for _, key in removed}
    changes |= {key: value for value, key in added}
    keys = sorted(changes)
    found: list[tuple[bytes, bool, Block, bool]] = []
    at = 0
    while at < len(keys):
        name, data, following = _block_of(batch, table, keys[at])
        upto = len(keys) if following is None else bisect_left(keys, following, at)
        try:
            block = Block() if data is None else _checked(data)
        except msgspec.DecodeError as error:
            raise StorageInvalid(
                f"the column {table!r} is damaged, and nothing was written: "
                "storage.check(repair=True) makes it anew from the records"
            ) from error
        is_end = not block.keys or block.keys[-1] < keys[at]
        _change(block, keys[at:upto], changes)
        found.append((name, data is not None, block, is_end and following is None))
        at = upto
    for name, is_there, block, grows in found:  # all was read by now, which others may keep apart
        if block.keys:
            for one, data in _pieces(name, block, grows=grows):
                batch.put(table, one, data)
        elif is_there:
            batch.delete(table, name)


def _block_of(batch: Batch, table: str, key: bytes) -> tuple[bytes, bytes | None, bytes | None]:
    """Return the block for a key: its name, what it holds, and the name of the next one."""
    here = next(iter(batch.items(table, None, key + b"\0", descending=True)), None)
    name, data = (FIRST, None) if here is None else here
    after = next(iter(batch.items(table, key + b"\0", None, descending=False)), None)
    return name, data, None if after is None else after[0]


def _change(block: Block, keys: Sequence[bytes], changes: Mapping[bytes, bytes | None]) -> None:
    values = _stored(block)
    if len(keys) <= _FEW:
        for key in keys:
            value = changes[key]
            at = bisect_left(block.keys, key)
            is_there = at < len(block.keys) and block.keys[at] == key
            if value is None:
                if is_there:
                    del block.keys[at], values[at]
            elif is_there:
                values[at] = msgspec.Raw(value)
            else:
                block.keys.insert(at, key)
                values.insert(at, msgspec.Raw(value))
    else:
        merged = dict(zip(block.keys, values, strict=True))
        for key in keys:
            value = changes[key]
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = msgspec.Raw(value)
        block.keys = sorted(merged)
        block.values = [merged[key] for key in block.keys]


def _pieces(name: bytes, block: Block, *, grows: bool) -> Iterator[tuple[bytes, bytes]]:
    """Yield the blocks that become of one, encoded; full ones where keys are added at the end."""
    keys = block.keys
    if len(keys) <= MOST:
        data = _encoded(keys, block.values)
        if len(data) <= LARGEST or len(keys) == 1:
            yield name, data
            return
    size = sum(map(len, block.values)) + sum(map(len, keys))
    if grows:
        step = max(1, min(MOST, len(keys) * LARGEST // size))
    else:  # with room to grow
        step = max(1, min(MOST // 2, len(keys) * LARGEST // (2 * size)))
    for at in range(0, len(keys), step):
        some = keys[at : at + step]
        yield name if at == 0 else some[0], _encoded(some, block.values[at : at + step])


def _encoded(keys: list[bytes], values: list[msgspec.Raw]) -> bytes:
    absent: list[int] = []
    if _EMPTY in values:
        absent = [position for position, value in enumerate(values) if not value]
        values = [value or _NULL for value in values]
    return _encode(Block(keys, values, absent))
