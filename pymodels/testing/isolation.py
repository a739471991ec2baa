"""What a transaction sees, and what it does not: ``IsolationTests``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pymodels import Conflict, F, TransactionsUnsupported
from pymodels.storage import Storage
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import Account, Person, Setting, Town
from pymodels.testing.running import in_threads


class Undo(Exception):
    """Raised on purpose, to leave a transaction by an exception."""


@contextmanager
def undone(storage: Storage) -> Iterator[Any]:
    """Run a block as a transaction that is rolled back at its end."""
    with suppress(Undo), storage.transaction() as transaction:
        yield transaction
        raise Undo


def elsewhere(work: Callable[[], Any]) -> Any:
    """Do something as somebody else does it: in another thread, outside of the transaction."""
    return in_threads([work])[0]


def ages(storage: Any) -> dict[str, int | None]:
    """Return the age of everybody, by key."""
    return {one.pk: one.age for one in Person.objects(storage)}


class IsolationTests(OpensStorage):
    """Inside, everything that was written inside is seen; outside, nothing before the end."""

    # Not another ``storage``: that would be the one of every test of a class with all the parts.
    @pytest.fixture
    def two_people(self, storage: Storage) -> None:
        """Two people to begin with; the tests end here where transactions are not declared."""
        if "transactions" not in storage.capabilities:
            with pytest.raises(TransactionsUnsupported):
                storage.begin()
            with pytest.raises(TransactionsUnsupported):
                storage.transaction()
            with pytest.raises(TransactionsUnsupported):
                storage.prepare([])
            pytest.skip("declares no transactions, and says so when asked for one")
        storage.save_all([Person(pk="a", name="Ann", age=1), Person(pk="b", name="Bob", age=2)])

    # --- what is seen inside ----------------------------------------------------------------

    def test_every_form_of_query_sees_what_was_written_inside(
        self, storage: Any, two_people: None
    ) -> None:
        storage.save_all([Person(pk=f"k{n}", name="x", age=10 + n) for n in range(5)])
        people = Person.objects(storage)
        with undone(storage):
            Person(pk="c", name="Cat", age=0).save(storage)
            storage.get(Person, "a").delete()
            people.where(pk="b").update(age=100, name="Bobby")
            people.where(pk__in=["k0", "k1"]).delete()
            expected = {"b": 100, "c": 0, "k2": 12, "k3": 13, "k4": 14}
            by_age = ["c", "k2", "k3", "k4", "b"]
            assert ages(storage) == expected
            assert list(ages(storage)) == sorted(expected)
            assert people.count() == len(storage) == 5
            assert [one.pk for one in people.order_by("age")] == by_age
            assert [one.pk for one in people.order_by("-age")] == by_age[::-1]
            assert [one.pk for one in people.reverse()] == sorted(expected, reverse=True)
            assert [one.pk for one in people.order_by("age")[1:4]] == by_age[1:4]
            assert [one.pk for one in people[:2]] == ["b", "c"]
            assert [one.pk for one in people.reverse()[1:3]] == ["k3", "k2"]
            assert people[4].pk == "k4"
            assert people[1:3].count() == 2
            assert people[4:].exists()
            assert not people[5:].exists()
            assert people.first().pk == "b"
            assert people.last().pk == "k4"
            assert people.get("c").name == "Cat"
            assert people.get(name="Bobby").pk == "b"
            assert people.where(name="Ann").exists() is False
            assert people.where(name="Bob").count() == 0
            assert people.where_not(age__gt=13).count() == 3
            assert people.where(pk__gte="c", pk__lt="k3").values("age") == [0, 12]
            assert people.where(pk__startswith="k").count() == 3
            assert people.where(pk__in=["a", "b", "k0", "c"]).values("pk") == ["b", "c"]
            assert {one.pk for one in people.unordered()} == set(expected)
            assert people.values("age") == [0, 12, 13, 14, 100]
            assert list(people.select("pk", "age")) == list(expected.items())
            assert people.sum("age") == sum(expected.values())
            assert people.group_by("name").count() == [("Bobby", 1), ("Cat", 1), ("x", 3)]
            assert set(people.in_bulk(["a", "b", "c"])) == {"b", "c"}
            assert set(storage.get_many(Person, ["a", "b", "c"])) == {"b", "c"}
            assert list(storage.keys(Person)) == sorted(expected)
            assert storage.get(Person, "a", None) is None
            assert storage.raw(Person, "b")["age"] == 100
            assert [key for key, _ in storage.raw_records(Person)] == sorted(expected)
            assert people.where(age__gt=12).update(age=F("age") + 1) == 3
            assert people.where(age=101).delete() == 1
            assert people.values("age") == [0, 12, 14, 15]
            assert "Person" in str(people.explain())
        assert people.count() == 7
        assert ages(storage)["a"] == 1

    def test_unique_lookups_see_what_was_written_inside(
        self, storage: Any, two_people: None
    ) -> None:
        Account(pk="a", login="ann").save(storage)
        Account(pk="b", login="bob").save(storage)
        accounts = Account.objects(storage)
        with undone(storage):
            accounts.where(pk="a").update(login="new")
            storage.get(Account, "b").delete()
            Account(pk="c", login="ann").save(storage)
            assert accounts.get(login="new").pk == "a"
            assert accounts.get(login="ann").pk == "c"
            assert accounts.where(login="bob").exists() is False
            made, created = accounts.get_or_create(login="bob")
            assert created
            assert accounts.get_or_create(login="bob") == (made, False)
        assert accounts.get(login="ann").pk == "a"

    def test_references_are_followed_inside(self, storage: Any, two_people: None) -> None:
        with undone(storage):
            Town(id=1, name="Bath").save(storage)
            ann = storage.get(Person, "a")
            ann.town = Town.reference(1)
            ann.save()
            assert storage.get(Person, "a").town.name == "Bath"
            assert [one.pk for one in storage.get(Town, 1).people] == ["a"]
            found = Person.objects(storage).where(town__in=Town.objects(storage))
            assert found.count() == 1
        assert Person.objects(storage).where(town=1).count() == 0

    def test_a_loop_that_writes_inside(self, storage: Any, two_people: None) -> None:
        storage.save_all([Town(id=n) for n in range(100)])
        with storage.transaction():
            seen = []
            for town in Town.objects(storage):
                seen.append(town.id)
                if town.id % 3 == 0:
                    town.delete()
                else:
                    town.name = "seen"
                    town.save()
        assert sorted(seen) == sorted(set(seen))
        assert set(seen) >= set(range(100))
        assert Town.objects(storage).count() == 66
        assert Town.objects(storage).values("name") == ["seen"]

    # --- others -----------------------------------------------------------------------------

    @pytest.mark.parametrize("how", ["get", "get_many", "iterate", "count", "absent", "refresh"])
    def test_a_record_that_was_read_and_changed_by_others(
        self, storage: Any, two_people: None, how: str
    ) -> None:
        ann = storage.get(Person, "a")
        reads: dict[str, Callable[[], object]] = {
            "get": lambda: storage.get(Person, "a"),
            "get_many": lambda: storage.get_many(Person, ["b", "a"]),
            "iterate": lambda: Person.objects(storage).all(),
            "count": lambda: Person.objects(storage).where(age=1).count(),
            "absent": lambda: storage.get(Person, "c", None),
            "refresh": ann.refresh,
        }

        def by_others() -> None:
            if how == "absent":
                Person(pk="c", name="theirs").save(storage)
            else:
                Person.objects(storage).where(pk="a").update(name="theirs")

        with pytest.raises(Conflict):
            self.read_then_write(storage, reads[how], by_others)
        assert storage.get(Town, 1, None) is None
        self.read_then_write(storage, reads[how], lambda: None)
        assert storage.get(Town, 1).name == "depends on what was read"

    def read_then_write(
        self, storage: Any, read: Callable[[], object], by_others: Callable[[], object]
    ) -> None:
        """Read, let others write, and then store a town, all but the middle as a transaction."""
        with storage.transaction():
            read()
            elsewhere(by_others)
            Town(id=1, name="depends on what was read").save(storage)

    def test_what_others_do_with_other_records_is_no_conflict(
        self, storage: Any, two_people: None
    ) -> None:
        def by_others() -> None:
            Person.objects(storage).where(pk="b").update(age=20)
            Setting(pk="s").save(storage)

        self.read_then_write(storage, lambda: storage.get(Person, "a"), by_others)
        assert ages(storage) == {"a": 1, "b": 20}
        assert len(storage) == 4

    def test_two_transactions_that_write_one_record(self, storage: Any, two_people: None) -> None:
        first, second = storage.begin(), storage.begin()
        for transaction, age in ((first, 10), (second, 20)):
            Person.objects(transaction).where(pk="a").update(age=age)
        first.commit()
        with pytest.raises(Conflict):
            second.commit()
        assert ages(storage) == {"a": 10, "b": 2}

    def test_transfers_between_threads_keep_the_sum(self, storage: Any, two_people: None) -> None:
        storage.save_all([Account(pk=str(n), visits=100) for n in range(4)])

        def transfer(source: str, goal: str) -> Callable[[], int]:
            def run() -> int:
                conflicts = done = 0
                while done < 15:
                    try:
                        with storage.transaction():
                            first, second = storage.get(Account, source), storage.get(Account, goal)
                            first.visits -= 1
                            first.save()
                            second.visits += 1
                            second.save()
                    except Conflict:
                        conflicts += 1
                    else:
                        done += 1
                return conflicts

            return run

        in_threads([transfer("0", "1"), transfer("1", "0"), transfer("1", "2"), transfer("2", "3")])
        found = {one.pk: one.visits for one in Account.objects(storage)}
        assert found == {"0": 100, "1": 85, "2": 100, "3": 115}

    def test_each_thread_has_its_own(self, storage: Any, two_people: None) -> None:
        both_inside = threading.Barrier(2)

        def run(key: str) -> Callable[[], object]:
            def work() -> object:
                with storage.transaction():
                    Person(pk=key, name=key).save(storage)
                    both_inside.wait(60)
                    found = sorted(storage.keys(Person))
                    both_inside.wait(60)
                    return found

            return work

        assert in_threads([run("x"), run("y")]) == [["a", "b", "x"], ["a", "b", "y"]]
        assert list(storage.keys(Person)) == ["a", "b", "x", "y"]

    def test_two_storages_do_not_mix(self, storage: Any, two_people: None, path: Path) -> None:
        folder = path.parent / "other"
        folder.mkdir()
        with self.make(folder) as other:
            with undone(storage):
                Person(pk="c", name="Cat").save(storage)
                Person(pk="c", name="Cat").save(other)
                with other.transaction():
                    Person(pk="d", name="Dan").save(other)
                    Person(pk="d", name="Dan").save(storage)
                    assert list(storage.keys(Person)) == ["a", "b", "c", "d"]
                    assert list(other.keys(Person)) == ["c", "d"]
            assert list(storage.keys(Person)) == ["a", "b"]
            assert list(other.keys(Person)) == ["c", "d"]
