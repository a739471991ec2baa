"""Primary keys: their kinds, the bytes that keep their order, and new ones that sort by time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from pymodels.checks import Unfit, check_int, check_text, exactly
from pymodels.errors import ModelError

if TYPE_CHECKING:
    from pymodels.schema import Schema

_OFFSET: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class KeyKind:
    """One kind of primary key.

    ``check`` raises ``Unfit`` for a value that is no such key; ``encode`` and ``decode`` turn a key
    into bytes that sort as the keys do, and back; ``generate`` makes a new key, where that is
    possible.
    """

    name: str
    type: type
    check: Callable[[Any], None]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    generate: Callable[[], Any] | None = None


class _Clock:
    """Hands out UUIDv7s (RFC 9562): milliseconds, then a counter, then randomness.

    The counter fills the twelve bits after the version and eighteen more, begins anew at a random
    place below its middle with each millisecond, and borrows from the next when it is full; so keys
    of one process ascend strictly.
    """

    _BITS = 30

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0  # milliseconds and counter, as one number

    def next(self) -> UUID:
        noise = int.from_bytes(os.urandom(9), "big")
        start = (time.time_ns() // 1_000_000) << self._BITS | (noise >> 43) & (1 << 29) - 1
        with self._lock:
            self._last = moment = max(start, self._last + 1)
        milliseconds, counter = moment >> self._BITS, moment & (1 << self._BITS) - 1
        value = milliseconds << 80 | 0x7 << 76 | (counter >> 18) << 64 | 0b10 << 62
        return UUID(int=value | (counter & (1 << 18) - 1) << 44 | noise & (1 << 44) - 1)

    def reset_lock(self) -> None:
        self._lock = threading.Lock()  # a fork may have copied it while another thread held it


_CLOCK: Final = _Clock()
os.register_at_fork(after_in_child=_CLOCK.reset_lock)


def uuid7() -> UUID:
    """Return a new UUIDv7, greater than every one that this process made before.

    >>> uuid7() < uuid7()
    True
    >>> uuid7().version
    7
    """
    return _CLOCK.next()


def _check_text_key(value: Any) -> None:
    if type(value) is not str or not value.isascii():
        check_text(value)
    if not value:
        raise Unfit("a key of no characters is no key")


KEY_KINDS: Final[dict[type, KeyKind]] = {
    str: KeyKind(
        "text",
        str,
        _check_text_key,
        str.encode,
        bytes.decode,
        lambda: str(uuid7()),
    ),
    int: KeyKind(
        "int",
        int,
        check_int,
        lambda key: (key + _OFFSET).to_bytes(8, "big"),
        lambda data: int.from_bytes(data, "big") - _OFFSET,
    ),
    UUID: KeyKind(
        "uuid",
        UUID,
        exactly(UUID, "a UUID"),
        lambda key: key.bytes,
        lambda data: UUID(bytes=bytes(data)),
        uuid7,
    ),
}

TEXT: Final = KEY_KINDS[str]


def key_kind(declared: Any) -> KeyKind:
    """Return the kind of the keys that ``Key[declared]`` declares, or raise ``ModelError``."""
    try:
        return KEY_KINDS[declared]
    except (KeyError, TypeError):
        known = ", ".join(sorted(kind.__name__ for kind in KEY_KINDS))
        raise ModelError(
            f"Key[{declared!r}]: a primary key is one of {known}; the module of a backend may add "
            "others when it is imported"
        ) from None


def kind_named(name: str) -> KeyKind:
    """Return the kind of keys called *name*, as a storage remembers it."""
    return next(kind for kind in KEY_KINDS.values() if kind.name == name)


def other_keys(schema: Schema, found: str, storage: str) -> ModelError:
    """Return the error for a model that declares other keys than its collection has."""
    return ModelError(
        f"{schema.name} declares {schema.key.name} keys, and the collection "
        f"{schema.collection!r} in {storage} has {found} keys: declare Key[...] as it was, or "
        "another collection"
    )
