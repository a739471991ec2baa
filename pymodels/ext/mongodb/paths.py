"""Where a place of a model lies in MongoDB's documents, and what it may hold there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from pymodels.ext.mongodb.codec import is_naive, is_scalar
from pymodels.ext.mongodb.values import EXTRA, PREFIX
from pymodels.kinds import Kind, Structured, array_in, is_index
from pymodels.schema import Place
from pymodels.values import ARRAYS

ALL_TYPES: Final = (
    "double",
    "string",
    "object",
    "array",
    "binData",
    "objectId",
    "bool",
    "date",
    "regex",
    "javascript",
    "int",
    "timestamp",
    "long",
    "decimal",
    "minKey",
    "maxKey",
)
"""Every type of BSON that a server still writes, but null."""

_AS_TEXT: Final = ("string", "decimal", "binData", "objectId", "javascript", "regex")
"""What reads as text, at least where the declared type is text."""

_FITTING: Final = {
    "bool": ("bool",),
    "text": (*_AS_TEXT, "minKey", "maxKey"),
    "bytes": ("binData",),
    "uuid": ("binData", "string"),
    "date": ("string",),
    "time": ("string",),
    "duration": ("string",),
    "objectid": ("objectId",),
}


_PYTHON: Final[dict[str, tuple[type, ...]]] = {
    "double": (float,),
    "string": (str,),
    "binData": (bytes, UUID),
    "bool": (bool,),
    "date": (datetime,),
    "int": (int,),
    "long": (int, Int64),
    "decimal": (Decimal128,),
    "objectId": (ObjectId,),
}


def python_types(fits: tuple[str, ...]) -> frozenset[type]:
    """Return the types that the driver reads values of some BSON types as, null included."""
    return frozenset({type(None), *(one for name in fits for one in _PYTHON.get(name, ()))})


@dataclass(frozen=True, slots=True)
class Way:
    """A place that MongoDB can be asked about.

    ``path`` is MongoDB's own dotted path. ``within`` is the path of the list on the way, if there
    is one, and ``path`` then begins at its members. ``fits`` are the BSON types that can stand
    there, none where nothing is declared.
    """

    place: Place
    path: str
    within: str = ""
    fits: tuple[str, ...] = ()

    @property
    def is_checked(self) -> bool:
        """Whether Python reads the field as its declared type, and refuses what does not fit."""
        return bool(self.fits) and not self.within and not self.place.root.any_inside(Structured)

    @property
    def micros(self) -> str:
        """The path of the microseconds that stand beside a date at the top of a record."""
        return f"{EXTRA}.us.{self.path}"


def is_plain(name: str) -> bool:
    """Tell whether MongoDB takes a name in a path, and takes it as nothing else.

    >>> is_plain("city"), is_plain("a.b"), is_plain("$gt")
    (True, False, False)
    """
    return bool(name) and not (
        name.startswith(("$", PREFIX)) or "." in name or "\0" in name or "\ufdd0" in name
    )


def is_known(stored: str) -> bool:
    """Tell whether a top-level name is one of the record's own that a path can name."""
    return is_plain(stored) and stored not in ("_id", EXTRA)


def way_to(place: Place) -> Way | None:
    """Return the way to *place*, or None if only Python finds it."""
    if place.is_key:
        return Way(place, "_id")
    names = (place.stored, *place.inside)
    if not is_known(place.stored) or not all(map(is_plain, place.inside)):
        return None
    if place.field is None or place.root.is_open:
        return Way(place, place.stored) if not place.inside else None
    kind: Kind | None = place.root
    for position, part in enumerate(place.inside):
        if kind is None or kind.is_open:
            return None
        if kind.families & ARRAYS:
            array = array_in(kind)
            if is_index(part) or len(kind.families) > 1 or array is None:
                return None
            rest = _through(array.item, place.inside[position:])
            if rest is None or not is_scalar(place.kind):
                return None
            listed = ".".join(names[: position + 1])
            return Way(place, ".".join(names[position + 1 :]), listed, _fits(place.kind))
        kind = kind.child(part)
    if kind is None or kind.is_open:
        return None
    return Way(place, ".".join(names), fits=_fits(place.kind))


def _through(kind: Kind | None, parts: tuple[str, ...]) -> Kind | None:
    """Return the kind at the end of the way, None if another list lies on it."""
    for part in parts:
        if kind is None or kind.is_open or kind.families & ARRAYS:
            return None
        kind = kind.child(part)
    return kind


def _fits(kind: Kind) -> tuple[str, ...]:
    if not is_scalar(kind):
        return ()
    found: list[str] = []
    for family in sorted(kind.families):
        if family == "number":
            found += number_types(kind)
        elif family == "instant":
            found.append("string" if is_naive(kind) else "date")
        else:
            found += _FITTING[family]
    return tuple(dict.fromkeys(found))


def number_types(kind: Kind) -> tuple[str, ...]:
    """Return the BSON types of the numbers that a declared type can hold."""
    declared = repr(kind.annotation)
    if "Decimal" in declared:
        return ("int", "long", "double", "decimal", "string")
    return ("int", "long", "double") if "float" in declared else ("int", "long")
