"""Saving, deleting and reading again: what happens to a record and to the instances of it."""

from __future__ import annotations

from typing import Any

import pytest

from pymodels import (
    Conflict,
    DuplicateKey,
    Field,
    Model,
    ModelError,
    RecordNotFound,
    UsageError,
    ValidationError,
)
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import Address, Person, Setting, Town, put_raw


class Diary(Model):
    """Writes down when its hooks are called."""

    text: Field[str]
    log: Field[list[str]] = Field(default_factory=list)

    def before_save(self) -> None:
        EVENTS.append(f"before save {self.text}")
        if self.text == "refuse":
            raise UsageError("refused by a hook")
        self.text = self.text.strip()

    def after_save(self, created: bool) -> None:
        EVENTS.append(f"after save {self.text} {created} {self.is_changed}")

    def before_delete(self) -> None:
        EVENTS.append(f"before delete {self.text} {self.storage is not None}")

    def after_delete(self) -> None:
        EVENTS.append(f"after delete {self.text} {self.storage is not None}")


EVENTS: list[str] = []


def person(storage: Any, key: str = "a") -> Person:
    """Return what is stored under *key* now."""
    found: Person = storage.get(Person, key)
    return found


class TextTown(Model, collection="town"):
    """What would be towns, if their keys were text."""

    name: Field[str] = Field(default="")


