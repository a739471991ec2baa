"""With PyModels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import InColumns, Person, Row
from benchmarks.workload import PAGE, Found, values_of
from pymodels import get_storage
from pymodels.keyvalue import KeyValueStorage


class Library:
    """With PyModels, as its documentation says."""

    is_slow = False

    def __init__(self, title: str, backend: str, **settings: Any) -> None:
        self.title = title
        self.settings = {"backend": backend, **settings}
        self.storage = get_storage(**self.settings)

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
        if "path" in self.settings:
            self.storage.close()
            self.storage = get_storage(**self.settings)
        return [Person.objects(self.storage).get(key)]

    def keep_columns(self) -> None:
        """Keep four fields in columns from now on."""
        assert isinstance(self.storage, KeyValueStorage)
        self.storage.build_indexes(InColumns)

    def plain(self, found: Found) -> tuple[Any, ...]:
        return (found.pk, *values_of(found))

    def close(self) -> None:
        self.storage.close()


def in_memory(folder: Path) -> Library:
    return Library("PyModels, memory", "pymodels.ext.memory")


def in_lmdb(folder: Path) -> Library:
    return Library("PyModels, LMDB", "pymodels.ext.lmdb", path=folder / "library.lmdb")
