"""What Python finishes of a query over a byte store: many records at a time, by encoded keys.

It means exactly what ``planning.finish`` does, which it leaves to that wherever it is not simple.
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from pymodels.conditions import EVERYTHING, lookups_in
from pymodels.evaluation import compile_condition, is_its_own_order
from pymodels.fetching import Chunk, Raw
from pymodels.planning import Pair, Plan, finish
from pymodels.schema import Schema
from pymodels.tables import in_chunks
from pymodels.values import ABSENT

if TYPE_CHECKING:
    from pymodels.tablereading import TableReader


def decoded(schema: Schema, chunks: Iterator[Chunk]) -> Iterator[Pair]:
    """Return records one by one, under their decoded keys."""
    decode = schema.key.decode
    return chain.from_iterable([(decode(key), stored) for key, stored in chunk] for chunk in chunks)


def sliced(chunks: Iterator[Chunk], skip: int, most: int | None) -> Iterator[Chunk]:
    """Return records without the first *skip*, and at most *most* of them."""
    if not skip and most is None:
        return chunks
    pairs = chain.from_iterable(chunks)
    stop = None if most is None else skip + most
    return in_chunks(islice(pairs, skip, stop), 256)


def is_finished(plan: Plan) -> bool:
    """Tell whether what is found natively is all that *plan* asks for, in order."""
    return (
        (plan.unordered or plan.native_order is not None)
        and (plan.rest is EVERYTHING or plan.exact)
        and not plan.offset
        and plan.limit is None
    )


def finished(storage: TableReader, plan: Plan, chunks: Iterator[Chunk]) -> Iterator[Pair]:
    """Return what *plan* asks for, out of what was found natively."""
    if is_finished(plan):
        return decoded(plan.schema, chunks)
    sorts = plan.native_order is None and not plan.unordered
    filters = not plan.exact
    if (filters and any(one.place and one.place.is_key for one in lookups_in(plan.rest))) or (
        sorts and not _is_simple(plan)
    ):
        return finish(storage, plan, decoded(plan.schema, chunks))
    if filters:
        chunks = _sifted(storage, plan, chunks)
    if sorts:
        return decoded(plan.schema, iter((_sorted(storage, plan, chunks),)))
    return decoded(plan.schema, sliced(chunks, plan.offset, plan.limit))


def _sifted(storage: TableReader, plan: Plan, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield the records of which ``plan.rest`` is true."""
    compiled = compile_condition(plan.rest)
    test, probe = compiled.test, storage.codec.probe(plan.schema, compiled.names)
    errors = storage.codec.errors
    for chunk in chunks:
        try:
            left = [pair for pair in chunk if test(probe(pair[1]), None)]
        except errors:
            yield from _up_to_the_wrong_one(storage, plan, chunk, probe, test)
        else:
            if left:
                yield left


def _up_to_the_wrong_one(
    storage: TableReader,
    plan: Plan,
    chunk: Chunk,
    probe: Callable[[bytes], Any],
    test: Callable[[Any, Any], bool],
) -> Iterator[Chunk]:
    for key, stored in chunk:
        try:
            record = probe(stored)
        except storage.codec.errors as error:
            raise _invalid(storage, plan, key, stored, error) from error
        if test(record, None):
            yield ((key, stored),)


def _invalid(
    storage: TableReader, plan: Plan, key: bytes, stored: bytes, error: Exception
) -> Exception:
    return storage.codec.invalid(plan.schema, plan.schema.key.decode(key), stored, error)


def _is_simple(plan: Plan) -> bool:
    """Tell whether records sort by one value that is its own order, ties in its direction."""
    if len(plan.order) != 1:
        return False
    (term,) = plan.order
    return (
        not term.place.is_key
        and is_its_own_order(term.place)
        and term.descending == plan.descending
    )


def _sorted(storage: TableReader, plan: Plan, chunks: Iterator[Chunk]) -> list[Raw]:
    """Return the records in order, encoded keys breaking ties: they sort as the keys do."""
    (term,) = plan.order
    probe = storage.codec.probe(plan.schema, (term.place.stored,))
    nulls: list[Raw] = []

    def values() -> Iterator[tuple[Any, bytes, bytes]]:
        for chunk in chunks:
            for key, stored in chunk:
                try:
                    value = probe(stored).f0
                except storage.codec.errors as error:
                    raise _invalid(storage, plan, key, stored, error) from error
                if value is None or value is ABSENT:
                    nulls.append((key, stored))
                else:
                    yield value, key, stored

    stop = None if plan.limit is None else plan.offset + plan.limit
    found: Iterable[tuple[Any, bytes, bytes]]
    if stop is None:
        found = sorted(values(), reverse=term.descending)
    else:
        found = (heapq.nlargest if term.descending else heapq.nsmallest)(stop, values())
    others = [(key, stored) for _, key, stored in found]
    nulls.sort(key=operator.itemgetter(0), reverse=term.descending)
    whole = nulls + others if term.nulls_first else others + nulls
    return whole[plan.offset : stop]
