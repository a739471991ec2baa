"""A model with a field of each sort, and a storage that must not be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Optional

from pymodels import Field, Key, Model, get_storage


@dataclass
class Address:
    city: str
    number: int = 0


class Town(Model):
    id: Key[int]
    name: Field[str] = ""


class Person(Model):
    name: Field[str] = ""
    age: Field[int | None] = None
    score: Field[float] = 0.0
    active: Field[bool] = True
    born: Field[datetime | None] = None
    day: Field[date | None] = None
    tags: Field[list[str]] = []
    address: Field[Address | None] = None
    addresses: Field[list[Address]] = []
    table: Field[dict[str, int]] = {}
    pair: Field[tuple[int, str]] = (0, "")
    town: Field[Optional[Town]] = Field(default=None)  # noqa: UP045
    anything: Field[Any] = None


class Nicknamed(Person, must_have={"nick__exists": True}):
    nick: Field[str]


def unread_storage() -> Any:
    """Return a storage from which nothing can be read: what is tested with it comes before that."""
    storage: Any = get_storage("pymodels.ext.memory")

    def unexpected(*args: Any, **options: Any) -> Any:
        raise AssertionError("a query that is wrong was run")

    for name in ("read", "scan", "count", "rewrite", "write"):
        setattr(storage, name, unexpected)
    return storage
