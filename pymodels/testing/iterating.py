"""Iteration while the records change: each at most once, none twice, none of the others lost."""

from __future__ import annotations

from typing import Any

from pymodels import F
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import Person, Town

COUNT = 600
"""More than any storage reads ahead at once."""


class IterationTests(OpensStorage):
    """A loop over a query survives what is written in its body."""

    def fill_towns(self, storage: Any) -> None:
        """Store towns under the even numbers."""
        storage.save_all([Town(id=2 * number, name="old") for number in range(COUNT)])

    def test_changing_each_record_in_the_loop(self, storage: Any) -> None:
        self.fill_towns(storage)
        seen: list[Any] = []
        for town in Town.objects(storage).where(name="old"):
            seen.append(town.id)
            if town.id % 16 == 0:
                town.name = "new"
                town.save()
        assert seen == [2 * number for number in range(COUNT)]
        assert Town.objects(storage).where(name="new").count() == COUNT // 8

    def test_deleting_each_record_in_the_loop(self, storage: Any) -> None:
        self.fill_towns(storage)
        seen: list[Any] = []
        for town in Town.objects(storage):
            seen.append(town.id)
            if town.id % 16 < 4:
                town.delete()
        assert seen == [2 * number for number in range(COUNT)]
        assert len(storage) == COUNT * 3 // 4

    def test_deleting_everything_at_the_first(self, storage: Any) -> None:
        self.fill_towns(storage)
        seen: list[Any] = []
        for town in Town.objects(storage):
            if not seen:
                assert Town.objects(storage).delete() == COUNT
            seen.append(town.id)
        assert seen == sorted(set(seen))
        if "snapshot" in storage.capabilities:
            assert len(seen) == COUNT

    def test_inserting_before_and_behind(self, storage: Any) -> None:
        self.fill_towns(storage)
        seen: list[Any] = []
        for town in Town.objects(storage):
            seen.append(town.id)
            if town.id < 200 and town.id % 2 == 0:
                Town(id=town.id + 1, name="inserted").save(storage)
                Town(id=-town.id - 1, name="inserted").save(storage)
        assert seen == sorted(set(seen)), "each at most once, in order"
        assert set(seen) >= {2 * number for number in range(COUNT)}, "none of the others is lost"
        if "snapshot" in storage.capabilities:
            assert len(seen) == COUNT
        assert len(storage) == COUNT + 200

    def test_going_backwards(self, storage: Any) -> None:
        self.fill_towns(storage)
        seen: list[Any] = []
        for town in Town.objects(storage).reverse():
            seen.append(town.id)
            if town.id % 12 == 0:
                town.delete()
            elif town.id % 20 == 0:
                Town(id=town.id + 1).save(storage)
                Town(id=-town.id - 1).save(storage)
        assert seen == sorted(set(seen), reverse=True)
        assert set(seen) >= {2 * number for number in range(COUNT)}

    def test_changing_what_the_order_goes_by(self, storage: Any) -> None:
        people = [Person(pk=f"{n:04}", name="x", age=n) for n in range(COUNT)]
        storage.save_all(people)
        seen: list[Any] = []
        for person in Person.objects(storage).order_by("-age").where(age__gte=0):
            seen.append(person.pk)
            if len(seen) % 8 < 2:
                person.age = -1 if len(seen) % 2 else 10 * COUNT
                person.save()
        assert len(seen) == len(set(seen))
        assert set(seen) == {one.pk for one in people}

    def test_updating_all_in_the_loop(self, storage: Any) -> None:
        storage.save_all([Person(pk=f"{n:02}", name="x", age=0) for n in range(20)])
        for person in Person.objects(storage):
            Person.objects(storage).update(age=F("age") + 1)
            assert person.name == "x"
        assert Person.objects(storage).values("age") == [20]

    def test_loops_in_loops(self, storage: Any) -> None:
        storage.save_all([Town(id=n) for n in range(12)])
        pairs = [
            (one.id, other.id)
            for one in Town.objects(storage)
            for other in Town.objects(storage).where(pk__gt=one.id)
        ]
        assert pairs == [(one, other) for one in range(12) for other in range(one + 1, 12)]

    def test_loops_that_are_left_early(self, storage: Any) -> None:
        self.fill_towns(storage)
        unfinished = [iter(Town.objects(storage)) for _ in range(20)]
        assert [next(one).id for one in unfinished] == [0] * 20
        storage.delete_many(Town, range(0, 2 * COUNT, 4))
        del unfinished
        assert Town.objects(storage).first().id == 2
        assert Town.objects(storage).count() == COUNT // 2

    def test_a_snapshot_is_one(self, storage: Any) -> None:
        self.fill_towns(storage)
        results = iter(Town.objects(storage))
        first = next(results)
        Town.objects(storage).update(name="new")
        names = {town.name for town in results}
        assert first.name == "old"
        if "snapshot" in storage.capabilities:
            assert names == {"old"}
        else:
            assert names <= {"old", "new"}
        assert Town.objects(storage).values("name") == ["new"]
