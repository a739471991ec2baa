"""Carrying out one batch of changes in tables of bytes."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pymodels import maintenance
from pymodels.catalog import Catalog, add_entries, change_entries, declared_unique, remember
from pymodels.changes import Change, Delete, Expect, Patch, Put
from pymodels.concurrency import Turn, prepared_elsewhere
from pymodels.entries import Entries, EntryReader
from pymodels.errors import ModelError, OperandInvalid
from pymodels.expectations import check_expectation
from pymodels.expectations import taken as key_is_taken
from pymodels.indexes import IndexRecord, duplicate, entry, value_extractor
from pymodels.ordered import OrderedIndex
from pymodels.overlays import Overlay, changes_in
from pymodels.schema import Schema
from pymodels.storage import Prepared
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


_SCHEMA: Final = operator.attrgetter("schema")
_KEY: Final = operator.attrgetter("key")
_STORED: Final = operator.attrgetter("stored")
_EXPECT: Final = operator.attrgetter("expect")


def schemas_of(changes: Sequence[Change]) -> AbstractSet[Schema]:
    """Return the schemas of some changes, each once."""
    if len(changes) == 1:
        return {changes[0].schema}
    return dict.fromkeys(map(_SCHEMA, changes)).keys()


def check_name(storage: KeyValueStorage, name: str) -> None:
    """Raise ``ModelError`` if the name of a collection is too long for the name of a table."""
    longest = storage.longest_key
    if longest is not None and len(name.encode()) > longest // 2:
        raise ModelError(
            f"the collection name {name!r:.60} has {len(name.encode())} bytes, and {storage.name} "
            f"allows {longest // 2}"
        )


AT_ONCE: Final = 10_000
"""How many records are put into a new index together with the write that brought it."""


_WITH_EACH: Final = 200
"""How many more with every write after that."""


class BatchWriter:
    """Carries out one batch of changes: records first, then what the indexes say of them."""

    def __init__(self, storage: KeyValueStorage, batch: Batch) -> None:
        self.storage = storage
        # Without ``keeps_indexes`` it is asked for nothing that only others can do.
        self.batch: IndexBatch = batch  # type: ignore[assignment]
        self.known: dict[str, Catalog] = {}
        # Of each record that an index may have to do with: its schema, what it was and what it is.
        self.moves: dict[tuple[str, bytes], list[Any]] = {}
        self.has_changes = False
        self.stamp = self.batch.stamp if storage.keeps_indexes else None

    def write(self, changes: Sequence[Change], schemas: AbstractSet[Schema] | None = None) -> bool:
        """Carry out *changes*, of records of *schemas*; tell whether the tables are others now."""
        # Every model's indexes are known before the first change, whichever of them writes first.
        schemas = schemas or schemas_of(changes)
        for schema in schemas:
            self.know(schema)
        inserted = self.insert(changes) if len(schemas) == 1 else None
        if inserted is None and not self.change_at_once(changes):
            for change in changes:
                self.change(change)
        self.index(changes, inserted)
        return self.has_changes

    def write_overlays(self, overlays: Sequence[Overlay], since: int | None) -> None:
        """Store what a transaction made of records, if all that it found is as it was.

        That is so if the batch began with the state *since*.
        """
        is_same = self.storage.keeps_indexes and self.stamp == since is not None
        if not (is_same or all(map(self.is_unchanged, overlays))):
            # Which record it is, and what it was expected to be, is said there.
            self.write(changes_in(overlays, self.storage.codec))
            return
        for overlay in overlays:
            if overlay.changed:
                self.know(overlay.schema)
                self.replace(overlay)
        self.index((), None)

    def index(
        self, changes: Sequence[Change], inserted: Sequence[tuple[bytes, bytes]] | None
    ) -> None:
        """Tell the indexes of records that were changed, or *inserted* as new ones."""
        for collection, catalog in self.known.items():
            if catalog.unique or catalog.ordered:
                if inserted is not None:
                    self.index_new(catalog, changes[0].schema, inserted)
                else:
                    self.index_moved(catalog, collection)
                if self.has_changes and not catalog.is_ready:
                    maintenance.step(self.storage, self.batch, collection, _WITH_EACH)

    def commit(self) -> None:
        """Make it true; what only asserts leaves the revision as it was."""
        if not self.has_changes:
            self.batch.rollback()
            return
        self.batch.commit()
        if self.stamp is not None:
            stamp = self.batch.stamp
            for catalog in self.known.values():
                catalog.stamp = stamp

    def insert(self, changes: Sequence[Change]) -> list[tuple[bytes, bytes]] | None:
        """Store records of one model all at once, if all of them are new; return the pairs."""
        if len(changes) == 1:
            return self.insert_one(changes[0])
        if (
            not self.storage.keeps_indexes
            or set(map(type, changes)) != {Put}
            or set(map(_EXPECT, changes)) != {Expect.ABSENT}
        ):
            return None
        schema, longest = changes[0].schema, self.storage.longest_key
        encode = schema.key.encode
        keys = list(map(encode, map(_KEY, changes)))
        if longest is not None and max(map(len, keys)) > longest:
            return None
        pairs = list(zip(keys, map(_STORED, changes), strict=True))
        if not all(map(operator.lt, keys, itertools.islice(keys, 1, None))):
            if len(set(keys)) < len(keys):
                return None
            pairs.sort()
        taken = self.batch.insert(schema.table, pairs)
        if taken is not None:
            raise key_is_taken(next(c for c in changes if encode(c.key) == taken))
        self.has_changes = True
        return pairs

    def insert_one(self, change: Change) -> list[tuple[bytes, bytes]] | None:
        """Do what ``insert`` does, of a single record."""
        if type(change) is not Put or change.expect is not Expect.ABSENT:
            return None
        schema, longest = change.schema, self.storage.longest_key
        key, stored = schema.key.encode(change.key), change.stored
        if not self.storage.keeps_indexes or (longest is not None and len(key) > longest):
            return None
        pairs, batch = [(key, stored)], self.batch
        if batch.insert(schema.table, pairs) is not None:
            raise key_is_taken(change)
        self.has_changes = True
        return pairs

    def change_at_once(self, changes: Sequence[Change]) -> bool:
        """Carry out many changes with few calls of the engine, if no two are of one record."""
        if len(changes) < 2 or not self.storage.keeps_indexes:
            return False
        table, longest = changes[0].schema.table, self.storage.longest_key
        keys = [change.schema.key.encode(change.key) for change in changes]
        if len(set(keys)) < len(keys):
            return False
        if any(schema.table != table for schema in schemas_of(changes)):
            return False
        if longest is not None and max(map(len, keys)) > longest:
            return False
        batch = self.batch
        there = dict(batch.fetch(table, keys))
        puts: list[tuple[bytes, bytes]] = []
        deletions: list[bytes] = []
        for change, key in zip(changes, keys, strict=True):
            found = there.get(key)
            after = self.outcome(change, found)
            if after is found:
                continue
            if after is None:
                deletions.append(key)
            else:
                puts.append((key, after))
            self.note_move(change, key, found, after)
        if puts:
            puts.sort()
            batch.put_all(table, puts)
        for key in deletions:
            batch.delete(table, key)
        self.has_changes = self.has_changes or bool(puts or deletions)
        return True

    def is_unchanged(self, overlay: Overlay) -> bool:
        """Tell whether all records that were read are as they were found; False if unknown."""
        encode, longest = overlay.schema.key.encode, self.storage.longest_key
        found = {encode(key): one for key, one in overlay.found.items()}
        if not self.storage.keeps_indexes:
            return False
        if longest is not None and found and max(map(len, found)) > longest:
            return False
        there: Any = dict.fromkeys(found)
        there.update(self.batch.fetch(overlay.schema.table, list(found)))
        return bool(there == found)

    def replace(self, overlay: Overlay) -> None:
        """Put what was made of records in their place, and note it for the indexes."""
        schema, found = overlay.schema, overlay.found
        encode, known = schema.key.encode, self.known[schema.collection]
        is_indexed = overlay.names is None or not known.names.isdisjoint(overlay.names)
        puts: list[tuple[bytes, bytes]] = []
        for key, after in overlay.changed.items():
            packed, before = encode(key), found[key]
            if after is not None:
                puts.append((packed, after))
            elif before is not None:
                self.batch.delete(schema.table, packed)
                self.has_changes = True
            if is_indexed and (
                before is None or after is None or known.concerns_indexes(before, after)
            ):
                self.moves[schema.collection, packed] = [schema, before, after]
        if puts:
            puts.sort()
            self.batch.put_all(schema.table, puts)
            self.has_changes = True

    def change(self, change: Change) -> None:
        schema, batch = change.schema, self.batch
        table, key = schema.table, schema.key.encode(change.key)
        longest = self.storage.longest_key
        if longest is not None and len(key) > longest:  # there is no such record
            check_key(self.storage, change)
            check_expectation(self.storage.codec, change, None)
            return
        found = batch.get(table, key)
        after = self.outcome(change, found)
        if after is found:
            return
        if after is None:
            batch.delete(table, key)
        else:
            batch.put(table, key, after)
        self.has_changes = True
        self.note_move(change, key, found, after)

    def outcome(self, change: Change, found: bytes | None) -> bytes | None:
        """Return what *change* makes of a record: *found* itself, where it does nothing to it."""
        check_expectation(self.storage.codec, change, found)
        if type(change) is Put:
            after: bytes = change.stored
            return after
        if type(change) is Delete:
            return None
        if found is not None and type(change) is Patch and change.changes_something:
            return self.storage.codec.apply(found, change)
        return found

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
        come: list[list[tuple[bytes, bytes]]],
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


class PreparedBatch(Prepared):
    """A batch, and the turn that others wait for until it has ended."""

    def __init__(self, storage: KeyValueStorage, turn: Turn) -> None:
        self.batch = storage.batch()
        self.writer = BatchWriter(storage, self.batch)
        self._storage = storage
        self._turn = turn

    def carry_out(self, changes: Sequence[Change]) -> None:
        self.writer.write(changes)

    def carry_out_overlays(self, overlays: Sequence[Overlay], since: int | None) -> None:
        self.writer.write_overlays(overlays, since)

    def commit(self) -> None:
        if self._turn.is_inherited:
            raise prepared_elsewhere(self._storage.name)
        try:
            self.writer.commit()
        finally:
            self._turn.release()

    def rollback(self) -> None:
        if not self._turn.is_inherited:  # else it is for the parent to end it
            try:
                self.batch.rollback()
            finally:
                self._turn.release()
