"""With the mappers that people use over SQLite, each as its own documentation says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import peewee
import pony.orm
import sqlalchemy
from playhouse import sqlite_ext
from sqlalchemy import JSON, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.records import FIELDS, Row
from benchmarks.workload import PAGE, Found


def _naive(values: dict[str, Any]) -> dict[str, Any]:
    """SQLite's mappers keep no time zone: what is stored is UTC."""
    return values | {"joined": values["joined"].replace(tzinfo=None)}


def _aware(joined: datetime) -> datetime:
    return joined if joined.tzinfo else joined.replace(tzinfo=UTC)


def _values(found: Any) -> tuple[Any, ...]:
    values = {name: getattr(found, name) for name in FIELDS}
    values["joined"] = _aware(values["joined"])
    values["tags"] = list(values["tags"])
    return (found.pk, *values.values())


class Plain:
    def plain(self, found: Found) -> tuple[Any, ...]:
        return _values(found)


# --- peewee ---------------------------------------------------------------------------------

_PEEWEE = peewee.SqliteDatabase(None)


class PeeweePerson(peewee.Model):
    """A person as peewee declares it."""

    pk = peewee.CharField(primary_key=True)
    name = peewee.CharField()
    email = peewee.CharField(null=True)
    age = peewee.IntegerField(index=True)
    city = peewee.CharField(index=True)
    score = peewee.FloatField()
    active = peewee.BooleanField()
    joined = peewee.DateTimeField()
    tags = sqlite_ext.JSONField()
    note = peewee.TextField()

    class Meta:
        """Where the records are."""

        database = _PEEWEE
        table_name = "person"


class Peewee(Plain):
    """With peewee."""

    title = "peewee, SQLite"
    is_slow = False

    def __init__(self, folder: Path) -> None:
        self.path = folder / "peewee.sqlite"
        _PEEWEE.init(str(self.path))
        _PEEWEE.connect()
        _PEEWEE.create_tables([PeeweePerson])

    def insert_many(self, rows: Sequence[Row]) -> None:
        with _PEEWEE.atomic():
            PeeweePerson.bulk_create(
                [PeeweePerson(pk=key, **_naive(values)) for key, values in rows], batch_size=90
            )

    def insert_each(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            PeeweePerson.create(pk=key, **_naive(values))

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [PeeweePerson.get_by_id(key) for key in keys]

    def in_city(self, name: str) -> list[Found]:
        return list(PeeweePerson.select().where(PeeweePerson.city == name))

    def of_age(self, low: int, high: int) -> list[Found]:
        return list(PeeweePerson.select().where(PeeweePerson.age.between(low, high)))

    def with_text(self, part: str) -> list[Found]:
        return list(PeeweePerson.select().where(PeeweePerson.note.contains(part)))

    def page_by_age(self) -> list[Found]:
        order = (PeeweePerson.age, PeeweePerson.pk)
        return list(PeeweePerson.select().order_by(*order).limit(PAGE))

    def page_by_score(self) -> list[Found]:
        order = (PeeweePerson.score, PeeweePerson.pk)
        return list(PeeweePerson.select().order_by(*order).limit(PAGE))

    def count_city(self, name: str) -> int:
        return int(PeeweePerson.select().where(PeeweePerson.city == name).count())

    def cities(self) -> tuple[str, ...]:
        city = PeeweePerson.city
        query = PeeweePerson.select(city).distinct().order_by(city)
        return tuple([name for (name,) in query.tuples()])

    def ages(self) -> tuple[int, int]:
        age = PeeweePerson.age
        query = PeeweePerson.select(peewee.fn.MIN(age), peewee.fn.MAX(age))
        low, high = query.scalar(as_tuple=True)
        return low, high

    def ages_in_cities(self) -> dict[str, int]:
        city, total = PeeweePerson.city, peewee.fn.SUM(PeeweePerson.age)
        return dict(PeeweePerson.select(city, total).group_by(city).tuples())

    def fetch_all(self) -> list[Found]:
        return list(PeeweePerson.select())

    def update(self, keys: Sequence[str]) -> None:
        with _PEEWEE.atomic():
            people = list(PeeweePerson.select().where(PeeweePerson.pk.in_(keys)))
            for person in people:
                person.score += 1.0
            PeeweePerson.bulk_update(people, ["score"], batch_size=100)

    def delete_city(self, name: str) -> int:
        return int(PeeweePerson.delete().where(PeeweePerson.city == name).execute())

    def reopen(self, key: str) -> list[Found]:
        _PEEWEE.close()
        _PEEWEE.connect()
        return self.get([key])

    def close(self) -> None:
        _PEEWEE.close()


# --- SQLAlchemy -----------------------------------------------------------------------------


class _Base(DeclarativeBase):
    pass


class SqlAlchemyPerson(_Base):
    """A person as SQLAlchemy declares it."""

    __tablename__ = "person"

    pk: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]
    age: Mapped[int] = mapped_column(index=True)
    city: Mapped[str] = mapped_column(index=True)
    score: Mapped[float]
    active: Mapped[bool]
    joined: Mapped[datetime]
    tags: Mapped[list[str]] = mapped_column(JSON)
    note: Mapped[str]


