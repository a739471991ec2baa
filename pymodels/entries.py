"""Entries: what a record is in an index.

An entry is made of a record's values by ``encoding.encode``, so that entries sort as values do.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from pymodels.conditions import Condition
from pymodels.encoding import ENCODERS, encode, encoded_pairs
from pymodels.evaluation import compile_condition, leaves
from pymodels.fieldvalues import ColumnReader
from pymodels.ordered import (
    CASELESS,
    LONGEST,
    MEMBERS,
    NULL_CODE,
    TRIGRAM,
    WHOLE,
    OrderedIndex,
    Part,
    condition_of,
)
from pymodels.readings import PLAIN, converter
from pymodels.trigrams import trigrams
from pymodels.values import is_array

if TYPE_CHECKING:
    from pymodels.messagepack import MessagePack

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
                test = _tester(condition_of(index.where, codec), position)
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
        # With what byte the only entry of a record begins, where nothing else is to be noted of it.
        self._plain = (
            [
                (operator.attrgetter(position[index.parts[0].path[0]]), known[0])
                for index, known in zip(indexes, self._known, strict=True)
            ]
            if all(is_plain(index) for index in indexes)
            else None
        )
        self._single = [
            _values(index.parts[0], position[index.parts[0].path[0]])
            if is_simple(index) and not index.where
            else None
            for index in indexes
        ]

    def read_one(
        self, pairs: Sequence[tuple[bytes, bytes]]
    ) -> tuple[list[Sequence[tuple[bytes, bytes]]], set[int]]:
        """Do what ``read_all`` does, of a single record."""
        ((key, stored),) = pairs
        found: list[Sequence[tuple[bytes, bytes]]] = []
        spread: set[int] = set()
        for number, entries in enumerate(self.read(stored)):
            if len(entries) == 1:
                found.append([(entries[0], key)])
                continue
            if entries:
                spread.add(number)
            found.append(sorted([(entry, key) for entry in entries]))
        return found, spread

    @property
    def is_plain(self) -> bool:
        """Whether ``read_plain`` may have an answer."""
        return self._plain is not None

    def read_plain(self, stored: bytes) -> list[bytes] | None:
        """Return a record's only entry in each index, if that is all that there is to it.

        None, if a record may have several or none in one of the indexes, or if this one has a value
        of another family than all before.
        """
        if self._plain is None:
            return None
        try:
            record = self._probe(stored)
            found: list[bytes] = []
            for get, known in self._plain:
                value = get(record)
                entry = ENCODERS[type(value)](value)
                if entry[0] not in known:
                    return None
                found.append(entry[:LONGEST])
        except (msgspec.DecodeError, KeyError):
            return None
        return found

    def read_all(
        self, pairs: Sequence[tuple[bytes, bytes]]
    ) -> tuple[list[Sequence[tuple[bytes, bytes]]], set[int]]:
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
        found: list[Sequence[tuple[bytes, bytes]]] = []
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
                if first == last and first in known[0] and len(known) == 1:
                    continue
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


def is_plain(index: OrderedIndex) -> bool:
    """Tell whether each record has one entry, made of a whole value as it is."""
    return is_simple(index) and not index.where and index.parts[0].reading == PLAIN


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

    def entries(record: Any) -> Entries:
        value = get(record)
        try:
            return (ENCODERS[type(value)](value)[:LONGEST],)
        except KeyError:
            return (encode(value)[:LONGEST],)

    return entries


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
