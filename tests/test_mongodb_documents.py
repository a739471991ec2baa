"""What other tools of MongoDB see of our records, and what we see of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from bson import Binary, Code, Decimal128, Int64, Regex, Timestamp
from bson.binary import STANDARD, UuidRepresentation
from bson.codec_options import CodecOptions

from pymodels import Field, Key, Model, ModelError, ValidationError
from pymodels import Path as At
from pymodels.ext.mongodb import ObjectId
from tests.mongodb_server import open_storage

UID = UUID("12345678-1234-5678-1234-567812345678")
MOMENT = datetime(2024, 3, 1, 12, 0, 0, 123456, UTC)


class Sheet(Model):
    title: Field[str] = Field(default="")
    count: Field[int] = Field(default=0)
    price: Field[Decimal | None] = Field(default=None)
    uid: Field[UUID | None] = Field(default=None)
    made: Field[datetime | None] = Field(default=None)
    day: Field[date | None] = Field(default=None)
    clock: Field[time | None] = Field(default=None)
    length: Field[timedelta | None] = Field(default=None)
    data: Field[bytes | None] = Field(default=None)
    labels: Field[set[str]] = Field(default_factory=set)
    counts: Field[dict[str, int]] = Field(default_factory=dict)
    anything: Field[Any] = Field(default=None)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Any]:
    with open_storage(tmp_path) as storage:
        yield storage


def collection(storage: Any, model: Any) -> Any:
    """Return the driver's collection, read as anybody would."""
    options = CodecOptions(uuid_representation=STANDARD, tz_aware=True)
    return storage.collection(model.__schema__).with_options(options)


# --- what we store --------------------------------------------------------------------------


def test_native_types(storage: Any) -> None:
    Sheet(
        pk="a",
        title="x",
        count=2**40,
        price=Decimal("1.50"),
        uid=UID,
        made=MOMENT,
        day=date(2024, 2, 29),
        clock=time(1, 2, 3, 4),
        length=timedelta(days=1, microseconds=1),
        data=b"\0\xff",
        labels={"b", "a"},
        counts={"b": 1, "a": 2},
        anything=[1, 2.5, None],
    ).save(storage)
    found = collection(storage, Sheet).find_one()
    assert found.pop("_pymodels") == {"us": {"made": 1709294400123456}}
    assert found == {
        "_id": "a",
        "title": "x",
        "count": 2**40,
        "price": Decimal128("1.50"),
        "uid": UID,
        "made": MOMENT.replace(microsecond=123000),
        "day": "2024-02-29",
        "clock": "01:02:03.000004",
        "length": "P1DT0.000001S",
        "data": b"\0\xff",
        "labels": ["a", "b"],
        "counts": {"a": 2, "b": 1},
        "anything": [1, 2.5, None],
    }


def test_an_instant_of_whole_milliseconds_is_a_date_and_nothing_else(storage: Any) -> None:
    Sheet(pk="a", made=MOMENT.replace(microsecond=123000)).save(storage)
    assert "_pymodels" not in collection(storage, Sheet).find_one()
    sheet = storage.get(Sheet, "a")
    sheet.made = MOMENT
    sheet.save()
    assert collection(storage, Sheet).find_one()["_pymodels"]["us"] == {"made": 1709294400123456}
    assert storage.get(Sheet, "a").made == MOMENT
    sheet.made = MOMENT.replace(microsecond=0)
    sheet.save()
    assert collection(storage, Sheet).find_one()["_pymodels"]["us"] == {}
    assert storage.get(Sheet, "a").made == MOMENT.replace(microsecond=0)


def test_a_date_that_others_change_has_no_microseconds_of_ours(storage: Any) -> None:
    Sheet(pk="a", made=MOMENT).save(storage)
    later = datetime(2025, 1, 1, tzinfo=UTC)
    collection(storage, Sheet).update_one({"_id": "a"}, {"$set": {"made": later}})
    assert storage.get(Sheet, "a").made == later
    assert Sheet.objects(storage).where(made=later).count() == 1
    assert Sheet.objects(storage).where(made__gt=MOMENT).count() == 1
    assert Sheet.objects(storage).where(made=MOMENT).count() == 0


