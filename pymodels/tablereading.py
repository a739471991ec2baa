"""How a storage over tables of bytes answers: by keys, by unique values and by ordered indexes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final

from pymodels import conditions
from pymodels.advice import suggestion
from pymodels.bycolumn import by_columns, count_matching, has_values, values_of
from pymodels.byindex import (
    AllOf,
    AnyOf,
    InColumns,
    IndexOrder,
    InIndex,
    indexes_in,
    indexes_of,
)
from pymodels.bykey import UniqueValue
from pymodels.catalog import Catalog, declared_ordered
from pymodels.columns import Column, column_of
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
from pymodels.keys import KeyKind, kind_named
from pymodels.ordered import OrderedIndex
from pymodels.persistence import load_chunks
from pymodels.planning import Pair, Plan
from pymodels.schema import Place, Schema
from pymodels.shapes import PlanningReader
from pymodels.tables import (
    META,
    CollectionRecord,
    IndexView,
    PagedView,
    View,
    check_key_kind,
    in_chunks,
    read_record,
    records_table,
)

_OF_INDEXES: Final = frozenset({InIndex, InColumns, AllOf, AnyOf})
"""What fragments are that indexes answer."""


class TableReader(PlanningReader):
    """A storage that reads tables of bytes, of which an engine gives it views."""

    page_size: ClassVar[int | None] = None
    """How many pairs an iteration reads at a time, where no view may stay open for long."""

    def read(self, schema: Schema, keys: Sequence[Any]) -> Sequence[bytes | None]:
        self.check_open()
        table, encode = schema.table, schema.key.encode
        with self.view() as view:
            if len(keys) > 1 and self.keeps_indexes:
                packed = list(map(encode, keys))
                pairs = list(_with_indexes(view).fetch(table, packed))
                if len(pairs) == len(packed):
                    return [stored for _, stored in pairs]
                found = dict(pairs)
                return list(map(found.get, packed))
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
        return getattr(self.scan, "__func__", None) is TableReader.scan

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
        with view.steady():  # nobody drops an index between the look at the catalog and a read
            catalog = self._catalog_for(view, plan.schema)
            if not are_as_before(indexes, catalog):
                return without_indexes(self, view, plan)
            if type(plan.native) is InColumns:
                chunks = by_columns(self, view, plan)
            elif type(plan.native_order) is IndexOrder:
                chunks = in_order(self, view, plan)
            else:
                return by_indexes(self, view, catalog, plan)
            return chunks if view.is_snapshot else _begun(chunks)

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
            with seen.steady():
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
            with seen.steady():
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
            with seen.steady():
                if not are_as_before(used, self._catalog_for(view, plan.schema)):
                    return None
                return values_of(self, seen, plan, places, native.columns)

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
            name: kind_named(read_record(name, value).key)
            for key, value in view.items(META, b"collection:", b"collection;", descending=False)
            if (name := key.decode()[len("collection:") :])
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
        return None if data is None else read_record(name, data)

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


def _begun(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Return what an iterator yields, the first of which it has read by then."""
    return itertools.chain(list(itertools.islice(chunks, 1)), chunks)


def _with_indexes(view: Any) -> IndexView:
    """Return *view* as what the views of a storage with ``keeps_indexes`` are."""
    return view  # type: ignore[no-any-return]  # nothing is called to say so
