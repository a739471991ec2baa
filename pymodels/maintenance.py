"""Building, dropping, checking and repairing the indexes of a byte store.

A new index of many records is built in steps, each a batch of its own that remembers how far it
got. So a build that was interrupted goes on where it was, others read and write meanwhile, and what
they write is in the index at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import msgspec

from pymodels import blocks
from pymodels.catalog import Catalog, add_entries, remember
from pymodels.entries import EntryReader
from pymodels.errors import UsageError
from pymodels.indexes import entry
from pymodels.keys import kind_named
from pymodels.lookups import nearest
from pymodels.ordered import OrderedIndex
from pymodels.tables import (
    CollectionRecord,
    IndexBatch,
    IndexView,
    View,
    records_table,
    table_of,
    unique_table,
)

if TYPE_CHECKING:
    from pymodels.keyvalue import KeyValueStorage
    from pymodels.schema import Schema

STEP: Final = 2_000
"""How many records one step of a build puts into an index."""

Progress: TypeAlias = Callable[[str, int, int], object]
"""Called with the name of a collection, how many of its records were done, and how many it has."""


# --- building -------------------------------------------------------------------------------


def step(storage: KeyValueStorage, batch: IndexBatch, collection: str, size: int) -> bool:
    """Put the next records into the indexes that are being built; tell whether more are left."""
    catalog = storage.catalog(batch, collection)
    waiting = [] if catalog is None else [one for one in catalog.ordered if not one.ready]
    if catalog is None or not waiting:
        return False
    # Those that have come equally far go on together.
    position = min(one.position or b"" for one in waiting)
    together = [one for one in waiting if (one.position or b"") == position]
    low = position + b"\0" if position else None
    items = batch.items(records_table(collection), low, None, descending=False)
    pairs = list(islice(items, size))
    reader = EntryReader(together, storage.codec)
    known = add_entries(batch, collection, reader, pairs)
    done = len(pairs) < size
    for name, index in known.items():
        known[name] = msgspec.structs.replace(
            index, ready=done, position=None if done else pairs[-1][0]
        )
    record = catalog.record
    known_now = CollectionRecord(record.key, record.indexes, record.ordered | known)
    remember(batch, storage.codec, collection, known_now)
    return not done or len(waiting) > len(together)


def begin_anew(
    storage: KeyValueStorage,
    batch: IndexBatch,
    catalog: Catalog,
    collection: str,
    added: Sequence[OrderedIndex],
) -> None:
    """Build some indexes from nothing, whole, and forget all others."""
    waiting = {one.name: msgspec.structs.replace(one, ready=False) for one in added}
    record = CollectionRecord(catalog.record.key, catalog.record.indexes, waiting)
    remember(batch, storage.codec, collection, record)
    while step(storage, batch, collection, STEP):
        pass


def build(
    storage: KeyValueStorage, collections: Iterable[str], progress: Progress | None = None
) -> None:
    """Build all indexes of some collections that are not ready."""
    for collection in collections:
        more = True
        while more:
            with storage.writing() as batch:
                more = step(storage, batch, collection, STEP)
                total = batch.count(records_table(collection))
                reached = _reached(storage, batch, collection, total)
            if progress is not None:
                progress(collection, reached, total)


def _reached(storage: KeyValueStorage, view: View, collection: str, total: int) -> int:
    catalog = storage.catalog(view, collection)
    positions = [one.position for one in catalog.ordered if not one.ready] if catalog else []
    if not positions:
        return total
    least = min(position or b"" for position in positions)
    items = view.items(records_table(collection), None, least + b"\0", descending=False)
    return sum(1 for _ in items)


# --- dropping -------------------------------------------------------------------------------


def drop(storage: KeyValueStorage, schema: Schema, names: Sequence[str]) -> list[str]:
    """Drop indexes of a collection: those named, or all that *schema* does not declare."""
    collection = schema.collection
    with storage.writing() as batch:
        catalog = storage.catalog(batch, collection)
        if catalog is None:
            return []
        record = catalog.record
        declared = {one.name for one in storage.ordered_indexes(schema)}
        known = {*record.ordered, *record.indexes}
        for name in names:
            if name not in known:
                raise UsageError(
                    f"{storage.name}: {collection} has no index {name!r}{nearest(name, known)}; "
                    f"it has {', '.join(sorted(known)) or 'none'}"
                )
        gone = list(names) or [
            *(name for name in record.ordered if name not in declared),
            *(name for name in record.indexes if name not in {i.name for i in schema.unique}),
        ]
        for name in gone:
            if name in record.ordered:
                batch.drop(table_of(collection, record.ordered[name]))
            if name in record.indexes:
                for one, _ in list(
                    batch.items(unique_table(collection, name), None, None, descending=False)
                ):
                    batch.delete(unique_table(collection, name), one)
        if gone:
            remember(
                batch,
                storage.codec,
                collection,
                CollectionRecord(
                    record.key,
                    {name: one for name, one in record.indexes.items() if name not in gone},
                    {name: one for name, one in record.ordered.items() if name not in gone},
                ),
            )
    return gone


# --- checking -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """What ``storage.check()`` found: how much it looked at, and everything that was wrong.

    It is true where nothing was wrong.
    """

    records: int
    entries: int
    problems: list[str] = field(default_factory=list)
    repaired: bool = False

    def __bool__(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        looked = f"{self.records} records and {self.entries} entries of indexes"
        if not self.problems:
            return f"{looked}: nothing is wrong"
        found = "\n".join(f"  {problem}" for problem in self.problems)
        mended = " (indexes were repaired)" if self.repaired else ""
        return f"{looked}: {len(self.problems)} problems{mended}\n{found}"


def check(storage: KeyValueStorage, *, repair: bool) -> Check:
    """Compare every index with the records, in both directions; mend it where that is asked for."""
    if not repair:
        with storage.view() as view:
            return _checked(storage, view, None)
    with storage.writing() as batch:
        return _checked(storage, batch, batch)


def _checked(storage: KeyValueStorage, view: View, batch: IndexBatch | None) -> Check:
    records = entries = 0
    problems: list[str] = []
    is_mended = False
    for name in storage.collections_in(view):
        catalog = storage.catalog(view, name)
        if catalog is None:
            continue
        records += view.count(records_table(name))
        decode = kind_named(catalog.record.key).decode
        problems += _records(storage, view, name, decode)
        for index in catalog.ordered:
            counted, wrong = _ordered(storage, cast("IndexView", view), name, index, decode)
            entries += counted
            problems += wrong
            if wrong and batch is not None:
                _rebuild(storage, batch, name, index)
                is_mended = True
        for unique in catalog.unique:
            wanted = _unique_entries(catalog, view, name, unique.name)
            table = unique_table(name, unique.name)
            there = dict(view.items(table, None, None, descending=False))
            entries += len(there)
            if wanted != there:
                problems.append(
                    f"{name}, unique index on {unique.name}: {_differing(wanted, there)} entries "
                    "are missing or wrong"
                )
                if batch is not None:
                    is_mended = True
                    for one in there:
                        batch.delete(table, one)
                    for one, key in wanted.items():
                        batch.put(table, one, key)
    return Check(records, entries, problems, repaired=is_mended)


def _records(
    storage: KeyValueStorage, view: View, name: str, decode: Callable[[bytes], Any]
) -> Iterator[str]:
    for key, stored in view.items(records_table(name), None, None, descending=False):
        try:
            storage.codec.document(stored)
        except storage.codec.errors as error:
            yield f"{name} {_told(decode, key)} cannot be read: {error}"


def _told(decode: Callable[[bytes], Any], key: bytes) -> str:
    """Return a key as it is shown; one that is damaged is shown as it is stored."""
    try:
        return repr(decode(key))
    except (ValueError, struct.error):
        return f"with the key {key!r}, which is none,"


def _ordered(
    storage: KeyValueStorage,
    view: IndexView,
    name: str,
    index: OrderedIndex,
    decode: Callable[[bytes], Any],
) -> tuple[int, list[str]]:
    """Compare one index with the records; one that is being built may lack what is to come."""
    reader, later = EntryReader([index], storage.codec), EntryReader([index], storage.codec)
    table, damages = table_of(name, index), []
    if index.is_column:
        damages = list(blocks.problems(view, table))
        there = set() if damages else set(blocks.pairs(view, table))
    else:
        there = set(view.entries(table, None, None, descending=False))
    wanted: set[tuple[bytes, bytes]] = set()
    required: set[tuple[bytes, bytes]] = set()
    spread = False
    for key, stored in view.items(records_table(name), None, None, descending=False):
        is_reached = index.ready or key <= (index.position or b"")
        (found,) = (reader if is_reached else later).read(stored)
        pairs = [(one, key) for one in found]
        wanted.update(pairs)
        if is_reached:
            spread = spread or len(found) > 1
            required.update(pairs)
    if damages:
        return 0, [f"{name}, index on {index.name}: {one}" for one in damages]
    wrong = [f"{_told(decode, key)} is missing" for _, key in sorted(required - there)]
    wrong += [f"{_told(decode, key)} is there wrongly" for _, key in sorted(there - wanted)]
    if reader.news([sorted(required)], [0] if spread else []):
        wrong.append("not all that its values are is remembered")
    return len(there), [f"{name}, index on {index.name}: {one}" for one in wrong]


def _rebuild(storage: KeyValueStorage, batch: IndexBatch, name: str, index: OrderedIndex) -> None:
    batch.drop(table_of(name, index))
    pairs = list(batch.items(records_table(name), None, None, descending=False))
    fresh = msgspec.structs.replace(index, ready=True, position=None)
    known = add_entries(batch, name, EntryReader([fresh], storage.codec), pairs)
    catalog = storage.catalog(batch, name)
    if catalog is not None:
        record = catalog.record
        known_now = CollectionRecord(record.key, record.indexes, record.ordered | known)
        remember(batch, storage.codec, name, known_now)


def _unique_entries(catalog: Catalog, view: View, name: str, index: str) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for key, stored in view.items(records_table(name), None, None, descending=False):
        one = entry(catalog.values(stored)[index])
        if one is not None:
            found[one] = key
    return found


def _differing(wanted: dict[bytes, bytes], there: dict[bytes, bytes]) -> int:
    return len(set(wanted.items()) ^ set(there.items()))
