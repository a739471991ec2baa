"""Finding records in the tables of a byte store, as a plan's fragment says."""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Final

from pymodels.byindex import AllOf, AnyOf, IndexOrder, InIndex
from pymodels.bykey import KeyRange, Keys, Prefix, UniqueValue, after_prefix, bounds, possible_keys
from pymodels.catalog import Catalog
from pymodels.errors import RecordInvalid
from pymodels.indexes import entry
from pymodels.ordered import LONGEST, OrderedIndex
from pymodels.planning import Pair, Plan, matcher, sort_key
from pymodels.ranges import Range, common, outside
from pymodels.schema import Schema
from pymodels.tables import (
    LONGEST_CHUNK,
    IndexView,
    View,
    in_chunks,
    index_table,
    records_table,
    table_of,
    unique_table,
)

if TYPE_CHECKING:
    from pymodels.tablereading import TableReader

Raw = tuple[bytes, bytes]
"""A record by its encoded key."""

_MANY: Final = 256

_ENTRY: Final = operator.itemgetter(0)

Chunk = Sequence[Raw]
"""Many records, as they are read at a time."""

EMPTY: Final = b"\x80"
"""A record without fields, where nobody looks at them."""


def wants_only_keys(plan: Plan) -> bool:
    """Tell whether nobody looks into the records that a plan finds."""
    return plan.names is not None and not plan.names


def tables_of(schema: Schema, indexes: Iterable[OrderedIndex]) -> list[str]:
    """Return the tables that are read to find records by indexes: theirs, and the records'."""
    return [schema.table, *[table_of(schema.collection, index) for index in indexes]]


def are_as_before(indexes: Iterable[OrderedIndex], catalog: Catalog | None) -> bool:
    """Tell whether indexes are as they were when a plan was made with them."""
    known = {} if catalog is None else catalog.record.ordered
    for index in indexes:
        found = known.get(index.name)
        if found is not index and found != index:
            return False
    return True


def by_indexes(
    storage: TableReader, view: IndexView, catalog: Catalog | None, plan: Plan
) -> Iterator[Chunk]:
    """Yield what a plan finds by indexes, in the order of keys or as they come."""
    skip, most = plan.skip, plan.most
    with view.steady():  # no write comes between an index and its records
        if most is not None and isinstance(plan.native, InIndex):
            keys = first_keys(storage, view, plan, plan.native, skip + most)[skip:]
        else:
            keys = found_keys(view, plan.schema, catalog, plan.native)
            if plan.native_order == "descending keys":
                keys.sort(reverse=True)
            elif plan.native_order is not None:
                keys.sort()
            if skip or most is not None:
                keys = keys[skip : None if most is None else skip + most]
        if wants_only_keys(plan):
            return iter(([(key, EMPTY) for key in keys],))
        first = list(view.fetch(plan.schema.table, keys[:LONGEST_CHUNK]))
    if len(keys) <= LONGEST_CHUNK:
        return iter((first,))
    return itertools.chain(
        (first,),
        (
            list(view.fetch(plan.schema.table, keys[at : at + LONGEST_CHUNK]))
            for at in range(LONGEST_CHUNK, len(keys), LONGEST_CHUNK)
        ),
    )


def found_keys(
    view: IndexView, schema: Schema, catalog: Catalog | None, fragment: Any
) -> list[bytes]:
    """Return the encoded keys of the records that a fragment finds, each once."""
    match fragment:
        case InIndex(index, ranges, points):
            table = index_table(schema.collection, index.name)
            if points:
                if len(ranges) == 1:
                    return view.under(table, ranges[0][0])
                keys = [key for low, _ in ranges for key in view.under(table, low)]
            else:
                keys = [
                    key
                    for low, high in ranges
                    for chunk in view.chunks(table, low, high, descending=False, first=_MANY)
                    for _, key in chunk
                ]
            return list(dict.fromkeys(keys)) if index.repeats else keys
        case AnyOf(parts):
            union: dict[bytes, None] = {}
            for part in parts:
                union.update(dict.fromkeys(found_keys(view, schema, catalog, part)))
            return list(union)
        case AllOf(parts):
            return _in_all(view, schema, catalog, parts)
        case UniqueValue():
            pairs = by_unique(view, schema, catalog, fragment, descending=False)
            return [key for key, _ in pairs]
        case _:
            return [key for key, _ in by_keys(view, schema, fragment, descending=False)]


