"""From a query to what the engine runs and what Python finishes.

A backend says in a table (``Native``) which lookups its engine can answer, and how well. ``split``
takes a condition apart by that table: this one function decides what is sound to push down. The
rest is finished by the reference evaluator in ``execute``.
"""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar, assert_never

import msgspec

from pymodels import conditions
from pymodels.conditions import And, Condition, Lookup, Not, Or
from pymodels.evaluation import compile_condition, names_in, order_value
from pymodels.schema import Place, Schema

if TYPE_CHECKING:
    from pymodels.codecs import Codec
    from pymodels.storage import Storage

FragmentT = TypeVar("FragmentT")

Pair: TypeAlias = tuple[Any, Any]
"""A record as a backend yields it: its key, and its stored form."""


class Superset(msgspec.Struct, Generic[FragmentT], frozen=True):
    """A fragment that finds every record wanted, and perhaps more: Python checks them again."""

    fragment: FragmentT


class Term(msgspec.Struct, frozen=True):
    """One term of an order; ``nulls_first`` is settled by then."""

    place: Place
    descending: bool
    nulls_first: bool


class Native(Generic[FragmentT]):
    """What an engine can answer by itself; this one nothing.

    ``lookups`` maps the name of a lookup to a function of the place and the operand, which returns
    a fragment of the engine's own language where that answers exactly as the reference evaluator
    does, ``Superset(fragment)`` where it finds too much, and ``NotImplemented`` otherwise. Every
    method may return ``NotImplemented`` too.
    """

    lookups: ClassVar[Mapping[str, Callable[[Place, Any], Any]]] = {}

    def all_of(self, parts: Sequence[FragmentT]) -> Any:
        """Return the fragment that is true where all *parts* are."""
        return NotImplemented

    def any_of(self, parts: Sequence[FragmentT]) -> Any:
        """Return the fragment that is true where one of *parts* is."""
        return NotImplemented

    def negate(self, part: FragmentT) -> Any:
        """Return the exact complement of *part*."""
        return NotImplemented

    def order_by(self, terms: tuple[Term, ...], descending: bool) -> Any:
        """Return how the engine yields records in this order, ties by key, *descending* or not."""
        return NotImplemented

    def group_by(self, places: Sequence[Place], function: str, counted: Place | None) -> Any:
        """Return what has the engine compute a value for each group, for ``Storage.group``.

        *function* is ``"count"``, ``"sum"``, ``"avg"``, ``"min"`` or ``"max"``, the last four of
        *counted*. Without places, all records are one group.
        """
        return NotImplemented


class Plan(msgspec.Struct):
    """Everything that a storage needs to know of a query; it is not changed once it is made.

    ``condition`` is the whole neutral condition. ``native`` is what the engine is to run of it,
    None for all records, and ``rest`` what Python decides after that. ``order`` are the terms
    (none: by primary key), ``descending`` the direction in which keys break ties; ``native_order``
    is how the engine sorts, None if Python does, and ``unordered`` that nobody cares. ``skip`` and
    ``most`` are for the engine, ``offset`` and ``limit`` for Python: where one pair is set, the
    other is empty.
    ``names`` are the stored fields that will be read, None for all of them. ``expected`` is how
    many records the engine is thought to find, None where nobody asked.
    """

    schema: Schema
    condition: Condition
    native: Any = None
    rest: Condition = conditions.EVERYTHING
    order: tuple[Term, ...] = ()
    descending: bool = False
    unordered: bool = False
    native_order: Any = None
    skip: int = 0
    most: int | None = None
    offset: int = 0
    limit: int | None = None
    names: frozenset[str] | None = None
    expected: int | None = None

    @property
    def exact(self) -> bool:
        """Whether the engine alone decides which records are wanted."""
        return self.rest is conditions.EVERYTHING or self.rest == conditions.EVERYTHING

    @property
    def is_left_to_engine(self) -> bool:
        """Whether Python finishes nothing but the order."""
        return self.exact and not self.offset and self.limit is None

    @property
    def reads_everything(self) -> bool:
        """Whether the engine goes through all that there is, be it not the records themselves."""
        return self.native is None or getattr(self.native, "reads_everything", False)

    @property
    def scans(self) -> bool:
        """Whether the engine has nothing to go by and reads every record."""
        return self.native is None and self.condition != conditions.EVERYTHING


