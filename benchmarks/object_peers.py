"""With stores of objects in Python, each as its own documentation says."""

from __future__ import annotations

import heapq
import operator
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import BTrees.OOBTree
import persistent
import transaction
import zlmdb
import ZODB
import ZODB.FileStorage

from benchmarks.records import Row
from benchmarks.workload import PAGE, Found, values_of


def sums(people: Iterable[Any]) -> dict[str, int]:
    """Add the ages of people by their cities, which no store of objects does."""
    found: defaultdict[str, int] = defaultdict(int)
    for person in people:
        found[person.city] += person.age
    return found


class ZodbPerson(persistent.Persistent):
    """A person as ZODB keeps it."""

    def __init__(self, pk: str, **values: Any) -> None:
        self.pk = pk
        self.__dict__.update(values)


class Zodb:
    """With ZODB; its indexes are trees of sets, kept by hand as its manual says.

    What is asked for is read in a transaction of its own, as on the other sides: a longer one does
    not see what others write. Between two of them its cache is cut to its default size.
    """

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

    def _begin(self) -> Any:
        transaction.begin()
        return self.connection.root

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [_loaded([self._begin().people[key]])[0] for key in keys]

    def in_city(self, name: str) -> list[Found]:
        root = self._begin()
        return _loaded([root.people[key] for key in root.cities.get(name, ())])

    def of_age(self, low: int, high: int) -> list[Found]:
        root = self._begin()
        some = root.ages.values(low, high)
        return _loaded([root.people[key] for keys in some for key in keys])

    def with_text(self, part: str) -> list[Found]:
        return [one for one in self._begin().people.values() if part in one.note]

    def page_by_age(self) -> list[Found]:
        root = self._begin()
        found: list[str] = []
        for keys in root.ages.values():
            found += keys
            if len(found) >= PAGE:
                break
        return _loaded([root.people[key] for key in found[:PAGE]])

    def page_by_score(self) -> list[Found]:
        people = self._begin().people.values()
        return heapq.nsmallest(PAGE, people, key=operator.attrgetter("score", "pk"))

    def count_city(self, name: str) -> int:
        return len(self._begin().cities.get(name, ()))

    def cities(self) -> tuple[str, ...]:
        return tuple(self._begin().cities)

    def ages(self) -> tuple[int, int]:
        ages = self._begin().ages
        return ages.minKey(), ages.maxKey()

    def ages_in_cities(self) -> dict[str, int]:
        return sums(self._begin().people.values())

    def fetch_all(self) -> list[Found]:
        return _loaded(list(self._begin().people.values()))

    def update(self, keys: Sequence[str]) -> None:
        people = self._begin().people
        for key in keys:
            people[key].score += 1.0
        transaction.commit()

    def delete_city(self, name: str) -> int:
        people = self.in_city(name)
        root = self.connection.root
        for person in people:
            root.ages[person.age].remove(person.pk)
            if not root.ages[person.age]:
                del root.ages[person.age]
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


def _loaded(people: list[Found]) -> list[Found]:
    """Read what ZODB would read at the first use of each object only."""
    for person in people:
        person._p_activate()
    return people


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

    def cities(self) -> tuple[str, ...]:
        # From the keys of its index of text zlmdb reads back no more than eight characters.
        return tuple(sorted({one.city for one in self._all()}))

    def ages(self) -> tuple[int, int]:
        with self.database.begin() as work:
            ((low, _),) = self.schema.ages.select(work, return_values=False, limit=1)
            ((high, _),) = self.schema.ages.select(work, return_values=False, limit=1, reverse=True)
            return low, high

    def ages_in_cities(self) -> dict[str, int]:
        return sums(self._all())

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


PEERS = (Zodb, Zlmdb)
