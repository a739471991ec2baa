"""What type checkers know of queries and storages; see ``models.py``."""

from __future__ import annotations

from typing import Any, assert_type

from pymodels import F, Field, Model, Related, get_storage
from pymodels.query import Query
from pymodels.storage import Storage


class Person(Model):
    name: Field[str]
    age: Field[int | None] = Field(default=None)
    visits: Field[int] = Field(default=0)


class Town(Model):
    people: Related[Resident] = Related("Resident", "town")


class Resident(Model):
    town: Field[Town | None] = Field(default=None, on_delete="cascade")


class Adult(Person, must_have={"age__gte": 18}):
    job: Field[str] = Field(default="")


class Guest(Adult):
    room: Field[int] = Field(default=1)


def storages() -> None:
    storage = get_storage("pymodels.ext.memory")
    assert_type(storage, Storage)
    assert_type(storage.get(Person, "ann"), Person)
    assert_type(storage.get(Person, "ann", None), Person | None)
    assert_type(storage.get_many(Guest, ["ann"]), dict[Any, Guest])
    assert_type(storage.save_all([Person(name="Ann"), Guest(name="Bob")]), int)
    with get_storage({"backend": "pymodels.ext.memory"}) as other, other.transaction():
        assert_type(Person.objects(other).count(), int)
    assert_type(Person.objects(lambda: storage), Query[Person])


def chains(storage: Storage) -> None:
    people = Person.objects(storage)
    assert_type(people, Query[Person])
    assert_type(people.where(Person.age > 30, name__startswith="A"), Query[Person])
    assert_type(people.where_not(age=3).order_by("-age", Person.name), Query[Person])
    assert_type(people.reverse().unordered(), Query[Person])
    assert_type(people & people | people, Query[Person])
    assert_type(people - people, Query[Person])
    residents = Resident.objects(storage)
    assert_type(residents.prefetch("town", Resident.town, Town.people), Query[Resident])
    assert_type(people[:10], Query[Person])
    assert_type(Guest.objects(storage)[2:], Query[Guest])


def answers(storage: Storage) -> None:
    people = Person.objects(storage)
    assert_type(people.all(), list[Person])
    assert_type(people.get("ann"), Person)
    assert_type(people.get(name="Ann"), Person)
    assert_type(people.first(), Person)
    assert_type(people.last(), Person)
    assert_type(people[0], Person)
    assert_type([person for person in people], list[Person])  # noqa: C416  # iteration is tested
    assert_type(people.in_bulk(["ann"]), dict[Any, Person])
    assert_type(people.get_or_create({"age": 3}, name="Ann"), tuple[Person, bool])
    assert_type(people.count(), int)
    assert_type(people.exists(), bool)
    assert_type(people.update(visits=F("visits") + 1), int)
    assert_type(people.update(tags=F("tags").append("x").remove("y").add_to_set("z")), int)
    assert_type(people.delete(), int)
    assert_type(people.group_by("age").count(), list[tuple[Any, ...]])
    assert_type(Guest.objects(storage).first().job, str)
    for guest in Guest.objects(storage).where(Guest.room == 3, Person.age < 99):
        assert_type(guest.room, int)
