"""The lookup ``search``: text in which words occur. Both backends of Tokyo have an index for it."""

from __future__ import annotations

import string
from typing import Any, Final

from pymodels.lookups import lookup
from pymodels.operands import text

_SMALL: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def _words(operand: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(operand.translate(_SMALL).split()))


@lookup("search", check=text, prepare=_words)
def search(value: Any, operand: Any) -> bool:
    """Text in which each word of the operand occurs, as such or within a longer one.

    The case of the letters from A to Z does not count. An operand without words finds nothing.

    >>> search("Sailing to Byzantium", _words("byzant SAIL"))
    True
    """
    if type(value) is not str or not operand:
        return False
    small = value.translate(_SMALL)
    return all(word in small for word in operand)


def searchable(operand: str) -> list[str]:
    """Return the words of *operand*, none if the engine would read one of them in its own way.

    It folds more than the case of ASCII, each character by itself, and so finds at least ours.
    """
    words = operand.split()
    plain = all(word.isprintable() and '"' not in word for word in words)
    return words if plain and all(any(map(str.isalnum, word)) for word in words) else []
