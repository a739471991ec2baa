"""A table file that a server has open: reading what is whole, and carrying out batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

from pymodels.errors import (
    ConnectionFailed,
    StorageBusy,
    StorageClosed,
    StorageError,
    StorageFull,
)
from pymodels.ext._tokyo.columns import TYPES, parted
from pymodels.ext._tokyo.searching import Step, Table
from pymodels.ext._tokyo.unfinished import BATCH, BatchState, Columns, read_state
from pymodels.ext.tokyo_tyrant.client import RDB, Error, joined
from pymodels.ext.tokyo_tyrant.protocol import MOST_BYTES

_PART_BYTES: Final = 8 << 20
_PART_RECORDS: Final = 20_000
"""How much is sent at once of a batch."""

_QUICK: Final = 0.05
"""How many seconds a batch of others may be under way before it is asked whether they are alive."""


_PATIENCE: Final = 60.0
"""How many seconds to wait for a batch of others to be carried out."""


class ServedTable(Table):
    """A table file behind a server.

    Args:
        client: the server.
        name: what messages call it.
        recover: carries out what a client that died has left unfinished.
    """

    def __init__(self, client: RDB, name: str, recover: Callable[[], None]) -> None:
        self.client = client
        self.name = name
        self.closed = False
        self._recover = recover
        self._state = b"", BatchState()

    @contextmanager
    def asking(self) -> Iterator[RDB]:
        """Ask the server, and raise our errors for what goes wrong."""
        if self.closed:
            raise StorageClosed(f"{self.name} is closed: open it again with get_storage(settings)")
        try:
            yield self.client
        except StorageError:  # which are OSErrors too, and say already what is wrong
            raise
        except (Error, OSError) as error:
            fail(error, self.name)

    # --- reading ----------------------------------------------------------------------------

    def state(self) -> BatchState:
        """Return how many batches there were."""
        with self.asking() as client:
            return read_state(client.columns(BATCH))

    def settled(self) -> BatchState:
        """Return the same, as soon as no batch is half carried out."""
        started = time.monotonic()
        while True:
            found = self.state()
            if not found.pending:
                return found
            self._wait(started)

    def _wait(self, started: float) -> None:
        waited = time.monotonic() - started
        if waited > _PATIENCE:
            raise StorageBusy(
                f"{self.name}: a batch of another client has been under way for "
                f"{_PATIENCE:g} seconds. If that client has died, open the storage for writing: "
                "that carries out what it left unfinished"
            )
        if waited < _QUICK:
            time.sleep(0.001)
        else:
            self._recover()

    def get_many(self, keys: Sequence[bytes]) -> Sequence[Columns | None]:
        return self.get_at(keys)[0] if keys else []

    def get_at(self, keys: Sequence[bytes]) -> tuple[Sequence[Columns | None], BatchState]:
        """Return records as they are at one moment, between two batches, and that moment."""
        started = time.monotonic()
        while True:
            before, found, after = self._looked(keys)
            if before == after and not after.pending:
                return [found.get(key) for key in keys], after
            self._wait(started)

    def _looked(self, keys: Sequence[bytes]) -> tuple[BatchState, dict[bytes, Columns], BatchState]:
        """Return what is under *keys*, and the state of batches before and after looking."""
        with self.asking() as client:
            answer = client.misc("getlist", [BATCH, *keys, BATCH])
            if answer is None:
                raise Error(f"the server refused getlist{client.error()}")
            found: dict[bytes, Columns] = {}
            columns: Columns | None
            states: list[BatchState] = []
            for key, data in zip(answer[::2], answer[1::2], strict=True):
                if key == BATCH:
                    known = self._state  # which other threads may change meanwhile
                    if known[0] != data:
                        known = self._state = data, read_state(parted(data))
                    states.append(known[1])
                    continue
                columns = parted(data)
                if columns is None or (TYPES not in columns and not key.startswith(b":")):
                    columns = client.columns(key)  # another program's may have NUL inside
                if columns is not None:
                    found[key] = columns
        if len(states) == 1:  # it was stored in between
            states.insert(0, BatchState())
        return (states[0], found, states[-1]) if states else (BatchState(), found, BatchState())

    def ask(
        self,
        queries: Sequence[Sequence[Step]],
        order: tuple[bytes, str] | None = None,
        skip: int = 0,
        most: int | None = None,
    ) -> list[bytes]:
        steps: list[bytes] = []
        for number, query in enumerate(queries):
            if number:
                steps.append(b"next")
            steps += _conditions(query)
        with self.asking() as client:
            return client.search([*steps, *_limits(order, skip, most)], meta=len(queries) > 1)

    def hint(self, query: Sequence[Step], order: tuple[bytes, str] | None, most: int | None) -> str:
        with self.asking() as client:
            found = client.search([*_conditions(query), *_limits(order, 0, most), b"hint"])
        hint = found[-1].rpartition(b"[[HINT]]\n")[2] if found else b""
        return hint.decode("utf-8", "replace").strip()

    # --- writing ----------------------------------------------------------------------------

    def set_index(self, column: bytes, kind: str) -> None:
        """Make an index, if it is not there."""
        self.refuse_empty(column)
        with self.asking() as client:
            # With "+" an index that is there is kept, and that counts as a failure there.
            client.misc("setindex", [column, f"+{kind.upper()}".encode()])

    def store_state(self, state: BatchState) -> None:
        """Store how many batches there were, and what is to be carried out."""
        data = joined(state.columns())
        if len(data) > MOST_BYTES:
            raise StorageError(
                f"{self.name} takes batches of up to {MOST_BYTES >> 20} megabytes, and this one "
                "is larger: write it in parts"
            )
        with self.asking() as client:
            client.put(BATCH, data)

    def carry_out(self, changes: Sequence[tuple[bytes, Columns | None]], last: BatchState) -> None:
        """Do what a batch consists of, and store *last* with it; the same when done again."""
        with self.asking() as client:
            gone = [key for key, columns in changes if columns is None]
            for start in range(0, len(gone), _PART_RECORDS):
                client.changed("outlist", gone[start : start + _PART_RECORDS])
            part: list[bytes] = []
            size = 0
            for key, columns in changes:
                if columns is None:
                    continue
                data = joined(columns)
                if data.count(b"\0") != 2 * len(columns) - 1:  # another program's, with NUL inside
                    client.put_columns(key, columns)
                    continue
                part += (key, data)
                size += len(data)
                if size > _PART_BYTES or len(part) > 2 * _PART_RECORDS:
                    client.changed("putlist", part)
                    part, size = [], 0
            client.changed("putlist", [*part, BATCH, joined(last.columns())])

    def check_kept(self, changes: Sequence[tuple[bytes, Columns | None]]) -> None:
        """Raise ``StorageFull`` if the server has not what it acknowledged.

        On a full disk the library it stands on takes writes that failed for done.
        """
        for start in range(0, len(changes), _PART_RECORDS):
            part = changes[start : start + _PART_RECORDS]
            found = self._looked([key for key, _ in part])[1]
            for key, columns in part:
                if found.get(key) != columns:
                    raise StorageFull(
                        f"{self.name} has not kept the record {key!r}, which it acknowledged: is "
                        "the server's disk full?"
                    )


def _step(*parts: bytes) -> bytes:
    return b"\0".join(parts)


def _conditions(query: Sequence[Step]) -> list[bytes]:
    """Return the conditions of one query, as a server takes them."""
    return [
        _step(b"addcond", step.column, f"{step.sign}{step.operation}".encode(), step.operand)
        for step in query
    ]


def _limits(order: tuple[bytes, str] | None, skip: int, most: int | None) -> list[bytes]:
    found = []
    if order is not None:
        found.append(_step(b"setorder", order[0], order[1].encode()))
    if skip or most is not None:
        found.append(_step(b"setlimit", b"%d" % (-1 if most is None else most), b"%d" % skip))
    return found


def fail(error: Exception, name: str) -> NoReturn:
    """Raise our error for one of the client's."""
    if isinstance(error, TimeoutError):
        raise ConnectionFailed(
            f"{name} did not answer in time: see whether ttserver is at work there, or give a "
            "larger timeout. If this was a write, it may have been carried out"
        ) from error
    if isinstance(error, OSError):
        raise ConnectionFailed(
            f"{name} cannot be reached ({error.strerror or error}): see whether ttserver is "
            "running there, and whether host, port or socket are right"
        ) from error
    text = str(error)
    if any(f"{what} error" in text for what in ("trunc", "write", "read", "mmap")):
        raise StorageFull(f"{name}: {text}: is the server's disk full?") from error
    raise StorageError(f"{name}: {text}; the server's log says more") from error
