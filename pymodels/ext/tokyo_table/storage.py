"""A storage over one table file, whoever holds that file: this process, or a server.

``KeyValueStorage`` gives it batches, expectations, unique fields and transactions. What is done
here is to keep each record as columns, so that the engine can look into it.
"""

from __future__ import annotations

import base64
import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from pymodels import conditions
from pymodels.batches import BatchWriter
from pymodels.bykey import KeyRange, Keys, Prefix, UniqueValue, possible_keys
from pymodels.changes import Change
from pymodels.errors import RecordInvalid
from pymodels.ext.tokyo_table.columns import from_columns, to_columns
from pymodels.ext.tokyo_table.keys import (
    key_text,
    own_key,
    own_key_back,
    prefix_of,
    text_key,
)
from pymodels.indexes import entry
from pymodels.keys import KeyKind
from pymodels.keyvalue import KeyValueStorage
from pymodels.planning import Pair, Plan
from pymodels.schema import Schema
from pymodels.storage import Prepared
from pymodels.tables import Batch, View, check_key_kind, records_table, unique_table

Columns = dict[bytes, bytes]

_CHUNK: Final = 256
"""How many records are read at once while an iteration goes on."""

_VALUE: Final = b"value"
"""The column of a pair of our own tables."""


class Table(Protocol):
    """A table file that is open."""

    def get(self, key: bytes) -> Columns | None:
        """Return the columns of a record, or None."""

    def get_many(self, keys: Sequence[bytes]) -> Sequence[Columns | None]:
        """Return the columns of several records as they are at one moment."""

    def keys(self, prefix: bytes, *, descending: bool, skip: int, most: int | None) -> list[bytes]:
        """Return the keys that begin with *prefix*, in the order of their bytes."""


class CollectionKeys:
    """Where the records of one collection are kept, by their keys."""

    def __init__(self, collection: str, kind: KeyKind) -> None:
        self.collection = collection
        self.kind = kind
        self.prefix = prefix_of(records_table(collection))

    def full(self, key: Any) -> bytes:
        """Return the key of a record in the file."""
        return self.prefix + key_text(self.kind, key)

    def own(self, full: bytes) -> Any:
        """Return the primary key of a record from its key in the file."""
        text = full[len(self.prefix) :]
        try:
            key = text_key(self.kind, text)
            self.kind.check(key)
        except ValueError as error:
            raise RecordInvalid(
                f"{self.collection}: the key {text!r} of a record is not a {self.kind.name} key, "
                "so another program wrote it: remove it, or declare Key[...] as it is",
                self.collection,
                text,
            ) from error
        return key


