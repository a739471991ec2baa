"""Tokyo Cabinet and Tokyo Tyrant, beside the bare binding: ``python -m benchmarks.tokyo``.

By hand is what a careful user of ``tokyo-python`` would write: columns of text, a query with a
condition on the indexed column, a get of each key that it finds, and each column turned into what
it stands for. On the server that is a client of the protocol, which gets many records at once. Both
sides of both backends work by turns; with ``--write`` README.md keeps the table.
"""

from __future__ import annotations

import argparse
import json
import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.library import Library
from benchmarks.measuring import Timing, measure
from benchmarks.records import FIELDS, Person, Row, city
from benchmarks.tables import conditions, table, write
from benchmarks.workload import HIGH, LOW, NEEDLE, PAGE, Found, Step
from pymodels.ext.tokyo_cabinet import binding as tokyo
from pymodels.ext.tokyo_tyrant.client import RDB, joined

MARK: Final = "tokyo"
_QUERIES: Final = 50
"""How many indexed queries are timed at once: more records than are kept as they were read last."""

Columns = dict[bytes, bytes]
Condition = tuple[str, str, str]
"""A column, an operation by its name in the protocol, and the operand."""


class ByHand:
    """With text columns and the engine's own conditions; a record is a dict of Python values."""

    title: str
    is_slow = False

    @abstractmethod
    def store(self, records: Mapping[bytes, Columns]) -> None:
        """Store records, all of them or none where the engine can do that."""

    @abstractmethod
    def columns(self, key: bytes) -> Columns | None:
        """Return the columns of one record."""

    @abstractmethod
    def many(self, keys: Sequence[bytes]) -> Sequence[Columns | None]:
        """Return the columns of several."""

    @abstractmethod
    def search(
        self, conditions: Sequence[Condition], order: tuple[str, str], most: int = -1
    ) -> list[bytes]:
        """Return the keys of the records that are found, in an order."""

    @abstractmethod
    def remove(self, keys: Sequence[bytes]) -> None:
        """Remove records."""

    def insert_many(self, rows: Sequence[Row]) -> None:
        self.store({key.encode(): written(values) for key, values in rows})

    def insert_each(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            self.store({key.encode(): written(values)})

    def get(self, keys: Sequence[str]) -> list[Found]:
        found = []
        for key in keys:
            columns = self.columns(key.encode())
            if columns is None:
                raise KeyError(key)
            found.append((key, read(columns)))
        return found

    def _found(self, keys: Sequence[bytes]) -> list[Found]:
        return [
            (key.decode(), read(columns))
            for key, columns in zip(keys, self.many(keys), strict=True)
            if columns is not None
        ]

    def in_city(self, name: str) -> list[Found]:
        return self._found(self.search([("city", "STREQ", name)], ("", "STRASC")))

    def of_age(self, low: int, high: int) -> list[Found]:
        return self._found(self.search([("age", "NUMBT", f"{low} {high}")], ("", "STRASC")))

    def with_text(self, part: str) -> list[Found]:
        return self._found(self.search([("note", "STRINC", part)], ("", "STRASC")))

    def page_by_age(self) -> list[Found]:
        found = self._found(self.search([], ("age", "NUMASC"), PAGE))
        last = found[-1][1]["age"]
        ties = self.search([("age", "NUMEQ", str(last))], ("", "STRASC"))
        page = [one for one in found if one[1]["age"] < last]
        page.sort(key=lambda one: (one[1]["age"], one[0]))
        return page + self._found(ties[: PAGE - len(page)])  # no page has or lacks one by chance

    def page_by_score(self) -> list[Found]:
        return self._found(self.search([], ("score", "NUMASC"), PAGE))

    def count_city(self, name: str) -> int:
        return len(self.search([("city", "STREQ", name)], ("", "STRASC")))

    def fetch_all(self) -> list[Found]:
        return self._found(self.search([], ("", "STRASC")))

    def update(self, keys: Sequence[str]) -> None:
        wanted = [key.encode() for key in keys]
        changed = {}
        for key, columns in zip(wanted, self.many(wanted), strict=True):
            if columns is None:
                raise KeyError(key)
            score = float(columns[b"score"]) + 1.0
            changed[key] = columns | {b"score": repr(score).encode()}
        self.store(changed)

    def delete_city(self, name: str) -> int:
        keys = self.search([("city", "STREQ", name)], ("", "STRASC"))
        self.remove(keys)
        return len(keys)

    @abstractmethod
    def reopen(self, key: str) -> list[Found]: ...

    @abstractmethod
    def close(self) -> None: ...

    def plain(self, found: Found) -> tuple[Any, ...]:
        return (found[0], *(found[1][name] for name in FIELDS))


def written(values: Mapping[str, Any]) -> Columns:
    """Return the columns of a record; null is no column at all."""
    columns = {
        b"name": values["name"].encode(),
        b"age": b"%d" % values["age"],
        b"city": values["city"].encode(),
        b"score": repr(values["score"]).encode(),
        b"active": b"1" if values["active"] else b"0",
        b"joined": values["joined"].isoformat().encode(),
        b"tags": json.dumps(values["tags"]).encode(),
        b"note": values["note"].encode(),
    }
    if values["email"] is not None:
        columns[b"email"] = values["email"].encode()
    return columns


def read(columns: Columns) -> dict[str, Any]:
    """Return what the columns of a record stand for."""
    email = columns.get(b"email")
    return {
        "name": columns[b"name"].decode(),
        "email": None if email is None else email.decode(),
        "age": int(columns[b"age"]),
        "city": columns[b"city"].decode(),
        "score": float(columns[b"score"]),
        "active": columns[b"active"] == b"1",
        "joined": datetime.fromisoformat(columns[b"joined"].decode()),
        "tags": json.loads(columns[b"tags"]),
        "note": columns[b"note"].decode(),
    }


class HandCabinet(ByHand):
    """With the binding of the library."""

    title = "Cabinet by hand"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hand.tct"
        self._open()
        self.table.setindex("age", tokyo.TDBITDECIMAL)
        self.table.setindex("city", tokyo.TDBITLEXICAL)

    def _open(self) -> None:
        self.table = tokyo.TDB()
        self.table.open(self.path, tokyo.TDBOWRITER | tokyo.TDBOCREAT)

    def store(self, records: Mapping[bytes, Columns]) -> None:
        self.table.begin()
        for key, columns in records.items():
            self.table.put(key, columns)
        self.table.commit()

    def columns(self, key: bytes) -> Columns | None:
        return self.table.get(key)

    def many(self, keys: Sequence[bytes]) -> Sequence[Columns | None]:
        return [self.table.get(key) for key in keys]

    def search(
        self, conditions: Sequence[Condition], order: tuple[str, str], most: int = -1
    ) -> list[bytes]:
        query = self.table.query()
        for column, operation, operand in conditions:
            query.filter(column, getattr(tokyo, f"TDBQC{operation}"), operand)
        column, direction = order
        query.sort(column, getattr(tokyo, f"TDBQO{direction}"))
        query.limit(most)
        return query.search()

    def remove(self, keys: Sequence[bytes]) -> None:
        self.table.begin()
        for key in keys:
            self.table.remove(key)
        self.table.commit()

    def reopen(self, key: str) -> list[Found]:
        self.table.close()
        self._open()
        return self.get([key])

    def close(self) -> None:
        self.table.close()


class HandTyrant(ByHand):
    """With the client of the protocol, on a server that is started for it."""

    title = "Tyrant by hand"

    def __init__(self, folder: Path) -> None:
        from tests.tyrants import Tyrant

        self.server = Tyrant(folder / "hand.tct")
        self.client = RDB(self.server.socket)
        self.client.misc("setindex", [b"age", b"DECIMAL"])
        self.client.misc("setindex", [b"city", b"LEXICAL"])

    def store(self, records: Mapping[bytes, Columns]) -> None:
        arguments: list[bytes] = []
        for key, columns in records.items():
            arguments += (key, joined(columns))
        self.client.changed("putlist", arguments)

    def columns(self, key: bytes) -> Columns | None:
        found = self.client.get(key)
        return None if found is None else _parted(found)

    def many(self, keys: Sequence[bytes]) -> Sequence[Columns | None]:
        found = self.client.mget(keys)
        return [_parted(found[key]) for key in keys]

    def search(
        self, conditions: Sequence[Condition], order: tuple[str, str], most: int = -1
    ) -> list[bytes]:
        steps = ["\0".join(("addcond", *one)) for one in conditions]
        steps += ["\0".join(("setorder", *order)), f"setlimit\0{most}\0000"]
        return self.client.search([step.encode() for step in steps])

    def remove(self, keys: Sequence[bytes]) -> None:
        self.client.changed("outlist", keys)

    def reopen(self, key: str) -> list[Found]:
        self.client.close()
        self.client = RDB(self.server.socket)
        return self.get([key])

    def close(self) -> None:
        self.client.close()
        self.server.remove()


def _parted(found: bytes) -> Columns:
    parts = found.split(b"\0")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def in_cabinet(folder: Path) -> Library:
    path = folder / "library.tct"
    return Library("PyModels, Cabinet", "pymodels.ext.tokyo_cabinet", path=path)


class InTyrant(Library):
    """With PyModels, on a server that is started for it."""

    def __init__(self, folder: Path) -> None:
        from tests.tyrants import Tyrant

        self.server = Tyrant(folder / "library.tct")
        super().__init__("PyModels, Tyrant", "pymodels.ext.tokyo_tyrant", socket=self.server.socket)

    def update(self, keys: Sequence[str]) -> None:
        people = self.storage.get_many(Person, keys).values()
        for person in people:
            person.score += 1.0
        self.storage.save_all(people)

    def reopen(self, key: str) -> list[Found]:
        self.storage.close()
        return super().reopen(key)

    def close(self) -> None:
        super().close()
        self.server.remove()


PAIRS: Final = (
    ("Cabinet", "PyModels, Cabinet", HandCabinet.title),
    ("Tyrant", "PyModels, Tyrant", HandTyrant.title),
)


def steps(count: int) -> list[Step]:
    """Return what is measured on *count* records; targets are the ratios to reach.

    What is read at once is more than what a storage remembers of its last reads.
    """
    from benchmarks.records import make_rows

    rows = make_rows(count)
    few = max(1, count // 100)
    more = make_rows(few, start=count, cities=max(1, count // 100))
    keys = [key for key, _ in rows]
    some = random.Random(1).sample(keys, max(1, count // 4))
    cities = [city(number) for number in range(max(1, min(_QUERIES, count // 100)))]
    return [
        Step("bulk insert", lambda side: side.insert_many(rows), count),
        Step("single save", lambda side: side.insert_each(more), few),
        Step("get by key", lambda side: side.get(some), len(some), 3, 2, ordered=True),
        Step(
            "indexed query of 100",
            lambda side: [one for name in cities for one in side.in_city(name)],
            len(cities),
            3,
            2,
        ),
        Step("indexed range, 1 % of all", lambda side: side.of_age(LOW, HIGH), 1, 5),
        Step("substring scan", lambda side: side.with_text(NEEDLE), 1, 2),
        Step("page in the order of an index", lambda s: s.page_by_age(), 1, 5, ordered=True),
        Step("page by an unindexed field", lambda s: s.page_by_score(), 1, 2, ordered=True),
        Step("indexed count", lambda side: side.count_city(cities[0]), 1, 9),
        Step("fetch all", lambda side: side.fetch_all(), count, 2),
        Step("update of one field", lambda side: side.update(some[:few]), few),
        Step("delete by filter", lambda side: side.delete_city(cities[-1]), 100),
    ]


def compare(count: int, rounds: int, **more: Any) -> list[Timing]:
    """Measure all four sides."""
    openers = (HandCabinet, in_cabinet, HandTyrant, InTyrant)
    return measure(openers, count=count, rounds=rounds, todo=steps, **more)


def main(arguments: Sequence[str] | None = None) -> None:
    from tests.tyrants import PROGRAM

    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokyo", description=__doc__)
    parser.add_argument("--records", type=int, default=20_000, help="how many (20000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is done (5)")
    parser.add_argument("--write", action="store_true", help="keep the table in README.md")
    options = parser.parse_args(arguments)
    print(f"Measuring {options.rounds} rounds ", end="", flush=True)
    timings = compare(
        options.records, options.rounds, advance=lambda: print(".", end="", flush=True)
    )
    server = "ttserver" if PROGRAM else "the tests' own server, in Python"
    what = (
        f"{options.records:,} records, medians of {options.rounds} interleaved rounds; {server}; "
    )
    text = f"{conditions(what)}\n{_table(timings)}"
    print(f"\n\n{text}")
    if options.write:
        write(text, MARK)


def _table(timings: Sequence[Timing]) -> str:
    header = ["microseconds", "at most"]
    for engine, _, _ in PAIRS:
        header += (f"{engine}, PyModels", "by hand", "ratio")
    rows = []
    for one in timings:
        row = [one.step.title, f"{one.step.target:g}" if one.step.target else ""]
        for _, library, hand in PAIRS:
            row += (f"{one.each(library):,.1f}", f"{one.each(hand):,.1f}")
            row.append(f"{one.ratio(library, hand):.2f}")
        rows.append(tuple(row))
    return table(tuple(header), rows)


if __name__ == "__main__":
    main()
