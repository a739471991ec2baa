"""Records as columns of text, and back.

Every field of a record is a column of its own name. Text stands there as it is, a number in plain
digits, an instant in ISO's form: whoever else opens the file can read it. What a column holds, if
not text, is noted in one more column, ``_types``, as in ``|age=i|born=t|``. A column that is not
noted there is text; so a record that another program wrote is all text. No column is empty: the
library ends the process when an index meets one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

import msgspec

TYPES: Final = b"_types"
"""The column that says what the others hold."""

_EMPTY: Final = b"_empty"
"""The column of a field that has no name: the engine keeps the key there."""

_QUOTED: Final = "_quoted "
"""What the column of a field begins with whose name holds NUL, at which the engine would stop."""

_RESERVED: Final = re.compile(r"_+(types|misfits|empty|quoted .*)", re.DOTALL)
_ESCAPED: Final = re.compile(rb"__+(types|misfits|empty|quoted .*)", re.DOTALL)

_decode = msgspec.msgpack.Decoder().decode
_encode = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder().decode
_Ext = msgspec.msgpack.Ext

_DECIMAL: Final = 1
"""The code of a Decimal in an open place, see ``pymodels.codecs``."""


def column_name(field: str) -> bytes:
    """Return the column of a field; a field that is called like a column of ours gets a longer one.

    >>> column_name("age"), column_name("_types")
    (b'age', b'__types')
    """
    if field[:1] == "_" and _RESERVED.fullmatch(field):
        field = f"_{field}"
    if "\0" in field:
        field = _QUOTED + quote(field)
    return field.encode() or _EMPTY


def field_name(column: bytes) -> str:
    """Return the field that a column holds."""
    if column == _EMPTY:
        return ""
    if column.startswith(_QUOTED.encode()):
        column = unquote_to_bytes(column[len(_QUOTED) :])
    if column[:2] == b"__" and _ESCAPED.fullmatch(column):
        column = column[1:]
    return column.decode("utf-8", "surrogateescape")


def noted(name: bytes) -> bytes:
    """Return the name of a column as it stands in ``_types``, where some characters have a use."""
    if b"|" in name or b"=" in name or b"%" in name:
        name = name.replace(b"%", b"%25").replace(b"|", b"%7C").replace(b"=", b"%3D")
    return name


def _unnoted(name: bytes) -> bytes:
    if b"%" in name:
        name = name.replace(b"%3D", b"=").replace(b"%7C", b"|").replace(b"%25", b"%")
    return name


# --- to columns --------------------------------------------------------------------------------


def plain_number(value: float | Decimal) -> str:
    """Return a number in digits without an exponent, which the engine would not read.

    >>> plain_number(1e-7), plain_number(2.0), plain_number(Decimal("1E+3"))
    ('0.0000001', '2.0', '1000')
    """
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return format(Decimal(text), "f") if "e" in text or "E" in text else text


def instant(value: datetime) -> str:
    """Return an instant in ISO's form, always as long, so that text sorts as time does."""
    text = value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{text}Z"


def _column(value: Any) -> tuple[str, str]:
    """Return the letter and the text of a value that is not text."""
    if value is None:
        return "n", "null"
    kind = type(value)
    if kind is int:
        return "i", str(value)
    if kind is bool:
        return "b", "true" if value else "false"
    if kind is float:
        return "f", plain_number(value)
    if kind is datetime:
        return "t", instant(value)
    if kind is str:  # of no characters, or with NUL, at which the engine would stop reading
        return ("z", base64.b64encode(value.encode()).decode()) if value else ("e", " ")
    if kind is bytes and value:
        return "x", base64.b64encode(value).decode()
    if kind is _Ext and value.code == _DECIMAL:
        return "d", bytes(value.data).decode()
    if kind in (list, dict):
        try:
            text = _json(value)
        except (TypeError, ValueError, msgspec.MsgspecError):
            text = b""  # something inside has no form in JSON
        if text and _same(_from_json(text), value):
            return "j", text.decode()
    return "m", base64.b64encode(_encode(value)).decode()


def _same(one: Any, other: Any) -> bool:
    """Tell whether JSON brought a value back as it was: ``True`` is no 1, and no instant text."""
    if type(one) is not type(other):
        return False
    if type(one) is list:
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one) is dict:
        return list(one) == list(other) and all(map(_same, one.values(), other.values()))
    return bool(one == other)


def to_columns(stored: bytes) -> tuple[dict[bytes, bytes], dict[bytes, str]]:
    """Return the columns of a record in its stored form, and the letters of those not text.

    >>> to_columns(msgspec.msgpack.encode({"name": "Ann", "age": 42, "tags": ["x", 1]}))[0]
    {b'name': b'Ann', b'age': b'42', b'tags': b'["x",1]', b'_types': b'|age=i|tags=j|'}
    """
    columns: dict[bytes, bytes] = {}
    letters: dict[bytes, str] = {}
    for field, value in _decode(stored).items():
        name = column_name(field)
        if type(value) is str and value and "\0" not in value:
            columns[name] = value.encode()
            continue
        letters[name], text = _column(value)
        columns[name] = text.encode()
    types = "|".join(f"{noted(name).decode()}={letter}" for name, letter in letters.items())
    columns[TYPES] = f"|{types}|".encode()
    return columns, letters


