"""Storages that index every field of every model, in every way that fits, or keep it in columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pymodels.building import _made
from pymodels.catalog import declared_ordered
from pymodels.errors import PyModelsError
from pymodels.ext import lmdb, memory
from pymodels.ordered import OrderedIndex, ordered_index
from pymodels.schema import Schema

PATHS = (
    "anything__x",
    "anything__0",
    "bag__x",
    "counts__a",
    "members__0",
    "point__x",
    "points__x",
    "spans__a__start",
    "strings__0",
)
SEVERAL = (
    ("flag", "whole"),
    ("text", "whole", "anything"),
    ("anything", "text"),
    ("strings", "text"),
    ("bag__x", "flag"),
)


def every_column(schema: Schema, codec: Any) -> Sequence[OrderedIndex]:
    """Return what the model declares, and columns of all its fields."""
    found: list[OrderedIndex] = list(declared_ordered(schema, codec))
    for name in schema.fields:
        one = ordered_index(schema, _made(schema, name, kind="column"), codec)
        if one is not None and all(one.name != other.name for other in found):
            found.append(one)
    return found


def every_index(schema: Schema, codec: Any) -> Sequence[OrderedIndex]:
    """Return indexes on all fields of a model, some paths, and some fields together."""
    found: list[OrderedIndex] = list(declared_ordered(schema, codec))
    wanted: list[tuple[Any, dict[str, Any]]] = []
    for name, info in schema.fields.items():
        wanted.append((name, {}))
        if info.kind.families & {"list", "set", "tuple"}:
            wanted.append((name, {"kind": "members"}))
        if "text" in info.kind.families:
            wanted += [(name, {"caseless": True}), (name, {"kind": "trigram"})]
    if "flag" in schema.fields and "text" in schema.fields:
        wanted += [(paths, {}) for paths in (*PATHS, *SEVERAL)]
        where = schema.condition((), {"flag": True})
        wanted.append(("whole", {"where": where}))
        wanted.append(("text", {"where": schema.condition((), {"whole__gt": 0})}))
    for names, options in wanted:
        try:
            index = _made(schema, names, **options)
        except PyModelsError:
            continue  # this model declares something else at that path
        one = ordered_index(schema, index, codec)
        if one is not None and all(one.name != other.name for other in found):
            found.append(one)
    return found


class EveryIndex:
    """Keeps an index on every field."""

    codec: Any

    def ordered_indexes(self, schema: Schema) -> Sequence[OrderedIndex]:
        found: Sequence[OrderedIndex] | None = schema.cache.get("every index")
        if found is None:
            found = schema.cache["every index"] = every_index(schema, self.codec)
        return found


class SmallBlocks:
    """Tests in which columns have a few values in each block, so that there are many of these."""

    @pytest.fixture(autouse=True)
    def _small_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pymodels.blocks.MOST", 5)


class _EveryColumn:
    codec: Any

    def ordered_indexes(self, schema: Schema) -> Sequence[OrderedIndex]:
        found: Sequence[OrderedIndex] | None = schema.cache.get("every column")
        if found is None:
            found = schema.cache["every column"] = every_column(schema, self.codec)
        return found


class ColumnsInMemory(_EveryColumn, memory.Storage):
    """Records in memory, and columns of all their fields."""


class ColumnsInLmdb(_EveryColumn, lmdb.Storage):
    """Records in a file, and columns of all their fields."""

    @classmethod
    def at(cls, path: Path) -> ColumnsInLmdb:
        return cls(path=path / "records.lmdb", max_tables=2000)


class IndexedMemory(EveryIndex, memory.Storage):
    """Records in memory, all of them indexed."""


class IndexedLmdb(EveryIndex, lmdb.Storage):
    """Records in a file, all of them indexed."""

    @classmethod
    def at(cls, path: Path) -> IndexedLmdb:
        return cls(path=path / "records.lmdb", max_tables=2000)
