"""A storage over one table file, whoever holds that file: this process, or a server."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Protocol

from pymodels import conditions
from pymodels.bykey import KeyRange, Keys, Prefix, UniqueValue, possible_keys
from pymodels.changes import Change
from pymodels.codecs import MessagePack
from pymodels.concurrency import Turn, WriteLock, prepared_elsewhere
from pymodels.errors import SettingsError, StorageInvalid
from pymodels.ext._tokyo import catalog as remembered
from pymodels.ext._tokyo.batches import TableBatch, TableWriter, entered, entry_key
from pymodels.ext._tokyo.catalog import (
    CATALOG,
    FORMAT,
    FORMAT_KEY,
    Catalog,
    Columns,
    catalog_key,
    check_key_kind,
)
from pymodels.ext._tokyo.columns import MISFITS, column_name
from pymodels.ext._tokyo.native import Cond, Search, TableNative
from pymodels.ext._tokyo.places import CollectionKeys
from pymodels.keys import KeyKind, kind_named
from pymodels.planning import Pair, Plan, finish, make_plan, matcher
from pymodels.query import Query
from pymodels.schema import Schema
from pymodels.storage import Prepared, Storage

_CHUNK: Final = 256
"""How many records are read at once while an iteration goes on."""


class Table(Protocol):
    """A table file that is open."""

    def get(self, key: bytes) -> Columns | None:
        """Return the columns of a record, or None."""

    def get_many(self, keys: Sequence[bytes]) -> Sequence[Columns | None]:
        """Return the columns of several records."""

    def search(
        self,
        prefix: bytes,
        search: Search,
        *,
        descending: bool | None,
        skip: int = 0,
        most: int | None = None,
    ) -> list[bytes]:
        """Return the keys that begin with *prefix*, of the records that *search* finds.

        Each once, in the order of their bytes; in no order if *descending* is None.
        """


EVERYTHING: Final = Search(((),))
_MISFIT: Final = Search(((Cond(MISFITS, "STRBW", b"|"),),), frozenset({MISFITS}))


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
        table = self.table()
        keys = table.search(CATALOG, EVERYTHING, descending=False)
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
        return make_plan(self._native(schema), schema, condition, **options)

    def _native(self, schema: Schema) -> TableNative:
        name = schema.collection
        found = self._natives.get(name)
        if found is None:
            self.check_open()
            known = self.catalog(name)
            found = TableNative(known.indexed if known else {}, foreign=name in self.adopt)
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
        if plan.most == 0:
            return iter(())
        self._check_keys(plan.schema)
        return self._found(None, plan)

    def _found(self, held: Table | None, plan: Plan) -> Iterator[Pair]:
        """Yield what the engine finds; of a table that is open by then, unless one is *held*."""
        schema = plan.schema
        place = self.place(schema)
        names = None if plan.names is None else frozenset(map(column_name, plan.names))
        again: Callable[[Any, Any], bool] | None = None
        if plan.exact and plan.native is not None and held is None:
            again = matcher(self.codec, schema, plan.condition)
        revision = self.revision if again else None
        keys = iter(self._keys(held or self.table(), plan, place))
        left = plan.most
        while chunk := list(itertools.islice(keys, _CHUNK)):
            self.check_open()
            found = (held or self.table()).get_many(chunk)
            # Others may have changed what was found since: then it has to be decided again.
            doubtful = again is not None and revision != self.revision
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

    def all_keys(self, table: Table, schema: Schema) -> list[bytes]:
        """Return the keys in the file of all records of a collection, in order."""
        return self._searched(table, self.place(schema), EVERYTHING, descending=False)

    def _searched(
        self,
        table: Table,
        place: CollectionKeys,
        search: Search,
        *,
        descending: bool | None,
        skip: int = 0,
        most: int | None = None,
    ) -> list[bytes]:
        if not place.foreign:
            return table.search(place.prefix, search, descending=descending, skip=skip, most=most)
        found = table.search(b"", search, descending=descending)
        others = tuple(
            self.place_named(name, kind).prefix
            for name, kind in self.collections().items()
            if name not in self.adopt
        )
        found = [key for key in found if not key.startswith((b":", *others))]
        if descending is not None and place.kind.type is not str:
            found.sort(key=place.own, reverse=descending)
        found = found[skip:]
        return found if most is None else found[:most]

    def place_named(self, collection: str, kind: KeyKind) -> CollectionKeys:
        """Return where the records of a collection are that no model is needed for."""
        return CollectionKeys(collection, kind, foreign=False)

    def _keys(self, table: Table, plan: Plan, place: CollectionKeys) -> Iterable[bytes]:
        """Return the keys that the engine finds, without the first ``plan.skip``."""
        order = {"ascending keys": False, "descending keys": True}.get(plan.native_order)
        descending = bool(order)
        match plan.native:
            case None:
                return self._searched(
                    table, place, EVERYTHING, descending=order, skip=plan.skip, most=plan.most
                )
            case Search():
                return self._search(table, plan, place, plan.native, order)
            case Keys(keys):
                found = sorted(possible_keys(plan.schema, keys), reverse=descending)
                wanted = list(map(place.full, found))
                if plan.skip:
                    there = zip(wanted, table.get_many(wanted), strict=True)
                    wanted = [key for key, columns in there if columns is not None]
                return wanted[plan.skip :]
            case Prefix(text) if not place.foreign:
                return table.search(
                    place.prefix + text.encode(), EVERYTHING, descending=order, skip=plan.skip
                )
            case KeyRange() | Prefix():
                found = self._searched(table, place, EVERYTHING, descending=order)
                inside = _range_test(plan.native)
                return [key for key in found if inside(place.own(key))][plan.skip :]
            case UniqueValue(index, value):
                return self._by_unique_value(table, plan.schema, place, index, value)
        raise AssertionError(f"{plan.native!r} was made by another backend")

    def _search(
        self, table: Table, plan: Plan, place: CollectionKeys, search: Search, order: bool | None
    ) -> Iterable[bytes]:
        misfits: list[bytes] = []
        if search.watched:
            misfits = table.search(place.prefix, _MISFIT, descending=None)
        if not misfits:
            return self._searched(
                table, place, search, descending=order, skip=plan.skip, most=plan.most
            )
        # What the index is not trusted with is decided in Python, or raises there.
        found = dict.fromkeys(self._searched(table, place, search, descending=None))
        wanted = matcher(self.codec, plan.schema, plan.condition)
        for key, columns in zip(misfits, table.get_many(misfits), strict=True):
            found.pop(key, None)
            if columns is not None and wanted(place.own(key), place.stored(columns, plan.schema)):
                found[key] = None
        return sorted(found, reverse=bool(order))[plan.skip :]

    def _by_unique_value(
        self, table: Table, schema: Schema, place: CollectionKeys, index: str, value: Any
    ) -> Iterable[bytes]:
        """Return the key of the only record that can have the value; Python looks if it has."""
        known = self.catalog(place.collection)
        full = entry_key(place.collection, index, [value])
        if known is None or index not in known.unique or full is None:
            # No model that declares the index has been written yet: look at every record.
            return self.all_keys(table, schema)
        found = entered(table.get(full))
        return [] if found is None else [found]

    def count(self, plan: Plan) -> int:
        """Count by keys alone what the engine decides alone."""
        counted = isinstance(plan.native, Search) or plan.condition == conditions.EVERYTHING
        if not (counted and plan.exact) or plan.offset or plan.limit is not None:
            return super().count(plan)
        self.check_open()
        self._check_keys(plan.schema)
        found = sum(1 for _ in self._keys(self.table(), plan, self.place(plan.schema)))
        return found if plan.most is None else min(found, plan.most)

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
        return finish(self, plan, self._found(batch.table, plan))


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


def _range_test(wanted: KeyRange | Prefix) -> Callable[[Any], bool]:
    if isinstance(wanted, Prefix):
        return lambda key: bool(key.startswith(wanted.text))

    def inside(key: Any) -> bool:
        low, high = wanted.low, wanted.high
        if low is not None and (key < low or (key == low and wanted.low_excluded)):
            return False
        return high is None or key < high or (key == high and wanted.high_included)

    return inside


__all__ = ["Table", "TableBatch", "TableQuery", "TableStorage"]
