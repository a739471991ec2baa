"""What a model declares, in the form that the layers below it use.

A ``Schema`` belongs to one model. It knows the fields and where they are stored, turns keyword
lookups into bound conditions, and refuses names and operands that have no meaning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pymodels import conditions, expressions
from pymodels.checks import Unfit
from pymodels.conditions import Condition, Lookup
from pymodels.errors import OperandInvalid, QueryError, UnknownField, UsageError
from pymodels.fields import FieldOptions
from pymodels.keys import KeyKind
from pymodels.kinds import Kind, Open, Scalar, is_index
from pymodels.lookups import LOOKUPS, nearest
from pymodels.operands import COMPARISONS, OF_SEVERAL, are_plain, plain_type, unchecked
from pymodels.values import ARRAYS
from pymodels.views import place_here

_OPEN: Final = Open()

MOST_KNOWN: Final = 1_000
"""How many names are remembered of those that were ever asked for."""

_PLAIN_LISTS: Final = frozenset({list, tuple, set, frozenset, range})
_PAIRS: Final = frozenset({list, tuple})

_Keyword: TypeAlias = tuple[tuple[str, ...], str, "Place", type | None, int]
"""What a keyword means: a path, a lookup, where the path leads, the type of operands that need no
check, and how many lookups there were when it was looked up."""


@dataclass(frozen=True, slots=True, eq=False)
class FieldInfo:
    """One declared field: its attribute and stored name, its kind and its options.

    ``reference`` is the model that it refers to, if it does; then ``kind`` is that of the key, or
    of a list of keys. ``held`` reads an instance's value, of a reference the key or the instance
    that its slot holds, without loading anything.
    """

    name: str
    stored: str
    kind: Kind
    options: FieldOptions
    held: Callable[[Any], Any]
    reference: Any = None

    def problem(self, value: Any) -> str:
        """Return what keeps *value* from being stored in this field, or nothing."""
        try:
            self.kind.check(value)
        except Unfit as error:
            return f"{error.trail}: {error.reason}" if error.trail else error.reason
        options = self.options
        if options.choices is not None and value not in options.choices and value is not None:
            return f"{value!r} is none of the choices {', '.join(map(repr, options.choices))}"
        for validate in options.validators:
            try:
                validate(value)
            except ValueError as error:
                return str(error) or f"{value!r} was refused by {validate!r}"
        return ""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a path leads in the records of one model.

    ``stored`` is the name of the top-level field, ``inside`` the rest of the way, ``kind`` what can
    stand there (an open kind, where the model declares nothing). The place of the primary key has
    ``is_key`` and no stored name. ``field`` is None for what is not declared.
    """

    path: str
    stored: str
    inside: tuple[str, ...]
    kind: Kind
    root: Kind
    field: FieldInfo | None
    is_key: bool = False
    plain: type | None = None
    """The type of operands with which values here can be compared as they are."""
    way: tuple[str, ...] = dataclasses.field(init=False)
    """The whole stored path."""
    unchecked: Mapping[str, type] = dataclasses.field(init=False)
    """The type of operands, or of each that is in them, that need no check, by lookup."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "way", (self.stored, *self.inside))
        is_reference = self.field is not None and self.field.reference is not None
        types = {} if is_reference else unchecked(self.kind, self.plain)
        object.__setattr__(self, "unchecked", types)

    @property
    def passes_declared_list(self) -> bool:
        """Whether the way leads through the members of a declared list, without an index."""
        kind: Kind | None = self.root
        for part in self.inside:
            if kind is None or kind.is_open:
                return False
            if kind.families & ARRAYS and not is_index(part):
                return True
            kind = kind.child(part)
        return False


@dataclass(frozen=True, slots=True)
class Index:
    """A declared index: what it covers, in order.

    ``fields`` are the stored names of the fields, ``paths`` the stored paths from there on, which
    ``places`` tell all about. ``kind`` is the name of a further kind of index, such as "trigram".
    ``where`` holds for every record in a partial index. ``ordered`` says that it is to find and
    sort records; one that is not only keeps values unique.
    """

    name: str
    fields: tuple[str, ...]
    unique: bool = False
    kind: str = ""
    paths: tuple[tuple[str, ...], ...] = ()
    places: tuple[Place, ...] = ()
    where: Condition = conditions.EVERYTHING
    caseless: bool = False
    ordered: bool = True


@dataclass(eq=False)
class Schema:
    """What one model declares."""

    model: Any
    name: str
    collection: str
    key: KeyKind
    key_name: str
    fields: dict[str, FieldInfo] = field(default_factory=dict)
    indexes: tuple[Index, ...] = ()
    must: Condition = conditions.EVERYTHING
    fill: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)
    everything: Any = field(default=None, repr=False)  # what a query of all records asks for

    def __post_init__(self) -> None:
        self.stored = {info.stored: info for info in self.fields.values()}
        self.references = {n: i for n, i in self.fields.items() if i.reference is not None}
        self.table = f"records:{self.collection}"
        self._unique: tuple[Any, tuple[Index, ...]] = (None, ())
        self._keywords: dict[str, _Keyword] = {}
        self._places: dict[tuple[str, ...], Place] = {}
        self._named: dict[str, Place] = {}
        self.terms: dict[tuple[str, str | None], Any] = {}  # of orders, as they were asked for
        kind = key_as_kind(self.key)
        self.key_place = Place("pk", "", (), kind, _OPEN, None, True, plain_type(kind))

    @property
    def unique(self) -> tuple[Index, ...]:
        """The indexes that allow each value once."""
        known = self._unique
        if known[0] is not self.indexes:
            known = self._unique = (self.indexes, tuple(one for one in self.indexes if one.unique))
        return known[1]

    # --- keys -------------------------------------------------------------------------------

    def check_keys(self, keys: Iterable[Any], asker: str) -> list[Any]:
        """Return *keys* as ``check_key`` does, each once; raise ``UsageError`` if they are no list.

        *asker* is the name of the method that takes them.

        >>> from pymodels import Model
        >>> class Person(Model): ...
        >>> Person.__schema__.check_keys(["a", "b", "a"], "in_bulk")
        ['a', 'b']
        >>> Person.__schema__.check_keys("ab", "in_bulk")
        Traceback (most recent call last):
        ...
        pymodels.errors.UsageError: in_bulk takes a list of keys, not 'ab'
        """
        if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
            raise UsageError(f"{asker} takes a list of keys, not {keys!r}")
        given = list(keys)
        if self.key.type is not str or not (are_plain(given, str) and all(given)):
            given = list(map(self.check_key, given))
        return list(dict.fromkeys(given))

    def check_key(self, key: Any) -> Any:
        """Return *key*, or the key of the instance that it is; raise ``OperandInvalid`` if neither.

        >>> from pymodels import Model
        >>> class Person(Model): ...
        >>> Person.__schema__.check_key(7)
        Traceback (most recent call last):
        ...
        pymodels.errors.OperandInvalid: Person.pk: expected text (str), got int 7
        """
        model: Any = type(key)
        if model is str is self.key.type and key and key.isascii():
            return key  # most keys, decided without a further call
        if model is not self.key.type and hasattr(model, "__schema__"):
            if model.__schema__.collection != self.collection:
                raise OperandInvalid(
                    f"{self.name}.{self.key_name}: {model.__name__} is another model"
                )
            if key.pk is None:
                raise OperandInvalid(
                    f"{self.name}.{self.key_name}: {key!r} is not saved, so it has no key: "
                    "save it first"
                )
            key = key.pk
        try:
            self.key.check(key)
        except Unfit as error:
            raise OperandInvalid(f"{self.name}.{self.key_name}: {error.reason}") from None
        return key

    # --- conditions -------------------------------------------------------------------------

    def condition(self, given: Iterable[Any], keywords: Mapping[str, Any]) -> Condition:
        """Bind conditions and keyword lookups to this model, as one condition that all hold."""
        result: Condition = conditions.EVERYTHING
        for one in given:
            if type(one) is Lookup:
                bound: Condition = self._bind_lookup(one)
            elif type(one) in conditions.NODES:
                inside: tuple[Condition, ...] = ()
                for part in (one.part,) if type(one) is conditions.Not else one.parts:
                    inside += (
                        self._bind_lookup(part) if type(part) is Lookup else self.bind(part),
                    )
                if type(one) is conditions.Not:
                    bound = conditions.Not(inside[0])
                else:
                    bound = type(one)(inside) if inside else one
            else:
                raise QueryError(
                    f"{self.name}: {one!r} is no condition; write age__gt=30 or Person.age > 30"
                )
            result = bound if result is conditions.EVERYTHING else conditions.both(result, bound)
        if not keywords:
            return result
        lookups = self.lookups(keywords)
        if result is conditions.EVERYTHING:
            return conditions.And(lookups) if lookups[1:] else lookups[0]
        if type(result) is conditions.And:
            return conditions.And((*result.parts, *lookups))
        return conditions.And((result, *lookups))

    def bind(self, condition: Condition) -> Condition:
        """Return *condition* with every path found in this model and every operand checked."""
        return self.condition((condition,), {})

    def _bind_lookup(self, lookup: Lookup) -> Lookup:
        if lookup.place is not None and lookup.owner is self.model:
            return lookup
        parts, places = lookup.parts, self._places
        if lookup.owner is self.model and parts in places:
            place = places[parts]
        else:
            place = self.place_of(parts, lookup.owner, literal=lookup.literal)
        name, operand = lookup.name, lookup.operand
        if name in place.unchecked and name not in OF_SEVERAL:
            kind = type(operand)
            if kind is place.unchecked[name] and (kind is not str or operand.isascii()):
                return Lookup(parts, name, operand, place, self.model)
        return self._lookup(place, name, operand, parts)

    def keyword(self, name: str, operand: Any) -> Lookup:
        """Return the bound lookup that a keyword such as ``address__city__startswith`` asks for."""
        return self.lookups({name: operand})[0]

    def lookups(self, keywords: Mapping[str, Any]) -> tuple[Lookup, ...]:
        """Return the bound lookup that each of some keywords asks for."""
        found: tuple[Lookup, ...] = ()
        for name in keywords:
            operand = keywords[name]
            if name not in self._keywords:
                found += (self._new_keyword(name, operand),)
                continue
            parts, lookup, place, plain, known = self._keywords[name]
            if known and known != len(LOOKUPS):
                found += (self._new_keyword(name, operand),)
                continue
            kind = type(operand)
            is_plain = kind is plain and (kind is not str or operand.isascii())
            if is_plain or (kind is float and plain is int and operand - operand == 0.0):
                found += (Lookup(parts, lookup, operand, place, self.model),)
            else:
                found += (self._lookup(place, lookup, operand, parts),)
        return found

    def _new_keyword(self, name: str, operand: Any) -> Lookup:
        parts, lookup, lookups = tuple(name.split("__")), "equals", 0
        if len(parts) > 1:
            if parts[-1] in LOOKUPS:
                parts, lookup = parts[:-1], parts[-1]
            if lookup not in COMPARISONS:
                lookups = len(LOOKUPS)  # a user may register more, which the end may be one of
        place = self.place(parts)
        if len(self._keywords) < MOST_KNOWN:
            plain = None if lookup in OF_SEVERAL else place.unchecked.get(lookup)
            self._keywords[name] = (parts, lookup, place, plain, lookups)
        return self._lookup(place, lookup, operand, parts)

    def _lookup(self, place: Place, name: str, operand: Any, parts: tuple[str, ...]) -> Lookup:
        if name in place.unchecked:
            plain, kind = place.unchecked[name], type(operand)
            if name not in OF_SEVERAL:
                if kind is plain and (kind is not str or operand.isascii()):
                    return Lookup(parts, name, operand, place, self.model)
                if kind is float and plain is int and operand - operand == 0.0:
                    return Lookup(parts, name, operand, place, self.model)
            elif name == "between":
                if kind in _PAIRS and len(operand) == 2 and are_plain(operand, plain):
                    return Lookup(parts, name, tuple(operand), place, self.model)
            elif kind in _PLAIN_LISTS and are_plain(operand, plain):
                return Lookup(parts, name, tuple(operand), place, self.model)
        where = f"{self.name}.{place.path}"
        if isinstance(operand, expressions.Node):
            raise OperandInvalid(
                f"{where}: F is for update(); a condition compares a field with a value"
            )
        reference = place.field.reference if place.field else None
        if name in ("in", "contains_any") and hasattr(operand, "keys_for"):
            checked = operand.keys_for(self, place, name)
        else:
            if place.is_key or reference is not None:
                target = self if reference is None else reference.__schema__
                try:
                    operand = _keys(operand, target)
                except RecursionError:
                    raise OperandInvalid(f"{where}: the operand is nested too deeply") from None
            checked = LOOKUPS[name].check(operand, place.kind, where)
        undeclared = place.field is None and not place.is_key
        return Lookup(parts, name, checked, place, self.model, literal=undeclared)

    # --- paths ------------------------------------------------------------------------------

    def place_of(self, parts: tuple[str, ...], owner: Any, *, literal: bool) -> Place:
        """Find where a path leads; *owner* is the model whose attribute began it, if one did."""
        if owner is not None and owner.__schema__.collection != self.collection:
            raise QueryError(
                f"{owner.__name__}.{parts[0]} is a field of another model than {self.name}: a "
                "query asks about the records of one model"
            )
        if owner is not None and owner is not self.model and not literal:
            return place_here(self, owner.__schema__, parts)
        return self.place(parts, literal=literal)

    def place_named(self, name: str) -> Place:
        """Find where a name such as ``address__city`` leads, as ``place`` does of its parts."""
        try:
            return self._named[name]
        except KeyError:
            found = self.place(tuple(name.split("__")))
        if len(self._named) < MOST_KNOWN:
            self._named[name] = found
        return found

    def place(self, parts: tuple[str, ...], *, literal: bool = False) -> Place:
        """Find where a path leads; raise ``UnknownField`` where it leads nowhere."""
        known = self._places.get(parts)
        if known is not None:
            return known
        first, inside = parts[0], parts[1:]
        if first in ("pk", self.key_name):
            if inside:
                raise self._unknown(parts, inside[0], LOOKUPS)
            return self.key_place
        info = self.fields.get(first) or (self.stored.get(first) if literal else None)
        if info is None:
            if literal:
                return Place("__".join(parts), first, inside, _OPEN, _OPEN, None)
            raise self._unknown(parts, first, (*self.fields, self.key_name, "pk"))
        if info.reference is not None and inside and not inside[0].isdecimal():
            lookup = "contains_any" if info.kind.families & ARRAYS else "in"
            raise UnknownField(
                f"{self.name}.{'__'.join(parts)}: {first} refers to {info.reference.__name__}, and "
                f"a path does not pass through a reference; ask {first}__{lookup}="
                f"{info.reference.__name__}.objects(storage).where({'__'.join(inside)}=...) instead"
                f"{nearest(inside[0], LOOKUPS)}"
            )
        kind: Kind = info.kind
        stored: list[str] = []
        for part in inside:
            child = kind.child(part)
            if child is None:
                raise self._unknown(parts, part, (*kind.member_names(), *LOOKUPS))
            stored.append(kind.stored_name(part))
            kind = child
        plain = plain_type(kind) if info.reference is None else None
        found = Place(
            "__".join(parts), info.stored, tuple(stored), kind, info.kind, info, plain=plain
        )
        if first in self.fields and len(self._places) < MOST_KNOWN:
            self._places[parts] = found
        return found

    def _unknown(self, parts: tuple[str, ...], part: str, known: Iterable[str]) -> UnknownField:
        path = "__".join(parts)
        hint = nearest(part, known)
        whole = "" if path == part else f" (in {path!r})"
        if part == parts[0]:
            has = ", ".join((*self.fields, self.key_name))
            return UnknownField(
                f"{self.name} has no field {part!r}{whole}{hint or f'; it has {has}.'} "
                f"Path({part!r}) asks about a field that the model does not declare"
            )
        if part in LOOKUPS:
            return UnknownField(
                f"{self.name} has no member {part!r}{whole}; that is a lookup, which stands last "
                "in a condition and nowhere else"
            )
        return UnknownField(f"{self.name} has no member and no lookup {part!r}{whole}{hint}")


def key_as_kind(key: KeyKind) -> Kind:
    """Return the kind of the values that a primary key, or a reference by it, holds."""
    names: dict[str, str] = {"text": "text", "int": "number", "uuid": "uuid"}
    check: Callable[[Any], None] = key.check
    return Scalar(key.type, names.get(key.name, key.name), check)


def _keys(operand: Any, target: Schema) -> Any:
    """Replace model instances in an operand by their keys."""
    if hasattr(type(operand), "__schema__"):
        return target.check_key(operand)
    if isinstance(operand, list | tuple | set | frozenset):
        return [_keys(one, target) for one in operand]
    return operand


def schema_of(model: Any) -> Schema:
    """Return what *model* declares; raise ``UsageError`` for what is no model.

    >>> schema_of("Person")
    Traceback (most recent call last):
    ...
    pymodels.errors.UsageError: 'Person' is no model: give the class itself
    """
    if isinstance(model, type) and "__declared__" in vars(model):
        found: Schema = model.__schema__  # type: ignore[attr-defined]
        return found
    raise UsageError(f"{model!r} is no model: give the class itself")
