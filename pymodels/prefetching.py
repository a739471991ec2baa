"""Relations that are loaded together with the records of a query: ``query.prefetch("country")``.

Records come in pages, and what all records of a page refer to is read at once: so a page costs one
read more for each relation, and an iteration over many records takes no more memory than a page.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pymodels.errors import QueryError, UnknownField, UsageError
from pymodels.lookups import nearest
from pymodels.paths import Path
from pymodels.query import Query
from pymodels.references import Related, is_instance
from pymodels.schema import FieldInfo, Schema

if TYPE_CHECKING:
    from pymodels.conditions import Condition
    from pymodels.models import Model
    from pymodels.storage import Storage

M = TypeVar("M", bound="Model")
T = TypeVar("T")

PAGE: Final = 500
"""How many records are read before what they refer to is."""


@dataclass(slots=True)
class Relation:
    """One relation to load, and those to load of what it leads to.

    Either ``info`` is set, a reference of the records, or ``related``, the way back to them.
    """

    target: Schema
    info: Any = None
    related: Any = None
    then: dict[str, Relation] = field(default_factory=dict)


class Prefetch:
    """All relations that a query loads together with its records."""

    def __init__(self, schema: Schema, given: tuple[Any, ...]) -> None:
        self.given = given
        self.relations: dict[str, Relation] = {}
        self._schema = schema
        elsewhere: list[tuple[Any, tuple[str, ...]]] = []
        for one in given:
            owner, parts = _parts(one)
            if owner is None or issubclass(schema.model, owner):
                _add(schema, self.relations, parts)
            else:
                elsewhere.append((owner, parts))
        self._add_elsewhere(elsewhere)

    def _add_elsewhere(self, wanted: list[tuple[Any, tuple[str, ...]]]) -> None:
        """Add relations of other models wherever those are loaded."""
        while wanted:
            left = []
            for owner, parts in wanted:
                places = [
                    one for one in _all(self.relations) if issubclass(one.target.model, owner)
                ]
                for place in places:
                    _add(place.target, place.then, parts)
                if not places:
                    left.append((owner, parts))
            if len(left) == len(wanted):
                owner, parts = left[0]
                raise QueryError(
                    f"{owner.__name__}.{'__'.join(parts)}: this query of {self._schema.name} loads "
                    f"no {owner.__name__}; name the way there first, as in "
                    f"prefetch('...__{'__'.join(parts)}')"
                )
            wanted = left

    def in_pages(
        self, storage: Storage, instances: Iterable[T], *, allow_scan: bool = True
    ) -> Iterator[T]:
        """Yield *instances*, each with its relations loaded."""
        left = iter(instances)
        while page := list(itertools.islice(left, PAGE)):
            self.load(storage, page, allow_scan=allow_scan)
            yield from page

    def load(self, storage: Storage, page: list[Any], *, allow_scan: bool = True) -> None:
        """Load what all instances of a page refer to, and who refers to them."""
        _load(storage, page, self.relations, allow_scan)

    def __str__(self) -> str:
        return ", ".join("__".join(_parts(one)[1]) for one in self.given)


# --- naming relations -----------------------------------------------------------------------


def _parts(given: Any) -> tuple[Any, tuple[str, ...]]:
    """Return the model whose relation *given* is, if it says so, and the names on the way."""
    if isinstance(given, Path):
        return given.owner, given.parts
    if isinstance(given, Related):
        return given.owner, (given.name,)
    if isinstance(given, str) and given:
        return None, tuple(given.split("__"))
    raise UsageError(
        'prefetch takes names of relations such as "country", "country__continent" or '
        f"Country.people, not {given!r}"
    )


def _add(schema: Schema, relations: dict[str, Relation], parts: tuple[str, ...]) -> None:
    for part in parts:
        found = relations.get(part)
        if found is None:
            found = relations[part] = _relation(schema, part, parts)
        schema, relations = found.target, found.then


def _relation(schema: Schema, name: str, parts: tuple[str, ...]) -> Relation:
    info = schema.references.get(name)
    if info is not None:
        return Relation(info.reference.__schema__, info=info)
    related = getattr(schema.model, name, None)
    if isinstance(related, Related):
        return Relation(related.model().__schema__, related=related)
    whole = "" if len(parts) == 1 else f" (in {'__'.join(parts)!r})"
    if name in schema.fields or name in ("pk", schema.key_name):
        raise QueryError(
            f"{schema.name}.{name}{whole} is no reference, so that there is nothing to load"
        )
    there = [
        *schema.references,
        *(
            name
            for name in dir(schema.model)
            if isinstance(_class_attribute(schema, name), Related)
        ),
    ]
    has = f"it has {', '.join(there)}" if there else "it has none"
    raise UnknownField(
        f"{schema.name} has no relation {name!r}{whole}{nearest(name, there) or f'; {has}'}"
    )


def _class_attribute(schema: Schema, name: str) -> Any:
    return next((vars(base)[name] for base in schema.model.__mro__ if name in vars(base)), None)


def _all(relations: dict[str, Relation]) -> Iterator[Relation]:
    for one in relations.values():
        yield one
        yield from _all(one.then)


# --- loading them ---------------------------------------------------------------------------


def _load(
    storage: Storage, page: list[Any], relations: dict[str, Relation], allow_scan: bool
) -> None:
    for name, relation in relations.items():
        if relation.related is not None:
            found = _load_related(storage, page, relation.related, allow_scan)
        else:
            found = _load_references(storage, page, name, relation.info)
        if relation.then and found:
            _load(storage, found, relation.then, allow_scan)


def _load_references(storage: Storage, page: list[Any], name: str, info: FieldInfo) -> list[Any]:
    """Put records in the place of their keys; a key without a record stays as it is."""
    values = [(instance, info.held(instance)) for instance in page]
    wanted = dict.fromkeys(
        one
        for _, value in values
        for one in (value if isinstance(value, list) else (value,))
        if one is not None and not is_instance(one)
    )
    found: dict[Any, Any] = storage.get_many(info.reference, wanted) if wanted else {}
    loaded: dict[int, Any] = {}
    for instance, value in values:
        if isinstance(value, list):
            value[:] = [one if is_instance(one) else found.get(one, one) for one in value]
            there = value
        else:
            if value in found:
                setattr(instance, name, found[value])
            there = [info.held(instance)]
        loaded.update((id(one), one) for one in there if is_instance(one))
    return list(loaded.values())


def _load_related(
    storage: Storage, page: list[Any], related: Related[Any], allow_scan: bool
) -> list[Any]:
    """Find all that refer to records of a page, and give each record its own."""
    model, name = related.model(), related.field
    info: FieldInfo = model.__schema__.references[name]
    groups: dict[Any, list[Any]] = {instance.pk: [] for instance in page}
    parents = {instance.pk: instance for instance in page}
    everyone = model.objects(storage, allow_scan=allow_scan)
    found: list[Any] = everyone.where(**{related.lookup("in", "contains_any"): list(groups)}).all()
    for one in found:
        value = info.held(one)
        if isinstance(value, list):
            for key in dict.fromkeys(value):
                if key in groups:
                    groups[key].append(one)
        elif value in groups:
            groups[value].append(one)
            if type(parents[value]) is info.reference:
                setattr(one, name, parents[value])
    for instance in page:
        query = related.query(instance, storage)
        related.remember(instance, LoadedQuery(query, groups[instance.pk]))
    return found


class LoadedQuery(Query[M]):
    """A query whose records are there already: what ``prefetch`` found of a backward relation.

    It is iterated, counted, indexed and sliced like a list, without reading anything. Whatever
    narrows or orders it gives a query that is asked anew.
    """

    __slots__ = ("_found", "_query")

    def __init__(self, query: Query[M], found: list[M]) -> None:
        self._model, self._schema = query._model, query._schema
        self._storage, self._asked = query._storage, query._asked
        self._query = query
        self._found = found

    def _with(self, **changes: Any) -> Any:
        return self._query._with(**changes)

    def where(self, *given: Condition, **lookups: Any) -> Any:
        return self._query.where(*given, **lookups)

    def order_by(self, *fields: str | Path[Any], nulls: str | None = None) -> Any:
        return self._query.order_by(*fields, nulls=nulls)

    def __iter__(self) -> Iterator[M]:
        return iter(self._found)

    def all(self) -> list[M]:
        return list(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def _slice(self, wanted: slice) -> Any:
        return LoadedQuery(self._query._slice(wanted), self._found[wanted])

    def count(self) -> int:
        return len(self._found)

    def exists(self) -> bool:
        return bool(self._found)

    def last(self) -> M:
        if self._found:
            return self._found[-1]
        return super().last()
