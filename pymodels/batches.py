"""Carrying out one batch of changes in tables of bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pymodels.changes import Change, Patch, Put
from pymodels.errors import ModelError, OperandInvalid
from pymodels.indexes import IndexRecord, duplicate, entry, index_record, value_extractor
from pymodels.schema import Schema
from pymodels.storage import check_expectation
from pymodels.tables import (
    FORMAT,
    META,
    Batch,
    CollectionRecord,
    check_key_kind,
    records_table,
    unique_table,
)

if TYPE_CHECKING:
    from pymodels.keyvalue import KeyValueStorage


def check_key(storage: KeyValueStorage, change: Change) -> None:
    """Raise ``OperandInvalid`` if a record is to be stored under a key that is too long."""
    schema, longest = change.schema, storage.longest_key
    if longest is not None and isinstance(change, Put):
        length = len(schema.key.encode(change.key))
        if length > longest:
            raise OperandInvalid(
                f"{schema.name}.{schema.key_name}: the key {change.key!r:.60} has {length} bytes, "
                f"and {storage.name} allows {longest}: keep long text in a field, and let the key "
                "be short"
            )


def check_name(storage: KeyValueStorage, name: str) -> None:
    """Raise ``ModelError`` if the name of a collection is too long for the name of a table."""
    longest = storage.longest_key
    if longest is not None and len(name.encode()) > longest // 2:
        raise ModelError(
            f"the collection name {name!r:.60} has {len(name.encode())} bytes, and {storage.name} "
            f"allows {longest // 2}"
        )


class BatchWriter:
    """Carries out one batch of changes: records first, then what the unique indexes say of them."""

    def __init__(self, storage: KeyValueStorage, batch: Batch) -> None:
        self.storage = storage
        self.batch = batch
        self.known: dict[str, CollectionRecord] = {}
        self.moves: list[tuple[Schema, bytes, bytes | None, bytes | None]] = []
        self.has_changes = False

    def write(self, changes: Sequence[Change]) -> bool:
        """Carry out *changes*; tell whether the tables are others than before."""
        # Every model's indexes are known before the first change, whichever of them writes first.
        for schema in {id(change.schema): change.schema for change in changes}.values():
            self.know(schema)
        for change in changes:
            self.change(change)
        if self.moves:
            self.update_unique()
        return self.has_changes

    def change(self, change: Change) -> None:
        schema, batch = change.schema, self.batch
        known = self.known[schema.collection]
        table, key = records_table(schema.collection), schema.key.encode(change.key)
        longest = self.storage.longest_key
        if longest is not None and len(key) > longest:  # there is no such record
            check_key(self.storage, change)
            check_expectation(self.storage.codec, change, None)
            return
        found = batch.get(table, key)
        check_expectation(self.storage.codec, change, found)
        after: bytes | None = None
        if isinstance(change, Put):
            after = change.stored
        elif isinstance(change, Patch):
            if found is None or not (change.set or change.unset or change.operations):
                return
            after = self.storage.codec.apply(found, change)
        if after is not None:
            batch.put(table, key, after)
        elif found is not None:
            batch.delete(table, key)
        else:
            return
        self.has_changes = True
        if known.indexes:
            self.moves.append((schema, key, found, after))

    # --- what is remembered of collections --------------------------------------------------

    def know(self, schema: Schema) -> CollectionRecord:
        """Return what is remembered of the collection, with what its model adds to that."""
        name = schema.collection
        known = self.storage.collection_record(self.batch, name)
        is_new = known is None
        if known is None:
            known = CollectionRecord(schema.key.name, {})
        check_key_kind(known, schema, self.storage.name)
        added = [
            index_record(schema, index)
            for index in schema.unique
            if index.name not in known.indexes
        ]
        for record in added:
            known.indexes[record.name] = record
            self.build(schema, record)
        if is_new or added:
            self.has_changes = True
            self.batch.put(META, b"format", b"%d" % FORMAT)
            self.batch.put(META, f"collection:{name}".encode(), msgspec.msgpack.encode(known))
        self.known[name] = known
        return known

    # --- unique entries ---------------------------------------------------------------------

    def build(self, schema: Schema, record: IndexRecord) -> None:
        """Make the entries of an index for the records that were there before it."""
        table = unique_table(schema.collection, record.name)
        values_of = value_extractor([record], self.storage.codec)
        for key, stored in list(
            self.batch.items(records_table(schema.collection), None, None, descending=False)
        ):
            self.claim(schema, table, record, values_of(stored)[record.name], key)

    def claim(
        self, schema: Schema, table: str, record: IndexRecord, values: Sequence[Any], key: bytes
    ) -> None:
        found = entry(values)
        if found is None:
            return
        other = self.batch.get(table, found)
        if other is not None and other != key:
            raise duplicate(schema.collection, record.fields, values, schema.key.decode(other))
        self.batch.put(table, found, key)

    def update_unique(self) -> None:
        """Give up all old entries before new ones are claimed: values may change places."""
        claims: list[tuple[Schema, str, IndexRecord, Sequence[Any], bytes]] = []
        extractors: dict[str, Callable[[bytes], dict[str, list[Any]]]] = {}
        for schema, key, before, after in self.moves:
            collection = schema.collection
            records = self.known[collection].indexes
            if collection not in extractors:
                extractors[collection] = value_extractor(list(records.values()), self.storage.codec)
            values_of = extractors[collection]
            old = {} if before is None else values_of(before)
            new = {} if after is None else values_of(after)
            for name, record in records.items():
                table = unique_table(collection, name)
                was, now = entry(old.get(name, [None])), entry(new.get(name, [None]))
                if was == now:
                    continue
                if was is not None and self.batch.get(table, was) == key:
                    self.batch.delete(table, was)
                if now is not None:
                    claims.append((schema, table, record, new[name], key))
        for claim in claims:
            self.claim(*claim)
