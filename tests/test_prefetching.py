"""``prefetch``: pages, memory, refusals, and the example that the documentation begins with.

That it gives the same answers with fewer reads is in the conformance suite.
"""

import copy
import pickle
import weakref

import pytest

from pymodels import (
    Field,
    Key,
    Model,
    Path,
    QueryError,
    Related,
    ScanRefused,
    UnknownField,
    UsageError,
    get_storage,
)
from pymodels.prefetching import PAGE
from pymodels.testing.prefetching import Reads
from tests.complaints import complaint


class Continent(Model):
    name: Field[str] = ""
    countries: Related["Country"] = Related("Country", "continent")


class Country(Model):
    name: Field[str] = ""
    continent: Field[Continent | None] = None
    cities: Related["City"] = Related("City", "country")


class City(Model):
    id: Key[int]
    country: Field[Country | None] = None


class Capital(City, must_have={"capital": True}):
    pass


@pytest.fixture(params=["memory", "lmdb"])
def storage(request, tmp_path):
    settings = {"path": tmp_path / "records.lmdb"} if request.param == "lmdb" else {}
    with get_storage(f"pymodels.ext.{request.param}", **settings) as storage:
        yield storage


@pytest.fixture
def world(storage):
    storage.save_all([Continent(pk="eu", name="Europe"), Continent(pk="as", name="Asia")])
    storage.save_all(
        Country(pk=key, name=key, continent=continent)
        for key, continent in (("fr", "eu"), ("de", "eu"), ("jp", "as"))
    )
    storage.save_all(City(id=n, country=("fr", "jp", None)[n % 3]) for n in range(6))
    return storage


def test_a_relation_of_another_model_is_loaded_where_that_is_reached(world):
    cities = City.objects(world)
    reads = Reads(world)
    query = cities.prefetch("country", "country__continent", Continent.countries)
    found = query.all()
    assert reads.count == 4  # the cities, their countries, the continents, their countries
    assert [city.country and city.country.continent.name for city in found] == [
        "Europe", "Asia", None, "Europe", "Asia", None,
    ]  # fmt: skip
    assert [one.pk for one in found[0].country.continent.countries] == ["de", "fr"]
    assert reads.count == 4
    again = cities.prefetch(Continent.countries, City.country, Country.continent).all()
    assert [one.pk for one in again[1].country.continent.countries] == ["jp"]
    assert reads.count == 8
    assert "with country, country__continent, countries" in str(query)


def test_paths_and_attributes_name_relations_too(world):
    for given in (City.country, City.country["continent"], Path("country", "continent")):
        assert City.objects(world).prefetch(given).first().country.name == "fr"
    (europe,) = Continent.objects(world).where(name="Europe").prefetch("countries__cities")
    reads = Reads(world)
    assert [[city.id for city in one.cities] for one in europe.countries] == [[], [0, 3]]
    assert europe.countries[1].cities[0].country is europe.countries[1]
    assert reads.count == 0


def test_calls_add_up_and_queries_do_not_change(world):
    plain = City.objects(world)
    one = plain.prefetch("country")
    both = one.prefetch("country__continent")
    reads = Reads(world)
    assert both.first().country.continent.name == "Europe"
    assert reads.count == 3
    assert one.first().country.name == "fr"
    assert reads.count == 5
    plain.first()
    assert reads.count == 6


def test_a_view_and_what_refers_to_a_view(world):
    world.save_all([Capital(id=100, country="fr"), Capital(id=101, country="jp")])
    reads = Reads(world)
    capitals = Capital.objects(world).prefetch(City.country).all()
    assert [one.country.name for one in capitals] == ["fr", "jp"]
    assert reads.count == 2


# --- pages ----------------------------------------------------------------------------------


@pytest.fixture
def many(storage):
    countries = [Country(pk=f"{n:04}", name=f"N{n}") for n in range(3 * PAGE + 10)]
    storage.save_all(countries)
    storage.save_all(City(id=n, country=f"{n:04}") for n in range(3 * PAGE + 10))
    return storage