_PROBES: Final = 5
"""How many entries are read in the time in which one is looked for."""


def _in_all(
    view: IndexView, schema: Schema, catalog: Catalog | None, parts: Sequence[Any]
) -> list[bytes]:
    """Return the keys that every part finds; in a far larger part each of the others is sought."""
    sizes = [_entries_of(view, schema, part) for part in parts]
    if None not in sizes:
        order = sorted(range(len(parts)), key=lambda number: sizes[number] or 0)
        parts, sizes = [parts[n] for n in order], [sizes[n] for n in order]
    found = found_keys(view, schema, catalog, parts[0])
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        if size is not None and size > len(found) * len(part.ranges) * _PROBES:
            table = index_table(schema.collection, part.index.name)
            there = {key for low, _ in part.ranges for key in view.among(table, low, found)}
        else:
            there = set(found_keys(view, schema, catalog, part))
        found = [key for key in found if key in there]
    return found


def _entries_of(view: IndexView, schema: Schema, part: Any) -> int | None:
    """Return how many entries a part reads, None where that has to be counted one by one."""
    if not isinstance(part, InIndex) or not part.points:
        return None
    table = index_table(schema.collection, part.index.name)
    return sum(view.count_under(table, low) for low, _ in part.ranges)


_AT_FIRST: Final = 1024
"""How many entries of a page are read before the records are tried instead."""

_AS_LONG: Final = 4
"""How many entries are read in the time in which a record is looked at."""


