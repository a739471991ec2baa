"""Instances: making, comparing, copying and showing them, and knowing what changed."""

import copy
import pickle
from typing import Any
from uuid import UUID

import pytest

from pymodels import (
    Field,
    Key,
    Model,
    OperandInvalid,
    RecordNotFound,
    UsageError,
    ValidationError,
    get_storage,
)
from tests.complaints import complaint


@pytest.fixture
def storage():
    return get_storage("pymodels.ext.memory")


class Person(Model):
    name: Field[str]
    age: Field[int | None] = Field(default=None)
    tags: Field[list[str]] = Field(default_factory=list)
    extra: Field[Any] = Field(default=None)
    boss: Field["Person | None"] = Field(default=None)


class Grown(Person, must_have={"age__gte": 18}):
    job: Field[str] = ""


class Numbered(Model):
    id: Key[int]
    text: Field[str] = ""


class Unique(Model):
    id: Key[UUID] = Key(default=None)


class Empty(Model):
    pass


# --- the constructor ------------------------------------------------------------------------


def test_missing_values_are_all_named():
    class Three(Model):
        one: Field[int]
        two: Field[int] = 2
        three: Field[int | None]

    with complaint(UsageError, "Three", "'one'", "'three'"):
        Three()
    with complaint(UsageError, "Three needs", "'three'"):
        Three(one=1)


def test_unknown_values_are_named_with_the_nearest():
    with complaint(UsageError, "Person", "'nmae'", "did you mean 'name'"):
        Person(nmae="Ann")
    with complaint(UsageError, "Person", "'xyzzy'", "name, age, tags"):
        Person(name="Ann", xyzzy=1)
    with complaint(UsageError, "Empty", "'a'", "pk"):
        Empty(a=1)


def test_values_by_position_are_refused():
    with complaint(UsageError, "Person", "by name", "Person(name='Ann')"):
        Person("Ann")
    with complaint(UsageError, "Empty", "by name", "Empty(pk='a')"):
        Empty("a")


def test_a_wrong_type_is_refused_by_save_not_before(storage):
    person = Person(name=3)
    person.age = "old"
    with complaint(ValidationError, "name", "age"):
        person.validate()
    with complaint(ValidationError, "name", "age"):
        person.save(storage)
    assert len(storage) == 0


def test_an_unknown_attribute_cannot_be_set():
    person = Person(name="Ann")
    with pytest.raises(AttributeError, match="nmae"):
        person.nmae = "x"
    with pytest.raises(AttributeError, match="nmae"):
        person.nmae


# --- keys -----------------------------------------------------------------------------------


def test_kinds_of_keys(storage):
    assert type(Person(name="x").save(storage).pk) is str
    unique = Unique().save(storage)
    assert type(unique.pk) is UUID
    assert unique.id == unique.pk
    assert (unique.pk.version, UUID(Person(name="x").save(storage).pk).version) == (7, 7)
    with complaint(ValidationError, "Numbered", "id", "int", "key"):
        Numbered(text="x").save(storage)


def test_a_key_goes_by_pk_and_by_its_own_name(storage):
    for number in (Numbered(id=7), Numbered(pk=7)):
        assert (number.id, number.pk) == (7, 7)
    number.id = 8
    assert number.pk == 8
    number.save(storage)
    assert Numbered.objects(storage).get(id=8).id == 8
    assert Numbered.objects(storage).get(pk=8).id == 8
    with complaint(UsageError, "Numbered", "pk and id"):
        Numbered(pk=1, id=2)
    assert Numbered(pk=0).save(storage).id == 0


@pytest.mark.parametrize("key", ["7", True, 7.0, 2**63, -(2**63) - 1, b"7", UUID(int=7)])
def test_keys_of_a_wrong_kind(storage, key):
    with complaint(ValidationError, "Numbered", "id"):
        Numbered(id=key).save(storage)
    with complaint(OperandInvalid, "Numbered", "id"):
        Numbered.objects(storage).get(key)
    with complaint(OperandInvalid, "Numbered", "id"):
        storage.get(Numbered, key)
    with complaint(OperandInvalid, "Numbered", "id"):
        Numbered.reference(key)


