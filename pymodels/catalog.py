"""What a byte store remembers of a collection, made ready for use.

A storage keeps one ``Catalog`` a collection for as long as what is stored of the collection stays
the same bytes, so that it is decoded once, and what depends on it is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import msgspec

from pymodels import blocks
from pymodels.entries import EntryReader
from pymodels.indexes import IndexRecord, index_record, value_extractor
from pymodels.messagepack import MessagePack
from pymodels.ordered import OrderedIndex, ordered_index
from pymodels.schema import Schema
from pymodels.tables import (
    COLUMNS,
    META,
    Batch,
    CollectionRecord,
    IndexBatch,
    read_record,
    table_of,
)

_SATISFIED = "what its collection had when it had all that the model declares"


class Catalog:
    """The collection *name*, as a storage remembers it; ``data`` is ``record`` as it is stored.

    ``stamp`` is that of the last view in which it was found to be so.
    """

    def __init__(self, name: str, data: bytes, codec: MessagePack) -> None:
        self.name = name
        self.data = data
        self.stamp: int | None = None
        self.codec = codec
        self.record = read_record(name, data)
        self.ordered: tuple[OrderedIndex, ...] = tuple(self.record.ordered.values())
        self.unique: tuple[IndexRecord, ...] = tuple(self.record.indexes.values())
        self.plans: dict[Any, Any] = {}

    @cached_property
    def is_ready(self) -> bool:
        """Whether no index is still being built."""
        return all(index.ready for index in self.ordered)

    @cached_property
    def is_plain(self) -> bool:
        """Whether each record has one entry in each index, and nothing is to be asked of it."""
        return self.is_ready and not self.unique and self.entries.is_plain

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """The tables of the ordered indexes."""
        return tuple(table_of(self.name, index) for index in self.ordered)

    @cached_property
    def entries(self) -> EntryReader:
        """What makes entries in the ordered indexes of a record."""
        return EntryReader(self.ordered, self.codec)

    @cached_property
    def values(self) -> Callable[[bytes], dict[str, list[Any]]]:
        """The function from a record to its values in the unique indexes."""
        return value_extractor(self.unique, self.codec)

    @cached_property
    def names(self) -> frozenset[str]:
        """The stored names of all fields on which an index depends."""
        ordered = {part.path[0] for index in self.ordered for part in index.parts}
        clauses = {one.path[0] for index in self.ordered for one in index.where}
        unique = {name for record in self.unique for name in record.fields}
        return frozenset(ordered | clauses | unique)

    @cached_property
    def of_indexes(self) -> Callable[[bytes], Any]:
        """The function from a record to all that an index depends on, as it is stored."""
        return self.codec.raw_fields(tuple(self.names))

    def concerns_indexes(self, before: bytes, after: bytes) -> bool:
        """Tell whether two forms of a record may differ in what an index depends on."""
        try:
            return bool(self.of_indexes(before) != self.of_indexes(after))
        except msgspec.DecodeError:
            return True

    def has_all_of(self, schema: Schema) -> bool:
        """Tell whether nothing that *schema* declares is missing here."""
        return bool(schema.cache.get(_SATISFIED) == self.data)

    def note(self, schema: Schema) -> None:
        """Note that nothing that *schema* declares is missing here."""
        schema.cache[_SATISFIED] = self.data


def declared_unique(schema: Schema) -> Sequence[IndexRecord]:
    """Return what a storage has to remember of the unique indexes of a model."""
    return [index_record(schema, index) for index in schema.unique]


def declared_ordered(schema: Schema, codec: MessagePack) -> Sequence[OrderedIndex]:
    """Return what a storage has to remember of the ordered indexes of a model."""
    found: Sequence[OrderedIndex] | None = schema.cache.get("ordered indexes")
    if found is None:
        made = [ordered_index(schema, index, codec) for index in schema.indexes]
        found = schema.cache["ordered indexes"] = [one for one in made if one is not None]
    return found


def remember(batch: Batch, codec: MessagePack, name: str, record: CollectionRecord) -> Catalog:
    """Store what is to be remembered of a collection, and return it ready for use."""
    data = msgspec.msgpack.encode(record)
    batch.put(META, f"collection:{name}".encode(), data)
    return Catalog(name, data, codec)


def change_entries(
    batch: IndexBatch,
    table: str,
    removed: Sequence[tuple[bytes, bytes]],
    added: Sequence[tuple[bytes, bytes]],
) -> None:
    """Take pairs of entry and key out of an index, and put others in; both are in order."""
    if table.startswith(COLUMNS):
        blocks.change(batch, table, removed, added)
        return
    if removed:
        batch.remove(table, removed)
    if added:
        batch.add(table, added)


def add_entries(
    batch: IndexBatch, collection: str, reader: EntryReader, pairs: Sequence[tuple[bytes, bytes]]
) -> dict[str, OrderedIndex]:
    """Put records into indexes; return these as they are to be remembered now."""
    added, spread = reader.read_all(pairs)
    for index, entries_of_index in zip(reader.indexes, added, strict=True):
        change_entries(batch, table_of(collection, index), (), entries_of_index)
    return {index.name: index for index in reader.indexes} | reader.news(added, spread)
