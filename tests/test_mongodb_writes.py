"""MongoDB: what is written by which command, revisions, failures by name, declared indexes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bson.int64 import Int64

from pymodels import Conflict, DuplicateKey, F, Field, Model, ModelError, RecordInvalid
from pymodels.ext.mongodb import IndexReport
from tests.mongodb_server import Server, open_storage
from tests.test_mongodb_queries import Commands

COMMANDS = Commands()
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


class Sheet(Model):
    anything: Field[Any] = Field(default=None)
    number: Field[int] = Field(default=0)
    ratio: Field[float | None] = Field(default=None)
    at: Field[datetime | None] = Field(default=None)


class Member(Model):
    name: Field[str] = Field(default="")
    email: Field[str | None] = Field(unique=True, default=None)
    tags: Field[list[str] | None] = Field(unique=True, default=None)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Any]:
    with open_storage(tmp_path, options={"event_listeners": [COMMANDS]}) as storage:
        yield storage


def sent() -> list[str]:
    found = [next(iter(command)) for command in COMMANDS.sent]
    COMMANDS.sent.clear()
    return found


# --- revisions ------------------------------------------------------------------------------

HELD: dict[str, dict[str, Any]] = {
    "text": {"anything": "x"},
    "none": {"anything": None},
    "an operator": {"anything": {"$gt": "$number"}},
    "a path": {"anything": "$number"},
    "members": {"anything": ["x", None, True]},
    "no members": {"anything": []},
    "bytes": {"anything": b"\0"},
    "instant": {"at": NOON},
    "instant with microseconds": {"at": NOON + timedelta(microseconds=1)},
    "float": {"ratio": 0.5},
    "big": {"number": 2**40},
}
BY_TRANSACTION: dict[str, dict[str, Any]] = {
    "zero": {"ratio": 0.0},
    "numbers inside": {"anything": [1]},
    "decimal": {"anything": Decimal("1.0")},
}


@pytest.mark.parametrize("name", [*HELD, *BY_TRANSACTION])
def test_a_checked_save_is_one_command_where_that_is_exact(storage: Any, name: str) -> None:
    held = {**HELD, **BY_TRANSACTION}[name]
    Sheet(pk="a", **held).save(storage)
    sheet = storage.get(Sheet, "a")
    sheet.number += 1
    sheet.save()  # the first time, it is looked what kind of keys there are
    sent()
    sheet.number += 1
    sheet.save(check=True)
    assert (sent() == ["update"]) is (name in HELD)
    assert storage.get(Sheet, "a").number == held.get("number", 0) + 2
    for field, value in held.items():
        if field != "number":
            assert getattr(storage.get(Sheet, "a"), field) == value
    sent()
    sheet.delete(check=True)
    assert (sent() == ["delete"]) is (name in HELD)
    assert storage.get(Sheet, "a", None) is None


CHANGED: dict[str, tuple[Any, Any]] = {
    # what was read, what somebody else has made of it
    "another text": ({"anything": "x"}, {"anything": "y"}),
    "in a list": ({"anything": "x"}, {"anything": ["x"]}),
    "list in a list": ({"anything": ["x"]}, {"anything": [["x"]]}),
    "absent": ({"anything": None}, None),
    "float": ({"number": 1}, {"number": 1.0}),
    "int": ({"ratio": 1.5}, {"ratio": 1}),
    "float inside": ({"anything": [1]}, {"anything": [1.0]}),
    "minus": ({"ratio": 0.0}, {"ratio": -0.0}),
    "bool": ({"number": 1}, {"number": True}),
    "more digits": ({"anything": Decimal("1.0")}, {"anything": {"py/decimal": "1.00"}}),
    "microseconds": ({"at": NOON}, {"_pymodels": {"us": {"at": 1704110400000001}}}),
    "no microseconds": ({"at": NOON + timedelta(microseconds=1)}, {"_pymodels": {}}),
    "milliseconds": ({"at": NOON}, {"at": NOON + timedelta(milliseconds=1)}),
    "another field": ({"anything": "x"}, {"undeclared": 1}),
    "null in another field": ({"anything": "x"}, {"undeclared": None}),
    "mapping": ({"anything": {"a": "x"}}, {"anything": {"a": "x", "b": None}}),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_others_changed_is_a_conflict(storage: Any, name: str) -> None:
    read, other = CHANGED[name]
    Sheet(pk="a", **read).save(storage)
    sheet = storage.get(Sheet, "a")
    update = {"$unset": {"anything": ""}} if other is None else {"$set": other}
    native = storage.collection(Sheet.__schema__)
    native.update_one({"_id": "a"}, update)
    before = native.find_one({"_id": "a"})
    sheet.anything = "mine"
    with pytest.raises(Conflict, match="'a'"):
        sheet.save(check=True)
    with pytest.raises(Conflict, match="'a'"):
        sheet.delete(check=True)
    assert repr(native.find_one({"_id": "a"})) == repr(before)


def test_what_others_wrote_alike_is_no_conflict(storage: Any) -> None:
    Sheet(pk="a", number=1, anything={"a": "x", "b": "y"}).save(storage)
    sheet = storage.get(Sheet, "a")
    storage.collection(Sheet.__schema__).replace_one(
        {"_id": "a"},
        {"at": None, "ratio": None, "anything": {"b": "y", "a": "x"}, "number": Int64(1)},
    )
    sheet.number = 5
    sheet.save(check=True)
    assert storage.get(Sheet, "a").number == 5


# --- many records ---------------------------------------------------------------------------


def test_every_record_whose_key_is_taken_is_named(storage: Any) -> None:
    storage.save_all([Sheet(pk=f"{n:03}") for n in range(0, 100, 10)])
    with pytest.raises(DuplicateKey, match="10 of the 100 records") as caught:
        storage.save_all([Sheet(pk=f"{n:03}", number=1) for n in range(100)])
    assert set(caught.value.keys) == {f"{n:03}" for n in range(0, 100, 10)}
    assert caught.value.field == "pk"
    assert "'010'" in str(caught.value)
    assert Sheet.objects(storage).count() == 10
    assert Sheet.objects(storage).sum("number") == 0


@pytest.mark.parametrize("field", ["email", "tags"])
def test_every_record_whose_value_is_taken_is_named(storage: Any, field: str) -> None:
    def value(name: str) -> Any:
        return name if field == "email" else [name]

    storage.save_all([Member(pk=f"old {n}", **{field: value(f"{n}")}) for n in range(3)])
    new = [Member(pk=f"new {n}", **{field: value(f"{n}")}) for n in range(6)]
    twins = [Member(pk=f"twin {n}", **{field: value("twin")}) for n in range(2)]
    with pytest.raises(DuplicateKey, match="records cannot be stored") as caught:
        storage.save_all([*new, *twins, Member(pk="none"), Member(pk="none either")])
    assert set(caught.value.keys) == {"new 0", "new 1", "new 2", "twin 1"}
    assert (caught.value.field, caught.value.collection) == (field, "member")
    assert Member.objects(storage).count() == 3


def test_one_record_that_is_taken_names_field_and_value(storage: Any) -> None:
    Member(pk="a", email="ann@example.org").save(storage)
    with pytest.raises(DuplicateKey, match=r"email.*'ann@example.org'.*'a'") as caught:
        Member(pk="b", email="ann@example.org").save(storage)
    assert (caught.value.field, caught.value.value) == ("email", "ann@example.org")
    assert caught.value.keys == ("b",)
    with pytest.raises(DuplicateKey) as caught:
        Member(pk="a").save(storage)
    assert (caught.value.field, caught.value.value, caught.value.keys) == ("pk", "a", ("a",))


def test_batches_that_are_not_whole_store_what_they_can(tmp_path: Path) -> None:
    server = Server(replica_set=False)
    try:
        with open_storage(tmp_path, uri=server.uri, whole_batches=False) as storage:
            storage.save_all([Sheet(pk="b"), Sheet(pk="d")])
            with pytest.raises(DuplicateKey, match=r"2 of the 5 .* whole_batches") as caught:
                storage.save_all([Sheet(pk=key, number=1) for key in "abcde"])
            assert caught.value.keys == ("b", "d")
            found = list(Sheet.objects(storage).select("pk", "number"))
            assert found == [("a", 1), ("b", 0), ("c", 1), ("d", 0), ("e", 1)]
    finally:
        server.stop()


def test_many_records_take_few_commands(storage: Any) -> None:
    Sheet(pk="first").save(storage)
    Sheet(pk="first").save(storage, replace=True)
    sent()
    sheets = [Sheet(pk=f"{number:04}") for number in range(1_000)]
    storage.save_all(sheets)
    assert sent() == ["insert", "commitTransaction"]
    for sheet in sheets:
        sheet.number = 1
    storage.save_all(sheets)
    assert len(sent()) < 12  # read in pages, written in one command, and committed
    assert storage.delete_many(Sheet, [sheet.pk for sheet in sheets]) == 1_000
    assert len(sent()) < 20
    assert Sheet.objects(storage).count() == 1


# --- updates --------------------------------------------------------------------------------


def test_an_update_that_the_server_cannot_do_is_pythons(storage: Any) -> None:
    storage.save_all([Sheet(pk="a", number=2**63 - 1), Sheet(pk="b", number=1, ratio=0.1)])
    with pytest.raises(ValueError, match="'a'"):
        Sheet.objects(storage).update(number=F("number") + 1)
    assert storage.get(Sheet, "b").number == 1
    assert Sheet.objects(storage).where(pk="b").update(ratio=F("ratio") * 3) == 1
    assert storage.get(Sheet, "b").ratio == 0.1 * 3


# --- indexes --------------------------------------------------------------------------------


class Article(Model, collection="article"):
    title: Field[str] = Field(index=True)
    body: Field[str] = Field(index="text", default="")
    at: Field[datetime] = Field(index=True, default=NOON)
    expires: Field[datetime | None] = Field(index="ttl:3600", default=None)
    author: Field[str | None] = Field(index="sparse", default=None)
    shard: Field[int] = Field(index="hashed", default=0)
    slug: Field[str | None] = Field(unique=True, default=None)


class Shorter(Model, collection="article"):
    title: Field[str] = Field(index=True)


def native_indexes(storage: Any, model: type[Model]) -> dict[str, Any]:
    found = storage.collection(model.__schema__).index_information()
    return {name: {**one, "key": one["key"]} for name, one in found.items()}


def test_declared_indexes_are_made(storage: Any) -> None:
    report = storage.ensure_indexes(Article)
    assert set(report.created) == {
        "pymodels index title",
        "pymodels index text body",
        "pymodels index at",
        "pymodels index ttl:3600 expires",
        "pymodels index sparse author",
        "pymodels index hashed shard",
    }
    found = native_indexes(storage, Article)
    assert found["pymodels index title"]["key"] == [("title", 1), ("_id", 1)]
    assert found["pymodels index at"]["key"] == [("at", 1), ("_pymodels.us.at", 1), ("_id", 1)]
    assert found["pymodels index ttl:3600 expires"]["expireAfterSeconds"] == 3600
    assert found["pymodels index ttl:3600 expires"]["key"] == [("expires", 1)]
    assert found["pymodels index text body"]["weights"] == {"body": 1}
    assert found["pymodels index hashed shard"]["key"] == [("shard", "hashed")]
    assert "partialFilterExpression" in found["pymodels index sparse author"]
    assert found["pymodels unique slug"]["unique"] is True
    again = storage.ensure_indexes(Article)
    assert again.created == ()
    assert set(again.present) == {*report.created, "pymodels unique slug"}
    assert again.undeclared == again.dropped == ()


def test_drift_is_reported_and_dropped_only_when_asked(storage: Any) -> None:
    storage.ensure_indexes(Article)
    storage.collection(Article.__schema__).create_index("title", name="by hand")
    report = storage.ensure_indexes(Shorter)
    assert report.present == ("pymodels index title",)
    assert {"by hand", "pymodels index at", "pymodels unique slug"} <= set(report.undeclared)
    assert report.dropped == ()
    report = storage.ensure_indexes(Shorter, drop=True)
    assert report.undeclared == ("by hand",)  # which others made, and may need
    assert "pymodels index at" in report.dropped
    assert set(native_indexes(storage, Shorter)) == {"_id_", "by hand", "pymodels index title"}
    assert isinstance(report, IndexReport)
    Article(title="a", slug="x").save(storage)  # which makes its unique index again
    with pytest.raises(DuplicateKey):
        Article(title="b", slug="x").save(storage)


def test_a_unique_index_is_refused_where_values_repeat(storage: Any) -> None:
    native = storage.native[storage.collection(Member.__schema__).name]
    native.insert_many([{"_id": "a", "email": "x"}, {"_id": "b", "email": "x"}])
    with pytest.raises(DuplicateKey, match="email") as caught:
        storage.ensure_indexes(Member)
    assert (caught.value.field, caught.value.value) == ("email", "x")


@pytest.mark.parametrize("kind", ["ttl", "ttl:soon", "geo"])
def test_an_index_of_no_kind_is_refused(storage: Any, kind: str) -> None:
    class Wrong(Model, collection="wrong"):
        text: Field[str] = Field(index=kind)

    with pytest.raises(ModelError, match="'sparse', 'ttl:SECONDS'"):
        storage.ensure_indexes(Wrong)


def test_expired_records_have_a_date_that_the_server_understands(storage: Any) -> None:
    at = NOON + timedelta(microseconds=1)
    Article(pk="a", title="x", expires=at).save(storage)
    document = storage.collection(Article.__schema__).find_one({"_id": "a"})
    assert document["expires"] == NOON.replace(tzinfo=None)
    assert storage.get(Article, "a").expires == at


def test_an_update_or_delete_of_one_record_is_one_command(storage: Any) -> None:
    storage.save_all([Sheet(pk="a", number=1), Sheet(pk="b", number=2)])
    one = Sheet.objects(storage).where(pk="a")
    assert one.update(number=F("number")) == 1  # by Python
    sent()
    assert one.update(number=7) == 1
    assert one.update(number=F("number") + 1) == 1
    assert sent() == ["update", "update"]
    assert list(Sheet.objects(storage).select("pk", "number")) == [("a", 8), ("b", 2)]
    storage.collection(Sheet.__schema__).update_one({"_id": "a"}, {"$set": {"number": "x"}})
    with pytest.raises(RecordInvalid, match="'a'"):
        one.update(number=F("number") + 1)
    assert Sheet.objects(storage).where(pk="none").update(number=F("number") + 1) == 0
    assert Sheet.objects(storage).where(pk="b", number=3).update(number=4) == 0
    sent()
    assert one.delete() == 1
    assert one.delete() == 0
    assert sent() == ["delete", "delete"]
    assert Sheet.objects(storage).count() == 1


# --- lists ----------------------------------------------------------------------------------


class Bag(Model):
    tags: Field[list[str] | None] = Field(default=[])
    numbers: Field[list[int]] = Field(default=[])
    members: Field[set[str]] = Field(default=set())


LIST_CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "append": (F("tags").append("x", "x"), {"$push": {"tags": {"$each": ["x", "x"]}}}),
    "remove": (F("tags").remove("a", "$b"), {"$pull": {"tags": {"$in": ["a", "$b"]}}}),
    "add_to_set": (F("tags").add_to_set("a", "y"), {"$addToSet": {"tags": {"$each": ["a", "y"]}}}),
}
AFTER = {
    "append": [["a", "$b", "a", "x", "x"], ["c", "x", "x"]],
    "remove": [[], ["c"]],
    "add_to_set": [["a", "$b", "a", "y"], ["c", "a", "y"]],
}


@pytest.mark.parametrize("name", LIST_CHANGES)
def test_a_list_is_changed_by_the_server(storage: Any, name: str) -> None:
    change, update = LIST_CHANGES[name]
    storage.save_all([Bag(pk="1", tags=["a", "$b", "a"]), Bag(pk="2", tags=["c"])])
    COMMANDS.sent.clear()
    assert Bag.objects(storage).update(tags=change) == 2
    (command,) = [one for one in COMMANDS.sent if "update" in one]
    assert command["updates"][0]["u"] == update
    assert Bag.objects(storage).order_by("pk").count() == 2
    assert [tags for (tags,) in Bag.objects(storage).select("tags")] == AFTER[name]


def test_a_list_that_only_python_changes_rightly(storage: Any) -> None:
    storage.save_all([Bag(pk="1", tags=None, members={"b"}), Bag(pk="2", tags=["a"])])
    bags = Bag.objects(storage)
    assert bags.update(tags=F("tags").append("x")) == 2  # MongoDB refuses to push onto null
    assert [one.tags for one in bags] == [["x"], ["a", "x"]]
    assert bags.update(members=F("members").add_to_set("a")) == 2  # a set is stored sorted
    document = storage.collection(Bag.__schema__).find_one({"_id": "1"})
    assert document["members"] == ["a", "b"]
    assert bags.update(tags=F("tags").remove("x").append("y")) == 2
    assert [one.tags for one in bags] == [["y"], ["a", "y"]]
