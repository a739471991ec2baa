"""A storage over one table file, whoever holds that file: this process, or a server."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from msgspec.structs import replace

from pymodels import conditions
from pymodels.changes import Change
from pymodels.concurrency import Turn, WriteLock, prepared_elsewhere
from pymodels.errors import SettingsError, StorageInvalid
from pymodels.ext._tokyo import catalog as remembered
from pymodels.ext._tokyo.batches import TableBatch, TableWriter
from pymodels.ext._tokyo.catalog import (
    CATALOG,
    FORMAT,
    FORMAT_KEY,
    Catalog,
    Columns,
    catalog_key,
    check_key_kind,
)
from pymodels.ext._tokyo.columns import column_name
from pymodels.ext._tokyo.conditions import Search
from pymodels.ext._tokyo.finding import Finding, chunked, is_page, relied_on
from pymodels.ext._tokyo.native import TableNative
from pymodels.ext._tokyo.ordering import EngineOrder, page_request
from pymodels.ext._tokyo.places import CollectionKeys
from pymodels.ext._tokyo.searching import EVERYTHING, Request, Table
from pymodels.keys import KeyKind, kind_named
from pymodels.messagepack import MessagePack
from pymodels.planning import Pair, Plan, finish, make_plan, matcher
from pymodels.query import Query
from pymodels.schema import Schema
from pymodels.storage import Prepared, Storage


def check_adopted(names: Any) -> None:
    """Raise ``SettingsError`` if *names* are no names of collections."""
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise SettingsError(f"adopt is a list of names of collections, not {names!r}")


class TableQuery(Query[Any]):
    """A query over the records in a table file."""

    native = TableNative({})


class TableStorage(Storage):
    """Records as columns of one table file."""

    query_class: ClassVar[type[Query[Any]] | None] = TableQuery
    codec = MessagePack()

    def __init__(self, *, name: str, read_only: bool, adopt: Collection[str] = ()) -> None:
        super().__init__(name=name, read_only=read_only)
        self.adopt = frozenset(adopt)
        self._places: dict[tuple[str, str], CollectionKeys] = {}
        self._catalogs: dict[str, Catalog] = {}
        self._natives: dict[str, TableNative] = {}
        self.write_lock = WriteLock(name)

    @abstractmethod
    def table(self) -> Table:
        """Return the open table."""

    @abstractmethod
    def begin_batch(self) -> TableBatch:
        """Begin to write; one batch at a time."""

    def check_format(self) -> None:
        """Raise ``StorageInvalid`` if a file was written by a later version of PyModels."""
        columns = self.table().get(FORMAT_KEY)
        version = int((columns or {}).get(b"version", b"0"))
        if version > FORMAT:
            raise StorageInvalid(
                f"{self.name} has format {version}, and this version of PyModels reads up to "
                f"{FORMAT}: install a newer PyModels"
            )

    def place(self, schema: Schema) -> CollectionKeys:
        """Return where the records of a collection are."""
        wanted = schema.collection, schema.key.name
        found = self._places.get(wanted)
        if found is None:
            foreign = schema.collection in self.adopt
            found = CollectionKeys(schema.collection, schema.key, foreign=foreign)
            self._places[wanted] = found
        return found

    # --- what is remembered -----------------------------------------------------------------

    def catalog(self, collection: str) -> Catalog | None:
        """Return what is remembered of a collection; what was seen once is not asked again."""
        known = self._catalogs.get(collection)
        if known is None:
            known = remembered.from_columns(self.table().get(catalog_key(collection)))
            if known is not None:
                self._catalogs[collection] = known
        return known

    def note_catalogs(self, catalogs: Mapping[str, Catalog]) -> None:
        """Remember what a batch has written of collections."""
        for name, known in catalogs.items():
            self._catalogs[name] = known
            self._natives.pop(name, None)

    def forget_catalogs(self) -> None:
        """Forget what was seen: others have changed the file as a whole."""
        self._catalogs.clear()
        self._natives.clear()

    def collections(self) -> Mapping[str, KeyKind]:
        self.check_open()
        self.settled_revision()
        table = self.table()
        keys = table.search(Request(CATALOG))
        found = {
            remembered.collection_name(key): kind_named(columns[b"key"].decode())
            for key, columns in zip(keys, table.get_many(keys), strict=True)
            if columns is not None
        }
        for name in sorted(self.adopt - found.keys()):
            found[name] = kind_named("text")
        return found

    # --- reading ----------------------------------------------------------------------------

    def _check_keys(self, schema: Schema) -> None:
        known = self.catalog(schema.collection)
        if known is not None:
            check_key_kind(known, schema, self.name)

    def plan(self, schema: Schema, condition: conditions.Condition, **options: Any) -> Plan:
        plan = make_plan(self._native(schema), schema, condition, **options)
        if isinstance(plan.native_order, EngineOrder) and not is_page(plan):
            # To sort all, or what several searches find, Python reads no more than the engine.
            return replace(
                plan,
                native_order=None,
                offset=plan.offset or plan.skip,
                limit=plan.limit if plan.most is None else plan.most,
                skip=0,
                most=None,
            )
        return plan

    def _native(self, schema: Schema) -> TableNative:
        name = schema.collection
        found = self._natives.get(name)
        if found is None:
            self.check_open()
            known = self.catalog(name)
            indexed, tokens = (known.indexed, known.tokens) if known else ({}, frozenset())
            found = TableNative(indexed, tokens=tokens, foreign=name in self.adopt)
            if known is not None:
                self._natives[name] = found
        return found

    def read(self, schema: Schema, keys: Sequence[Any]) -> Sequence[bytes | None]:
        self.check_open()
        self._check_keys(schema)
        place = self.place(schema)
        found = self.table().get_many([place.full(key) for key in keys])
        stored = place.stored
        return [None if columns is None else stored(columns, schema) for columns in found]

    def read_one(self, schema: Schema, key: Any) -> bytes | None:
        self.check_open()
        self._check_keys(schema)
        place = self.place(schema)
        columns = self.table().get(place.full(key))
        return None if columns is None else place.stored(columns, schema)

    def scan(self, plan: Plan) -> Iterator[Pair]:
        self.check_open()
        self._check_keys(plan.schema)
        return self._found(plan)

    def settled_revision(self) -> Any:
        """Return the revision, as soon as no batch is half carried out."""
        return self.revision

    def read_at(self, keys: Sequence[bytes]) -> tuple[Sequence[Columns | None], Any]:
        """Return the columns of several records, and a revision at which they are so."""
        return self.table().get_many(keys), self.revision

    def _found(self, plan: Plan, *, held: bool = False) -> Iterator[Pair]:
        """Yield what the engine finds; nobody else can write while the turn is *held*."""
        if plan.most == 0:
            return
        schema, known = plan.schema, self._natives.get(plan.schema.collection)
        revision = None if held else self.settled_revision()
        keys: Iterable[bytes] | None = None
        if known is self._natives.get(schema.collection):  # else others have emptied the file
            keys = Finding(self, self.table(), plan).keys()
        if keys is None:
            yield from self._in_python(plan, held=held)
            return
        place = self.place(schema)
        names = None if plan.names is None else frozenset(map(column_name, plan.names))
        again: Callable[[Any, Any], bool] | None = None
        if plan.exact and plan.native is not None and not held:
            again = matcher(self.codec, schema, plan.condition)
        left = plan.most
        for chunk in chunked(keys):
            self.check_open()
            found, then = self.read_at(chunk)
            # Others may have changed what was found since: then it has to be decided again.
            doubtful = again is not None and then != revision
            for key, columns in zip(chunk, found, strict=True):
                if columns is None:
                    continue
                own = place.own(key)
                if doubtful and again and not again(own, place.stored(columns, schema)):
                    continue
                yield own, place.stored(columns, schema, names)
                if left is not None:
                    left -= 1
                    if not left:
                        return

    def _in_python(self, plan: Plan, *, held: bool = False) -> Iterator[Pair]:
        """Yield what the engine should find, and all that it is not trusted with, looking at all.

        It was not told all that it had to know, or there are values that it cannot put in order.
        """
        everything = replace(
            plan,
            native=None,
            native_order=None,
            rest=plan.condition,
            offset=plan.skip,
            limit=plan.most,
            skip=0,
            most=None,
            names=None,
        )
        return finish(self, everything, self._found(everything, held=held))

    def all_keys(self, table: Table, schema: Schema) -> list[bytes]:
        """Return the keys in the file of all records of a collection, in order."""
        everything = Plan(schema, conditions.EVERYTHING)
        return list(Finding(self, table, everything).keys() or ())

    def count(self, plan: Plan) -> int:
        """Count by keys alone what the engine decides alone."""
        counted = isinstance(plan.native, Search) or plan.condition == conditions.EVERYTHING
        if not (counted and plan.exact) or plan.offset or plan.limit is not None:
            return super().count(plan)
        self.check_open()
        self._check_keys(plan.schema)
        self.settled_revision()
        unordered = replace(plan, native_order=None)
        found = sum(1 for _ in Finding(self, self.table(), unordered).keys() or ())
        return found if plan.most is None else min(found, plan.most)

    def explain(self, plan: Plan) -> Mapping[str, Any]:
        """Say what the engine does for a search."""
        told = dict(super().explain(plan))
        prefix, order = self.place(plan.schema).prefix, plan.native_order
        if isinstance(order, EngineOrder):
            search = plan.native or EVERYTHING
            most = plan.skip + (plan.most or 0)
            told["engine"] = self.table().explain(page_request(prefix, search, order, most))
        elif isinstance(plan.native, Search):
            told["engine"] = self.table().explain(Request(prefix, plan.native))
        return told

    # --- writing ----------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> None:
        self.check_writable()
        if changes:
            self.stage(changes).commit()

    def stage(self, changes: Sequence[Change]) -> Prepared:
        """Check and stage one batch."""
        self.check_writable()
        staged = _Staged(self)
        try:
            TableWriter(self, staged.batch).write(changes)
        except BaseException:
            staged.rollback()
            raise
        return staged

    def rewrite(self, plan: Plan, change: Callable[[Any, Any], Change | None]) -> int:
        """Find and write in one batch: nobody can come between, so that nothing is tried twice."""
        made: list[Change] = []

        def gather(find: Callable[[Plan], Iterable[Pair]]) -> Sequence[Change]:
            made.extend(one for pair in list(find(plan)) if (one := change(*pair)) is not None)
            return made

        self.compose(gather)
        return len(made)

    def compose(
        self, gather: Callable[[Callable[[Plan], Iterable[Pair]]], Sequence[Change]]
    ) -> None:
        """Find and write in one batch, as ``rewrite`` does."""
        self.check_writable()
        staged = _Staged(self)
        try:
            changes = gather(partial(self._find, staged.batch))
            if changes:
                TableWriter(self, staged.batch).write(changes)
        except BaseException:
            staged.rollback()
            raise
        staged.commit()

    def _find(self, batch: TableBatch, plan: Plan) -> Iterator[Pair]:
        known = remembered.from_columns(batch.columns(catalog_key(plan.schema.collection)))
        if known is not None:
            check_key_kind(known, plan.schema, self.name)
        indexed = known.indexed if known else {}
        found = self._found if relied_on(plan) <= indexed.keys() else self._in_python
        return finish(self, plan, found(plan, held=True))


class _Staged(Prepared):
    """A batch, and the turn that the other threads of this storage wait for until it has ended."""

    def __init__(self, storage: TableStorage) -> None:
        self._storage = storage
        self._turn: Turn = storage.write_lock.acquire()
        try:
            self.batch = storage.begin_batch()
        except BaseException:
            self._turn.release()
            raise

    def commit(self) -> None:
        if self._turn.is_inherited:
            raise prepared_elsewhere(self._storage.name)
        try:
            self.batch.commit()
        finally:
            self._turn.release()

    def rollback(self) -> None:
        if not self._turn.is_inherited:  # else it is for the parent to end it
            try:
                self.batch.rollback()
            finally:
                self._turn.release()


__all__ = ["TableBatch", "TableQuery", "TableStorage"]
