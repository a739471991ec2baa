"""Where the records of one collection are, and how they read."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from pymodels.checks import Unfit
from pymodels.errors import RecordInvalid
from pymodels.ext._tokyo.columns import TYPES, from_columns
from pymodels.ext._tokyo.keys import key_text, prefix_of, text_key
from pymodels.keys import KeyKind
from pymodels.kinds import Kind
from pymodels.schema import Schema


class CollectionKeys:
    """Where the records of one collection are kept, by their keys.

    Those of a *foreign* collection are other programs': their keys have no prefix, and what a
    column holds is known from the model alone.
    """

    def __init__(self, collection: str, kind: KeyKind, *, foreign: bool) -> None:
        self.collection = collection
        self.kind = kind
        self.foreign = foreign
        self.prefix = b"" if foreign else prefix_of(f"records:{collection}")

    def full(self, key: Any) -> bytes:
        """Return the key of a record in the file."""
        if self.foreign:
            return str(key).encode()
        return self.prefix + key_text(self.kind, key)

    def own(self, full: bytes) -> Any:
        """Return the primary key of a record from its key in the file."""
        text = full[len(self.prefix) :]
        try:
            if self.foreign and self.kind.type is int:
                key: Any = int(text)
                if str(key).encode() != text:
                    raise ValueError(text)
            else:
                key = text_key(self.kind, text)
            self.kind.check(key)
        except (ValueError, Unfit) as error:
            raise RecordInvalid(
                f"{self.collection}: the key {text!r} of a record is not a {self.kind.name} key, "
                "so another program wrote it: remove it, or declare Key[...] as it is",
                self.collection,
                text,
            ) from error
        return key

    def stored(
        self, columns: Mapping[bytes, bytes], schema: Schema, names: Container[bytes] | None = None
    ) -> bytes:
        """Return the stored form of a record."""
        if self.foreign and TYPES not in columns:
            return _converted(from_columns(columns, names), schema)
        return from_columns(columns, names)


# --- what other programs wrote ------------------------------------------------------------------


def _converted(stored: bytes, schema: Schema) -> bytes:
    """Return a record of text with its values as the model declares them, where that is clear."""
    record: dict[str, Any] = msgspec.msgpack.decode(stored)
    for name, text in record.items():
        info = schema.stored.get(name)
        if info is None or info.kind.is_open or "text" in info.kind.families:
            continue
        record[name] = _value(info.kind, text)
    return msgspec.msgpack.encode(record)


def _value(kind: Kind, text: Any) -> Any:
    if not isinstance(text, str):
        return text
    if not text and kind.nullable:
        return None
    for family in kind.families:
        read = _READERS.get(family)
        if read is None or (family == "number" and "Decimal" in repr(kind.annotation)):
            continue
        try:
            return read(text)
        except (ValueError, KeyError, msgspec.DecodeError):
            continue
    return text


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "number": _number,
    "bool": {"true": True, "1": True, "false": False, "0": False}.__getitem__,
    "instant": _instant,
    "list": msgspec.json.Decoder(list[Any]).decode,
    "mapping": msgspec.json.Decoder(dict[str, Any]).decode,
}
