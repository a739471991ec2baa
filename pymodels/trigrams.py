"""Runs of three characters: what an index for text inside of text is made of."""

from __future__ import annotations

import re
import warnings
from typing import Any, Final

# Private parts of the library, which later versions may do without.
_parser: Final[Any] = getattr(re, "_parser", None)
_constants: Final[Any] = getattr(re, "_constants", None)

_PARTS: Final = frozenset(
    {"contains", "icontains", "startswith", "istartswith", "endswith", "iendswith", "iequals"}
)
WITH_PARTS: Final = _PARTS | {"matches"}
"""The lookups of which some text has to be in what they find."""


def trigrams(text: str) -> list[str]:
    """Return every run of three characters in *text*, without its case.

    >>> trigrams("Anna")
    ['ann', 'nna']
    """
    folded = text.casefold()
    return list({a + b + c: None for a, b, c in zip(folded, folded[1:], folded[2:], strict=False)})


def required(lookup: str, operand: Any) -> list[str]:
    """Return the runs that all text has of which a lookup is true; none where nobody can say.

    >>> required("icontains", "ANN"), required("matches", r"^anna.*b+cde$")
    (['ann'], ['ann', 'nna', 'cde'])
    """
    if type(operand) is not str:
        return []
    if lookup in _PARTS:
        return trigrams(operand)
    if lookup == "matches":
        found = [run for text in literals(operand) for run in trigrams(text)]
        return list(dict.fromkeys(found))
    return []


def literals(pattern: str) -> list[str]:
    """Return text that stands in everything in which ``re.search`` finds *pattern*.

    Whatever is no plain character ends a run, and is passed over.

    >>> literals("name: (a|b)[cd] e?fgh"), literals("(?i)name")
    (['name: ', ' ', 'fgh'], [])
    """
    if _parser is None or _constants is None:
        return []
    with warnings.catch_warnings():  # it warned when the query was built
        warnings.simplefilter("ignore")
        parsed = _parser.parse(pattern)
    if parsed.state.flags & re.IGNORECASE:
        return []  # its notion of case is another one
    found: list[str] = []
    run: list[str] = []
    for kind, value in parsed:
        if kind is _constants.LITERAL:
            run.append(chr(value))
        elif run:
            found.append("".join(run))
            run = []
    return [*found, "".join(run)] if run else found
