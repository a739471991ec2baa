"""What a transaction reads: the database as it was at its first reading.

A snapshot session of the server, and no transaction of it: nothing is locked and nothing written
while a program thinks, and a reading is done again where a connection was lost. What was written
inside is kept here, and written at the end by one transaction of the server, which also finds out
whether others have changed what was read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pymongo import errors as driver
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from pymodels.changes import Change, Revision
from pymodels.conditions import Condition
from pymodels.errors import Conflict, TransactionsUnsupported
from pymodels.ext.mongodb import client as clients
from pymodels.ext.mongodb import reading, shapes
from pymodels.ext.mongodb.codec import Bson
from pymodels.keys import KeyKind
from pymodels.planning import Pair, Plan
from pymodels.schema import Schema
from pymodels.storage import Prepared, ended
from pymodels.storage import Storage as CoreStorage
from pymodels.transactions import Transaction as CoreTransaction

if TYPE_CHECKING:
    from pymodels.ext.mongodb.storage import Storage

_SNAPSHOTS_SINCE: Final = 13
"""The version of the wire protocol that MongoDB 5.0 speaks."""

_TOO_OLD: Final = 239
_UNAVAILABLE: Final = 246


class Transaction(CoreTransaction):
    """A transaction on MongoDB, which reads from one snapshot."""

    def __init__(self, storage: Storage, hello: Mapping[str, Any]) -> None:
        self._snapshot = Snapshot(storage, hello)
        super().__init__(self._snapshot)

    def prepare(self, changes: Sequence[Change] | None = None) -> Prepared:
        if changes is None:
            self._snapshot.close()  # what was read is compared with what is there now
        return super().prepare(changes)

    def rollback(self) -> None:
        super().rollback()
        self._snapshot.close()

    def check_key_kind(self, schema: Schema) -> None:
        self._snapshot.check_key_kind(schema)
        if not self._snapshot.has_keys(schema):  # unless some were written here
            super().check_key_kind(schema)


class Snapshot(CoreStorage):
    """The storage as it was when it was first read through this; once closed, as it is."""

    codec = Bson()
    capabilities: ClassVar[frozenset[str]] = frozenset({"transactions", "snapshot"})

    def __init__(self, storage: Storage, hello: Mapping[str, Any]) -> None:
        super().__init__(name=storage.name, read_only=storage.read_only)
        if hello.get("maxWireVersion", 0) < _SNAPSHOTS_SINCE:
            raise TransactionsUnsupported(
                f"{storage.name}: transactions read from one snapshot, for which the server has to "
                "be MongoDB 5.0 or later"
            )
        self._storage = storage
        self._now = hello.get("operationTime")
        self._session: Any = None
        self._pid = os.getpid()

    @property
    def home(self) -> CoreStorage:
        return self._storage

    @property
    def native(self) -> Any:
        return self._storage.native

    @property
    def revision(self) -> Any:
        return self._storage.revision

    def check_open(self) -> None:
        self._storage.check_open()

    # --- reading ----------------------------------------------------------------------------

    def read(self, schema: Schema, keys: Sequence[Any]) -> Sequence[Any | None]:
        self.check_open()
        with self._named_errors(schema):
            return reading.read(self._storage, schema, keys, self._begun(schema))

    def scan(self, plan: Plan) -> Iterator[Pair]:
        self.check_open()
        self.check_key_kind(plan.schema)
        return self._rows(plan)

    def check_key_kind(self, schema: Schema) -> None:
        with self._named_errors(schema):
            self._storage.check_key_kind(schema, self._begun(schema))

    def _rows(self, plan: Plan) -> Iterator[Pair]:
        with self._named_errors(plan.schema):
            for pair in reading.rows(self._storage, plan, self._begun(plan.schema)):
                yield pair
                if self.closed:
                    raise ended("at its end, and so is this iteration")

    def plan(self, schema: Schema, condition: Condition, **options: Any) -> Plan:
        return self._storage.plan(schema, condition, **options)

    def explain(self, plan: Plan) -> Mapping[str, Any]:
        return self._storage.explain(plan)

    def collections(self) -> Mapping[str, KeyKind]:
        return self._storage.collections()

    def has_keys(self, schema: Schema) -> bool:
        """Tell whether a collection is known to have records, and so keys of one kind."""
        return self._storage.has_keys(schema)

    def _begun(self, schema: Schema) -> Any:
        """Return the session, begun with the first reading; None once it is closed."""
        storage = self._storage
        shapes.refuse_transactions(storage.name, storage.collection(schema), storage.shape(schema))
        if self._session is None and not self.closed:
            if self._storage.write_concern.document.get("w", "majority") != "majority":
                self._catch_up()
            self._session = self._storage.client.start_session(snapshot=True)
        return self._session

    def _catch_up(self) -> None:
        """Wait until a majority has what was there when the transaction began.

        A snapshot has what a majority has, and so would lack what was acknowledged by fewer.
        """
        if self._now is None:
            return
        with self._storage.client.start_session(causal_consistency=True) as session:
            session.advance_operation_time(self._now)
            self._storage.native.get_collection(
                "_pymodels.unique",
                read_concern=ReadConcern("majority"),
                read_preference=ReadPreference.PRIMARY,
            ).find_one({}, {"_id": 1}, session=session)

    @contextmanager
    def _named_errors(self, schema: Schema) -> Iterator[None]:
        with self._storage.named_errors():
            try:
                yield
            except driver.OperationFailure as error:
                if error.code == _TOO_OLD:
                    why = (
                        "this transaction has been open for longer than the server keeps older "
                        "states (five minutes, unless minSnapshotHistoryWindowInSeconds says "
                        "otherwise)"
                    )
                elif error.code == _UNAVAILABLE:
                    why = "the collection, or an index, was made while this transaction was open"
                else:
                    raise
                raise Conflict(
                    f"{schema.collection}: {why}; begin it again", schema.collection
                ) from error

    # --- what is done to the storage itself ---------------------------------------------------

    def expectation(self, stored: Any) -> Revision:
        return self._storage.expectation(stored)

    def prepare(self, changes: Sequence[Change]) -> Prepared:
        return self._storage.prepare(changes)

    def write(self, changes: Sequence[Change]) -> None:
        self._storage.write(changes)

    def close(self) -> None:
        self.closed = True
        session, self._session = self._session, None
        if session is None:
            return
        if self._pid == os.getpid():
            session.end_session()
        else:
            clients.keep(session)
