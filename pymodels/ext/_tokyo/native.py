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
from datetime import datetime
from typing import Any, Final

import msgspec

from pymodels.bykey import ByKey, Keys
from pymodels.ext._tokyo.columns import TYPES, column_name, instant
from pymodels.ext._tokyo.conditions import (
    Cond,
    Conjunction,
    Search,
    is_whole,
    letters_of,
    margins,
    type_conditions,
    type_entry,
    type_pattern,
)
from pymodels.ext._tokyo.ordering import engine_order
from pymodels.ext._tokyo.search import searchable
from pymodels.planning import Superset, Term
from pymodels.schema import Place

_MOST_SEARCHES: Final = 12
"""Into how many searches a condition may be taken apart."""

_BETWEEN_WORDS: Final = re.compile(r"[\t\n\r ,]")
_STRANGE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Where the engine parts words, and where it does so in some places only."""

_json: Final = msgspec.json.Encoder().encode

_SEPARATORS: Final = re.compile(r"[\s,\0]|^$")
"""What cannot be in a list of the engine's: it cuts there."""


def _exact(operand: Any) -> bool:
    """Tell whether the engine finds just the values that equal *operand*, where it is whole."""
    return is_whole(operand) or isinstance(operand, bool) or not isinstance(operand, int | float)


