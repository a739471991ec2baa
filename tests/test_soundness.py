"""What is decided at once of an instance never differs from what is decided thoroughly."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymodels import Field, Key, Model, ValidationError, get_storage
from pymodels.soundness import is_sound, problems


class Colour(Enum):
    RED = "red"


class Town(Model):
    pk: Key[int]


class Everything(Model):
    text: Field[str | None]
    number: Field[int | None]
    amount: Field[float | None]
    yes: Field[bool | None]
    moment: Field[datetime | None]
    day: Field[date | None]
    span: Field[timedelta | None]
    uuid: Field[UUID | None]
    exact: Field[Decimal | None]
    words: Field[list[str]]
    either: Field[int | str | None]
    short: Field[Annotated[str, msgspec.Meta(max_length=2)] | None]
    colour: Field[Colour | None]
    chosen: Field[str | None] = Field(choices=["a", "b"])
    town: Field[Town | None]


SOUND: dict[str, Any] = {
    "text": "a",
    "number": 1,
    "amount": 1.5,
    "yes": True,
    "moment": datetime(2020, 1, 1, tzinfo=UTC),
    "day": date(2020, 1, 1),
    "span": timedelta(1),
    "uuid": UUID(int=1),
    "exact": Decimal(1),
    "words": ["a", "b"],
    "either": "a",
    "short": "ab",
    "colour": Colour.RED,
    "chosen": "a",
    "town": 7,
}


class Text(str):
    __slots__ = ()


VALUES = st.sampled_from(
    [
        *SOUND.values(),
        None,
        "é",
        "abc",
        "\ud800",
        Text("a"),
        0,
        2**63 - 1,
        2**63,
        -(2**63),
        -(2**63) - 1,
        False,
        float("nan"),
        float("inf"),
        -0.0,
        datetime(2020, 1, 1),
        datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        Decimal("NaN"),
        [],
        ["é"],
        ["\ud800"],
        ["a", 1],
        [Text("a")],
        ("a",),
        {"a": 1},
        object(),
    ]
)


def test_what_is_sound_is_decided_at_once() -> None:
    record = Everything(pk="k", **SOUND)
    assert is_sound(record)
    assert problems(record) == []


@pytest.mark.parametrize("name", [name for name in SOUND if name != "words"])
def test_null_is_sound_where_it_is_declared(name: str) -> None:
    assert is_sound(Everything(**(SOUND | {name: None})))


@given(st.dictionaries(st.sampled_from(sorted(SOUND)), VALUES, min_size=1))
def test_nothing_is_taken_that_is_refused_after_thorough_checks(values: dict[str, Any]) -> None:
    record = Everything(**SOUND)
    for name, value in values.items():
        setattr(record, name, value)
    assert is_sound(record) == (problems(record) == [])


@pytest.mark.parametrize("key", ["", "\ud800", 7, "é", "k", None])
def test_keys(key: Any) -> None:
    record = Everything(pk=key, **SOUND)
    assert is_sound(record) == (problems(record) == [])
    assert is_sound(record) == (key in ("é", "k", None))


def test_a_reference_to_what_is_not_saved_is_found() -> None:
    record = Everything(**(SOUND | {"town": Town(pk=7)}))
    assert is_sound(record)
    record.town = Town()
    assert not is_sound(record)
    with pytest.raises(ValidationError, match="save it first"):
        record.save(get_storage("pymodels.ext.memory"))
