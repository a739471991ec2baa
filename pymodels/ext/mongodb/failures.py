"""Which records of a batch cannot be stored, because a key or a unique value is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import bson
from pymongo import errors as driver

from pymodels import expectations
from pymodels.changes import Change, Put
from pymodels.errors import DuplicateKey
from pymodels.ext.mongodb.client import OPTIONS
from pymodels.ext.mongodb.documents import to_document

if TYPE_CHECKING:
    from pymodels.ext.mongodb.storage import Storage

DUPLICATE: Final = 11000
_MANY: Final = 1_000
_SHOWN: Final = 20


class Taken(Exception):
    """A value is taken; looked at more closely once the transaction has ended.

    ``changes`` are those of the command, none if they cannot be told apart, ``failed`` which of
    them the server named, and ``details`` what it said of the first.
    """

    def __init__(
        self,
        collection: Any,
        changes: Sequence[Change],
        details: Mapping[str, Any],
        failed: Sequence[int] = (0,),
    ) -> None:
        super().__init__("a value is taken")
        self.collection = collection
        self.changes = changes
        self.details = details
        self.failed = failed


def value_taken(
    collection: Any, changes: Sequence[Change], error: driver.BulkWriteError
) -> Taken | None:
    """Return what a bulk write failed of, if it was a value that is taken."""
    failures = (error.details or {}).get("writeErrors") or [{}]
    if failures[0].get("code") != DUPLICATE:
        return None
    failed = [one["index"] for one in failures if one.get("code") == DUPLICATE]
    return Taken(collection, changes, failures[0], failed)


def taken(storage: Storage, failure: Taken) -> DuplicateKey:
    """Return the error for keys, or unique values, that other records have."""
    changes, details = failure.changes, failure.details
    name = storage.name_of(failure.collection)
    error = storage.unique.explain(name, failure.collection, details)
    if error is None and changes:
        error = expectations.taken(changes[failure.failed[0]])
    if error is None:
        key = (details.get("keyValue") or {}).get("_id")
        text = f"{name}: there is a record with the key {key!r} already"
        error = DuplicateKey(text, name, "pk", key)
    if not changes:
        return error
    keys = [changes[position].key for position in failure.failed]
    if storage.whole_batches and len(changes) > 1:
        # The server ends a transaction at its first failure; the others are looked for here.
        keys = list(dict.fromkeys([*keys, *_also_taken(storage, failure)]))
    message = str(error)
    if len(keys) > 1:
        shown = ", ".join(map(repr, keys[:_SHOWN])) + (", ..." if len(keys) > _SHOWN else "")
        message += f". {len(keys)} of the {len(changes)} records cannot be stored: {shown}"
    if not storage.whole_batches and len(changes) > 1:
        message += ". Those that could be were stored, since whole_batches is False"
    return DuplicateKey(message, error.collection, error.field, error.value, keys)


def _also_taken(storage: Storage, failure: Taken) -> list[Any]:
    """Return the keys of new records whose keys, or values in the same index, are taken."""
    name = storage.name_of(failure.collection)
    paths = tuple(failure.details.get("keyPattern") or ())
    found: list[Any] = []
    for wanted in {("_id",), paths}:
        by_value: dict[bytes, list[Any]] = {}
        questions: list[dict[str, Any]] = []
        for change in failure.changes:
            if not isinstance(change, Put):
                continue
            entries = storage.unique.entries(name, change.stored)
            document = to_document(change.key, change.stored, entries)
            question = {path: _at(document, path) for path in wanted}
            if question.get(wanted[0]) is not None:
                same = by_value.setdefault(bson.encode(question, False, OPTIONS), [])
                if not same:
                    questions.append(question)
                same.append(change.key)
        for start in range(0, len(questions), _MANY):
            either = {"$or": questions[start : start + _MANY]}
            for document in failure.collection.find(either, dict.fromkeys(wanted, 1)):
                there = {path: _at(document, path) for path in wanted}
                found += by_value.pop(bson.encode(there, False, OPTIONS), ())
        found += [key for keys in by_value.values() for key in keys[1:]]
    return found


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document
