"""From a batch of changes to MongoDB's commands.

One change is one command. Several are one transaction of the server's own: records are read in it,
expectations checked, and what has changed is written. Two transactions that touch one record do not
both succeed: the server ends one of them, and it is done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import bson
from bson.errors import BSONError
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo import errors as driver

from pymodels import expectations
from pymodels.changes import Change, Delete, Expect, Patch, Put, Revision
from pymodels.errors import ValidationError
from pymodels.expectations import check_expectation, not_there
from pymodels.ext.mongodb.client import OPTIONS, is_too_large
from pymodels.ext.mongodb.documents import (
    from_document,
    new_documents,
    patch_update,
    to_document,
)
from pymodels.ext.mongodb.failures import Taken, taken, value_taken
from pymodels.ext.mongodb.guarding import unchanged
from pymodels.ext.mongodb.values import ABSENT_MARK, EXTRA, TOUCHED, Version, identical
from pymodels.schema import Schema

if TYPE_CHECKING:
    from pymodels.ext.mongodb.storage import Storage

_MANY: Final = 5_000
"""How many keys are asked for in one command."""

_NO_WAY: Final = frozenset({28, 16837, 2})
"""Codes for a path that leads through something that is no mapping."""

Place: TypeAlias = tuple[str, Any]


# --- what is too large -----------------------------------------------------------------------


@contextmanager
def sizes_named(storage: Storage, changes: Sequence[Change]) -> Iterator[None]:
    """Name the record, and its size, where the driver or the server says that one is too large."""
    try:
        yield
    except (driver.PyMongoError, BSONError) as error:
        if not is_too_large(error):
            raise
        sizes = [(size_of(change), change) for change in changes]
        size, change = max(sizes, key=lambda found: found[0])
        raise ValidationError(
            f"{change.schema.name} {change.key!r} cannot be stored: it would be a document of "
            f"{size / 2**20:.1f} MiB or more, and MongoDB keeps documents of up to 16 MiB: store "
            "a part of it in records of its own",
            [("", f"a document of {size} bytes is too large for MongoDB")],
        ) from error


def size_of(change: Change) -> int:
    """Return the bytes that a change writes, in BSON."""
    match change:
        case Put():
            return len(bson.encode(to_document(change.key, change.stored, {}), False, OPTIONS))
        case Patch():
            values = {str(number): value for number, value in enumerate(change.set.values())}
            return len(bson.encode(values, False, OPTIONS))
    return 0


# --- one change -----------------------------------------------------------------------------


def write_one(storage: Storage, change: Change) -> bool:
    """Carry out one change by one command; return False if that takes a transaction."""
    collection = storage.collection(change.schema)
    mine = _meant(change)
    if mine is None:
        return False
    if isinstance(change, Put):
        return _put(storage, collection, change, mine)
    if isinstance(change, Delete):
        if change.expect is Expect.ABSENT:
            if collection.find_one(mine, {"_id": 1}) is not None:
                raise expectations.taken(change)
            return True
        deleted = collection.delete_one(mine).deleted_count
        return bool(deleted) or _is_settled(change)
    return _patch(storage, collection, change, mine)


def _meant(change: Change) -> Mapping[str, Any] | None:
    """Return the filter of the record that a change is about, as it is expected; None without."""
    if not isinstance(change.expect, Revision):
        return {"_id": change.key}
    version = change.expect.value
    return unchanged(change.key, version.stored) if isinstance(version, Version) else None


def _put(storage: Storage, collection: Any, change: Put, mine: Mapping[str, Any]) -> bool:
    entries = storage.unique.entries(change.schema.collection, change.stored)
    document = to_document(change.key, change.stored, entries)
    try:
        if change.expect is Expect.ABSENT:
            collection.insert_one(document)
            return True
        if any(name.startswith("$") for name in document):
            return False
        wanted = change.expect is Expect.ANYTHING
        found = collection.replace_one(mine, document, upsert=wanted)
    except driver.DuplicateKeyError as error:
        raise taken(storage, Taken(collection, [change], error.details or {})) from error
    return wanted or bool(found.matched_count) or _is_settled(change)


def _patch(storage: Storage, collection: Any, change: Patch, mine: Mapping[str, Any]) -> bool:
    if change.operations or not (change.set or change.unset) or change.expect is Expect.ABSENT:
        return False
    if storage.unique.computed(change.schema.collection):
        return False
    update = patch_update(change)
    if update is None:
        return False
    try:
        found = collection.update_one(mine, update)
    except driver.DuplicateKeyError as error:
        raise taken(storage, Taken(collection, [change], error.details or {})) from error
    except driver.WriteError as error:
        if error.code in _NO_WAY:
            return False
        raise
    return bool(found.matched_count) or _is_settled(change)


def _is_settled(change: Change) -> bool:
    """Tell whether nothing is left to do where no record was met; raise if one was expected."""
    if change.expect is Expect.PRESENT:
        raise not_there(change)
    return not isinstance(change.expect, Revision)  # a transaction finds out what is wrong


# --- new records ----------------------------------------------------------------------------


def new_records(changes: Sequence[Change]) -> dict[str, dict[Any, Put]] | None:
    """Return the records of a batch by collection and key; None if it does more than storing new.

    None too if it stores one twice.
    """
    found: dict[str, dict[Any, Put]] = {}
    schema: Schema | None = None
    mine: dict[Any, Put] = {}
    for change in changes:
        if type(change) is not Put or change.expect is not Expect.ABSENT:
            return None
        if change.schema is not schema:
            schema = change.schema
            mine = found.setdefault(schema.collection, {})
        mine[change.key] = change
    return found if sum(map(len, found.values())) == len(changes) else None


def insert(storage: Storage, records: Mapping[str, Mapping[Any, Put]], session: Any) -> None:
    """Store new records, in one command for each collection (which the driver divides)."""
    for name, puts in records.items():
        found = list(puts.values())
        collection = storage.collection(found[0].schema)
        if storage.unique.computed(name):
            entries = storage.unique.entries
            documents = [
                to_document(put.key, put.stored, entries(name, put.stored)) for put in found
            ]
        else:
            documents = new_documents(found)
        try:
            collection.insert_many(documents, ordered=False, session=session)
        except driver.BulkWriteError as error:
            failure = value_taken(collection, found, error)
            if failure is None:
                raise
            raise failure from error


# --- any batch ------------------------------------------------------------------------------


def writes(change: Change) -> bool:
    """Tell whether a change may write anything, and not only asks how a record is."""
    if isinstance(change, Patch):
        return bool(change.set or change.unset or change.operations)
    return isinstance(change, Put) or change.expect is not Expect.ABSENT


def is_same(before: Any, after: Any) -> bool:
    """Tell whether a record stays as it is, or stays away."""
    return before is after or identical(before, after)


class Batch:
    """A batch in a transaction of the server: what was there, what will be there."""

    def __init__(self, storage: Storage, session: Any) -> None:
        self._storage = storage
        self._session = session
        self._before: dict[Place, Any] = {}
        self._after: dict[Place, Any] = {}
        self._schemas: dict[str, Schema] = {}

    def found(self, schema: Schema, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Note what a scan inside of the transaction has read."""
        self._schemas[schema.collection] = schema
        for key, stored in pairs:
            self._before[schema.collection, key] = self._after[schema.collection, key] = stored

    def read(self, changes: Sequence[Change]) -> None:
        """Read the records that changes are about."""
        wanted: dict[str, dict[Any, None]] = {}
        for change in changes:
            name = change.schema.collection
            self._schemas[name] = change.schema
            if (name, change.key) not in self._before:
                wanted.setdefault(name, {})[change.key] = None
        for name, keys in wanted.items():
            collection = self._storage.collection(self._schemas[name])
            listed = list(keys)
            for key in listed:
                self._before[name, key] = self._after[name, key] = None
            for start in range(0, len(listed), _MANY):
                some = {"_id": {"$in": listed[start : start + _MANY]}}
                for document in collection.find(some, session=self._session):
                    key, stored = from_document(document)
                    self._before[name, key] = self._after[name, key] = stored

    def apply(self, changes: Sequence[Change], *, check: bool = True) -> None:
        """Work out what the records will be, and check what the changes expect."""
        codec = self._storage.codec
        for change in changes:
            place = (change.schema.collection, change.key)
            found = self._after[place]
            if check:
                check_expectation(codec, change, found)
            match change:
                case Put():
                    self._after[place] = change.stored
                case Patch() if found is not None:
                    if change.set or change.unset or change.operations:
                        self._after[place] = codec.apply(found, change)
                case Delete():
                    self._after[place] = None

    def write(self) -> None:
        """Write what has become different, and touch what has to stay as it is meanwhile.

        Where nothing has, all was as expected in one snapshot, and that is all that was asked.
        """
        by_collection: dict[str, list[Any]] = {}
        changed = False
        for (name, key), after in self._after.items():
            before = self._before[name, key]
            changed = changed or not is_same(before, after)
            by_collection.setdefault(name, []).append((key, before, after))
        if not changed:
            return
        for name, records in by_collection.items():
            if self._storage.shape(self._schemas[name]):
                continue  # nobody writes here, so there is nothing to be kept from others
            requests = self._requests(name, records)
            if not requests:
                continue
            collection = self._storage.collection(self._schemas[name])
            try:
                collection.bulk_write(requests, ordered=True, session=self._session)
            except driver.BulkWriteError as error:
                failure = value_taken(collection, (), error)
                if failure is None:
                    raise
                raise failure from error

    def _requests(self, name: str, records: Sequence[tuple[Any, Any, Any]]) -> list[Any]:
        unique = self._storage.unique
        watched = unique.fields(name)
        # Deletions first, so that a unique value may move from one record to another.
        gone: list[Any] = []
        rest: list[Any] = []
        new: list[Any] = []
        for key, before, after in records:
            mine = {"_id": key}
            if after is None and before is None:
                # Storing it and taking it away again meets everybody who stores it meanwhile.
                gone += [InsertOne({**mine, EXTRA: {ABSENT_MARK: 1}}), DeleteOne(mine)]
            elif after is None:
                gone.append(DeleteOne(mine))
            elif before is None:
                new.append(InsertOne(to_document(key, after, unique.entries(name, after))))
            elif is_same(before, after):
                rest += [
                    UpdateOne(mine, {"$set": {f"{EXTRA}.{TOUCHED}": 1}}),
                    UpdateOne(mine, self._untouch(before, name)),
                ]
            else:
                document = to_document(key, after, unique.entries(name, after))
                moves = bool(unique.computed(name)) or any(
                    not identical(before.get(field), after.get(field)) for field in watched
                )
                if moves or any(field.startswith("$") for field in document):
                    gone.append(DeleteOne(mine))
                    new.append(InsertOne(document))
                else:
                    rest.append(ReplaceOne(mine, document))
        return [*gone, *rest, *new]

    def _untouch(self, stored: Any, name: str) -> dict[str, Any]:
        kept = to_document(None, stored, self._storage.unique.entries(name, stored)).get(EXTRA)
        return {"$set": {EXTRA: kept}} if kept else {"$unset": {EXTRA: ""}}
