"""The operations that are measured: once with the library, and by hand for each driver.

Each side does what a careful engineer would write with it: whole records decoded to typed objects,
a transaction for each get and each batch, one object a record for the caller.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import lmdb
import msgspec

from benchmarks.records import Person, RawPerson, Row
from pymodels import F, get_storage

OLD = 90
PAGE = 50
SKIPPED = 1_000

Found: TypeAlias = Any
"""An object that one side gives to its caller; ``plain`` makes them comparable."""


class Side(Protocol):
    """One way to do all that is measured; what a method returns is compared with the other side."""

    def insert_many(self, rows: Sequence[Row]) -> None: ...
    def insert_each(self, rows: Sequence[Row]) -> None: ...
    def get(self, keys: Sequence[str]) -> list[Found]: ...
    def get_from_storage(self, keys: Sequence[str]) -> list[Found]: ...
    def fetch_all(self) -> list[Found]: ...
    def iterate(self) -> int: ...
    def scan(self) -> list[Found]: ...
    def count(self) -> int: ...
    def page_by_key(self) -> list[Found]: ...
    def page_by_score(self) -> list[Found]: ...
    def update(self) -> int: ...
    def load_and_save(self, keys: Sequence[str]) -> None: ...
    def delete(self) -> int: ...
    def close(self) -> None: ...


def plain(found: Found) -> tuple[Any, ...]:
    """Return the key and the nine values of an object of either side."""
    key, person = (found.pk, found) if isinstance(found, Person) else found
    key = key.decode() if isinstance(key, bytes) else key
    return (key, *(getattr(person, name) for name in RawPerson.__struct_fields__))


class Library:
    """With PyModels, on whatever the settings say."""

    def __init__(self, **settings: Any) -> None:
        self.storage = get_storage(**settings)

    def insert_many(self, rows: Sequence[Row]) -> None:
        self.storage.save_all([Person(pk=key, **values) for key, values in rows])

    def insert_each(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            Person(pk=key, **values).save(self.storage)

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [Person.objects(self.storage).get(key) for key in keys]

    def get_from_storage(self, keys: Sequence[str]) -> list[Found]:
        return [self.storage.get(Person, key) for key in keys]

    def fetch_all(self) -> list[Found]:
        return Person.objects(self.storage).all()

    def iterate(self) -> int:
        return sum(person.age for person in Person.objects(self.storage))

    def scan(self) -> list[Found]:
        return Person.objects(self.storage).where(Person.age >= OLD).all()

    def count(self) -> int:
        return Person.objects(self.storage).where(age__gte=OLD, active=True).count()

    def page_by_key(self) -> list[Found]:
        return Person.objects(self.storage)[SKIPPED : SKIPPED + PAGE].all()

    def page_by_score(self) -> list[Found]:
        return Person.objects(self.storage).order_by("score")[:PAGE].all()

    def update(self) -> int:
        return Person.objects(self.storage).where(active=True).update(age=F("age") + 1)

    def load_and_save(self, keys: Sequence[str]) -> None:
        for key in keys:
            person = Person.objects(self.storage).get(key)
            person.age += 1
            person.save()

    def delete(self) -> int:
        return Person.objects(self.storage).where(active=False).delete()

    def close(self) -> None:
        self.storage.close()


ENCODE = msgspec.msgpack.Encoder().encode
DECODE = msgspec.msgpack.Decoder(RawPerson).decode


class RawLmdb:
    """By hand, with lmdb and msgspec; as durable as the library's own storage."""

    def __init__(self, path: Path) -> None:
        self.env = lmdb.open(str(path), subdir=False, map_size=1 << 33, max_dbs=8, max_spare_txns=8)
        self.people = self.env.open_db(b"people")

    def insert_many(self, rows: Sequence[Row]) -> None:
        with self.env.begin(self.people, write=True) as transaction:
            for key, values in rows:
                _put_new(transaction, key, RawPerson(**values))

    def insert_each(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            with self.env.begin(self.people, write=True) as transaction:
                _put_new(transaction, key, RawPerson(**values))

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [(key, self._get(key)) for key in keys]

    get_from_storage = get

    def _get(self, key: str) -> RawPerson:
        with self.env.begin(self.people) as transaction:
            data = transaction.get(key.encode())
        if data is None:
            raise KeyError(key)
        return DECODE(data)

    def fetch_all(self) -> list[Found]:
        with self.env.begin(self.people) as transaction, transaction.cursor() as cursor:
            return [(key.decode(), DECODE(data)) for key, data in cursor]

    def iterate(self) -> int:
        with self.env.begin(self.people) as transaction, transaction.cursor() as cursor:
            return sum(DECODE(data).age for _, data in cursor)

    def scan(self) -> list[Found]:
        with self.env.begin(self.people) as transaction, transaction.cursor() as cursor:
            return [
                (key.decode(), person)
                for key, data in cursor
                if (person := DECODE(data)).age >= OLD
            ]

    def count(self) -> int:
        with self.env.begin(self.people) as transaction, transaction.cursor() as cursor:
            return sum(
                1 for _, data in cursor if (person := DECODE(data)).age >= OLD and person.active
            )

    def page_by_key(self) -> list[Found]:
        with self.env.begin(self.people) as transaction, transaction.cursor() as cursor:
            rows = islice(cursor, SKIPPED, SKIPPED + PAGE)
            return [(key.decode(), DECODE(data)) for key, data in rows]

    def page_by_score(self) -> list[Found]:
        with self.env.begin(self.people) as transaction, transaction.cursor() as cursor:
            return _lowest((key, DECODE(data)) for key, data in cursor)

    def update(self) -> int:
        changed = 0
        begun = self.env.begin(self.people, write=True)
        with begun as transaction, transaction.cursor() as cursor:
            for key, data in cursor:
                person = DECODE(data)
                if person.active:
                    person.age += 1
                    cursor.put(key, ENCODE(person))
                    changed += 1
        return changed

    def load_and_save(self, keys: Sequence[str]) -> None:
        for key in keys:
            person = self._get(key)
            person.age += 1
            with self.env.begin(self.people, write=True) as transaction:
                transaction.put(key.encode(), ENCODE(person))

    def delete(self) -> int:
        with self.env.begin(self.people, write=True) as transaction:
            with transaction.cursor() as cursor:
                gone = [key for key, data in cursor if not DECODE(data).active]
            for key in gone:
                transaction.delete(key)
        return len(gone)

    def close(self) -> None:
        self.env.close()


def _put_new(transaction: Any, key: str, person: RawPerson) -> None:
    if not transaction.put(key.encode(), ENCODE(person), overwrite=False):
        raise KeyError(f"{key} is taken")


def _lowest(people: Iterable[tuple[Any, RawPerson]]) -> list[Found]:
    return heapq.nsmallest(PAGE, people, key=lambda found: (found[1].score, found[0]))


class RawMemory:
    """By hand, with a dict of bytes: what is read is never shared with the store."""

    def __init__(self) -> None:
        self.people: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def insert_many(self, rows: Sequence[Row]) -> None:
        made = {key: ENCODE(RawPerson(**values)) for key, values in rows}
        with self.lock:
            if taken := self.people.keys() & made.keys():
                raise KeyError(f"{min(taken)} is taken")
            self.people.update(made)

    def insert_each(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            data = ENCODE(RawPerson(**values))
            with self.lock:
                if key in self.people:
                    raise KeyError(f"{key} is taken")
                self.people[key] = data

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [(key, DECODE(self.people[key])) for key in keys]

    get_from_storage = get

    def fetch_all(self) -> list[Found]:
        return [(key, DECODE(data)) for key, data in self.people.items()]

    def iterate(self) -> int:
        return sum(DECODE(data).age for data in self.people.values())

    def scan(self) -> list[Found]:
        return [
            (key, person)
            for key, data in self.people.items()
            if (person := DECODE(data)).age >= OLD
        ]

    def count(self) -> int:
        return sum(
            1
            for data in self.people.values()
            if (person := DECODE(data)).age >= OLD and person.active
        )

    def page_by_key(self) -> list[Found]:
        keys = sorted(self.people)[SKIPPED : SKIPPED + PAGE]
        return [(key, DECODE(self.people[key])) for key in keys]

    def page_by_score(self) -> list[Found]:
        return _lowest((key, DECODE(data)) for key, data in self.people.items())

    def update(self) -> int:
        changed = {}
        with self.lock:
            for key, data in self.people.items():
                person = DECODE(data)
                if person.active:
                    person.age += 1
                    changed[key] = ENCODE(person)
            self.people.update(changed)
        return len(changed)

    def load_and_save(self, keys: Sequence[str]) -> None:
        for key in keys:
            person = DECODE(self.people[key])
            person.age += 1
            with self.lock:
                self.people[key] = ENCODE(person)

    def delete(self) -> int:
        with self.lock:
            gone = [key for key, data in self.people.items() if not DECODE(data).active]
            for key in gone:
                del self.people[key]
        return len(gone)

    def close(self) -> None:
        self.people.clear()
