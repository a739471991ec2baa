"""What comes back is what went in: keys, unknown fields, absence, and nothing shared."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from pymodels import OperandInvalid, RecordInvalid, ValidationError
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import Address, Device, Person, Setting, Town, put_raw

TEXT_KEYS = ["a", "A", "é", "%", "_", "10", "2", " ", "a b", "aa", "\uffff", "\U0001f600", "Z", "ß"]
INT_KEYS = [0, 1, -1, 2, 10, 255, 256, -256, 2**31, 2**63 - 1, -(2**63), -(2**40)]
UUID_KEYS = [UUID(int=value) for value in (0, 1, 255, 256, 1 << 64, 1 << 127, (1 << 128) - 1)]


class FidelityTests(OpensStorage):
    """Nothing is changed, lost, confused or shared on the way."""

    # --- keys -------------------------------------------------------------------------------

    def test_text_keys_are_ordered_by_code_point(self, storage: Any) -> None:
        keys = [*TEXT_KEYS, *(["a\0", "\0"] if "nul" in storage.capabilities else [])]
        storage.save_all([Person(pk=key, name=key) for key in keys])
        assert list(storage.keys(Person)) == sorted(keys)
        assert [one.name for one in Person.objects(storage)] == sorted(keys)
        assert [one.pk for one in Person.objects(storage).reverse()] == sorted(keys)[::-1]
        assert {key: storage.get(Person, key).name for key in keys} == {k: k for k in keys}

    def test_int_keys_are_ordered_as_numbers(self, storage: Any) -> None:
        storage.save_all([Town(id=key, name=str(key)) for key in INT_KEYS])
        assert list(storage.keys(Town)) == sorted(INT_KEYS)
        for key in INT_KEYS:
            assert storage.get(Town, key).name == str(key)
            assert type(storage.get(Town, key).pk) is int
        between = Town.objects(storage).where(pk__gte=-1, pk__lt=255)
        assert [one.id for one in between] == [-1, 0, 1, 2, 10]

    def test_uuid_keys_keep_their_order(self, storage: Any) -> None:
        storage.save_all([Device(id=key, label=str(key)) for key in reversed(UUID_KEYS)])
        assert list(storage.keys(Device)) == sorted(UUID_KEYS)
        assert all(storage.get(Device, key).label == str(key) for key in UUID_KEYS)

    def test_keys_that_are_made_ascend(self, storage: Any) -> None:
        people = [Person(name=str(number)).save(storage) for number in range(20)]
        devices = [Device(label=str(number)).save(storage) for number in range(20)]
        assert len({one.pk for one in people}) == 20
        assert [one.name for one in Person.objects(storage)] == [str(n) for n in range(20)]
        assert [one.label for one in Device.objects(storage)] == [str(n) for n in range(20)]
        assert all(type(one.pk) is UUID for one in devices)
        with pytest.raises(ValidationError):
            Town(name="a number cannot be made up").save(storage)

    def test_a_key_of_another_kind_is_refused(self, storage: Any) -> None:
        for key in (7, b"a", "", "\ud800", UUID_KEYS[0], True):
            with pytest.raises(ValidationError):
                Person(pk=key, name="Ann").save(storage)
            with pytest.raises(OperandInvalid):
                storage.get(Person, key)
        for number in (True, "1", 1.0, 2**63, -(2**63) - 1):
            with pytest.raises(ValidationError):
                Town(pk=number).save(storage)
            with pytest.raises(OperandInvalid):
                storage.get(Town, number)
        assert len(storage) == 0

    def test_collections_do_not_touch_each_other(self, storage: Any) -> None:
        Person(pk="a", name="Ann").save(storage)
        Setting(pk="a").save(storage)
        storage.get(Person, "a").delete()
        assert [one.pk for one in Setting.objects(storage)] == ["a"]
        assert Person.objects(storage).count() == 0
        assert set(storage.collections()) >= {"setting"}

    # --- what a model does not declare ------------------------------------------------------

    def test_unknown_fields_survive(self, storage: Any) -> None:
        shoe = {"size": 40, "laces": [True, None]}
        document = {"name": "Ann", "age": 3, "shoe": shoe, "address": {"street": "x", "zip": 12}}
        put_raw(storage, Person, "a", document)
        ann = storage.get(Person, "a")
        assert ann.unknown == {"shoe": shoe}
        ann.name = "Anna"
        assert ann.address is not None
        ann.address.street = "y"
        ann.save()
        after = storage.raw(Person, "a")
        assert (after["name"], after["shoe"]) == ("Anna", shoe)
        assert (after["address"]["street"], after["address"]["zip"]) == ("y", 12)
        Person.objects(storage).update(age=4)
        assert (storage.raw(Person, "a")["shoe"], storage.raw(Person, "a")["age"]) == (shoe, 4)

    def test_what_was_added_by_others_survives(self, storage: Any) -> None:
        ann = Person(pk="a", name="Ann").save(storage)
        put_raw(storage, Person, "a", {**storage.raw(Person, "a"), "shoe": 40})
        ann.name = "Anna"
        ann.save()
        assert storage.raw(Person, "a")["shoe"] == 40
        assert storage.raw(Person, "a")["name"] == "Anna"

    def test_absent_null_and_default_are_three_things(self, storage: Any) -> None:
        put_raw(storage, Setting, "absent", {})
        put_raw(storage, Setting, "null", {"size": None})
        put_raw(storage, Setting, "default", {"size": 5})
        loaded = {one.pk: one.size for one in Setting.objects(storage)}
        assert loaded == {"absent": 5, "null": None, "default": 5}
        for one in Setting.objects(storage):
            one.save()
        assert storage.raw(Setting, "absent") == {}
        assert storage.raw(Setting, "null") == {"size": None}
        assert [one.pk for one in Setting.objects(storage).where(size=5)] == ["default"]
        assert Setting.objects(storage).where(size=None).count() == 2
        assert [one.pk for one in Setting.objects(storage).where(size__exists=False)] == ["absent"]
        changed = storage.get(Setting, "absent")
        changed.colour = "blue"
        changed.save()
        assert storage.raw(Setting, "absent") == {"colour": "blue"}

    # --- nothing is shared ------------------------------------------------------------------

    def test_editing_what_was_saved_does_not_edit_the_store(self, storage: Any) -> None:
        tags, inner = ["x"], {"list": [1]}
        ann = Person(pk="a", name="Ann", tags=tags, extra=inner, address=Address("s", ["n"]))
        ann.save(storage)
        tags.append("y")
        inner["list"].append(2)
        assert ann.address is not None
        ann.address.notes.append("m")
        found = storage.get(Person, "a")
        assert (found.tags, found.extra) == (["x"], {"list": [1]})
        assert found.address == Address("s", ["n"])
        ann.save()
        found = storage.get(Person, "a")
        assert (found.tags, found.extra) == (["x", "y"], {"list": [1, 2]})
        assert found.address == Address("s", ["n", "m"])

    def test_editing_a_result_does_not_edit_the_store(self, storage: Any) -> None:
        Person(pk="a", name="Ann", tags=["x"], extra={"list": [1]}).save(storage)
        for found in (
            storage.get(Person, "a"),
            storage.get_many(Person, ["a"])["a"],
            Person.objects(storage).first(),
            Person.objects(storage).get(name="Ann"),
        ):
            found.tags.append("y")
            found.extra["list"].append(2)
        raw = storage.raw(Person, "a")
        raw["tags"].append("z")
        raw["extra"]["list"].clear()
        for _, document in storage.raw_records(Person):
            document["tags"].clear()
        for (tags,) in list(Person.objects(storage).select("tags")):
            tags.append("w")
        for value in Person.objects(storage).values("extra"):
            value.clear()
        again = storage.get(Person, "a")
        assert (again.tags, again.extra) == (["x"], {"list": [1]})

    def test_editing_an_operand_does_not_edit_the_store(self, storage: Any) -> None:
        Person(pk="a", name="Ann", extra=[1]).save(storage)
        tags, extra = ["x"], [1]
        found = Person.objects(storage).where(extra=extra)
        Person.objects(storage).update(tags=tags)
        tags.append("y")
        extra.append(2)
        assert storage.get(Person, "a").tags == ["x"]
        assert found.count() == 1, "a query keeps the operand that it was built with"
        made, created = Person.objects(storage).get_or_create(
            pk="b", defaults={"name": "Bob", "tags": tags}
        )
        assert created
        made.tags.append("z")
        assert storage.get(Person, "b").tags == ["x", "y"]

    # --- what does not fit ------------------------------------------------------------------

    def test_a_record_that_does_not_fit_is_never_skipped(self, storage: Any) -> None:
        put_raw(storage, Person, "a", {"name": "Ann"})
        put_raw(storage, Person, "b", {"name": "Bob", "age": "old"})
        put_raw(storage, Person, "c", {"age": 1})
        with pytest.raises(RecordInvalid) as caught:
            storage.get(Person, "b")
        assert (caught.value.collection, caught.value.key) == ("person", "b")
        assert caught.value.field == "age"
        with pytest.raises(RecordInvalid) as caught:
            storage.get(Person, "c")
        assert (caught.value.key, caught.value.field) == ("c", "name")
        with pytest.raises(RecordInvalid):
            Person.objects(storage).all()
        with pytest.raises(RecordInvalid):
            Person.objects(storage).where(age__gt=0).count()
        with pytest.raises(RecordInvalid):
            Person.objects(storage).order_by("age").all()
        with pytest.raises(RecordInvalid):
            storage.get_many(Person, ["a", "b"])
        results = iter(Person.objects(storage))
        assert next(results).name == "Ann"
        with pytest.raises(RecordInvalid):
            next(results)

    def test_a_record_that_does_not_fit_can_be_read_and_repaired(self, storage: Any) -> None:
        put_raw(storage, Person, "b", {"name": 5, "age": "old"})
        assert storage.raw(Person, "b") == {"name": 5, "age": "old"}
        assert list(storage.raw_records(Person)) == [("b", {"name": 5, "age": "old"})]
        assert list(storage.keys(Person)) == ["b"]
        assert Person.objects(storage).count() == 1
        Person(pk="b", name="Bob").save(storage, replace=True)
        assert storage.get(Person, "b").name == "Bob"
        put_raw(storage, Person, "b", {"name": 5})
        assert storage.delete_many(Person, ["b"]) == 1
        assert len(storage) == 0

    def test_raw_records_are_plain_and_in_order(self, storage: Any) -> None:
        put_raw(storage, Person, "b", {"name": "Bob", "z": 1, "a": {"y": 1, "x": 2}})
        put_raw(storage, Person, "a", {})
        assert list(storage.raw_records(Person)) == [
            ("a", {}),
            ("b", {"name": "Bob", "z": 1, "a": {"y": 1, "x": 2}}),
        ]
        with pytest.raises(KeyError):
            storage.raw(Person, "c")