# --- the split ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part(Generic[FragmentT]):
    fragment: FragmentT
    exact: bool


def split(native: Native[FragmentT], condition: Condition) -> tuple[FragmentT | None, Condition]:
    """Return what the engine runs of *condition* and what is left to decide after it.

    And: what translates is pushed down, the others are kept. Or: only if every part translates.
    Not: only what is exact. A superset is pushed down and kept as well.
    """
    if condition == conditions.EVERYTHING:
        return None, condition
    if isinstance(condition, And):
        return _split_and(native, condition)
    part = _translate(native, condition)
    if part is None:
        return None, condition
    return part.fragment, conditions.EVERYTHING if part.exact else condition


def _split_and(native: Native[FragmentT], condition: And) -> tuple[FragmentT | None, Condition]:
    fragments: list[FragmentT] = []
    rest: list[Condition] = []
    for one in condition.parts:
        part = _translate(native, one)
        if part is not None:
            fragments.append(part.fragment)
        if part is None or not part.exact:
            rest.append(one)
    if not fragments:
        return None, condition
    whole = fragments[0] if len(fragments) == 1 else native.all_of(fragments)
    if whole is NotImplemented:
        return fragments[0], condition
    return whole, rest[0] if len(rest) == 1 else And(tuple(rest))


def _translate(native: Native[FragmentT], condition: Condition) -> _Part[FragmentT] | None:
    match condition:
        case Lookup(name=name, operand=operand, place=place):
            answer = native.lookups.get(name)
            found = NotImplemented if answer is None or place is None else answer(place, operand)
            if found is NotImplemented:
                return None
            if isinstance(found, Superset):
                return _Part(found.fragment, False)
            return _Part(found, True)
        case And():
            part = _split_and(native, condition)
            return None if part[0] is None else _Part(part[0], part[1] == conditions.EVERYTHING)
        case Or(parts):
            translated = [_translate(native, part) for part in parts]
            if any(part is None for part in translated):
                return None
            some = [part for part in translated if part is not None]
            whole = native.any_of([part.fragment for part in some])
            if whole is NotImplemented:
                return None
            return _Part(whole, all(part.exact for part in some))
        case Not(part):
            inner = _translate(native, part)
            if inner is None or not inner.exact:
                return None
            whole = native.negate(inner.fragment)
            return None if whole is NotImplemented else _Part(whole, True)
        case _:
            assert_never(condition)


def make_plan(
    native: Native[Any],
    schema: Schema,
    condition: Condition,
    *,
    order: tuple[Term, ...] = (),
    descending: bool = False,
    unordered: bool = False,
    offset: int = 0,
    limit: int | None = None,
    names: frozenset[str] | None = None,
) -> Plan:
    """Plan a query for the engine that *native* describes."""
    fragment, rest = split(native, condition)
    exact = rest == conditions.EVERYTHING
    native_order = None if unordered else native.order_by(order, descending)
    if native_order is NotImplemented:
        native_order = None
    pushes = exact and (unordered or native_order is not None)
    return Plan(
        schema,
        condition,
        fragment,
        rest,
        order,
        descending,
        unordered,
        native_order,
        skip=offset if pushes else 0,
        most=limit if pushes else None,
        offset=0 if pushes else offset,
        limit=None if pushes else limit,
        names=None
        if names is None
        else names | condition_names(rest) | {t.place.stored for t in order},
    )


def condition_names(condition: Condition) -> frozenset[str]:
    """Return the stored fields that it takes to decide *condition*."""
    return frozenset(names_in(condition))


# --- what Python finishes -------------------------------------------------------------------


def execute(storage: Storage, plan: Plan) -> Iterator[Pair]:
    """Yield the records that *plan* asks for, each once and in order, as (key, stored form)."""
    return storage.run(plan)


