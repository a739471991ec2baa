"""What is remembered of a collection, in a record of its own."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import msgspec

from pymodels.errors import ModelError
from pymodels.ext._tokyo.columns import MISFITS, column_name, noted
from pymodels.ext._tokyo.conditions import EXACT_NUMBER, index_kind, letters_of
from pymodels.ext._tokyo.keys import prefix_of
from pymodels.indexes import IndexRecord
from pymodels.schema import Schema

FORMAT: Final = 1
"""The version of the layout; a file of a later one is refused."""

CATALOG: Final = prefix_of("collection")
FORMAT_KEY: Final = b":format"

Columns = dict[bytes, bytes]


class EngineIndex(msgspec.Struct, frozen=True):
    """An index of the engine's: its kind, and the letters of what it is trusted with."""

    kind: str
    letters: str


class Catalog(msgspec.Struct):
    """What is remembered of a collection: its kind of key, and its indexes."""

    key: str
    unique: dict[str, IndexRecord] = {}
    indexes: dict[str, EngineIndex] = {}

    @property
    def indexed(self) -> dict[bytes, str]:
        """The columns that find records, and the letters of what their indexes are trusted with."""
        return {column_name(field): index.letters for field, index in self.indexes.items()}

    @property
    def tokens(self) -> frozenset[bytes]:
        """The columns of which the words are indexed."""
        return frozenset(
            column_name(field) for field, index in self.indexes.items() if index.kind == "token"
        )


def catalog_key(collection: str) -> bytes:
    """Return where a collection is remembered."""
    return CATALOG + prefix_of(f"records:{collection}")[:-1]


def collection_name(key: bytes) -> str:
    """Return the collection that is remembered under *key*."""
    return unquote(key[len(CATALOG) :].decode())


def to_columns(catalog: Catalog) -> Columns:
    """Return the columns of what is remembered."""
    return {
        b"key": catalog.key.encode(),
        b"catalog": base64.b64encode(msgspec.msgpack.encode(catalog)),
    }


def from_columns(columns: Mapping[bytes, bytes] | None) -> Catalog | None:
    """Return what is remembered, from its columns."""
    if columns is None:
        return None
    return msgspec.msgpack.decode(base64.b64decode(columns[b"catalog"]), type=Catalog)


def check_key_kind(known: Catalog, schema: Schema, storage: str) -> None:
    """Raise ``ModelError`` if a model declares other keys than its collection has."""
    if known.key != schema.key.name:
        raise ModelError(
            f"{schema.name} declares {schema.key.name} keys, and the collection "
            f"{schema.collection!r} in {storage} has {known.key} keys: declare Key[...] as it was, "
            "or another collection"
        )


def declared_indexes(schema: Schema) -> dict[str, EngineIndex]:
    """Return the engine's indexes for those that a model declares, by the fields.

    The engine has one index a column, and none over several: of those the first field gets one,
    and the others are looked at in what it finds.
    """
    found: dict[str, EngineIndex] = {}
    for index in schema.indexes:
        field = index.fields[0]
        info = schema.stored.get(field)
        if (
            info is None
            or info.options.naive
            or (index.places and index.places[0].inside)  # where the engine does not look
            or (index.unique and len(index.fields) == 1 and not info.options.index)
        ):
            continue
        kind = index_kind(info.kind, index.kind)
        if kind:
            found[field] = EngineIndex(kind, letters_of(info.kind))
    return found


def with_misfits(
    columns: Columns, letters: Mapping[bytes, str], indexes: Mapping[str, EngineIndex]
) -> Columns:
    """Return *columns* with the note of those that their indexes are not trusted with."""
    found = []
    for field, index in indexes.items():
        column = column_name(field)
        text = columns.get(column)
        letter = letters.get(column, "s")
        if text is None or letter == "n" or (letter == "e" and index.letters == "s"):
            continue
        far = letter in "if" and abs(float(text)) >= EXACT_NUMBER
        if letter not in index.letters or far:
            found.append(noted(column))
    if found:
        columns[MISFITS] = b"|%b|" % b"|".join(found)
    else:
        columns.pop(MISFITS, None)
    return columns
