"""What columns find: the records whose values meet a condition, the first ones in an order, values.

A column is gone through from one end to the other, many values in one call, and no record is read
that is not wanted. What is decided, and how values sort, is what it is for records. Where a value
does not fit its model, the records themselves are asked, which say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import nlargest, nsmallest
from itertools import compress, islice
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import msgspec

from pymodels.byindex import ColumnOrder, InColumns
from pymodels.conditions import EVERYTHING, Condition
from pymodels.errors import RecordInvalid
from pymodels.evaluation import compile_mask, has_whole_values, is_its_own_order, names_in
from pymodels.fetching import EMPTY, Chunk, first_size, wants_only_keys, without_indexes
from pymodels.messagepack import probed
from pymodels.ordered import OrderedIndex
from pymodels.planning import Plan, matcher
from pymodels.schema import Place, Schema
from pymodels.tables import IndexView, next_size, records_table, table_of
from pymodels.values import ABSENT, order_key

if TYPE_CHECKING:
    from pymodels.messagepack import MessagePack
    from pymodels.tablereading import TableReader


# --- going through columns ------------------------------------------------------------------

Values: TypeAlias = list[Any]

Rows: TypeAlias = tuple[Sequence[bytes], list[Values]]
"""Keys, and for each column the values under them."""


def _decoder(
    codec: MessagePack, schema: Schema, name: str, *, keyed: bool
) -> Callable[[bytes], Any]:
    """Return the function that decodes a block, its values as the model declares them."""
    wanted = (type(codec), "column", name, keyed)
    found: Callable[[bytes], Any] | None = schema.cache.get(wanted)
    if found is None:
        annotation: Any = Union[probed(schema.stored.get(name)), None]  # noqa: UP007 - made at run time
        shape = msgspec.defstruct(
            "TypedBlock",
            [
                ("keys", list[bytes] if keyed else msgspec.Raw),
                ("values", list[annotation]),
                ("absent", list[int]),
            ],
            array_like=True,
            gc=False,
        )
        decoder = msgspec.msgpack.Decoder(shape, ext_hook=codec.untag)
        found = schema.cache[wanted] = decoder.decode
    return found


class _Columns:
    """Some columns of a collection, gone through together; *keyed* says whether keys are wanted."""

    def __init__(
        self,
        storage: TableReader,
        view: IndexView,
        schema: Schema,
        indexes: Sequence[OrderedIndex],
        *,
        keyed: bool = True,
    ) -> None:
        self._view = view
        self._keyed = keyed
        self._columns = [
            (
                table_of(schema.collection, index),
                _decoder(storage.codec, schema, index.parts[0].path[0], keyed=keyed),
            )
            for index in indexes
        ]

    def _blocks(
        self, table: str, decode: Callable[[bytes], Any]
    ) -> Iterator[tuple[Sequence[bytes], Values]]:
        for _, data in self._view.items(table, None, None, descending=False):
            block = decode(data)
            values = block.values
            if self._keyed and len(block.keys) != len(values):
                raise msgspec.DecodeError("a block has other values than keys")
            for position in block.absent:
                values[position] = ABSENT
            yield block.keys if self._keyed else (), values

    def rows(self) -> Iterator[Rows]:
        """Yield the records of all columns in the order of keys, many at a time.

        Raises ``msgspec.DecodeError`` where a value does not fit.
        """
        streams = [self._blocks(*column) for column in self._columns]
        if len(streams) == 1:
            yield from ((keys, [values]) for keys, values in streams[0])
            return
        # Every column has all records, in the same order, and ends its blocks where it likes.
        left: list[tuple[Sequence[bytes], Values]] = [((), [])] * len(streams)
        while True:
            left = [
                next(stream, ((), [])) if not one[1] else one
                for stream, one in zip(streams, left, strict=True)
            ]
            size = min(len(values) for _, values in left)
            if not size:
                return
            yield left[0][0][:size], [values[:size] for _, values in left]
            left = [(keys[size:], values[size:]) for keys, values in left]


def _sifted(rows: Iterator[Rows], condition: Condition) -> Iterator[Rows]:
    """Yield what meets *condition*, of which the first columns hold the values."""
    asked = len(names_in(condition))
    if not asked:
        yield from rows
        return
    mask_of = compile_mask(condition)
    for keys, columns in rows:
        mask = mask_of(*columns[:asked])
        if True in mask:
            yield (
                list(compress(keys, mask)),
                [list(compress(values, mask)) for values in columns[asked:]],
            )


# --- records --------------------------------------------------------------------------------


def by_columns(storage: TableReader, view: IndexView, plan: Plan) -> Iterator[Chunk]:
    """Yield what a plan finds by columns: in the order of one if it asks for that, or of keys."""
    with view.steady():  # no write comes between a column and its records
        if isinstance(plan.native_order, ColumnOrder):
            try:
                keys = iter(_first_ones(storage, view, plan, plan.native_order))
            except msgspec.DecodeError:
                return without_indexes(storage, view, plan)
        else:
            stop = None if plan.most is None else plan.skip + plan.most
            keys = islice(matching_keys(storage, view, plan), plan.skip, stop)
            if not view.is_snapshot:
                keys = _gathered(keys)
    return _fetched(view, plan, keys)


def _gathered(keys: Iterator[bytes]) -> Iterator[bytes]:
    """Read all keys now; yield them, and raise after them what came instead of more."""
    found: list[bytes] = []
    problem: Exception | None = None
    try:
        found.extend(keys)
    except RecordInvalid as error:
        problem = error

    def again() -> Iterator[bytes]:
        yield from found
        if problem is not None:
            raise problem

    return again()


def _fetched(view: IndexView, plan: Plan, keys: Iterator[bytes]) -> Iterator[Chunk]:
    records, bare, size = records_table(plan.schema.collection), wants_only_keys(plan), 0
    while True:
        size = next_size(size) if size else first_size(plan)
        some: list[bytes] = []
        problem: Exception | None = None
        try:
            some.extend(islice(keys, size))
        except RecordInvalid as error:
            problem = error  # those that come before it are found
        if some:
            yield [(key, EMPTY) for key in some] if bare else list(view.fetch(records, some))
        if problem is not None:
            raise problem
        if len(some) < size:
            return


def matching_keys(storage: TableReader, view: IndexView, plan: Plan) -> Iterator[bytes]:
    """Yield the keys of the records that a plan's columns find, in order."""
    fragment: InColumns = plan.native
    columns = _Columns(storage, view, plan.schema, fragment.indexes)
    if plan.native_order == "descending keys":
        try:
            found = [key for keys, _ in _sifted(columns.rows(), fragment.condition) for key in keys]
        except msgspec.DecodeError:
            yield from _among_records(storage, view, plan, None, descending=True)
        else:
            yield from reversed(found)
        return
    last: bytes | None = None
    try:
        for keys, _ in _sifted(columns.rows(), fragment.condition):
            yield from keys
            last = keys[-1]
    except msgspec.DecodeError:
        yield from _among_records(storage, view, plan, last, descending=False)