def test_instants_inside_other_values_keep_their_microseconds(storage: Any) -> None:
    whole = MOMENT.replace(microsecond=5000)
    Sheet(pk="a", anything={"deep": [MOMENT, whole]}).save(storage)
    deep = collection(storage, Sheet).find_one()["anything"]["deep"]
    cut = MOMENT.replace(microsecond=123000)
    assert deep == [{"py/instant": {"at": cut, "us": 1709294400123456}}, whole]
    assert storage.get(Sheet, "a").anything == {"deep": [MOMENT, whole]}


OPEN = {
    "decimal": (Decimal("1.50"), {"py/decimal": Decimal128("1.50")}),
    "uuid": (UID, {"py/uuid": UID}),
    "date": (date(2024, 2, 29), {"py/date": "2024-02-29"}),
    "time": (time(1, 2), {"py/time": "01:02:00"}),
    "duration": (timedelta(days=1), {"py/duration": "P1D"}),
    "set": ({1}, {"py/set": [1]}),
    "tuple": ((1, (2,)), {"py/tuple": [1, {"py/tuple": [2]}]}),
    "like a tag": ({"py/date": "x"}, {"py/mapping": {"py/date": "x"}}),
    "like two tags": (
        {"py/mapping": {"py/set": []}},
        {"py/mapping": {"py/mapping": {"py/mapping": {"py/set": []}}}},
    ),
    "names": ({"a.b": 1, "$gt": {"$ref": "x", "$id": 1}}, {"a.b": 1}),
}


@pytest.mark.parametrize("name", OPEN)
def test_what_stands_in_open_places(storage: Any, name: str) -> None:
    value, stored = OPEN[name]
    Sheet(pk="a", anything=value).save(storage)
    found = collection(storage, Sheet).find_one()["anything"]
    assert found == stored or (name == "names" and found["a.b"] == 1)
    again = storage.get(Sheet, "a").anything
    assert (again, type(again)) == (value, type(value))
    sheet = storage.get(Sheet, "a")
    assert sheet.save() is sheet
    assert not sheet.is_changed


def test_names_that_mongodb_has_a_meaning_for(storage: Any) -> None:
    odd = {"": 1, "$set": 2, "a.b.c": 3, "nul\0": 4, "\ufdd0": 5, "0": 6, "_id": 7, "a b": 8}
    Sheet(pk="a", counts=odd).save(storage)
    assert storage.get(Sheet, "a").counts == odd
    sheet = storage.get(Sheet, "a")
    sheet.counts = {**odd, "$inc": 9}
    sheet.save()
    assert storage.get(Sheet, "a").counts == {**odd, "$inc": 9}
    for field in [name for name in odd if name]:
        assert Sheet.objects(storage).where(Sheet.counts[field] == odd[field]).count() == 1
        assert Sheet.objects(storage).where(Sheet.counts[field] == -1).count() == 0


def test_stored_names_that_mongodb_would_take_for_a_path(storage: Any) -> None:
    class Odd(Model):
        dotted: Field[int] = Field(default=1, name="a.b")
        dollar: Field[int] = Field(default=2, name="$set")

    Odd(pk="a", dotted=5, dollar=6).save(storage)
    odd = storage.get(Odd, "a")
    odd.dotted, odd.dollar = 7, 8
    odd.save()
    assert collection(storage, Odd).find_one() == {"_id": "a", "a.b": 7, "$set": 8}
    assert Odd.objects(storage).where(dotted=7, dollar=8).update(dollar=9) == 1
    Odd(pk="a", dotted=1).save(storage, replace=True)
    assert collection(storage, Odd).find_one() == {"_id": "a", "a.b": 1, "$set": 2}


