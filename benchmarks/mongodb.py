"""MongoDB: PyModels, the driver by hand, and MongoEngine: ``python -m benchmarks.mongodb``.

They do the same by turns, on a server of their own; with ``--write`` README.md keeps the table.
All three sort alike, ask the same indexes, and have a majority acknowledge what they write.
A bulk insert is whole or not at all, by hand too; "of halves" is one where by hand it is not.
Instants are of whole milliseconds, which is what MongoDB's own dates hold.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final, Protocol

import mongoengine
import pymongo
from bson.codec_options import CodecOptions

from benchmarks.measuring import Disagreement
from benchmarks.records import RawPerson, Row, make_rows
from benchmarks.tables import conditions, table, write
from pymodels import Field, Model, get_storage

MARK: Final = "mongodb"
DATABASE = "pymodels_benchmarks"
PAGE = 100
NAMES = RawPerson.__struct_fields__


class Person(Model):
    """The record as users of the library write it."""

    name: Field[str]
    email: Field[str | None]
    age: Field[int] = Field(index=True)
    city: Field[str]
    score: Field[float]
    active: Field[bool]
    joined: Field[datetime]
    tags: Field[list[str]]
    note: Field[str]


class Document(mongoengine.Document):  # type: ignore[misc]  # it has no types
    """The same for MongoEngine."""

    key = mongoengine.StringField(primary_key=True)
    name = mongoengine.StringField(required=True)
    email = mongoengine.StringField(null=True)
    age = mongoengine.IntField(required=True)
    city = mongoengine.StringField(required=True)
    score = mongoengine.FloatField(required=True)
    active = mongoengine.BooleanField(required=True)
    joined = mongoengine.DateTimeField(required=True)
    tags = mongoengine.ListField(mongoengine.StringField())
    note = mongoengine.StringField()

    meta = {"indexes": [("age", "pk")], "auto_create_index": False}


class Side(Protocol):
    """One way to do all that is measured."""

    def insert_many(self, rows: Sequence[Row]) -> None: ...
    def insert_loosely(self, rows: Sequence[Row]) -> None: ...
    def clear(self) -> None: ...
    def fetch_all(self) -> list[Any]: ...
    def get(self, keys: Sequence[str]) -> list[Any]: ...
    def find(self, ages: Sequence[int]) -> list[Any]: ...
    def count(self, ages: Sequence[int]) -> int: ...
    def hold(self, keys: Sequence[str]) -> None: ...
    def save_held(self, age: int) -> None: ...
    def update(self, keys: Sequence[str], age: int) -> None: ...
    def close(self) -> None: ...


class Library:
    """With PyModels."""

    def __init__(self, uri: str, turn: str) -> None:
        self.storage = get_storage(
            "pymodels.ext.mongodb", uri=uri, database=DATABASE, collection_prefix=f"library{turn}_"
        )
        self.storage.ensure_indexes(Person)  # type: ignore[attr-defined]  # this backend's own
        self.people = Person.objects(self.storage)

    def insert_many(self, rows: Sequence[Row]) -> None:
        self.storage.save_all([Person(pk=key, **values) for key, values in rows])

    def insert_loosely(self, rows: Sequence[Row]) -> None:
        self.insert_many(rows)  # it is always whole or not at all

    def clear(self) -> None:
        self.people.delete()

    def fetch_all(self) -> list[Any]:
        return self.people.all()

    def get(self, keys: Sequence[str]) -> list[Any]:
        return [self.people.get(key) for key in keys]

    def find(self, ages: Sequence[int]) -> list[Any]:
        return [person for age in ages for person in self.people.where(age=age)[:PAGE]]

    def count(self, ages: Sequence[int]) -> int:
        return sum(self.people.where(age=age).count() for age in ages)

    def hold(self, keys: Sequence[str]) -> None:
        self.held = self.get(keys)

    def save_held(self, age: int) -> None:
        for person in self.held:
            person.age = age
            person.save()

    def update(self, keys: Sequence[str], age: int) -> None:
        for key in keys:
            self.people.where(pk=key).update(age=age)

    def close(self) -> None:
        self.storage.close()


class ByHand:
    """With the driver alone, whose records are mappings."""

    def __init__(self, uri: str, turn: str) -> None:
        self.client: Any = pymongo.MongoClient(uri)
        options: Any = CodecOptions(tz_aware=True)
        self.people = self.client.get_database(DATABASE, options)[f"by_hand{turn}"]
        self.people.create_index([("age", 1), ("_id", 1)])

    def insert_many(self, rows: Sequence[Row]) -> None:
        documents = [{"_id": key, **values} for key, values in rows]
        with self.client.start_session() as session:
            session.with_transaction(lambda own: self.people.insert_many(documents, session=own))

    def insert_loosely(self, rows: Sequence[Row]) -> None:
        self.people.insert_many([{"_id": key, **values} for key, values in rows])

    def clear(self) -> None:
        self.people.delete_many({})

    def fetch_all(self) -> list[Any]:
        return list(self.people.find().sort("_id", 1))

    def get(self, keys: Sequence[str]) -> list[Any]:
        return [self.people.find_one({"_id": key}) for key in keys]

    def find(self, ages: Sequence[int]) -> list[Any]:
        return [
            one for age in ages for one in self.people.find({"age": age}).sort("_id", 1).limit(PAGE)
        ]

    def count(self, ages: Sequence[int]) -> int:
        return sum(self.people.count_documents({"age": age}) for age in ages)

    def hold(self, keys: Sequence[str]) -> None:
        self.held = keys

    def save_held(self, age: int) -> None:
        self.update(self.held, age)

    def update(self, keys: Sequence[str], age: int) -> None:
        for key in keys:
            self.people.update_one({"_id": key}, {"$set": {"age": age}})

    def close(self) -> None:
        self.client.close()


class MongoEngine:
    """With MongoEngine."""

    def __init__(self, uri: str, turn: str) -> None:
        mongoengine.connect(DATABASE, host=uri, tz_aware=True, uuidRepresentation="standard")
        Document._meta["collection"] = f"engine{turn}"
        Document._collection = None
        Document.ensure_indexes()

    def insert_many(self, rows: Sequence[Row]) -> None:
        Document.objects.insert([Document(key=key, **v) for key, v in rows], load_bulk=False)

    def insert_loosely(self, rows: Sequence[Row]) -> None:
        self.insert_many(rows)  # it has no transactions

    def clear(self) -> None:
        Document.objects.delete()

    def fetch_all(self) -> list[Any]:
        return list(Document.objects.order_by("pk"))

    def get(self, keys: Sequence[str]) -> list[Any]:
        return [Document.objects.get(pk=key) for key in keys]

    def find(self, ages: Sequence[int]) -> list[Any]:
        return [one for age in ages for one in Document.objects(age=age).order_by("pk").limit(PAGE)]

    def count(self, ages: Sequence[int]) -> int:
        return sum(Document.objects(age=age).count() for age in ages)

    def hold(self, keys: Sequence[str]) -> None:
        self.held = self.get(keys)

    def save_held(self, age: int) -> None:
        for one in self.held:
            one.age = age
            one.save()

    def update(self, keys: Sequence[str], age: int) -> None:
        for key in keys:
            Document.objects(pk=key).update_one(set__age=age)

    def close(self) -> None:
        mongoengine.disconnect()


SIDES: dict[str, Callable[[str, str], Side]] = {
    "PyModels": Library,
    "by hand": ByHand,
    "MongoEngine": MongoEngine,
}


@dataclass
class Compared:
    """What one operation took each side, in seconds for all its units, for each round."""

    title: str
    units: int
    limit: float | None
    """How many times as long as by hand PyModels may take."""
    took: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SIDES})

    def each(self, side: str) -> float:
        """Return the median for one unit, in microseconds."""
        return statistics.median(self.took[side]) / self.units * 1e6

    def ratio(self, side: str, other: str) -> float:
        return self.each(side) / self.each(other)


@dataclass(frozen=True)
class Step:
    title: str
    run: Callable[[Side, int], Any]
    units: int
    limit: float | None = None
    times: int = 1


def steps(count: int) -> list[Step]:
    """Return what is measured, in this order, on an empty collection."""
    rows = [
        (key, {**values, "joined": _floor(values["joined"])}) for key, values in make_rows(count)
    ]
    keys = [key for key, _ in rows][:: max(1, count // 1_000)]
    few = keys[:: max(1, len(keys) // 200)]
    ages = range(0, 100, 2)

    def held(side: Side, turn: int) -> None:
        side.hold(few)

    return [
        Step("bulk insert, of halves", lambda side, turn: side.insert_loosely(rows), count),
        Step("", lambda side, turn: side.clear(), 1),
        Step("bulk insert", lambda side, turn: side.insert_many(rows), count, 1.5),
        Step("fetch all", lambda side, turn: side.fetch_all(), count, 1.5, times=2),
        Step("get by key", lambda side, turn: side.get(keys), len(keys), 1.3, times=2),
        Step("indexed query of 100", lambda side, turn: side.find(ages), len(ages), 1.4, times=2),
        Step("indexed count", lambda side, turn: side.count(ages), len(ages), times=2),
        Step("", held, 1),
        Step(
            "update of one field",
            lambda side, turn: side.save_held(1_000 + turn),
            len(few),
            1.3,
            times=2,
        ),
        Step(
            "update by query", lambda side, turn: side.update(few, 2_000 + turn), len(few), times=2
        ),
    ]


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def compare(
    uri: str, *, count: int, rounds: int, advance: Callable[[], object] = lambda: None
) -> list[Compared]:
    """Measure every operation *rounds* times on the server at *uri*; each begins with no record."""
    todo = steps(count)
    compared = [Compared(step.title, step.units, step.limit) for step in todo]
    with pymongo.MongoClient[Any](uri) as client:
        client.drop_database(DATABASE)
        gc.collect()
        gc.freeze()  # what was there before is no garbage of the operations
        try:
            for number in range(rounds):
                sides = {name: make(uri, str(number)) for name, make in SIDES.items()}
                try:
                    for step, one in zip(todo, compared, strict=True):
                        for turn in range(step.times):
                            _measure(step, one, sides, number + turn)
                    _agree("what is left", {n: side.fetch_all() for n, side in sides.items()})
                finally:
                    for side in sides.values():
                        side.close()
                advance()
        finally:
            gc.unfreeze()
            client.drop_database(DATABASE)
    return [one for one in compared if one.title]


def _measure(step: Step, compared: Compared, sides: dict[str, Side], turn: int) -> None:
    answers: dict[str, Any] = {}
    names = list(sides)
    for position in range(len(names)):
        name = names[(turn + position) % len(names)]
        gc.collect()
        begin = time.perf_counter()
        answers[name] = step.run(sides[name], turn)
        compared.took[name].append(time.perf_counter() - begin)
    _agree(step.title, answers)


def _agree(what: str, answers: dict[str, Any]) -> None:
    plain = [
        [_plain(one) for one in found] if isinstance(found, list) else found
        for found in answers.values()
    ]
    if any(found != plain[0] for found in plain):
        raise Disagreement(f"{what}: {', '.join(answers)} do not agree")


def _plain(found: Any) -> tuple[Any, ...]:
    if isinstance(found, dict):
        return (found["_id"], *(found[name] for name in NAMES))
    return (found.pk, *(getattr(found, name) for name in NAMES))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure on a server of our own, which is stopped afterwards."""
    from tests.mongodb_server import Server

    parser = argparse.ArgumentParser(prog="python -m benchmarks.mongodb", description=__doc__)
    parser.add_argument("--records", type=int, default=20_000, help="how many (20000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is done (5)")
    parser.add_argument("--write", action="store_true", help="keep the table in README.md")
    options = parser.parse_args(arguments)
    print(f"Measuring {options.rounds} rounds ", end="", flush=True)
    server = Server(cache=2)  # for the tests it is so small that batches would wait for room
    try:
        compared = compare(
            server.uri,
            count=options.records,
            rounds=options.rounds,
            advance=lambda: print(".", end="", flush=True),
        )
    finally:
        server.stop()
    what = (
        f"{options.records:,} records, medians of {options.rounds} rounds; "
        f"pymongo {version('pymongo')}, mongoengine {version('mongoengine')}, "
    )
    text = f"{conditions(what)}\n{_table(compared)}"
    print(f"\n\n{text}")
    if options.write:
        write(text, MARK)


def _table(compared: Sequence[Compared]) -> str:
    return table(
        ("mongodb", "PyModels, µs", "by hand, µs", "ratio", "at most", "MongoEngine, µs", "ratio"),
        [
            (
                one.title,
                f"{one.each('PyModels'):,.1f}",
                f"{one.each('by hand'):,.1f}",
                f"{one.ratio('PyModels', 'by hand'):.2f}",
                "" if one.limit is None else f"{one.limit:.1f}",
                f"{one.each('MongoEngine'):,.1f}",
                f"{one.ratio('MongoEngine', 'by hand'):.2f}",
            )
            for one in compared
        ],
    )


if __name__ == "__main__":
    main()
