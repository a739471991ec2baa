"""Ordered indexes as a byte store keeps them: what it remembers of one, and a record's entries.

An index is a table of pairs, an entry and the key of the record that it is of, sorted by both. An
entry is made of the record's values by ``encoding.encode``, so that entries sort as values do. An
``OrderedIndex`` says all that is needed to keep an index without the model that declared it, so
that writing through another view, or from another process, keeps it too.
"""

from __future__ import annotations

import hashlib
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from pymodels.conditions import And, Condition, Lookup, Not, both, negated
from pymodels.encoding import FAMILIES, encode, encoded_pairs
from pymodels.evaluation import compile_condition, leaves
from pymodels.fieldvalues import ColumnReader
from pymodels.kinds import Kind, Open, is_index
from pymodels.readings import PLAIN, Reading, converter, reading_of
from pymodels.schema import Index, Place, Schema
from pymodels.trigrams import trigrams
from pymodels.values import is_array

if TYPE_CHECKING:
    from pymodels.codecs import MessagePack

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
        return None
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


def _condition(found: Sequence[Clause], codec: MessagePack) -> Condition:
    """Return what clauses say, bound to open places."""
    whole: Condition = And(())
    anything = Open()
    for one in found:
        operand = msgspec.msgpack.decode(one.operand, ext_hook=codec.untag)
        place = Place("", one.path[0], one.path[1:], anything, anything, None)
        lookup = Lookup(one.path, one.lookup, operand, place, None, literal=True)
        whole = both(whole, negated(lookup) if one.negated else lookup)
    return whole


# --- entries --------------------------------------------------------------------------------

Entries: TypeAlias = Sequence[bytes]

Codes: TypeAlias = list[set[int]]
"""With what byte the encodings of each part's values begin."""

_NO_LIST: Final = 0xFE
"""What stands among the codes for a value that should have had members."""


class EntryReader:
    """Makes entries of stored records, and notes of which families their values were.

    ``read(stored)`` returns the record's entries in each of *indexes*, none twice. ``codes`` are of
    each index; those of a single whole value are read off its entries.
    """

    def __init__(self, indexes: Sequence[OrderedIndex], codec: MessagePack) -> None:
        self.indexes = indexes
        self.codes: list[Codes] = [[set() for _ in index.places] for index in indexes]
        ordered = [index for index in indexes if not index.is_column]
        names = {part.path[0]: None for index in ordered for part in index.parts}
        names |= {one.path[0]: None for index in indexes for one in index.where}
        position = {name: f"f{number}" for number, name in enumerate(names)}
        probe = codec.fields_decoder(dict.fromkeys(names, Any))
        makers = [
            _nothing if index.is_column else _maker(index, position, codes)
            for index, codes in zip(indexes, self.codes, strict=True)
        ]
        columns = ColumnReader(
            {
                number: index.parts[0].path
                for number, index in enumerate(indexes)
                if index.is_column
            },
            codec,
        )
        for number, index in enumerate(indexes):
            if index.where:
                test = _tester(_condition(index.where, codec), position)
                asked = [
                    _part(part, position[part.path[0]], codes)
                    for part, codes in zip(index.places, self.codes[number], strict=True)
                ][len(index.parts) :]
                makers[number] = _only_where(test, makers[number], asked)
        nothing: list[Entries] = [()] * len(indexes)

        def read(stored: bytes) -> list[Entries]:
            try:
                record = probe(stored)
            except msgspec.DecodeError:
                return nothing  # it is no record at all: whoever reads it is told so
            return [make(record) for make in makers]

        self.read = columns.beside(read) if columns else read
        self._columns = columns
        self._probe = probe
        self._makers = makers
        self._is_simple = [is_simple(index) for index in indexes]
        self._known = [
            [frozenset(known) for known in index.codes or (b"",) * len(index.places)]
            for index in indexes
        ]
        self._single = [
            _values(index.parts[0], position[index.parts[0].path[0]])
            if is_simple(index) and not index.where
            else None
            for index in indexes
        ]

    def read_all(
        self, pairs: Sequence[tuple[bytes, bytes]]
    ) -> tuple[list[list[tuple[bytes, bytes]]], set[int]]:
        """Return the entries of many records for each index, and which indexes are spread.

        Both the *pairs* and what is returned for each index are in order.
        """
        probe, spread, every = self._probe, set[int](), pairs
        try:
            records = [probe(stored) for _, stored in pairs]
        except msgspec.DecodeError:
            pairs = [pair for pair in pairs if self._probed(pair[1]) is not None]
            records = [probe(stored) for _, stored in pairs]
        keys = [key for key, _ in pairs]
        found: list[list[tuple[bytes, bytes]]] = []
        for number, (make, single) in enumerate(zip(self._makers, self._single, strict=True)):
            if single is not None:
                found.append(encoded_pairs(single(records), keys, LONGEST))
                continue
            if self.indexes[number].is_column:
                found.append([(self._columns.value(number, stored), key) for key, stored in every])
                continue
            added: list[tuple[bytes, bytes]] = []
            for record, key in zip(records, keys, strict=True):
                entries = make(record)
                if len(entries) > 1:
                    spread.add(number)
                added += [(entry, key) for entry in entries]
            added.sort()
            found.append(added)
        return found, spread

    def _probed(self, stored: bytes) -> Any:
        try:
            return self._probe(stored)
        except msgspec.DecodeError:
            return None  # it is no record at all

    def news(
        self, added: Sequence[Sequence[tuple[bytes, bytes]]], spread: Iterable[int]
    ) -> dict[str, OrderedIndex]:
        """Return the indexes of which more is to be remembered after some pairs were added.

        The pairs of each index are in their order.
        """
        found: dict[str, OrderedIndex] = {}
        several = set(spread)
        for number, (index, pairs) in enumerate(zip(self.indexes, added, strict=True)):
            seen, known = self.codes[number], self._known[number]
            if pairs and self._is_simple[number]:
                first, last = pairs[0][0][0], pairs[-1][0][0]
                # In an order, those between two that are the same are the same as well.
                seen[0].update((first,) if first == last else {entry[0] for entry, _ in pairs})
            is_spread = index.spread or number in several
            if is_spread != index.spread or not all(map(frozenset.issuperset, known, seen)):
                codes = tuple(
                    bytes(sorted(before.union(now)))
                    for now, before in zip(seen, known, strict=True)
                )
                found[index.name] = msgspec.structs.replace(index, codes=codes, spread=is_spread)
        return found