@pytest.mark.parametrize("key", ["", 7, b"x", "\ud800", None.__class__])
def test_text_keys_of_a_wrong_kind(storage, key):
    with complaint(ValidationError, "Empty", "pk"):
        Empty(pk=key).save(storage)


@pytest.mark.parametrize("key", [-(2**63), -1, 0, 2**63 - 1])
def test_the_limits_of_number_keys(storage, key):
    Numbered(id=key).save(storage)
    assert Numbered.objects(storage).get(key).id == key


def test_the_key_of_a_stored_record_does_not_change(storage):
    person = Person(pk="a", name="Ann").save(storage)
    person.pk = "a"
    with complaint(UsageError, "'a'", "save_as('b')"):
        person.pk = "b"
    copied = person.save_as("b")
    assert (person.pk, copied.pk) == ("a", "b")
    assert [one.pk for one in Person.objects(storage)] == ["a", "b"]


# --- identity -------------------------------------------------------------------------------


def test_equality_is_by_storage_and_key(storage):
    other_storage = get_storage("pymodels.ext.memory")
    saved = Person(pk="a", name="Ann").save(storage)
    again = Person.objects(storage).get("a")
    again.name = "Anna"
    assert saved == again
    assert hash(saved) == hash(again)
    assert len({saved, again, Person(pk="b", name="Ann").save(storage)}) == 2
    assert saved != Person(pk="a", name="Ann").save(other_storage)
    assert saved != Person(pk="a", name="Ann")
    assert saved != Empty(pk="a").save(storage)
    assert saved != "a"


def test_two_views_of_one_record_are_equal(storage):
    person = Person(pk="a", name="Ann", age=20).save(storage)
    assert Grown.objects(storage).get("a") == person
    assert hash(Grown.objects(storage).get("a")) == hash(person)


def test_unsaved_records_are_unequal_and_have_no_hash():
    one, two = Person(pk="a", name="Ann"), Person(pk="a", name="Ann")
    assert one == one
    assert one != two
    with pytest.raises(TypeError, match="not stored"):
        hash(one)


def test_a_deleted_record_is_a_new_one(storage):
    person = Person(pk="a", name="Ann").save(storage)
    person.delete()
    assert (person.pk, person.storage, person.is_changed) == ("a", None, True)
    with pytest.raises(TypeError):
        hash(person)
    with complaint(UsageError, "not stored", "deleted"):
        person.delete()
    with complaint(UsageError, "save(storage)"):
        person.save()
    assert person.save(storage).storage is storage


def test_repr_says_what_it_is_and_shortens_long_values(storage):
    person = Person(name="x" * 500, age=3)
    assert repr(person).startswith("Person(new, name='xxx")
    assert "age=3" in repr(person)
    assert len(repr(person)) < 250
    assert repr(Numbered(id=7, text="a")) == "Numbered(id=7, text='a')"
    assert repr(Person(pk="a", name="b").save(storage)).startswith("Person(pk='a', name='b', age=")
    boss = Person(pk="boss", name="c", boss=Person(pk="top", name="d"))
    assert "boss='top'" in repr(boss)  # the key: nothing is loaded, and nothing goes in circles


# --- copies ---------------------------------------------------------------------------------


def test_copies_are_the_same_record(storage):
    person = Person(pk="a", name="Ann", tags=["x"]).save(storage)
    person.age = 3
    shallow, deep = copy.copy(person), copy.deepcopy(person)
    for other in (shallow, deep):
        assert other == person
        assert other.changes() == {"age": (None, 3)}
        assert other.storage is storage
    deep.tags.append("y")
    assert person.tags == ["x"]
    deep.save()
    assert Person.objects(storage).get("a").tags == ["x", "y"]


