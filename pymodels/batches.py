"""Carrying out one batch of changes in tables of bytes."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from pymodels.changes import Change, Delete, Expect, Inserts, Patch, Put
from pymodels.concurrency import Turn, prepared_elsewhere
from pymodels.errors import ModelError, OperandInvalid
from pymodels.expectations import check_expectation
from pymodels.expectations import taken as key_is_taken
from pymodels.indexing import IndexWriter
from pymodels.overlays import Overlay, changes_in
from pymodels.pairs import Pairs
from pymodels.schema import Schema
from pymodels.storage import Prepared

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


def schemas_of(changes: Sequence[Change]) -> AbstractSet[Schema]:
    """Return the schemas of some changes, each once."""
    if type(changes) is Inserts:
        return {changes.schema}
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


class BatchWriter(IndexWriter):
    """Carries out one batch of changes: records first, then what the indexes say of them."""

    def write(self, changes: Sequence[Change], schemas: AbstractSet[Schema] | None = None) -> bool:
        """Carry out *changes*, of records of *schemas*; tell whether the tables are others now."""
        if len(changes) == 1:
            (one,) = changes
            if type(one) is Put and one.expect is Expect.ABSENT:
                changes = Inserts(one.schema, [one.key], [one.stored])
        # Every model's indexes are known before the first change, whichever of them writes first.
        schemas = schemas or schemas_of(changes)
        for schema in schemas:
            self.know(schema)
        if type(changes) is Inserts:
            pairs = self.insert(changes)
            if pairs is not None:
                self.index(changes.schema, pairs)
                return True
        if not self.change_at_once(changes):
            for change in changes:
                self.change(change)
        self.index()
        return self.has_changes

    def delete(self, schema: Schema, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Take away records that are there, in the order of their keys."""
        self.know(schema)
        catalog = self.known[schema.collection]
        self.batch.delete_all(schema.table, [key for key, _ in pairs])
        self.has_changes = True
        if catalog.unique:
            self.update_unique(catalog, [(key, schema, stored, None) for key, stored in pairs])
        if catalog.ordered:
            gone, _ = catalog.entries.read_all(pairs)
            self.put_entries(catalog, schema.collection, gone, [[] for _ in gone], set())
        self.index()

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
        self.index()

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

    def insert(self, changes: Inserts) -> Pairs | None:
        """Store records of one model all at once, if all of them are new; return the pairs."""
        if not self.storage.keeps_indexes:
            return None
        schema, longest = changes.schema, self.storage.longest_key
        encode = schema.key.encode
        keys = list(map(encode, changes.keys))
        if longest is not None and max(map(len, keys)) > longest:
            return None
        pairs = Pairs(keys, changes.stored)
        if not all(map(operator.lt, keys, itertools.islice(keys, 1, None))):
            if len(set(keys)) < len(keys):
                return None
            order = sorted(range(len(keys)), key=keys.__getitem__)
            pairs = Pairs([keys[at] for at in order], [changes.stored[at] for at in order])
        taken = self.batch.insert(schema.table, pairs)
        if taken is not None:
            raise key_is_taken(next(c for c in changes if encode(c.key) == taken))
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
        if not is_indexed:  # nothing is new or gone, so that the order of keys gains nothing
            puts = list(zip(map(encode, overlay.changed), overlay.changed.values(), strict=True))
            self.batch.put_all(schema.table, puts)
            self.has_changes = True
            return
        for key, after in overlay.changed.items():
            packed, before = encode(key), found[key]
            if after is not None:
                puts.append((packed, after))
            elif before is not None:
                self.batch.delete(schema.table, packed)
                self.has_changes = True
            if before is None or after is None or known.concerns_indexes(before, after):
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