def test_each_page_is_one_read_of_each_relation(many):
    reads = Reads(many)
    assert [city.country.name for city in City.objects(many).prefetch("country")] == [
        f"N{n}" for n in range(3 * PAGE + 10)
    ]
    assert reads.count == 1 + 4
    reads.count = 0
    assert sum(one.cities.count() for one in Country.objects(many).prefetch("cities")) == (
        3 * PAGE + 10
    )
    assert reads.count == 1 + 4


def test_an_iteration_holds_one_page(many):
    seen, most = [], 0
    for city in City.objects(many).prefetch("country"):
        seen.append(weakref.ref(city.country))
        if len(seen) % 100 == 0:
            most = max(most, sum(one() is not None for one in seen))
    assert len(seen) == 3 * PAGE + 10
    assert 100 <= most <= PAGE + 1


def test_the_next_page_is_read_when_it_is_needed(many):
    reads = Reads(many)
    cities = iter(City.objects(many).prefetch("country"))
    assert reads.count == 0
    assert next(cities).id == 0
    assert reads.count == 2
    City.objects(many).where(pk__lt=PAGE + 5).delete()
    left = [city.id for city in cities]
    assert left[: PAGE - 1] == list(range(1, PAGE))
    assert left[-1] == 3 * PAGE + 9
    assert len(left) == len(set(left))


# --- what was loaded ------------------------------------------------------------------------


def test_copies_and_pickles_ask_again(world):
    (europe,) = Continent.objects(world).where(name="Europe").prefetch("countries")
    reads = Reads(world)
    assert copy.copy(europe).countries.count() == 2
    assert copy.deepcopy(europe).countries.count() == 2
    assert reads.count == 2
    assert pickle.loads(pickle.dumps(europe)).storage is None
    assert europe.countries.count() == 2


def test_a_deleted_record_has_no_way_back(world):
    (europe,) = Continent.objects(world).where(name="Europe").prefetch("countries")
    europe.delete()
    with complaint(UsageError, "Continent.countries", "not saved"):
        europe.countries


def test_a_loaded_relation_refuses_what_a_query_refuses(world):
    (europe,) = Continent.objects(world).where(name="Europe").prefetch("countries")
    with complaint(QueryError, "-1", "reverse()[0]"):
        europe.countries[-1]
    with complaint(UsageError, "number"):
        europe.countries["fr"]
    with pytest.raises(IndexError):
        europe.countries[2]
    assert europe.countries.reverse()[0].pk == "fr"
    assert "Country(pk='de'" in repr(europe.countries)
    assert "where" in str(europe.countries)
    assert europe.countries.get("fr").name == "fr"
    assert europe.countries.update(name="x") == 2
    assert [one.name for one in europe.countries] == ["de", "fr"]
    assert europe.countries.delete() == 2


def test_a_scan_that_was_refused_stays_refused(world):
    query = Continent.objects(world, allow_scan=False).where(pk="eu").prefetch("countries")
    with complaint(ScanRefused, "Country", "allow_scan=False"):
        query.all()


# --- mistakes -------------------------------------------------------------------------------


def test_what_is_no_relation(world):
    cities = City.objects(world)
    with complaint(UsageError, "prefetch", "names of relations"):
        cities.prefetch()
    for wrong in (3, None, "", ["country"], Country):
        with complaint(UsageError, "prefetch", '"country"'):
            cities.prefetch(wrong)
    with complaint(UnknownField, "City", "'contry'", "did you mean 'country'"):
        cities.prefetch("contry")
    with complaint(UnknownField, "Country", "'xyz'", "country__xyz", "continent, cities"):
        cities.prefetch("country__xyz")
    with complaint(UnknownField, "Continent", "''"):
        cities.prefetch("country__continent__")
    with complaint(QueryError, "Country.name", "no reference"):
        cities.prefetch("country__name")
    with complaint(QueryError, "City.id", "no reference"):
        cities.prefetch("id")
    with complaint(QueryError, "Continent.countries", "no Continent", "way there"):
        cities.prefetch("country", Continent.countries)
    with complaint(QueryError, "Continent.name", "no Continent"):
        cities.prefetch(Continent.name)
