"""Pickles of plain values, which run no code: neither what is in the file, nor what it names.

A pickle is a program for a small machine, which can call anything that Python can import. Before
one is run here, its instructions are looked through; while it runs, it finds nothing but the types
of plain values. What else it asks for is named in the error, and is not even imported.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

_PROTOCOL: Final = 4
"""What every Python that is still in use reads."""

_MOST_WEIGHT: Final = 1_000_000
_MOST_GROWTH: Final = 20
"""How much larger than its pickle a value may become by holding the same thing many times."""


class NotPlain(Exception):
    """A pickle holds something else than plain values, or is damaged."""


# --- writing --------------------------------------------------------------------------------


def dump(value: Any) -> bytes:
    """Return a whole pickle of *value*.

    >>> pickle.loads(dump({"name": "Ann"}))
    {'name': 'Ann'}
    """
    return b"\x80\x04%b." % fragment(value)


def fragment(value: Any) -> bytes:
    """Return the instructions that make *value*, to stand anywhere in a pickle.

    They refer to nothing outside of them, so that pickles can be put together from them.
    """
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, _PROTOCOL)
    pickler.fast = True  # no memo: its numbers would count through the whole pickle
    pickler.dump(value)
    data = buffer.getvalue()
    if len(data) < 1 << 16:  # there is one frame at most, and it is the first instruction
        return data[11:-1] if data[2] == _FRAME else data[2:-1]
    parts, begin, position = [], 2, 2
    while position < len(data) - 1:
        length = _LENGTHS[data[position]]
        if length is not None and length >= 0:
            end = position + 1 + length
        else:
            end = _instruction_end(data, position)
        if data[position] == _FRAME:
            parts.append(data[begin:position])
            begin = end
        position = end
    parts.append(data[begin:-1])
    return b"".join(parts)


# --- reading --------------------------------------------------------------------------------


def load(data: bytes, begin: int = 0) -> tuple[Any, int]:
    r"""Return the value of the pickle that begins there, and where it ends.

    Raises ``NotPlain`` if it is damaged, or asks for anything but plain values.

    >>> load(dump([1, "two"]))
    ([1, 'two'], 13)
    >>> load(b"cos\nsystem\n(S'true'\ntR.")
    Traceback (most recent call last):
    ...
    pymodels.ext.pickled.plain.NotPlain: it asks for os.system, which no plain value needs; nothing
    of it was run
    """
    end, shares = _look_through(data, begin)
    try:
        value = _Machine(io.BytesIO(data[begin:end]), encoding="utf-8").load()
    except NotPlain:
        raise
    except Exception as error:  # every type complains in its own way of bad values
        raise NotPlain(f"it is damaged: {error}") from error
    if shares:
        _weigh(value, _MOST_WEIGHT + _MOST_GROWTH * (end - begin))
    return value, end


class _Text:
    """Stands in for ``_codecs.encode``, by which old protocols write bytes."""

    __slots__ = ()

    def __new__(cls, text: str, encoding: str) -> Any:
        if encoding != "latin1":
            raise NotPlain(f"it asks for the encoding {encoding!r:.40}")
        return text.encode("latin1")


class _NoBytes:
    """Stands in for ``bytes``, which old protocols call for those that are empty."""

    __slots__ = ()

    def __new__(cls) -> Any:
        return b""


class _Empty:
    """Stands in for ``copyreg._reconstructor``, by which old protocols write UUIDs."""

    __slots__ = ()

    def __new__(cls, kind: type, base: type, state: None) -> Any:
        if kind is not UUID:
            raise NotPlain(f"it asks for an empty {kind!r:.40}")
        return object.__new__(kind)


_PLAIN: Final[dict[tuple[str, str], Any]] = {
    ("datetime", "datetime"): datetime,
    ("datetime", "date"): date,
    ("datetime", "time"): time,
    ("datetime", "timedelta"): timedelta,
    ("datetime", "timezone"): timezone,
    ("decimal", "Decimal"): Decimal,
    ("uuid", "UUID"): UUID,
    ("collections", "OrderedDict"): dict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("builtins", "bytes"): _NoBytes,
    ("__builtin__", "bytes"): _NoBytes,
    ("_codecs", "encode"): _Text,
    ("copy_reg", "_reconstructor"): _Empty,
    ("copyreg", "_reconstructor"): _Empty,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
}


class _Machine(pickle.Unpickler):
    """Finds the types of plain values, and imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        found = _PLAIN.get((module, name))
        if found is None:
            asked = f"{module:.60}.{name:.60}"
            raise NotPlain(
                f"it asks for {asked}, which no plain value needs; nothing of it was run"
            )
        return found


