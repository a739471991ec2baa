"""A dozen questions and more about the world, each a function of the storage to ask.

The demonstration shows the body of each function beside its answer: what is shown is what ran.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from examples.geography.models import City, Continent, Country, Metropolis
from pymodels import F
from pymodels.explanation import Explanation
from pymodels.storage import Storage

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Question:
    title: str
    columns: tuple[str, ...]
    ask: Callable[[Storage], Rows]
    needs: frozenset[str] = frozenset()
    """What a storage must be able to do, to be asked."""


QUESTIONS: list[Question] = []


def question(
    title: str, *columns: str, needs: Iterable[str] = ()
) -> Callable[[Callable[[Storage], Rows]], Callable[[Storage], Rows]]:
    """Add the decorated function to ``QUESTIONS``."""

    def add(ask: Callable[[Storage], Rows]) -> Callable[[Storage], Rows]:
        QUESTIONS.append(Question(title, columns, ask, frozenset(needs)))
        return ask

    return add


# --- records and their relations ------------------------------------------------------------


@question("Countries of a continent, by population", "country", "population", "km²")
def countries_of_europe(world: Storage) -> Rows:
    europe = Continent.objects(world).get("EU")
    found = Country.objects(world).where(Country.continent == europe).order_by("-population")
    return list(found[:6].select("name", "population", "area"))


@question("A backward relation: the cities of a country", "city", "population")
def largest_cities_of_japan(world: Storage) -> Rows:
    japan = Country.objects(world).get(code3="JPN")
    return [(city.name, city.population) for city in japan.cities.order_by("-population")[:6]]


@question("References: capitals of the largest countries", "country", "capital", "time zone")
def capitals(world: Storage) -> Rows:
    found = Country.objects(world).where_not(capital=None).order_by("-area")[:6]
    return [
        (country.name, country.capital.name, country.capital.timezone)
        for country in found
        if country.capital is not None
    ]


@question("A list of references: the neighbours of a country", "neighbour", "continent")
def neighbours_of_egypt_and_turkey(world: Storage) -> Rows:
    return [
        (neighbour.name, neighbour.continent.name)
        for key in ("EG", "TR")
        for neighbour in Country.objects(world).get(key).neighbours
    ]


@question("The way back from a list: between Germany and Italy", "country", "languages")
def between_germany_and_italy(world: Storage) -> Rows:
    germany, italy = Country.objects(world).in_bulk(["DE", "IT"]).values()
    found = germany.bordered_by & italy.bordered_by
    return [(country.name, ", ".join(country.languages)) for country in found]


# --- conditions -----------------------------------------------------------------------------


@question("Cities whose name contains ...", "city", "country", "population")
def name_contains(world: Storage) -> Rows:
    found = City.objects(world).where(name__icontains="springs").order_by("-population")
    return [(city.name, city.country.name, city.population) for city in found[:5]]


@question("... or any of whose other names does, in any script", "city", "spellings")
def in_cyrillic(world: Storage) -> Rows:
    found = City.objects(world).where(spellings__text__icontains="БУРГ").order_by("-population")
    return [
        (city.name, ", ".join(one.text for one in city.spellings if "БУРГ" in one.text.upper()))
        for city in found[:6]
    ]


@question("... or begins with ...", "city", "country", "spellings")
def begins_with_east(world: Storage) -> Rows:
    found = City.objects(world).where(City.spellings["text"].startswith("東"))
    return [
        (
            city.name,
            city.key_of("country"),
            ", ".join(one.text for one in city.spellings if one.text.startswith("東")),
        )
        for city in found.order_by("-population")[:6]
    ]


@question("Or: farthest north, or farthest south", "city", "latitude", "longitude")
def farthest_north_or_south(world: Storage) -> Rows:
    found = City.objects(world).where((City.latitude > 69.5) | (City.latitude < -53))
    return list(found.order_by("-latitude").select("name", "latitude", "longitude"))


@question("Not: large countries of Europe without the euro", "country", "currency")
def europe_without_euro(world: Storage) -> Rows:
    found = Country.objects(world).where(continent="EU", population__gt=9_000_000)
    return list(found.where_not(currency="EUR").order_by("name").select("name", "currency"))


@question("A query in a query: large cities on islands", "city", "population")
def large_cities_of_islands(world: Storage) -> Rows:
    islands = Country.objects(world).where(neighbours__size=0)
    found = City.objects(world).where(City.population > 4_000_000, country__in=islands)
    return list(found.order_by("-population").select("name", "population"))


@question("A view: a model of some of the records", "city", "country", "scripts of its names")
def metropolises(world: Storage) -> Rows:
    found = Metropolis.objects(world).order_by("-population")[:5]
    return [
        (city.name, city.country.name, len({spelling.script for spelling in city.spellings}))
        for city in found
    ]


# --- pages, values, groups ------------------------------------------------------------------


@question("A page: cities of India, the 21st to the 26th", "city", "population")
def third_page(world: Storage) -> Rows:
    india = City.objects(world).where(country="IN").order_by("-population", "name")
    return list(india[20:26].select("name", "population"))


@question("Distinct values: the currencies of South America", "currency")
def currencies(world: Storage) -> Rows:
    south_america = Country.objects(world).where(continent="SA")
    return [(currency,) for currency in south_america.values("currency")]


@question("Groups and sums: the people of each continent", "continent", "people")
def people_by_continent(world: Storage) -> Rows:
    names = dict(Continent.objects(world).select("code", "name"))
    groups = Country.objects(world).group_by("continent").sum("population")
    return [(names[code], people) for code, people in groups]


@question("Groups and counts: the time zones of Argentina", "time zone", "cities")
def time_zones_of_argentina(world: Storage) -> Rows:
    found = City.objects(world).where(timezone__startswith="America/Argentina/")
    return found.group_by("timezone").count()


# --- changes --------------------------------------------------------------------------------


@question(
    "A change in a transaction, rolled back",
    "when",
    "people in cities of Iceland",
    needs=["transactions"],
)
def double_and_undo(world: Storage) -> Rows:
    iceland = City.objects(world).where(country="IS")
    before = iceland.sum("population")
    with world.transaction() as transaction:
        iceland.update(population=F("population") * 2)
        inside = iceland.sum("population")
        transaction.rollback()
    return [("before", before), ("inside", inside), ("after", iceland.sum("population"))]


# --- how a query is answered ----------------------------------------------------------------


def explained(world: Storage) -> Explanation:
    found = City.objects(world).where(City.id < 300_000, City.name.istartswith("al "))
    return found.order_by("-population")[:5].explain()
