"""What the tests of the reference evaluator share: models, and how one case is decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any

from pymodels import Field, Key, Model, Path
from pymodels.evaluation import compile_condition
from pymodels.messagepack import MessagePack

GONE: Any = object()
CODEC = MessagePack()
SOON = datetime(2024, 2, 29, 23, 30, tzinfo=UTC)


class Changing(tzinfo):
    """A zone that sets its clocks back by an hour, all the time: each moment of it comes twice."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1 if moment is not None and moment.fold else 2)

    def dst(self, moment: datetime | None) -> timedelta:
        return timedelta(0)


CHANGING = Changing()


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Part:
    name: str
    price: Decimal = Decimal(0)


class Town(Model):
    id: Key[int]
    name: Field[str] = Field(default="")


class Thing(Model):
    age: Field[int | None] = Field(default=7)
    ratio: Field[float | None] = Field(default=None)
    price: Field[Decimal | None] = Field(default=None)
    name: Field[str | None] = Field(default="nobody")
    flag: Field[bool | None] = Field(default=None)
    when: Field[datetime | None] = Field(default=None)
    day: Field[date | None] = Field(default=None)
    size: Field[Size | None] = Field(default=None)
    tags: Field[list[str]] = Field(default_factory=list)
    lucky: Field[set[int]] = Field(default_factory=set)
    parts: Field[list[Part]] = Field(default_factory=list)
    prices: Field[dict[str, Decimal]] = Field(default_factory=dict)
    loose: Field[dict[str, Any]] = Field(default_factory=dict)
    items: Field[list[Any]] = Field(default_factory=list)
    town: Field[Town | None] = Field(default=None)
    towns: Field[list[Town]] = Field(default_factory=list)
    any: Field[Any] = Field(default=None)


def decide(model: type[Model], stored: bytes, condition: Any, key: Any = "k") -> bool:
    """Return what the evaluator says, having checked the complement."""
    schema = model.__schema__
    found = []
    for one in (condition, ~condition):
        compiled = compile_condition(schema.bind(one))
        found.append(compiled.test(CODEC.probe(schema, compiled.names)(stored), key))
    assert found[1] is (not found[0]), "the complement is not exact"
    return found[0]


def of_open(value: Any, lookup: str, operand: Any) -> bool:
    document = {} if value is GONE else {"x": value}
    return decide(Thing, CODEC.from_document(document), Path("x").lookup(lookup, operand))


def of_field(name: str, value: Any, lookup: str, operand: Any) -> bool:
    if value is GONE:
        stored = CODEC.from_document({})
    else:
        stored = CODEC.encode(Thing(**{name: value}))
    return decide(Thing, stored, getattr(Thing, name).lookup(lookup, operand))
