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
    StorageInvalid,
)
from pymodels.ext._tokyo.columns import TYPES, parted
from pymodels.ext._tokyo.native import Conjunction, Search
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


class ServedTable:
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

    def get(self, key: bytes) -> Columns | None:
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[bytes]) -> Sequence[Columns | None]:
        """Return records as they are at one moment, between two batches."""
        if not keys:
            return []
        started = time.monotonic()
        while True:
            before, found, after = self._looked(keys)
            if before == after and not after.pending:
                return [found.get(key) for key in keys]
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
                columns = parted(data)
                if key == BATCH:
                    states.append(read_state(columns))
                    continue
                if columns is None or (TYPES not in columns and not key.startswith(b":")):
                    columns = client.columns(key)  # another program's may have NUL inside
                if columns is not None:
                    found[key] = columns
        if len(states) == 1:  # it was stored in between
            states.insert(0, BatchState())
        return (states[0], found, states[-1]) if states else (BatchState(), found, BatchState())

    def search(
        self,
        prefix: bytes,
        search: Search,
        *,
        descending: bool | None,
        skip: int = 0,
        most: int | None = None,
    ) -> list[bytes]:
        self.settled()
        return self.searched(prefix, search, descending=descending, skip=skip, most=most)

    def searched(
        self,
        prefix: bytes,
        search: Search,
        *,
        descending: bool | None,
        skip: int = 0,
        most: int | None = None,
    ) -> list[bytes]:
        """Search without waiting for batches."""
        shown, cut, _ = prefix.partition(b"\0")  # the engine stops reading there
        alone = len(search.searches) == 1 and not cut
        steps: list[bytes] = []
        for number, conds in enumerate(search.searches):
            if number:
                steps.append(b"next")
            steps += _conditions(shown, conds, search.watched)
        if alone:
            if descending is not None:
                steps.append(_step("setorder", "", "STRDESC" if descending else "STRASC"))
            if skip or most is not None:
                steps.append(_step("setlimit", str(-1 if most is None else most), str(skip)))
        with self.asking() as client:
            found = client.search(steps, meta=len(search.searches) > 1)
        if alone:
            return found
        if cut:
            found = [key for key in found if key.startswith(prefix)]
        found = sorted(set(found), reverse=bool(descending))[skip:]
        return found if most is None else found[:most]

    def explain(self, prefix: bytes, search: Search) -> str:
        """Return what the engine says of how it goes about a search."""
        told = []
        for conds in search.searches:
            steps = [*_conditions(prefix, conds, search.watched), b"hint"]
            with self.asking() as client:
                found = client.search(steps)
            hint = found[-1].rpartition(b"[[HINT]]\n")[2] if found else b""
            told.append(hint.decode("utf-8", "replace").strip())
        return "\n".join(told)

    # --- writing ----------------------------------------------------------------------------

    def set_index(self, column: bytes, kind: str) -> None:
        """Make an index, if it is not there."""
        with self.asking() as client:
            if column:
                self._refuse_empty(column)
            # With "+" an index that is there is kept, and that counts as a failure there.
            client.misc("setindex", [column, f"+{kind.upper()}".encode()])

    def _refuse_empty(self, column: bytes) -> None:
        """Raise ``StorageInvalid`` for what the library would end the server at."""
        condition = _step("addcond", column.decode(), "+STREQ", "")
        found = self.client.search([condition, _step("setlimit", "1")])
        if found:
            raise StorageInvalid(
                f"{self.name}: the record {found[0]!r}, which another program wrote, has an empty "
                f"column {column.decode('utf-8', 'replace')!r}, and Tokyo Cabinet cannot index "
                "that: save it through its model, or remove the column there"
            )

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


def _step(*parts: str) -> bytes:
    return "\0".join(parts).encode()


def _conditions(prefix: bytes, conds: Conjunction, indexed: frozenset[bytes]) -> list[bytes]:
    """Return the steps of one search."""
    steps = []
    found_by_index = False
    for cond in conds:
        sign = "~" if cond.negated else ""
        if not cond.negated and cond.avoids_index(indexed):
            sign = "+"
        elif not cond.negated and cond.column in indexed:
            found_by_index = True
        operation = f"{sign}{cond.operation}".encode()
        steps.append(b"\0".join((b"addcond", cond.column, operation, cond.operand)))
    if prefix:
        # Two indexes at once would make the engine list the whole collection first.
        by_key = b"+STRBW" if found_by_index else b"STRBW"
        steps.append(b"\0".join((b"addcond", b"", by_key, prefix)))
    return steps


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
    if "write error" in text or "ftruncate" in text or "truncate" in text:
        raise StorageFull(f"{name}: {text}: is the server's disk full?") from error
    raise StorageError(f"{name}: {text}; the server's log says more") from error