class TableStorage(KeyValueStorage):
    """Records as columns of one table file."""

    def __init__(self, *, name: str, read_only: bool) -> None:
        super().__init__(name=name, read_only=read_only)
        self._places: dict[tuple[str, str], CollectionKeys] = {}
        self._kinds: dict[str, str] = {}

    @abstractmethod
    def table(self) -> Table:
        """Return the open table."""

    def place(self, schema: Schema) -> CollectionKeys:
        """Return where the records of a collection are."""
        wanted = schema.collection, schema.key.name
        found = self._places.get(wanted)
        if found is None:
            found = self._places[wanted] = CollectionKeys(schema.collection, schema.key)
        return found

    # --- reading ----------------------------------------------------------------------------

    def view(self) -> TableView:
        return TableView(self.table(), {})

    def read(self, schema: Schema, keys: Sequence[Any]) -> Sequence[bytes | None]:
        self.check_open()
        place = self.place(schema)
        found = self.table().get_many([place.full(key) for key in keys])
        return [None if columns is None else from_columns(columns) for columns in found]

    def read_one(self, schema: Schema, key: Any) -> bytes | None:
        self.check_open()
        columns = self.table().get(self.place(schema).full(key))
        return None if columns is None else from_columns(columns)

    def scan(self, plan: Plan) -> Iterator[Pair]:
        self.check_open()
        if plan.most == 0:
            return iter(())
        self._check_kind(self.view(), plan.schema)
        return self._found(None, plan)

    def _scan_view(self, view: View, plan: Plan) -> Iterator[Pair]:
        """Find records while a batch keeps all others from writing."""
        assert isinstance(view, TableBatch)  # noqa: S101  # only rewrite() asks
        view.kinds = {plan.schema.collection: plan.schema.key}
        self._check_kind(view, plan.schema)
        return self._found(view.file, plan)

    def _check_kind(self, view: View, schema: Schema) -> None:
        if self._kinds.get(schema.collection) == schema.key.name:
            return
        known = self.collection_record(view, schema.collection)
        if known is not None:
            check_key_kind(known, schema, self.name)
            self._kinds[schema.collection] = schema.key.name

    def _found(self, held: Table | None, plan: Plan) -> Iterator[Pair]:
        """Yield what the engine finds; of a table that is open by then, unless one is *held*."""
        place = self.place(plan.schema)
        keys = iter(self._keys(held or self.table(), plan, place))
        left = plan.most
        while chunk := list(itertools.islice(keys, _CHUNK)):
            self.check_open()
            found = (held or self.table()).get_many(chunk)
            for key, columns in zip(chunk, found, strict=True):
                if columns is None:
                    continue
                yield place.own(key), from_columns(columns)
                if left is not None:
                    left -= 1
                    if not left:
                        return

    def _keys(self, table: Table, plan: Plan, place: CollectionKeys) -> Iterable[bytes]:
        """Return the keys that the engine finds, without the first ``plan.skip``."""
        descending = plan.native_order == "descending keys"
        prefix = place.prefix
        match plan.native:
            case None:
                return table.keys(prefix, descending=descending, skip=plan.skip, most=None)
            case Keys(keys):
                found = sorted(
                    map(place.full, possible_keys(plan.schema, keys)), reverse=descending
                )
                if plan.skip:
                    there = zip(found, table.get_many(found), strict=True)
                    found = [key for key, columns in there if columns is not None]
                return found[plan.skip :]
            case Prefix(text):
                return table.keys(
                    prefix + text.encode(), descending=descending, skip=plan.skip, most=None
                )
            case KeyRange():
                found = table.keys(prefix, descending=descending, skip=0, most=None)
                inside = _range_test(place, plan.native)
                return [key for key in found if inside(key)][plan.skip :]
            case UniqueValue(index, value):
                return self._by_unique_value(table, place, index, value)
        raise AssertionError(f"{plan.native!r} was made by another backend")

    def _by_unique_value(
        self, table: Table, place: CollectionKeys, index: str, value: Any
    ) -> Iterable[bytes]:
        """Return the key of the only record that can have the value; Python looks if it has."""
        view = TableView(table, {})
        known = self.collection_record(view, place.collection)
        entered = entry([value])
        if known is None or index not in known.indexes or entered is None:
            # No model that declares the index has been written yet: look at every record.
            return table.keys(place.prefix, descending=False, skip=0, most=None)
        key = view.get(unique_table(place.collection, index), entered)
        return [] if key is None else [place.full(place.kind.decode(key))]

    def count(self, plan: Plan) -> int:
        everything = plan.condition == conditions.EVERYTHING and plan.native is None
        if not everything or plan.skip or plan.offset:
            return super().count(plan)
        self.check_open()
        found = len(
            self.table().keys(self.place(plan.schema).prefix, descending=False, skip=0, most=None)
        )
        limit = plan.limit if plan.most is None else plan.most
        return found if limit is None else min(found, limit)

    # --- writing ----------------------------------------------------------------------------

    @abstractmethod
    def begin_batch(self, kinds: Mapping[str, KeyKind]) -> TableBatch:
        """Begin to write to collections with these kinds of key."""

    def batch(self) -> Batch:
        return self.begin_batch({})

    def prepare(self, changes: Sequence[Change]) -> Prepared:
        self.check_writable()
        batch = self.begin_batch(
            {change.schema.collection: change.schema.key for change in changes}
        )
        try:
            BatchWriter(self, batch).write(changes)
            batch.stage()
        except BaseException:
            batch.rollback()
            raise
        return batch


