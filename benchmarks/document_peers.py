"""With stores of documents in Python, each as its own documentation says."""

from __future__ import annotations

import heapq
import operator
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import mongita
import tinydb
from tinydb.middlewares import CachingMiddleware
from tinydb.operations import add
from tinydb.storages import JSONStorage
from tinydb.table import Document

from benchmarks.records import FIELDS, Row
from benchmarks.workload import PAGE, Found


def _document(key: str, values: dict[str, Any]) -> dict[str, Any]:
    # JSON knows no instants, and BSON none of microseconds.
    return {"pk": key, **values, "joined": values["joined"].isoformat()}


def _sums(people: Iterable[Found]) -> dict[str, int]:
    found: defaultdict[str, int] = defaultdict(int)
    for person in people:
        found[person["city"]] += person["age"]
    return found


class _Documents:
    def plain(self, found: Found) -> tuple[Any, ...]:
        values = {name: found[name] for name in FIELDS}
        values["joined"] = datetime.fromisoformat(values["joined"])
        return (found["pk"], *values.values())


class TinyDb(_Documents):
    """With TinyDB: one file of JSON, read for each query and written for each save; no indexes."""

    title = "TinyDB"
    is_slow = True

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tiny.json"
        self._open()

    def _storage(self) -> Any:
        return JSONStorage

    def _open(self) -> None:
        self.database = tinydb.TinyDB(self.path, storage=self._storage())
        # Otherwise what is asked for again is not looked for, but copied from the last answer.
        self.people = self.database.table("people", cache_size=0)

    @staticmethod
    def _document(key: str, values: dict[str, Any]) -> Document:
        return Document(_document(key, values), doc_id=int(key))

    def insert_many(self, rows: Sequence[Row]) -> None:
        self.people.insert_multiple([self._document(*row) for row in rows])

    def insert_each(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.people.insert(self._document(*row))

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [self.people.get(doc_id=int(key)) for key in keys]

    def in_city(self, name: str) -> list[Found]:
        return list(self.people.search(tinydb.where("city") == name))

    def of_age(self, low: int, high: int) -> list[Found]:
        age = tinydb.where("age")
        return list(self.people.search((age >= low) & (age <= high)))

    def with_text(self, part: str) -> list[Found]:
        return list(self.people.search(tinydb.where("note").test(lambda note: part in note)))

    def page_by_age(self) -> list[Found]:
        return heapq.nsmallest(PAGE, self.people, key=operator.itemgetter("age", "pk"))

    def page_by_score(self) -> list[Found]:
        return heapq.nsmallest(PAGE, self.people, key=operator.itemgetter("score", "pk"))

    def count_city(self, name: str) -> int:
        return int(self.people.count(tinydb.where("city") == name))

    def cities(self) -> tuple[str, ...]:
        return tuple(sorted({found["city"] for found in self.people}))

    def ages(self) -> tuple[int, int]:
        ages = [found["age"] for found in self.people]
        return min(ages), max(ages)

    def ages_in_cities(self) -> dict[str, int]:
        return _sums(self.people)

    def fetch_all(self) -> list[Found]:
        return list(self.people.all())

    def update(self, keys: Sequence[str]) -> None:
        self.people.update(add("score", 1.0), doc_ids=[int(key) for key in keys])

    def delete_city(self, name: str) -> int:
        return len(self.people.remove(tinydb.where("city") == name))

    def reopen(self, key: str) -> list[Found]:
        self.database.close()
        self._open()
        return self.get([key])

    def close(self) -> None:
        self.database.close()


class CachedTinyDb(TinyDb):
    """With TinyDB's cache, which writes the file when it is closed and on each thousandth write."""

    title = "TinyDB, cached"
    is_slow = False

    def _storage(self) -> Any:
        return CachingMiddleware(JSONStorage)


class Mongita(_Documents):
    """With mongita: MongoDB's interface over files, with indexes of its own."""

    title = "mongita"
    is_slow = False

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._open()
        self.people.create_index("city")
        self.people.create_index("age")

    def _open(self) -> None:
        self.client = mongita.MongitaClientDisk(str(self.path))
        self.people = self.client.benchmarks.people

    @staticmethod
    def _document(key: str, values: dict[str, Any]) -> dict[str, Any]:
        return {**_document(key, values), "_id": key}

    def insert_many(self, rows: Sequence[Row]) -> None:
        self.people.insert_many([self._document(*row) for row in rows])

    def insert_each(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.people.insert_one(self._document(*row))

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [self.people.find_one({"_id": key}) for key in keys]

    def in_city(self, name: str) -> list[Found]:
        return list(self.people.find({"city": name}))

    def of_age(self, low: int, high: int) -> list[Found]:
        return list(self.people.find({"age": {"$gte": low, "$lte": high}}))

    def with_text(self, part: str) -> list[Found]:
        return [found for found in self.people.find({}) if part in found["note"]]

    def page_by_age(self) -> list[Found]:
        return list(self.people.find({}).sort([("age", 1), ("pk", 1)]).limit(PAGE))

    def page_by_score(self) -> list[Found]:
        return list(self.people.find({}).sort([("score", 1), ("pk", 1)]).limit(PAGE))

    def count_city(self, name: str) -> int:
        return int(self.people.count_documents({"city": name}))

    def cities(self) -> tuple[str, ...]:
        return tuple(sorted(self.people.distinct("city")))

    def ages(self) -> tuple[int, int]:
        low, high = (self.people.find_one({}, [("age", way)]) for way in (1, -1))
        return low["age"], high["age"]

    def ages_in_cities(self) -> dict[str, int]:
        return _sums(self.people.find({}))

    def fetch_all(self) -> list[Found]:
        return list(self.people.find({}))

    def update(self, keys: Sequence[str]) -> None:
        self.people.update_many({"_id": {"$in": list(keys)}}, {"$inc": {"score": 1.0}})

    def delete_city(self, name: str) -> int:
        return int(self.people.delete_many({"city": name}).deleted_count)

    def reopen(self, key: str) -> list[Found]:
        self.client.close()
        self._open()
        return self.get([key])

    def close(self) -> None:
        self.client.close()


PEERS = (TinyDb, CachedTinyDb, Mongita)
