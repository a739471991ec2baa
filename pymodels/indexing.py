"""Keeping the indexes of a batch: what is remembered of them, and the entries of each record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pymodels import maintenance
from pymodels.catalog import Catalog, add_entries, change_entries, declared_unique, remember
from pymodels.changes import Change, Patch
from pymodels.entries import Entries, EntryReader
from pymodels.indexes import IndexRecord, duplicate, entry, value_extractor
from pymodels.ordered import OrderedIndex
from pymodels.schema import Schema
from pymodels.tables import (
    FORMAT,
    META,
    Batch,
    CollectionRecord,
    IndexBatch,
    check_key_kind,
    records_table,
    unique_table,
)

if TYPE_CHECKING:
    from pymodels.keyvalue import KeyValueStorage


AT_ONCE: Final = 10_000
"""How many records are put into a new index together with the write that brought it."""


_WITH_EACH: Final = 200
"""How many more with every write after that."""


class IndexWriter:
    """What one batch has to do with indexes.

    ``known`` is what is remembered of the collections that it writes to. ``moves`` are the records
    of which an index has yet to be told: the schema of each, what it was and what it is.
    """

    def __init__(self, storage: KeyValueStorage, batch: Batch) -> None:
        self.storage = storage
        # Without ``keeps_indexes`` it is asked for nothing that only others can do.
        self.batch: IndexBatch = batch  # type: ignore[assignment]
        self.known: dict[str, Catalog] = {}
        self.moves: dict[tuple[str, bytes], list[Any]] = {}
        self.has_changes = False
        self.stamp = self.batch.stamp if storage.keeps_indexes else None

    def index(
        self, schema: Schema | None = None, inserted: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        """Tell the indexes of records that were changed, or *inserted* as new ones of *schema*."""
        for collection, catalog in self.known.items():
            if catalog.unique or catalog.ordered:
                if schema is not None:
                    self.index_new(catalog, schema, inserted)
                else:
                    self.index_moved(catalog, collection)
                if self.has_changes and not catalog.is_ready:
                    maintenance.step(self.storage, self.batch, collection, _WITH_EACH)

    def note_move(
        self, change: Change, key: bytes, found: bytes | None, after: bytes | None
    ) -> None:
        """Note a change of a record in which an index may have a part."""
        schema = change.schema
        known = self.known[schema.collection]
        if (
            known.names
            and not _leaves_alone(change, known.names)
            and (found is None or after is None or known.concerns_indexes(found, after))
        ):
            move = self.moves.setdefault((schema.collection, key), [schema, found, after])
            move[2] = after

    # --- what is remembered of collections --------------------------------------------------

    def know(self, schema: Schema) -> None:
        """Find out what is remembered of the collection, and add what its model declares."""
        name, storage = schema.collection, self.storage
        catalog = storage.catalogs.get(name)
        # Of the first collection it may be known from the batch before; another model may since
        # have brought something.
        if not self.known and catalog is not None and catalog.stamp == self.stamp is not None:
            if catalog.has_all_of(schema):
                self.known[name] = catalog
                return
        else:
            catalog = storage.catalog(self.batch, name)
        if catalog is not None:
            check_key_kind(catalog.record, schema, storage.name)
            if catalog.has_all_of(schema):
                self.known[name] = catalog
                return
            record = CollectionRecord(
                catalog.record.key, dict(catalog.record.indexes), dict(catalog.record.ordered)
            )
        else:
            record = CollectionRecord(schema.key.name)
        is_new = catalog is None
        for unique in declared_unique(schema):
            if unique.name not in record.indexes:
                record.indexes[unique.name] = unique
                self.build(schema, unique)
                is_new = True
        missing = [
            index for index in storage.ordered_indexes(schema) if index.name not in record.ordered
        ]
        for index in self.begin(name, missing):
            record.ordered[index.name] = index
            is_new = True
        if is_new or catalog is None:
            self.has_changes = True
            self.batch.put(META, b"format", b"%d" % FORMAT)
            catalog = remember(self.batch, self.storage.codec, name, record)
        catalog.note(schema)
        self.known[name] = catalog

    # --- ordered indexes --------------------------------------------------------------------

    def begin(self, collection: str, added: Sequence[OrderedIndex]) -> Sequence[OrderedIndex]:
        """Begin to keep new indexes: at once where there are few records, else bit by bit."""
        table = records_table(collection)
        if not added or self.batch.count(table) == 0:
            return added
        if self.batch.count(table) > AT_ONCE:
            return [msgspec.structs.replace(index, ready=False) for index in added]
        pairs = list(self.batch.items(table, None, None, descending=False))
        reader = EntryReader(added, self.storage.codec)
        batch = self.batch
        return list(add_entries(batch, collection, reader, pairs).values())

    def index_new(
        self, catalog: Catalog, schema: Schema, pairs: Sequence[tuple[bytes, bytes]]
    ) -> None:
        """Add records of which none was there before."""
        if catalog.unique:
            self.update_unique(catalog, [(key, schema, None, stored) for key, stored in pairs])
        if catalog.ordered:
            read = catalog.entries.read_one if len(pairs) == 1 else catalog.entries.read_all
            come, spread = read(pairs)
            self.put_entries(catalog, schema.collection, [()] * len(come), come, spread)

    def index_moved(self, catalog: Catalog, collection: str) -> None:
        """Note of each record that was changed what it was, and what it is."""
        moves = [(k, *move) for (n, k), move in self.moves.items() if n == collection]
        if not moves:
            return
        if catalog.unique:
            self.update_unique(catalog, moves)
        if not catalog.ordered:
            return
        indexes, read = catalog.ordered, catalog.entries.read
        gone: list[list[tuple[bytes, bytes]]] = [[] for _ in indexes]
        come: list[list[tuple[bytes, bytes]]] = [[] for _ in indexes]
        spread: set[int] = set()
        nothing: list[Entries] = [()] * len(indexes)
        for key, _, before, after in moves:
            was = nothing if before is None else read(before)
            now = nothing if after is None else read(after)
            for number, (old, new) in enumerate(zip(was, now, strict=True)):
                if old == new:
                    continue
                if len(new) > 1:
                    spread.add(number)
                gone[number] += [(entry, key) for entry in old if entry not in new]
                come[number] += [(entry, key) for entry in new if entry not in old]
        for pairs in (*gone, *come):
            pairs.sort()
        self.put_entries(catalog, collection, gone, come, spread)

    def put_entries(
        self,
        catalog: Catalog,
        collection: str,
        gone: Sequence[Sequence[tuple[bytes, bytes]]],
        come: Sequence[Sequence[tuple[bytes, bytes]]],
        spread: set[int],
    ) -> None:
        """Take out of each index what is gone, and put in what came; both are in order."""
        batch = self.batch
        for table, removed, added in zip(catalog.tables, gone, come, strict=True):
            if removed or added:
                change_entries(batch, table, removed, added)
        news = catalog.entries.news(come, spread)
        if news:
            known = catalog.record
            record = CollectionRecord(known.key, known.indexes, known.ordered | news)
            remember(batch, self.storage.codec, collection, record)

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

    def update_unique(self, catalog: Catalog, moves: Sequence[tuple[Any, ...]]) -> None:
        """Give up all old entries before new ones are claimed: values may change places."""
        claims: list[tuple[Schema, str, IndexRecord, Sequence[Any], bytes]] = []
        values_of = catalog.values
        for key, schema, before, after in moves:
            old = {} if before is None else values_of(before)
            new = {} if after is None else values_of(after)
            for record in catalog.unique:
                name = record.name
                table = unique_table(schema.collection, name)
                was, now = entry(old.get(name, [None])), entry(new.get(name, [None]))
                if was == now:
                    continue
                if was is not None and self.batch.get(table, was) == key:
                    self.batch.delete(table, was)
                if now is not None:
                    claims.append((schema, table, record, new[name], key))
        for claim in claims:
            self.claim(*claim)


def _leaves_alone(change: Change, names: frozenset[str]) -> bool:
    """Tell whether a change can make no difference to indexes that depend on these fields."""
    return type(change) is Patch and not (
        any(path[0] in names for path in change.set)
        or any(path[0] in names for path in change.unset)
        or any(path[0] in names for path in change.operations)
    )
