"""The records that the suite asks about: every kind of value, declared, open and undeclared.

``samples()`` makes them, ``load`` puts them into a storage, and ``expected.py`` keeps the same
records for itself, to know what the answers ought to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal, TypedDict
from uuid import UUID

import msgspec

from pymodels import Field, Key, Model
from pymodels.changes import Patch
from pymodels.storage import Storage
from pymodels.testing import pools


class Colour(Enum):
    """An enum that is stored as text."""

    RED = "red"
    GREEN = "green"
    ODD = "%"


class Grade(Enum):
    """An enum that is stored as ints."""

    LOW = 1
    HIGH = 2


@dataclass
class Point:
    """A structure, as a dataclass."""

    x: int
    name: str = ""


class Span(msgspec.Struct):
    """A structure with members that hold more than plain JSON can tell."""

    start: date
    price: Decimal | None = None
    tags: list[str] = []


class Loose(TypedDict, total=False):
    """A structure of which any member may be absent."""

    a: int
    b: str | None


class Friend(Model):
    """What a sample refers to."""

    name: Field[str]


class Sample(Model):
    """One field of every kind, and open places; most of it may be null."""

    flag: Field[bool | None] = Field(default=None)
    whole: Field[int | None] = Field(default=None)
    real: Field[float | None] = Field(default=None)
    exact: Field[Decimal | None] = Field(default=None)
    number: Field[int | float | None] = Field(default=None)
    text: Field[str | None] = Field(default=None)
    data: Field[bytes | None] = Field(default=None)
    instant: Field[datetime | None] = Field(default=None)
    local: Field[datetime | None] = Field(default=None, naive=True)
    day: Field[date | None] = Field(default=None)
    clock: Field[time | None] = Field(default=None)
    length: Field[timedelta | None] = Field(default=None)
    uid: Field[UUID | None] = Field(default=None)
    colour: Field[Colour | None] = Field(default=None)
    grade: Field[Grade | None] = Field(default=None)
    word: Field[Literal["a", "b", 1] | None] = Field(default=None)
    either: Field[int | str | None] = Field(default=None)
    strings: Field[list[str] | None] = Field(default=None)
    numbers: Field[list[int | None]] = Field(default_factory=list)
    days: Field[list[date] | None] = Field(default=None)
    unique: Field[set[int] | None] = Field(default=None)
    pair: Field[tuple[int, str] | None] = Field(default=None)
    row: Field[tuple[str, ...] | None] = Field(default=None)
    counts: Field[dict[str, int] | None] = Field(default=None)
    point: Field[Point | None] = Field(default=None)
    points: Field[list[Point] | None] = Field(default=None)
    span: Field[Span | None] = Field(default=None)
    spans: Field[dict[str, Span] | None] = Field(default=None)
    loose: Field[Loose | None] = Field(default=None)
    friend: Field[Friend | None] = Field(default=None)
    friends: Field[list[Friend]] = Field(default_factory=list)
    defaulted: Field[int] = Field(default=7)
    renamed: Field[str | None] = Field(default=None, name="stored$as.this")
    anything: Field[Any] = Field(default=None)
    bag: Field[dict[str, Any] | None] = Field(default=None)
    members: Field[list[Any] | None] = Field(default=None)
    mark: Field[int] = Field(default=0)


class Wider(Sample):
    """What samples hold besides, unknown to ``Sample``."""

    hidden: Field[Any] = Field(default=None)
    price: Field[Decimal | None] = Field(default=None)
    since: Field[date | None] = Field(default=None)


class Numbered(Model):
    """A record with a key that is a number."""

    id: Key[int]
    twin: Field[int] = Field(default=0)


class Identified(Model):
    """A record with a key that is a UUID."""

    id: Key[UUID]
    twin: Field[UUID | None] = Field(default=None)


NUMBERED_KEYS: Final = (*pools.INTS, 3, -2, 255, 256, -256, 2**31, 2**32)
KEYS: Final = tuple(text for text in pools.TEXTS if text)
"""Text keys that an engine might sort, fold or cut in its own way."""

DECLARED: Final[Mapping[str, tuple[Any, ...]]] = {
    "flag": pools.FLAGS,
    "whole": pools.INTS,
    "real": pools.FLOATS,
    "exact": pools.DECIMALS,
    "number": (*pools.INTS, *pools.FLOATS),
    "text": pools.TEXTS,
    "data": pools.BYTES,
    "instant": pools.INSTANTS,
    "local": pools.LOCALS,
    "day": pools.DATES,
    "clock": pools.TIMES,
    "length": pools.DURATIONS,
    "uid": pools.UUIDS,
    "colour": tuple(Colour),
    "grade": tuple(Grade),
    "word": ("a", "b", 1),
    "either": (1, "1", 0, "", 2**53 + 1, "a"),
    "strings": ([], ["a"], ["A"], ["a", "b"], ["b", "a"], ["%", ".*", ""], ["é", "ss"]),
    "numbers": ([], [1], [None], [1, None, 2**53 + 1], [2, 1], [1, 2]),
    "days": ([], [pools.DATES[2]], list(pools.DATES)),
    "unique": (set(), {1}, {1, 2}, {2**53, 2**53 + 1}),
    "pair": ((1, "a"), (1, "A"), (2**53 + 1, ""), (2**53, "")),
    "row": ((), ("a",), ("a", "b"), ("b", "a")),
    "counts": ({}, {"a": 1}, {"b": 1, "a": 2}, {"a.b": 1}, {"a__b": 2}, {"$gt": 1}, {"0": 1}),
    "point": (Point(1, "a"), Point(1, "A"), Point(2**53 + 1), Point(0, "%")),
    "points": ([], [Point(1)], [Point(1, "a"), Point(2, "b")], [Point(2, "a"), Point(1)]),
    "span": (
        Span(pools.DATES[2]),
        Span(pools.DATES[3], pools.DECIMALS[3], ["a"]),
        Span(pools.DATES[0], pools.DECIMALS[7], ["a", "b"]),
    ),
    "spans": ({}, {"a": Span(pools.DATES[2])}, {"b.c": Span(pools.DATES[3], pools.DECIMALS[3])}),
    "loose": ({}, {"a": 1}, {"b": None}, {"a": 2, "b": "x"}),
    "friend": ("f1", "f2", "F1"),
    "friends": ([], ["f1"], ["f1", "f2"], ["f2", "f1"]),
    "defaulted": (7, 0, 8),
    "renamed": ("a", "", "%", "é"),
    "anything": pools.ANYTHING,
    "bag": tuple({"x": value, "a.b": {"y": value}} for value in pools.ANYTHING),
    "members": tuple(
        [{"x": value}, [{"x": other}], other]
        for value, other in zip(pools.ANYTHING, pools.ANYTHING[5:] + pools.ANYTHING, strict=False)
    ),
    "hidden": pools.ANYTHING,
    "price": pools.DECIMALS,
    "since": pools.DATES,
}
"""What the fields of the samples hold, each in turn."""

_NEVER_NULL: Final = frozenset({"numbers", "friends", "defaulted"})


@dataclass(frozen=True)
class Made:
    """One sample to be saved: its key, its fields, and which of them it then loses."""

    key: str
    values: Mapping[str, Any]
    absent: frozenset[str]

    def instance(self) -> Wider:
        """Return the record as a new instance."""
        return Wider(pk=self.key, **self.values)

    @property
    def unset(self) -> frozenset[tuple[str, ...]]:
        """Return the stored places that are to be absent."""
        fields = Wider.__schema__.fields
        return frozenset((fields[name].stored,) for name in self.absent)


def samples(*, nul: bool) -> Iterator[Made]:
    """Make the records: each field goes through its pool at a pace of its own.

    Every field is null in some records and absent in others.

    Args:
        nul: whether text with the character NUL is among them.
    """
    pool_of = dict(DECLARED)
    more = pools.WITH_NUL if nul else ()
    pool_of["text"] = (*pools.TEXTS, *more)
    pool_of["anything"] = (*more, *pools.ANYTHING)
    keys = _keys(len(pools.ANYTHING) + len(more))
    for number, key in enumerate(keys):
        values: dict[str, Any] = {}
        absent = set()
        for column, (name, pool) in enumerate(pool_of.items()):
            turn = (number * 5 + column * 3) % 13
            if turn == 0 and name != "anything":
                absent.add(name)
            elif turn == 1 and name not in _NEVER_NULL and name != "anything":
                values[name] = None
            else:
                values[name] = pool[(number + column * 7) % len(pool)]
        yield Made(key, values, frozenset(absent))
    yield Made("nothing", {}, frozenset(DECLARED))


def _keys(count: int) -> Sequence[str]:
    return [*KEYS, *(f"k{number:03}" for number in range(count - len(KEYS)))]


def load(storage: Storage) -> None:
    """Put all records into an empty storage, and make absent what has to be."""
    made = list(samples(nul="nul" in storage.capabilities))
    storage.save_all([Friend(pk=key, name=key) for key in DECLARED["friend"]])
    storage.save_all([one.instance() for one in made])
    storage.write([Patch(Wider.__schema__, one.key, unset=one.unset) for one in made if one.absent])
    storage.save_all([Numbered(id=key, twin=key) for key in NUMBERED_KEYS])
    storage.save_all([Identified(id=key, twin=key) for key in pools.UUIDS])
