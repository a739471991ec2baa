"""What the engine of Tokyo Cabinet finds by itself, in conditions on columns of text.

Its own language is a list of conditions that all hold. Of "or" it makes the union of several
searches; a "not" is taken into the conditions. Where its meaning of a comparison is not ours, its
answer is a superset, and Python looks again.

A record whose column does not hold what the model declares has to be found too, so that reading it
raises ``RecordInvalid``. Where a column has an index, such records are noted apart (``_misfits``)
and always looked at. Where it has none, one more search finds them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeAlias

from pymodels.bykey import ByKey, Keys
from pymodels.ext._tokyo.columns import TYPES, column_name, instant, noted, plain_number
from pymodels.ext._tokyo.search import searchable
from pymodels.kinds import Kind
from pymodels.planning import Superset
from pymodels.schema import Place

EXACT_NUMBER: Final = 2**53
"""Up to here the engine compares whole numbers exactly, whatever type it uses for that."""

_MOST_SEARCHES: Final = 12
"""Into how many searches a condition may be taken apart."""

_SEPARATORS: Final = re.compile(r"[\s,\0]|^$")
"""What cannot be in a list of the engine's: it cuts there."""


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
    if wanted in ("token", "qgram"):
        return wanted if kind.families == {"text"} else ""
    if not letters or wanted not in ("", "lexical", "decimal"):
        return ""
    natural = "decimal" if "i" in letters or letters == "t" else "lexical"
    return wanted or natural


def _whole(operand: Any) -> bool:
    return type(operand) is int and abs(operand) < EXACT_NUMBER


def _exact(operand: Any) -> bool:
    """Tell whether the engine finds just the values that equal *operand*, where it is whole."""
    return _whole(operand) or isinstance(operand, bool) or not isinstance(operand, int | float)


