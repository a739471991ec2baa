"""The storage over a server of a table file."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

from pymodels.errors import SettingsError, StorageError, StorageInvalid
from pymodels.ext._tokyo.batches import TableBatch
from pymodels.ext._tokyo.storage import TableQuery, TableStorage, check_adopted
from pymodels.ext._tokyo.unfinished import BATCH, LOCK, BatchState, Columns
from pymodels.ext.tokyo_tyrant.client import RDB, Error
from pymodels.ext.tokyo_tyrant.locks import Held, LockRecord
from pymodels.ext.tokyo_tyrant.protocol import Address
from pymodels.ext.tokyo_tyrant.table import ServedTable
from pymodels.query import Query as CoreQuery

_TRIES: Final = 20
_PATIENCE: Final = 60.0
"""How many seconds to wait for others that write, at least."""


class Query(TableQuery):
    """A query over the records behind a server of Tokyo Tyrant."""


class Storage(TableStorage):
    """Records in the table file that a ``ttserver`` has open.

    Any number of clients can use it at once. A batch is whole or not at all: clients of PyModels
    take turns by a lock record, and carry out what one that died has left unfinished. Other
    programs do not know of the lock, and should write other records. There are no transactions.

    Args:
        host: where the server is.
        port: the server's port.
        socket: the path of the server's Unix socket, instead of host and port.
        timeout: how many seconds the server may take to answer.
        pool_size: how many connections there are at most.
        read_only: refuse every write.
        sync: have every batch on the server's disk before it is acknowledged, so that it survives
            the end of the server too.
        lock_seconds: for how long a batch may be under way before others think that its client
            has died.
        adopt: collections whose records other programs wrote: their keys have no prefix, and their
            columns are read as the model declares them. Tell models apart by ``must_have``.

    Raises ``SettingsError``, ``ConnectionFailed``, ``StorageInvalid`` or another ``StorageError``.
    The driver's own handle, ``storage.native``, is an ``RDB``, a client of the server.

    >>> from pymodels import get_storage
    >>> get_storage("pymodels.ext.tokyo_tyrant", socket="/nowhere.sock")
    Traceback (most recent call last):
    ...
    pymodels.errors.ConnectionFailed: tokyo tyrant /nowhere.sock cannot be reached (No such file or
    directory): see whether ttserver is running there, and whether host, port or socket are right
    """

    query_class: ClassVar[type[CoreQuery[Any]] | None] = Query
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"durable", "persistent", "processes", "unique", "nul"}
    )

    def __init__(
        self,
        *,
        host: str = "localhost",
        port: int = 1978,
        socket: str | None = None,
        timeout: float = 30.0,
        pool_size: int = 16,
        read_only: bool = False,
        sync: bool = False,
        lock_seconds: float = 15.0,
        adopt: Sequence[str] = (),
    ) -> None:
        address = _address(host, port, socket)
        for setting, flag in (("read_only", read_only), ("sync", sync)):
            if not isinstance(flag, bool):
                raise SettingsError(f"{setting} is True or False, not {flag!r}")
        for setting, seconds in (("timeout", timeout), ("lock_seconds", lock_seconds)):
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
                raise SettingsError(f"{setting} is a number of seconds above 0, not {seconds!r}")
        if type(pool_size) is not int or pool_size < 1:
            raise SettingsError(f"pool_size is a whole number from 1, not {pool_size!r}")
        check_adopted(adopt)
        where = address if isinstance(address, str) else f"{host}:{port}"
        super().__init__(name=f"tokyo tyrant {where}", read_only=read_only, adopt=adopt)
        self._client = RDB(address, timeout, pool_size, self.name)
        self._table = ServedTable(self._client, self.name, self._recover)
        self._lock = LockRecord(
            self._client, self.name, lock_seconds, max(_PATIENCE, 4 * lock_seconds)
        )
        self._sync = sync
        self._epoch: bytes | None = None
        try:
            self._check_server()
            self.check_format()
        except BaseException:
            self.close()
            raise

    def _check_server(self) -> None:
        with self._table.asking() as client:
            said = client.stat()
            if not client.misc("error"):
                raise StorageError(
                    f"{self.name} does not allow the commands of tables (misc): start ttserver "
                    "with another -mask"
                )
            kind = said.get("type")
            if kind not in ("table", None):
                raise StorageInvalid(
                    f"{self.name} serves a database of the kind {kind!r}, and records are columns "
                    "of a table: start it with a file whose name ends in .tct"
                )
            if not self.read_only:
                self._table.set_index(b"", "lexical")
            self._check_indexes(client)

    def _check_indexes(self, client: RDB) -> None:
        """Raise ``StorageInvalid`` if records are there that the index of keys does not have.

        A server that was killed leaves such a file: a part of the indexes was in its memory.
        """
        before = indexed = after = 0
        for left in reversed(range(_TRIES)):
            before, indexed, after = client.rnum(), client.indexed(), client.rnum()
            if min(before, after) <= indexed <= max(before, after):
                return
            if left:
                time.sleep(0.01)  # others may write at this moment
        raise StorageInvalid(
            f"{self.name}: the file has {after} records, and its index {indexed}: its server was "
            "killed. Stop the server, open the file once with pymodels.ext.tokyo_cabinet, which "
            "makes the indexes anew, and serve it again"
        )

    @property
    def native(self) -> Any:
        self.check_open()
        return self._client

    @property
    def revision(self) -> tuple[bytes, int]:
        return self._table.state().revision

    def table(self) -> ServedTable:
        return self._table

    def begin_batch(self) -> ServedBatch:
        with self._table.asking():
            held = self._lock.acquire()
            try:
                return ServedBatch(self, held)
            except BaseException:
                with suppress(Error, OSError):
                    held.release()
                raise

    def _recover(self) -> None:
        """Carry out the batch that a client has left unfinished, if it has."""
        if self.read_only:
            time.sleep(0.02)  # a client that may write will do so
        else:
            self.begin_batch().rollback()

    def note_epoch(self, state: BatchState) -> None:
        """Forget what is known of collections if somebody has emptied the file."""
        if self._epoch is not None and self._epoch != state.epoch:
            self.forget_catalogs()
        self._epoch = state.epoch

    def settled_revision(self) -> tuple[bytes, int]:
        state = self._table.settled()
        self.note_epoch(state)
        return state.revision

    def read_at(self, keys: Sequence[bytes]) -> tuple[Sequence[Columns | None], Any]:
        found, state = self._table.get_at(keys)
        return found, state.revision

    # --- the file as a whole ----------------------------------------------------------------

    def sync(self) -> None:
        """Have everything that was written on the server's disk."""
        self.check_writable()
        with self._table.asking() as client:
            client.sync()

    def copy_file(self, path: str) -> None:
        """Copy the file to *path* on the server's machine, while it is in use: a hot backup."""
        self.check_open()
        with self._table.asking() as client:
            client.copy(path)

    def optimize(self) -> None:
        """Lay the file out anew, without the holes that deleted records left."""
        self.check_writable()
        with self._table.asking() as client:
            client.optimize()

    def vanish(self) -> None:
        """Remove everything from the file, what other programs wrote as well."""
        self.check_writable()
        turn = self.write_lock.acquire()
        try:
            batch = self.begin_batch()
            try:
                batch.remove_everything()
            finally:
                batch.end()
            self.forget_catalogs()
        finally:
            turn.release()

    def close(self) -> None:
        if not self.closed:
            self.closed = self._table.closed = True
            self._client.close()


