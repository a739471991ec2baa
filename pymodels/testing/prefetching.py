"""Relations that are loaded together with the records of a query."""

from __future__ import annotations

from typing import Any

import pytest

from pymodels import DanglingReference, QueryError, TransactionsUnsupported, UnknownField
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import Person, Town


class Reads:
    """Counts how often records of a storage are read, by key or by a query."""

    def __init__(self, storage: Any) -> None:
        self.count = 0
        read, scan = storage.read, storage.scan

        def counted_read(*arguments: Any) -> Any:
            self.count += 1
            return read(*arguments)

        def counted_scan(*arguments: Any) -> Any:
            self.count += 1
            return scan(*arguments)

        storage.read, storage.scan = counted_read, counted_scan


class PrefetchTests(OpensStorage):
    """``prefetch``: the same answers with fewer reads."""

    def village(self, storage: Any) -> None:
        """Store some people who refer to each other, and to towns of which one is missing."""
        towns = [Town(id=number, name=f"T{number}") for number in range(3)]
        storage.save_all(towns)
        people = {key: Person(pk=key, name=key.upper()) for key in "abcdef"}
        for key, town, boss, friends in (
            ("a", 0, None, ""),
            ("b", 1, "a", "a"),
            ("c", 0, "a", "ba"),
            ("d", 99, "b", "aza"),
            ("e", None, "z", "c"),
            ("f", 1, "f", "f"),
        ):
            one: Any = people[key]
            one.town, one.boss, one.friends = town, boss, list(friends)
        storage.save_all(people.values())

    def test_references(self, storage: Any) -> None:
        self.village(storage)
        plain = Person.objects(storage).all()
        reads = Reads(storage)
        found = Person.objects(storage).prefetch("town", "boss").all()
        assert reads.count <= 3
        reads.count = 0
        for one, other in zip(plain, found, strict=True):
            assert one == other
            assert not other.is_changed
            assert one.key_of("town") == other.key_of("town")
            if one.pk not in "de":
                assert one.town == other.town or other.town is None
        assert found[0].town is found[2].town
        boss = found[1].boss
        assert boss is not None
        assert boss.name == "A"
        assert found[5].boss == found[5]
        loaded: list[Any] = [one for one in found if one.pk in "abcf"]
        reads.count = 0
        assert [one.town.name for one in loaded] == ["T0", "T1", "T0", "T1"]
        assert reads.count == 0

    def test_what_dangles_is_what_it_was(self, storage: Any) -> None:
        self.village(storage)
        query = Person.objects(storage).prefetch("town", "boss", "friends")
        found: dict[str, Any] = {one.pk: one for one in query}
        assert found["d"].key_of("town") == 99
        with pytest.raises(DanglingReference, match="town"):
            _ = found["d"].town
        with pytest.raises(DanglingReference, match="boss"):
            _ = found["e"].boss
        with pytest.raises(DanglingReference, match="friends"):
            list(found["d"].friends)
        assert found["d"].friends.keys == ["a", "z", "a"]
        found["d"].age = 3
        found["d"].save()
        assert storage.raw(Person, "d")["friends"] == ["a", "z", "a"]
        assert storage.raw(Person, "d")["town"] == 99

    def test_lists_of_references(self, storage: Any) -> None:
        self.village(storage)
        reads = Reads(storage)
        query = Person.objects(storage).prefetch("friends__town")
        found: dict[str, Any] = {one.pk: one for one in query}
        assert reads.count <= 3
        reads.count = 0
        assert [one.name for one in found["c"].friends] == ["B", "A"]
        assert [one.town.name for one in found["c"].friends] == ["T1", "T0"]
        assert found["b"].friends[0] is found["c"].friends[1]
        assert list(found["a"].friends) == []
        assert reads.count == 0
        assert not found["c"].is_changed
        found["c"].friends.append(found["f"])
        found["c"].save()
        assert storage.raw(Person, "c")["friends"] == ["b", "a", "f"]

    def test_relations_of_relations(self, storage: Any) -> None:
        self.village(storage)
        reads = Reads(storage)
        query = Person.objects(storage).prefetch("boss__boss", "boss__town__people", "friends")
        found = {one.pk: one for one in query}
        assert reads.count <= 7
        reads.count = 0
        boss = found["d"].boss
        assert boss is not None
        assert boss.boss is not None
        assert (boss.boss.name, boss.boss.key_of("boss")) == ("A", None)
        assert boss.town is not None
        assert [one.pk for one in boss.town.people] == ["b", "f"]
        assert reads.count == 0

    def test_the_way_back(self, storage: Any) -> None:
        self.village(storage)
        plain = {one.pk: [p.pk for p in one.people] for one in Town.objects(storage)}
        reads = Reads(storage)
        towns = Town.objects(storage).prefetch(Town.people, "people__friends").all()
        assert reads.count <= 3
        reads.count = 0
        assert {one.pk: [p.pk for p in one.people] for one in towns} == plain
        people: Any = towns[0].people
        assert [one.name for one in people] == ["A", "C"]
        assert (people.count(), len(people), people.exists(), bool(people)) == (2, 2, True, True)
        assert people.first().name == people[0].name == "A"
        assert people.last().name == people[1].name == "C"
        assert [one.name for one in people[1:]] == ["C"]
        assert people.all()[1] in people
        assert (bool(towns[2].people), towns[2].people.count()) == (False, 0)
        assert people[0].town is towns[0]
        assert [one.name for one in people[1].friends] == ["B", "A"]
        assert reads.count == 0
        # Whatever asks more than that is asked anew.
        assert [one.name for one in people.where(name__gt="B")] == ["C"]
        assert [one.name for one in people.order_by("-name")] == ["C", "A"]
        assert people.values("name") == ["A", "C"]
        Person(pk="new", name="N", town=towns[0]).save(storage)
        assert towns[0].people.count() == 2
        assert towns[0].people.where().count() == 3
        assert towns[0].refresh().people.count() == 3

    def test_the_way_back_from_lists_and_to_the_same_model(self, storage: Any) -> None:
        self.village(storage)
        query = Person.objects(storage).prefetch(Person.befriended, "staff")
        found = {one.pk: one for one in query}
        reads = Reads(storage)
        assert [one.pk for one in found["a"].befriended] == ["b", "c", "d"]
        assert [one.pk for one in found["f"].befriended] == ["f"]
        assert [one.pk for one in found["a"].staff] == ["b", "c"]
        assert [one.pk for one in found["f"].staff] == ["f"]
        assert [one.pk for one in found["e"].staff] == []
        assert reads.count == 0

    def test_whichever_way_records_are_found(self, storage: Any) -> None:
        self.village(storage)
        query = Person.objects(storage).where(town__in=[0, 1]).prefetch("town")
        for found, keys in (
            (query.order_by("-name").all(), "fcba"),
            (query[1:3].all(), "bc"),
            (query.order_by("-pk")[:2].prefetch("boss").all(), "fc"),
            (query.reverse().all(), "fcba"),
            (query.where(name="B").all(), "b"),
            ([query.first(), query.last(), query[2]], "afc"),
            ([query.get("b"), query.get(name="C")], "bc"),
            (list(query.in_bulk(["c", "d", "a"]).values()), "ca"),
            (list(Person.objects(storage).prefetch("town").in_bulk(["c"]).values()), "c"),
            ((query & Person.objects(storage).where(name__gt="A")).all(), "bcf"),
        ):
            reads = Reads(storage)
            assert [one.pk for one in found] == list(keys)
            assert all(one.town is not None and one.town.name for one in found)
            assert reads.count == 0
        assert query.count() == 4
        assert list(query.select("town")) == [(0,), (1,), (0,), (1,)]
        assert query.update(age=1) == 4

    def test_inside_a_transaction(self, storage: Any) -> None:
        self.village(storage)
        if "transactions" not in storage.capabilities:
            with pytest.raises(TransactionsUnsupported):
                storage.transaction()
            return
        with storage.transaction():
            storage.get(Town, 0).save_as(50)
            Person.objects(storage).where(town=0).update(town=50)
            found: Any = Person.objects(storage).prefetch("town").get("a")
            assert found.town.id == 50
            (town,) = Town.objects(storage).where(id=50).prefetch(Town.people)
            assert [one.pk for one in town.people] == ["a", "c"]

    def test_what_is_no_relation(self, storage: Any) -> None:
        people = Person.objects(storage)
        with pytest.raises(UnknownField, match="did you mean 'town'"):
            people.prefetch("twon")
        with pytest.raises(UnknownField, match="nobody"):
            people.prefetch("boss__nobody")
        with pytest.raises(QueryError, match="no reference"):
            people.prefetch("name")
        with pytest.raises(QueryError, match=r"Town\.people"):
            people.prefetch(Town.people)
        assert people.prefetch("town", Town.people).all() == []
