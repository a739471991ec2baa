"""What type checkers know of models: nothing here is run, and neither checker may complain.

``tests/test_typing.py`` runs mypy and pyright over this file, and over ``mistakes.txt``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, assert_type
from uuid import UUID

from pymodels import Field, Key, Model, Path, Related
from pymodels.conditions import Condition
from pymodels.query import Query


class Country(Model):
    id: Key[int]
    name: Field[str]
    people: Related[Person] = Related("Person", "country")


class Person(Model):
    name: Field[str]
    age: Field[int | None] = Field(default=None, index=True)
    country: Field[Country | None] = Field(default=None)
    friends: Field[list[Person]] = Field(default_factory=list)
    tags: Field[list[str]] = Field(default=[])
    mood: Field[Literal["good", "bad"]] = Field(default="good", choices=["good", "bad"])
    born: Field[datetime | None] = Field(default=None, naive=True)
    extra: Field[Any] = Field(default=None)
    score: Field[float] = Field(default=0)


class Named(Person, must_have={"name__exists": True}):
    nick: Field[str] = Field(default="")


class Famous(Named, must_have=[Person.age > 17], label="Celebrity"):
    level: Field[int] = Field(default=1)


class Dated(Model, abstract=True):
    created: Field[datetime]


class Labelled(Model, abstract=True):
    label_text: Field[str] = Field(default="")


class Event(Dated, Labelled, collection="events", indexes=["created", ("created", "title")]):
    id: Key[UUID] = Key(default=None)
    title: Field[str]


class Plain(Model):
    text: str
    count: int = 0


def constructors(country: Country, when: datetime) -> None:
    assert_type(Country(id=1, name="France"), Country)
    assert_type(Person(name="Ann"), Person)
    Person(name="Ann", pk="ann", age=30, country=country, friends=[Person(name="Bob")])
    Person(name="Ann", country=Country.reference(7))
    Famous(name="Ann", nick="A", level=3, age=20)
    Event(title="Start", created=when)
    Event(title="Start", created=when, id=UUID(int=7), label_text="x")
    assert_type(Plain(text="x").count, int)
    assert_type(Person.from_dict({"name": "Ann"}), Person)


def attributes(person: Person, country: Country, famous: Famous, event: Event) -> None:
    assert_type(person.name, str)
    assert_type(person.age, int | None)
    assert_type(person.country, Country | None)
    assert_type(person.friends, list[Person])
    assert_type(person.tags, list[str])
    assert_type(person.mood, Literal["good", "bad"])
    assert_type(person.extra, Any)
    assert_type(country.id, int)
    assert_type(country.people, Query[Person])
    assert_type(country.people.all(), list[Person])
    assert_type(famous.age, int | None)
    assert_type(famous.level, int)
    assert_type(event.id, UUID)
    assert_type(event.created, datetime)
    person.age = None
    person.age = 31
    person.country = country
    person.score = 3
    person.tags.append("tall")


def paths() -> None:
    assert_type(Person.age, Path[int | None])
    assert_type(Famous.age, Path[int | None])
    assert_type(Famous.level, Path[int])
    assert_type(Country.id, Path[int])
    assert_type(Event.created, Path[datetime])
    assert_type(Person.tags[0], Path[Any])
    assert_type(Path("anything"), Path[Any])
    assert_type(Country.people, Related[Person])
    old: Condition = Person.age > 30
    ann: Condition = Person.name == "Ann"
    nobody: Condition = Person.country == None  # noqa: E711  # a condition, not a comparison
    both: Condition = old & ~ann | nobody | Person.name.startswith("A")
    several: Condition = Famous.level.between(1, 5) & Person.name.in_(["Ann", "Bob"])
    del both, several


def records(person: Person, famous: Famous) -> None:
    assert_type(person.save(), Person)
    assert_type(famous.save(), Famous)
    assert_type(famous.save_as("other"), Famous)
    assert_type(famous.refresh(), Famous)
    assert_type(person.convert_to(Famous), Famous)
    assert_type(person.convert_to(Famous, {"level": 2}), Famous)
    assert_type(person.to_dict(), dict[str, Any])
    assert_type(person.changes(), dict[str, tuple[Any, Any]])
    assert_type(person.is_changed, bool)


def declared_in_a_function() -> None:
    class Node(Model):
        value: Field[int]
        parent: Field[Node | None] = Field(default=None)

    assert_type(Node(value=1).parent, Node | None)
    assert_type(Node.value, Path[int])
