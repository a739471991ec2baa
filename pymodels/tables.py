"""How a storage lays out its records in tables of bytes, and how an engine lets it at them.

``meta`` holds the format and one entry a collection, ``records:person`` the records by key,
``unique:person:email`` the key of the record that has a value, and ``index:person:age`` pairs of an
entry and the key of its record, where the storage keeps ordered indexes. ``column:person:age`` are
blocks with the ages of many records in each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec

from pymodels.errors import StorageInvalid
from pymodels.indexes import IndexRecord
from pymodels.keys import other_keys
from pymodels.ordered import COLUMN, OrderedIndex
from pymodels.schema import Schema

FORMAT: Final = 1
"""The version of what is written here; a file of a later version is refused."""


class CollectionRecord(msgspec.Struct):
    """What is remembered of a collection."""

    key: str
    indexes: dict[str, IndexRecord] = {}
    ordered: dict[str, OrderedIndex] = {}


def read_record(collection: str, data: bytes) -> CollectionRecord:
    """Return what is remembered of a collection; raise ``StorageInvalid`` where it is damaged."""
    try:
        return msgspec.msgpack.decode(data, type=CollectionRecord)
    except msgspec.DecodeError as error:
        raise StorageInvalid(
            f"what is remembered of the collection {collection!r} is damaged ({error}): restore "
            "the storage from a copy"
        ) from error


META: Final = "meta"


RECORDS: Final = "records:"
UNIQUE: Final = "unique:"


@lru_cache(maxsize=4096)
def records_table(collection: str) -> str:
    return f"{RECORDS}{collection}"


def unique_table(collection: str, index: str) -> str:
    return f"{UNIQUE}{_apart(collection)}:{index}"


INDEX: Final = "index:"
"""What the names of the tables begin with that hold several keys under an entry."""


@lru_cache(maxsize=4096)
def index_table(collection: str, index: str) -> str:
    return f"{INDEX}{_apart(collection)}:{index}"


COLUMNS: Final = "column:"
"""What the names of the tables begin with that hold blocks of values."""


@lru_cache(maxsize=4096)
def column_table(collection: str, index: str) -> str:
    return f"{COLUMNS}{_apart(collection)}:{index}"


def table_of(collection: str, index: OrderedIndex) -> str:
    """Return the name of the table in which an index is kept."""
    name = column_table if index.parts[0].form == COLUMN else index_table
    return name(collection, index.name)


def _apart(collection: str) -> str:
    """Return the name of a collection without a colon, which parts it from that of an index.

    Else ``orders:members`` of ``shop`` and ``members`` of ``shop:orders`` would be one table.
    """
    if ":" not in collection and "%" not in collection:
        return collection
    return collection.replace("%", "%25").replace(":", "%3A")


def tables_for(
    schemas: Iterable[Schema], ordered: Callable[[Schema], Sequence[OrderedIndex]]
) -> AbstractSet[str]:
    """Return the names of the tables that a batch may write to."""
    names: dict[str, None] = {}
    for schema in schemas:
        indexes = ordered(schema)
        known = schema.cache.get("tables")
        if known is None or known[0] is not indexes:
            known = schema.cache["tables"] = (indexes, dict.fromkeys(_tables_of(schema, indexes)))
        if not names:
            names = known[1]
        else:
            names = names | known[1]
    return names.keys()


def _tables_of(schema: Schema, ordered: Iterable[OrderedIndex]) -> Iterator[str]:
    yield META
    yield records_table(schema.collection)
    for index in schema.unique:
        yield unique_table(schema.collection, index.name)
    for one in ordered:
        yield table_of(schema.collection, one)


def check_key_kind(known: CollectionRecord, schema: Schema, storage: str) -> None:
    """Raise ``ModelError`` if a model declares other keys than its collection has."""
    if known.key != schema.key.name:
        raise other_keys(schema, known.key, storage)


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


class IndexView(View, Protocol):
    """Tables to read, ordered indexes among them; storages with ``keeps_indexes`` have these."""

    @property
    def stamp(self) -> int | None:
        """A number that no other state of these tables ever has; None where there is none."""
        return None

    is_snapshot: bool
    """Whether the view goes on to show what was there when it was opened."""

    def open(self, tables: Collection[str]) -> None:
        """Make sure that one state is seen of all these tables."""

    def steady(self) -> AbstractContextManager[Any]:
        """Return a context in which nothing changes that is read, neither here nor there."""

    def chunks(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool, first: int
    ) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """Yield what ``items`` does, many pairs at a time, at first about as many as *first*."""

    def fetch(self, table: str, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        """Return the pairs that there are of *keys*, in their order."""

    def entries(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs of entry and key of an index, as ``items`` does; ties are by key."""

    def under(self, table: str, entry: bytes) -> list[bytes]:
        """Return the keys of the records that have this entry, in order."""

    def count_under(self, table: str, entry: bytes) -> int:
        """Return how many records have this entry."""

    def count_points(self, table: str, points: Iterable[tuple[bytes, bytes]]) -> tuple[int, ...]:
        """Return how many records have the entry that comes first in each pair."""
        return tuple([self.count_under(table, entry) for entry, _ in points])

    def sample(self, table: str, step: int) -> list[bytes]:
        """Return the first entry of an index, and each that comes *step* pairs after another."""
        pairs = self.entries(table, None, None, descending=False)
        return [entry for entry, _ in itertools.islice(pairs, 0, None, step)]

    def count_between(self, table: str, low: bytes | None, high: bytes | None, most: int) -> int:
        """Return how many pairs a table has in a range, or *most* if there are more."""
        read = self.entries if table.startswith(INDEX) else self.items
        return sum(1 for _ in itertools.islice(read(table, low, high, descending=False), most))

    def among(self, table: str, entry: bytes, keys: Sequence[bytes]) -> Iterable[bytes]:
        """Return those of *keys* that have this entry."""

    def heads(
        self, table: str, low: bytes, high: bytes, *, most: int, descending: bool
    ) -> Iterator[Sequence[bytes]]:
        """Yield, many at a time, the first *most* keys under each entry of a range, or some more.

        Descending, they are the last keys.
        """

    def distinct(
        self, table: str, low: bytes, high: bytes, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes, bytes, int]]:
        """Yield the entries of a range once: with their first and last key, and how many."""

    def end(
        self, table: str, low: bytes, high: bytes, *, descending: bool
    ) -> tuple[bytes, bytes] | None:
        """Return the first entry of a range, descending the last one, with the first key under it.

        None, if there is none in the range.
        """
        for entry, first, *_ in self.distinct(table, low, high, descending=descending):
            return entry, first
        return None

    def each_entry(self, table: str, low: bytes, high: bytes) -> list[bytes]:
        """Return the entries of a range, each once, in order."""
        return [one for one, *_ in self.distinct(table, low, high, descending=False)]


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


