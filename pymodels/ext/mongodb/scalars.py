"""Lookups of places with one value: what MongoDB is asked, for each kind of value.

Each function takes the way and the operand and returns a condition in MongoDB's language,
``Superset`` of one, or ``NotImplemented``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

import msgspec
from bson.decimal128 import Decimal128, create_decimal128_context

from pymodels.ext.mongodb.codec import is_naive
from pymodels.ext.mongodb.paths import Way, number_types
from pymodels.ext.mongodb.values import micros
from pymodels.kinds import Choice, Kind
from pymodels.planning import Superset
from pymodels.values import family

Condition: TypeAlias = dict[str, Any]

NOTHING: Final[Condition] = {"_id": {"$in": []}}
_TEXT_FORM: Final = frozenset({"date", "time"})
"""Families that are stored as text, and sort as that text does."""
_SIGNS: Final = {"gt": "$gt", "gte": "$gte", "lt": "$lt", "lte": "$lte"}
_LONGEST: Final = 1000
"""How much text may stand in a regular expression; the server takes some 32 kB of one."""
_DECIMALS: Final = create_decimal128_context()


def nothing(way: Way) -> Condition:
    """Return the condition that is true of no record."""
    return {way.path: {"$in": []}}


def literal(operand: Any, kind: Kind) -> Any:
    """Return a non-null operand as it is stored at a place of *kind*, exactly.

    ``NotImplemented`` if no stored value can be the same, or none whose form is certain.
    """
    found = family(operand)
    if found not in kind.families:
        return NotImplemented
    if found == "number":
        return number(operand, kind)
    if found == "instant":
        return msgspec.to_builtins(operand) if is_naive(kind) else NotImplemented
    if found in ("date", "time", "duration"):
        return msgspec.to_builtins(operand)
    return operand


def number(operand: Any, kind: Kind) -> Any:
    """Return a number of the same value that MongoDB compares exactly with what *kind* holds."""
    if "decimal" in number_types(kind):
        exact = Decimal(operand)
        try:
            as_stored = Decimal128(_DECIMALS.create_decimal(exact))
        except InvalidOperation:
            return NotImplemented
        return as_stored if as_stored.to_decimal() == exact else NotImplemented
    if isinstance(operand, Decimal) and abs(operand) > 2**64:
        whole = False  # int() of an exponent of thousands would take long
    else:
        whole = operand == int(operand)
    if whole and -(2**63) <= operand < 2**63:
        return int(operand)
    try:
        near = float(operand)
    except OverflowError:
        return NotImplemented
    return near if near == operand else NotImplemented


# --- the same -------------------------------------------------------------------------------


def equals(way: Way, operand: Any) -> Any:
    if operand is None:
        return NotImplemented if way.within else {way.path: None}
    kind = way.place.kind
    if _is_moment(kind, operand):
        return _moment_is(way, operand)
    found = literal(operand, kind)
    if found is NotImplemented:
        return nothing(way) if not _may_equal(operand, kind) else NotImplemented
    return {way.path: {"$eq": found}}


def _may_equal(operand: Any, kind: Kind) -> bool:
    """Tell whether an operand without an exact stored form might equal something all the same."""
    if family(operand) not in kind.families:
        return False
    if family(operand) != "number":
        return True
    # Beside Decimals stand floats, some of more digits than a Decimal may have.
    return "decimal" in number_types(kind) and "float" in repr(kind.annotation)


def is_in(way: Way, operands: Any) -> Any:
    if any(operand is None for operand in operands) and way.within:
        return NotImplemented
    moments: list[Condition] = []
    members: list[Any] = []
    for operand in operands:
        if operand is None:
            members.append(None)
            continue
        found = equals(way, operand)
        if found is NotImplemented:
            return NotImplemented
        if "$or" in found or "$and" in found:
            moments.append(found)
        elif "$eq" in found[way.path]:
            members.append(found[way.path]["$eq"])
    among: Condition = {way.path: {"$in": members}}
    if not moments:
        return among
    return {"$or": [*moments, among]} if members else {"$or": moments}


def exists(way: Way, operand: bool) -> Any:
    if way.within and not operand:
        return NotImplemented
    return {way.path: {"$exists": operand}}


# --- instants -------------------------------------------------------------------------------


def _is_moment(kind: Kind, operand: Any) -> bool:
    return type(operand) is datetime and not is_naive(kind)


def _parts(operand: datetime) -> tuple[datetime, int, int]:
    """Return an instant's milliseconds as BSON has them, its microseconds, and the remainder."""
    moment = operand.astimezone(UTC).replace(tzinfo=None)
    full = micros(moment)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000), full, full % 1000