# --- looking through ------------------------------------------------------------------------

_FRAME: Final = 0x95
_STOP: Final = ord(".")
_TWO_LINES: Final = b"ci"
_EXTENSIONS: Final = b"\x82\x83\x84"
_SHARING: Final = b"ghj2"
_NUMBERED: Final = b"pr"
_PREFIXES: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}

_LENGTHS: Final[list[int | None]] = [None] * 256
"""How long the argument of each instruction is; negative are those that begin with their length."""

_LINE: Final = -100

for _one in pickletools.opcodes:
    _length = 0 if _one.arg is None else _one.arg.n
    if _length in _PREFIXES:
        _LENGTHS[ord(_one.code)] = -_PREFIXES[_length]
    else:
        _LENGTHS[ord(_one.code)] = _LINE if _length < 0 else _length


def _instruction_end(data: bytes, position: int) -> int:
    """Return where the instruction ends whose argument is no fixed number of bytes."""
    code = data[position]
    length = _LENGTHS[code]
    end = position + 1
    if length is None:
        raise NotPlain(f"it is no pickle: there is no instruction {code:#04x}")
    if length != _LINE:
        end -= length
        return end + int.from_bytes(data[position + 1 : end], "little")
    for _ in range(2 if code in _TWO_LINES else 1):
        end = data.find(b"\n", end) + 1
        if not end:
            raise NotPlain("it is cut off")
    return end


def _look_through(data: bytes, begin: int) -> tuple[int, bool]:
    """Return where a pickle ends, and whether parts of it stand in several places."""
    lengths, suspect, size = _LENGTHS, _SUSPECT, len(data)
    shares = False
    position = begin
    while position < size:
        code = data[position]
        length = lengths[code]
        if length is not None and length >= 0:
            end = position + 1 + length
        else:
            end = _instruction_end(data, position)
        if code in suspect:
            shares |= _look_at(data[position:end], size)
        position = end
        if code == _STOP:
            break
    else:
        raise NotPlain("it is cut off")
    if position > size:
        raise NotPlain("it is cut off")
    return position, shares


def _look_at(instruction: bytes, most: int) -> bool:
    """Tell whether an instruction stands for something that is there already; refuse bad ones."""
    code, argument = instruction[0], instruction[1:]
    if code in _SHARING:
        return True
    if code in _EXTENSIONS:
        raise NotPlain("it asks for a registered extension, which no plain value needs")
    try:
        number = int(argument) if code == _NUMBERED[0] else int.from_bytes(argument, "little")
    except ValueError:
        number = -1
    if not 0 <= number <= most:  # room would be made for all numbers below it
        raise NotPlain(f"it is damaged: it cannot note {number} values")
    return False


_SUSPECT: Final = frozenset(_SHARING + _EXTENSIONS + _NUMBERED)


def _weigh(value: Any, most: int) -> None:
    """Refuse a value that is huge, or without an end, because it holds the same thing often."""
    todo = [value]
    weight = 0
    while todo:
        one = todo.pop()
        weight += 1
        kind = type(one)
        if kind is str or kind is bytes:
            weight += len(one) // 64  # about what it takes in the place of other values
        elif kind is dict:
            todo.extend(one)
            todo.extend(one.values())
        elif kind in (list, tuple, set):
            todo.extend(one)
        if weight + len(todo) > most:
            raise NotPlain("it holds the same values so often that they do not fit in memory")