def _among_records(
    storage: TableReader, view: IndexView, plan: Plan, last: bytes | None, *, descending: bool
) -> Iterator[bytes]:
    """Yield what ``matching_keys`` does after *last*, by reading records: one of them is wrong."""
    matches = matcher(storage.codec, plan.schema, plan.native.condition)
    decode, low = plan.schema.key.decode, None if last is None else last + b"\0"
    table = records_table(plan.schema.collection)
    for key, stored in view.items(table, low, None, descending=descending):
        if matches(decode(key), stored):
            yield key


def count_matching(storage: TableReader, view: IndexView, plan: Plan) -> int:
    """Count what a plan finds by columns alone."""
    with view.steady():
        found = sum(1 for _ in matching_keys(storage, view, plan))
    found = max(0, found - plan.skip)
    return found if plan.most is None else min(plan.most, found)


# --- the first ones in an order -------------------------------------------------------------


def _first_ones(
    storage: TableReader, view: IndexView, plan: Plan, order: ColumnOrder
) -> list[bytes]:
    """Return the keys of the records that a plan asks for, in the order of a column's values.

    Raises ``msgspec.DecodeError`` where a value does not fit.
    """
    fragment: InColumns = plan.native
    descending, stop = order.term.descending, plan.skip + (plan.most or 0)
    columns = _Columns(storage, view, plan.schema, (*fragment.indexes, order.index))
    plain = is_its_own_order(order.term.place)
    nulls: list[bytes] = []
    best: list[tuple[Any, bytes]] = []
    bound: Any = None  # the last value that may still be one of the first
    for keys, (values,) in _sifted(columns.rows(), fragment.condition):
        if None in values or ABSENT in values:
            nulls += [
                key
                for key, value in zip(keys, values, strict=True)
                if value is None or value is ABSENT
            ]
            there = [value is not None and value is not ABSENT for value in values]
            keys, values = list(compress(keys, there)), list(compress(values, there))
        if not plain:
            values = list(map(order_key, values))
        found = zip(values, keys, strict=True)
        if bound is None:
            best += found
        elif descending:
            best += [pair for pair in found if pair[0] >= bound]
        else:
            best += [pair for pair in found if pair[0] <= bound]
        if len(best) >= 2 * stop:
            best.sort(reverse=descending)
            del best[stop:]
            bound = best[-1][0]
    best.sort(reverse=descending)
    nulls = (nlargest if descending else nsmallest)(stop, nulls)
    others = [key for _, key in best[:stop]]
    whole = nulls + others if order.term.nulls_first else others + nulls
    return whole[plan.skip : stop]


# --- values ---------------------------------------------------------------------------------


def values_of(
    storage: TableReader,
    view: IndexView,
    plan: Plan,
    places: Sequence[Place],
    columns: dict[str, OrderedIndex],
) -> list[Values] | None:
    """Return the values of what a plan finds at each of *places*, None where nobody can say."""
    fragment = plan.native
    condition = fragment.condition if isinstance(fragment, InColumns) else EVERYTHING
    asked = fragment.indexes if isinstance(fragment, InColumns) else ()
    indexes = (*asked, *(columns[place.stored] for place in places))
    found: list[Values] = [[] for _ in places]
    rows = _Columns(storage, view, plan.schema, indexes, keyed=False).rows()
    try:
        with view.steady():
            for _, some in _sifted(rows, condition):
                for whole, values in zip(found, some, strict=True):
                    whole += values
    except msgspec.DecodeError:
        return None
    return [
        [None if value is ABSENT else value for value in values] if ABSENT in values else values
        for values in found
    ]


def has_values(plan: Plan, places: Sequence[Place], columns: dict[str, OrderedIndex]) -> bool:
    """Tell whether columns have the values at *places* of exactly what *plan* finds."""
    return (
        bool(places)
        and all(has_whole_values(place) and place.stored in columns for place in places)
        and plan.is_left_to_engine
        and not (plan.skip or plan.order or plan.descending)
        and plan.most is None
        and (plan.condition == EVERYTHING or isinstance(plan.native, InColumns))
    )
