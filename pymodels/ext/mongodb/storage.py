"""The storage: reading and scanning, and what is settled before anything is written."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TypeVar

from pymongo import errors as driver
from pymongo.write_concern import WriteConcern

from pymodels.changes import Change, Put, StoredPath
from pymodels.errors import (
    ModelError,
    SettingsError,
    TransactionError,
    Unsupported,
)
from pymodels.expressions import Operation
from pymodels.ext.mongodb import client as clients
from pymodels.ext.mongodb import engine, grouping, indexes, reading, shapes, writing
from pymodels.ext.mongodb.codec import Bson
from pymodels.ext.mongodb.documents import from_document, key_reader, kind_of_key
from pymodels.ext.mongodb.filters import Finder
from pymodels.ext.mongodb.indexes import IndexReport
from pymodels.ext.mongodb.sessions import PreparedBatch, no_transactions, whole
from pymodels.ext.mongodb.settings import connection_settings
from pymodels.ext.mongodb.transactions import Transaction
from pymodels.ext.mongodb.unique import UniqueIndexes
from pymodels.ext.mongodb.watching import ChangeFeed
from pymodels.keys import KEY_KINDS, KeyKind
from pymodels.models import Model
from pymodels.planning import Pair, Plan, finish
from pymodels.query import Query as CoreQuery
from pymodels.schema import Schema
from pymodels.storage import Prepared
from pymodels.storage import Storage as CoreStorage
from pymodels.transactions import Transaction as CoreTransaction
from pymodels.watching import Feed

M = TypeVar("M", bound=Model)


class Query(CoreQuery[Any]):
    """A query that MongoDB answers as far as its answer is exact."""

    native = Finder()


class Waiting:
    """Which threads have prepared a batch, and would wait for themselves if they wrote another."""

    def __init__(self) -> None:
        self._threads = threading.local()

    def begin(self) -> None:
        self._threads.count = getattr(self._threads, "count", 0) + 1

    def end(self) -> None:
        self._threads.count = getattr(self._threads, "count", 1) - 1

    def check(self, name: str) -> None:
        """Raise ``TransactionError`` if this thread has prepared a batch."""
        if getattr(self._threads, "count", 0) > 0:
            raise TransactionError(
                f"{name}: this thread has prepared a batch, and would wait for itself: commit "
                "that or roll it back first"
            )


class Storage(CoreStorage):
    """Records in a MongoDB database.

    Args:
        database: the database; it is made by the first record.
        uri: where the servers are, as ``mongodb://host1,host2/?replicaSet=rs0``; or else ``host``
            and ``port``.
        host: the name of a server.
        port: its port.
        user: who asks; with ``password``, and ``auth_source``, the database that knows the user.
        password: never shown in messages.
        auth_source: by default ``admin``.
        tls: encrypt the connection; ``tls_ca_file`` names who may sign for the server.
        tls_ca_file: a file of certificates.
        collection_prefix: what the names of all collections begin with.
        read_preference: which members are read from, as ``"secondaryPreferred"``.
        read_concern: a level, as ``"majority"``.
        write_concern: how many members acknowledge a write, or ``"majority"``.
        pool_size: how many connections there are at most.
        timeout: seconds after which a server that cannot be reached is given up.
        socket_timeout: seconds after which a server that does not answer is given up; None waits.
        whole_batches: write several records as one, which takes a replica set. False writes them
            one after another on a single server, and a failure leaves those before it.
        options: whatever else the driver's client takes, by its names.
        read_only: refuse every write.

    Nothing is connected before it is needed. Raises ``SettingsError`` for wrong settings;
    whatever is asked later raises ``ConnectionFailed`` where no server can be reached.
    """

    query_class = Query
    codec = Bson()
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"transactions", "durable", "persistent", "processes", "unique", "nul", "watch"}
    )

    def __init__(
        self,
        *,
        database: str,
        uri: str | None = None,
        host: str = "localhost",
        port: int = 27017,
        user: str | None = None,
        password: str | None = None,
        auth_source: str | None = None,
        tls: bool | None = None,
        tls_ca_file: str | os.PathLike[str] | None = None,
        collection_prefix: str = "",
        read_preference: str | None = None,
        read_concern: str | None = None,
        write_concern: Any = "majority",
        pool_size: int = 100,
        timeout: float = 10,
        socket_timeout: float | None = 300,
        whole_batches: bool = True,
        options: Mapping[str, Any] | None = None,
        read_only: bool = False,
    ) -> None:
        if not isinstance(database, str) or not database or set(database) & set('/\\. "$\0'):
            raise SettingsError(
                f'database is the name of a database, without / \\ . " $ or blanks: {database!r}'
            )
        if not isinstance(collection_prefix, str):
            raise SettingsError(f"collection_prefix is text, not {collection_prefix!r}")
        if not isinstance(whole_batches, bool) or not isinstance(read_only, bool):
            raise SettingsError("whole_batches and read_only are True or False")
        self._connection, hosts = connection_settings(
            uri=uri,
            host=host,
            port=port,
            user=user,
            password=password,
            auth_source=auth_source,
            tls=tls,
            tls_ca_file=tls_ca_file,
            pool_size=pool_size,
            timeout=timeout,
            socket_timeout=socket_timeout,
            options=options,
        )
        super().__init__(name=f"mongodb {hosts}/{database}", read_only=read_only)
        self.write_concern: WriteConcern = clients.write_concern(write_concern)
        self.whole_batches = whole_batches
        self.unique = UniqueIndexes(self.codec)
        self.waiting = Waiting()
        if uri is None or not uri.startswith("mongodb+srv://"):  # which would ask the network
            self._connection.client()  # not yet connected, but what is wrong is said now
        self._database = database
        self._prefix = collection_prefix
        self._reading = {
            "read_preference": clients.read_preference(read_preference),
            "read_concern": None if read_concern is None else clients.read_concern(read_concern),
        }
        self._kinds: dict[str, str] = {}
        self._collections: tuple[Any, dict[str, Any]] = (None, {})
        self._shapes: dict[str, str] = {}

    # --- the connection ---------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """The driver's client, of this process."""
        return self._connection.client()

    @property
    def native(self) -> Any:
        """The driver's database."""
        self.check_open()
        return self.client.get_database(
            self._database, clients.OPTIONS, write_concern=self.write_concern, **self._reading
        )

    def named_errors(self) -> AbstractContextManager[None]:
        """Return a context that raises PyModels' own errors in place of the driver's."""
        return clients.named_errors(self.name, self._connection)

    def collection(self, schema: Schema) -> Any:
        """Return the driver's collection of a schema."""
        client = self._connection.client()
        known, found = self._collections
        if known is not client:
            found = {}
            self._collections = (client, found)
        collection = found.get(schema.collection)
        if collection is None:
            with self.named_errors():
                collection = self.native[self._checked_name(schema.collection)]
                self._shapes[schema.collection] = shapes.look(self.name, collection)
                found[schema.collection] = collection
        return collection

    def shape(self, schema: Schema) -> str:
        """Return what is special about a collection: "view", "capped", or "" for nothing."""
        self.collection(schema)
        return self._shapes.get(schema.collection, "")

    def name_of(self, collection: Any) -> str:
        """Return the name by which models know a collection."""
        return str(collection.name).removeprefix(self._prefix)

    def _checked_name(self, name: str) -> str:
        whole_name = self._prefix + name
        if "$" in name or "\0" in name or whole_name.startswith("system."):
            raise ModelError(
                f"{self.name}: a collection cannot be called {name!r} on MongoDB, which allows no "
                "$ and no NUL there, and no name that begins with system."
            )
        return whole_name

    def close(self) -> None:
        self.closed = True
        self._collections = (None, {})
        self._connection.close()

    @property
    def revision(self) -> Any:
        self.check_open()
        found = self.hello()
        if "lastWrite" in found:
            return found["lastWrite"]["opTime"]["ts"]
        with self.named_errors():
            counters = self.client.admin.command("serverStatus")["opcounters"]
            return tuple(counters[name] for name in ("insert", "update", "delete"))

    def collections(self) -> Mapping[str, KeyKind]:
        self.check_open()
        found: dict[str, KeyKind] = {}
        with self.named_errors():
            database = self.native
            for name in database.list_collection_names(filter={"type": "collection"}):
                if not name.startswith(self._prefix) or name.startswith("system."):
                    continue
                one = database[name].find_one({}, {"_id": 1})
                kind = None if one is None else kind_of_key(one["_id"], KEY_KINDS)
                if kind is not None:
                    found[name.removeprefix(self._prefix)] = kind
        return found

    # --- reading ----------------------------------------------------------------------------

    def read(self, schema: Schema, keys: Sequence[Any]) -> Sequence[Any | None]:
        self.check_open()
        if len(keys) == 1:
            return [self.read_one(schema, keys[0])]
        with self.named_errors():
            return reading.read(self, schema, keys, None)

    def read_one(self, schema: Schema, key: Any) -> Any | None:
        self.check_open()
        try:
            document = self.collection(schema).find_one({"_id": key})
        except driver.PyMongoError as error:
            raise clients.named(self.name, self._connection, error) from error
        return None if document is None else from_document(document)[1]

    def scan(self, plan: Plan) -> Iterator[Pair]:
        self.check_open()
        self.check_key_kind(plan.schema)
        return reading.rows(self, plan, None)

    def count(self, plan: Plan) -> int:
        if not plan.exact or plan.offset or plan.limit is not None:
            return super().count(plan)
        self.check_open()
        self.check_key_kind(plan.schema)
        with self.named_errors():
            found = reading.count(self, plan)
        return super().count(plan) if found is None else found

    def group(self, plan: Plan, asked: Any) -> list[tuple[Any, ...]] | None:
        self.check_open()
        self.check_key_kind(plan.schema)
        with self.named_errors():
            return grouping.rows(self, plan, asked)

    def explain(self, plan: Plan) -> Mapping[str, Any]:
        self.check_open()
        with self.named_errors():
            return reading.explain(self, plan)

    def check_key_kind(self, schema: Schema, session: Any = None) -> None:
        """Raise ``ModelError`` if the collection has keys of another kind than *schema*."""
        if self.has_keys(schema):
            return
        with self.named_errors():
            found = reading.collection_in(self, schema, session)
            one = found.find_one({}, {"_id": 1}, session=session)
        if one is not None:
            key_reader(schema, self.name)(one["_id"])
            self._kinds[schema.collection] = schema.key.name

    def has_keys(self, schema: Schema) -> bool:
        """Tell whether the kind of keys of a collection is known, and the one that is declared."""
        return self._kinds.get(schema.collection) == schema.key.name

    def watch(self, query: CoreQuery[M], after: str | None, wait: float | None) -> Feed[M]:
        self.check_open()
        if self.shape(query.model.__schema__) == "view":
            raise Unsupported(
                f"{self.name}: {query.model.__name__} is read from a view of the server, which "
                "tells of no changes: watch the collection that it is a view of"
            )
        return ChangeFeed(self, query, after, wait)

    # --- writing ----------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> None:
        self.check_writable()
        if not changes:
            return
        with self.named_errors(), writing.sizes_named(self, changes):
            self._settle(changes)
            if not (len(changes) == 1 and writing.write_one(self, changes[0])):
                whole(self, self._work(changes))
        if type(changes[0]) is Put:  # now there are keys, and of which kind is known
            self._kinds[changes[0].schema.collection] = changes[0].schema.key.name

    def prepare(self, changes: Sequence[Change]) -> Prepared:
        self.check_writable()
        with self.named_errors(), writing.sizes_named(self, changes):
            self._settle(changes)
            return PreparedBatch(self, self._work(changes))

    def _work(self, changes: Sequence[Change]) -> Callable[[Any], None]:
        new = writing.new_records(changes)

        def work(session: Any) -> None:
            if new is not None:
                writing.insert(self, new, session)
                return
            batch = writing.Batch(self, session)
            batch.read(changes)
            batch.apply(changes)
            batch.write()

        return work

    def _settle(self, changes: Sequence[Change]) -> None:
        """See to all that a transaction cannot do: indexes, and the kinds of keys."""
        self.waiting.check(self.name)
        for schema in {id(change.schema): change.schema for change in changes}.values():
            if self.shape(schema) and not any(
                change.schema.collection == schema.collection and writing.writes(change)
                for change in changes
            ):
                continue  # it is only asked whether all is as it was
            self._settle_schema(schema)

    def _settle_schema(self, schema: Schema) -> None:
        shapes.refuse_writes(self.name, self.collection(schema), self.shape(schema))
        self.check_key_kind(schema)
        self.unique.ensure(schema, self.collection(schema))

    def rewrite(self, plan: Plan, change: Callable[[Any, Any], Change | None]) -> int:
        """Find and write in one transaction of the server."""
        self.check_writable()

        def work(session: Any) -> int:
            batch = writing.Batch(self, session)
            found = list(finish(self, plan, reading.rows(self, plan, session)))
            changes = [made for pair in found if (made := change(*pair)) is not None]
            batch.found(plan.schema, found)
            batch.apply(changes, check=False)
            batch.write()
            return len(changes)

        with self.named_errors():
            self.waiting.check(self.name)
            self._settle_schema(plan.schema)
            return whole(self, work)

    def update_found(
        self,
        plan: Plan,
        values: Mapping[StoredPath, Any],
        operations: Mapping[StoredPath, Operation],
    ) -> int | None:
        return self._by_engine(plan, lambda: engine.update_found(self, plan, values, operations))

    def delete_found(self, plan: Plan) -> int | None:
        return self._by_engine(plan, lambda: engine.delete_found(self, plan))

    def _by_engine(self, plan: Plan, make: Callable[[], Any]) -> int | None:
        self.check_writable()
        with self.named_errors():
            self.waiting.check(self.name)
            self._settle_schema(plan.schema)
            work = make()
            if work is None:
                return None
            try:
                return int(work(None) if engine.is_about_one(plan) else whole(self, work))
            except engine.LeftToPython:
                return None

    # --- indexes ----------------------------------------------------------------------------

    def ensure_indexes(self, model: type[Model], *, drop: bool = False) -> IndexReport:
        """Make the indexes that *model* declares, and say how the server's differ from them.

        With *drop* those are dropped that PyModels made for a declaration that is no more, or is
        another one by now. Raises ``DuplicateKey`` where values repeat that have to be unique.
        """
        self.check_writable()
        schema: Schema = model.__schema__
        with self.named_errors():
            self._settle_schema(schema)
            found = indexes.ensure(schema, self.collection(schema), drop=drop)
            self.unique.forget()
        return found

    # --- transactions -----------------------------------------------------------------------

    def begin(self) -> CoreTransaction:
        self.check_open()
        if self.current is not self:
            return super().begin()  # a savepoint
        hello = self.hello()
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise no_transactions(self.name)
        return Transaction(self, hello)

    def hello(self) -> Mapping[str, Any]:
        """Return what the server says of itself."""
        with self.named_errors():
            found: Mapping[str, Any] = self.client.admin.command("hello")
        return found