class TableNative(ByKey):
    """What a table finds, by key and by column.

    *indexed* are the columns that have an index, and what it is trusted with; of *tokens* it has
    the words. *foreign* says that other programs wrote the records, so that ``_types`` may be
    missing.
    """

    def __init__(
        self,
        indexed: Mapping[bytes, str],
        *,
        tokens: frozenset[bytes] = frozenset(),
        foreign: bool = False,
    ) -> None:
        self.indexed = indexed
        self.tokens = tokens
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
            "contains": self.contains,
            "contains_all": self.contains_all,
            "contains_any": self.contains_any,
            "startswith": self._text("STRBW", slice(0, -1)),
            "endswith": self._text("STREW", slice(1, None)),
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
            misfit: Conjunction = (Cond(TYPES, "STRRX", type_pattern(column, "[^en]")),)
        else:
            misfit = (
                Cond(column, "STRBW", b""),
                Cond(TYPES, "STRRX", type_pattern(column, f"[{letters}n]"), negated=True),
            )
        return Superset(Search((*searches, misfit)))

    def fits(self, place: Place) -> Cond:
        """Return the condition that a column holds what is declared, and not null."""
        return type_conditions(column_name(place.stored), letters_of(place.kind))[-1]

    def equals(self, place: Place, operand: Any) -> Any:
        letters = letters_of(place.kind)
        if not letters or letters == "j":
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
            Cond(TYPES, "STRINC", type_entry(column, "n")),
        )

    def _equal(self, place: Place, operand: Any, letters: str) -> Any:
        """Return the conditions for one value."""
        column = column_name(place.stored)
        if letters in ("i", "if"):
            if isinstance(operand, bool) or not isinstance(operand, int | float):
                return NotImplemented
            if letters == "i" and is_whole(operand):
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
            return (Cond(TYPES, "STRINC", type_entry(column, "e")),)
        whole = self._words_of(column, text, slice(None)) if letters == "s" else ()
        return *whole, Cond(column, "STREQ", text.encode()), self.fits(place)

    def one_of(self, place: Place, operands: Any) -> Any:
        letters = letters_of(place.kind)
        values = [operand for operand in operands if operand is not None]
        nothing = self._nothing(place) if len(values) < len(operands) else ()
        if not letters or letters == "j" or not operands:
            return NotImplemented
        column = column_name(place.stored)
        if letters == "s" and not any(_SEPARATORS.search(str(value)) for value in values):
            listed = " ".join(map(str, values)).encode()
            searches: tuple[Conjunction, ...] = (
                ((Cond(column, "STROREQ", listed), self.fits(place)),) if values else ()
            )
            return self.answer(place, (*searches, *nothing))
        if letters == "i" and all(map(is_whole, values)):
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
            if letters == "i" and is_whole(operand):
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
        if letters == "i" and all(map(is_whole, ends)) and ends[0] <= ends[1]:
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
        # An index compares 64 bits, and more would overflow there. Ints have no more, and a float
        # that is so large is noted where there is an index, see `with_misfits`.
        return margins(operand, short=letters == "i" or column in self.indexed)

    def exists(self, place: Place, operand: Any) -> Any:
        if letters_of(place.kind) in ("", "j"):
            return NotImplemented
        search = (Cond(column_name(place.stored), "STRBW", b"", negated=not operand),)
        return self.answer(place, (search,))

    def _text(self, operation: str, whole: slice) -> Callable[[Place, Any], Any]:
        """Return the answer to a lookup in text; *whole* are the words of the operand that must
        be words of the text, and not only parts of some.
        """

        def ask(place: Place, operand: Any) -> Any:
            if place.kind.families != {"text"} or not isinstance(operand, str):
                return NotImplemented
            if not operand or "\0" in operand or letters_of(place.kind) != "s":
                return NotImplemented
            column = column_name(place.stored)
            words = self._words_of(column, operand, whole)
            search = (*words, Cond(column, operation, operand.encode()), self.fits(place))
            return self.answer(place, (search,))

        return ask

    def _words_of(self, column: bytes, text: str, whole: slice) -> Conjunction:
        """Return the condition on words that an index of them can answer, if there is one."""
        if column not in self.tokens or _STRANGE.search(text):
            return ()
        words = [word for word in _BETWEEN_WORDS.split(text)[whole] if word]
        listed = " ".join(dict.fromkeys(words)).encode()
        return (Cond(column, "STRAND", listed),) if words else ()

    def contains(self, place: Place, operand: Any) -> Any:
        if letters_of(place.kind) == "j":
            return self.contains_any(place, (operand,))
        return self._text("STRINC", slice(1, -1))(place, operand)

    def contains_all(self, place: Place, operands: Any) -> Any:
        found = [_members(column_name(place.stored), (one,)) for one in operands]
        return self._in_lists(place, found)

    def contains_any(self, place: Place, operands: Any) -> Any:
        found = [_members(column_name(place.stored), operands)] if operands else []
        return self._in_lists(place, found)

    def _in_lists(self, place: Place, found: Sequence[Cond | None]) -> Any:
        """Return what finds lists by their members, of which there is an index; Python looks."""
        column = column_name(place.stored)
        if letters_of(place.kind) != "j" or self.indexed.get(column) != "j":
            return NotImplemented
        conds = tuple(cond for cond in found if cond is not None)
        if self.foreign or not conds or len(conds) < len(found):
            return NotImplemented
        return Superset(Search((_merged(conds),), frozenset({column})))

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

    def order_by(self, terms: tuple[Term, ...], descending: bool) -> Any:
        by_key = super().order_by(terms, descending)
        if by_key is not NotImplemented or self.foreign:
            return by_key
        found = engine_order(terms, descending, self.indexed)
        return NotImplemented if found is None else found

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
        opposite = itertools.product(*([cond.opposite for cond in one] for one in part.searches))
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


def _members(column: bytes, members: Sequence[Any]) -> Cond | None:
    """Return the condition that a list in JSON has one of some texts; None if that is not sure.

    Its words are cut at commas: a member is the first of them, the last, both or neither.
    """
    listed = []
    for member in members:
        if not isinstance(member, str):
            return None
        word = _json(member).decode()
        if _BETWEEN_WORDS.search(word) or _STRANGE.search(word):
            return None
        listed += [word, f"[{word}", f"{word}]", f"[{word}]"]
    return Cond(column, "STROR", " ".join(listed).encode())


def _mixed(parts: Sequence[Any]) -> bool:
    return any(isinstance(part, Search) for part in parts) or not all(
        isinstance(part, Keys) for part in parts
    )


def _untyped(conds: Conjunction) -> Conjunction:
    return tuple(cond for cond in conds if cond.column != TYPES or cond.negated)


def _merged(conds: Conjunction) -> Conjunction:
    return tuple(dict.fromkeys(conds))