def test_a_deep_copy_of_records_that_refer_to_each_other():
    one, two = Person(pk="1", name="a"), Person(pk="2", name="b")
    one.boss, two.boss = two, one
    again = copy.deepcopy(one)
    assert again.key_of("boss") == "2"
    assert again.name == "a"


def test_pickles_carry_values_and_no_storage(storage):
    boss = Person(pk="b", name="Bob").save(storage)
    person = Person(pk="a", name="Ann", extra={"n": {1, 2}}, boss=boss).save(storage)
    person.age = 3
    again = pickle.loads(pickle.dumps(person))
    assert again.to_dict() == person.to_dict()
    assert again.storage is None
    with complaint(UsageError, "save(storage)"):
        again.save()
    again.save(storage, replace=True)
    assert Person.objects(storage).get("a").age == 3


def test_a_storage_cannot_be_pickled(storage):
    with complaint(UsageError, "settings"):
        pickle.dumps(storage)


def test_to_dict_and_back(storage):
    boss = Person(pk="b", name="Bob").save(storage)
    person = Person(pk="a", name="Ann", tags=["x"], extra=[{"a": 1}], boss=boss)
    plain = person.to_dict()
    assert plain == {
        "pk": "a", "name": "Ann", "age": None, "tags": ["x"], "extra": [{"a": 1}], "boss": "b",
    }  # fmt: skip
    plain["tags"].append("y")
    plain["extra"][0]["a"] = 2
    assert (person.tags, person.extra) == (["x"], [{"a": 1}])
    assert Person.from_dict(person.to_dict()).to_dict() == person.to_dict()
    assert Numbered(id=7).to_dict() == {"id": 7, "text": ""}
    assert Numbered.from_dict({"id": 7}).pk == 7
    with complaint(UsageError, "'nmae'", "did you mean 'name'"):
        Person.from_dict({"nmae": "x"})
    for wrong in (None, "name", ["name"], {1: "x"}):
        with complaint(UsageError, "from_dict takes a mapping", repr(wrong)):
            Person.from_dict(wrong)


# --- what changed ---------------------------------------------------------------------------


def test_changes_of_a_new_record_are_every_field():
    person = Person(name="Ann", tags=["x"])
    assert person.is_changed
    assert person.changes() == {
        "name": (None, "Ann"), "age": (None, None), "tags": (None, ["x"]), "extra": (None, None),
        "boss": (None, None),
    }  # fmt: skip


def test_changes_see_assignments_edits_in_place_and_their_undoing(storage):
    person = Person(pk="a", name="Ann", tags=["x"], extra={"a": [1]}).save(storage)
    assert (person.is_changed, person.changes()) == (False, {})
    person.tags.append("y")
    person.extra["a"][0] = 2
    person.boss = "a"
    assert person.changes() == {
        "tags": (["x"], ["x", "y"]), "extra": ({"a": [1]}, {"a": [2]}), "boss": (None, "a"),
    }  # fmt: skip
    person.tags.pop()
    person.extra = {"a": [1]}
    person.boss = None
    assert (person.is_changed, person.changes()) == (False, {})
    person.name = "Anna"
    person.refresh()
    assert (person.name, person.is_changed) == ("Ann", False)


def test_one_equal_value_of_another_type_is_a_change(storage):
    person = Person(pk="a", name="Ann", extra=1).save(storage)
    for value in (1.0, True):
        person.extra = value
        assert person.is_changed
        person.save()
        assert type(Person.objects(storage).get("a").extra) is type(value)


def test_undeclared_fields_are_shown_and_kept(storage):
    Grown(pk="a", name="Ann", age=20, job="cook").save(storage)
    person = Person.objects(storage).get("a")
    assert person.unknown == {"job": "cook"}
    person.unknown["job"] = "thief"  # a copy
    person.name = "Anna"
    person.save()
    assert storage.raw(Person, "a")["job"] == "cook"


