"""A storage over anything that maps bytes to bytes, in tables that keep their keys in order.

``KeyValueStorage`` needs two things of an engine: a ``View`` to read from and a ``Batch`` to write
with. Records, keys, unique entries, expectations and the scan are the same for all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from pymodels import conditions
from pymodels.batches import BatchWriter, check_key, check_name
from pymodels.bykey import (
    ByKey,
    KeyRange,
    Keys,
    Prefix,
    UniqueValue,
    after_prefix,
    bounds,
    possible_keys,
)
from pymodels.changes import Change
from pymodels.codecs import MessagePack
from pymodels.concurrency import Turn, WriteLock, prepared_elsewhere
from pymodels.errors import StorageInvalid
from pymodels.indexes import entry
from pymodels.keys import KeyKind, kind_named
from pymodels.planning import Pair, Plan, execute
from pymodels.query import Query
from pymodels.schema import Schema
from pymodels.storage import Prepared, Storage
from pymodels.tables import (
    FORMAT,
    META,
    Batch,
    CollectionRecord,
    PagedView,
    View,
    check_key_kind,
    records_table,
    tables_for,
    unique_table,
)

if TYPE_CHECKING:
    from pymodels.models import Model

M = TypeVar("M", bound="Model")


class KeyValueQuery(Query[M]):
    """A query that finds records by key and unique value, and scans for all else."""

    native = ByKey()


# --- the storage ----------------------------------------------------------------------------


class KeyValueStorage(Storage):
    """A storage over tables of bytes; an engine gives it views and batches."""

    query_class = KeyValueQuery
    codec = MessagePack()
    longest_key: ClassVar[int | None] = None
    """How many bytes a key may have, where the engine has a limit."""
    page_size: ClassVar[int | None] = None
    """How many pairs an iteration reads at a time, where no view may stay open for long."""

    def __init__(self, *, name: str, read_only: bool = False) -> None:
        super().__init__(name=name, read_only=read_only)
        self.write_lock = WriteLock(name)

    @abstractmethod
    def view(self) -> AbstractContextManager[View]:
        """Return a context that reads one state of the tables."""

    @abstractmethod
    def batch(self) -> Batch:
        """Begin to write; other threads of this storage wait already, others have to be made to."""

    def make_tables(self, names: Sequence[str]) -> None:
        """Make tables before a batch writes to them, where the engine wants that."""

    # --- reading ----------------------------------------------------------------------------

    def read(self, schema: Schema, keys: Sequence[Any]) -> Sequence[bytes | None]:
        self.check_open()
        table, encode = records_table(schema.collection), schema.key.encode
        with self.view() as view:
            return [view.get(table, encode(key)) for key in keys]

    def scan(self, plan: Plan) -> Iterator[Pair]:
        self.check_open()
        return self._scan(plan)

    def _scan(self, plan: Plan) -> Iterator[Pair]:
        if self.page_size is not None:
            yield from self._scan_view(PagedView(self._view_if_open, self.page_size), plan)
            return
        with self.view() as view:
            yield from self._scan_view(view, plan)

    def _view_if_open(self) -> AbstractContextManager[View]:
        self.check_open()
        return self.view()

    def _scan_view(self, view: View, plan: Plan) -> Iterator[Pair]:
        descending = plan.native_order == "descending keys"
        decode = plan.schema.key.decode
        skip, most = plan.skip, plan.most
        if most == 0:
            return
        known = self.collection_record(view, plan.schema.collection)
        if known is not None:
            check_key_kind(known, plan.schema, self.name)
        for key, stored in self._pairs(view, plan, descending=descending):
            if skip:
                skip -= 1
                continue
            yield decode(key), stored
            if most is not None:
                most -= 1
                if not most:
                    return

    def _pairs(self, view: View, plan: Plan, *, descending: bool) -> Iterator[tuple[bytes, bytes]]:
        schema, fragment = plan.schema, plan.native
        table, encode = records_table(schema.collection), schema.key.encode
        match fragment:
            case None:
                return view.items(table, None, None, descending=descending)
            case Keys(keys):
                encoded = sorted(map(encode, possible_keys(schema, keys)), reverse=descending)
                return (
                    (key, stored) for key in encoded if (stored := view.get(table, key)) is not None
                )
            case KeyRange():
                low, high = bounds(schema, fragment)
                return view.items(table, low, high, descending=descending)
            case Prefix(text):
                low = text.encode()
                return view.items(table, low, after_prefix(low), descending=descending)
            case UniqueValue(index, value):
                return self._by_unique(view, plan, index, value, descending=descending)
        raise AssertionError(f"{fragment!r} was made by another backend")

    def _by_unique(
        self, view: View, plan: Plan, index: str, value: Any, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        collection = plan.schema.collection
        table = records_table(collection)
        known = self.collection_record(view, collection)
        found = entry([value])
        if known is None or index not in known.indexes or found is None:
            # No model that declares the index has been written yet: look at every record.
            yield from view.items(table, None, None, descending=descending)
            return
        key = view.get(unique_table(collection, index), found)
        stored = None if key is None else view.get(table, key)
        if key is not None and stored is not None:
            yield key, stored

    def count(self, plan: Plan) -> int:
        if plan.condition != conditions.EVERYTHING or plan.skip or plan.most is not None:
            return super().count(plan)
        if plan.offset or plan.limit is not None:
            return super().count(plan)
        self.check_open()
        with self.view() as view:
            return view.count(records_table(plan.schema.collection))

    def collections(self) -> Mapping[str, KeyKind]:
        self.check_open()
        with self.view() as view:
            return {
                name[len("collection:") :]: kind_named(
                    msgspec.msgpack.decode(value, type=CollectionRecord).key
                )
                for key, value in view.items(META, b"collection:", b"collection;", descending=False)
                if (name := key.decode())
            }

    def collection_record(self, view: View, name: str) -> CollectionRecord | None:
        data = view.get(META, f"collection:{name}".encode())
        return None if data is None else msgspec.msgpack.decode(data, type=CollectionRecord)

    # --- writing ----------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> None:
        if changes:
            self.prepare(changes).commit()
        else:
            self.check_writable()

    def prepare(self, changes: Sequence[Change]) -> Prepared:
        self.check_writable()
        for name in {change.schema.collection for change in changes}:
            check_name(self, name)
        prepared = self._begin(tables_for(changes))
        try:
            prepared.carry_out(changes)
        except BaseException:
            prepared.rollback()
            raise
        return prepared

    def _begin(self, tables: Sequence[str] = ()) -> _PreparedBatch:
        turn = self.write_lock.acquire()
        try:
            if tables:
                self.make_tables(tables)
            return _PreparedBatch(self, turn)
        except BaseException:
            turn.release()
            raise

    def check_change(self, change: Change) -> None:
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
        return execute(self, plan, self._scan_view(view, plan))

    def check_format(self, found: bytes | None) -> None:
        """Raise ``StorageInvalid`` if a file was written by a later version of PyModels."""
        if found is not None and int(found) > FORMAT:
            raise StorageInvalid(
                f"{self.name} has format {int(found)}, and this version of PyModels reads up to "
                f"{FORMAT}: install a newer PyModels"
            )


class _PreparedBatch(Prepared):
    """A batch, and the turn that others wait for until it has ended."""

    def __init__(self, storage: KeyValueStorage, turn: Turn) -> None:
        self.batch = storage.batch()
        self._storage = storage
        self._turn = turn
        self._has_changes = False

    def carry_out(self, changes: Sequence[Change]) -> None:
        self._has_changes = BatchWriter(self._storage, self.batch).write(changes)

    def commit(self) -> None:
        if self._turn.is_inherited:
            raise prepared_elsewhere(self._storage.name)
        try:
            if self._has_changes:
                self.batch.commit()
            else:  # what only asserts leaves the revision as it was
                self.batch.rollback()
        finally:
            self._turn.release()

    def rollback(self) -> None:
        if not self._turn.is_inherited:  # else it is for the parent to end it
            try:
                self.batch.rollback()
            finally:
                self._turn.release()