class TableNative(ByKey):
    """What a table finds, by key and by column.

    *indexed* are the columns that have an index, and what it is trusted with. *foreign* says that
    other programs wrote the records, so that ``_types`` may be missing.
    """

    def __init__(self, indexed: Mapping[bytes, str], *, foreign: bool = False) -> None:
        self.indexed = indexed
        self.foreign = foreign
        own: dict[str, Callable[[Place, Any], Any]] = {
            "equals": self.equals,
            "in": self.one_of,
            "gt": self._compared("NUMGT", "low"),
            "gte": self._compared("NUMGE", "low"),
            "lt": self._compared("NUMLT", "high"),
            "lte": self._compared("NUMLE", "high"),
            "between": self.between,
            "exists": self.exists,
            "contains": self._text("STRINC"),
            "startswith": self._text("STRBW"),
            "endswith": self._text("STREW"),
            "search": self.words,
        }
        by_key = ByKey.lookups
        self.lookups = {  # type: ignore[misc]  # of the object: which columns are indexed differs
            name: _of_key_or_column(by_key.get(name), answer, foreign=foreign)
            for name, answer in own.items()
        }

    # --- one lookup -------------------------------------------------------------------------

    def answer(
        self, place: Place, searches: Sequence[Conjunction], *, exact: bool = True
    ) -> Search | Superset[Search]:
        """Return what finds *searches*, and the records that do not fit the declaration."""
        column, letters = column_name(place.stored), letters_of(place.kind)
        if self.foreign:
            return Superset(Search(tuple(map(_untyped, searches))))
        if column in self.indexed and set(letters) >= set(self.indexed[column]) - {"n"}:
            found = Search(tuple(searches), frozenset({column}))
            return found if exact else Superset(found)
        if letters == "s":
            misfit: Conjunction = (Cond(TYPES, "STRRX", _type_pattern(column, "[^en]")),)
        else:
            misfit = (
                Cond(column, "STRBW", b""),
                Cond(TYPES, "STRRX", _type_pattern(column, f"[{letters}n]"), negated=True),
            )
        return Superset(Search((*searches, misfit)))

    def fits(self, place: Place) -> Cond:
        """Return the condition that a column holds what is declared, and not null."""
        column, letters = column_name(place.stored), letters_of(place.kind)
        if letters == "s":
            return Cond(TYPES, "STRINC", b"|%b=" % noted(column), negated=True)
        if len(letters) == 1:
            return Cond(TYPES, "STRINC", _type(column, letters))
        return Cond(TYPES, "STRRX", _type_pattern(column, f"[{letters}]"))

    def equals(self, place: Place, operand: Any) -> Any:
        letters = letters_of(place.kind)
        if not letters:
            return NotImplemented
        if operand is None:
            return self.answer(place, self._nothing(place))
        search = self._equal(place, operand, letters)
        if search is NotImplemented:
            return NotImplemented
        return self.answer(place, (search,), exact="f" not in letters and _exact(operand))

    def _nothing(self, place: Place) -> tuple[Conjunction, ...]:
        column = column_name(place.stored)
        return (Cond(column, "STRBW", b"", negated=True),), (
            Cond(TYPES, "STRINC", _type(column, "n")),
        )

    def _equal(self, place: Place, operand: Any, letters: str) -> Any:
        """Return the conditions for one value."""
        column = column_name(place.stored)
        if letters in ("i", "if"):
            if isinstance(operand, bool) or not isinstance(operand, int | float):
                return NotImplemented
            if letters == "i" and _whole(operand):
                return Cond(column, "NUMEQ", b"%d" % operand), self.fits(place)
            if operand != max(-1.7e308, min(1.7e308, operand)):  # no record can hold it
                return NotImplemented
            return (Cond(column, "NUMBT", b"%b %b" % self._margins(column, letters, operand)),)
        if letters == "b":
            text = "true" if operand is True else "false" if operand is False else None
        elif letters == "t":
            text = instant(operand) if isinstance(operand, datetime) else None
        else:
            text = str(operand)
        if text is None or "\0" in text:
            return NotImplemented
        if not text:
            return (Cond(TYPES, "STRINC", _type(column, "e")),)
        return Cond(column, "STREQ", text.encode()), self.fits(place)

    def one_of(self, place: Place, operands: Any) -> Any:
        letters = letters_of(place.kind)
        values = [operand for operand in operands if operand is not None]
        nothing = self._nothing(place) if len(values) < len(operands) else ()
        if not letters or not operands:
            return NotImplemented
        column = column_name(place.stored)
        if letters == "s" and not any(_SEPARATORS.search(str(value)) for value in values):
            listed = " ".join(map(str, values)).encode()
            searches: tuple[Conjunction, ...] = (
                ((Cond(column, "STROREQ", listed), self.fits(place)),) if values else ()
            )
            return self.answer(place, (*searches, *nothing))
        if letters == "i" and all(map(_whole, values)):
            listed = b" ".join(b"%d" % value for value in values)
            searches = ((Cond(column, "NUMOREQ", listed), self.fits(place)),) if values else ()
            return self.answer(place, (*searches, *nothing))
        found = [self._equal(place, value, letters) for value in values]
        if len(found) > _MOST_SEARCHES // 2 or NotImplemented in found:
            return NotImplemented
        return self.answer(
            place,
            (*found, *nothing),
            exact="f" not in letters and all(map(_exact, values)),
        )

    def _compared(self, operation: str, end: str) -> Callable[[Place, Any], Any]:
        def compare(place: Place, operand: Any) -> Any:
            letters = letters_of(place.kind)
            column = column_name(place.stored)
            if letters == "i" and _whole(operand):
                search = (Cond(column, operation, b"%d" % operand), self.fits(place))
                return self.answer(place, (search,))
            ends = self._ends(column, letters, operand)
            if ends is None:
                return NotImplemented
            wide = (
                Cond(column, "NUMGE", ends[0]) if end == "low" else Cond(column, "NUMLE", ends[1])
            )
            return self.answer(place, ((wide,),), exact=False)

        return compare

    def between(self, place: Place, ends: Any) -> Any:
        letters = letters_of(place.kind)
        column = column_name(place.stored)
        if letters == "i" and all(map(_whole, ends)) and ends[0] <= ends[1]:
            listed = b"%d %d" % tuple(ends)
            return self.answer(place, ((Cond(column, "NUMBT", listed), self.fits(place)),))
        low, high = (self._ends(column, letters, end) for end in ends)
        if low is None or high is None:
            return NotImplemented
        search = (Cond(column, "NUMGE", low[0]), Cond(column, "NUMLE", high[1]))
        return self.answer(place, (search,), exact=False)

    def _ends(self, column: bytes, letters: str, operand: Any) -> tuple[bytes, bytes] | None:
        """Return numbers that are not above, and not below, *operand* as the engine reads it.

        It reads the year of an instant, which comes first in it.
        """
        if letters == "t" and isinstance(operand, datetime):
            year = instant(operand)[:4].encode()
            return year, year
        if "i" not in letters or isinstance(operand, bool) or not isinstance(operand, int | float):
            return None
        return self._margins(column, letters, operand)

    def _margins(self, column: bytes, letters: str, operand: float) -> tuple[bytes, bytes]:
        """Return what is surely below and above a number, however the engine reads it."""
        operand = max(-1.7e308, min(1.7e308, operand))
        margin = 0.0 if _whole(operand) else 1e-9 + abs(operand) * 1e-9
        # An index compares 64 bits, and more would overflow there. Ints have no more, and a float
        # that is so large is noted where there is an index, see `with_misfits`.
        short = letters == "i" or column in self.indexed
        return _number(operand - margin, short=short), _number(operand + margin, short=short)

    def exists(self, place: Place, operand: Any) -> Any:
        if not letters_of(place.kind):
            return NotImplemented
        search = (Cond(column_name(place.stored), "STRBW", b"", negated=not operand),)
        return self.answer(place, (search,))

    def _text(self, operation: str) -> Callable[[Place, Any], Any]:
        def ask(place: Place, operand: Any) -> Any:
            if place.kind.families != {"text"} or not isinstance(operand, str):
                return NotImplemented
            if not operand or "\0" in operand or letters_of(place.kind) != "s":
                return NotImplemented
            column = column_name(place.stored)
            search = (Cond(column, operation, operand.encode()), self.fits(place))
            return self.answer(place, (search,))

        return ask

    def words(self, place: Place, operand: Any) -> Any:
        """Answer ``search``, of which the engine finds at least what we do."""
        if place.kind.families != {"text"} or letters_of(place.kind) != "s":
            return NotImplemented
        words = searchable(operand)
        if not words:
            return NotImplemented
        column = column_name(place.stored)
        search = tuple(Cond(column, "FTSPH", word.encode()) for word in words)
        return self.answer(place, (search,), exact=False)

    # --- several ----------------------------------------------------------------------------

    def all_of(self, parts: Sequence[Any]) -> Any:
        if not all(isinstance(part, Search) for part in parts):
            return super().all_of(parts) if not _mixed(parts) else NotImplemented
        if math.prod(len(part.searches) for part in parts) > _MOST_SEARCHES:
            return NotImplemented
        joined = itertools.product(*(part.searches for part in parts))
        return Search(
            tuple(_merged(tuple(itertools.chain.from_iterable(one))) for one in joined),
            frozenset().union(*(part.watched for part in parts)),
        )

    def any_of(self, parts: Sequence[Any]) -> Any:
        if not parts or not all(isinstance(part, Search) for part in parts):
            return super().any_of(parts) if not _mixed(parts) else NotImplemented
        searches = tuple(itertools.chain.from_iterable(part.searches for part in parts))
        if len(searches) > _MOST_SEARCHES:
            return NotImplemented
        return Search(searches, frozenset().union(*(part.watched for part in parts)))

    def negate(self, part: Any) -> Any:
        if not isinstance(part, Search):
            return NotImplemented
        if math.prod(map(len, part.searches)) > _MOST_SEARCHES:
            return NotImplemented
        opposite = itertools.product(
            *([replace(cond, negated=not cond.negated) for cond in one] for one in part.searches)
        )
        return Search(tuple(map(_merged, opposite)), part.watched)


