"""The contract between the core and a backend, and everything that a backend gets for it.

A backend is a module with two classes, ``Storage`` and ``Query``. Its storage writes five methods
(``read``, ``scan``, ``write``, ``collections``, ``close``) and inherits the rest, each of which it
may override for speed or strength.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, overload

from pymodels import conditions, persistence, rewriting
from pymodels.active import ACTIVE
from pymodels.capabilities import Capability
from pymodels.changes import Change, Delete, Revision, StoredPath
from pymodels.codecs import Codec
from pymodels.conditions import EVERYTHING
from pymodels.errors import (
    RecordNotFound,
    StorageClosed,
    StorageReadOnly,
    TransactionError,
    TransactionsUnsupported,
    Unsupported,
    UsageError,
)
from pymodels.keys import KeyKind, other_keys
from pymodels.messagepack import MessagePack
from pymodels.overlays import Overlay, changes_in
from pymodels.planning import Pair, Plan, execute, finish, make_plan, matcher
from pymodels.schema import Place, Schema, schema_of

if TYPE_CHECKING:
    from pymodels.columns import Column
    from pymodels.expressions import Operation
    from pymodels.models import Model
    from pymodels.query import Query
    from pymodels.transactions import Transaction
    from pymodels.watching import Feed

M = TypeVar("M", bound="Model")
D = TypeVar("D")

_MISSING: Final[Any] = object()


class Opened:
    """What every storage is; asking that of a plain class is quicker than of an abstract one."""

    __slots__ = ()


class Storage(Opened, ABC):
    """A place where records live.

    ``name`` says in messages which one it is, without credentials. ``bool(storage)`` is always
    true, ``len(storage)`` counts all its records. As a context manager it closes itself.
    """

    codec: Codec = MessagePack()
    query_class: ClassVar[type[Query[Any]] | None] = None
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    is_transaction: ClassVar[bool] = False
    may_declare: ClassVar[frozenset[Capability]] = frozenset()
    """What a storage declares besides with some settings only, in its own ``capabilities``."""

    def __init__(self, *, name: str, read_only: bool = False) -> None:
        self.name = name
        self.read_only = read_only
        self.closed = False
        self.queries: dict[Any, Query[Any]] = {}
        self.met: dict[str, set[Any]] = {}  # the models it was used with, by their collections
        self.supported: dict[Schema, Any] = {}  # what may be saved here, with its indexes
        self._loaders: dict[Schema, Callable[[Any, Any], Any]] = {}
        # Of models with text as keys that demand nothing of their records, for ``Query.get``.
        self.decoders: dict[Schema, Callable[[Any], Any]] = {}
        self._matchers: dict[Schema, Callable[[Any, Any], bool]] = {}

    # --- what a backend writes --------------------------------------------------------------

    @abstractmethod
    def read(self, schema: Schema, keys: Sequence[Any]) -> Sequence[Any | None]:
        """Return the stored forms under *keys*, in their order, None for a key without a record."""

    @abstractmethod
    def scan(self, plan: Plan) -> Iterator[Pair]:
        """Yield (key, stored form) of the records that ``plan.native`` finds.

        Sorted as ``plan.native_order`` says, if it says anything; without the first ``plan.skip``
        and at most ``plan.most`` of them. Survives writes made while it runs.
        """

    @abstractmethod
    def write(self, changes: Sequence[Change]) -> None:
        """Write one batch; or write nothing, and raise what a failed expectation calls for."""

    @property
    def stamp(self) -> int | None:
        """A number that no other state of the storage ever has, if it has such a thing at hand."""
        return None

    def prepare_overlays(self, overlays: Sequence[Overlay], since: int | None) -> Prepared:
        """Prepare what a transaction made of the records that it found, if they are as they were.

        As changes, unless a storage has a quicker way. Nothing has to be looked at again if the
        ``stamp`` is still *since*, that from before anything was found.
        """
        return self.prepare(changes_in(overlays, self.codec))

    @abstractmethod
    def collections(self) -> Mapping[str, KeyKind]:
        """Return the names of the collections that hold or held records, and their kinds of key."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the storage holds; closing twice does no harm."""

    # --- what it gets -----------------------------------------------------------------------

    @property
    def native(self) -> Any:
        """The driver's own handle, for what the shared syntax does not say; None without one."""
        return None

    @property
    def revision(self) -> Any:
        """A value that is another one after every batch that was written, by whomever."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        target = self.current
        return sum(
            target.count(target.plan(_bare(name, key), conditions.EVERYTHING, unordered=True))
            for name, key in target.collections().items()
        )

    def __enter__(self) -> Self:
        self.check_open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = ", closed" if self.closed else ""
        return f"<{type(self).__module__} storage {self.name}{closed}>"

    def __reduce__(self) -> Any:
        raise UsageError(
            f"{self!r} cannot be pickled: send its settings, and open a storage where they arrive"
        )

    @property
    def current(self) -> Storage:
        """The innermost open transaction on this storage here, or the storage itself."""
        stack = ACTIVE.get()
        if not stack:
            return self
        for transaction in reversed(stack):
            if transaction.root is self and transaction.pid == os.getpid():
                return transaction
        return self

    @property
    def home(self) -> Storage:
        """The storage that records read through this one belong to."""
        return self

    def check_open(self) -> None:
        """Raise ``StorageClosed`` if it is closed."""
        if self.closed:
            raise StorageClosed(f"{self.name} is closed: open it again with get_storage(settings)")

    def check_writable(self) -> None:
        """Raise ``StorageClosed`` or ``StorageReadOnly`` if nothing can be written."""
        self.check_open()
        if self.read_only:
            raise StorageReadOnly(
                f"{self.name} was opened with read_only=True, so nothing can be written to it"
            )

    def check_change(self, change: Change) -> None:
        """Raise what the engine would, if it can never hold this change: transactions ask early."""

    def remember(self, instances: Iterable[Any]) -> None:
        """Note the state of instances before it changes; only a transaction needs that."""

    def overlay(self, schema: Schema) -> Overlay | None:
        """Return what is known of a model's collection as long as nobody else writes to it.

        Only a transaction knows such things: what it found is looked at again when it ends.
        """
        return None

    def query(self, model: type[M], *, allow_scan: bool = True) -> Query[M]:
        """Return the query of all records of *model*, of the backend's own class."""
        query = self.query_class_of()(model, self, allow_scan=allow_scan)
        self.meet(model.__schema__)
        if allow_scan:
            self.queries[model] = query  # a query never changes, so that one serves everybody
        return query

    def meet(self, schema: Schema) -> None:
        """Note that the storage is used with a model: see ``referring.rules_about``."""
        models = self.met.get(schema.collection)
        if models is None:
            models = self.met.setdefault(schema.collection, set())
        if schema.model is not None:
            models.add(schema.model)

    @classmethod
    def query_class_of(cls) -> type[Query[Any]]:
        """Return the backend's ``Query``, or the one that leaves everything to Python."""
        if cls.query_class is not None:
            return cls.query_class
        from pymodels.query import Query

        return Query

    def plan(self, schema: Schema, condition: conditions.Condition, **options: Any) -> Plan:
        """Plan a query for this storage; see ``planning.make_plan`` for the options."""
        return make_plan(self.query_class_of().native, schema, condition, **options)

    def count(self, plan: Plan) -> int:
        """Count the records that *plan* finds."""
        return sum(1 for _ in execute(self, plan))

    def count_equal(self, schema: Schema, lookup: conditions.Lookup) -> int | None:
        """Return how many records *lookup* is true of, if that is known without a plan."""
        return None

    def load_equal(self, schema: Schema, lookup: conditions.Lookup) -> list[Any] | None:
        """Return the instances of which *lookup* is true, if that takes no plan, by keys."""
        return None

    def end_of(self, schema: Schema, place: Place, *, descending: bool) -> list[Any] | None:
        """Return the least value of all records, or the greatest, if that is known without a plan.

        In a list; None, if it is not known.
        """
        return None

    def values_of(self, schema: Schema, place: Place) -> list[Any] | None:
        """Return the distinct values of all records, if they are known without a plan."""
        return None

    def run(self, plan: Plan) -> Iterator[Pair]:
        """Yield the records that *plan* asks for: what ``scan`` finds, finished in Python."""
        return finish(self, plan, self.scan(plan))

    def load_all(self, plan: Plan) -> list[Any]:
        """Return the instances of all records that *plan* asks for."""
        return list(persistence.load_each(self, plan.schema, lambda: self.run(plan)))

    def read_column(
        self, plan: Plan, place: Place, read: Callable[[Column], list[Any] | None]
    ) -> list[Any] | None:
        """Return what *read* makes of the values at *place*, if an index has what *plan* finds."""
        return None

    def values_at(self, plan: Plan, places: Sequence[Place]) -> list[list[Any]] | None:
        """Return what all records that *plan* finds have at each of *places*, None for nothing.

        None, where one has to look into the records: always, unless values are kept beside them.
        """
        return None

    def expected(self, plan: Plan) -> int | None:
        """Return how many records the engine is thought to find for *plan*, None if unknown."""
        return plan.expected

    def group(self, plan: Plan, asked: Any) -> list[tuple[Any, ...]] | None:
        """Have the engine group what *plan* finds, as ``Native.group_by`` says; None for Python.

        A row for each group, in any order: the values that it is a group by, and the result.
        """
        return None

    def explain(self, plan: Plan) -> Mapping[str, Any]:
        """Say in the engine's own terms what it runs for *plan*."""
        return {"native": plan.native, "order": plan.native_order}

    def watch(self, query: Query[M], after: str | None, wait: float | None) -> Feed[M]:
        """Begin to listen to the changes of a query's records; see ``Query.watch``."""
        raise Unsupported(
            f"{self.name}: the backend {type(self).__module__} does not tell of changes; ask for "
            "the records again"
        )

    def read_one(self, schema: Schema, key: Any) -> Any | None:
        """Return the stored form under one key, or None."""
        return self.read(schema, (key,))[0]

    def check_key_kind(self, schema: Schema) -> None:
        """Raise ``ModelError`` if a model declares other keys than its collection has.

        It is asked when a key was not found, since a record under another one would not be.
        """
        found = self.collections().get(schema.collection)
        if found is not None and found.name != schema.key.name:
            raise other_keys(schema, found.name, self.name)

    def loader(self, schema: Schema) -> Callable[[Any, Any], Any]:
        """Return the function from a key and a stored form to an instance that belongs here."""
        found = self._loaders.get(schema)
        if found is None:
            self.home.meet(schema)
            found = self._loaders[schema] = persistence.loader(self.codec, schema, self.home)
            if schema.key.type is str and schema.must is EVERYTHING and not self.is_transaction:
                self.decoders[schema] = self.codec.decoder(schema)
        return found

    def belongs(self, schema: Schema, key: Any, stored: Any) -> bool:
        """Tell whether a record is one of the view's: whether its ``must_have`` holds."""
        if schema.must is conditions.EVERYTHING:
            return True
        found = self._matchers.get(schema)
        if found is None:
            found = self._matchers[schema] = matcher(self.codec, schema, schema.must)
        return found(key, stored)

    # --- records ----------------------------------------------------------------------------

    @overload
    def get(self, model: type[M], key: Any) -> M: ...
    @overload
    def get(self, model: type[M], key: Any, default: D) -> M | D: ...
    def get(self, model: type[M], key: Any, default: Any = _MISSING) -> Any:
        """Return the record of *model* under *key*, or *default*; raise ``RecordNotFound``."""
        try:
            schema: Schema = model._schema or model.__schema__
        except AttributeError:
            schema = schema_of(model)
        if type(key) is not str or schema.key.type is not str or not key or not key.isascii():
            key = schema.check_key(key)
        target = self.current if ACTIVE.get() else self
        stored = target.read_one(schema, key)
        if stored is not None and (
            schema.must is EVERYTHING or target.belongs(schema, key, stored)
        ):
            load = target._loaders.get(schema) or target.loader(schema)
            return load(key, stored)
        if stored is None:
            target.check_key_kind(schema)
        if default is not _MISSING:
            return default
        raise RecordNotFound(f"{self.name} has no {schema.name} with the key {key!r}")

    def get_many(self, model: type[M], keys: Iterable[Any]) -> dict[Any, M]:
        """Return the records of *model* under *keys*, by key, without those that do not exist."""
        schema: Schema = schema_of(model)
        wanted = schema.check_keys(keys, "get_many")
        target = self.current
        target.home.meet(schema)
        found = target.read(schema, wanted)
        if None in found:
            target.check_key_kind(schema)
        pairs: Iterable[Pair] = zip(wanted, found, strict=True)
        if schema.must is not conditions.EVERYTHING:
            pairs = [(k, v) for k, v in pairs if v is not None and target.belongs(schema, k, v)]
        return persistence.load_by_key(target, schema, pairs)

    def save_all(self, instances: Iterable[Model], *, replace: bool = False) -> int:
        """Save new, changed and unchanged instances in one batch; return how many were written.

        With *replace* a new record may take the place of one that has its key.
        """
        if not isinstance(instances, Iterable):
            raise UsageError(f"save_all takes a list of instances, not {instances!r}")
        given = list(instances)
        for kind in set(map(type, given)):
            if not hasattr(kind, "__schema__"):
                raise UsageError(f"save_all takes instances of models, and no {kind.__name__}")
        return persistence.save(given, self, replace=replace)

    def delete_many(self, model: type[Model], keys: Iterable[Any]) -> int:
        """Delete the records of *model* under *keys* in one batch; return how many there were.

        Raises ``DeleteRefused`` if others refer to one of them and forbid it.
        """
        from pymodels import deleting

        schema: Schema = schema_of(model)
        target = self.current
        target.check_writable()
        wanted = schema.check_keys(keys, "delete_many")
        return deleting.delete_keys(target, schema, wanted)

    def keys(self, model: type[Model]) -> Iterator[Any]:
        """Yield the keys of the records of *model*, in order."""
        target = self.current
        schema: Schema = schema_of(model)
        for key, _ in execute(target, target.plan(schema, schema.must, names=frozenset())):
            yield key

    def raw(self, model: type[Model], key: Any) -> dict[str, Any]:
        """Return the record under *key* as a plain mapping, whatever the model says of it."""
        schema: Schema = schema_of(model)
        key = schema.check_key(key)
        stored = self.current.read(schema, (key,))[0]
        if stored is None:
            self.current.check_key_kind(schema)
            raise RecordNotFound(f"{self.name} has no {schema.collection} with the key {key!r}")
        return self._document(schema, key, stored)

    def raw_records(self, model: type[Model]) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield every record of the model's collection as (key, plain mapping), in key order."""
        target = self.current
        schema: Schema = schema_of(model)
        for key, stored in execute(target, target.plan(schema, conditions.EVERYTHING)):
            yield key, self._document(schema, key, stored)

    def _document(self, schema: Schema, key: Any, stored: Any) -> dict[str, Any]:
        try:
            return self.codec.document(stored)
        except self.codec.errors as error:
            raise self.codec.invalid(schema, key, stored, error) from error

    def clear(self) -> None:
        """Delete every record of every collection, in one batch."""
        target = self.current
        changes: list[Change] = []
        for name, key in target.collections().items():
            schema = _bare(name, key)
            plan = target.plan(schema, conditions.EVERYTHING, unordered=True)
            changes.extend(Delete(schema, found) for found, _ in target.scan(plan))
        target.write(changes)

    # --- many records at once ---------------------------------------------------------------

    def rewrite(self, plan: Plan, change: Callable[[Any, Any], Change | None]) -> int:
        """Write what *change* makes of each record that *plan* finds, as one batch; count them.

        Each change expects the record as it was found. When somebody else was faster, all is found
        and tried anew.
        """
        return rewriting.rewrite(self, plan, change)

    def update_found(
        self,
        plan: Plan,
        values: Mapping[StoredPath, Any],
        operations: Mapping[StoredPath, Operation],
    ) -> int | None:
        """Have the engine itself change all that *plan* finds, and count it, as one batch.

        None, where ``rewrite`` has to do it: always, unless a backend knows better.
        """
        return None

    def delete_found(self, plan: Plan) -> int | None:
        """Have the engine itself delete all that *plan* finds, and count it; None if it cannot."""
        return None

    def compose(
        self, gather: Callable[[Callable[[Plan], Iterable[Pair]]], Sequence[Change]]
    ) -> None:
        """Write, as one batch, what *gather* makes of the records that it finds.

        *gather* is given a function that runs a plan, and returns changes that expect the records
        as they were found. When somebody else was faster, it is called anew.
        """
        rewriting.compose(self, gather)

    def expectation(self, stored: Any) -> Revision:
        """Return the expectation that a record is still as it was when it was read."""
        return Revision(self.codec.revision(stored))

    # --- transactions -----------------------------------------------------------------------

    def begin(self) -> Transaction:
        """Begin a transaction, to be ended by ``commit()`` or ``rollback()``."""
        from pymodels.transactions import Transaction

        self.check_open()
        if "transactions" not in self.capabilities:
            raise TransactionsUnsupported(
                f"{self.name}: the backend {type(self).__module__} has no transactions"
            )
        return Transaction(self.current)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Return a context in which everything done with this storage is one transaction.

        It is committed at the end of the block, or rolled back by an exception. A block inside a
        block is a savepoint. ``Conflict`` at the end says that others changed what was read: do it
        all again.
        """
        return self.begin()

    def prepare(self, changes: Sequence[Change]) -> Prepared:
        """Check and stage one batch, so that only ``commit()`` is left to do, or ``rollback()``."""
        raise TransactionsUnsupported(
            f"{self.name}: the backend {type(self).__module__} cannot prepare a batch"
        )


class Prepared(ABC):
    """A batch that is checked and staged."""

    @abstractmethod
    def commit(self) -> None:
        """Make it true."""

    @abstractmethod
    def rollback(self) -> None:
        """Forget it."""


def _bare(collection: str, key: KeyKind) -> Schema:
    """Return a schema for records of which only the collection is known."""
    return Schema(None, collection, collection, key, "pk")


def resolve(storage: Any) -> Storage:
    """Return *storage*, or what it returns if it is a function; raise ``UsageError`` if neither."""
    if isinstance(storage, Opened):
        return storage  # type: ignore[return-value]  # which only a storage is
    if callable(storage) and not isinstance(storage, type):
        made = storage()
        if isinstance(made, Storage):
            return made
        raise UsageError(f"{storage!r} returned {made!r}, which is no storage")
    raise UsageError(
        f"{storage!r} is no storage: open one with get_storage(settings), or give a function that "
        "returns one"
    )


def ended(what: str) -> TransactionError:
    """Return the error for a transaction that is used after its end."""
    return TransactionError(f"this transaction is {what}; begin another with storage.transaction()")