@pytest.mark.parametrize("name", ["_id", "_pymodels"])
def test_a_field_cannot_take_a_name_of_the_database(storage: Any, name: str) -> None:
    class Odd(Model):
        field: Field[int] = Field(default=1, name=name)

    with pytest.raises(ModelError, match=name):
        Odd(pk="a").save(storage)


def test_a_record_of_more_than_16_mib_is_refused_with_its_size(storage: Any) -> None:
    sheet = Sheet(pk="big", title="x" * 17_000_000)
    with pytest.raises(ValidationError, match=r"Sheet 'big'.* 16\.2 MiB"):
        sheet.save(storage)
    with pytest.raises(ValidationError, match="big"):
        storage.save_all([Sheet(pk="small"), sheet])
    Sheet(pk="there").save(storage)
    there = storage.get(Sheet, "there")
    there.title = sheet.title
    with pytest.raises(ValidationError, match="there"):
        there.save()
    assert storage.get(Sheet, "there").title == ""
    assert len(storage) == 1


# --- what others have stored ----------------------------------------------------------------


def test_what_others_wrote_is_read_as_pythons_own(storage: Any) -> None:
    collection(storage, Sheet).insert_one(
        {
            "_id": "a",
            "title": "theirs",
            "count": Int64(7),
            "price": Decimal128("1.50"),
            "uid": Binary.from_uuid(UID, UuidRepresentation.STANDARD),
            "made": MOMENT.replace(microsecond=0),
            "data": Binary(b"x", 128),
            "counts": {"b": Int64(1), "a": 2},
            "anything": {
                "id": ObjectId("0123456789abcdef01234567"),
                "long": Int64(1),
                "js": Code("f()"),
                "pattern": Regex("^a"),
                "stamp": Timestamp(1709294400, 1),
            },
            "extra": {"theirs": [ObjectId("0123456789abcdef01234567"), Decimal128("1.0")]},
        }
    )
    sheet = storage.get(Sheet, "a")
    assert (sheet.title, sheet.count, type(sheet.count)) == ("theirs", 7, int)
    assert (sheet.price, sheet.uid, sheet.data) == (Decimal("1.50"), UID, b"x")
    assert type(sheet.data) is bytes
    assert sheet.made == MOMENT.replace(microsecond=0)
    assert sheet.counts == {"a": 2, "b": 1}
    assert sheet.anything == {
        "id": "0123456789abcdef01234567",
        "js": "f()",
        "long": 1,
        "pattern": "^a",
        "stamp": datetime(2024, 3, 1, 12, tzinfo=UTC),
    }
    assert all(type(value) is not Int64 for value in sheet.anything.values())
    assert Sheet.objects(storage).where(price=Decimal("1.5"), uid=UID, count__gte=7).count() == 1


def test_unknown_fields_are_kept_as_they_are(storage: Any) -> None:
    theirs = {
        "_id": "a",
        "ref": ObjectId(),
        "when": Timestamp(1, 2),
        "n": Int64(5),
        "re": Regex("a"),
    }
    collection(storage, Sheet).insert_one(dict(theirs))
    sheet = storage.get(Sheet, "a")
    sheet.title = "mine"
    sheet.save()
    Sheet.objects(storage).update(count=3)
    storage.save_all([Sheet(pk="b"), _changed(storage.get(Sheet, "a"))])
    found = collection(storage, Sheet).find_one({"_id": "a"})
    assert {name: found[name] for name in theirs} == theirs
    assert type(found["n"]) is Int64
    assert (found["title"], found["count"]) == ("changed", 3)


def _changed(sheet: Sheet) -> Sheet:
    sheet.title = "changed"
    return sheet


def test_keys_of_others(storage: Any) -> None:
    class Numbered(Model):
        id: Key[int]

    class Identified(Model):
        id: Key[UUID]

    collection(storage, Numbered).insert_many([{"_id": Int64(2**40)}, {"_id": 3.0}, {"_id": 1}])
    assert [(one.id, type(one.id)) for one in Numbered.objects(storage)] == [
        (1, int),
        (3, int),
        (2**40, int),
    ]
    assert storage.get(Numbered, 3).id == 3
    collection(storage, Identified).insert_one({"_id": UID})
    assert storage.get(Identified, UID).id == UID


