"""Bytes that sort as values do: what an ordered index holds.

The bytes of two values compare as their order keys do (``values.order_key``): they are equal
exactly where the values are the same, and less exactly where a value sorts before the other, of
whatever families both are. No encoding is the beginning of another one, so that the encodings of
several values, put together, sort as the sequence of them does.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from pymodels.pairs import Pairs
from pymodels.trigrams import trigrams
from pymodels.values import ABSENT

_END: Final = b"\0"
"""What ends text, bytes and members, and stands nowhere inside: there 0 is 1 1, and 1 is 1 2."""

_NULL = b"\x05"
_NEGATIVE, _POSITIVE = 0x10, 0x11
_TEXT, _MAPPING, _ARRAY, _BYTES, _UUID = b"\x20", b"\x30", b"\x40", b"\x50", b"\x60"
_FALSE, _TRUE = b"\x70\x01", b"\x70\x02"
_MOMENT, _TIME, _DURATION = 0x80, 0x90, 0x91

FAMILIES: Final[dict[str, tuple[bytes, bytes]]] = {
    "null": (_NULL, b"\x06"),
    "number": (b"\x10", b"\x12"),
    "text": (_TEXT, b"\x21"),
    "mapping": (_MAPPING, b"\x31"),
    "list": (_ARRAY, b"\x41"),
    "tuple": (_ARRAY, b"\x41"),
    "set": (_ARRAY, b"\x41"),
    "bytes": (_BYTES, b"\x51"),
    "uuid": (_UUID, b"\x61"),
    "bool": (b"\x70", b"\x71"),
    "date": (b"\x80", b"\x81"),
    "instant": (b"\x80", b"\x81"),
    "time": (b"\x90", b"\x91"),
    "duration": (b"\x91", b"\x92"),
}
"""Where the encodings of each family lie: from the first bytes (included) to the second ones.

