"""What is stored in the benchmarks: people with nine fields, made up, the same each time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from pymodels import Field, Model

Row: TypeAlias = tuple[str, dict[str, Any]]
"""A key, and the nine values to be stored under it."""


class Person(Model):
    """The record as users of the library write it."""

    name: Field[str]
    email: Field[str | None]
    age: Field[int] = Field(index=True)
    city: Field[str] = Field(index=True)
    score: Field[float]
    active: Field[bool]
    joined: Field[datetime]
    tags: Field[list[str]]
    note: Field[str]


class InColumns(Person, collection="person"):
    """The same records, four fields of which are kept in columns as well."""

    class Meta:
        """The fields that are searched or sorted by without an index, and those of the sums."""

        indexes = tuple(
            {"fields": name, "kind": "column"} for name in ("note", "score", "city", "age")
        )


class Parcel(Model):
    """A record with indexes that `Person` lacks, whose queries are only planned."""

    number: Field[int] = Field(unique=True)
    town: Field[str]
    weight: Field[int]
    stamps: Field[list[str]] = Field(index=True)
    place: Field[dict[str, str]]

    class Meta:
        """An index of two fields, and one of a path."""

        indexes = (("town", "weight"), "place__shelf")


class Letter(Model):
    """A record with the kinds of indexes that the others lack, whose queries are only planned."""

    sender: Field[str] = Field(index="caseless")
    text: Field[str] = Field(index="trigram")
    number: Field[int] = Field(index=True)
    town: Field[str] = Field(index=True)
    price: Field[float] = Field(index=True)
    weight: Field[float] = Field(index="column")
    state: Field[str]
    day: Field[int]

    class Meta:
        """An index of some records, and one of two fields that could do as well."""

        indexes = ({"fields": "day", "where": {"state": "lost"}}, ("state", "day"))


def make_letters(count: int) -> list[Letter]:
    """Return letters, a twentieth of them to each of twenty towns, and a fifth of them lost."""
    return [
        Letter(
            sender=f"Sender {number % 50}",
            text=f"many thanks for letter no. {number}",
            number=number % 100,
            town=f"town {number % 20}",
            price=number * 37 % count / 4,
            weight=number * 11 % count / 8,
            state="there" if number % 5 else "lost",
            day=number % 90,
        )
        for number in range(count)
    ]


def make_parcels(count: int) -> list[Parcel]:
    """Return parcels, a fifth of them in each of five towns."""
    return [
        Parcel(
            number=number,
            town=f"town {number % 5}",
            weight=number,
            stamps=[f"s{number % 3}", f"s{number % 4}"],
            place={"shelf": str(number % 20)},
        )
        for number in range(count)
    ]


class RawPerson(msgspec.Struct):
    """The same for those who work with a driver by hand."""

    name: str
    email: str | None
    age: int
    city: str
    score: float
    active: bool
    joined: datetime
    tags: list[str]
    note: str


FIELDS = RawPerson.__struct_fields__
AGES = 1_000
"""Ages are in months, from 0 on, each about as often as any other."""

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_TEXT = "A few words about this person, as a record often has them. "


def city(number: int) -> str:
    return f"City {number:04}"


def make_rows(count: int, *, start: int = 0, cities: int | None = None) -> list[Row]:
    """Return rows with ascending keys, one note in fifty of them rare.

    There are as many *cities*, by default so many that a hundred people live in each.
    """
    chance = random.Random(start)
    cities = cities or max(1, count // 100)
    return [
        (f"{number:012d}", _values(number, cities, chance))
        for number in range(start, start + count)
    ]


def _values(number: int, cities: int, chance: random.Random) -> dict[str, Any]:
    return {
        "name": f"Person {number}",
        "email": f"person{number}@example.org" if number % 5 else None,
        "age": chance.randrange(AGES),
        "city": city(number % cities),
        "score": chance.random(),
        "active": number % 2 == 0,
        "joined": _EPOCH + timedelta(seconds=chance.randrange(10**8), microseconds=number % 1000),
        "tags": chance.sample(("red", "green", "blue", "old", "new"), k=chance.randrange(4)),
        "note": _TEXT * (number % 3) + ("with a needle in it" if number % 50 == 7 else ""),
    }
