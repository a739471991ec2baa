"""References between records: stored by key, followed when asked, and read the other way round."""

from __future__ import annotations

from typing import Any

import pytest

from pymodels import (
    DanglingReference,
    OperandInvalid,
    UnsavedReference,
    UsageError,
    ValidationError,
)
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import Person, Town


class ReferenceTests(OpensStorage):
    """References to one record, to several, to records of the same model, and to none."""

    def test_a_reference_is_stored_by_key(self, storage: Any) -> None:
        bath = Town(id=7, name="Bath").save(storage)
        Person(pk="a", name="Ann", town=bath).save(storage)
        assert storage.raw(Person, "a")["town"] == 7
        ann = storage.get(Person, "a")
        assert ann.key_of("town") == 7
        assert ann.town is not None
        assert ann.town.name == "Bath"
        assert ann.town == bath
        assert ann.town is ann.town
        assert not ann.is_changed

    def test_a_reference_is_set_by_key_without_loading(self, storage: Any) -> None:
        ann = Person(pk="a", name="Ann", town=Town.reference(8)).save(storage)
        assert ann.key_of("town") == 8
        ann.town = Town.reference(9)
        ann.save()
        assert storage.raw(Person, "a")["town"] == 9
        Town(id=9, name="Nine").save(storage)
        assert storage.get(Person, "a").town.name == "Nine"
        ann.town = None
        ann.save()
        assert storage.get(Person, "a").town is None

    def test_an_instance_stands_for_its_key_saved_or_not(self, storage: Any) -> None:
        ann, bob = Person(pk="a", name="Ann"), Person(pk="b", name="Bob", town=Town(id=9))
        ann.boss, bob.boss = bob, ann
        ann.save(storage)
        with pytest.raises(DanglingReference, match="boss"):
            _ = storage.get(Person, "a").boss
        assert Person.objects(storage).where(boss=bob).count() == 1
        storage.save_all([bob, ann])
        assert storage.get(Person, "a").boss.boss == ann
        assert storage.raw(Person, "b")["town"] == 9
        assert Town.objects(storage).count() == 0

    def test_a_reference_to_a_record_that_is_gone(self, storage: Any) -> None:
        bath = Town(id=7).save(storage)
        Person(pk="a", name="Ann", town=bath).save(storage)
        Person(pk="b", name="Bob", friends=[Person.reference("a"), Person.reference("z")])
        bath.delete()
        ann = storage.get(Person, "a")
        assert ann.key_of("town") == 7
        with pytest.raises(DanglingReference, match="town"):
            _ = ann.town
        ann.age = 1
        ann.save()
        bob = Person(pk="b", name="Bob", friends=[ann, Person.reference("z")]).save(storage)
        bob = storage.get(Person, "b")
        with pytest.raises(DanglingReference, match="friends"):
            list(bob.friends)
        assert bob.key_of("friends") == ["a", "z"]

    def test_a_reference_to_a_record_that_is_not_saved(self, storage: Any) -> None:
        bath = Town(name="no key yet")
        with pytest.raises(UnsavedReference, match="town"):
            Person(pk="a", name="Ann", town=bath).save(storage)
        nobody = Person(name="no key yet")
        with pytest.raises(UnsavedReference, match="friends"):
            Person(pk="a", name="Ann", friends=[nobody]).save(storage)
        assert len(storage) == 0

    def test_a_reference_of_a_wrong_kind(self, storage: Any) -> None:
        ann: Any = Person(pk="a", name="Ann").save(storage)
        with pytest.raises(UsageError):
            ann.town = ann
        ann.town = "seven"
        with pytest.raises(ValidationError):
            ann.save()
        ann.town, ann.friends = None, [3]
        with pytest.raises(ValidationError):
            ann.save()

    def test_a_list_of_references(self, storage: Any) -> None:
        ann, bob = Person(pk="a", name="Ann").save(storage), Person(pk="b", name="Bob")
        bob.save(storage)
        cat = Person(pk="c", name="Cat", friends=[bob, ann, bob]).save(storage)
        assert storage.raw(Person, "c")["friends"] == ["b", "a", "b"]
        found = storage.get(Person, "c")
        assert found.key_of("friends") == ["b", "a", "b"]
        assert [one.name for one in found.friends] == ["Bob", "Ann", "Bob"]
        assert not found.is_changed
        found.friends.remove(bob)
        found.friends.append(cat)
        assert found.is_changed
        found.save()
        assert storage.raw(Person, "c")["friends"] == ["a", "b", "c"]
        assert len(storage.get(Person, "c").friends) == 3

    def test_a_reference_to_the_same_record(self, storage: Any) -> None:
        ann = Person(pk="a", name="Ann")
        ann.boss = ann
        ann.save(storage)
        found = storage.get(Person, "a")
        assert found.boss == found
        assert found.boss.boss.boss == ann
        assert [one.pk for one in ann.staff] == ["a"]

    def test_the_way_back_is_a_query(self, storage: Any) -> None:
        bath, york = Town(id=1, name="Bath").save(storage), Town(id=2, name="York").save(storage)
        ann = Person(pk="a", name="Ann", age=30, town=bath).save(storage)
        bob = Person(pk="b", name="Bob", age=9, town=bath, friends=[ann], boss=ann).save(storage)
        Person(pk="c", name="Cat", town=york, friends=[bob, ann], boss=ann).save(storage)
        assert [one.pk for one in bath.people] == ["a", "b"]
        assert [one.pk for one in bath.people.where(age__lt=18)] == ["b"]
        assert bath.people.count() == 2
        assert [one.pk for one in ann.staff.order_by("-name")] == ["c", "b"]
        assert [one.pk for one in ann.befriended] == ["b", "c"]
        assert bob.befriended.count() == 1
        assert york.people.update(age=1) == 1
        york.people.delete()
        assert york.people.exists() is False
        with pytest.raises(UsageError):
            _ = Town(id=3).people

    def test_conditions_take_an_instance_a_key_or_a_query(self, storage: Any) -> None:
        bath, york = Town(id=1, name="Bath").save(storage), Town(id=2, name="York").save(storage)
        Person(pk="a", name="Ann", town=bath).save(storage)
        Person(pk="b", name="Bob", town=york).save(storage)
        Person(pk="c", name="Cat").save(storage)
        people = Person.objects(storage)
        assert [one.pk for one in people.where(town=bath)] == ["a"]
        assert [one.pk for one in people.where(town=2)] == ["b"]
        assert [one.pk for one in people.where(town=None)] == ["c"]
        assert [one.pk for one in people.where(town__in=[bath, None])] == ["a", "c"]
        towns = Town.objects(storage).where(name__startswith="Y")
        assert [one.pk for one in people.where(town__in=towns)] == ["b"]
        assert [one.pk for one in people.where_not(town__in=towns)] == ["a", "c"]
        with pytest.raises(OperandInvalid):
            people.where(town=Town(name="unsaved"))

    def test_references_made_in_one_batch(self, storage: Any) -> None:
        bath, ann = Town(id=1, name="Bath"), Person(pk="a", name="Ann")
        ann.town = bath
        bob = Person(pk="b", name="Bob", friends=[ann])
        storage.save_all([bob, ann, bath])
        found = storage.get(Person, "b")
        assert found.friends[0].town.name == "Bath"