def _has_remainders(way: Way) -> bool:
    return not way.place.inside and not way.within


def _moment_is(way: Way, operand: datetime) -> Any:
    if not _has_remainders(way):
        return NotImplemented
    at, full, remainder = _parts(operand)
    if remainder:
        return {"$and": [{way.path: {"$eq": at}}, {way.micros: {"$eq": full}}]}
    begin, end = full, full + 1000
    return {"$and": [{way.path: {"$eq": at}}, {way.micros: {"$not": {"$gt": begin, "$lt": end}}}]}


def _moment_compared(way: Way, name: str, operand: datetime) -> Any:
    if not _has_remainders(way):
        return NotImplemented
    at, full, remainder = _parts(operand)
    if name in ("gt", "lte"):
        end = full - remainder + 1000
        later: Condition = {
            "$or": [
                {way.path: {"$gt": at}},
                {"$and": [{way.path: {"$eq": at}}, {way.micros: {"$gt": full, "$lt": end}}]},
            ]
        }
        if name == "gt":
            return later
        return {"$and": [{way.path: {"$lte": at}}, {"$nor": [later]}]}
    if not remainder:
        return {way.path: {_SIGNS[name]: at}}
    end = full - remainder + 1000
    same: Condition = {"$and": [{way.path: {"$eq": at}}, {way.micros: {"$gte": full, "$lt": end}}]}
    if name == "gte":
        return {"$or": [{way.path: {"$gt": at}}, same]}
    return {"$and": [{way.path: {"$lte": at}}, {"$nor": [same]}]}


# --- more and less --------------------------------------------------------------------------


def compared(name: str) -> Callable[[Way, Any], Any]:
    """Return the function for one of ``gt``, ``gte``, ``lt``, ``lte``."""

    def answer(way: Way, operand: Any) -> Any:
        if operand is None:
            return nothing(way)
        kind = way.place.kind
        if _is_moment(kind, operand):
            return _moment_compared(way, name, operand)
        found = family(operand)
        if found in ("bytes", "duration"):
            return NotImplemented
        bound = literal(operand, kind)
        if bound is NotImplemented:
            return NotImplemented
        if found == "text" and kind.families & (_TEXT_FORM | {"uuid"}):
            return NotImplemented
        return {way.path: {_SIGNS[name]: bound}}

    return answer


_gte, _lte = compared("gte"), compared("lte")


def between(way: Way, ends: Any) -> Any:
    low, high = _gte(way, ends[0]), _lte(way, ends[1])
    if low is NotImplemented or high is NotImplemented:
        return NotImplemented
    if low.keys() == high.keys() == {way.path}:
        if "$in" in low[way.path] or "$in" in high[way.path]:
            return nothing(way)
        return {way.path: {**low[way.path], **high[way.path]}}
    return {"$and": [low, high]}


# --- text -----------------------------------------------------------------------------------


def pattern(text: str) -> str:
    r"""Return the regular expression that finds *text* literally.

    >>> print(pattern("a.b*"))
    a\.b\*
    """
    return re.sub(r"([^0-9A-Za-z\x80-\U0010ffff])", r"\\\1", text)


def _is_text(kind: Kind) -> bool:
    """Tell whether text here is text, and not the form of something else."""
    return "text" in kind.families and not kind.families & {"date", "time", "duration", "instant"}


