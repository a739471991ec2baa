"""Conditions in the engine's own language, and the numbers and types that they name."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from pymodels.ext._tokyo.columns import TYPES, noted, plain_number
from pymodels.kinds import Kind, is_list_of_text

EXACT_NUMBER: Final = 2**53
"""Up to here the engine compares whole numbers exactly, whatever type it uses for that."""


@dataclass(frozen=True, slots=True)
class Cond:
    """One condition of the engine: a column, an operation by its name there, and the operand."""

    column: bytes
    operation: str
    operand: bytes
    negated: bool = False

    def avoids_index(self, trusted: frozenset[bytes]) -> bool:
        """Whether the engine has to look at the column itself, though it may have an index.

        Empty columns are in no index. And a decimal one has large numbers, and whatever another
        collection keeps in a column of that name, at the wrong place.
        """
        return not self.operand or (self.operation.startswith("NUM") and self.column not in trusted)

    @property
    def opposite(self) -> Cond:
        """The condition that holds where this one does not."""
        return replace(self, negated=not self.negated)

    def __repr__(self) -> str:
        sign = "not " if self.negated else ""
        name, text = self.column.decode("utf-8", "replace"), self.operand.decode("utf-8", "replace")
        return f"{sign}{name} {self.operation} {text!r}"


Conjunction: TypeAlias = tuple[Cond, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """The union of what some conjunctions find; ``watched`` are the indexed columns in it."""

    searches: tuple[Conjunction, ...]
    watched: frozenset[bytes] = frozenset()

    def __repr__(self) -> str:
        return " or ".join(" and ".join(map(repr, one)) for one in self.searches)


# --- what a column holds by its declared kind ----------------------------------------------------


def letters_of(kind: Kind) -> str:
    """Return the letters that ``_types`` may have where *kind* is declared; "" for other kinds.

    ``s`` is text, which has no letter there, or ``e`` if it is empty.
    """
    if is_list_of_text(kind):
        return "j"
    if kind.is_open or len(kind.families) != 1:
        return ""
    (family,) = kind.families
    declared = repr(kind.annotation)
    if family == "number":
        if "Decimal" in declared:
            return ""
        return "if" if "float" in declared else "i"
    if family == "instant":
        return "t"
    return {"text": "s", "uuid": "s", "date": "s", "bool": "b"}.get(family, "")


def index_kind(kind: Kind, wanted: str) -> str:
    """Return the engine's kind of index for a field, "" where none can serve it."""
    letters = letters_of(kind)
    if letters == "j":
        return "token" if wanted == "token" else ""
    if wanted in ("token", "qgram"):
        return wanted if kind.families == {"text"} else ""
    if not letters or wanted not in ("", "lexical", "decimal"):
        return ""
    natural = "decimal" if "i" in letters or letters == "t" else "lexical"
    return wanted or natural


def type_conditions(column: bytes, letters: str) -> Conjunction:
    """Return the conditions that a column is there and holds values of *letters*, and not null."""
    if letters == "s":
        untyped = Cond(TYPES, "STRINC", b"|%b=" % noted(column), negated=True)
        return Cond(column, "STRBW", b""), untyped
    if len(letters) == 1:
        return (Cond(TYPES, "STRINC", type_entry(column, letters)),)
    return (Cond(TYPES, "STRRX", type_pattern(column, f"[{letters}]")),)


def is_whole(operand: Any) -> bool:
    return type(operand) is int and abs(operand) < EXACT_NUMBER


def type_entry(column: bytes, letter: str) -> bytes:
    return b"|%b=%b|" % (noted(column), letter.encode())


def type_pattern(column: bytes, letters: str) -> bytes:
    """Return the POSIX expression for the entry of a column in ``_types``."""
    name = re.sub(rb"([][\\.*^$+?(){}|/])", rb"\\\1", noted(column))
    return rb"\|%b=%b" % (name, letters.encode())


# --- numbers as the engine reads them ------------------------------------------------------------


def margins(value: float, *, short: bool, always: bool = False) -> tuple[bytes, bytes]:
    """Return what is surely below and above a number, however the engine reads it.

    A *short* one has no more than 64 bits. A whole number has no margin, unless it is *always*
    wanted: a value next to it may have more digits than the engine reads.
    """
    value = max(-1.7e308, min(1.7e308, value))
    margin = 0.0 if is_whole(value) and not always else 1e-9 + abs(value) * 1e-9
    return _number(value - margin, short=short), _number(value + margin, short=short)


def _number(value: float, *, short: bool) -> bytes:
    if short and not -(2**63) < value < 2**63 - 1:
        return b"%d" % (2**63 - 1 if value > 0 else -(2**63))
    if isinstance(value, float) and math.isinf(value):
        value = math.copysign(1.7e308, value)
    return plain_number(value).encode() if isinstance(value, float) else b"%d" % value
