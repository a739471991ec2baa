"""What users chain: ``Person.objects(storage).where(age__gte=18).order_by("-age")[:10]``.

A query is lazy and never changes: every method returns another one, and nothing is read before
records, a number or an answer are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, overload

from pymodels import aggregation, conditions, persistence, updating
from pymodels.active import ACTIVE
from pymodels.columns import Column
from pymodels.errors import (
    Conflict,
    DuplicateKey,
    MultipleFound,
    PyModelsError,
    QueryError,
    RecordNotFound,
    UsageError,
)
from pymodels.explanation import Explanation, explain
from pymodels.grouping import Grouping, by_engine, read_column
from pymodels.lookups import nearest
from pymodels.paths import Path
from pymodels.planning import Native, Plan, execute
from pymodels.schema import Place
from pymodels.selection import Selection

if TYPE_CHECKING:
    from pymodels.models import Model
    from pymodels.watching import Feed

M = TypeVar("M", bound="Model")

_SHOWN: Final = 5
"""How many records a repr shows."""

_ATTEMPTS: Final = 20

_NO_KEY: Final[Any] = object()
"""What ``get`` is given instead of a key; None is no key either, and refused as such."""


class Query(Selection[M]):
    """The records of a model that meet some conditions, in some order.

    ``native`` is what a backend adds: the table of what its engine can answer.

    >>> from pymodels import Field, Model, get_storage
    >>> class Person(Model):
    ...     name: Field[str]
    ...     age: Field[int]
    >>> storage = get_storage("pymodels.ext.memory")
    >>> storage.save_all([Person(pk="a", name="Ann", age=30), Person(pk="b", name="Bob", age=9)])
    2
    >>> [person.name for person in Person.objects(storage).where(age__gte=18)]
    ['Ann']
    """

    native: ClassVar[Native[Any]] = Native()

    __slots__ = ()

    # --- records ----------------------------------------------------------------------------

    @overload
    def __getitem__(self, index: int) -> M: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: Any) -> Any:
        if type(index) is slice:
            return self._slice(index)
        if not isinstance(index, int) or isinstance(index, bool):
            raise UsageError(
                f"a query is indexed by a number or a slice, not {index!r}; get({index!r}) finds a "
                "record by its key"
            )
        if index < 0:
            raise QueryError(
                f"{index} counts from the end, which a query does not know: reverse()[{-index - 1}]"
            )
        for instance in self._slice(slice(index, index + 1)):
            return instance
        raise IndexError(f"the query has no record at {index}: it finds fewer")

    def __iter__(self) -> Iterator[M]:
        target = self._storage.current
        instances = persistence.load_each(target, self._schema, lambda: target.run(self.plan()))
        prefetch = self._asked.prefetch
        if prefetch is None:
            return instances
        return prefetch.in_pages(self._storage, instances, allow_scan=self._asked.allow_scan)

    def all(self) -> list[M]:
        """Return all records, in a list."""
        asked = self._asked
        if asked.prefetch is not None:
            return list(iter(self))
        target = self._storage.current if ACTIVE.get() else self._storage
        condition = asked.condition
        if type(condition) is conditions.Lookup and not (
            asked.order or asked.descending or asked.offset or asked.limit is not None
        ):
            found: list[M] | None = target.load_equal(self._schema, condition)
            if found is not None:
                return found
        return target.load_all(self.plan())

    def count(self) -> int:
        """Return how many records there are."""
        target, asked = self._storage, self._asked
        if ACTIVE.get():
            target = target.current
        condition, is_slice = asked.condition, asked.limit is not None or asked.offset > 0
        if type(condition) is conditions.Lookup and not is_slice:
            known = target.count_equal(self._schema, condition)
            if known is not None:
                return known
        plan = self.plan(
            unordered=not is_slice,
            order=(),
            descending=False,
            names=frozenset(),
        )
        return target.count(plan)

    def exists(self) -> bool:
        """Tell whether there is any record."""
        limit = 1 if self._asked.limit is None else min(1, self._asked.limit)
        for _ in self._pairs(
            unordered=not self._asked.offset, order=(), limit=limit, names=frozenset()
        ):
            return True
        return False

    def __bool__(self) -> bool:
        return self.exists()

    def first(self) -> M:
        """Return the first record; raise ``RecordNotFound`` if there is none."""
        for instance in self._slice(slice(0, 1)):
            return instance
        raise RecordNotFound(f"no record: {self!s}")

    def last(self) -> M:
        """Return the last record; raise ``RecordNotFound`` if there is none."""
        if self._asked.offset or self._asked.limit is not None:
            raise QueryError(
                "a slice of a query is final, and last(), which turns the order round, must come "
                "before the slice: after it write query.all()[-1]"
            )
        return self.reverse().first()

    def get(self, key: Any = _NO_KEY, /, *given: Any, **lookups: Any) -> M:
        """Return the one record with a given key, or that meets the conditions.

        Raises ``RecordNotFound`` if there is none and ``MultipleFound`` if there are several.
        """
        schema, storage = self._schema, self._storage
        if self._asked is schema.everything and not (given or lookups) and key is not _NO_KEY:
            # Nothing is asked more often, so that a plain key takes no further call of ours.
            decode = storage.decoders.get(schema)
            if decode is not None and type(key) is str and key.isascii() and not ACTIVE.get():
                stored = storage.read_one(schema, key) if key else None
                if stored is not None:
                    try:
                        instance = decode(stored)
                    except storage.codec.errors as error:
                        raise storage.codec.invalid(schema, key, stored, error) from error
                    instance._pk = key
                    instance._stored = stored
                    instance._storage = storage
                    return instance  # type: ignore[no-any-return]  # one of the model
            if not isinstance(key, conditions.Node):
                return storage.get(self._model, key)
        query = self
        if isinstance(key, conditions.Node):
            given = (key, *given)
        elif key is not _NO_KEY:
            query = self.where(pk=self._schema.check_key(key))
        if given or lookups:
            query = query.where(*given, **lookups)
        found = list(query._slice(slice(0, 2)))
        if len(found) == 1:
            return found[0]
        if not found:
            raise RecordNotFound(f"no record: {query!s}")
        raise MultipleFound(
            f"more than one record, {found[0].pk!r} and {found[1].pk!r} among them: {query!s}"
        )

    def get_or_create(
        self, defaults: Mapping[str, Any] | None = None, **lookups: Any
    ) -> tuple[M, bool]:
        """Return the record that meets *lookups*, made if there is none, and whether it was made.

        A new record has the values of *lookups*, which therefore are plain equalities, and of
        *defaults*. No two callers make the same record, where the lookups have the primary key or a
        unique field among them.
        """
        if not isinstance(defaults, Mapping | None):
            raise UsageError(
                f"get_or_create takes defaults as a mapping, and lookups by name, not {defaults!r}"
            )
        for name in (*lookups, *(defaults or ())):
            if name not in self._schema.fields and name not in ("pk", self._schema.key_name):
                raise UsageError(
                    f"get_or_create makes a record of its lookups, and {name!r} is not a field"
                    f"{nearest(name, self._schema.fields)}; give conditions to where()"
                )
        taken: DuplicateKey | None = None
        for _ in range(_ATTEMPTS):
            try:
                return self.get(**lookups), False
            except RecordNotFound:
                instance = self._model(**{**(defaults or {}), **lookups})
            try:
                instance.save(self._storage)
            except DuplicateKey as error:
                if not self.where(**lookups).exists():
                    raise
                taken = error
                continue  # somebody else made it between the two calls
            return instance, True
        raise Conflict(
            f"{self._schema.name}: others keep making and deleting what was asked for: {lookups!r}"
        ) from taken

    def in_bulk(self, keys: Iterable[Any]) -> dict[Any, M]:
        """Return the records under *keys* that meet the conditions, by key."""
        wanted = self._schema.check_keys(keys, "in_bulk")
        if self._asked.condition is self._schema.must and self._asked.prefetch is None:
            return self._storage.get_many(self._model, wanted)
        found = {instance.pk: instance for instance in self.where(pk__in=wanted)}
        return {key: found[key] for key in wanted if key in found}

    # --- values -----------------------------------------------------------------------------

    def values(self, field: str | Path[Any]) -> list[Any]:
        """Return the distinct values of a field, in order, ``None`` once for null and absent."""
        known: list[Any] | None = None
        if self._asks_nothing():
            target = self._storage.current if ACTIVE.get() else self._storage
            known = target.values_of(self._schema, self.place(field))
        if known is not None:
            return known
        found = by_engine(self, [field], "count")
        if found is not None:
            return [value for value, _ in found]
        indexed = read_column(self, field, Column.values)
        return aggregation.distinct(self.all_rows([field])) if indexed is None else indexed

    def select(self, *fields: str | Path[Any], dicts: bool = False) -> Iterator[Any]:
        """Yield the values of some fields: tuples, or dicts by the names given.

        What a record does not have is ``None``, whatever default the model declares.
        """
        if not fields:
            raise UsageError("select needs the names of the fields to read")
        rows = self.rows(fields)
        if not dicts:
            return rows
        names = [
            str(field) if isinstance(field, str) else "__".join(field.parts) for field in fields
        ]
        return (dict(zip(names, row, strict=True)) for row in rows)

    def rows(self, fields: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of *fields* of each record, as ``select`` does."""
        return self._rows([self.place(field) for field in fields])

    def all_rows(self, fields: Iterable[Any]) -> Iterable[tuple[Any, ...]]:
        """Return what ``rows`` yields, perhaps without a look at the records."""
        places = [self.place(field) for field in fields]
        found = self._values_at(places)
        return self._rows(places) if found is None else zip(*found, strict=True)

    def columns(
        self, fields: Iterable[Any], counted: Any = None, what: str = ""
    ) -> list[Sequence[Any]]:
        """Return a sequence for each of *fields*: what ``rows`` yields of it for all records.

        After them one for the field *counted*: of its values, or of lists of all members. *what*
        names an aggregate of numbers, which is refused where none can be.
        """
        places = [self.place(field) for field in fields]
        if counted is not None:
            places.append(self.place(counted))
        last = places[-1]
        if what:
            aggregation.check_numeric(self._schema, last, what)
        single = counted is None or aggregation.is_single(last)
        found = self._values_at(places)
        if found is None:
            rows = self._rows(places) if single else self._rows(places[:-1], last)
            return list(zip(*rows, strict=True)) or [()] * len(places)
        if not single:
            found[-1] = [aggregation.members([value], last.kind) for value in found[-1]]
        return [*found]

    def _values_at(self, places: Sequence[Place]) -> list[list[Any]] | None:
        target = self._storage.current
        return target.values_at(self._plan_for(places), places)

    def _plan_for(self, places: Sequence[Place]) -> Plan:
        return self.plan(names=frozenset(place.stored for place in places if not place.is_key))

    def _rows(self, places: list[Place], counted: Place | None = None) -> Iterator[Any]:
        target = self._storage.current
        plan = self._plan_for(places if counted is None else [*places, counted])
        return aggregation.rows(target, self._schema, places, execute(target, plan), counted)

    def _members(self, field: Any, what: str = "") -> list[Any]:
        place = self.place(field)
        if what:
            aggregation.check_numeric(self._schema, place, what)
        found = self._values_at([place])
        if found is not None:
            return aggregation.members(found[0], place.kind)
        return [member for (members,) in self._rows([], place) for member in members]

    def _computed(
        self, name: str, field: Any, function: Callable[[list[Any]], Any], what: str = ""
    ) -> Any:
        found = by_engine(self, (), name, field)
        if found:
            return found[0][0]
        return function(self._members(field, what) if found is None else [])

    def sum(self, field: str | Path[Any]) -> Any:
        """Return the exact sum of a field's numbers; 0 if there are none.

        Through a list, or of a list that the model declares, every member counts, here and in the
        other aggregates. Raises ``QueryError`` for a field that holds no numbers.
        """
        return self._computed("sum", field, aggregation.total, "a sum")

    def avg(self, field: str | Path[Any]) -> Any:
        """Return the mean of a field's numbers, ``None`` if there are none."""
        return self._computed("avg", field, aggregation.mean, "a mean")

    def min(self, field: str | Path[Any]) -> Any:
        """Return the least value of a field, ``None`` if there is none."""
        return self._end("min", field, aggregation.least, Column.least)

    def max(self, field: str | Path[Any]) -> Any:
        """Return the greatest value of a field, ``None`` if there is none."""
        return self._end("max", field, aggregation.greatest, Column.greatest)

    def _end(
        self,
        name: str,
        field: Any,
        function: Callable[[list[Any]], Any],
        read: Callable[[Column], list[Any] | None],
    ) -> Any:
        found = self._known_end(field, descending=name == "max")
        if found is None:
            found = read_column(self, field, read)
        if found is None:
            return self._computed(name, field, function)
        return found[0] if found else None

    def _known_end(self, field: Any, *, descending: bool) -> list[Any] | None:
        if not self._asks_nothing():
            return None
        target = self._storage.current if ACTIVE.get() else self._storage
        return target.end_of(self._schema, self.place(field), descending=descending)

    def _asks_nothing(self) -> bool:
        """Tell whether it is of all records, by key, and was never anything else."""
        asked = self._asked
        return asked is self._schema.everything and asked.condition is conditions.EVERYTHING

    def group_by(self, *fields: str | Path[Any]) -> Grouping:
        """Group the records by the values of *fields*; see ``Grouping`` for what is asked then."""
        if not fields:
            raise UsageError("group_by needs the names of the fields to group by")
        for field in fields:
            self.place(field)
        return Grouping(self, fields)

    # --- changing ---------------------------------------------------------------------------

    def update(self, **changes: Any) -> int:
        """Change fields of every record found, in one batch; return how many were changed.

        A value is a plain one or an expression, ``update(visits=F("visits") + 1)``, computed from
        the record as it is when it is written. Hooks are not called.
        """
        return updating.update(self, self._storage.current, changes)

    def delete(self) -> int:
        """Delete every record found, in one batch; return how many. Hooks are not called."""
        return updating.delete(self, self._storage.current)

    def watch(self, *, after: str | None = None, wait: float | None = None) -> Feed[M]:
        """Listen to the records from now on: yield what is inserted, changed and deleted.

        Args:
            after: the token of a change, or of a feed: go on after that instead of now.
            wait: seconds without a change after which the iteration ends; None waits for ever.

        An inserted or changed record is told of if it meets the conditions by then, and a deleted
        one always: nobody knows what it was. Raises ``Unsupported`` where the backend tells of no
        changes.
        """
        self._refuse_slice("watch")
        return self._storage.watch(self, after, wait)

    # --- looking ----------------------------------------------------------------------------

    def explain(self) -> Explanation:
        """Run the query and say what the engine did of it and what Python finished."""
        return explain(self._storage.current, self.plan(), str(self))

    def __repr__(self) -> str:
        try:
            shown = [repr(one) for one in self._slice(slice(0, _SHOWN + 1))]
        except PyModelsError as error:  # whoever looks for a mistake prints things
            return f"<{type(self).__name__} {self!s}, which raises {type(error).__name__}>"
        more = ", ..." if len(shown) > _SHOWN else ""
        return f"<{type(self).__name__} [{', '.join(shown[:_SHOWN])}{more}]>"