def test_convert_to(storage):
    person = Person(pk="a", name="Ann", age=20).save(storage)
    grown = person.convert_to(Grown, {"job": "cook"})
    assert grown == person
    assert grown.changes() == {"job": ("", "cook")}
    grown.save()
    assert storage.raw(Person, "a")["job"] == "cook"
    assert grown.convert_to(Person).name == "Ann"
    with complaint(UsageError, "Grown", "'jbo'", "did you mean 'job'"):
        person.convert_to(Grown, {"jbo": "x"})
    for wrong in (3, "job", {1: "x"}):
        with complaint(UsageError, "convert_to takes a mapping", repr(wrong)):
            person.convert_to(Grown, wrong)
    for wrong in (None, "Grown", int):
        with complaint(UsageError, repr(wrong), "no model"):
            person.convert_to(wrong)
    child = Person(name="Kid", age=3).save(storage)
    with complaint(ValidationError, "Grown", "age__gte=18"):
        child.convert_to(Grown, {"job": "x"}).save()


# --- saving where ---------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["people.lmdb", 3, {"backend": "x"}, list])
def test_what_is_no_storage(wrong):
    with complaint(UsageError, "storage", "get_storage"):
        Person(name="Ann").save(wrong)
    with complaint(UsageError, "storage", "get_storage"):
        Person.objects(wrong)


def test_a_function_that_returns_a_storage(storage):
    person = Person(name="Ann").save(lambda: storage)
    assert person.storage is storage
    assert Person.objects(lambda: storage).count() == 1
    with complaint(UsageError, "returned 3"):
        Person.objects(lambda: 3)


def test_a_new_record_has_to_be_told_where(storage):
    person = Person(name="Ann")
    with complaint(UsageError, "Person(new", "save(storage)"):
        person.save()
    with complaint(UsageError, "not stored"):
        person.refresh()
    assert person.save(storage).save() is person


def test_refresh_of_a_record_that_is_gone(storage):
    person = Person(pk="a", name="Ann").save(storage)
    Person.objects(storage).delete()
    with complaint(RecordNotFound, "Person", "'a'", "any more"):
        person.refresh()


# --- hooks ----------------------------------------------------------------------------------


class Hooked(Model):
    text: Field[str] = ""
    log: Field[list[str]] = Field(default_factory=list)

    def before_save(self):
        self.text = self.text.strip()
        self.log.append("before_save")

    def after_save(self, created):
        HOOKS.append(f"after_save created={created} stored={self.storage is not None}")

    def before_delete(self):
        HOOKS.append(f"before_delete stored={self.storage is not None}")
        if self.text == "precious":
            raise ValueError("not this one")

    def after_delete(self):
        HOOKS.append(f"after_delete stored={self.storage is not None}")


HOOKS: list[str] = []


def test_hooks_run_around_saving_and_deleting(storage):
    HOOKS.clear()
    hooked = Hooked(pk="a", text="  x ").save(storage)
    assert storage.raw(Hooked, "a") == {"text": "x", "log": ["before_save"]}
    hooked.save()
    hooked.delete()
    assert HOOKS == [
        "after_save created=True stored=True",
        "after_save created=False stored=True",
        "before_delete stored=True",
        "after_delete stored=False",
    ]


def test_a_hook_can_refuse(storage):
    HOOKS.clear()
    hooked = Hooked(pk="a", text="precious").save(storage)
    with pytest.raises(ValueError, match="not this one"):
        hooked.delete()
    assert Hooked.objects(storage).count() == 1
    assert hooked.storage is storage


def test_saving_many_runs_the_hooks_of_each(storage):
    HOOKS.clear()
    storage.save_all([Hooked(pk="a", text=" a "), Hooked(pk="b", text=" b ")])
    assert [one.text for one in Hooked.objects(storage)] == ["a", "b"]
    assert len(HOOKS) == 2
