"""MongoDB: what the server itself does of a query, and what it says of its way to the answer."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any, Literal
from uuid import UUID

import pytest
from pymongo import monitoring

from pymodels import F, Field, Model, RecordInvalid, get_storage
from tests.mongodb_server import open_storage


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


@dataclass
class Address:
    city: str
    floor: int = 0


class Sale(Model):
    """A record with a field of each kind that the server can group by or sum."""

    shop: Field[str | None] = Field(default=None)
    count: Field[int | None] = Field(default=None)
    price: Field[float | None] = Field(default=None)
    exact: Field[Decimal | None] = Field(default=None)
    paid: Field[bool] = Field(default=False)
    day: Field[date] = Field(default=date(2024, 2, 29))
    at: Field[datetime] = Field(default=datetime(2024, 1, 1, tzinfo=UTC))
    level: Field[Level] = Field(default=Level.LOW)
    kind: Field[Literal["in", "out"]] = Field(default="in")
    code: Field[UUID] = Field(default=UUID(int=1))
    address: Field[Address] = Field(default=Address("Oslo"))
    tags: Field[list[str]] = Field(default=[])
    anything: Field[Any] = Field(default=None)


SALES: list[dict[str, Any]] = [
    {
        "pk": f"{number:02}",
        "shop": None if number % 7 == 0 else f"shop {number % 3}",
        "count": None if number % 5 == 0 else number - 10,
        "price": None if number % 4 == 0 else number / 8,
        "exact": Decimal(number) / 4,
        "paid": number % 2 == 0,
        "day": date(2024, 1, 1) + timedelta(number % 4),
        "at": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(microseconds=number),
        "level": Level.HIGH if number % 3 else Level.LOW,
        "kind": "out" if number % 2 else "in",
        "code": UUID(int=number % 3),
        "address": Address(f"city {number % 2}", number),
        "tags": [f"tag {number % 2}"],
        "anything": number,
    }
    for number in range(20)
]


class Commands(monitoring.CommandListener):
    """Notes every command that is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def started(self, event: Any) -> None:
        if event.command_name not in ("hello", "endSessions", "listIndexes"):
            self.sent.append(event.command)

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass

    def during(self, work: Callable[[], object]) -> list[Any]:
        """Return the commands that *work* sends, when everything is known that is asked once."""
        work()
        self.sent.clear()
        work()
        return list(self.sent)

    def names_during(self, work: Callable[[], object]) -> list[str]:
        return [next(iter(command)) for command in self.during(work)]


COMMANDS = Commands()


@pytest.fixture
def storage(tmp_path: FilePath) -> Iterator[Any]:
    with open_storage(tmp_path, options={"event_listeners": [COMMANDS]}) as storage:
        storage.save_all([Sale(**values) for values in SALES])
        yield storage


@pytest.fixture
def memory() -> Any:
    """The same records where Python does everything: what it answers is what is right."""
    storage = get_storage("pymodels.ext.memory")
    storage.save_all([Sale(**values) for values in SALES])
    return storage


# --- groups, sums, distinct values ----------------------------------------------------------

