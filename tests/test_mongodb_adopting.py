"""MongoDB: collections and indexes that others have made, and that mean something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.errors import PyMongoError

from pymodels import DuplicateKey, F, Field, Model, StorageError, Unsupported, ValidationError
from tests.mongodb_server import open_storage


class Item(Model):
    name: Field[str] = Field(default="", index=True)
    code: Field[str | None] = Field(default=None, unique=True)
    seen: Field[datetime | None] = Field(default=None, index="ttl:3600")


class Other(Model):
    name: Field[str] = Field(default="")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Any]:
    with open_storage(tmp_path) as storage:
        yield storage


def make(storage: Any, name: str = "item", **options: Any) -> Any:
    """Make a collection as an administrator would."""
    return storage.native.create_collection(prefixed(storage, name), **options)


def prefixed(storage: Any, name: str) -> str:
    return f"{storage._prefix}{name}"


CASELESS = {"locale": "en", "strength": 2}

OPERATIONS: dict[str, Callable[[Any], object]] = {
    "get": lambda storage: storage.get(Item, "a", None),
    "get_many": lambda storage: storage.get_many(Item, ["a", "b"]),
    "iterate": lambda storage: Item.objects(storage).all(),
    "count": lambda storage: Item.objects(storage).where(name="x").count(),
    "values": lambda storage: Item.objects(storage).values("name"),
    "save": lambda storage: Item(pk="new").save(storage),
    "save_all": lambda storage: storage.save_all([Item(), Item()]),
    "update": lambda storage: Item.objects(storage).update(name="y"),
    "update by F": lambda storage: Item.objects(storage).where(pk="a").update(name=F("name")),
    "delete": lambda storage: Item.objects(storage).delete(),
    "delete_many": lambda storage: storage.delete_many(Item, ["a"]),
    "ensure_indexes": lambda storage: storage.ensure_indexes(Item),
    "watch": lambda storage: Item.objects(storage).watch(wait=0.01),
    "transaction": lambda storage: storage.begin().get(Item, "a", None),
}
WRITES = ("save", "save_all", "update", "update by F", "delete", "delete_many", "ensure_indexes")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_default_collation_is_refused(storage: Any, name: str) -> None:
    """There "a" and "A" are one key, and equals, gt and the order are the server's own."""
    make(storage, collation=CASELESS)
    with pytest.raises(Unsupported, match=r"default collation \(en\).*\$out"):
        OPERATIONS[name](storage)


@pytest.mark.parametrize("name", ["get", "iterate", "save"])
def test_a_time_series_is_refused(storage: Any, name: str) -> None:
    make(storage, timeseries={"timeField": "t"})
    with pytest.raises(Unsupported, match="time series"):
        OPERATIONS[name](storage)


def test_the_simple_collation_is_no_other(storage: Any) -> None:
    make(storage, collation={"locale": "simple"})
    storage.save_all([Item(pk="a", code="x"), Item(pk="A", code="X")])
    assert [one.pk for one in Item.objects(storage)] == ["A", "a"]


@pytest.fixture
def view(storage: Any) -> Any:
    """Collect the items of one name in a view of the server's."""
    source = make(storage, "source")
    source.insert_many([{"_id": key, "name": name} for key, name in ("ax", "bx", "cy")])
    make(storage, viewOn=source.name, pipeline=[{"$match": {"name": "x"}}])
    return source


def test_a_view_is_read(storage: Any, view: Any) -> None:
    assert [one.pk for one in Item.objects(storage)] == ["a", "b"]
    assert [one.pk for one in Item.objects(storage).where(pk__gt="a").order_by("-name")] == ["b"]
    assert storage.get(Item, "a").name == "x"
    assert Item.objects(storage).where(name="x").count() == 2
    assert Item.objects(storage).values("name") == ["x"]
    with storage.transaction():
        assert storage.get(Item, "c", None) is None
        assert Item.objects(storage).count() == 2
        Other(pk="o").save(storage)
    assert storage.get(Other, "o").name == ""