def _range_test(place: CollectionKeys, wanted: KeyRange) -> Any:
    low = None if wanted.low is None else place.full(wanted.low)
    high = None if wanted.high is None else place.full(wanted.high)

    def inside(key: bytes) -> bool:
        if low is not None and (key < low or (key == low and wanted.low_excluded)):
            return False
        return high is None or key < high or (key == high and wanted.high_included)

    return inside


# --- tables of bytes, for what KeyValueStorage does ----------------------------------------------


class TableView(View, AbstractContextManager["TableView"]):
    """The tables of ``KeyValueStorage``, as the file has them."""

    def __init__(self, table: Table, kinds: Mapping[str, KeyKind]) -> None:
        self.file = table
        self.kinds = kinds

    def __exit__(self, *error: object) -> None:
        pass

    def where(self, table: str, key: bytes) -> bytes:
        """Return under which key a pair is in the file."""
        if table.startswith("records:"):
            kind = self.kinds[table.partition(":")[2]]
            return prefix_of(table) + key_text(kind, kind.decode(key))
        return own_key(table, key)

    def back(self, table: str, full: bytes) -> bytes:
        """Return the key of a pair from that in the file."""
        if table.startswith("records:"):
            collection = table.partition(":")[2]
            kind = self.kinds[collection]
            return kind.encode(CollectionKeys(collection, kind).own(full))
        return own_key_back(table, full)

    def get(self, table: str, key: bytes) -> bytes | None:
        columns = self.columns(self.where(table, key))
        return None if columns is None else _bytes_of(table, columns)

    def columns(self, full: bytes) -> Columns | None:
        """Return the columns under a key in the file."""
        return self.file.get(full)

    def full_keys(self, table: str) -> list[bytes]:
        """Return the keys in the file of all pairs of a table."""
        return self.file.keys(prefix_of(table), descending=False, skip=0, most=None)

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        found = sorted((self.back(table, full), full) for full in self.full_keys(table))
        for key, full in reversed(found) if descending else found:
            if (low is None or key >= low) and (high is None or key < high):
                columns = self.columns(full)
                if columns is not None:
                    yield key, _bytes_of(table, columns)

    def count(self, table: str) -> int:
        return len(self.full_keys(table))


def _bytes_of(table: str, columns: Columns) -> bytes:
    if table.startswith("records:"):
        return from_columns(columns)
    return base64.b64decode(columns.get(_VALUE, b""))


def _columns_of(table: str, value: bytes) -> Columns:
    if table.startswith("records:"):
        return to_columns(value)
    return {_VALUE: base64.b64encode(value)}


class TableBatch(TableView, Batch, Prepared):
    """Changes kept aside until they are committed; what is read sees them."""

    def __init__(self, table: Table, kinds: Mapping[str, KeyKind]) -> None:
        super().__init__(table, kinds)
        self.changes: dict[bytes, Columns | None] = {}
        self.is_open = True

    def columns(self, full: bytes) -> Columns | None:
        if full in self.changes:
            return self.changes[full]
        return self.file.get(full)

    def full_keys(self, table: str) -> list[bytes]:
        prefix = prefix_of(table)
        found = dict.fromkeys(super().full_keys(table))
        for key, columns in self.changes.items():
            if key.startswith(prefix):
                if columns is None:
                    found.pop(key, None)
                else:
                    found[key] = None
        return list(found)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self.changes[self.where(table, key)] = _columns_of(table, value)

    def delete(self, table: str, key: bytes) -> None:
        self.changes[self.where(table, key)] = None

    def stage(self) -> None:
        """Do what can be done before the batch is committed."""

    @abstractmethod
    def apply(self) -> None:
        """Make all changes true at once."""

    @abstractmethod
    def end(self) -> None:
        """Let others write."""

    def commit(self) -> None:
        try:
            self.apply()
        finally:
            self.is_open = False
            self.end()

    def rollback(self) -> None:
        if self.is_open:
            self.is_open = False
            self.end()
