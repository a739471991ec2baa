"""With PyModels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.records import InColumns, Person, Row
from benchmarks.workload import PAGE, Found, values_of
from pymodels import DriverMissing, get_storage
from pymodels.keyvalue import KeyValueStorage


class Library:
    """With PyModels, as its documentation says."""

    def __init__(self, title: str, backend: str, is_slow: bool = False, **settings: Any) -> None:
        self.title = title
        self.is_slow = is_slow
        self.settings = {"backend": backend, **settings}
        self.storage: Any = get_storage(**self.settings)
        if hasattr(self.storage, "ensure_indexes"):
            self.storage.ensure_indexes(Person)

    def insert_many(self, rows: Sequence[Row]) -> None:
        self.storage.save_all([Person(pk=key, **values) for key, values in rows])

    def insert_each(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            Person(pk=key, **values).save(self.storage)

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [Person.objects(self.storage).get(key) for key in keys]

    def in_city(self, name: str) -> list[Found]:
        return Person.objects(self.storage).where(city=name).all()

    def of_age(self, low: int, high: int) -> list[Found]:
        return Person.objects(self.storage).where(age__between=(low, high)).all()

    def with_text(self, part: str) -> list[Found]:
        return Person.objects(self.storage).where(note__contains=part).all()

    def page_by_age(self) -> list[Found]:
        return Person.objects(self.storage).order_by("age")[:PAGE].all()

    def page_by_score(self) -> list[Found]:
        return Person.objects(self.storage).order_by("score")[:PAGE].all()

    def count_city(self, name: str) -> int:
        return Person.objects(self.storage).where(city=name).count()

    def cities(self) -> tuple[str, ...]:
        return tuple(Person.objects(self.storage).values("city"))

    def ages(self) -> tuple[int, int]:
        people = Person.objects(self.storage)
        return people.min("age"), people.max("age")

    def ages_in_cities(self) -> dict[str, int]:
        return dict(Person.objects(self.storage).group_by("city").sum("age"))

    def fetch_all(self) -> list[Found]:
        return Person.objects(self.storage).all()

    def update(self, keys: Sequence[str]) -> None:
        with self.storage.transaction():
            people = self.storage.get_many(Person, keys).values()
            for person in people:
                person.score += 1.0
            self.storage.save_all(people)

    def delete_city(self, name: str) -> int:
        return Person.objects(self.storage).where(city=name).delete()

    def reopen(self, key: str) -> list[Found]:
        if self.settings.keys() & {"path", "uri"}:  # there is something to come back to
            self.storage.close()
            self.storage = get_storage(**self.settings)
        return [Person.objects(self.storage).get(key)]

    def keep_columns(self) -> None:
        """Keep four fields in columns from now on, where that is possible."""
        if isinstance(self.storage, KeyValueStorage) and self.storage.keeps_indexes:
            self.storage.build_indexes(InColumns)

    def plain(self, found: Found) -> tuple[Any, ...]:
        return (found.pk, *values_of(found))

    def close(self) -> None:
        self.storage.close()


def in_memory(folder: Path) -> Library:
    return Library("PyModels, memory", "pymodels.ext.memory")


def in_lmdb(folder: Path) -> Library:
    return Library("PyModels, LMDB", "pymodels.ext.lmdb", path=folder / "library.lmdb")


def in_shelf(folder: Path) -> Library:
    return Library("PyModels, shelve", "pymodels.ext.shelve", path=folder / "library.shelf")


def in_pickle(folder: Path) -> Library:
    # Each save writes the whole file.
    return Library(
        "PyModels, pickled", "pymodels.ext.pickled", True, path=folder / "library.pickle"
    )


def in_cabinet(folder: Path) -> Library:
    path = folder / "library.tct"
    return Library("PyModels, Tokyo Cabinet", "pymodels.ext.tokyo_cabinet", path=path)


@contextmanager
def other_backends() -> Iterator[list[Any]]:
    """Return a context with what opens PyModels on each other backend that this machine has."""
    openers: list[Any] = [in_shelf, in_pickle]
    try:
        import pymodels.ext.tokyo_cabinet  # noqa: F401 - it loads the library
    except DriverMissing:
        print("left out, as its library is not there: Tokyo Cabinet")
    else:
        openers.append(in_cabinet)
    try:
        from tests.mongodb_server import Server

        server = Server(cache=2)
    except (ImportError, OSError, RuntimeError) as error:
        print(f"left out: MongoDB ({error})")
        yield openers
        return

    def in_mongodb(folder: Path) -> Library:
        name = f"bench_{folder.parent.name}".replace("-", "_")
        return Library(
            "PyModels, MongoDB", "pymodels.ext.mongodb", uri=server.uri, database=name[:60]
        )

    try:
        yield [*openers, in_mongodb]
    finally:
        server.stop()