@pytest.mark.parametrize("name", [*WRITES, "watch"])
def test_a_view_is_not_written(storage: Any, view: Any, name: str) -> None:
    with pytest.raises(Unsupported, match="view"):
        OPERATIONS[name](storage)
    assert view.count_documents({}) == 3


def test_a_view_with_a_collation_is_refused(storage: Any) -> None:
    make(storage, viewOn=make(storage, "source").name, pipeline=[], collation=CASELESS)
    with pytest.raises(Unsupported, match="collation"):
        Item.objects(storage).all()


@pytest.fixture
def log(storage: Any) -> Any:
    found = make(storage, capped=True, size=100_000)
    found.insert_many([{"_id": key, "name": key} for key in "ab"])
    return found


def test_a_capped_collection_is_read(storage: Any, log: Any) -> None:
    assert [one.pk for one in Item.objects(storage).order_by("-name")] == ["b", "a"]
    with pytest.raises(Unsupported, match="capped"):
        OPERATIONS["transaction"](storage)


@pytest.mark.parametrize("name", WRITES)
def test_a_capped_collection_is_not_written(storage: Any, log: Any, name: str) -> None:
    with pytest.raises(Unsupported, match="capped"):
        OPERATIONS[name](storage)
    assert log.count_documents({}) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_a_validator_of_the_server_is_named(storage: Any, count: int) -> None:
    make(storage, validator={"$jsonSchema": {"properties": {"name": {"enum": ["good"]}}}})
    Item(pk="a", name="good").save(storage)
    with pytest.raises(ValidationError, match=r"validator.*name") as caught:
        storage.save_all([Item(name="bad") for _ in range(count)])
    assert isinstance(caught.value.__cause__, PyMongoError)
    assert Item.objects(storage).count() == 1


# --- indexes --------------------------------------------------------------------------------


def test_an_index_that_others_made_is_taken_for_the_declared_one(storage: Any) -> None:
    collection = make(storage)
    collection.create_index([("name", 1), ("_id", 1)])
    collection.create_index([("seen", 1)], expireAfterSeconds=3600)
    report = storage.ensure_indexes(Item)
    assert report.created == report.undeclared == report.dropped == ()
    assert set(report.present) == {"name_1__id_1", "seen_1", "pymodels unique code"}


@pytest.mark.parametrize("odd", [{"sparse": True}, {"unique": True}, {"collation": CASELESS}])
def test_an_index_that_is_another_is_not(storage: Any, odd: dict[str, Any]) -> None:
    collection = make(storage)
    name = collection.create_index([("name", 1), ("_id", 1)], **odd)
    report = storage.ensure_indexes(Item)
    assert "pymodels index name" in report.created
    assert report.undeclared == (name,)


def test_an_index_that_is_in_the_way(storage: Any) -> None:
    class Longer(Item, collection="item"):
        seen: Field[datetime | None] = Field(default=None, index="ttl:7200")

    storage.ensure_indexes(Item)
    with pytest.raises(StorageError, match=r"Longer.*on seen.*drop=True"):
        storage.ensure_indexes(Longer)
    report = storage.ensure_indexes(Longer, drop=True)
    assert report.created == ("pymodels index ttl:7200 seen",)
    assert report.dropped == ("pymodels index ttl:3600 seen",)
    found = storage.collection(Longer.__schema__).index_information()
    assert found["pymodels index ttl:7200 seen"]["expireAfterSeconds"] == 7200


def test_unique_values_are_kept_beside_an_index_that_is_not_unique(storage: Any) -> None:
    make(storage).create_index([("code", pymongo.ASCENDING)])
    Item(code="x").save(storage)
    with pytest.raises(DuplicateKey):
        Item(code="x").save(storage)
    Item(code="X").save(storage)