# --- columns that were read lately ---------------------------------------------------------------


class Recent(dict[bytes, bytes]):
    """The columns of a record, which nobody changes, and the stored forms made of them."""

    __slots__ = ("made",)

    made: dict[Any, bytes]


_RECENT_RECORDS: Final = 2048
_RECENT_BYTES: Final = 1000
"""How many records are kept as they were read last, and how large they may be."""

_recent: Final[dict[bytes, Recent]] = {}


def parted(joined: bytes) -> Recent | None:
    r"""Return columns that are joined by NUL; None if there must be NUL inside them.

    Queries read the same records again and again: what is the same to the byte is taken apart once.

    >>> parted(b"name\0Ann\0age\x0042"), parted(b""), parted(b"a\0b\0c")
    ({b'name': b'Ann', b'age': b'42'}, {}, None)
    """
    found = _recent.get(joined)
    if found is None:
        parts = joined.split(b"\0") if joined else []
        if len(parts) % 2:
            return None
        found = Recent(zip(parts[::2], parts[1::2], strict=True))
        found.made = {}
        if len(joined) <= _RECENT_BYTES:
            if len(_recent) >= _RECENT_RECORDS:
                _recent.clear()
            _recent[joined] = found
    return found


# --- from columns ------------------------------------------------------------------------------


def _null(text: bytes) -> None:
    return None


def _empty_text(text: bytes) -> str:
    return ""


def _bytes(text: bytes) -> bytes:
    return base64.b64decode(text, validate=True)


def _decimal(text: bytes) -> Any:
    Decimal(text.decode())
    return _Ext(_DECIMAL, text)


_READERS: Final[Mapping[bytes, Callable[[bytes], Any]]] = {
    b"i": int,
    b"n": _null,
    b"e": _empty_text,
    b"b": {b"true": True, b"false": False}.__getitem__,
    b"f": float,
    b"t": lambda text: datetime.fromisoformat(text.decode()),
    b"x": _bytes,
    b"z": lambda text: _bytes(text).decode(),
    b"d": _decimal,
    b"j": _from_json,
    b"m": lambda text: _decode(_bytes(text)),
}
"""How a column is read, by its letter in ``_types``."""


def _unknown(text: bytes) -> Any:
    raise ValueError("a column of an unknown type")


_BROKEN: Final = (
    ValueError,
    KeyError,
    InvalidOperation,
    binascii.Error,
    msgspec.MsgspecError,
    OverflowError,
)


def from_columns(columns: Mapping[bytes, bytes], names: Container[bytes] | None = None) -> bytes:
    """Return the stored form of a record from its columns; of those in *names*, if that is given.

    A column that others have changed so that it is not what ``_types`` says any more is text.
    """
    if type(columns) is not Recent:
        return _from_columns(columns, names)
    found = columns.made.get(names)
    if found is None:
        found = columns.made[names] = _from_columns(columns, names)
    return found


def _from_columns(columns: Mapping[bytes, bytes], names: Container[bytes] | None) -> bytes:
    readers = _readers_of(columns)
    record: dict[str, Any] = {}
    for name, text in columns.items():
        if name in _OWN or (names is not None and name not in names):
            continue
        field = _fields.get(name)
        if field is None:
            field = _noticed_field(name)
        read = readers.get(name)
        try:
            record[field] = text.decode() if read is None else read(text)
        except _BROKEN:  # another program keeps something else there
            record[field] = text if read is None else text.decode("utf-8", "replace")
    try:
        return _encode(record)
    except (OverflowError, UnicodeEncodeError):
        return _encode({name: _whole(value) for name, value in record.items()})


_MOST_NAMES: Final = 1000
"""How many columns, and how many combinations of types, are remembered."""

_fields: Final[dict[bytes, str]] = {}


def _noticed_field(column: bytes) -> str:
    if len(_fields) >= _MOST_NAMES:
        _fields.clear()
    found = _fields[column] = field_name(column)
    return found


def types_of(columns: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
    """Return the letters of the columns that are not text."""
    found = columns.get(TYPES)
    if found is None or len(found) < 3:
        return {}
    return {
        _unnoted(name): letter
        for name, _, letter in [part.partition(b"=") for part in found[1:-1].split(b"|")]
    }


def _readers_of(columns: Mapping[bytes, bytes]) -> Mapping[bytes, Callable[[bytes], Any]]:
    """Return how the columns that are not text are read."""
    types = columns.get(TYPES, b"")
    known = _known_readers.get(types)
    if known is None:
        if len(_known_readers) >= _MOST_NAMES:
            _known_readers.clear()
        known = _known_readers[types] = {
            name: _READERS.get(letter, _unknown) for name, letter in types_of(columns).items()
        }
    return known


_known_readers: Final[dict[bytes, Mapping[bytes, Callable[[bytes], Any]]]] = {}
"""The records of a collection have few combinations of types: each is read once."""


MISFITS: Final = b"_misfits"
"""The column that names the indexed fields whose values are not of the index's kind."""

_OWN: Final = frozenset({TYPES, MISFITS})


def _whole(value: Any) -> Any:
    """Return what can be encoded: a number that others made too long stays text."""
    if type(value) is int and not -(2**63) <= value < 2**63:
        return str(value)
    return value