IN_SERVER: dict[str, Callable[[Any], Any]] = {
    "values of text": lambda sales: sales.values("shop"),
    "values of ints": lambda sales: sales.values("count"),
    "values of bools": lambda sales: sales.values("paid"),
    "values of dates": lambda sales: sales.values("day"),
    "values of an enum": lambda sales: sales.values("level"),
    "values of a literal": lambda sales: sales.values("kind"),
    "values of uuids": lambda sales: sales.values("code"),
    "values inside": lambda sales: sales.values("address__city"),
    "values of keys": lambda sales: sales.values("pk"),
    "values with a condition": lambda sales: sales.where(count__gt=0).values("shop"),
    "values of a slice": lambda sales: sales.order_by("-count")[2:6].values("shop"),
    "values of nothing": lambda sales: sales.where(count__gt=99).values("shop"),
    "sum": lambda sales: sales.sum("count"),
    "sum of nothing": lambda sales: sales.where(shop="none").sum("count"),
    "sum of a slice": lambda sales: sales[3:9].sum("count"),
    "avg": lambda sales: sales.avg("count"),
    "avg of nothing": lambda sales: sales.where(shop="none").avg("count"),
    "min": lambda sales: sales.min("price"),
    "max": lambda sales: sales.max("price"),
    "min of dates": lambda sales: sales.min("day"),
    "max of text": lambda sales: sales.max("shop"),
    "max of an enum": lambda sales: sales.max("level"),
    "min of nothing": lambda sales: sales.where(shop="none").min("price"),
    "count by text": lambda sales: sales.group_by("shop").count(),
    "count by two": lambda sales: sales.group_by("paid", "level").count(),
    "sum by date": lambda sales: sales.group_by("day").sum("count"),
    "avg by text": lambda sales: sales.group_by("shop").avg("count"),
    "min by literal": lambda sales: sales.group_by("kind").min("price"),
    "max by city": lambda sales: sales.group_by("address__city").max("address__floor"),
    "count of nothing": lambda sales: sales.where(count__gt=99).group_by("shop").count(),
    "count with a condition": lambda sales: sales.where_not(shop="shop 1").group_by("kind").count(),
}
IN_PYTHON: dict[str, Callable[[Any], Any]] = {
    "sum of floats, which is exact": lambda sales: sales.sum("price"),
    "sum of decimals": lambda sales: sales.sum("exact"),
    "values of decimals": lambda sales: sales.values("exact"),
    "values of instants": lambda sales: sales.values("at"),
    "max of instants": lambda sales: sales.max("at"),
    "values of lists": lambda sales: sales.values("tags"),
    "values of an open place": lambda sales: sales.values("anything"),
    "count with a pattern": lambda sales: sales.where(shop__matches="1$").group_by("kind").count(),
}


@pytest.mark.parametrize("name", IN_SERVER)
def test_what_the_server_computes(storage: Any, memory: Any, name: str) -> None:
    ask = IN_SERVER[name]
    answer, right = ask(Sale.objects(storage)), ask(Sale.objects(memory))
    assert (answer, repr(answer)) == (right, repr(right))
    commands = COMMANDS.names_during(lambda: ask(Sale.objects(storage)))
    assert commands[-1] == "aggregate"
    assert set(commands) <= {"aggregate", "find"}  # a find looks for what does not fit its model
    assert len(commands) <= 2


@pytest.mark.parametrize("name", IN_PYTHON)
def test_what_python_computes(storage: Any, memory: Any, name: str) -> None:
    ask = IN_PYTHON[name]
    answer, right = ask(Sale.objects(storage)), ask(Sale.objects(memory))
    assert (answer, repr(answer)) == (right, repr(right))
    commands = COMMANDS.during(lambda: ask(Sale.objects(storage)))
    assert [next(iter(command)) for command in commands] == ["find"]
    assert "note" not in commands[0]["projection"]


def test_sums_beyond_64_bits(storage: Any) -> None:
    storage.clear()
    storage.save_all([Sale(count=2**63 - 1, shop="a"), Sale(count=2**63 - 1, shop="a")])
    assert Sale.objects(storage).sum("count") == 2**64 - 2
    assert Sale.objects(storage).group_by("shop").sum("count") == [("a", 2**64 - 2)]
    assert Sale.objects(storage).max("count") == 2**63 - 1
    assert type(Sale.objects(storage).max("count")) is int


@pytest.mark.parametrize("name", ["values", "sum", "max", "group_by"])
def test_a_record_that_does_not_fit_is_never_skipped_in_a_group(storage: Any, name: str) -> None:
    sales = Sale.objects(storage)
    storage.collection(Sale.__schema__).update_one({"_id": "03"}, {"$set": {"count": "many"}})
    ask: dict[str, Callable[[], Any]] = {
        "values": lambda: sales.values("count"),
        "sum": lambda: sales.sum("count"),
        "max": lambda: sales.where(paid=False).max("count"),
        "group_by": lambda: sales.group_by("shop").sum("count"),
    }
    with pytest.raises(RecordInvalid, match="03"):
        ask[name]()
    assert sales.where(pk__gt="03").sum("count") == sum(
        sale["count"] or 0 for sale in SALES if sale["pk"] > "03"
    )


