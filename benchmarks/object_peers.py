"""With stores of objects and documents in Python, each as its own documentation says."""

from __future__ import annotations

import heapq
import operator
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import BTrees.OOBTree
import mongita
import persistent
import tinydb
import tinydb.operations
import transaction
import zlmdb
import ZODB
import ZODB.FileStorage

from benchmarks.records import FIELDS, Row
from benchmarks.workload import PAGE, Found, values_of


class ZodbPerson(persistent.Persistent):
    """A person as ZODB keeps it."""

    def __init__(self, pk: str, **values: Any) -> None:
        self.pk = pk
        self.__dict__.update(values)


class Zodb:
    """With ZODB; its indexes are trees of sets, kept by hand as its manual says."""

    title = "ZODB"
    is_slow = False

    def __init__(self, folder: Path) -> None:
        self.path = folder / "data.fs"
        self._open()
        root = self.connection.root
        root.people, root.cities, root.ages = (BTrees.OOBTree.OOBTree() for _ in range(3))
        transaction.commit()

    def _open(self) -> None:
        self.database = ZODB.DB(ZODB.FileStorage.FileStorage(str(self.path)))
        self.connection = self.database.open()

    def _add(self, key: str, values: dict[str, Any]) -> None:
        root = self.connection.root
        if key in root.people:
            raise KeyError(key)
        root.people[key] = ZodbPerson(key, **values)
        for index, value in ((root.cities, values["city"]), (root.ages, values["age"])):
            if value not in index:
                index[value] = BTrees.OOBTree.OOTreeSet()
            index[value].add(key)

    def insert_many(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            self._add(key, values)
        transaction.commit()

    def insert_each(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            self._add(key, values)
            transaction.commit()

    def get(self, keys: Sequence[str]) -> list[Found]:
        people = self.connection.root.people
        return [people[key] for key in keys]

    def in_city(self, name: str) -> list[Found]:
        return self.get(list(self.connection.root.cities.get(name, ())))

    def of_age(self, low: int, high: int) -> list[Found]:
        some = self.connection.root.ages.values(low, high)
        return self.get([key for keys in some for key in keys])

    def with_text(self, part: str) -> list[Found]:
        return [one for one in self.connection.root.people.values() if part in one.note]

    def page_by_age(self) -> list[Found]:
        found: list[str] = []
        for keys in self.connection.root.ages.values():
            found += keys
            if len(found) >= PAGE:
                break
        return self.get(found[:PAGE])

    def page_by_score(self) -> list[Found]:
        people = self.connection.root.people.values()
        return heapq.nsmallest(PAGE, people, key=operator.attrgetter("score", "pk"))

    def count_city(self, name: str) -> int:
        return len(self.connection.root.cities.get(name, ()))

    def fetch_all(self) -> list[Found]:
        return list(self.connection.root.people.values())

    def update(self, keys: Sequence[str]) -> None:
        for person in self.get(keys):
            person.score += 1.0
        transaction.commit()

    def delete_city(self, name: str) -> int:
        root = self.connection.root
        people = self.in_city(name)
        for person in people:
            root.ages[person.age].remove(person.pk)
            del root.people[person.pk]
        root.cities.pop(name, None)
        transaction.commit()
        return len(people)

    def reopen(self, key: str) -> list[Found]:
        self.close()
        self._open()
        return self.get([key])

    def plain(self, found: Found) -> tuple[Any, ...]:
        return (found.pk, *values_of(found))

    def close(self) -> None:
        transaction.abort()
        self.connection.close()
        self.database.close()


class ZlmdbPerson:
    """A person as zlmdb pickles it."""

    def __init__(self, pk: str, **values: Any) -> None:
        self.pk = pk
        self.__dict__.update(values)


_FURTHEST = 2**53


class _Schema(zlmdb.Schema):  # type: ignore[misc]
    def __init__(self) -> None:
        self.people = zlmdb.MapOidPickle(1)
        self.cities = zlmdb.MapStringOidOid(2)
        self.ages = zlmdb.MapOidOidOid(3)
        self.people.attach_index("cities", self.cities, lambda one: (one.city, int(one.pk)))
        self.people.attach_index("ages", self.ages, lambda one: (one.age, int(one.pk)))


class Zlmdb:
    """With zlmdb: pickles in LMDB, and the indexes that it keeps itself."""

    title = "zlmdb"
    is_slow = False

    def __init__(self, folder: Path) -> None:
        self.path = folder / "zlmdb"
        self._open()

    def _open(self) -> None:
        self.database = zlmdb.Database(dbpath=str(self.path), maxsize=1 << 32)
        self.database.__enter__()
        self.schema = _Schema()

    def insert_many(self, rows: Sequence[Row]) -> None:
        with self.database.begin(write=True) as work:
            for key, values in rows:
                self.schema.people[work, int(key)] = ZlmdbPerson(key, **values)

    def insert_each(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.insert_many([row])

    def get(self, keys: Sequence[str]) -> list[Found]:
        found = []
        for key in keys:
            with self.database.begin() as work:
                found.append(self.schema.people[work, int(key)])
        return found

    def _by(self, index: Any, low: Any, high: Any, most: int | None = None) -> list[Found]:
        with self.database.begin() as work:
            found = index.select(work, from_key=low, to_key=high, return_keys=False)
            return [self.schema.people[work, number] for number in islice(found, most)]

    def in_city(self, name: str) -> list[Found]:
        return self._by(self.schema.cities, (name, 0), (name, _FURTHEST))

    def of_age(self, low: int, high: int) -> list[Found]:
        return self._by(self.schema.ages, (low, 0), (high, _FURTHEST))

    def _all(self) -> Iterator[Found]:
        with self.database.begin() as work:
            yield from self.schema.people.select(work, return_keys=False)

    def with_text(self, part: str) -> list[Found]:
        return [one for one in self._all() if part in one.note]

    def page_by_age(self) -> list[Found]:
        return self._by(self.schema.ages, (0, 0), (_FURTHEST, 0), PAGE)

    def page_by_score(self) -> list[Found]:
        return heapq.nsmallest(PAGE, self._all(), key=operator.attrgetter("score", "pk"))

    def count_city(self, name: str) -> int:
        with self.database.begin() as work:
            low, high = (name, 0), (name, _FURTHEST)
            return int(self.schema.cities.count_range(work, from_key=low, to_key=high))

    def fetch_all(self) -> list[Found]:
        return list(self._all())

    def update(self, keys: Sequence[str]) -> None:
        with self.database.begin(write=True) as work:
            for key in keys:
                person = self.schema.people[work, int(key)]
                person.score += 1.0
                self.schema.people[work, int(key)] = person

    def delete_city(self, name: str) -> int:
        people = self.in_city(name)
        with self.database.begin(write=True) as work:
            for person in people:
                del self.schema.people[work, int(person.pk)]
        return len(people)

    def reopen(self, key: str) -> list[Found]:
        self.close()
        self._open()
        return self.get([key])

    def plain(self, found: Found) -> tuple[Any, ...]:
        return (found.pk, *values_of(found))

    def close(self) -> None:
        self.database.__exit__(None, None, None)


# --- documents ------------------------------------------------------------------------------


def _document(key: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"pk": key, **values, "joined": values["joined"].isoformat()}


class _Documents:
    def plain(self, found: Found) -> tuple[Any, ...]:
        values = {name: found[name] for name in FIELDS}
        if isinstance(values["joined"], str):
            values["joined"] = datetime.fromisoformat(values["joined"])
        elif values["joined"].tzinfo is None:
            values["joined"] = values["joined"].replace(tzinfo=UTC)
        return (found["pk"], *values.values())


class TinyDb(_Documents):
    """With TinyDB: one file of JSON, and no indexes."""

    title = "TinyDB"
    is_slow = True

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tiny.json"
        self.database = tinydb.TinyDB(self.path)

    def insert_many(self, rows: Sequence[Row]) -> None:
        self.database.insert_multiple([_document(*row) for row in rows])

    def insert_each(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.database.insert(_document(*row))

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [self.database.get(tinydb.where("pk") == key) for key in keys]

    def in_city(self, name: str) -> list[Found]:
        return list(self.database.search(tinydb.where("city") == name))

    def of_age(self, low: int, high: int) -> list[Found]:
        age = tinydb.where("age")
        return list(self.database.search((age >= low) & (age <= high)))

    def with_text(self, part: str) -> list[Found]:
        return list(self.database.search(tinydb.where("note").test(lambda note: part in note)))

    def page_by_age(self) -> list[Found]:
        return heapq.nsmallest(PAGE, self.database.all(), key=operator.itemgetter("age", "pk"))

    def page_by_score(self) -> list[Found]:
        return heapq.nsmallest(PAGE, self.database.all(), key=operator.itemgetter("score", "pk"))

    def count_city(self, name: str) -> int:
        return self.database.count(tinydb.where("city") == name)

    def fetch_all(self) -> list[Found]:
        return list(self.database.all())

    def update(self, keys: Sequence[str]) -> None:
        wanted = tinydb.where("pk").one_of(list(keys))
        self.database.update(tinydb.operations.add("score", 1.0), wanted)

    def delete_city(self, name: str) -> int:
        return len(self.database.remove(tinydb.where("city") == name))

    def reopen(self, key: str) -> list[Found]:
        self.database.close()
        self.database = tinydb.TinyDB(self.path)
        return self.get([key])

    def close(self) -> None:
        self.database.close()


class Mongita(_Documents):
    """With mongita: MongoDB's interface over files, with indexes of its own."""

    title = "mongita"
    is_slow = True

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


PEERS = (Zodb, Zlmdb, TinyDb, Mongita)
