"""Indexes as a storage keeps them: what a unique entry is made of, and how a storage remembers it.

An ``IndexRecord`` says all that is needed to keep an index without the model that declared it, so
that writing through another view, or from another process, keeps it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from pymodels.errors import DuplicateKey
from pymodels.kinds import Kind
from pymodels.schema import Index, Schema
from pymodels.values import ABSENT, order_key

if TYPE_CHECKING:
    from pymodels.messagepack import MessagePack

_LONGEST: Final = 400
"""How many bytes of a value an entry holds as they are; of a longer one it holds a digest."""

# Stored values whose own form hides what they are; everything else decodes as itself.
_TYPES: Final[dict[str, Any]] = {
    "decimal": Decimal,
    "uuid": UUID,
    "date": date,
    "time": time,
    "duration": timedelta,
    "naive": datetime,
}


class IndexRecord(msgspec.Struct, frozen=True):
    """A declared index, in the form in which a storage remembers it."""

    name: str
    fields: tuple[str, ...]
    types: tuple[str, ...]
    unique: bool


def index_record(schema: Schema, index: Index) -> IndexRecord:
    """Return what a storage has to remember of an index that a model declares."""
    kinds = [schema.stored[name] for name in index.fields]
    return IndexRecord(
        index.name,
        index.fields,
        tuple(_type_name(info.kind, naive=info.options.naive) for info in kinds),
        index.unique,
    )


def _type_name(kind: Kind, *, naive: bool) -> str:
    if kind.is_open or len(kind.families) != 1:
        return ""
    (name,) = kind.families
    if name == "number":
        return "decimal" if "Decimal" in repr(kind.annotation) else ""
    if name == "instant":
        return "naive" if naive else ""
    return name if name in _TYPES else ""


def entry(values: Sequence[Any]) -> bytes | None:
    """Return the bytes that stand for some values in a unique index, None where one is null.

    Two sequences have the same entry exactly when their values are the same.

    >>> entry([1]) == entry([1.0]) == entry([Decimal("1.00")])
    True
    >>> entry([True]) == entry([1]), entry([None])
    (False, None)
    """
    parts: list[bytes] = []
    for value in values:
        if value is None or value is ABSENT:
            return None
        part = _canonical(value)
        parts.append(len(part).to_bytes(4, "big") + part if len(values) > 1 else part)
    whole = b"".join(parts)
    if len(whole) <= _LONGEST:
        return whole
    return whole[:_LONGEST] + hashlib.blake2b(whole, digest_size=32).digest()


def _canonical(value: Any) -> bytes:
    kind = type(value)
    if isinstance(value, str):
        return b"t" + value.encode()
    if kind in (int, float, Decimal):
        exact = Fraction(value)
        if exact.denominator == 1:
            return b"n%d" % exact.numerator
        return b"n%d/%d" % (exact.numerator, exact.denominator)
    if isinstance(value, bytes):
        return b"b" + value
    return repr(_plain(order_key(value))).encode("utf-8", "backslashreplace")


def _plain(key: Any) -> Any:
    """Return an order key with only one way to write each number and moment."""
    if isinstance(key, tuple):
        return tuple(map(_plain, key))
    if isinstance(key, datetime):
        return key.astimezone(UTC).isoformat()
    if isinstance(key, int | float | Decimal) and not isinstance(key, bool):
        return str(Fraction(key))
    return key


def duplicate(
    collection: str, fields: Sequence[str], values: Sequence[Any], other: Any
) -> DuplicateKey:
    """Return the error for a unique value that the record *other* has; None: it is not known.

    >>> print(duplicate("person", ["name"], ["Ann"], None))
    person: name must be unique, and 'Ann' is taken by another record
    """
    names = ", ".join(fields)
    shown = ", ".join(map(repr, values))
    value = values[0] if len(values) == 1 else tuple(values)
    whose = "another record" if other is None else f"the record {other!r}"
    return DuplicateKey(
        f"{collection}: {names} must be unique, and {shown} is taken by {whose}",
        collection,
        names,
        value,
    )


def value_extractor(
    records: Sequence[IndexRecord], codec: MessagePack
) -> Callable[[bytes], dict[str, list[Any]]]:
    """Return a function from a stored record to the values of each index, by its name."""
    types = {
        name: _TYPES.get(kind, Any)
        for record in records
        for name, kind in zip(record.fields, record.types, strict=True)
    }
    typed = codec.fields_decoder(types)
    untyped = codec.fields_decoder(dict.fromkeys(types, Any))

    def values_of(stored: bytes) -> dict[str, list[Any]]:
        try:
            probe = typed(stored)
        except msgspec.DecodeError:
            # Some other view wrote the field as another type: it still must not repeat.
            try:
                probe = untyped(stored)
            except msgspec.DecodeError:  # it is no record at all
                return {record.name: [None] * len(record.fields) for record in records}
        found = {name: getattr(probe, f"f{number}") for number, name in enumerate(types)}
        return {record.name: [found[name] for name in record.fields] for record in records}

    return values_of