def test_a_group_inside_of_a_transaction_sees_what_it_wrote(storage: Any) -> None:
    with storage.transaction():
        Sale(shop="new", count=100).save(storage)
        assert "new" in Sale.objects(storage).values("shop")
        assert ("new", 100) in Sale.objects(storage).group_by("shop").sum("count")
    assert "new" in Sale.objects(storage).values("shop")


# --- conditions, orders and pages -----------------------------------------------------------


class Book(Model):
    title: Field[str] = Field(index=True)
    isbn: Field[str | None] = Field(unique=True, default=None)
    year: Field[int] = Field(index=True, default=2000)
    pages: Field[int] = Field(default=1)
    tags: Field[list[str]] = Field(default=[])


@pytest.fixture
def books(tmp_path: FilePath) -> Iterator[Any]:
    with open_storage(tmp_path, options={"event_listeners": [COMMANDS]}) as storage:
        storage.ensure_indexes(Book)
        storage.save_all(
            [
                Book(
                    pk=f"{number:03}",
                    title=f"Title {number % 10}",
                    isbn=f"isbn {number}",
                    year=1900 + number % 50,
                    pages=number,
                    tags=[f"tag {number % 4}"],
                )
                for number in range(200)
            ]
        )
        yield storage


ONE_COMMAND: dict[str, tuple[Callable[[Any], Any], str]] = {
    "get": (lambda books: books.get("007"), "find"),
    "first": (lambda books: books.where(year=1907).first(), "find"),
    "last": (lambda books: books.last(), "find"),
    "page": (lambda books: books.order_by("-year", "title")[20:40].all(), "find"),
    "in_bulk": (lambda books: books.in_bulk(["001", "002", "none"]), "find"),
    "members": (lambda books: books.where(tags__contains="tag 1").all(), "find"),
    "select": (lambda books: list(books.where(year__lt=1910).select("title")), "find"),
    "count": (lambda books: books.where(year=1907).count(), "aggregate"),
    "count all": (lambda books: books.count(), "aggregate"),
    "exists": (lambda books: books.where(isbn="isbn 3").exists(), "find"),
}


@pytest.mark.parametrize("name", ONE_COMMAND)
def test_what_takes_one_command(books: Any, name: str) -> None:
    ask, command = ONE_COMMAND[name]
    assert COMMANDS.names_during(lambda: ask(Book.objects(books))) == [command]


def test_a_page_and_a_projection_are_the_servers(books: Any) -> None:
    asked = Book.objects(books)
    (page,) = COMMANDS.during(asked.order_by("-year")[20:30].all)
    assert (page["skip"], page["limit"]) == (20, 10)
    assert page["sort"] == {"year": -1, "_id": -1}
    (chosen,) = COMMANDS.during(lambda: list(asked[:10].select("title")))
    assert set(chosen["projection"]) == {"title", "_pymodels.us"}


def test_an_update_and_a_delete_take_one_command_in_a_transaction(books: Any) -> None:
    asked = Book.objects(books)
    update = COMMANDS.during(lambda: asked.where(year=1901).update(pages=F("pages") + 1, title="x"))
    (command,) = [one for one in update if "update" in one]
    assert command["updates"][0]["u"] == {"$inc": {"pages": 1}, "$set": {"title": "x"}}
    assert command["updates"][0]["multi"] is True
    delete = COMMANDS.names_during(lambda: asked.where(year=1902).delete())
    assert delete.count("delete") == 1
    assert set(delete) <= {"find", "delete", "commitTransaction"}


def test_a_save_sends_what_has_changed(books: Any) -> None:
    book = books.get(Book, "003")
    book.pages = 0
    book.save()  # the first time, it is looked what kind of keys there are
    book.title = "Changed"
    COMMANDS.sent.clear()
    book.save()
    (command,) = COMMANDS.sent
    assert command["updates"][0]["q"] == {"_id": "003"}
    assert command["updates"][0]["u"] == {"$set": {"title": "Changed"}}


# --- explain --------------------------------------------------------------------------------

