"""Unique fields: indexes of MongoDB's own where its sameness is ours, computed entries elsewhere.

A field with one plain kind of value gets a partial index of its own, from which null and absent are
left out. Lists, mappings and open places, which MongoDB compares in another way, get an entry of
bytes under ``_pymodels.unique``, and the index is on that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo import errors as driver

from pymodels.errors import DuplicateKey
from pymodels.ext.mongodb.codec import Bson, is_naive, is_scalar
from pymodels.ext.mongodb.documents import from_document
from pymodels.ext.mongodb.filters import UNIQUE_TYPES
from pymodels.ext.mongodb.paths import is_known
from pymodels.ext.mongodb.values import EXTRA
from pymodels.indexes import duplicate, entry
from pymodels.schema import Index, Schema

COMPUTED: Final = "pymodels computed "
NATIVE: Final = "pymodels unique "
SEPARATOR: Final = " + "
_PLAIN: Final = frozenset(
    {"number", "text", "bool", "bytes", "uuid", "date", "time", "instant", "objectid"}
)
EXISTS_ALREADY: Final = frozenset({85, 86})


class Computed:
    """A unique index over entries that PyModels computes, known by the fields it covers."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.fields = tuple(fields)
        self.name = SEPARATOR.join(fields)
        self.slot = self.name.replace("%", "%25").replace(".", "%2E").replace("$", "%24")

    def entry_of(self, codec: Bson, stored: Mapping[str, Any]) -> bytes | None:
        """Return the entry of a record, None where one of the values is null or absent."""
        document = codec.document({n: stored[n] for n in self.fields if n in stored})
        return entry([document.get(name) for name in self.fields])


def is_native(schema: Schema, index: Index) -> bool:
    """Tell whether MongoDB's own unique index means what the model declares."""
    for name in index.fields:
        kind = schema.stored[name].kind
        if not is_known(name) or not is_scalar(kind) or not kind.families <= _PLAIN:
            return False
    return True


def native_index(schema: Schema, index: Index) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Return keys and options of the index of MongoDB's own for a unique index."""
    keys: list[tuple[str, int]] = []
    for name in index.fields:
        keys.append((name, 1))
        kind = schema.stored[name].kind
        if "instant" in kind.families and not is_naive(kind):
            keys.append((f"{EXTRA}.us.{name}", 1))
    return keys, {
        "name": NATIVE + SEPARATOR.join(index.fields),
        "unique": True,
        "partialFilterExpression": {name: {"$type": UNIQUE_TYPES} for name in index.fields},
    }


class UniqueIndexes:
    """The unique indexes of a database, as far as this storage has met them."""

    def __init__(self, codec: Bson) -> None:
        self._codec = codec
        self._ensured: set[tuple[str, str]] = set()
        self._computed: dict[str, dict[str, Computed]] = {}
        self._native: dict[str, set[tuple[str, ...]]] = {}

    def forget(self) -> None:
        """Look anew at what the server has."""
        self._ensured.clear()
        self._computed.clear()
        self._native.clear()

    def computed(self, name: str) -> Mapping[str, Computed]:
        """Return the computed indexes of a collection that was looked at."""
        return self._computed.get(name, {})

    def fields(self, name: str) -> set[str]:
        """Return the fields of a collection that are in a unique index."""
        return {field for fields in self._native.get(name, ()) for field in fields}

    def ensure(self, schema: Schema, collection: Any) -> None:
        """Make the unique indexes that *schema* declares, unless they are there.

        Raises ``DuplicateKey`` if the records are not unique.
        """
        if schema.collection not in self._computed:
            self._look(schema.collection, collection)
        for index in schema.unique:
            if (schema.collection, index.name) in self._ensured:
                continue
            if is_native(schema, index):
                keys, options = native_index(schema, index)
                self._make(schema, index, collection, keys, options)
                self._native[schema.collection].add(tuple(index.fields))
            else:
                self._make_computed(schema, index, collection)
            self._ensured.add((schema.collection, index.name))

    def _look(self, name: str, collection: Any) -> None:
        computed: dict[str, Computed] = {}
        native: set[tuple[str, ...]] = set()
        for found in collection.list_indexes():
            if found["name"].startswith(COMPUTED):
                one = Computed(found["name"].removeprefix(COMPUTED).split(SEPARATOR))
                computed[one.name] = one
            elif found.get("unique"):
                native.add(tuple(path for path in found["key"] if not path.startswith(EXTRA)))
        self._native[name] = native
        self._computed[name] = computed

    def _make(self, schema: Schema, index: Index, collection: Any, keys: Any, options: Any) -> None:
        try:
            collection.create_index(keys, **options)
        except driver.DuplicateKeyError as error:
            values = list(((error.details or {}).get("keyValue") or {}).values())
            raise duplicate(
                schema.collection, index.fields, values[: len(index.fields)], "of others"
            ) from error
        except driver.OperationFailure as error:
            # Somebody else has made one on the same fields, under another name or with options.
            if error.code not in EXISTS_ALREADY:
                raise

    def _make_computed(self, schema: Schema, index: Index, collection: Any) -> None:
        one = Computed(index.fields)
        slot = f"{EXTRA}.unique.{one.slot}"
        if one.name not in self._computed[schema.collection]:
            seen: dict[bytes, Any] = {}
            for document in collection.find({slot: {"$exists": False}}):
                key, stored = from_document(document)
                found = one.entry_of(self._codec, stored)
                if found is None:
                    continue
                if found in seen:
                    values = [self._codec.document(stored).get(name) for name in index.fields]
                    raise duplicate(schema.collection, index.fields, values, seen[found])
                seen[found] = key
                collection.update_one({"_id": key}, {"$set": {slot: found}})
        options = {
            "name": COMPUTED + one.name,
            "unique": True,
            "partialFilterExpression": {slot: {"$exists": True}},
        }
        self._make(schema, index, collection, [(slot, 1)], options)
        self._computed[schema.collection][one.name] = one

    def entries(self, name: str, stored: Mapping[str, Any]) -> dict[str, bytes]:
        """Return what a record has in the computed indexes of its collection."""
        found = {}
        for one in self.computed(name).values():
            entry_of = one.entry_of(self._codec, stored)
            if entry_of is not None:
                found[one.slot] = entry_of
        return found

    def explain(
        self, name: str, collection: Any, details: Mapping[str, Any]
    ) -> DuplicateKey | None:
        """Return the error for a unique value that another record has; None for the key itself."""
        pattern = dict(details.get("keyPattern") or {})
        if not pattern or "_id" in pattern:
            return None
        asked = dict(details.get("keyValue") or {})
        other = collection.find_one(asked)
        slots = {f"{EXTRA}.unique.{one.slot}": one for one in self.computed(name).values()}
        known = slots.get(next(iter(pattern)))
        fields = [path for path in pattern if not path.startswith(EXTRA)]
        values: list[Any] = [self._codec.document({"value": asked[f]})["value"] for f in fields]
        if known is not None:
            fields = list(known.fields)
            document = {} if other is None else self._codec.document(from_document(dict(other))[1])
            values = [document.get(field) for field in fields]
        return duplicate(name, fields, values, None if other is None else other["_id"])