def _nothing(record: Any) -> Entries:
    return ()


def is_simple(index: OrderedIndex) -> bool:
    """Tell whether an entry is one whole value of a field, so that it shows all of it."""
    (first, *others) = index.parts
    return not others and first.form == WHOLE and len(first.path) == 1


def _only_where(
    test: Callable[[Any], bool],
    make: Callable[[Any], Entries],
    asked: Sequence[Callable[[Any], Iterable[bytes]]],
) -> Callable[[Any], Entries]:
    def entries(record: Any) -> Entries:
        for look in asked:
            look(record)
        return make(record) if test(record) else ()

    return entries


def _tester(condition: Condition, position: dict[str, str]) -> Callable[[Any], bool]:
    compiled = compile_condition(condition)
    take = [operator.attrgetter(position[name]) for name in compiled.names]
    shape = msgspec.defstruct("Clauses", [f"f{number}" for number in range(len(take))])
    return lambda record: compiled.test(shape(*(one(record) for one in take)), None)


def _maker(index: OrderedIndex, position: dict[str, str], codes: Codes) -> Callable[[Any], Entries]:
    if is_simple(index):
        return _simple(index.parts[0], position[index.parts[0].path[0]])
    parts = [
        _part(part, position[part.path[0]], seen)
        for part, seen in zip(index.parts, codes, strict=False)
    ]
    if len(parts) == 1:
        first = parts[0]
        return lambda record: tuple(dict.fromkeys(one[:LONGEST] for one in first(record)))
    return lambda record: tuple(
        dict.fromkeys(
            b"".join(some)[:LONGEST] for some in itertools.product(*(one(record) for one in parts))
        )
    )


def _simple(part: Part, attribute: str) -> Callable[[Any], Entries]:
    get = operator.attrgetter(attribute)
    if part.reading != PLAIN:
        read = converter(part.reading)
        return lambda record: (encode(read(get(record)))[:LONGEST],)
    return lambda record: (encode(get(record))[:LONGEST],)


def _values(part: Part, attribute: str) -> Callable[[Iterable[Any]], list[Any]]:
    """Return a function from many probes to the values of a part that is one whole value."""
    get = operator.attrgetter(attribute)
    if part.reading != PLAIN:
        read = converter(part.reading)
        return lambda records: [read(get(record)) for record in records]
    return lambda records: list(map(get, records))


def _part(part: Part, attribute: str, codes: set[int]) -> Callable[[Any], Iterable[bytes]]:
    """Return a function from a probe to the encodings of a part's values."""
    get = operator.attrgetter(attribute)
    read, take, inside = converter(part.reading), _TAKEN[part.form], part.path[1:]

    def encodings(record: Any) -> Iterable[bytes]:
        found: dict[bytes, None] = {}
        for leaf in leaves(get(record), inside):
            value = read(leaf)
            taken = dict.fromkeys(take(value))
            if taken:
                codes.update([one[0] for one in taken])
            elif not is_array(value):
                code = encode(value)[0]
                codes.add(_NO_LIST if part.form == MEMBERS and code != NULL_CODE else code)
            found |= taken
        return found

    return encodings


def _whole(value: Any) -> Iterable[bytes]:
    return (encode(value),)


def _members(value: Any) -> Iterator[bytes]:
    return map(encode, value) if is_array(value) else iter(())


def _caseless(value: Any) -> Iterable[bytes]:
    return (encode(value.casefold()),) if type(value) is str else ()


def _trigrams(value: Any) -> Iterable[bytes]:
    return map(encode, trigrams(value)) if type(value) is str else ()


_TAKEN: Final[dict[str, Callable[[Any], Iterable[bytes]]]] = {
    WHOLE: _whole,
    MEMBERS: _members,
    CASELESS: _caseless,
    TRIGRAM: _trigrams,
}
