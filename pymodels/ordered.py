"""Ordered indexes as a byte store keeps them: what it remembers of one.

An index is a table of pairs, an entry and the key of the record that it is of, sorted by both. An
``OrderedIndex`` says all that is needed to keep an index without the model that declared it, so
that writing through another view, or from another process, keeps it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from pymodels.conditions import And, Condition, Lookup, Not, both, negated
from pymodels.encoding import FAMILIES
from pymodels.errors import ModelError
from pymodels.kinds import Kind, Open, is_index
from pymodels.readings import PLAIN, Reading, reading_of
from pymodels.schema import Index, Place, Schema

if TYPE_CHECKING:
    from pymodels.messagepack import MessagePack

LONGEST: Final = 480
"""How many bytes of an entry are kept. One of so many may be cut, and is decided by its record."""

NULL_CODE: Final = FAMILIES["null"][0][0]

WHOLE, MEMBERS, CASELESS, TRIGRAM = "whole", "members", "caseless", "trigram"

COLUMN: Final = "column"
"""An index that is no such table, but has all values side by side: see ``blocks``."""

StoredPath: TypeAlias = tuple[str, ...]

# --- what is remembered ---------------------------------------------------------------------


class Part(msgspec.Struct, frozen=True):
    """One of the values that an entry is made of.

    ``form`` says what is taken of it: the whole value, the members of a list, text without its
    case, or all the runs of three characters in it. Of a column it is the value as it is stored.
    """

    path: StoredPath
    reading: Reading = PLAIN
    form: str = WHOLE


class Clause(msgspec.Struct, frozen=True):
    """One lookup that holds, or does not, for every record in a partial index."""

    path: StoredPath
    lookup: str
    operand: bytes
    negated: bool = False


class OrderedIndex(msgspec.Struct, frozen=True):
    """An index, in the form in which a storage remembers it.

    It is of use once it is ``ready``; until then it has all records up to the key ``position``, and
    those written since. ``spread`` says that some record has several entries, through a list, and
    ``codes`` of each part and clause with what byte its values were ever seen to begin: of which
    families they were.
    """

    name: str
    parts: tuple[Part, ...]
    where: tuple[Clause, ...] = ()
    ready: bool = True
    position: bytes | None = None
    spread: bool = False
    codes: tuple[bytes, ...] = ()

    @property
    def places(self) -> tuple[Part, ...]:
        """The parts, and what is asked of each record besides."""
        return (*self.parts, *(Part(clause.path) for clause in self.where))

    @property
    def is_column(self) -> bool:
        """Whether it is a column, of which an entry is what is stored, and may be empty."""
        return self.parts[0].form == COLUMN

    @property
    def is_total(self) -> bool:
        """Whether every record has exactly one entry, in the order of its values."""
        return not (self.spread or self.where) and all(part.form == WHOLE for part in self.parts)

    def has_all_with(self, used: int) -> bool:
        """Tell whether no record is left out that a condition on the first *used* parts may mean.

        One whose list has no members has no entry, whatever its other values are.
        """
        return all(part.form not in (MEMBERS, TRIGRAM) for part in self.parts[used:])

    @property
    def repeats(self) -> bool:
        """Whether a record may be met more than once."""
        return self.spread or any(part.form in (MEMBERS, TRIGRAM) for part in self.parts)


def ordered_index(schema: Schema, index: Index, codec: MessagePack) -> OrderedIndex | None:
    """Return what a storage has to remember of a declared index; None if it is none of these."""
    if not index.ordered or index.kind not in ("", MEMBERS, TRIGRAM, COLUMN):
        return None
    if index.kind == COLUMN:  # how its values are read is up to those who read them
        column = Part(index.paths[0], PLAIN, COLUMN)
        return OrderedIndex(_name([column], ()), (column,))
    parts: list[Part] = []
    for path, place in zip(index.paths, index.places, strict=True):
        reading = reading_at(schema, path)
        if reading is None:
            return None
        parts.append(Part(path, reading, _form(index, place)))
    where = clauses(index.where, codec)
    if where is None:
        raise ModelError(
            f"{schema.name}: the index on {', '.join(index.fields)} cannot be kept where "
            f"{index.where!r}: that may ask for {', '.join(sorted(_REMEMBERED))}, of fields whose "
            "values are stored as they are, all of which hold"
        )
    return OrderedIndex(_name(parts, where), tuple(parts), where)


def _form(index: Index, place: Place) -> str:
    if index.caseless:
        return CASELESS
    if index.kind:
        return index.kind
    kind = place.kind
    only_lists = bool(kind.families) and kind.families <= {"list", "set", "tuple"}
    return MEMBERS if only_lists and not kind.is_open else WHOLE


def _name(parts: Sequence[Part], where: Sequence[Clause]) -> str:
    """Name an index by all that it is: views that read a field differently have one each."""
    told = "+".join(
        ":".join(
            (
                "__".join(part.path),
                *([part.form] if part.form != WHOLE else []),
                *([_told(part.reading)] if part.reading != PLAIN else []),
            )
        )
        for part in parts
    )
    unclear = any(mark in name for part in parts for name in part.path for mark in ("__", *"+:#["))
    if where or unclear or len(told) > 100:
        whole = msgspec.msgpack.encode((parts, where))
        told = f"{told[:60]}#{_digest(whole)}"
    return told


def _told(reading: Reading) -> str:
    inside = "" if reading.item is None else f"[{_told(reading.item)}]"
    return f"{reading.text}{reading.shape}{inside}"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def reading_at(schema: Schema, path: StoredPath) -> Reading | None:
    """Return how *schema* reads the values at a stored path, None where a ``Reading`` cannot."""
    kind = kind_at(schema, path)
    return None if kind is None else reading_of(kind)


def kind_at(schema: Schema, path: StoredPath) -> Kind | None:
    """Return the kind of the values at a stored path, None if an index cannot find its way."""
    info = schema.stored.get(path[0])
    kind: Kind | None = Open() if info is None else info.kind
    for part in path[1:]:
        if kind is None or (is_index(part) and "set" in kind.families and not kind.is_open):
            return None
        kind = kind.child(part)
    return kind


def fits(index: OrderedIndex, schema: Schema) -> bool:
    """Tell whether an index is ready, and holds values as *schema* reads them.

    Where a value of another family was ever seen than the model declares, only reading all records
    tells whether one of them does not fit.
    """
    if index.is_column:
        return index.ready
    return index.ready and all(
        reading_at(schema, part.path) == part.reading and _are_declared(codes, part, schema)
        for part, codes in zip(index.places, index.codes or (b"",) * len(index.places), strict=True)
    )


def _are_declared(codes: bytes, part: Part, schema: Schema) -> bool:
    kind = kind_at(schema, part.path)
    if part.form == MEMBERS and kind is not None and not kind.is_open:
        kind = kind.child("0")
    if kind is None or kind.is_open:
        return kind is not None
    allowed = {NULL_CODE}
    for name in kind.families:
        allowed.update(range(FAMILIES[name][0][0], FAMILIES[name][1][0]))
    return allowed.issuperset(codes)


# --- partial indexes ------------------------------------------------------------------------


def clauses(condition: Condition, codec: MessagePack) -> tuple[Clause, ...] | None:
    """Return *condition* as clauses that all hold, None where it is no such thing."""
    found = [clause(part, codec) for part in conjuncts(condition)]
    known = [one for one in found if one is not None]
    return tuple(known) if len(known) == len(found) else None


def conjuncts(condition: Condition) -> tuple[Condition, ...]:
    return condition.parts if isinstance(condition, And) else (condition,)


def clause(condition: Condition, codec: MessagePack) -> Clause | None:
    """Return a lookup as a clause, None where it cannot be remembered without its model."""
    is_negated = isinstance(condition, Not)
    inner = condition.part if isinstance(condition, Not) else condition
    if not isinstance(inner, Lookup) or inner.place is None or inner.place.is_key:
        return None
    place, operand = inner.place, inner.operand
    if inner.name not in _REMEMBERED or reading_of(place.root) != PLAIN:
        return None
    try:
        packed = codec.stored_value(Open(), operand)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        return None
    return Clause((place.stored, *place.inside), inner.name, bytes(packed), is_negated)


_REMEMBERED: Final = frozenset(
    {"equals", "in", "exists", "gt", "gte", "lt", "lte", "between", "startswith", "iequals", "size"}
)


def condition_of(found: Sequence[Clause], codec: MessagePack) -> Condition:
    """Return what clauses say, bound to open places."""
    whole: Condition = And(())
    anything = Open()
    for one in found:
        operand = msgspec.msgpack.decode(one.operand, ext_hook=codec.untag)
        place = Place("", one.path[0], one.path[1:], anything, anything, None)
        lookup = Lookup(one.path, one.lookup, operand, place, None, literal=True)
        whole = both(whole, negated(lookup) if one.negated else lookup)
    return whole
