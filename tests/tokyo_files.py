"""What the tests of Tokyo Cabinet share: models, files, and other processes."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymodels import (
    Field,
    Key,
    Model,
    get_storage,
)
from pymodels.ext.tokyo_cabinet import binding as tokyo

BACKEND = "pymodels.ext.tokyo_cabinet"


class Person(Model):
    name: Field[str | None] = Field(default=None)
    age: Field[int | None] = Field(default=None)
    extra: Field[Any] = Field(default=None)


class Town(Model):
    id: Key[int]
    name: Field[str] = Field(default="")


class Book(Model):
    title: Field[str | None] = Field(default=None, index=True)
    pages: Field[int | None] = Field(default=None, index=True)
    printed: Field[datetime | None] = Field(default=None, index="decimal")
    tags: Field[str | None] = Field(default=None, index="token")
    text: Field[str | None] = Field(default=None, index="qgram")


def opened(path: Path, **more: Any) -> Any:
    return get_storage(BACKEND, path=path, **more)


def foreign(path: Path, records: dict[bytes, dict[bytes, bytes]]) -> None:
    """Write a table as another program would."""
    table = tokyo.TDB()
    table.open(path, tokyo.TDBOWRITER | tokyo.TDBOCREAT)
    for key, columns in records.items():
        table.put(key, columns)
    table.close()


def columns(path: Path, key: bytes) -> dict[bytes, bytes] | None:
    table = tokyo.TDB()
    table.open(path, tokyo.TDBOREADER)
    try:
        return table.get(key)
    finally:
        table.close()


def books() -> list[Book]:
    words = ["sea", "Sailing", "to", "Byzantium", "straße", "STRASSE", "ſea", "Éa", "x"]
    chance = random.Random(7)
    return [
        Book(
            pk=f"{number:03}",
            title=" ".join(chance.choices(words, k=2)) if number % 9 else None,
            pages=chance.choice([None, 1, 10, 9, 100, 2**60, -5]),
            printed=datetime(1900 + number, 1, 1, tzinfo=UTC),
            tags=" ".join(chance.choices(words, k=3)),
            text=" ".join(chance.choices(words, k=8)) if number % 7 else "",
        )
        for number in range(90)
    ]


def in_another_process(code: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parent.parent,
    )


WRITE = """
import sys
from pymodels import Field, Model, get_storage

class Pair(Model):
    number: Field[int] = Field(unique=True)
    text: Field[str] = Field(default="x" * 50, index=True)

storage = get_storage("pymodels.ext.tokyo_cabinet", path=sys.argv[1], kind=sys.argv[2])
for number in range(int(sys.argv[3]), 10**9, 2):
    storage.save_all([Pair(pk=f"{number}a", number=number), Pair(pk=f"{number}b", number=-number)])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


class Pair(Model):
    number: Field[int] = Field(unique=True)
    text: Field[str] = Field(default="", index=True)
