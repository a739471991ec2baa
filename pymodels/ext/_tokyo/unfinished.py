"""The record that counts batches, and holds the one that is being carried out through a server.

A server knows no transactions. So a batch of several changes is first written down here, as one
record and so whole or not at all; then it is carried out; then the note is removed. Whoever comes
after a client that died in between carries out what is noted, which is the same however often.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

BATCH: Final = b":batch"
"""The key of the record."""

LOCK: Final = b":lock"
"""The key of the record that says which client writes; see ``tokyo_tyrant``."""

Columns = dict[bytes, bytes]

_Noted = list[tuple[bytes, dict[bytes, bytes] | None]]
_decoder: Final = msgspec.msgpack.Decoder(_Noted)


@dataclass(frozen=True, slots=True)
class BatchState:
    """How many batches there were, since when they are counted, and what is not yet carried out."""

    number: int = 0
    epoch: bytes = b""
    pending: Sequence[tuple[bytes, Columns | None]] = ()

    @property
    def revision(self) -> tuple[bytes, int]:
        """A value that is another one after every batch."""
        return self.epoch, self.number

    def columns(self) -> Columns:
        """Return the columns of the record.

        >>> state = BatchState(7, b"e", [(b"k", {b"name": b"Ann"}), (b"l", None)])
        >>> read_state(state.columns()) == state
        True
        """
        found = {b"number": b"%d" % self.number}
        if self.epoch:
            found[b"epoch"] = self.epoch
        if self.pending:
            found[b"pending"] = base64.b64encode(msgspec.msgpack.encode(list(self.pending)))
        return found


def read_state(columns: Mapping[bytes, bytes] | None) -> BatchState:
    """Return what the columns of the record say."""
    if columns is None:
        return BatchState()
    pending = columns.get(b"pending")
    return BatchState(
        int(columns.get(b"number", b"0")),
        columns.get(b"epoch", b""),
        _decoder.decode(base64.b64decode(pending)) if pending else (),
    )


def finishing(state: BatchState, *, locked: bool) -> dict[bytes, Columns | None]:
    """Return what to write to a file that no server has any more, so that nothing is left over."""
    found: dict[bytes, Columns | None] = dict(state.pending)
    if state.pending:
        found[BATCH] = BatchState(state.number, state.epoch).columns()
    if locked:
        found[LOCK] = None
    return found