def first_keys(
    storage: TableReader, view: IndexView, plan: Plan, fragment: InIndex, stop: int
) -> list[bytes]:
    """Return the first *stop* keys in some ranges of an index, in the order that is asked for.

    Entries are not in the order of keys. So either they are read to their end, or the records are
    gone through in order until enough are found; nobody knows which takes longer. Both are done by
    turns, for twice as long each time.
    """
    table, descending = (
        index_table(plan.schema.collection, fragment.index.name),
        plan.native_order == "descending keys",
    )
    found: dict[bytes, None] = {}
    budget = max(_AT_FIRST, _AS_LONG * stop)
    entries = itertools.chain.from_iterable(
        view.heads(table, low, high, most=stop, descending=descending)
        for low, high in _spans(fragment)
    )
    records = _in_order_of_keys(storage, view, plan, descending=descending)
    matching: list[bytes] = []
    while True:
        read = 0
        for keys in entries:
            found.update(dict.fromkeys(keys))
            read += len(keys)
            if plan.native_order is None and len(found) >= stop:
                return list(islice(found, stop))
            if read >= budget:
                break
        else:
            return (heapq.nlargest if descending else heapq.nsmallest)(stop, found)
        if plan.native_order is not None:
            try:
                for key in islice(records, budget // _AS_LONG):
                    if key is not None:
                        matching.append(key)
                        if len(matching) == stop:
                            return matching
            except RecordInvalid:
                records = iter(())  # it is none of those in the index
        budget *= 2


def _spans(fragment: InIndex) -> Iterable[Range]:
    """Return the ranges of entries that a fragment reads; of a point there is but one entry."""
    if fragment.points:
        return ((low, low + b"\0") for low, _ in fragment.ranges)
    return fragment.ranges


def _in_order_of_keys(
    storage: TableReader, view: IndexView, plan: Plan, *, descending: bool
) -> Iterator[bytes | None]:
    """Yield for each record its key, if the plan's condition holds, else None."""
    matches, decode = matcher(storage.codec, plan.schema, plan.condition), plan.schema.key.decode
    table = records_table(plan.schema.collection)
    for key, stored in view.items(table, None, None, descending=descending):
        yield key if matches(decode(key), stored) else None


def by_key_range(
    view: View, schema: Schema, fragment: Any, *, descending: bool, first: int
) -> Iterator[Chunk]:
    """Yield what ``by_keys`` does, many records at a time."""
    ends = range_of(schema, fragment)
    if ends is None or not hasattr(view, "chunks"):
        return in_chunks(iter(by_keys(view, schema, fragment, descending=descending)), first)
    found: Iterator[Chunk] = view.chunks(
        records_table(schema.collection), *ends, descending=descending, first=first
    )
    return found


def range_of(schema: Schema, fragment: Any) -> tuple[bytes | None, bytes | None] | None:
    """Return the range of encoded keys that a fragment stands for, None if it is no range."""
    match fragment:
        case None:
            return None, None
        case KeyRange():
            return bounds(schema, fragment)
        case Prefix(text):
            low = text.encode()
            return low, after_prefix(low)
    return None


def by_keys(view: View, schema: Schema, fragment: Any, *, descending: bool) -> Iterable[Raw]:
    """Return what a fragment finds by keys alone, in their order."""
    table, encode = records_table(schema.collection), schema.key.encode
    if isinstance(fragment, Keys):
        encoded = sorted(map(encode, possible_keys(schema, fragment.keys)), reverse=descending)
        return ((key, stored) for key in encoded if (stored := view.get(table, key)) is not None)
    ends = range_of(schema, fragment)
    if ends is not None:
        return view.items(table, *ends, descending=descending)
    raise AssertionError(f"{fragment!r} was made by another backend")


def by_unique(
    view: View, schema: Schema, catalog: Catalog | None, wanted: UniqueValue, *, descending: bool
) -> Iterable[Raw]:
    """Return the record with a unique value, or every record if nobody has looked after that."""
    table = records_table(schema.collection)
    found = entry([wanted.value])
    if catalog is None or wanted.index not in catalog.record.indexes or found is None:
        # No model that declares the index has been written yet: look at every record.
        return view.items(table, None, None, descending=descending)
    key = view.get(unique_table(schema.collection, wanted.index), found)
    stored = None if key is None else view.get(table, key)
    return () if key is None or stored is None else ((key, stored),)


# --- in the order of an index ---------------------------------------------------------------


def in_order(storage: TableReader, view: IndexView, plan: Plan) -> Iterator[Chunk]:
    """Yield what a plan finds in one index, in the order of that."""
    order: IndexOrder = plan.native_order
    schema = plan.schema
    table, records = (
        index_table(schema.collection, order.index.name),
        records_table(schema.collection),
    )
    chunks = itertools.chain.from_iterable(
        view.chunks(table, low, high, descending=order.descending, first=first_size(plan))
        for low, high in _arranged(plan.native.ranges, order)
    )
    only_keys = wants_only_keys(plan) and plan.exact
    # A record may be moved on in the index while this goes through it.
    met: set[bytes] | None = None if view.is_snapshot else set()
    settled: Iterator[bytes] | None = None
    skip, left = plan.skip, plan.most
    while left is None or left > 0:
        with view.steady():
            keys: list[bytes] = []
            if settled is None:
                pairs = next(chunks, ())
                keys = [key for _, key in pairs]
                if pairs and max(map(len, map(_ENTRY, pairs))) >= LONGEST:
                    rest = itertools.chain(pairs, itertools.chain.from_iterable(chunks))
                    settled = _settled(storage, view, plan, records, rest)
            if settled is not None:
                keys = list(islice(settled, LONGEST_CHUNK if left is None else skip + left))
            if not keys:
                return
            if met is not None:
                keys = [key for key in keys if key not in met]
                met.update(keys)
            if skip or left is not None:
                keys, passed = keys[skip : None if left is None else skip + left], len(keys)
                skip = max(0, skip - passed)
                left = None if left is None else left - len(keys)
            if only_keys:
                found: Chunk = [(key, EMPTY) for key in keys]
            else:
                found = list(view.fetch(records, keys))
        yield found


def _arranged(ranges: Sequence[Range], order: IndexOrder) -> Sequence[Range]:
    """Return ranges in the order in which they are read."""
    arranged = list(ranges)
    if order.nulls is not None:
        others = common(arranged, outside([order.nulls]))
        nulls = common(arranged, [order.nulls])
        # The other way round than by nature: nulls are the least.
        return [*nulls, *reversed(others)] if order.descending else [*others, *nulls]
    return arranged[::-1] if order.descending else arranged


def _settled(
    storage: TableReader, view: IndexView, plan: Plan, records: str, pairs: Iterator[Raw]
) -> Iterator[bytes]:
    """Yield keys, those under entries that were cut sorted by what their records hold."""
    for cut, group in groupby(pairs, key=_cut_entry):
        if cut is None:
            for _, key in group:
                yield key
        else:
            keys = [key for _, key in group]
            yield from _sorted_by_record(storage, view, plan, records, keys)


def _cut_entry(pair: Raw) -> bytes | None:
    return pair[0] if len(pair[0]) >= LONGEST else None


def _sorted_by_record(
    storage: TableReader, view: IndexView, plan: Plan, records: str, keys: Sequence[bytes]
) -> list[bytes]:
    decode, by = plan.schema.key.decode, sort_key(storage, plan)
    found = [(by((decode(key), stored)), key) for key, stored in view.fetch(records, keys)]
    return [key for _, key in sorted(found, key=lambda pair: pair[0])]


# --- without indexes ------------------------------------------------------------------------


def without_indexes(storage: TableReader, view: IndexView, plan: Plan) -> Iterator[Chunk]:
    """Yield what a plan asks for by looking at every record: an index has gone meanwhile."""
    decode, encode = plan.schema.key.decode, plan.schema.key.encode
    matches = matcher(storage.codec, plan.schema, plan.condition)
    every = view.items(records_table(plan.schema.collection), None, None, descending=False)
    rows: Iterable[Pair] = ((decode(key), stored) for key, stored in every)
    rows = (row for row in rows if matches(*row))
    stop = None if plan.most is None else plan.skip + plan.most
    if plan.native_order is not None:
        by = sort_key(storage, plan)
        rows = sorted(rows, key=by) if stop is None else heapq.nsmallest(stop, rows, key=by)
    left = ((encode(key), stored) for key, stored in rows)
    return in_chunks(islice(left, plan.skip, stop), first_size(plan))


def first_size(plan: Plan) -> int:
    """Return how many records to read at first: what is asked for, if that is known."""
    if plan.most is None:
        return LONGEST_CHUNK // 4 if plan.limit is None else 64
    return max(1, min(plan.skip + plan.most, LONGEST_CHUNK))


def count_found(view: IndexView, catalog: Catalog | None, plan: Plan) -> int:
    """Count what a plan finds by indexes alone."""
    fragment = plan.native
    if isinstance(fragment, InIndex) and not fragment.index.repeats:
        table = index_table(plan.schema.collection, fragment.index.name)
        if fragment.points:
            found = sum(view.count_under(table, low) for low, _ in fragment.ranges)
        else:
            found = sum(
                len(chunk)
                for low, high in fragment.ranges
                for chunk in view.chunks(table, low, high, descending=False, first=_MANY)
            )
    else:
        found = len(found_keys(view, plan.schema, catalog, fragment))
    found = max(0, found - plan.skip)
    return found if plan.most is None else min(plan.most, found)