class IndexBatch(Batch, IndexView, Protocol):
    """Tables to write, ordered indexes among them."""

    def add(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Put pairs of entry and key into an index, those that are there already included."""

    def insert(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        """Store new pairs, which are in the order of their keys; return a key that is taken.

        If there is one, it need not have stored anything.
        """

    def insert_one(
        self, table: str, key: bytes, value: bytes, entries: Iterable[tuple[str, bytes]]
    ) -> bool:
        """Store one new pair and its *entries*, each with its index; do nothing if it is there.

        Tell whether it is new.
        """

    def put_all(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Store pairs, in any order, in place of what may be there."""

    def delete_all(self, table: str, keys: Sequence[bytes]) -> None:
        """Remove *keys*, as far as they are there."""

    def remove(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Take pairs of entry and key out of an index, as far as they are there."""

    def drop(self, table: str) -> None:
        """Remove a table with all that it holds."""


LONGEST_CHUNK: Final = 1024
"""How many records are read at a time, at most."""


def next_size(size: int) -> int:
    """Return how many records to read after *size*: few at first, as a page wants no more."""
    return min(LONGEST_CHUNK, size * 4)


def in_chunks(
    pairs: Iterator[tuple[bytes, bytes]], first: int
) -> Iterator[Sequence[tuple[bytes, bytes]]]:
    """Yield many pairs at a time."""
    size = first
    while chunk := list(itertools.islice(pairs, size)):
        yield chunk
        size = next_size(size)
