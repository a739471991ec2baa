"""Which records of a model a query asks for, and in which order; nothing here reads any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import msgspec

from pymodels import conditions
from pymodels.active import ACTIVE
from pymodels.conditions import And, Condition, Lookup, Not
from pymodels.errors import OperandInvalid, QueryError, ScanRefused, UsageError
from pymodels.paths import Path
from pymodels.planning import Pair, Plan, Term, execute
from pymodels.schema import MOST_KNOWN, Place, Schema
from pymodels.values import ARRAYS

if TYPE_CHECKING:
    from pymodels.models import Model
    from pymodels.prefetching import Prefetch
    from pymodels.references import Related
    from pymodels.storage import Storage

M = TypeVar("M", bound="Model")

_NO_QUERIES: Final = frozenset({str, int, float, bool, tuple, type(None)})
"""Types of most operands."""

_FARTHEST: Final = 2**62
"""No store holds as many records, and no engine counts much farther."""


class Asked(msgspec.Struct, frozen=True):
    """What a selection asks for; ``order`` are terms, none for the order of keys."""

    condition: Condition
    order: tuple[Term, ...] = ()
    descending: bool = False
    unordered: bool = False
    offset: int = 0
    limit: int | None = None
    allow_scan: bool = True
    prefetch: Prefetch | None = None


class Selection(Generic[M]):
    """The records of a model that meet some conditions, in some order: a query without answers.

    It never changes: every method returns another one.
    """

    __slots__ = ("_asked", "_model", "_schema", "_storage")

    _schema: Schema
    _asked: Asked

    def __init__(
        self,
        model: type[M],
        storage: Storage,
        *,
        allow_scan: bool = True,
    ) -> None:
        self._model = model
        self._storage = storage
        schema = self._schema = model._schema or model.__schema__
        asked = schema.everything
        if asked is None or not allow_scan:
            asked = Asked(schema.must, allow_scan=allow_scan)
            if allow_scan:
                schema.everything = asked
        self._asked = asked

    @property
    def model(self) -> type[M]:
        """The model that the records are read as."""
        return self._model

    @property
    def storage(self) -> Storage:
        """The storage that is asked."""
        return self._storage

    @property
    def condition(self) -> Condition:
        """What is asked of each record, the model's own ``must_have`` included."""
        return self._asked.condition

    def _with(self, **changes: Any) -> Self:
        other = object.__new__(type(self))
        other._model, other._schema = self._model, self._schema
        other._storage = self._storage
        other._asked = msgspec.structs.replace(self._asked, **changes)
        return other

    # --- narrowing --------------------------------------------------------------------------

    def where(self, *given: Condition, **lookups: Any) -> Self:
        """Keep the records of which all conditions and lookups are true.

        Raises ``UnknownField``, ``OperandInvalid`` or ``QueryError`` for what has no meaning.
        """
        asked = self._asked
        if asked.offset or asked.limit is not None:
            self._refuse_slice("where")
        schema = self._schema
        if given or not lookups:
            condition = schema.condition(given, lookups)
        else:
            asked_by = schema.lookups(lookups)
            condition = And(asked_by) if asked_by[1:] else asked_by[0]
        if asked.condition is not conditions.EVERYTHING:
            condition = conditions.both(asked.condition, condition)
        other = object.__new__(type(self))
        other._model, other._schema, other._storage = self._model, schema, self._storage
        other._asked = Asked(
            condition,
            asked.order,
            asked.descending,
            asked.unordered,
            0,
            None,
            asked.allow_scan,
            asked.prefetch,
        )
        return other

    def where_not(self, *given: Condition, **lookups: Any) -> Self:
        """Keep the records that ``where`` with the same arguments would leave out."""
        self._refuse_slice("where_not")
        if not given and not lookups:
            raise UsageError("where_not needs a condition: without one it would keep no record")
        condition = conditions.negated(self._schema.condition(given, lookups))
        return self._with(condition=conditions.both(self._asked.condition, condition))

    def __copy__(self) -> Self:
        return self  # it never changes

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> Any:
        raise UsageError(
            f"a query cannot be pickled, since it belongs to {self._storage.name}: send what it is "
            "made of, or the keys of what it finds"
        )

    def _refuse_slice(self, what: str) -> None:
        if self._asked.offset or self._asked.limit is not None:
            raise QueryError(f"a slice of a query is final: {what} must come before the slice")

    def _combined(self, other: Any, combine: Any) -> Any:
        if isinstance(other, conditions.Node | Path):
            raise QueryError(
                f"a query is narrowed by where({other!r}) or where_not({other!r}), not by & | -"
            )
        if not isinstance(other, Selection):
            return NotImplemented
        if other._model.__schema__.collection != self._schema.collection:
            raise QueryError(
                f"queries of {self._model.__name__} and {other._model.__name__} cannot be combined"
            )
        if other._storage is not self._storage:
            raise QueryError("queries over different storages cannot be combined")
        self._refuse_slice("combining")
        other._refuse_slice("combining")
        right = self._schema.bind(other._asked.condition)
        return self._with(condition=combine(self._asked.condition, right))

    def __and__(self, other: Selection[M]) -> Self:
        return self._combined(other, conditions.both)  # type: ignore[no-any-return]

    def __or__(self, other: Selection[M]) -> Self:
        return self._combined(other, conditions.either)  # type: ignore[no-any-return]

    def __sub__(self, other: Selection[M]) -> Self:
        return self._combined(other, conditions.without)  # type: ignore[no-any-return]

    # --- order and slices -------------------------------------------------------------------

    def order_by(self, *fields: str | Path[Any], nulls: str | None = None) -> Self:
        """Sort by *fields*, ``-`` before a name for descending; ties are broken by key.

        *nulls* says whether null and absent come ``"first"`` or ``"last"``; by default first where
        ascending and last where descending. Without fields: by key, which is the default.
        """
        asked = self._asked
        if asked.offset or asked.limit is not None:
            self._refuse_slice("order_by")
        if nulls not in (None, "first", "last"):
            raise UsageError(f'nulls is "first" or "last", not {nulls!r}')
        terms: tuple[Term, ...] = ()
        known = self._schema.terms
        for field in fields:
            if type(field) is str and (field, nulls) in known:
                terms += (known[field, nulls],)
            else:
                terms += (self._term(field, nulls),)
        descending = terms[-1].descending if terms else False
        if terms and terms[0].place.is_key and len(terms) == 1:
            terms = ()
        other = object.__new__(type(self))
        other._model, other._schema, other._storage = self._model, self._schema, self._storage
        other._asked = Asked(
            asked.condition, terms, descending, False, 0, None, asked.allow_scan, asked.prefetch
        )
        return other

    def _term(self, field: Any, nulls: str | None) -> Term:
        descending = False
        if isinstance(field, Path):
            place = self._schema.place_of(field.parts, field.owner, literal=field.literal)
        elif isinstance(field, str) and field.strip("-"):
            descending = field.startswith("-")
            place = self._schema.place_named(field.removeprefix("-"))
        else:
            raise UsageError(f'order_by takes names such as "age" or "-age", not {field!r}')
        is_list = place.kind.families & {"list", "set", "tuple"} and not place.kind.is_open
        if not place.is_key and (is_list or place.passes_declared_list):
            raise QueryError(
                f"{self._schema.name}.{place.path} is or leads through a list, which has no order "
                "among others: order by a field with one value"
            )
        first = (not descending) if nulls is None else nulls == "first"
        term, known = Term(place, descending, first), self._schema.terms
        if type(field) is str and len(known) < MOST_KNOWN:
            known[field, nulls] = term
        return term

    def reverse(self) -> Self:
        """Return the same records in exactly the opposite order."""
        self._refuse_slice("reverse")
        terms: tuple[Term, ...] = ()
        for term in self._asked.order:
            terms += (Term(term.place, not term.descending, not term.nulls_first),)
        return self._with(order=terms, descending=not self._asked.descending)

    def unordered(self) -> Self:
        """Leave the order to the engine, whatever is cheapest for it."""
        self._refuse_slice("unordered")
        return self._with(order=(), descending=False, unordered=True)

    def _slice(self, wanted: slice) -> Self:
        start, stop, step = wanted.start or 0, wanted.stop, wanted.step
        if step not in (None, 1):
            raise QueryError(f"a slice of a query has no step, such as {step!r}")
        for bound in (start, stop):
            if type(bound) is not int and bound is not None and not isinstance(bound, int):
                raise UsageError(
                    f"a slice of a query has whole numbers, not {start!r} and {stop!r}"
                )
        if start < 0 or (stop is not None and stop < 0):
            raise QueryError("a slice of a query counts from the start: use reverse() for the end")
        length = None if stop is None else stop - start if stop > start else 0
        asked = self._asked
        offset, limit = asked.offset + start, asked.limit
        if limit is not None:
            left = max(0, limit - start)
            length = left if length is None else min(length, left)
        if length is not None and length > _FARTHEST:
            length = None
        if offset > _FARTHEST:
            offset = _FARTHEST
        other = object.__new__(type(self))
        other._model, other._schema, other._storage = self._model, self._schema, self._storage
        other._asked = Asked(
            asked.condition,
            asked.order,
            asked.descending,
            asked.unordered,
            offset,
            length,
            asked.allow_scan,
            asked.prefetch,
        )
        return other

    # --- relations --------------------------------------------------------------------------

    def prefetch(self, *relations: str | Path[Any] | Related[Any]) -> Self:
        """Load what the records refer to, or who refers to them, together with the records.

        A page of records costs one read more for each relation, instead of one for each record.

        Args:
            relations: references and backward relations, by name or as attributes of their model:
                ``"country"``, ``"country__continent"``, ``Country.people``. One of another model is
                loaded wherever the other relations lead to that model.

        Raises ``UnknownField`` or ``QueryError`` for what is no relation.
        """
        from pymodels.prefetching import Prefetch

        if not relations:
            raise UsageError('prefetch needs the names of relations, as in prefetch("country")')
        known = self._asked.prefetch.given if self._asked.prefetch is not None else ()
        return self._with(prefetch=Prefetch(self._schema, (*known, *relations)))

    # --- planning ---------------------------------------------------------------------------

    def plan(self, **changes: Any) -> Plan:
        """Return what the storage would run, and what Python would finish."""
        asked = self._asked
        options: dict[str, Any] = {
            "order": asked.order,
            "descending": asked.descending,
            "unordered": asked.unordered,
            "offset": asked.offset,
            "limit": asked.limit,
            **changes,
        }
        condition = asked.condition
        is_asked = False
        parts: tuple[Any, ...] = condition.parts if type(condition) is And else (condition,)
        for part in parts:
            some: tuple[Any, ...] = (part,)
            if type(part) is not Lookup:
                some = (part.part,) if type(part) is Not else part.parts
            for one in some:
                if type(one) is not Lookup:
                    is_asked = is_asked or _asks_by_query(one)
                elif type(one.operand) not in _NO_QUERIES and isinstance(one.operand, Selection):
                    is_asked = True
        if is_asked:
            condition = conditions.transform(condition, _with_own_keys)
        storage = self._storage
        target = storage.current if ACTIVE.get() else storage
        plan = target.plan(self._schema, condition, **options)
        if not asked.allow_scan and plan.reads_everything:
            raise ScanRefused(
                f"{self!s} would read every record of {self._schema.collection}, and "
                "allow_scan=False refuses that: ask by key or by an indexed field"
            )
        return plan

    def _pairs(self, **changes: Any) -> Iterator[Pair]:
        plan = self.plan(**changes)
        return execute(self._storage.current, plan)

    def place(self, field: Any) -> Place:
        """Return the place that a field, or a path through one, names."""
        if type(field) is str and field:
            return self._schema.place_named(field)
        if isinstance(field, Path):
            return self._schema.place_of(field.parts, field.owner, literal=field.literal)
        if not isinstance(field, str) or not field:
            raise UsageError(f'a field is named as in "age" or Person.age, not {field!r}')
        return self._schema.place_named(str(field))

    def keys_for(self, schema: Schema, place: Place, lookup: str) -> Self:
        """Check that this query can be the operand of *lookup* at *place*: the keys it finds."""
        if place.is_key:
            wanted = schema.collection
        elif place.field is not None and place.field.reference is not None:
            wanted = place.field.reference.__schema__.collection
        else:
            raise OperandInvalid(
                f"{schema.name}.{place.path}: a query stands for keys, and this is no reference; "
                'give its values("...") instead'
            )
        takes = "contains_any" if place.kind.families & ARRAYS else "in"
        if lookup != takes:
            raise OperandInvalid(
                f"{schema.name}.{place.path}: {lookup} cannot take a query here: ask "
                f"{place.path}__{takes}=<query>"
            )
        if wanted != self._schema.collection:
            raise OperandInvalid(
                f"{schema.name}.{place.path} refers to {wanted}, and the query finds "
                f"{self._schema.collection}"
            )
        return self

    def __str__(self) -> str:
        asked = self._asked
        text = f"{self._model.__name__} where {asked.condition!r}"
        if asked.order:
            names = ", ".join(("-" if t.descending else "") + t.place.path for t in asked.order)
            text += f" order by {names}"
        elif asked.descending:
            text += " order by -pk"
        if asked.offset or asked.limit is not None:
            stop = "" if asked.limit is None else asked.offset + asked.limit
            text += f" [{asked.offset}:{stop}]"
        if asked.prefetch is not None:
            text += f" with {asked.prefetch}"
        return text


def _asks_by_query(condition: Any) -> bool:
    """Tell whether there are queries that stand as operands, for the keys that they find."""
    if type(condition) is Lookup:
        return isinstance(condition.operand, Selection)
    for part in (condition.part,) if type(condition) is Not else condition.parts:
        if type(part) is not Lookup:
            if _asks_by_query(part):
                return True
        elif type(part.operand) not in _NO_QUERIES and isinstance(part.operand, Selection):
            return True
    return False


def _with_own_keys(lookup: Lookup) -> Lookup:
    if isinstance(lookup.operand, Selection):
        found = tuple(key for key, _ in lookup.operand._pairs(names=frozenset()))
        return conditions.with_operand(lookup, found)
    return lookup