class SavingTests(OpensStorage):
    """One record at a time, and what others do to it meanwhile."""

    def test_a_saved_record_is_found_equal(self, storage: Any) -> None:
        ann = Person(
            pk="a",
            name="Ann",
            age=30,
            tags=["x", "y"],
            extra={"k": [1, None, {"deep": True}]},
            address=Address("High Street", ["ring twice"]),
        )
        assert ann.save(storage) is ann
        found = person(storage)
        assert found is not ann
        assert (found.pk, found.name, found.age, found.tags) == ("a", "Ann", 30, ["x", "y"])
        assert found.extra == {"k": [1, None, {"deep": True}]}
        assert found.address == Address("High Street", ["ring twice"])
        assert (found.town, list(found.friends)) == (None, [])
        assert found.storage is storage
        assert not found.is_changed
        assert not ann.is_changed

    def test_a_record_that_is_not_there(self, storage: Any) -> None:
        Person(pk="a", name="Ann").save(storage)
        with pytest.raises(RecordNotFound):
            storage.get(Person, "b")
        with pytest.raises(RecordNotFound):
            Person.objects(storage).get("b")
        assert storage.get(Person, "b", None) is None
        assert storage.get(Town, 1, None) is None
        assert storage.get_many(Town, [1, 2]) == {}

    def test_many_are_found_by_key_each_once(self, storage: Any) -> None:
        storage.save_all([Person(pk=key, name=key.upper()) for key in "abc"])
        found = storage.get_many(Person, ["c", "nobody", "a", "c"])
        assert list(found) == ["c", "a"]
        assert {key: one.name for key, one in found.items()} == {"a": "A", "c": "C"}

    def test_a_key_that_is_taken(self, storage: Any) -> None:
        Person(pk="a", name="first", extra="kept").save(storage)
        with pytest.raises(DuplicateKey) as caught:
            Person(pk="a", name="second").save(storage)
        assert (caught.value.collection, caught.value.field) == ("person", "pk")
        assert caught.value.value == "a"
        assert person(storage).name == "first"
        Person(pk="a", name="third").save(storage, replace=True)
        assert storage.raw(Person, "a")["name"] == "third"
        assert storage.raw(Person, "a").get("extra") is None

    def test_replacing_leaves_nothing_of_the_old_record(self, storage: Any) -> None:
        put_raw(storage, Setting, "s", {"size": 1, "unknown": "old"})
        Setting(pk="s", size=2).save(storage, replace=True)
        assert storage.raw(Setting, "s") == {"size": 2, "colour": "red"}

    def test_saving_what_has_not_changed_writes_nothing(self, storage: Any) -> None:
        ann = Person(pk="a", name="Ann").save(storage)
        before = storage.revision
        ann.save()
        person(storage).save()
        assert storage.save_all([ann]) == 0
        assert storage.revision == before

    def test_two_who_edit_different_fields_both_win(self, storage: Any) -> None:
        Person(pk="a", name="Ann", age=1, address=Address("x", ["n"])).save(storage)
        mine, yours = person(storage), person(storage)
        mine.name, yours.age = "Anna", 2
        mine.save()
        yours.save()
        third, fourth = person(storage), person(storage)
        assert (third.name, third.age) == ("Anna", 2)
        assert third.address is not None
        assert fourth.address is not None
        third.address.street = "y"
        fourth.address.notes.append("m")
        third.save()
        fourth.save()
        assert person(storage).address == Address("y", ["n", "m"])

    def test_the_later_of_two_edits_of_one_field_stays(self, storage: Any) -> None:
        Person(pk="a", name="Ann").save(storage)
        mine, yours = person(storage), person(storage)
        mine.name, yours.name = "mine", "yours"
        yours.save()
        mine.save()
        assert person(storage).name == "mine"

    def test_a_checked_save_refuses_to_overtake(self, storage: Any) -> None:
        Person(pk="a", name="Ann", age=1).save(storage)
        mine, yours = person(storage), person(storage)
        yours.age = 2
        yours.save()
        mine.name = "Anna"
        with pytest.raises(Conflict) as caught:
            mine.save(check=True)
        assert (caught.value.collection, caught.value.key) == ("person", "a")
        assert (person(storage).name, person(storage).age) == ("Ann", 2)
        assert mine.is_changed
        again = person(storage)
        again.name = "Anna"
        again.save(check=True)
        assert (person(storage).name, person(storage).age) == ("Anna", 2)
        again.age = 3
        again.save(check=True)
        assert person(storage).age == 3

    def test_a_checked_save_of_nothing_still_checks(self, storage: Any) -> None:
        mine = Person(pk="a", name="Ann").save(storage)
        mine.save(check=True)
        Person.objects(storage).update(age=9)
        with pytest.raises(Conflict):
            mine.save(check=True)

    def test_saving_never_brings_a_deleted_record_back(self, storage: Any) -> None:
        mine = Person(pk="a", name="Ann").save(storage)
        person(storage).delete()
        mine.name = "Anna"
        with pytest.raises(RecordNotFound):
            mine.save()
        with pytest.raises(Conflict):
            mine.save(check=True)
        assert storage.get(Person, "a", None) is None
        assert mine.save_as("a").name == "Anna"
        assert person(storage).name == "Anna"

    def test_deleting(self, storage: Any) -> None:
        ann, bob = Person(pk="a", name="Ann"), Person(pk="b", name="Bob")
        storage.save_all([ann, bob])
        other = person(storage)
        ann.delete()
        assert storage.get(Person, "a", None) is None
        assert person(storage, "b").name == "Bob"
        assert (ann.pk, ann.storage, ann.is_changed) == ("a", None, True)
        with pytest.raises(RecordNotFound):
            other.delete()
        with pytest.raises(UsageError):
            ann.delete()
        ann.save(storage)
        assert person(storage).name == "Ann"

    def test_a_checked_deletion(self, storage: Any) -> None:
        mine = Person(pk="a", name="Ann").save(storage)
        other = person(storage)
        other.age = 5
        other.save()
        with pytest.raises(Conflict):
            mine.delete(check=True)
        assert person(storage).age == 5
        other.delete(check=True)
        assert storage.get(Person, "a", None) is None
        with pytest.raises(Conflict):
            mine.delete(check=True)

    def test_reading_again(self, storage: Any) -> None:
        mine = Person(pk="a", name="Ann", tags=["x"]).save(storage)
        other = person(storage)
        other.age, other.tags = 7, ["x", "y"]
        other.save()
        mine.name = "forgotten"
        assert mine.refresh() is mine
        assert (mine.name, mine.age, mine.tags) == ("Ann", 7, ["x", "y"])
        assert not mine.is_changed
        other.delete()
        with pytest.raises(RecordNotFound):
            mine.refresh()
        with pytest.raises(UsageError):
            Person(name="new").refresh()

    def test_saving_as_another_record(self, storage: Any) -> None:
        put_raw(storage, Person, "a", {"name": "Ann", "age": 3, "shoe": {"size": 40}})
        ann = person(storage)
        ann.age = 4
        copy = ann.save_as("b")
        assert (copy.pk, copy.age, copy.storage) == ("b", 4, storage)
        assert storage.raw(Person, "b")["shoe"] == {"size": 40}
        assert storage.raw(Person, "a") == {"name": "Ann", "age": 3, "shoe": {"size": 40}}
        assert (ann.pk, ann.is_changed) == ("a", True)
        with pytest.raises(DuplicateKey):
            ann.save_as("b")
        Person(pk="c", name="Carl", extra="gone").save(storage)
        ann.save_as("c", replace=True)
        assert (person(storage, "c").name, person(storage, "c").extra) == ("Ann", None)
        fresh = ann.save_as()
        assert fresh.pk not in ("a", "b", "c")
        assert len(storage) == 4

    def test_a_record_moves_to_another_storage(self, storage: Any, path: Any) -> None:
        elsewhere = path.parent / "elsewhere"
        elsewhere.mkdir()
        put_raw(storage, Person, "a", {"name": "Ann", "shoe": 40})
        with self.make(elsewhere) as other:
            ann = person(storage)
            ann.name = "Anna"
            ann.save(other)
            assert ann.storage is other
            assert other.raw(Person, "a")["name"] == "Anna"
            assert other.raw(Person, "a")["shoe"] == 40
            assert storage.raw(Person, "a") == {"name": "Ann", "shoe": 40}
            assert ann != person(storage)
            assert ann == person(other)

    def test_a_stored_record_keeps_its_key(self, storage: Any) -> None:
        ann = Person(pk="a", name="Ann").save(storage)
        with pytest.raises(UsageError):
            ann.pk = "b"
        assert ann.pk == "a"

    def test_identity_is_storage_and_key(self, storage: Any) -> None:
        ann, bob = Person(pk="a", name="Ann").save(storage), Person(pk="b", name="Ann")
        assert ann == person(storage)
        assert hash(ann) == hash(person(storage))
        assert bob != Person(pk="b", name="Ann")
        with pytest.raises(TypeError):
            hash(bob)
        bob.save(storage)
        assert bob != ann
        assert len({ann, bob, person(storage), person(storage, "b")}) == 2
        assert Setting(pk="a").save(storage) != ann

    def test_all_that_is_wrong_is_said_at_once_and_nothing_is_stored(self, storage: Any) -> None:
        wrong: Any = Person(pk="a", name="Ann")
        wrong.name, wrong.age, wrong.tags, wrong.extra = 7, "old", ["x", 1], float("nan")
        with pytest.raises(ValidationError) as caught:
            storage.save_all([Person(pk="b", name="Bob"), wrong])
        assert [field for field, _ in caught.value.problems] == ["name", "age", "tags", "extra"]
        assert len(storage) == 0
        assert wrong.storage is None

    def test_many_are_saved_as_one(self, storage: Any) -> None:
        ann, bob = Person(pk="a", name="Ann"), Person(pk="b", name="Bob")
        assert storage.save_all([ann, bob]) == 2
        ann.age = 1
        assert storage.save_all([ann, bob, Town(id=7, name="Bath")]) == 2
        assert (person(storage).age, storage.get(Town, 7).name) == (1, "Bath")
        assert storage.save_all([]) == 0
        bob.name = "Bobby"
        with pytest.raises(DuplicateKey):
            storage.save_all([Person(pk="c", name="C"), bob, Person(pk="a", name="taken")])
        assert storage.get(Person, "c", None) is None
        assert person(storage, "b").name == "Bob"
        assert bob.is_changed
        assert storage.delete_many(Person, ["a", "nobody", "b", "a"]) == 2
        assert len(storage) == 1

    def test_two_new_records_with_one_key_in_a_batch(self, storage: Any) -> None:
        with pytest.raises(DuplicateKey):
            storage.save_all([Person(pk="a", name="1"), Person(pk="a", name="2")])
        assert len(storage) == 0

    def test_new_changed_and_unchanged_records_are_one_batch(self, storage: Any) -> None:
        storage.save_all([Person(pk=key, name=key) for key in "abc"])
        changed, unchanged, other = (storage.get(Person, key) for key in "abc")
        Person.objects(storage).where(pk="a").update(age=7)
        changed.name, other.tags = "changed", ["x"]
        new, town = Person(pk="d", name="new", boss=changed), Town(id=1, name="Bath")
        revision = storage.revision
        assert storage.save_all([unchanged, changed, new, other, town]) == 4
        assert storage.revision != revision
        assert {one.pk: (one.name, one.age, one.tags) for one in Person.objects(storage)} == {
            "a": ("changed", 7, []),
            "b": ("b", None, []),
            "c": ("c", None, ["x"]),
            "d": ("new", None, []),
        }
        assert storage.get(Town, 1).name == "Bath"
        revision = storage.revision
        assert storage.save_all([unchanged, changed, new, other, town]) == 0
        assert storage.revision == revision
        # One of them that cannot be written, and none is.
        changed.name, new.name = "again", "again"
        with pytest.raises(DuplicateKey):
            storage.save_all([changed, new, Person(pk="b", name="taken"), Person(pk="e", name="e")])
        assert sorted(one.name for one in Person.objects(storage)) == ["b", "c", "changed", "new"]
        assert changed.is_changed
        assert storage.save_all([changed, new]) == 2

    def test_a_model_that_declares_other_keys(self, storage: Any) -> None:
        Town(id=1, name="Bath").save(storage)
        for read in (
            lambda: storage.get(TextTown, "1"),
            lambda: storage.get(TextTown, "1", None),
            lambda: storage.get_many(TextTown, ["1"]),
            lambda: storage.raw(TextTown, "1"),
            lambda: list(TextTown.objects(storage)),
            lambda: TextTown.objects(storage).get("1"),
            lambda: TextTown.objects(storage).count(),
            lambda: TextTown(pk="1").save(storage),
            lambda: storage.delete_many(TextTown, ["1"]),
        ):
            with pytest.raises(ModelError, match=r"town.*int keys"):
                read()
        assert storage.raw(Town, 1) == {"name": "Bath"}

    def test_hooks_are_called_in_order(self, storage: Any) -> None:
        EVENTS.clear()
        first, second = Diary(text=" one "), Diary(text="two")
        storage.save_all([first, second])
        assert EVENTS == [
            "before save  one ",
            "before save two",
            "after save one True False",
            "after save two True False",
        ]
        assert storage.get(Diary, first.pk).text == "one"
        EVENTS.clear()
        first.text = "uno"
        first.save()
        first.delete()
        assert EVENTS == [
            "before save uno",
            "after save uno False False",
            "before delete uno True",
            "after delete uno False",
        ]

    def test_a_hook_that_raises_keeps_the_batch_from_being_written(self, storage: Any) -> None:
        with pytest.raises(UsageError, match="refused by a hook"):
            storage.save_all([Diary(pk="a", text="fine"), Diary(pk="b", text="refuse")])
        assert len(storage) == 0
