"""What a store of ordered keys finds by itself: some keys, a range of them, a unique value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, TypeAlias

import msgspec

from pymodels.checks import Unfit
from pymodels.planning import Native, Superset, Term
from pymodels.schema import Place, Schema


class Keys(msgspec.Struct, frozen=True):
    """The records under these keys."""

    keys: frozenset[Any]

    def __repr__(self) -> str:
        return f"get {len(self.keys)} by key"


class KeyRange(msgspec.Struct, frozen=True):
    """The records whose keys lie from *low* (included) to *high*."""

    low: Any = None
    high: Any = None
    high_included: bool = False
    low_excluded: bool = False

    def __repr__(self) -> str:
        return f"keys from {self.low!r} to {self.high!r}"


class Prefix(msgspec.Struct, frozen=True):
    """The records whose text keys begin with this."""

    text: str

    def __repr__(self) -> str:
        return f"keys that begin with {self.text!r}"


class UniqueValue(msgspec.Struct, frozen=True):
    """The record that has this value in a unique field."""

    index: str
    value: Any

    def __repr__(self) -> str:
        return f"unique index on {self.index}"


Fragment: TypeAlias = Keys | KeyRange | Prefix | UniqueValue


def _equals(place: Place, operand: Any) -> Any:
    if place.is_key:
        return _in(place, (operand,))
    info = place.field
    if info is not None and info.options.unique and not place.inside and operand is not None:
        return Superset(UniqueValue(info.stored, operand))
    return NotImplemented


def _in(place: Place, operands: Any) -> Any:
    if not place.is_key:
        return NotImplemented
    return Keys(frozenset(_as_key(operand) for operand in operands if operand is not None))


def _as_key(operand: Any) -> Any:
    """Return the key that equals *operand*, if there can be one: 2.0 asks for the key 2."""
    if isinstance(operand, float | Decimal) and operand == int(operand):
        return int(operand)
    return operand


def _encodable(place: Place, operand: Any) -> bool:
    """Tell whether a range can end here: 2.5 is a fair bound for int keys, but no key itself."""
    try:
        place.kind.check(operand)
    except Unfit:
        return operand == "" and "text" in place.kind.families
    return True


def _range(**bounds: str) -> Any:
    def answer(place: Place, operand: Any) -> Any:
        if not place.is_key:
            return NotImplemented
        is_plain = place.plain is str and type(operand) is str and operand.isascii()
        if not is_plain and not _encodable(place, operand):
            return NotImplemented
        if bounds["end"] == "low":
            return KeyRange(low=operand, low_excluded=bounds["kind"] == "open")
        return KeyRange(high=operand, high_included=bounds["kind"] == "closed")

    return answer


def _between(place: Place, ends: Any) -> Any:
    if not place.is_key or not all(_encodable(place, end) for end in ends):
        return NotImplemented
    return KeyRange(ends[0], ends[1], high_included=True)


def _prefix(place: Place, operand: Any) -> Any:
    return Prefix(operand) if place.is_key else NotImplemented


class ByKey(Native[Fragment]):
    """Finds records by their keys and by unique values, and yields them in the order of keys."""

    lookups: ClassVar[Mapping[str, Any]] = {
        "equals": _equals,
        "in": _in,
        "gt": _range(end="low", kind="open"),
        "gte": _range(end="low", kind="closed"),
        "lt": _range(end="high", kind="open"),
        "lte": _range(end="high", kind="closed"),
        "between": _between,
        "startswith": _prefix,
    }

    def all_of(self, parts: Sequence[Fragment]) -> Any:
        sets = [part.keys for part in parts if isinstance(part, Keys)]
        if len(sets) == len(parts):
            return Keys(frozenset.intersection(*sets))
        return NotImplemented

    def any_of(self, parts: Sequence[Fragment]) -> Any:
        sets = [part.keys for part in parts if isinstance(part, Keys)]
        if len(sets) == len(parts):
            return Keys(frozenset().union(*sets))
        return NotImplemented

    def order_by(self, terms: tuple[Term, ...], descending: bool) -> Any:
        if not terms:
            return "descending keys" if descending else "ascending keys"
        if terms[0].place.is_key:  # keys are unique, so that no further term matters
            return "descending keys" if terms[0].descending else "ascending keys"
        return NotImplemented


def possible_keys(schema: Schema, keys: Iterable[Any]) -> Iterator[Any]:
    """Leave out what can be asked for, but never be a key: an int of 65 bits, a number for text."""
    for key in keys:
        try:
            schema.key.check(key)
        except Unfit:
            continue
        yield key


def bounds(schema: Schema, wanted: KeyRange) -> tuple[bytes | None, bytes | None]:
    """Return the ends of a range in encoded keys: the low one included, the high one not."""
    encode = schema.key.encode
    low = None if wanted.low is None else encode(wanted.low)
    high = None if wanted.high is None else encode(wanted.high)
    # No key lies between some bytes and the same with a zero byte appended.
    if low is not None and wanted.low_excluded:
        low += b"\0"
    if high is not None and wanted.high_included:
        high += b"\0"
    return low, high


def after_prefix(prefix: bytes) -> bytes | None:
    r"""Return the least bytes greater than all that begin with *prefix*, None if there are none.

    >>> after_prefix(b"ab"), after_prefix(b"a\xff"), after_prefix(b"")
    (b'ac', b'b', None)
    """
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None
