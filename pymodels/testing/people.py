"""The models that the storage half of the suite saves and reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pymodels import Field, Key, Model, Related
from pymodels.changes import Put
from pymodels.storage import Storage


class Town(Model):
    """A record with keys that are numbers, and a way back to who refers to it."""

    id: Key[int] = Key(default=None)
    name: Field[str] = Field(default="")
    people: Related[Person] = Related("Person", "town")


@dataclass
class Address:
    """A structure inside a record."""

    street: str
    notes: list[str] = field(default_factory=list)


class Person(Model):
    """A record with something of everything: nothing here is unique."""

    name: Field[str]
    age: Field[int | None] = Field(default=None)
    tags: Field[list[str]] = Field(default_factory=list)
    extra: Field[Any] = Field(default=None)
    address: Field[Address | None] = Field(default=None)
    town: Field[Town | None] = Field(default=None)
    friends: Field[list[Person]] = Field(default_factory=list)
    boss: Field[Person | None] = Field(default=None)
    befriended: Related[Person] = Related("Person", "friends")
    staff: Related[Person] = Related("Person", "boss")


class Device(Model):
    """A record whose keys are UUIDs."""

    id: Key[UUID] = Key(default=None)
    label: Field[str] = Field(default="")


class Setting(Model):
    """A record with defaults that are not None."""

    size: Field[int | None] = Field(default=5)
    colour: Field[str] = Field(default="red")


class Account(Model):
    """A record with a unique field, and with two that are unique together."""

    login: Field[str | None] = Field(default=None, unique=True)
    realm: Field[str | None] = Field(default=None)
    number: Field[int | None] = Field(default=None)
    visits: Field[int] = Field(default=0)

    class Meta:
        """Of each realm, every number is there once."""

        indexes = [{"fields": ("realm", "number"), "unique": True}]


class Visited(Model, collection="account"):
    """The same records as ``Account``, by a model that declares nothing unique."""

    login: Field[Any] = Field(default=None)
    visits: Field[int] = Field(default=0)


def put_raw(storage: Storage, model: type[Model], key: Any, document: dict[str, Any]) -> None:
    """Store a record as somebody else might have: it need not fit the model."""
    stored = storage.codec.from_document(document)
    storage.write([Put(model.__schema__, key, stored)])
