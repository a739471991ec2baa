"""Carrying out one batch of changes in a table file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pymodels.changes import Change, Patch, Put
from pymodels.expectations import check_expectation
from pymodels.ext._tokyo import catalog as remembered
from pymodels.ext._tokyo.catalog import (
    FORMAT,
    FORMAT_KEY,
    Catalog,
    Columns,
    catalog_key,
    check_key_kind,
    declared_indexes,
    with_misfits,
)
from pymodels.ext._tokyo.columns import MISFITS, column_name, to_columns, types_of
from pymodels.ext._tokyo.keys import own_key
from pymodels.ext._tokyo.ordering import gaps_key, with_gaps
from pymodels.indexes import IndexRecord, duplicate, entry, index_record, value_extractor
from pymodels.schema import Schema
from pymodels.storage import Prepared

if TYPE_CHECKING:
    from pymodels.ext._tokyo.storage import TableStorage

_KEY = b"key"

_CHUNK = 256


class TableBatch(Prepared):
    """Changes kept aside until they are committed; what is read through it sees them."""

    def __init__(self, storage: TableStorage) -> None:
        self.storage = storage
        self.table = storage.table()
        self.changes: dict[bytes, Columns | None] = {}
        self.seen: dict[bytes, Columns | None] = {}
        self.new_indexes: dict[bytes, str] = {}
        self.catalogs: dict[str, Catalog] = {}
        self.is_open = True

    def look(self, keys: Sequence[bytes]) -> None:
        """Read several records at once, which will be asked for one by one."""
        wanted = [key for key in dict.fromkeys(keys) if key not in self.seen]
        self.seen.update(zip(wanted, self.table.get_many(wanted), strict=True))

    def columns(self, full: bytes) -> Columns | None:
        """Return the record under a key in the file, as this batch has it."""
        if full in self.changes:
            return self.changes[full]
        if full not in self.seen:
            self.seen[full] = self.table.get(full)
        return self.seen[full]

    @abstractmethod
    def apply(self) -> None:
        """Make all changes true at once."""

    def end(self) -> None:
        """Let other processes write, where there can be any."""

    def commit(self) -> None:
        try:
            if self.changes:
                self.apply()
                self.storage.note_catalogs(self.catalogs)
        finally:
            self.is_open = False
            self.end()

    def rollback(self) -> None:
        if self.is_open:
            self.is_open = False
            self.end()


class TableWriter:
    """Carries out one batch: records first, then what the unique indexes say of them."""

    def __init__(self, storage: TableStorage, batch: TableBatch) -> None:
        self.storage = storage
        self.batch = batch
        self.known: dict[str, Catalog] = {}
        self.indexed: dict[str, Mapping[bytes, str]] = {}
        self.moves: list[tuple[Schema, Any, bytes | None, bytes | None]] = []

    def write(self, changes: Sequence[Change]) -> None:
        """Stage *changes*; raise what a failed expectation calls for."""
        schemas = {id(change.schema): change.schema for change in changes}.values()
        place = self.storage.place
        self.batch.look(
            [
                FORMAT_KEY,
                *(catalog_key(schema.collection) for schema in schemas),
                *(gaps_key(schema.collection) for schema in schemas),
                *(place(change.schema).full(change.key) for change in changes),
            ]
        )
        for schema in schemas:
            self.know(schema)
        for change in changes:
            self.change(change)
        if self.moves:
            self.update_unique()

    def change(self, change: Change) -> None:
        schema, batch = change.schema, self.batch
        known = self.known[schema.collection]
        place = self.storage.place(schema)
        full = place.full(change.key)
        columns = batch.columns(full)
        found = None if columns is None else place.stored(columns, schema)
        check_expectation(self.storage.codec, change, found)
        after: bytes | None = None
        if isinstance(change, Put):
            after = change.stored
        elif isinstance(change, Patch):
            if found is None or not (change.set or change.unset or change.operations):
                return
            after = self.storage.codec.apply(found, change)
        elif found is None:
            return
        if after is None:
            batch.changes[full] = None
        else:
            columns, letters = to_columns(after)
            batch.changes[full] = with_misfits(columns, letters, known.indexes)
            self.note_gaps(schema.collection, columns, letters)
        if known.unique:
            self.moves.append((schema, change.key, found, after))

    # --- what is remembered -----------------------------------------------------------------

    def know(self, schema: Schema) -> None:
        name = schema.collection
        known = self.known.get(name)
        is_new = False
        if known is None:
            known = remembered.from_columns(self.batch.columns(catalog_key(name)))
            is_new = known is None
            if known is None:
                known = Catalog(schema.key.name)
        check_key_kind(known, schema, self.storage.name)
        new_unique = [
            index_record(schema, index) for index in schema.unique if index.name not in known.unique
        ]
        new_indexes = {
            field: index
            for field, index in declared_indexes(schema).items()
            if field not in known.indexes and not self.storage.place(schema).foreign
        }
        known.indexes |= new_indexes
        self.known[name], self.indexed[name] = known, known.indexed
        for record in new_unique:
            known.unique[record.name] = record
            self.build(schema, record)
        if new_indexes and not is_new:
            self.note_misfits(schema, known)
        if is_new or new_unique or new_indexes:
            self.batch.catalogs[name] = known
            self.batch.changes[catalog_key(name)] = remembered.to_columns(known)
            if self.batch.columns(FORMAT_KEY) is None:
                self.batch.changes[FORMAT_KEY] = {b"version": b"%d" % FORMAT}
        for field, index in new_indexes.items():
            self.batch.new_indexes[column_name(field)] = index.kind
        if new_indexes:  # which are only of use if what they do not hold is found as fast
            self.batch.new_indexes[MISFITS] = "lexical"

    def records(self, schema: Schema) -> Iterator[tuple[bytes, Columns]]:
        """Yield all records of a collection as they were before this batch."""
        keys = self.storage.all_keys(self.batch.table, schema)
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            for key, columns in zip(chunk, self.batch.table.get_many(chunk), strict=True):
                if columns is not None:
                    yield key, columns

    def note_misfits(self, schema: Schema, known: Catalog) -> None:
        """Note the records from before that a new index is not trusted with."""
        for key, columns in self.records(schema):
            letters = {name: letter.decode() for name, letter in types_of(columns).items()}
            after = with_misfits(dict(columns), letters, known.indexes)
            if after != columns:
                self.batch.changes[key] = after
            self.note_gaps(schema.collection, columns, letters)

    def note_gaps(self, collection: str, columns: Columns, letters: Mapping[bytes, str]) -> None:
        """Note it if a record lacks a column that has an index."""
        indexed = self.indexed[collection]
        if indexed:
            key = gaps_key(collection)
            after = with_gaps(self.batch.columns(key), columns, letters, indexed)
            if after is not None:
                self.batch.changes[key] = after

    # --- unique entries ---------------------------------------------------------------------

    def build(self, schema: Schema, record: IndexRecord) -> None:
        """Make the entries of an index for the records that were there before it."""
        values_of = value_extractor([record], self.storage.codec)
        place = self.storage.place(schema)
        for full, columns in self.records(schema):
            values = values_of(place.stored(columns, schema))[record.name]
            self.claim(schema, record, values, place.own(full))

    def claim(self, schema: Schema, record: IndexRecord, values: Sequence[Any], key: Any) -> None:
        full = entry_key(schema.collection, record.name, values)
        if full is None:
            return
        other = self.batch.columns(full)
        own = self.storage.place(schema).full(key)
        if other is not None and other[_KEY] != own:
            taken_by = self.storage.place(schema).own(other[_KEY])
            raise duplicate(schema.collection, record.fields, values, taken_by)
        self.batch.changes[full] = {_KEY: own}

    def update_unique(self) -> None:
        """Give up all old entries before new ones are claimed: values may change places."""
        claims: list[tuple[Schema, IndexRecord, Sequence[Any], Any]] = []
        extractors: dict[str, Callable[[bytes], Mapping[str, list[Any]]]] = {}
        for schema, key, before, after in self.moves:
            collection = schema.collection
            records = self.known[collection].unique
            if collection not in extractors:
                extractors[collection] = value_extractor(list(records.values()), self.storage.codec)
            values_of = extractors[collection]
            old = {} if before is None else values_of(before)
            new = {} if after is None else values_of(after)
            own = self.storage.place(schema).full(key)
            for name, record in records.items():
                was = entry_key(collection, name, old.get(name, [None]))
                now = entry_key(collection, name, new.get(name, [None]))
                if was == now:
                    continue
                if was is not None and (self.batch.columns(was) or {}).get(_KEY) == own:
                    self.batch.changes[was] = None
                if now is not None:
                    claims.append((schema, record, new[name], key))
        for claim in claims:
            self.claim(*claim)


def entry_key(collection: str, index: str, values: Sequence[Any]) -> bytes | None:
    """Return where it is kept which record has some unique values, None where one is null."""
    found = entry(values)
    if found is None:
        return None
    return own_key(f"unique:{collection}:{index}", found)


def entered(columns: Columns | None) -> bytes | None:
    """Return the key in the file of the record that an entry names."""
    return None if columns is None else columns[_KEY]