INDEXED: dict[str, tuple[Callable[[Any], Any], str, int]] = {
    # the query; the index; the most documents that the server has to look at
    "key": (lambda books: books.where(pk="007"), "_id_", 1),
    "keys": (lambda books: books.where(pk__in=["007", "008"]), "_id_", 2),
    "range of keys": (lambda books: books.where(pk__gte="190"), "_id_", 10),
    "equal": (lambda books: books.where(year=1907), "pymodels index year", 4),
    "range": (lambda books: books.where(year__between=(1901, 1902)), "pymodels index year", 8),
    "in": (lambda books: books.where(year__in=[1901, 1905]), "pymodels index year", 8),
    "start": (lambda books: books.where(title__startswith="Title 3"), "pymodels index title", 20),
    "unique": (lambda books: books.where(isbn="isbn 7"), "pymodels unique isbn", 1),
    "page": (lambda books: books.order_by("year")[:10], "pymodels index year", 10),
    "page backwards": (lambda books: books.order_by("-year")[:10], "pymodels index year", 10),
    "both": (lambda books: books.where(year=1907, pages__gt=100), "pymodels index year", 4),
}


@pytest.mark.parametrize("name", INDEXED)
def test_indexes_are_used(books: Any, name: str) -> None:
    ask, index, most = INDEXED[name]
    query = ask(Book.objects(books))
    found = query.explain()
    assert found.finished is None
    assert found.details["index"] == index
    assert found.details["documents examined"] <= most
    assert found.details["keys examined"] <= most + 2
    if query.plan().most is not None:
        assert "SORT" not in found.details["winning plan"].split(" < ")
    assert found.returned == len(query.all())


def test_explain_shows_what_python_finished(books: Any) -> None:
    found = Book.objects(books).where(year=1907, title__matches="7$").explain()
    assert found.details["index"] == "pymodels index year"
    assert found.details["documents examined"] == 4
    assert found.finished == "title__matches='7$'"
    assert (found.read, found.returned) == (4, 4)
    scanned = Book.objects(books).where(pages__gt=150).explain()
    assert scanned.details["index"] == "_id_"  # for the order alone
    assert "documents examined  200" in str(scanned)
    assert scanned.details["documents examined"] == 200


# --- what is declared of each lookup --------------------------------------------------------

EXACT: list[dict[str, Any]] = [
    {"shop": "x"},
    {"shop": None},
    {"shop__exists": True},
    {"shop__in": ["x", None]},
    {"shop__gte": "x"},
    {"shop__startswith": "é"},
    {"shop__contains": "."},
    {"shop__endswith": "x"},
    {"count__lt": 2.5},
    {"price__between": (0, 1)},
    {"exact": Decimal("1.0")},
    {"paid": True},
    {"day__gt": date(2024, 1, 1)},
    {"day__month": 2},
    {"day__day": 29},
    {"at": datetime(2024, 1, 1, tzinfo=UTC)},
    {"at__lte": datetime(2024, 1, 1, microsecond=7, tzinfo=UTC)},
    {"at__year": 2024},
    {"at__month": 1},
    {"at__day": 1},
    {"at__hour": 0},
    {"at__week_day": 1},
    {"level": Level.HIGH},
    {"code": UUID(int=1)},
    {"address__city": "city 1"},
    {"address__floor__gt": 3},
    {"tags__contains": "tag 1"},
    {"tags__contains_all": ["tag 1"]},
    {"tags__contains_any": ["tag 1", "x"]},
    {"tags__size": 1},
    {"anything__exists": True},
    {"pk__startswith": "0"},
]
CHECKED_BY_PYTHON: list[dict[str, Any]] = [
    {"shop__icontains": "SHOP"},
    {"shop__iequals": "SHOP 1"},
    {"shop__istartswith": "É"},
    {"shop__matches": "1$"},
    {"tags": ["tag 1"]},
    {"anything": 3},
    {"anything": "x"},
]


@pytest.mark.parametrize("asked", EXACT + CHECKED_BY_PYTHON, ids=str)
def test_the_server_finds_what_it_is_said_to_find(
    storage: Any, memory: Any, asked: dict[str, Any]
) -> None:
    query = Sale.objects(storage).where(**asked)
    plan = query.plan()
    assert plan.native is not None
    assert plan.exact is (asked in EXACT)
    right = [sale.pk for sale in Sale.objects(memory).where(**asked)]
    assert [sale.pk for sale in query] == right
    others = Sale.objects(storage).where_not(**asked)
    assert others.plan().exact is plan.exact
    assert [sale.pk for sale in others] == sorted({s["pk"] for s in SALES} - set(right))
