"""The models that the tests of Tokyo Tyrant share."""

from __future__ import annotations

from pymodels import (
    Field,
    Key,
    Model,
)


class Country(Model):
    name: Field[str] = Field(unique=True)


class Person(Model):
    name: Field[str] = Field(index=True)
    age: Field[int | None] = Field(default=None, index=True)
    country: Field[Country | None] = Field(default=None)


class Account(Model):
    id: Key[int]
    login: Field[str | None] = Field(default=None, unique=True)
    visits: Field[int] = Field(default=0)