def _of_key_or_column(
    by_key: Callable[[Place, Any], Any] | None,
    answer: Callable[[Place, Any], Any],
    *,
    foreign: bool,
) -> Callable[[Place, Any], Any]:
    def choose(place: Place, operand: Any) -> Any:
        if place.is_key:
            return NotImplemented if by_key is None else by_key(place, operand)
        if place.inside or place.field is None or place.field.options.naive:
            return NotImplemented
        if by_key is not None and place.field.options.unique:
            found = by_key(place, operand)
            if found is not NotImplemented:
                return found
        if foreign and (operand is None or letters_of(place.kind) not in ("s", "i", "if")):
            return NotImplemented
        return answer(place, operand)

    return choose


def _mixed(parts: Sequence[Any]) -> bool:
    return any(isinstance(part, Search) for part in parts) or not all(
        isinstance(part, Keys) for part in parts
    )


def _untyped(conds: Conjunction) -> Conjunction:
    return tuple(cond for cond in conds if cond.column != TYPES or cond.negated)


def _merged(conds: Conjunction) -> Conjunction:
    return tuple(dict.fromkeys(conds))


def _type(column: bytes, letter: str) -> bytes:
    return b"|%b=%b|" % (noted(column), letter.encode())


def _type_pattern(column: bytes, letters: str) -> bytes:
    """Return the POSIX expression for the entry of a column in ``_types``."""
    name = re.sub(rb"([][\\.*^$+?(){}|/])", rb"\\\1", noted(column))
    return rb"\|%b=%b" % (name, letters.encode())


# --- numbers as the engine reads them ------------------------------------------------------------


def _number(value: float, *, short: bool) -> bytes:
    if short and not -(2**63) < value < 2**63 - 1:
        return b"%d" % (2**63 - 1 if value > 0 else -(2**63))
    if isinstance(value, float) and math.isinf(value):
        value = math.copysign(1.7e308, value)
    return plain_number(value).encode() if isinstance(value, float) else b"%d" % value
