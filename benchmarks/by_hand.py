"""By hand: what a careful engineer would write with the drivers, and no mapper."""

from __future__ import annotations

import heapq
import json
import sqlite3
import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from benchmarks.records import FIELDS, RawPerson, Row
from benchmarks.workload import PAGE, Found, values_of

ENCODE = msgspec.msgpack.Encoder().encode
DECODE = msgspec.msgpack.Decoder(RawPerson).decode
NUMBER = struct.Struct(">Q").pack
PARSED = struct.Struct(">Q").unpack


class Note(msgspec.Struct):
    """What a scan for text looks at."""

    note: str


class Score(msgspec.Struct):
    """What records are sorted by."""

    score: float


class AgeInCity(msgspec.Struct):
    """What sums look at."""

    age: int
    city: str


DECODE_AGE_IN_CITY = msgspec.msgpack.Decoder(AgeInCity).decode
DECODE_NOTE = msgspec.msgpack.Decoder(Note).decode
DECODE_SCORE = msgspec.msgpack.Decoder(Score).decode


class RawLmdb:
    """With lmdb and msgspec: two tables of duplicate keys are the indexes."""

    title = "LMDB and msgspec by hand"
    is_slow = False

    def __init__(self, folder: Path) -> None:
        self.path = folder / "raw.lmdb"
        self._open()

    def _open(self) -> None:
        self.env = lmdb.open(
            str(self.path), subdir=False, map_size=1 << 33, max_dbs=8, max_spare_txns=8
        )
        self.people = self.env.open_db(b"people")
        self.by_city = self.env.open_db(b"cities", dupsort=True)
        self.by_age = self.env.open_db(b"ages", dupsort=True)

    def insert_many(self, rows: Sequence[Row]) -> None:
        records, cities, ages = [], [], []
        for key, values in rows:
            person, packed = RawPerson(**values), key.encode()
            records.append((packed, ENCODE(person)))
            cities.append((person.city.encode(), packed))
            ages.append((NUMBER(person.age), packed))
        with self.env.begin(write=True) as transaction:
            with transaction.cursor(self.people) as cursor:
                _, added = cursor.putmulti(sorted(records), overwrite=False)
            if added != len(records):
                raise KeyError("a key is taken")
            for table, pairs in ((self.by_city, cities), (self.by_age, ages)):
                with transaction.cursor(table) as cursor:
                    cursor.putmulti(sorted(pairs))

    def insert_each(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            person, packed = RawPerson(**values), key.encode()
            with self.env.begin(write=True) as transaction:
                if not transaction.put(packed, ENCODE(person), db=self.people, overwrite=False):
                    raise KeyError(key)
                transaction.put(person.city.encode(), packed, db=self.by_city)
                transaction.put(NUMBER(person.age), packed, db=self.by_age)

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [(key, self._get(key)) for key in keys]

    def _get(self, key: str) -> RawPerson:
        with self.env.begin(self.people) as transaction:
            data = transaction.get(key.encode())
        if data is None:
            raise KeyError(key)
        return DECODE(data)

    def _fetch(self, transaction: Any, keys: Iterable[bytes]) -> list[Found]:
        with transaction.cursor(self.people) as cursor:
            return [(key.decode(), DECODE(data)) for key, data in cursor.getmulti(keys)]

    def in_city(self, name: str) -> list[Found]:
        with self.env.begin() as transaction, transaction.cursor(self.by_city) as cursor:
            keys = list(cursor.iternext_dup()) if cursor.set_key(name.encode()) else []
            return self._fetch(transaction, keys)

    def of_age(self, low: int, high: int) -> list[Found]:
        end = NUMBER(high)
        with self.env.begin() as transaction, transaction.cursor(self.by_age) as cursor:
            keys = []
            if cursor.set_range(NUMBER(low)):
                for age, key in cursor:
                    if age > end:
                        break
                    keys.append(key)
            keys.sort()
            return self._fetch(transaction, keys)

    def with_text(self, part: str) -> list[Found]:
        with self.env.begin() as transaction, transaction.cursor(self.people) as cursor:
            return [
                (key.decode(), DECODE(data))
                for key, data in cursor
                if part in DECODE_NOTE(data).note
            ]

    def page_by_age(self) -> list[Found]:
        with self.env.begin() as transaction, transaction.cursor(self.by_age) as cursor:
            keys = [key for _, key in islice(cursor, PAGE)]
            return self._fetch(transaction, keys)

    def page_by_score(self) -> list[Found]:
        with self.env.begin() as transaction, transaction.cursor(self.people) as cursor:
            found = heapq.nsmallest(
                PAGE, ((DECODE_SCORE(data).score, key, data) for key, data in cursor)
            )
        return [(key.decode(), DECODE(data)) for _, key, data in found]

    def count_city(self, name: str) -> int:
        with self.env.begin() as transaction, transaction.cursor(self.by_city) as cursor:
            return int(cursor.count()) if cursor.set_key(name.encode()) else 0

    def cities(self) -> tuple[str, ...]:
        with self.env.begin() as transaction, transaction.cursor(self.by_city) as cursor:
            return tuple([name.decode() for name in cursor.iternext_nodup(values=False)])

    def ages(self) -> tuple[int, int]:
        with self.env.begin() as transaction, transaction.cursor(self.by_age) as cursor:
            cursor.first()
            (low,) = PARSED(cursor.key())
            cursor.last()
            (high,) = PARSED(cursor.key())
            return low, high

    def ages_in_cities(self) -> dict[str, int]:
        sums: defaultdict[str, int] = defaultdict(int)
        with self.env.begin() as transaction, transaction.cursor(self.people) as cursor:
            for data in cursor.iternext(keys=False):
                one = DECODE_AGE_IN_CITY(data)
                sums[one.city] += one.age
        return sums

    def fetch_all(self) -> list[Found]:
        with self.env.begin(self.people) as transaction, transaction.cursor() as cursor:
            return [(key.decode(), DECODE(data)) for key, data in cursor]

    def update(self, keys: Sequence[str]) -> None:
        with self.env.begin(self.people, write=True) as transaction:
            for key in keys:
                packed = key.encode()
                person = DECODE(transaction.get(packed) or b"")
                person.score += 1.0
                transaction.put(packed, ENCODE(person))

    def delete_city(self, name: str) -> int:
        entry = name.encode()
        with self.env.begin(write=True) as transaction:
            with transaction.cursor(self.by_city) as cursor:
                keys = list(cursor.iternext_dup()) if cursor.set_key(entry) else []
            for key in keys:
                person = DECODE(transaction.pop(key, db=self.people) or b"")
                transaction.delete(NUMBER(person.age), key, db=self.by_age)
            transaction.delete(entry, db=self.by_city)
        return len(keys)

    def reopen(self, key: str) -> list[Found]:
        self.env.close()
        self._open()
        return self.get([key])

    def plain(self, found: Found) -> tuple[Any, ...]:
        return (found[0], *values_of(found[1]))

    def close(self) -> None:
        self.env.close()


_COLUMNS = ", ".join(FIELDS)
_MARKS = ", ".join("?" * (len(FIELDS) + 1))


class RawSqlite:
    """With sqlite3, a column each, and JSON for the list."""

    title = "SQLite by hand"
    is_slow = False

    def __init__(self, folder: Path) -> None:
        self.path = folder / "raw.sqlite"
        self._open()
        self.connection.execute(
            "CREATE TABLE person (pk TEXT PRIMARY KEY, name TEXT, email TEXT, age INTEGER, "
            "city TEXT, score REAL, active INTEGER, joined TEXT, tags TEXT, note TEXT)"
        )
        self.connection.execute("CREATE INDEX by_city ON person (city)")
        self.connection.execute("CREATE INDEX by_age ON person (age)")
        self.connection.commit()

    def _open(self) -> None:
        self.connection = sqlite3.connect(self.path)

    @staticmethod
    def _row(row: Row) -> tuple[Any, ...]:
        key, values = row
        person = RawPerson(**values)
        return (
            key,
            person.name,
            person.email,
            person.age,
            person.city,
            person.score,
            person.active,
            person.joined.isoformat(),
            json.dumps(person.tags),
            person.note,
        )

    def insert_many(self, rows: Sequence[Row]) -> None:
        with self.connection:
            self.connection.executemany(
                f"INSERT INTO person VALUES ({_MARKS})",  # noqa: S608 - question marks only
                map(self._row, rows),
            )

    def insert_each(self, rows: Sequence[Row]) -> None:
        for row in rows:
            with self.connection:
                self.connection.execute(
                    f"INSERT INTO person VALUES ({_MARKS})",  # noqa: S608 - question marks only
                    self._row(row),
                )

    def _found(self, rest: str, *operands: Any) -> list[Found]:
        rows = self.connection.execute(
            f"SELECT pk, {_COLUMNS} FROM person {rest}",  # noqa: S608 - our own text
            operands,
        )
        return [
            (
                pk,
                RawPerson(
                    name,
                    email,
                    age,
                    city,
                    score,
                    bool(active),
                    datetime.fromisoformat(joined),
                    json.loads(tags),
                    note,
                ),
            )
            for pk, name, email, age, city, score, active, joined, tags, note in rows
        ]

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [self._found("WHERE pk = ?", key)[0] for key in keys]

    def in_city(self, name: str) -> list[Found]:
        return self._found("WHERE city = ?", name)

    def of_age(self, low: int, high: int) -> list[Found]:
        return self._found("WHERE age BETWEEN ? AND ?", low, high)

    def with_text(self, part: str) -> list[Found]:
        return self._found("WHERE instr(note, ?)", part)

    def page_by_age(self) -> list[Found]:
        return self._found("ORDER BY age, pk LIMIT ?", PAGE)

    def page_by_score(self) -> list[Found]:
        return self._found("ORDER BY score, pk LIMIT ?", PAGE)

    def count_city(self, name: str) -> int:
        found = self.connection.execute("SELECT count(*) FROM person WHERE city = ?", (name,))
        return int(found.fetchone()[0])

    def cities(self) -> tuple[str, ...]:
        rows = self.connection.execute("SELECT DISTINCT city FROM person ORDER BY city")
        return tuple([name for (name,) in rows])

    def ages(self) -> tuple[int, int]:
        found = self.connection.execute(
            "SELECT (SELECT min(age) FROM person), (SELECT max(age) FROM person)"
        )
        low, high = found.fetchone()
        return low, high

    def ages_in_cities(self) -> dict[str, int]:
        return dict(self.connection.execute("SELECT city, sum(age) FROM person GROUP BY city"))

    def fetch_all(self) -> list[Found]:
        return self._found("")

    def update(self, keys: Sequence[str]) -> None:
        with self.connection:
            for key in keys:
                (_, person) = self._found("WHERE pk = ?", key)[0]
                self.connection.execute(
                    "UPDATE person SET score = ? WHERE pk = ?", (person.score + 1.0, key)
                )

    def delete_city(self, name: str) -> int:
        with self.connection:
            return self.connection.execute("DELETE FROM person WHERE city = ?", (name,)).rowcount

    def reopen(self, key: str) -> list[Found]:
        self.connection.close()
        self._open()
        return self.get([key])

    def plain(self, found: Found) -> tuple[Any, ...]:
        return (found[0], *values_of(found[1]))

    def close(self) -> None:
        self.connection.close()
