"""How many functions, of Python and of C, an operation calls: a measure that no load disturbs."""

from __future__ import annotations

import cProfile
import pstats
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.library import Library
from benchmarks.records import (
    Letter,
    Parcel,
    Person,
    city,
    make_letters,
    make_parcels,
    make_rows,
)
from benchmarks.workload import PAGE

COUNT = 1_000


def count_calls(opener: Callable[[Path], Library]) -> dict[str, float]:
    """Return the calls of each operation, by its title."""
    rows, more = make_rows(COUNT), make_rows(100, start=COUNT)
    keys = [key for key, _ in rows]
    with tempfile.TemporaryDirectory() as folder:
        library = opener(Path(folder))
        library.insert_many(rows)
        people = Person.objects(library.storage)
        name = city(0)

        queries: dict[str, Callable[[], Any]] = {
            "a query": lambda: people.where(city=name),
            "a page in order": lambda: people.order_by("age")[:PAGE],
            "two conditions, an order and a slice": lambda: people.where(
                Person.age >= 900, active=True
            ).order_by("-score")[:PAGE],
            "two indexed conditions": lambda: people.where(age__gte=900, city=name),
            "a page of two indexed conditions": lambda: people.where(age__gte=900, city=name)[
                :PAGE
            ],
            "a page with a condition on the rest": lambda: people.where(city=name, active=True)[
                :PAGE
            ],
            "a condition in another index's order": lambda: people.where(city=name).order_by("age")[
                :PAGE
            ],
            "one of two values": lambda: people.where(city__in=[name, city(1)]),
            "one of two conditions": lambda: people.where(
                (Person.city == name) | (Person.age >= 900)
            ),
            "what does not hold": lambda: people.where(~(Person.city == name)),
            "two bounds": lambda: people.where(age__gte=300, age__lt=310),
            "what text begins with": lambda: people.where(city__startswith="City 00"),
            "what no index knows": lambda: people.where(note__icontains="needle", score__lt=0.5),
        }

        parcels, letters = Parcel.objects(library.storage), Letter.objects(library.storage)
        library.storage.save_all(make_parcels(COUNT))
        library.storage.save_all(make_letters(COUNT))
        queries |= {
            "by an index of two fields": lambda: parcels.where(town="town 3", weight__gte=500),
            "a page in the order of its second one": lambda: parcels.where(town="town 3").order_by(
                "weight"
            )[:PAGE],
            "by a member of a list": lambda: parcels.where(stamps__contains="s1"),
            "by a unique value": lambda: parcels.where(number=7),
            "by a path": lambda: parcels.where(place__shelf="3"),
            "any of two members": lambda: parcels.where(stamps__contains_any=["s1", "s2"]),
            "all of two members": lambda: parcels.where(stamps__contains_all=["s1", "s2"]),
            "two values in an index of two fields": lambda: parcels.where(
                town__in=["town 1", "town 3"], weight=33
            ),
        }
        queries |= {
            "three indexed conditions": lambda: letters.where(
                number__gte=50, town="town 7", price__lt=120.5
            ),
            "three equalities": lambda: letters.where(number=7, town="town 7", price=9.25),
            "one of twenty values": lambda: letters.where(number__in=range(20)),
            "one of twenty texts": lambda: letters.where(town__in=[f"town {n}" for n in range(20)]),
            "one of three conditions": lambda: letters.where(
                (Letter.number == 1) | (Letter.town == "town 7") | (Letter.price < 9.25)
            ),
            "one of two values, and a condition": lambda: letters.where(
                (Letter.number == 7) | (Letter.number == 27), town="town 7"
            ),
            "none of two values": lambda: letters.where(~Letter.number.in_([1, 7])),
            "all but a value, and a condition": lambda: letters.where(
                ~(Letter.number == 27), town="town 7"
            ),
            "an order by two fields": lambda: letters.order_by("town", "number")[:PAGE],
            "a page backwards": lambda: (
                letters.where(town="town 7").order_by("number").reverse()[:PAGE]
            ),
            "one condition after another": lambda: (
                letters.where(town="town 7").where(number__lt=50).where(day=4)
            ),
            "the next page by key": lambda: letters.where(town="town 7", pk__gt="0")[:PAGE],
            "text whatever its case": lambda: letters.where(sender__iequals="SENDER 7"),
            "what text begins with, whatever its case": lambda: letters.where(
                sender__istartswith="SENDER 1"
            ),
            "text by an index without case": lambda: letters.where(sender="Sender 7"),
            "text inside text": lambda: letters.where(text__contains="thanks for"),
            "text inside text, and a condition": lambda: letters.where(
                text__contains="thanks for", town="town 7"
            ),
            "a pattern": lambda: letters.where(text__matches="^many.*letter"),
            "a pattern, and a condition": lambda: letters.where(
                text__matches="^many.*letter", town="town 7"
            ),
            "by an index of some records, or of two fields": lambda: letters.where(
                state="lost", day__gte=30
            ),
            "by a column": lambda: letters.where(weight=12.5),
            "a page in the order of a column": lambda: letters.order_by("-weight")[:PAGE],
        }

        def plan(query: Callable[[], Any]) -> None:
            query().plan()

        operations: dict[str, tuple[Callable[[], Any], float]] = {
            "get by key": (partial(library.get, keys), COUNT),
            "fetch all, an object": (library.fetch_all, COUNT),
            "indexed =, an object": (partial(library.in_city, name), 100),
            "indexed count": (partial(library.count_city, name), 1),
            "values of an indexed field, a value": (library.cities, COUNT // 100),
            "lowest and highest, indexed": (library.ages, 1),
            "build a query": (partial(people.where, city=name), 1),
            **{
                f"build and plan {kind}": (partial(plan, query), 1)
                for kind, query in queries.items()
            },
            "substring scan, a record": (partial(library.with_text, "needle"), COUNT),
            "update in a transaction, a record": (partial(library.update, keys), COUNT),
        }
        try:
            counted: dict[str, float] = {}
            for title, (run, units) in operations.items():
                run()
                counted[title] = _calls(run) / units
            counted["single save"] = _calls(partial(library.insert_each, more)) / len(more)
            there = city(1)
            count = library.count_city(there)
            counted["delete by filter, a record"] = (
                _calls(partial(library.delete_city, there)) / count
            )
            others = make_rows(COUNT, start=10 * COUNT)
            counted["bulk insert, a record"] = _calls(partial(library.insert_many, others)) / COUNT
            return counted
        finally:
            library.close()


def _calls(run: Callable[[], Any]) -> int:
    profile = cProfile.Profile()
    profile.runcall(run)
    statistics: Any = pstats.Stats(profile)
    return int(statistics.total_calls) - 1  # the last one stops the profile