def test_objectids_as_keys(storage: Any) -> None:
    class Adopted(Model):
        id: Key[ObjectId] = Key(default=None)
        name: Field[str] = Field(default="")

    known = ObjectId("0123456789abcdef01234567")
    collection(storage, Adopted).insert_one({"_id": known, "name": "theirs"})
    assert storage.get(Adopted, known).name == "theirs"
    made = Adopted(name="mine").save(storage)
    assert type(made.pk) is ObjectId
    assert [one.pk for one in Adopted.objects(storage)] == [known, made.pk]
    assert Adopted.objects(storage).where(pk=known).count() == 1
    assert Adopted.objects(storage).where(pk__in=[known, made.pk]).update(name="both") == 2
    assert Adopted.objects(storage).where(pk__gt=known).values("name") == ["both"]
    assert made.refresh().name == "both"
    assert storage.delete_many(Adopted, [known]) == 1
    assert len(storage) == 1

    class Referring(Model):
        one: Field[Adopted | None] = Field(default=None)
        many: Field[list[Adopted]] = Field(default_factory=list)

    Referring(pk="r", one=made, many=[made]).save(storage)
    referring = storage.get(Referring, "r")
    assert referring.one.name == "both"
    assert [one.pk for one in referring.many] == [made.pk]
    assert Referring.objects(storage).where(one=made).count() == 1
    assert Referring.objects(storage).where(one__in=Adopted.objects(storage)).count() == 1
    assert Referring.objects(storage).where(many__contains=made).count() == 1
    assert collection(storage, Referring).find_one()["one"] == made.pk


def test_keys_of_another_kind_are_an_error(storage: Any) -> None:
    collection(storage, Sheet).insert_one({"_id": 7})
    with pytest.raises(ModelError, match=r"Key\[\.\.\.\]"):
        Sheet.objects(storage).all()
    with pytest.raises(ModelError, match="int"):
        Sheet(pk="a").save(storage)


def test_a_view_that_declares_nothing_sees_the_plain_form(storage: Any) -> None:
    class View(Model, collection="sheet"):
        title: Field[str] = Field(default="")

    Sheet(pk="a", price=Decimal("1.50"), uid=UID, day=date(2024, 2, 29)).save(storage)
    view = storage.get(View, "a")
    assert view.unknown["price"] == "1.50"
    assert view.unknown["uid"] == str(UID)
    assert View.objects(storage).where(At("price") == "1.50").count() == 1
    assert View.objects(storage).where(At("price") == Decimal("1.50")).count() == 0


def test_a_mapping_in_another_order_is_the_same(storage: Any) -> None:
    collection(storage, Sheet).insert_one({"_id": "a", "counts": {"z": 1, "a": 2}})
    assert Sheet.objects(storage).where(counts={"a": 2, "z": 1}).count() == 1
    assert list(storage.get(Sheet, "a").counts) == ["a", "z"]


def test_arrays_do_not_hide_in_scalars(storage: Any) -> None:
    class Loose(Model, collection="loose"):
        value: Field[Any] = Field(default=None)

    values: list[Any] = [1, [1], [1, 2], [[1]], "a", ["a"], None, [None], {"x": 1}, [{"x": 1}]]
    storage.save_all([Loose(pk=str(n), value=value) for n, value in enumerate(values)])

    def found(**lookups: Any) -> list[int]:
        return [int(one.pk) for one in Loose.objects(storage).where(**lookups)]

    assert found(value=1) == [0]
    assert found(value="a") == [4]
    assert found(value=None) == [6]
    assert found(value=[1]) == [1]
    assert found(value__gt=0) == [0]
    assert found(value={"x": 1}) == [8]
    assert found(value__contains=1) == [1, 2]
    assert [int(one.pk) for one in Loose.objects(storage).where_not(value=1)] == list(range(1, 10))