class ServedBatch(TableBatch):
    """A batch for a served file; the lock is held until it ends."""

    storage: Storage

    def __init__(self, storage: Storage, held: Held) -> None:
        super().__init__(storage)
        self._held = held
        self._served = storage.table()
        self._sync = storage._sync
        self.state = self._finished(self._served.state())
        storage.note_epoch(self.state)

    def _finished(self, state: BatchState) -> BatchState:
        """Carry out what was left unfinished."""
        if not state.pending:
            return state
        after = BatchState(state.number, state.epoch)
        self._served.carry_out(state.pending, after)
        return after

    def apply(self) -> None:
        served = self._served
        for column, kind in self.new_indexes.items():
            served.set_index(column, kind)
        self._held.check()
        changes = list(self.changes.items())
        after = BatchState(self.state.number + 1, self.state.epoch)
        if len(changes) > 1 or changes[0][1] is None:
            served.store_state(BatchState(after.number, after.epoch, changes))
        served.carry_out(changes, after)
        if self._sync:
            with served.asking() as client:
                client.sync()
            served.check_kept(changes)

    def remove_everything(self) -> None:
        """Remove all records but the lock, which the command of that name would remove too."""
        epoch = uuid.uuid4().hex.encode()
        with self._served.asking() as client:
            keys = [key for key in client.fwmkeys(b"") if key not in (BATCH, LOCK)]
        self._held.check()
        after = BatchState(self.state.number + 1, epoch)
        self._served.carry_out([(key, None) for key in keys], after)

    def end(self) -> None:
        with suppress(Error, OSError):  # others take it over
            self._held.release()


def _address(host: Any, port: Any, socket: Any) -> Address:
    if socket is not None:
        if not isinstance(socket, str) or not socket:
            raise SettingsError(f"socket is the path of a Unix socket, not {socket!r}")
        return socket
    if not isinstance(host, str) or not host:
        raise SettingsError(f"host is the name of a machine, not {host!r}")
    if type(port) is not int or not 0 < port < 65536:
        raise SettingsError(f"port is a number from 1 to 65535, not {port!r}")
    return host, port