def _finding(before: str, after: str) -> Callable[[Way, Any], Any]:
    def answer(way: Way, operand: Any) -> Any:
        if type(operand) is not str or "\0" in operand or not _is_text(way.place.kind):
            return NotImplemented
        if not operand:
            return {way.path: {"$type": "string"}}
        if len(operand) > _LONGEST:
            return NotImplemented
        return {way.path: {"$regex": f"{before}{pattern(operand)}{after}"}}

    return answer


startswith, contains, endswith = _finding("^", ""), _finding("", ""), _finding("", "\\z")


def contains_all(way: Way, operands: Any) -> Any:
    found = [contains(way, operand) for operand in operands]
    if NotImplemented in found or not _is_text(way.place.kind):
        return NotImplemented
    return {"$and": [{way.path: {"$type": "string"}}, *found]}


def contains_any(way: Way, operands: Any) -> Any:
    found = [contains(way, operand) for operand in operands]
    if NotImplemented in found:
        return NotImplemented
    return {"$or": found} if found else nothing(way)


def _folded(before: str, after: str) -> Callable[[Way, Any], Any]:
    """MongoDB and Python agree on the case of ASCII; any other text is left to Python."""

    def answer(way: Way, operand: str) -> Any:
        if not _is_text(way.place.kind) or "\0" in operand or len(operand) > _LONGEST:
            return NotImplemented
        other = {way.path: {"$regex": r"[^\x00-\x7f]"}}
        folded = operand.casefold()
        if not folded.isascii():
            return Superset(other)
        same = {way.path: {"$regex": f"{before}{pattern(folded)}{after}", "$options": "i"}}
        return Superset({"$or": [same, other]})

    return answer


iequals, icontains = _folded("^", "\\z"), _folded("", "")
istartswith, iendswith = _folded("^", ""), _folded("", "\\z")


def matches(way: Way, operand: str) -> Any:
    """Only Python knows its regular expressions, but only text can match one."""
    return Superset({way.path: {"$type": "string"}})


# --- parts of moments -----------------------------------------------------------------------


def year(way: Way, operand: int) -> Any:
    families = way.place.kind.families
    if not 1 <= operand <= 9999:
        return nothing(way)
    if families == {"date"}:
        begin: Any = f"{operand:04}-"
        return {way.path: {"$gte": begin, "$lt": f"{operand:04}."}}
    if families != {"instant"}:
        return NotImplemented
    if is_naive(way.place.kind):
        return {way.path: {"$gte": f"{operand:04}-", "$lt": f"{operand:04}."}}
    if not _has_remainders(way):
        return NotImplemented
    begin = datetime(operand, 1, 1)  # noqa: DTZ001 - BSON's own dates are UTC without a zone
    if operand == 9999:
        return {way.path: {"$gte": begin}}
    return {way.path: {"$gte": begin, "$lt": datetime(operand + 1, 1, 1)}}  # noqa: DTZ001


_PARTS: Final = {
    # the least and the greatest, MongoDB's operator, and where it stands in text
    "month": (1, 12, "$month", 5),
    "day": (1, 31, "$dayOfMonth", 8),
    "hour": (0, 23, "$hour", 11),
    "week_day": (1, 7, "$isoDayOfWeek", None),
}


def part(name: str) -> Callable[[Way, Any], Any]:
    """Return the function for one of ``month``, ``day``, ``hour``, ``week_day``."""
    least, greatest, operator, position = _PARTS[name]

    def answer(way: Way, operand: int) -> Any:
        families = way.place.kind.families
        if not least <= operand <= greatest:
            return nothing(way)
        if families == {"date"} or (families == {"instant"} and is_naive(way.place.kind)):
            if position is None:
                return NotImplemented
            return {way.path: {"$regex": f"^.{{{position}}}{operand:02}"}}
        if families != {"instant"} or not _has_remainders(way):
            return NotImplemented
        path = f"${way.path}"
        same = {"$eq": [{operator: path}, operand]}
        return {"$expr": {"$cond": [{"$eq": [{"$type": path}, "date"]}, same, False]}}

    return answer


def is_choice(kind: Kind) -> bool:
    """Tell whether an enum or literal stands here."""
    return kind.any_inside(Choice)
