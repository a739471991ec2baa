"""A storage over anything that maps bytes to bytes, in tables that keep their keys in order.

``KeyValueStorage`` needs two things of an engine: a ``View`` to read from and a ``Batch`` to write
with. Records, keys, unique entries, expectations and the scan are the same for all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

import msgspec

from pymodels import conditions, maintenance
from pymodels.advice import suggestion
from pymodels.batches import PreparedBatch, check_key, check_name, schemas_of
from pymodels.bycolumn import by_columns, count_matching, has_values, values_of
from pymodels.byindex import (
    AllOf,
    AnyOf,
    ByIndex,
    InColumns,
    IndexOrder,
    InIndex,
    indexes_in,
    indexes_of,
)
from pymodels.bykey import ByKey, UniqueValue
from pymodels.catalog import Catalog, declared_ordered
from pymodels.changes import Change, Put
from pymodels.choosing import choose
from pymodels.clearing import delete_found
from pymodels.columns import Column, column_of
from pymodels.concurrency import WriteLock
from pymodels.conditions import Condition, Lookup
from pymodels.errors import StorageInvalid
from pymodels.expecting import Expectations, Sample
from pymodels.fetching import (
    Chunk,
    are_as_before,
    by_indexes,
    by_key_range,
    by_unique,
    count_found,
    first_size,
    in_order,
    tables_of,
    without_indexes,
)
from pymodels.finishing import decoded, finished, is_finished, sliced
from pymodels.groups import CommitGroups
from pymodels.indexing import IndexWriter
from pymodels.keys import KeyKind, kind_named
from pymodels.messagepack import MessagePack
from pymodels.ordered import OrderedIndex
from pymodels.overlays import Overlay
from pymodels.persistence import load_chunks
from pymodels.planning import Pair, Plan
from pymodels.query import Query
from pymodels.schema import Place, Schema
from pymodels.shortcuts import equality, shortcut
from pymodels.storage import Prepared, Storage
from pymodels.tables import (
    FORMAT,
    META,
    Batch,
    CollectionRecord,
    IndexBatch,
    IndexView,
    PagedView,
    View,
    check_key_kind,
    in_chunks,
    index_table,
    records_table,
    tables_for,
)

if TYPE_CHECKING:
    from pymodels.models import Model

M = TypeVar("M", bound="Model")


_OF_INDEXES: Final = frozenset({InIndex, InColumns, AllOf, AnyOf})
"""What fragments are that indexes answer."""


class KeyValueQuery(Query[M]):
    """A query that finds records by key and unique value, and scans for all else."""

    native = ByKey()


# --- the storage ----------------------------------------------------------------------------


class KeyValueStorage(Storage):
    """A storage over tables of bytes; an engine gives it views and batches."""

    query_class = KeyValueQuery
    codec = MessagePack()
    keeps_indexes: ClassVar[bool] = False
    """Whether its views and batches know of ordered indexes."""
    groups_commits: ClassVar[bool] = False
    """Whether its batches can be nested, so that those of several threads are committed as one."""
    longest_key: ClassVar[int | None] = None
    """How many bytes a key may have, where the engine has a limit."""
    page_size: ClassVar[int | None] = None
    """How many pairs an iteration reads at a time, where no view may stay open for long."""

    def __init__(self, *, name: str, read_only: bool = False) -> None:
        super().__init__(name=name, read_only=read_only)
        self.write_lock = WriteLock(name)
        self._groups = CommitGroups(self)
        self.catalogs: dict[str, Catalog] = {}
        self.samples: dict[str, Sample] = {}
        self._settled: dict[Schema, Any] = {}  # whose tables there are, with its indexes

    @abstractmethod
    def view(self) -> AbstractContextManager[View]:
        """Return a context that reads one state of the tables."""

    @abstractmethod
    def batch(self) -> Batch:
        """Begin to write; other threads of this storage wait already, others have to be made to."""

    def make_tables(self, names: AbstractSet[str]) -> None:
        """Make tables before a batch writes to them, where the engine wants that."""

    # --- reading ----------------------------------------------------------------------------

    def read(self, schema: Schema, keys: Sequence[Any]) -> Sequence[bytes | None]:
        self.check_open()
        table, encode = schema.table, schema.key.encode
        with self.view() as view:
            if len(keys) > 1 and self.keeps_indexes:
                packed = [encode(key) for key in keys]
                found = dict(_with_indexes(view).fetch(table, packed))
                return [found.get(key) for key in packed]
            return [view.get(table, encode(key)) for key in keys]

    def scan(self, plan: Plan) -> Iterator[Pair]:
        self.check_open()
        return decoded(plan.schema, self._chunks(plan))

    def run(self, plan: Plan) -> Iterator[Pair]:
        if not self._scans_as_usual():
            return super().run(plan)
        self.check_open()
        return finished(self, plan, self._chunks(plan))

    def load_all(self, plan: Plan) -> list[Any]:
        if not is_finished(plan) or not self._scans_as_usual():
            return super().load_all(plan)
        self.check_open()
        return load_chunks(self, plan.schema, self._chunks(plan))

    def _scans_as_usual(self) -> bool:
        """Tell whether records come from nowhere but the chunks."""
        return getattr(self.scan, "__func__", None) is KeyValueStorage.scan

    def _chunks(self, plan: Plan) -> Iterator[Chunk]:
        if self.page_size is not None:
            yield from self._chunks_in(PagedView(self._view_if_open, self.page_size), plan)
            return
        with self.view() as view:
            yield from self._chunks_in(view, plan)

    def _view_if_open(self) -> AbstractContextManager[View]:
        self.check_open()
        return self.view()

    def _chunks_in(self, view: Any, plan: Plan) -> Iterator[Chunk]:
        if plan.most == 0:
            return iter(())
        schema, fragment = plan.schema, plan.native
        if type(fragment) in _OF_INDEXES:
            return self._chunks_by_index(view, plan)
        catalog = self._catalog_for(view, schema)
        descending = plan.native_order == "descending keys"
        first = first_size(plan)
        if isinstance(fragment, UniqueValue):
            found = by_unique(view, schema, catalog, fragment, descending=descending)
            chunks = in_chunks(iter(found), first)
        else:
            chunks = by_key_range(view, schema, fragment, descending=descending, first=first)
        return sliced(chunks, plan.skip, plan.most)

    def _chunks_by_index(self, view: IndexView, plan: Plan) -> Iterator[Chunk]:
        indexes = indexes_of(plan)
        view.open(tables_of(plan.schema, indexes))
        catalog = self._catalog_for(view, plan.schema)
        if not are_as_before(indexes, catalog):
            return without_indexes(self, view, plan)
        if type(plan.native) is InColumns:
            return by_columns(self, view, plan)
        if type(plan.native_order) is IndexOrder:
            return in_order(self, view, plan)
        return by_indexes(self, view, catalog, plan)

    def plan(self, schema: Schema, condition: Condition, **options: Any) -> Plan:
        if self.keeps_indexes:
            catalog = self.catalogs.get(schema.collection)
            native = None if catalog is None else catalog.plans.get(schema)
            if native is None:
                native = self._native(schema)
            if native is not None:
                plan = shortcut(native, schema, condition, **options)
                if plan is not None:
                    return plan
                return choose(self, native, schema, condition, self._index_view, **options)
        return super().plan(schema, condition, **options)

    def _index_view(self) -> AbstractContextManager[IndexView]:
        return cast("AbstractContextManager[IndexView]", self.view())

    def _native(self, schema: Schema) -> ByIndex | None:
        """Return what the indexes can do that *schema* can use, None without any."""
        catalog = self.catalogs.get(schema.collection)
        if catalog is None:
            self.check_open()
            with self.view() as view:
                catalog = self.catalog(view, schema.collection)
            if catalog is None:
                return None
        if not catalog.ordered:
            return None
        native: ByIndex | None = catalog.plans.get(schema)
        if native is None:
            by_key = self.query_class_of().native
            native = catalog.plans[schema] = ByIndex(by_key, schema, catalog.ordered)
        return native

    def count_equal(self, schema: Schema, lookup: Lookup) -> int | None:
        catalog = self.catalogs.get(schema.collection)
        native: ByIndex | None = None if catalog is None else catalog.plans.get(schema)
        found = None if native is None else equality(native, lookup)
        if catalog is None or found is None:
            return None
        index, entry = found
        table = index_table(schema.collection, index.name)
        at_once = self.count_at_once(table, entry)
        if (
            at_once is not None
            and at_once[1] == catalog.stamp
            and catalog.record.key == schema.key.name
        ):
            return at_once[0]
        self.check_open()
        seen: Any
        with self.view() as seen:
            # The count may begin the view anew, so that what it was made with is asked afterwards.
            count: int = seen.count_under(table, entry)
            known = self._catalog_for(seen, schema)
            is_known = known is not None and known.record.ordered.get(index.name) is index
        return count if is_known else None

    def count_at_once(self, table: str, entry: bytes) -> tuple[int, int] | None:
        """Return how many records have an entry of an index, and the stamp of that state.

        None where a view is as quick.
        """
        return None

    def count(self, plan: Plan) -> int:
        if plan.offset or plan.limit is not None or not plan.exact:
            return super().count(plan)
        everything = plan.condition == conditions.EVERYTHING
        if everything:
            is_counted = not plan.skip and plan.most is None
        else:
            is_counted = type(plan.native) in _OF_INDEXES
        if not is_counted:
            return super().count(plan)
        self.check_open()
        with self.view() as view:
            if everything:
                self._catalog_for(view, plan.schema)
                return view.count(records_table(plan.schema.collection))
            seen = _with_indexes(view)
            indexes = indexes_of(plan)
            seen.open(tables_of(plan.schema, indexes))
            catalog = self._catalog_for(view, plan.schema)
            if not are_as_before(indexes, catalog):
                return super().count(plan)
            if isinstance(plan.native, InColumns):
                return count_matching(self, seen, plan)
            return count_found(seen, catalog, plan)

    def read_column(
        self, plan: Plan, place: Place, read: Callable[[Column], list[Any] | None]
    ) -> list[Any] | None:
        native = self._native(plan.schema) if self.keeps_indexes else None
        index = None if native is None else column_of(native, plan, place)
        if index is None:
            return None
        self.check_open()
        with self.view() as view:
            seen, used = _with_indexes(view), (index.index,)
            seen.open(tables_of(plan.schema, used))
            if not are_as_before(used, self._catalog_for(view, plan.schema)):
                return None
            return read(Column(self, seen, plan, place, index))

    def values_at(self, plan: Plan, places: Sequence[Place]) -> list[list[Any]] | None:
        native = self._native(plan.schema) if self.keeps_indexes else None
        if native is None or not has_values(plan, places, native.columns):
            return None
        self.check_open()
        used = {*indexes_in(plan.native), *(native.columns[place.stored] for place in places)}
        with self.view() as view:
            seen = _with_indexes(view)
            seen.open(tables_of(plan.schema, used))
            if not are_as_before(used, self._catalog_for(view, plan.schema)):
                return None
            return values_of(self, seen, plan, places, native.columns)

    def expected(self, plan: Plan) -> int | None:
        if plan.expected is not None or not self.keeps_indexes:
            return plan.expected
        with self._index_view() as view:
            return Expectations(self, view, plan.schema).of(plan.native)

    def explain(self, plan: Plan) -> Mapping[str, Any]:
        found = dict(super().explain(plan))
        advice = suggestion(plan) if self.keeps_indexes else None
        return found | {"suggestion": advice} if advice else found

    def collections(self) -> Mapping[str, KeyKind]:
        self.check_open()
        with self.view() as view:
            return self.collections_in(view)

    def collections_in(self, view: View) -> Mapping[str, KeyKind]:
        """Return what ``collections`` does, of one state of the tables."""
        return {
            name[len("collection:") :]: kind_named(
                msgspec.msgpack.decode(value, type=CollectionRecord).key
            )
            for key, value in view.items(META, b"collection:", b"collection;", descending=False)
            if (name := key.decode())
        }

    def catalog(self, view: View, name: str) -> Catalog | None:
        """Return what is remembered of a collection, None if nothing is."""
        found = self.catalogs.get(name)
        seen: Any = view
        stamp = seen.stamp if self.keeps_indexes else None
        if found is not None and found.stamp == stamp is not None:
            return found  # nothing at all was written since
        data = view.get(META, f"collection:{name}".encode())
        if data is None:
            return None
        if found is None or found.data != data:
            found = self.catalogs[name] = Catalog(name, data, self.codec)
        found.stamp = stamp
        return found

    def collection_record(self, view: View, name: str) -> CollectionRecord | None:
        """Return what ``catalog`` knows of a collection, to be changed."""
        data = view.get(META, f"collection:{name}".encode())
        return None if data is None else msgspec.msgpack.decode(data, type=CollectionRecord)

    def check_key_kind(self, schema: Schema) -> None:
        with self.view() as view:
            self._catalog_for(view, schema)

    def _catalog_for(self, view: View, schema: Schema) -> Catalog | None:
        """Return what is known of a model's collection, and check that its keys are of one kind."""
        catalog = self.catalogs.get(schema.collection)
        seen: Any = view
        if catalog is None or catalog.stamp is None or catalog.stamp != seen.stamp:
            catalog = self.catalog(view, schema.collection)
        if catalog is not None and catalog.record.key != schema.key.name:
            check_key_kind(catalog.record, schema, self.name)
        return catalog

    def ordered_indexes(self, schema: Schema) -> Sequence[OrderedIndex]:
        """Return the indexes that are to be kept for what a model declares."""
        return declared_ordered(schema, self.codec) if self.keeps_indexes else ()

    # --- writing ----------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> None:
        if self.closed or self.read_only or not changes:
            self.check_writable()
            return
        if self.groups_commits:
            schemas = {changes[0].schema} if len(changes) == 1 else schemas_of(changes)
            if not self._settled.keys() >= schemas:
                self._check_names(schemas)
            self._groups.write(changes, schemas)
        else:
            self.prepare(changes).commit()

    def prepare(self, changes: Sequence[Change]) -> Prepared:
        self.check_writable()
        schemas = schemas_of(changes)
        self._check_names(schemas)
        prepared = self._begin(schemas)
        try:
            prepared.carry_out(changes)
        except BaseException:
            prepared.rollback()
            raise
        return prepared

    def prepare_overlays(self, overlays: Sequence[Overlay], since: int | None) -> Prepared:
        self.check_writable()
        schemas = {overlay.schema for overlay in overlays}
        self._check_names(schemas)
        prepared = self._begin(schemas)
        try:
            prepared.carry_out_overlays(overlays, since)
        except BaseException:
            prepared.rollback()
            raise
        return prepared

    def _check_names(self, schemas: AbstractSet[Schema]) -> None:
        for schema in schemas:
            if schema not in self._settled:
                check_name(self, schema.collection)

    def settle(self, schemas: AbstractSet[Schema]) -> None:
        """Have the tables made that records of some models need, while nobody else writes."""
        for schema in schemas:
            if self._settled.get(schema) is not schema.indexes:
                self.make_tables(tables_for(schemas, self.ordered_indexes))
                self._settled |= {one: one.indexes for one in schemas}
                return

    def _begin(self, schemas: AbstractSet[Schema] = frozenset()) -> PreparedBatch:
        turn = self.write_lock.acquire()
        try:
            self.settle(schemas)
            return PreparedBatch(self, turn)
        except BaseException:
            turn.release()
            raise

    @contextmanager
    def writing(self, schemas: AbstractSet[Schema] = frozenset()) -> Iterator[IndexBatch]:
        """Return a context with a batch, committed at its end or rolled back by an exception."""
        self.check_writable()
        prepared = self._begin(schemas)
        try:
            yield cast("IndexBatch", prepared.batch)
        except BaseException:
            prepared.rollback()
            raise
        prepared.writer.has_changes = True
        prepared.commit()

    # --- indexes ----------------------------------------------------------------------------

    def build_indexes(
        self, *models: type[Model], progress: maintenance.Progress | None = None
    ) -> None:
        """Build what *models* declare and the storage does not have yet, and what is half built.

        Few records are indexed together with the first write through a model, many bit by bit with
        every write: this does all that is left. It goes on where a build was interrupted; others
        read and write meanwhile, by the indexes that are ready.

        Args:
            models: whose indexes to build; none for whatever was begun in any collection.
            progress: called with a collection's name, how many records were done, and how many
                there are.
        """
        schemas: list[Schema] = [model.__schema__ for model in models]
        for schema in schemas:
            with self.writing({schema}) as batch:
                IndexWriter(self, batch).know(schema)
        collections = {schema.collection: None for schema in schemas} or dict.fromkeys(
            self.collections()
        )
        maintenance.build(self, collections, progress)

    def drop_indexes(self, model: type[Model], *names: str) -> list[str]:
        """Drop indexes of a model's collection, and return their names.

        Without *names*, all that *model* does not declare. An index that it still declares, or some
        other model, is made anew by the next write through that. Raises ``UsageError`` for a name
        that no index has.
        """
        return maintenance.drop(self, model.__schema__, names)

    def check(self, *, repair: bool = False) -> maintenance.Check:
        """Compare all indexes with the records, and return what was wrong.

        With *repair*, indexes that are wrong are built anew, in one batch. Records that cannot be
        read are named, and left as they are.
        """
        self.check_open()
        return maintenance.check(self, repair=repair)

    def check_change(self, change: Change) -> None:
        if isinstance(change, Put):  # else there is such a record, or nothing to be stored
            check_key(self, change)
            check_name(self, change.schema.collection)

    def rewrite(self, plan: Plan, change: Callable[[Any, Any], Change | None]) -> int:
        """Find and write in one batch: nobody can come between, so that nothing is tried twice."""
        self.check_writable()
        prepared = self._begin()
        try:
            found = list(self._find(prepared.batch, plan))
            changes = [made for pair in found if (made := change(*pair)) is not None]
            prepared.carry_out(changes)
        except BaseException:
            prepared.rollback()
            raise
        prepared.commit()
        return len(changes)

    def delete_found(self, plan: Plan) -> int | None:
        if not self.keeps_indexes:
            return None
        self.check_writable()
        prepared = self._begin()
        try:
            count = delete_found(self, plan, self._chunks_in(prepared.batch, plan), prepared)
        except BaseException:
            prepared.rollback()
            raise
        prepared.commit()
        return count

    def compose(
        self, gather: Callable[[Callable[[Plan], Iterable[Pair]]], Sequence[Change]]
    ) -> None:
        """Find and write in one batch, as ``rewrite`` does."""
        self.check_writable()
        prepared = self._begin()
        try:
            prepared.carry_out(gather(partial(self._find, prepared.batch)))
        except BaseException:
            prepared.rollback()
            raise
        prepared.commit()

    def _find(self, view: View, plan: Plan) -> Iterator[Pair]:
        return finished(self, plan, self._chunks_in(view, plan))

    def check_format(self, found: bytes | None) -> None:
        """Raise ``StorageInvalid`` if a file was written by a later version of PyModels."""
        if found is not None and int(found) > FORMAT:
            raise StorageInvalid(
                f"{self.name} has format {int(found)}, and this version of PyModels reads up to "
                f"{FORMAT}: install a newer PyModels"
            )


def _with_indexes(view: Any) -> IndexView:
    """Return *view* as what the views of a storage with ``keeps_indexes`` are."""
    return view  # type: ignore[no-any-return]  # nothing is called to say so
