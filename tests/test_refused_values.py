"""Values that cannot be kept exactly are refused: model, field and reason are named."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import pytest
from msgspec import Meta, Struct

from pymodels import Field, Model, OperandInvalid, ValidationError, get_storage
from tests.complaints import complaint


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(Enum):
    SMALL = 1


class StrColour(StrEnum):
    RED = "red"


@dataclass
class Address:
    city: str
    codes: list[int] = field(default_factory=list)


class Point(Struct):
    x: int


class Settings(TypedDict, total=False):
    depth: int


@dataclass
class Link:
    next: "Link | None" = None


class Chain(Model):
    link: Field[Link | None] = None


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Names(list):
    pass


class Everything(Model):
    integer: Field[int] = 0
    real: Field[float] = 0.0
    decimal: Field[Decimal] = Decimal(0)
    text: Field[str] = ""
    flag: Field[bool] = False
    data: Field[bytes] = b""
    instant: Field[datetime | None] = None
    naive: Field[datetime | None] = Field(default=None, naive=True)
    day: Field[date | None] = None
    clock: Field[time | None] = None
    duration: Field[timedelta | None] = None
    uuid: Field[UUID | None] = None
    numbers: Field[list[int]] = []
    names: Field[set[str]] = set()
    row: Field[tuple[int, ...]] = ()
    pair: Field[tuple[int, str]] = (0, "")
    table: Field[dict[str, int]] = {}
    address: Field[Address | None] = None
    point: Field[Point | None] = None
    settings: Field[Settings | None] = None
    colour: Field[Colour | None] = None
    size: Field[Size | None] = None
    mode: Field[Literal["r", "w", 1]] = "r"
    open: Field[Any] = None
    open_list: Field[list] = []
    open_dict: Field[dict] = {}
    maybe: Field[int | None] = None
    percent: Field[Annotated[int, Meta(ge=0, le=100)]] = 0
    short: Field[Annotated[str, Meta(max_length=3, pattern="^a")]] = "a"
    few: Field[Annotated[list[int], Meta(max_length=2)]] = []


@pytest.fixture
def storage():
    return get_storage("pymodels.ext.memory")


EAST = timezone(timedelta(hours=5))
NAN = float("nan")

REFUSED = [
    ("integer", "7", "int"),
    ("integer", 7.0, "int"),
    ("integer", True, "bool"),
    ("integer", None, "None"),
    ("integer", Number(7), "Number"),
    ("integer", Decimal(7), "Decimal"),
    ("integer", 2**63, "64 signed bits"),
    ("integer", -(2**63) - 1, "64 signed bits"),
    ("real", NAN, "finite"),
    ("real", float("inf"), "finite"),
    ("real", -float("inf"), "finite"),
    ("real", True, "bool"),
    ("real", "1.5", "str"),
    ("real", Decimal("1.5"), "Decimal"),
    ("real", 2**53 + 1, "exactly"),
    ("real", 10**400, "400|float|64"),
    ("decimal", 1, "Decimal"),
    ("decimal", 1.5, "Decimal"),
    ("decimal", Decimal("NaN"), "finite"),
    ("decimal", Decimal("sNaN"), "finite"),
    ("decimal", Decimal("-Infinity"), "finite"),
    ("decimal", Decimal("1" * 35), "34 digits"),
    ("decimal", Decimal("1E+6112"), "6111"),
    ("decimal", Decimal("1E-6177"), "6176"),
    ("text", 7, "int"),
    ("text", b"x", "bytes"),
    ("text", None, "None"),
    ("text", Text("x"), "Text"),
    ("text", StrColour.RED, "StrColour"),
    ("text", "a\ud800b", "surrogate at position 1"),
    ("flag", 1, "bool"),
    ("flag", "true", "bool"),
    ("data", "x", "bytes"),
    ("data", bytearray(b"x"), "bytearray"),
    ("data", memoryview(b"x"), "memoryview"),
    ("instant", datetime(2020, 1, 1), "naive=True"),
    ("instant", date(2020, 1, 1), "date"),
    ("instant", "2020-01-01T00:00:00Z", "str"),
    ("instant", 1577836800, "int"),
    ("instant", datetime(1, 1, 1, tzinfo=EAST), "years 1 to 9999"),
    ("naive", datetime(2020, 1, 1, tzinfo=UTC), "time zone"),
    ("naive", date(2020, 1, 1), "date"),
    ("day", datetime(2020, 1, 1), "date"),
    ("day", "2020-01-01", "str"),
    ("clock", time(1, tzinfo=UTC), "time zone"),
    ("clock", "01:00", "str"),
    ("duration", 5, "timedelta"),
    ("uuid", "12345678-1234-5678-1234-567812345678", "UUID"),
    ("numbers", (1, 2), "list"),
    ("numbers", {1, 2}, "list"),
    ("numbers", Names([1]), "Names"),
    ("numbers", "12", "list"),
    ("numbers", [1, "2"], "[1]"),
    ("numbers", [True], "[0]"),
    ("numbers", None, "None"),
    ("names", ["a"], "set"),
    ("names", frozenset("a"), "frozenset"),
    ("names", {1}, "text"),
    ("row", [1], "tuple"),
    ("row", (1, None), "[1]"),
    ("pair", (1,), "tuple of 2"),
    ("pair", (1, 2), "[1]"),
    ("pair", [1, "a"], "tuple"),
    ("table", {1: 1}, "keys of a mapping are text"),
    ("table", {"a": "1"}, "['a']"),
    ("table", {"\ud800": 1}, "surrogate"),
    ("table", [("a", 1)], "dict"),
    ("address", {"city": "Rome"}, "Address"),
    ("address", Address(city=3), "['city']"),
    ("address", Address("Rome", codes=[1, "2"]), "['codes'][1]"),
    ("point", Point("1"), "['x']"),
    ("point", Address("Rome"), "Point"),
    ("settings", {"depth": "1"}, "['depth']"),
    ("settings", {"width": 1}, "'width'"),
    ("colour", "red", "Colour"),
    ("colour", StrColour.RED, "Colour"),
    ("size", 1, "Size"),
    ("mode", "x", "Literal"),
    ("mode", True, "Literal"),
    ("open", NAN, "finite"),
    ("open", 2**63, "64 signed bits"),
    ("open", Decimal("NaN"), "finite"),
    ("open", "\udfff", "surrogate"),
    ("open", datetime(2020, 1, 1), "naive"),
    ("open", time(1, tzinfo=UTC), "time zone"),
    ("open", object(), "object"),
    ("open", Colour.RED, "Colour"),
    ("open", Address("Rome"), "Address"),
    ("open", frozenset(), "frozenset"),
    ("open", 1 + 2j, "complex"),
    ("open", Text("x"), "Text"),
    ("open", {1: 2}, "keys of a mapping are text"),
    ("open", {None: 2}, "keys of a mapping are text"),
    ("open", {"a": [{"b": NAN}]}, "['a'][0]['b']"),
    ("open", [1, (2, {object})], "[1][1]"),
    ("open_list", (), "list"),
    ("open_list", None, "list"),
    ("open_list", [NAN], "[0]"),
    ("open_dict", [], "dict"),
    ("open_dict", {"a": object()}, "['a']"),
    ("maybe", "x", "int"),
    ("percent", 101, "<= 100"),
    ("percent", -1, ">= 0"),
    ("short", "abcd", "<= 3"),
    ("short", "b", "'^a'"),
    ("few", [1, 2, 3], "<= 2"),
]


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
def test_refused_when_saved_and_when_updated(storage, name, value, reason):
    Everything(pk="there").save(storage)
    record = Everything(pk="a", **{name: value})
    for store in (
        lambda: record.save(storage),
        lambda: record.validate(),  # noqa: PLW0108
        lambda: storage.save_all([Everything(pk="b"), record]),
        lambda: Everything.objects(storage).update(**{name: value}),
    ):
        with pytest.raises(ValidationError) as caught:
            store()
        message = str(caught.value)
        assert "Everything" in message
        assert name in message
        assert any(part in message for part in reason.split("|")), message
        assert [field for field, _ in caught.value.problems] == [name]
    assert [one.pk for one in Everything.objects(storage)] == ["there"]
    assert Everything.objects(storage).get("there").to_dict() == Everything(pk="there").to_dict()


KEPT = [
    ("integer", 2**63 - 1),
    ("integer", -(2**63)),
    ("real", 1e308),
    ("real", 5e-324),
    ("decimal", Decimal("9" * 34)),
    ("decimal", Decimal("1E+6111")),
    ("decimal", Decimal("1E-6176")),
    ("decimal", Decimal("1.50")),
    ("text", "a\0b\U0010ffff"),
    ("instant", datetime(2020, 1, 1, 12, 0, 0, 1, tzinfo=EAST)),
    ("naive", datetime(2020, 1, 1, 0, 0, 0, 999999)),
    ("day", date(1, 1, 1)),
    ("clock", time(23, 59, 59, 999999)),
    ("duration", timedelta(days=-1, microseconds=1)),
    ("row", (1, 2, 3)),
    ("pair", (1, "a")),
    ("table", {"a.b": 1, "$c": 2, "d__e": 3, "": 4}),
    ("address", Address("Rome", [1, 2])),
    ("point", Point(3)),
    ("settings", {}),
    ("colour", Colour.BLUE),
    ("size", Size.SMALL),
    ("mode", 1),
    ("open", {"a": [{"b": (1, {2.5})}, None, True, b"x", Decimal("1.0")]}),
    ("open", [date(2020, 1, 1), time(1), timedelta(1), UUID(int=1)]),
    ("percent", 100),
    ("few", [1, 2]),
]


@pytest.mark.parametrize(("name", "value"), KEPT)
def test_what_lies_just_inside_comes_back_as_it_was(storage, name, value):
    Everything(pk="a", **{name: value}).save(storage)
    found = getattr(Everything.objects(storage).get("a"), name)
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value) or isinstance(value, datetime | dict | set)


def test_an_int_in_a_float_field_is_the_one_coercion(storage):
    Everything(pk="a", real=3).save(storage)
    found = Everything.objects(storage).get("a").real
    assert (found, type(found)) == (3.0, float)


def test_all_failures_of_a_record_come_in_one_error(storage):
    record = Everything(pk=7, integer="x", text=None, numbers=(1,), percent=101, open=NAN)
    with pytest.raises(ValidationError) as caught:
        record.save(storage)
    names = [name for name, _ in caught.value.problems]
    assert names == ["integer", "text", "numbers", "open", "percent", "pk"]
    message = str(caught.value)
    for name, reason in caught.value.problems:
        assert f"{name}: {reason}" in message
    record.pk, record.integer, record.text, record.numbers = "a", 1, "", [1]
    with complaint(ValidationError, "'a'", "open", "percent"):
        record.save(storage)
    record.percent, record.open = 1, None
    record.save(storage)


def test_choices_and_validators(storage):
    def even(value):
        if value % 2:
            raise ValueError(f"{value} is odd")

    def silent(value):
        if value == 6:
            raise ValueError

    class Chosen(Model):
        number: Field[int | None] = Field(
            default=None, choices=[1, 2, 4, 6], validators=[lambda v: v and even(v), silent]
        )

    for number in (None, 2, 4):
        Chosen(number=number).save(storage)
    with complaint(ValidationError, "Chosen", "number", "5", "choices 1, 2, 4, 6"):
        Chosen(number=5).save(storage)
    with complaint(ValidationError, "Chosen", "number", "1 is odd"):
        Chosen(number=1).save(storage)
    with complaint(ValidationError, "Chosen", "number", "6 was refused by", "silent"):
        Chosen(number=6).save(storage)
    with complaint(ValidationError, "number", "choices"):
        Chosen.objects(storage).update(number=3)
    assert Chosen.objects(storage).values("number") == [None, 2, 4]


def nested(shape, depth):
    value: Any = 1
    for _ in range(depth):
        value = shape(value)
    return value


@pytest.mark.parametrize(
    "shape", [lambda v: [v], lambda v: {"a": v}, lambda v: (v,)], ids=["list", "dict", "tuple"]
)
def test_nesting_is_kept_to_48_levels_and_refused_beyond(storage, shape):
    for depth in (1, 10, 47, 48):
        record = Everything(pk="a", open=nested(shape, depth)).save(storage, replace=True)
        assert repr(Everything.objects(storage).get("a").open) == repr(record.open)
        assert repr(storage.raw(Everything, "a")["open"]) == repr(record.open)
        assert Everything.objects(storage).where(open=record.open).count() == 1
    for depth in (49, 50, 300, 1000, 100_000):
        with complaint(ValidationError, "open", "too deep", "48 levels"):
            Everything(pk="a", open=nested(shape, depth)).save(storage, replace=True)
        with complaint(OperandInvalid, "open", "too deep"):
            Everything.objects(storage).where(open=nested(shape, depth))


def test_structures_that_hold_themselves_have_the_same_limit(storage):
    def chain(length):
        made = None
        for _ in range(length):
            made = Link(made)
        return made

    Chain(pk="a", link=chain(48)).save(storage)
    assert Chain.objects(storage).get("a").link == chain(48)
    for length in (49, 5000):
        with complaint(ValidationError, "link", "too deep", "48 levels"):
            Chain(pk="b", link=chain(length)).save(storage)


def test_a_deep_value_that_stands_in_many_places_is_soon_refused(storage):
    value = 0
    for _ in range(100):
        value = [value, value]
    with complaint(ValidationError, "open", "too deep"):
        Everything(pk="a", open=value).save(storage)


def test_a_value_inside_itself_is_refused(storage):
    circle: list[Any] = []
    circle.append(circle)
    with complaint(ValidationError, "open", "too deep"):
        Everything(open=circle).save(storage)


def test_a_stored_value_is_no_longer_the_given_object(storage):
    value = {"a": [1]}
    record = Everything(pk="a", open=value).save(storage)
    value["a"].append(2)
    assert Everything.objects(storage).get("a").open == {"a": [1]}
    assert record.changes() == {"open": ({"a": [1]}, {"a": [1, 2]})}
    first, second = Everything.objects(storage).get("a"), Everything.objects(storage).get("a")
    first.open["a"].append(3)
    assert second.open == {"a": [1]}
