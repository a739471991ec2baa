"""How a storage lays out its records in tables of bytes, and how an engine lets it at them.

``meta`` holds the format and one entry a collection, ``records:person`` the records by key, and
``unique:person:email`` the key of the record that has a value.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import msgspec

from pymodels.changes import Change
from pymodels.errors import ModelError
from pymodels.indexes import IndexRecord
from pymodels.schema import Schema

FORMAT: Final = 1
"""The version of what is written here; a file of a later version is refused."""


class CollectionRecord(msgspec.Struct):
    """What is remembered of a collection."""

    key: str
    indexes: dict[str, IndexRecord] = {}


META: Final = "meta"


def records_table(collection: str) -> str:
    return f"records:{collection}"


def unique_table(collection: str, index: str) -> str:
    return f"unique:{collection}:{index}"


def tables_for(changes: Sequence[Change]) -> list[str]:
    names = {META: None}
    for schema in {id(change.schema): change.schema for change in changes}.values():
        names[records_table(schema.collection)] = None
        for index in schema.unique:
            names[unique_table(schema.collection, index.name)] = None
    return list(names)


def check_key_kind(known: CollectionRecord, schema: Schema, storage: str) -> None:
    """Raise ``ModelError`` if a model declares other keys than its collection has."""
    if known.key != schema.key.name:
        raise ModelError(
            f"{schema.name} declares {schema.key.name} keys, and the collection "
            f"{schema.collection!r} in {storage} has {known.key} keys: declare Key[...] as it was, "
            "or another collection"
        )


class View(Protocol):
    """Tables of bytes to read: one state of them, for as long as the view is open."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value under *key*, or None."""

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs from *low* (included) to *high* (not included), in the order of keys."""

    def count(self, table: str) -> int:
        """Return how many pairs the table has."""


class PagedView(View):
    """Reads in views that are closed before anybody else's code runs: one a page, or a question.

    Changes that are made between two pages are seen.

    Args:
        open: opens a view.
        size: how many pairs make a page.
    """

    def __init__(self, open: Callable[[], AbstractContextManager[View]], size: int) -> None:
        self._open = open
        self._size = size

    def get(self, table: str, key: bytes) -> bytes | None:
        with self._open() as view:
            return view.get(table, key)

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        while True:
            with self._open() as view:
                pairs = view.items(table, low, high, descending=descending)
                page = list(itertools.islice(pairs, self._size))
                del pairs  # what is left of it ends before its view does
            yield from page
            if len(page) < self._size:
                return
            if descending:
                high = page[-1][0]
            else:
                low = page[-1][0] + b"\0"  # no key lies between a key and this

    def count(self, table: str) -> int:
        with self._open() as view:
            return view.count(table)


class Batch(View, Protocol):
    """Tables to write: nobody else sees the changes before ``commit``."""

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Store *value* under *key*."""

    def delete(self, table: str, key: bytes) -> None:
        """Remove *key*, if it is there."""

    def commit(self) -> None:
        """Make all changes true at once, and end the batch."""

    def rollback(self) -> None:
        """Forget all changes, and end the batch; doing so again does no harm."""
