"""How the records of several collections, and what is remembered of them, share one file.

The key of a record is the name of its collection, a colon, and its own key in a form that sorts
as the keys do: ``person:ann``, ``town:b42``. What a storage keeps for itself begins with a colon.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote, quote_from_bytes
from uuid import UUID

from pymodels.keys import KeyKind

_SAFE: Final = "!\"#$&'()*+,-./;<=>?@[\\]^_`{|}~ "
"""What stands in a name as it is; ``:`` and ``%`` do not."""

_NINES: Final = str.maketrans("0123456789", "9876543210")
_NUMBER: Final = re.compile(rb"[a-zA-Z][0-9]+")


def _quoted(name: str) -> str:
    return quote(name, safe=_SAFE) if re.search(r"[^\w -]", name) else name


def prefix_of(table: str) -> bytes:
    """Return what the keys of a table begin with.

    >>> prefix_of("records:person"), prefix_of("meta"), prefix_of("unique:a:b:c")
    (b'person:', b':meta:', b':unique:a%3Ab%3Ac:')
    """
    kind, _, name = table.partition(":")
    if kind == "records":
        return f"{_quoted(name)}:".encode()
    return f":{kind}:{_quoted(name)}:".encode() if name else f":{kind}:".encode()


def key_text(kind: KeyKind, key: Any) -> bytes:
    """Return a primary key as text, which sorts as the keys do.

    >>> from pymodels.keys import KEY_KINDS
    >>> [key_text(KEY_KINDS[int], number) for number in (-10, -9, 0, 7, 42)]
    [b'Y89', b'Z0', b'a0', b'a7', b'b42']
    """
    if kind.type is str:
        return key.encode()  # type: ignore[no-any-return]
    if kind.type is int:
        digits = str(abs(key))
        if key < 0:
            return f"{chr(ord('[') - len(digits))}{digits.translate(_NINES)}".encode()
        return f"{chr(ord('`') + len(digits))}{digits}".encode()
    return str(key).encode()


def text_key(kind: KeyKind, text: bytes) -> Any:
    """Return the primary key that a text stands for; raise ``ValueError`` if it is none."""
    if kind.type is str:
        return text.decode()
    if kind.type is int:
        if not _NUMBER.fullmatch(text):
            raise ValueError(text)
        digits = text[1:].decode()
        if text[:1].isupper():
            return -int(digits.translate(_NINES))
        return int(digits)
    return UUID(text.decode())


def own_key(table: str, key: bytes) -> bytes:
    """Return where a pair of one of our own tables is kept."""
    return prefix_of(table) + quote_from_bytes(key, safe=_SAFE).encode()
