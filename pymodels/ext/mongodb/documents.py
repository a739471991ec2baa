"""Between stored forms and MongoDB's own documents: ``_id``, and what stands beside the fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from bson.binary import Binary
from bson.int64 import Int64

from pymodels.changes import Patch, Put
from pymodels.ext.mongodb.paths import is_known, is_plain
from pymodels.ext.mongodb.values import (
    EXTRA,
    escaped,
    micros,
    remainders,
    restore,
    tagged_moment,
)
from pymodels.keys import KEY_KINDS, KeyKind, other_keys
from pymodels.schema import Schema

Document = dict[str, Any]


def to_document(key: Any, stored: Mapping[str, Any], entries: Mapping[str, bytes]) -> Document:
    """Return the document of a record; *entries* are its values in computed unique indexes."""
    document: Document = {"_id": key, **stored}
    kept = remainders(stored)
    if kept or entries:
        extra: Document = {}
        if kept:
            extra["us"] = kept
        if entries:
            extra["unique"] = {name: Binary(entry) for name, entry in entries.items()}
        document[EXTRA] = extra
    return document


def new_documents(puts: Sequence[Put]) -> list[Document]:
    """Return the documents of records without computed entries, as ``to_document`` would.

    Which fields may hold an instant is asked once for each model, and not of each value.
    """
    schema: Schema | None = None
    names: Mapping[str, bool] = {}
    moments: list[str] = []
    documents: list[Document] = []
    for put in puts:
        if put.schema is not schema:
            schema = put.schema
            names = _moments(schema)
            moments = [name for name, may_be_one in names.items() if may_be_one]
        stored = put.stored
        document: Document = {"_id": put.key, **stored}
        if stored.keys() == names.keys():
            for name in moments:
                value = stored[name]
                if type(value) is datetime and value.microsecond % 1000:
                    document[EXTRA] = {"us": remainders(stored)}
                    break
        elif kept := remainders(stored):
            document[EXTRA] = {"us": kept}
        documents.append(document)
    return documents


def _moments(schema: Schema) -> Mapping[str, bool]:
    """Return the stored names of a model's fields, and whether an instant may stand there."""
    found: Mapping[str, bool] | None = schema.cache.get("bson moments")
    if found is None:
        found = schema.cache["bson moments"] = {
            escaped(info.stored): info.kind.is_open or "instant" in info.kind.families
            for info in schema.fields.values()
        }
    return found


def from_document(document: Document) -> tuple[Any, Document]:
    """Return key and stored form of a document, which is taken apart for that."""
    key = document.pop("_id")
    extra = document.pop(EXTRA, None)
    if extra is not None:
        restore(document, extra)
    return key, document


def key_reader(schema: Schema, name: str) -> Callable[[Any], Any]:
    """Return a function that makes of an ``_id`` the key that the model declares, or raises."""
    wanted = schema.key.type

    def read(found: Any) -> Any:
        if type(found) is wanted:
            return found
        if wanted is int:
            if type(found) is Int64:
                return int(found)
            if type(found) is float and found.is_integer():
                return int(found)
        kind = kind_of_key(found, KEY_KINDS)
        raise other_keys(schema, type(found).__name__ if kind is None else kind.name, name)

    return read


def kind_of_key(found: Any, kinds: Mapping[type, KeyKind]) -> KeyKind | None:
    """Return the kind of keys that an ``_id`` is of."""
    for known in (str, int, UUID):
        if type(found) is known or (known is int and isinstance(found, Int64 | float)):
            return kinds[known]
    return kinds.get(type(found))


def patch_update(patch: Patch) -> Document | None:
    """Return the update of one record that *patch* asks for; None if no update says it exactly."""
    sets: Document = {}
    unsets: Document = {}
    for path, value in patch.set.items():
        if not _is_settable(path):
            return None
        if type(value) is datetime:
            beside = f"{EXTRA}.us.{path[0]}"
            if len(path) > 1:
                value = tagged_moment(value)
            elif value.microsecond % 1000:
                sets[beside] = micros(value)
            else:
                unsets[beside] = ""
        sets[".".join(path)] = value
    for path in patch.unset:
        if not _is_settable(path):
            return None
        unsets[".".join(path)] = ""
    if _overlapping([*sets, *unsets]):
        return None
    update: Document = {}
    if sets:
        update["$set"] = sets
    if unsets:
        update["$unset"] = unsets
    return update


def _is_settable(path: Sequence[str]) -> bool:
    return is_known(path[0]) and all(is_plain(part) and not part.isdecimal() for part in path[1:])


def _overlapping(paths: Sequence[str]) -> bool:
    known = set(paths)
    if len(known) < len(paths):
        return True
    return any(
        path[:end] in known for path in paths for end, sign in enumerate(path) if sign == "."
    )