class SqlAlchemy(Plain):
    """With SQLAlchemy's mapper, a session for each piece of work."""

    title = "SQLAlchemy, SQLite"
    is_slow = False

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'alchemy.sqlite'}"
        self.engine = sqlalchemy.create_engine(self.url)
        _Base.metadata.create_all(self.engine)

    def insert_many(self, rows: Sequence[Row]) -> None:
        with Session(self.engine) as session:
            session.add_all([SqlAlchemyPerson(pk=key, **_naive(values)) for key, values in rows])
            session.commit()

    def insert_each(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            with Session(self.engine) as session:
                session.add(SqlAlchemyPerson(pk=key, **_naive(values)))
                session.commit()

    def get(self, keys: Sequence[str]) -> list[Found]:
        found = []
        for key in keys:
            with Session(self.engine) as session:
                found.append(session.get_one(SqlAlchemyPerson, key))
        return found

    def _found(self, query: Any) -> list[Found]:
        with Session(self.engine) as session:
            return list(session.scalars(query))

    def in_city(self, name: str) -> list[Found]:
        return self._found(select(SqlAlchemyPerson).where(SqlAlchemyPerson.city == name))

    def of_age(self, low: int, high: int) -> list[Found]:
        age = SqlAlchemyPerson.age
        return self._found(select(SqlAlchemyPerson).where(age.between(low, high)))

    def with_text(self, part: str) -> list[Found]:
        return self._found(select(SqlAlchemyPerson).where(SqlAlchemyPerson.note.contains(part)))

    def page_by_age(self) -> list[Found]:
        order = (SqlAlchemyPerson.age, SqlAlchemyPerson.pk)
        return self._found(select(SqlAlchemyPerson).order_by(*order).limit(PAGE))

    def page_by_score(self) -> list[Found]:
        order = (SqlAlchemyPerson.score, SqlAlchemyPerson.pk)
        return self._found(select(SqlAlchemyPerson).order_by(*order).limit(PAGE))

    def count_city(self, name: str) -> int:
        query = select(sqlalchemy.func.count()).where(SqlAlchemyPerson.city == name)
        with Session(self.engine) as session:
            return int(session.scalar(query) or 0)

    def cities(self) -> tuple[str, ...]:
        city = SqlAlchemyPerson.city
        with Session(self.engine) as session:
            return tuple(session.scalars(select(city).distinct().order_by(city)))

    def ages(self) -> tuple[int, int]:
        age = SqlAlchemyPerson.age
        with Session(self.engine) as session:
            query = select(sqlalchemy.func.min(age), sqlalchemy.func.max(age))
            low, high = session.execute(query).one()
            return low, high

    def ages_in_cities(self) -> dict[str, int]:
        city, total = SqlAlchemyPerson.city, sqlalchemy.func.sum(SqlAlchemyPerson.age)
        with Session(self.engine) as session:
            return dict(session.execute(select(city, total).group_by(city)).all())

    def fetch_all(self) -> list[Found]:
        return self._found(select(SqlAlchemyPerson))

    def update(self, keys: Sequence[str]) -> None:
        with Session(self.engine) as session:
            query = select(SqlAlchemyPerson).where(SqlAlchemyPerson.pk.in_(keys))
            for person in session.scalars(query):
                person.score += 1.0
            session.commit()

    def delete_city(self, name: str) -> int:
        query = sqlalchemy.delete(SqlAlchemyPerson).where(SqlAlchemyPerson.city == name)
        with Session(self.engine) as session:
            found: Any = session.execute(query)
            session.commit()
            return int(found.rowcount)

    def reopen(self, key: str) -> list[Found]:
        self.engine.dispose()
        self.engine = sqlalchemy.create_engine(self.url)
        return self.get([key])

    def close(self) -> None:
        self.engine.dispose()


# --- Pony -----------------------------------------------------------------------------------


class Pony(Plain):
    """With Pony, a session for each piece of work."""

    title = "Pony, SQLite"
    is_slow = False

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pony.sqlite"
        self._open()

    def _open(self) -> None:
        self.database = pony.orm.Database()
        required, optional = pony.orm.Required, pony.orm.Optional

        class Person(self.database.Entity):  # type: ignore[name-defined, misc]
            pk = pony.orm.PrimaryKey(str)
            name = required(str)
            email = optional(str, nullable=True)
            age = required(int, index=True)
            city = required(str, index=True)
            score = required(float)
            active = required(bool)
            joined = required(datetime)
            tags = required(pony.orm.Json)
            note = optional(str, autostrip=False)

        self.person: Any = Person
        self.database.bind("sqlite", str(self.path), create_db=True)
        self.database.generate_mapping(create_tables=True)

    def insert_many(self, rows: Sequence[Row]) -> None:
        with pony.orm.db_session:
            for key, values in rows:
                self.person(pk=key, **_naive(values))

    def insert_each(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            with pony.orm.db_session:
                self.person(pk=key, **_naive(values))

    def get(self, keys: Sequence[str]) -> list[Found]:
        found = []
        for key in keys:
            with pony.orm.db_session:
                found.append(self.person[key])
        return found

    def _found(self, narrow: Any) -> list[Found]:
        with pony.orm.db_session:
            return list(narrow(self.person.select()))

    def in_city(self, name: str) -> list[Found]:
        return self._found(lambda people: people.filter(city=name))

    def of_age(self, low: int, high: int) -> list[Found]:
        return self._found(lambda people: people.filter(lambda p: low <= p.age and p.age <= high))

    def with_text(self, part: str) -> list[Found]:
        return self._found(lambda people: people.filter(lambda p: part in p.note))

    def page_by_age(self) -> list[Found]:
        return self._found(lambda people: people.order_by(self.person.age, self.person.pk)[:PAGE])

    def page_by_score(self) -> list[Found]:
        order = (self.person.score, self.person.pk)
        return self._found(lambda people: people.order_by(*order)[:PAGE])

    def count_city(self, name: str) -> int:
        with pony.orm.db_session:
            return int(self.person.select().filter(city=name).count())

    def cities(self) -> tuple[str, ...]:
        with pony.orm.db_session:
            return tuple(sorted(pony.orm.select(p.city for p in self.person)))

    def ages(self) -> tuple[int, int]:
        with pony.orm.db_session:
            query = pony.orm.select((pony.orm.min(p.age), pony.orm.max(p.age)) for p in self.person)
            low, high = query.get()
            return low, high

    def ages_in_cities(self) -> dict[str, int]:
        with pony.orm.db_session:
            return dict(pony.orm.select((p.city, pony.orm.sum(p.age)) for p in self.person))

    def fetch_all(self) -> list[Found]:
        return self._found(lambda people: people)

    def update(self, keys: Sequence[str]) -> None:
        with pony.orm.db_session:
            for key in keys:
                self.person[key].score += 1.0

    def delete_city(self, name: str) -> int:
        with pony.orm.db_session:
            return int(self.person.select().filter(city=name).delete(bulk=True))

    def reopen(self, key: str) -> list[Found]:
        self.database.disconnect()
        self._open()
        return self.get([key])

    def close(self) -> None:
        self.database.disconnect()


PEERS = (Peewee, SqlAlchemy, Pony)