def finish(storage: Storage, plan: Plan, pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Yield the records that *plan* asks for, out of those that the engine found."""
    rows: Iterable[Pair] = pairs
    if not plan.exact:
        rows = _filtered(storage, plan.schema, plan.rest, rows)
    if plan.native_order is None and not plan.unordered:
        rows = _sorted(storage, plan, rows)
    if plan.offset or plan.limit is not None:
        stop = None if plan.limit is None else plan.offset + plan.limit
        rows = itertools.islice(rows, plan.offset, stop)
    return iter(rows)


def _filtered(
    storage: Storage, schema: Schema, condition: Condition, rows: Iterable[Pair]
) -> Iterator[Pair]:
    compiled = compile_condition(condition)
    codec, test = storage.codec, compiled.test
    if not compiled.names:
        yield from (row for row in rows if test(None, row[0]))
        return
    probe, errors = codec.probe(schema, compiled.names), codec.errors
    for row in rows:
        try:
            record = probe(row[1])
        except errors as error:
            raise codec.invalid(schema, row[0], row[1], error) from error
        if test(record, row[0]):
            yield row


def matcher(codec: Codec, schema: Schema, condition: Condition) -> Callable[[Any, Any], bool]:
    """Return a function that tells of a key and a stored form whether *condition* holds."""
    compiled = compile_condition(condition)
    probe, test = codec.probe(schema, compiled.names), compiled.test

    def matches(key: Any, stored: Any) -> bool:
        try:
            return test(probe(stored), key)
        except codec.errors as error:
            raise codec.invalid(schema, key, stored, error) from error

    return matches


def _sorted(storage: Storage, plan: Plan, rows: Iterable[Pair]) -> Iterable[Pair]:
    if not plan.order:
        return sorted(rows, key=_key_of, reverse=plan.descending)
    if all(term.descending == plan.descending for term in plan.order):
        by, reverse = _plain_sort_key(storage, plan), plan.descending
    else:
        by, reverse = sort_key(storage, plan), False
    if plan.limit is None:
        return sorted(rows, key=by, reverse=reverse)
    most = plan.offset + plan.limit
    return (heapq.nlargest if reverse else heapq.nsmallest)(most, rows, key=by)


def _key_of(row: Pair) -> Any:
    return row[0]


def _plain_sort_key(storage: Storage, plan: Plan) -> Callable[[Pair], Any]:
    """Return what records sort by where all terms, and the ties, go in one direction."""
    read = order_reader(storage, plan)
    if len(plan.order) == 1:
        null = 0 if plan.order[0].nulls_first is not plan.descending else 2

        def by(row: Pair) -> Any:
            (value,) = read(row)
            return (null, row[0]) if value is None else (1, value, row[0])

        return by
    nulls = [0 if term.nulls_first is not plan.descending else 2 for term in plan.order]

    def by_all(row: Pair) -> Any:
        values = zip(nulls, read(row), strict=True)
        return (*((null,) if value is None else (1, value) for null, value in values), row[0])

    return by_all


@functools.total_ordering
class _Descending:
    """Sorts the other way round."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self.key == other.key)

    def __lt__(self, other: _Descending) -> bool:
        return bool(other.key < self.key)

    __hash__ = None  # type: ignore[assignment]  # only ever compared


def sort_key(storage: Storage, plan: Plan) -> Callable[[Pair], Any]:
    """Return a function from a record to what it sorts by, ascending, under *plan*."""
    down = plan.descending
    if not plan.order:
        return (lambda row: _Descending(row[0])) if down else _key_of
    read = order_reader(storage, plan)
    terms = [(term.descending, 0 if term.nulls_first else 2) for term in plan.order]

    def by(row: Pair) -> Any:
        found: list[Any] = []
        for (descending, null), value in zip(terms, read(row), strict=True):
            if value is None:
                found.append((null,))
            else:
                found.append((1, _Descending(value) if descending else value))
        found.append(_Descending(row[0]) if down else row[0])
        return found

    return by


def order_reader(storage: Storage, plan: Plan) -> Callable[[Pair], tuple[Any, ...]]:
    """Return a function from a record to what its terms sort by; None for null and absent."""
    names = tuple(sorted({t.place.stored for t in plan.order if not t.place.is_key}))
    codec, schema = storage.codec, plan.schema
    probe = codec.probe(schema, names)
    readers = [
        order_value(t.place, "" if t.place.is_key else f"f{names.index(t.place.stored)}")
        for t in plan.order
    ]
    first = readers[0]

    def read(row: Pair) -> tuple[Any, ...]:
        try:
            record = probe(row[1])
        except codec.errors as error:
            raise codec.invalid(schema, row[0], row[1], error) from error
        if len(readers) == 1:
            return (first(record, row[0]),)
        return tuple([one(record, row[0]) for one in readers])

    return read