Dates and instants lie among each other, as they sort.
"""

# --- numbers --------------------------------------------------------------------------------

# A number is the float nearest to it, whether it is less than that, equal or greater, and where it
# is not equal, all its decimal digits. Rounding keeps the order, so the digits only ever decide
# between numbers that round to the same float.
_LESS, _EQUAL, _GREATER = 0x40, 0x80, 0xC0
_whole: Callable[..., bytes] = struct.Struct(">BdB").pack
double: Callable[..., bytes] = struct.Struct(">d").pack
"""Returns the eight bytes of a float."""
EXACT_INT: Final = 1 << 53
"""Up to this, and down to its negative, every int is a float."""
_INFINITE: Final = float("inf")
_BITS_BEYOND: Final = 1 << 15
"""An int with more bits is greater than every number that can be stored."""
_FLIP: Final = bytes(range(255, -1, -1))


def _float(value: float) -> bytes:
    if value >= 0:  # zero without its sign: -0.0 is 0
        return _whole(_POSITIVE, value or 0.0, _EQUAL)
    return b"\x10" + double(-value).translate(_FLIP) + b"\x80"


def _int(value: int) -> bytes:
    if 0 <= value <= EXACT_INT:
        return _whole(_POSITIVE, value, _EQUAL)
    if -EXACT_INT <= value < 0:
        return _float(float(value))
    if value.bit_length() > _BITS_BEYOND:
        return b"\x11\xff" if value > 0 else b"\x10\x00"
    return _decimal(Decimal(value))


SHORT_INT: Final = b"%c%%b%c" % (_POSITIVE, _EQUAL)
"""What the bytes of the float are put into to encode an int from 0 to ``EXACT_INT``."""

AFTER_INT: Final = b"%c%%b%c" % (_POSITIVE, _EQUAL + 1)
"""The same for what comes after such an encoding."""


def _decimal(value: Decimal) -> bytes:
    near = float(value)
    if near in (_INFINITE, -_INFINITE):
        side = _GREATER if near < 0 else _LESS
    elif value == near:
        return _float(near)
    else:
        side = _GREATER if value > near else _LESS
    negative = value < 0
    _, digits, _ = value.as_tuple()
    # 1 to 9 in front, so that trailing zeros are all that there is to leave out.
    text = (value.adjusted() + 0x8000).to_bytes(2, "big")
    text += bytes(48 + digit for digit in digits).rstrip(b"0") + _END
    magnitude = double(-near if negative else near)
    if negative:  # also a number that rounds to zero
        return b"\x10" + magnitude.translate(_FLIP) + bytes([side]) + text.translate(_FLIP)
    return b"\x11" + magnitude + bytes([side]) + text


# --- text, bytes, moments -------------------------------------------------------------------


def _text(value: str) -> bytes:
    if "\0" in value or "\1" in value:
        return b"\x20%b\0" % _escaped(value.encode())
    return f" {value}\0".encode()


def encoded_texts(values: Sequence[str]) -> list[bytes]:
    r"""Return what ``encode`` does of each, in one go.

    >>> encoded_texts(["b", "a", ""]) == [encode("b"), encode("a"), encode("")]
    True
    >>> encoded_texts(["a\0b"]) == [encode("a\0b")]
    True
    """
    joined = "\0 ".join(values)
    if "\1" in joined or joined.count("\0") != len(values) - 1:
        return list(map(_text, values))
    return [one + _END for one in f" {joined}\0".encode().split(_END)[:-1]]


def encoded_runs(text: str) -> Iterable[bytes]:
    """Return what ``encode`` does of every run of three characters in *text*, without its case.

    >>> list(encoded_runs("Anna")) == [encode("ann"), encode("nna")]
    True
    """
    try:
        data = text.casefold().encode("ascii")
    except UnicodeEncodeError:
        return encoded_texts(trigrams(text))
    if 0 in data or 1 in data:
        return encoded_texts(trigrams(text))
    return {b" %c%c%c\0" % run: None for run in zip(data, data[1:], data[2:], strict=False)}


def _escaped(data: bytes) -> bytes:
    return data.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1")


def decoded_texts(encodings: Sequence[bytes]) -> list[Any] | None:
    r"""Return what ``decoded_text`` does of each; None if the end of one is cut off.

    >>> decoded_texts([encode("a"), encode(""), encode("b c")])
    ['a', '', 'b c']
    >>> decoded_texts([encode("a"), encode("long")[:3]])
    """
    joined = b"".join(encodings)
    if joined.count(0) != len(encodings):
        return None
    if not joined or 1 in joined:
        return list(map(decoded_text, encodings))
    # 0 stands nowhere but at the end of each.
    return joined[1:-1].decode().split("\0\x20")


def decoded_text(encoding: bytes) -> str:
    r"""Return the text of which this is the whole encoding.

    >>> decoded_text(encode("a\0b\1"))
    'a\x00b\x01'
    """
    data = encoding[1:-1]
    if 1 in data:  # the first of two bytes, in each of which a run of them is read from its start
        data = data.replace(b"\1\1", b"\0").replace(b"\1\2", b"\1")
    return data.decode()


def _bytes(value: bytes) -> bytes:
    return _BYTES + _escaped(value) + _END


_MIDNIGHTS: Final = 86_400_000_000
_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_AROUND: Final = 1 << 63
_moment: Callable[..., bytes] = struct.Struct(">BQB").pack
_clock: Callable[..., bytes] = struct.Struct(">BQ").pack
_span: Callable[..., bytes] = struct.Struct(">BIQ").pack
_MOST_DAYS: Final = timedelta.max.days


def _datetime(value: datetime) -> bytes:
    # A naive value comes from a field that holds naive values only, so any fixed zone serves.
    since = (value if value.tzinfo else value.replace(tzinfo=UTC)) - _BEGINNING
    return _moment(_MOMENT, _AROUND + since // _MICROSECOND, 2)


def _date(value: date) -> bytes:
    return _moment(_MOMENT, _AROUND + (value.toordinal() - 1) * _MIDNIGHTS, 1)


def _time(value: time) -> bytes:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return _clock(_TIME, seconds * 1_000_000 + value.microsecond)


def _timedelta(value: timedelta) -> bytes:
    microseconds = value.seconds * 1_000_000 + value.microseconds
    return _span(_DURATION, _MOST_DAYS + value.days, microseconds)


# --- members --------------------------------------------------------------------------------


def _array(shape: bytes) -> Callable[[Any], bytes]:
    def encode_array(value: Any) -> bytes:
        return _ARRAY + shape + b"".join(map(encode, value)) + _END

    return encode_array


def _set(value: set[Any]) -> bytes:
    return _ARRAY + b"\x03" + b"".join(sorted(map(encode, value))) + _END


def _mapping(value: dict[str, Any]) -> bytes:
    parts = [part for name in sorted(value) for part in (_text(name), encode(value[name]))]
    return _MAPPING + b"".join(parts) + _END


def _null(value: Any) -> bytes:
    return _NULL


ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): _null,
    type(ABSENT): _null,
    bool: lambda value: _TRUE if value else _FALSE,
    int: _int,
    float: _float,
    Decimal: _decimal,
    str: _text,
    bytes: _bytes,
    UUID: lambda value: _UUID + value.bytes,
    datetime: _datetime,
    date: _date,
    time: _time,
    timedelta: _timedelta,
    list: _array(b"\x01"),
    tuple: _array(b"\x02"),
    set: _set,
    dict: _mapping,
}


def encode(value: Any) -> bytes:
    """Return bytes that sort as *value* does; absent encodes as null does.

    >>> encode(1) == encode(1.0) == encode(Decimal("1.00"))
    True
    >>> sorted([b"x", "a", 2, None, 1.5], key=encode)
    [None, 1.5, 2, 'a', b'x']
    """
    encoder = ENCODERS.get(type(value))
    if encoder is not None:
        return encoder(value)
    if isinstance(value, Enum):
        return encode(value.value)
    raise TypeError(f"a record cannot hold {value!r} ({type(value).__name__})")


def encoded_pairs(values: Sequence[Any], keys: Sequence[bytes], longest: int) -> Pairs:
    r"""Return a pair of the encoding, cut to *longest* bytes, and the key for each value, in order.

    The keys are in order already.

    >>> list(encoded_pairs(["b", "a", "b"], [b"1", b"2", b"3"], 480))
    [(b' a\x00', b'2'), (b' b\x00', b'1'), (b' b\x00', b'3')]
    """
    if set(map(type, values)) in _EQUAL_ALIKE and len(set(values)) <= len(values) // 2:
        found = defaultdict[Any, list[bytes]](list)
        for value, key in zip(values, keys, strict=True):
            found[value].append(key)
        several = sorted([(encode(value), some) for value, some in found.items()])
        if all(len(one) < longest for one, _ in several):
            entries: list[bytes] = []
            for one, some in several:
                entries += [one] * len(some)
            return Pairs(entries, [key for _, some in several for key in some])
    encoders = ENCODERS
    try:
        encodings = [encoders[type(value)](value)[:longest] for value in values]
    except KeyError:
        encodings = [encode(value)[:longest] for value in values]
    order = sorted(range(len(keys)), key=encodings.__getitem__)
    return Pairs([encodings[at] for at in order], [keys[at] for at in order])


_EQUAL_ALIKE: Final = [{kind} for kind in (str, int, float, bytes, date, UUID)]
"""Types of values that have the same encoding if they are equal, as long as all are of one."""


def text_prefix(prefix: str) -> bytes:
    """Return what the encoding of every text that begins with *prefix* begins with, and no other's.

    >>> encode("abc").startswith(text_prefix("ab")), encode("a").startswith(text_prefix("ab"))
    (True, False)
    """
    return _text(prefix)[:-1]


def successor(prefix: bytes) -> bytes:
    r"""Return the least bytes greater than all that begin with *prefix*, which is no run of 255s.

    >>> successor(b"ab"), successor(b"a\xff")
    (b'ac', b'b')
    """
    last = prefix[-1]
    if last != 255:
        return prefix[:-1] + _NEXT[last]
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + _NEXT[stripped[-1]]


_NEXT: Final = [bytes([byte + 1]) for byte in range(255)]
