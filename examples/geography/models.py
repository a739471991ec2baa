"""What there is in the world, and how it hangs together."""

from __future__ import annotations

from dataclasses import dataclass

from pymodels import Field, Key, Model, Related


class Continent(Model):
    code: Key[str]
    name: Field[str]
    countries: Related[Country] = Related("Country", "continent")


class Country(Model):
    code: Key[str]
    code3: Field[str] = Field(unique=True)
    name: Field[str]
    population: Field[int]
    area: Field[int] = Field(help="in square kilometres")
    currency: Field[str]
    languages: Field[list[str]]
    continent: Field[Continent]
    neighbours: Field[list[Country]]
    capital: Field[City | None] = Field(default=None)
    capital_name: Field[str] = Field(help="what the source calls it; not every one is a city there")
    cities: Related[City] = Related("City", "country")
    bordered_by: Related[Country] = Related("Country", "neighbours")


@dataclass
class Spelling:
    """A name of a city in some language, and the script that it is written in."""

    text: str
    script: str


class City(Model):
    id: Key[int]
    name: Field[str] = Field(index=True)
    population: Field[int] = Field(index=True)
    country: Field[Country]
    timezone: Field[str]
    latitude: Field[float]
    longitude: Field[float]
    spellings: Field[list[Spelling]]


class Metropolis(City, must_have={"population__gte": 10_000_000}):
    """A view: the same records as ``City``, as far as they are this large."""
