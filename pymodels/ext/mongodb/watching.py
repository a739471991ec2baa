"""Changes of records from a change stream of the server."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pymongo import errors as driver
from pymongo.read_concern import ReadConcern

from pymodels.errors import StorageClosed, StorageError, Unsupported, UsageError
from pymodels.ext.mongodb import client as clients
from pymodels.ext.mongodb.documents import from_document, key_reader
from pymodels.ext.mongodb.values import ABSENT_MARK, EXTRA, TOUCHED
from pymodels.models import Model
from pymodels.planning import matcher
from pymodels.watching import Feed, RecordChange

if TYPE_CHECKING:
    from pymodels.ext.mongodb.storage import Storage
    from pymodels.query import Query

M = TypeVar("M", bound=Model)

_KINDS: Final[dict[str, Any]] = {
    "insert": "inserted",
    "update": "changed",
    "replace": "changed",
    "delete": "deleted",
}
_NO_CHANGE_STREAMS: Final = frozenset({40573, 20, 166})
_FORGOTTEN: Final = 286
_NO_TOKEN: Final = frozenset({9, 15, 260, 40647, 40648, 40649, 50811})
_STEP: Final = 0.5
"""How many seconds the server waits at most before it answers that there is nothing."""


class ChangeFeed(Feed[M], Generic[M]):
    """A change stream, read as records of a model."""

    def __init__(
        self, storage: Storage, query: Query[M], after: str | None, wait: float | None
    ) -> None:
        if after is not None and not isinstance(after, str):
            raise UsageError(f"watch goes on after the token of a change, not {after!r}")
        if wait is not None and (isinstance(wait, bool) or not isinstance(wait, int | float)):
            raise UsageError(f"watch waits a number of seconds, or for ever: not {wait!r}")
        self._storage = storage
        self._schema = schema = query.model.__schema__
        self._wait = wait
        self._pid = os.getpid()
        self._read_key = key_reader(schema, storage.name)
        self._load = storage.loader(schema)
        self._matches = matcher(storage.codec, schema, query.condition)
        self._never_there: set[Any] = set()
        self._touched: set[Any] = set()
        step = _STEP if wait is None else min(_STEP, max(wait, 0.001))
        with storage.named_errors():
            collection = storage.collection(schema).with_options(
                read_concern=ReadConcern("majority")
            )
            try:
                self._stream = collection.watch(
                    full_document="updateLookup",
                    start_after=None if after is None else {"_data": after},
                    max_await_time_ms=int(step * 1000) or 1,
                )
            except driver.OperationFailure as error:
                if error.code == _FORGOTTEN:
                    raise self._forgotten(error) from error
                if after is not None and error.code in _NO_TOKEN:
                    raise UsageError(
                        f"watch goes on after the token of a change, which {after!r:.60} is not"
                    ) from error
                if error.code not in _NO_CHANGE_STREAMS:
                    raise
                raise Unsupported(
                    f"{storage.name} is a single server, which tells of no changes: start it with "
                    "--replSet rs0 and call rs.initiate() once; one member is enough"
                ) from error

    @property
    def token(self) -> str | None:
        found = self._stream.resume_token
        return None if found is None else found["_data"]

    def __next__(self) -> RecordChange[M]:
        end = None if self._wait is None else time.monotonic() + self._wait
        while True:
            if self._storage.closed:
                raise StorageClosed(f"{self._storage.name} was closed while changes were read")
            if os.getpid() != self._pid:
                raise StorageError(
                    f"{self._storage.name}: this feed was begun by another process; begin one here"
                )
            with self._storage.named_errors():
                try:
                    event = self._stream.try_next() if self._stream.alive else None
                except driver.OperationFailure as error:
                    if error.code != _FORGOTTEN:
                        raise
                    raise self._forgotten(error) from error
                if event is None and not self._stream.alive:
                    raise StopIteration
            if event is not None:
                change = self._change(event)
                if change is not None:
                    return change
            elif end is not None and time.monotonic() >= end:
                raise StopIteration

    def _forgotten(self, error: Exception) -> StorageError:
        return StorageError(
            f"{self._storage.name}: the server does not remember so far back (its oplog is too "
            f"short for that): read the records of {self._schema.name} anew, and watch from now on"
        )

    def _change(self, event: Any) -> RecordChange[M] | None:
        """Return what an event is to the users of the model; None if it is nothing to them."""
        kind = _KINDS.get(event["operationType"])
        if kind is None:
            raise StorageError(
                f"{self._storage.name}: the collection {self._schema.collection} was dropped or "
                "renamed, and no more changes of it are told: begin anew"
            )
        found = event["documentKey"]["_id"]
        document = event.get("fullDocument")
        if kind == "inserted" and ABSENT_MARK in document.get(EXTRA, ()):
            self._never_there.add(found)
        if found in self._never_there:
            if kind == "deleted":
                self._never_there.discard(found)
            return None
        key, token = self._read_key(found), event["_id"]["_data"]
        if kind == "deleted":
            return RecordChange(kind, key, None, token)
        if document is None or self._is_touch(event, found):
            return None  # it is gone again, which is told next; or nothing has changed
        _, stored = from_document(document)
        if not self._matches(key, stored):
            return None
        return RecordChange(kind, key, self._load(key, stored), token)

    def _is_touch(self, event: Any, found: Any) -> bool:
        """Tell whether an update marks that a batch relies on the record, or takes that back."""
        said = event.get("updateDescription") or {"updatedFields": {}, "removedFields": ()}
        paths = {*said["updatedFields"], *said["removedFields"]}
        if found in self._touched:
            self._touched.discard(found)
            return paths <= {EXTRA, f"{EXTRA}.{TOUCHED}"}
        marked = said["updatedFields"].get(EXTRA)
        touched = f"{EXTRA}.{TOUCHED}" in paths or (isinstance(marked, dict) and TOUCHED in marked)
        if touched:
            self._touched.add(found)
        return touched

    def close(self) -> None:
        if os.getpid() == self._pid:
            with self._storage.named_errors():
                self._stream.close()
        else:
            clients.keep(self._stream)
