"""References: followed, set, stored by key, asked about, and leading nowhere."""

from pathlib import Path
from typing import Optional

import pytest

from pymodels import (
    DanglingReference,
    Field,
    Key,
    Model,
    ModelError,
    OperandInvalid,
    Related,
    UnknownField,
    UnsavedReference,
    UsageError,
    ValidationError,
    get_storage,
)
from tests.complaints import complaint


@pytest.fixture(params=["memory", "lmdb"])
def storage(request, tmp_path: Path):
    settings = {"path": tmp_path / "records.lmdb"} if request.param == "lmdb" else {}
    with get_storage(f"pymodels.ext.{request.param}", **settings) as storage:
        yield storage


class Town(Model):
    id: Key[int]
    name: Field[str] = ""
    people: Related["Person"] = Related("Person", "town")
    visitors: Related["Person"] = Related("Person", "visited")
    lost: Related["Nobody"] = Related("Nobody", "town")  # noqa: F821
    wrong: Related["Person"] = Related("Person", "name")


class Person(Model):
    name: Field[str] = ""
    town: Field[Optional[Town]] = Field(default=None)  # noqa: UP045
    visited: Field[list[Town]] = Field(default_factory=list)
    boss: Field["Person | None"] = Field(default=None)
    friends: Field["list[Person] | None"] = Field(default=None)


class Worker(Person, must_have={"boss__exists": True}):
    pass


class Car(Model):
    pass


@pytest.fixture
def rome(storage):
    return Town(id=1, name="Rome").save(storage)


@pytest.fixture
def ann(storage, rome):
    return Person(pk="ann", name="Ann", town=rome, visited=[rome, 2], boss="ann").save(storage)


class Spy:
    """Counts the reads of a storage."""

    def __init__(self, storage, monkeypatch):
        self.reads = 0
        read = storage.read

        def counted(*args):
            self.reads += 1
            return read(*args)

        monkeypatch.setattr(storage, "read", counted)


# --- following ------------------------------------------------------------------------------


def test_a_reference_loads_when_it_is_followed_once(storage, ann, rome, monkeypatch):
    found = Person.objects(storage).get("ann")
    spy = Spy(storage, monkeypatch)
    assert (found.key_of("town"), found.key_of("boss")) == (1, "ann")
    assert found.key_of("visited") == [1, 2]
    assert found.key_of("friends") is None
    assert repr(found).count("town=1") == 1
    assert spy.reads == 0
    assert found.town == rome
    assert found.town is found.town
    assert spy.reads == 1
    assert found.boss.boss == ann
    assert not found.is_changed


def test_an_instance_that_was_set_is_what_is_read(storage, rome):
    person = Person(town=rome)
    assert person.town is rome
    person.town = Town(id=5, name="new")
    assert person.town.name == "new"


def test_stored_by_key(storage, ann):
    assert storage.raw(Person, "ann") == {
        "name": "Ann", "town": 1, "visited": [1, 2], "boss": "ann", "friends": None,
    }  # fmt: skip


def test_set_by_key_without_loading(storage, ann, rome, monkeypatch):
    paris = Town(id=3, name="Paris").save(storage)
    found = Person.objects(storage).get("ann")
    spy = Spy(storage, monkeypatch)
    found.town = 3
    found.visited = [3, rome]
    found.save()
    assert spy.reads == 0
    assert found.town == paris
    assert found.changes() == {}
    assert storage.raw(Person, "ann")["visited"] == [3, 1]
    found.town = None
    assert found.save().town is None


def test_a_new_record_refers_by_key_until_it_belongs_to_a_storage(storage, rome):
    person = Person(pk="b", town=1)
    with complaint(
        UsageError, "Person", "town", "Town 1", "belongs to a storage", "key_of('town')"
    ):
        person.town
    assert person.save(storage).town == rome


def test_model_reference_is_the_key_checked(storage, rome):
    assert Town.reference(1) == 1
    assert Town.reference(rome) == 1
    assert Person(town=Town.reference(1)).save(storage).town == rome
    with complaint(OperandInvalid, "Town.id", "'Rome'"):
        Town.reference("Rome")


def test_a_view_can_be_what_is_referred_to(storage, ann):
    worker = Worker(pk="w", boss="ann").save(storage)
    ann.boss = worker
    ann.save()
    assert Person.objects(storage).get("ann").boss.pk == "w"


# --- lists of references --------------------------------------------------------------------


def test_a_list_loads_together(storage, ann, rome, monkeypatch):
    paris = Town(id=2).save(storage)
    found = Person.objects(storage).get("ann")
    spy = Spy(storage, monkeypatch)
    assert found.visited.keys == [1, 2]
    assert len(found.visited) == 2
    assert bool(found.visited)
    assert "2 references to Town" in repr(found.visited)
    assert spy.reads == 0
    assert list(found.visited) == [rome, paris]
    assert found.visited[1] == paris
    assert found.visited[:1] == [rome]
    assert paris in found.visited
    assert spy.reads == 1
    assert not found.is_changed


def test_a_list_is_changed_in_place(storage, ann, rome):
    Town(id=2).save(storage)
    Town(id=3).save(storage)
    ann.visited.append(3)
    ann.visited.insert(0, 2)
    del ann.visited[1]
    ann.visited[0] = rome
    assert ann.changes() == {"visited": ([1, 2], [1, 2, 3])}
    ann.save()
    again = Person.objects(storage).get("ann")
    assert again.visited.keys == [1, 2, 3]
    assert again.visited == [rome, 2, 3]
    again.visited.remove(rome)
    again.visited += [3]
    assert again.save().key_of("visited") == [2, 3, 3]
    assert [town.id for town in again.visited] == [2, 3, 3]


def test_mistakes_in_lists(storage, ann):
    for wrong in (3, "12", None.__class__):
        with complaint(UsageError, "Person.visited", "list of Towns or keys"):
            ann.visited = wrong
    for change in (
        lambda: setattr(ann, "visited", [Car()]),
        lambda: ann.visited.append(Car()),
        lambda: ann.visited.__setitem__(0, Car()),
        lambda: ann.visited.__setitem__(slice(0, 1), [Car()]),
        lambda: Person(visited=[Car()]),
    ):
        with complaint(UsageError, "Person.visited", "refers to Town", "Car"):
            change()
    assert ann.key_of("visited") == [1, 2]
    ann.visited.append("x")
    with complaint(ValidationError, "Person", "visited", "[2]", "int"):
        ann.save()
    with pytest.raises(TypeError):
        hash(ann.visited)


# --- mistakes -------------------------------------------------------------------------------


def test_a_record_of_another_model(storage, ann):
    for change in (
        lambda: setattr(ann, "town", Car(pk="c")),
        lambda: setattr(ann, "boss", Town(id=3)),
        lambda: Person(town=Car(pk="c")),
        lambda: Person.objects(storage).update(boss=Car(pk="ann")),
        lambda: Person.objects(storage).update(visited=[Car(pk="ann")]),
    ):
        with complaint(UsageError, "Person.", "refers to"):
            change()
    assert storage.raw(Person, "ann")["boss"] == "ann"


@pytest.mark.parametrize("value", ["1", 1.0, False, [1], {"id": 1}, Town])
def test_a_key_of_a_wrong_kind(storage, ann, value):
    ann.town = value
    with complaint(ValidationError, "Person", "town", "int"):
        ann.save()
    with complaint(ValidationError, "Person.town", "int"):
        Person.objects(storage).update(town=value)
    if value != 1.0:  # as a question it is a sound one: 1.0 equals the key 1
        with complaint(OperandInvalid, "Person.town"):
            Person.objects(storage).where(town=value)
    assert storage.raw(Person, "ann")["town"] == 1


def test_an_unsaved_record_without_key_is_refused_when_saved(storage):
    for record, name in (
        (Person(town=Town(name="x")), "town"),
        (Person(visited=[1, Town(name="x")]), "visited"),
        (Person(boss=Person()), "boss"),
    ):
        with complaint(UnsavedReference, "Person", name, "not saved", "save it first"):
            record.save(storage)
    with pytest.raises(ValidationError) as caught:
        Person(name=3, boss=Person()).save(storage)
    assert [name for name, _ in caught.value.problems] == ["name", "boss"]
    assert len(storage) == 0


def test_an_unsaved_record_is_refused_by_updates_and_conditions(storage, ann):
    people = Person.objects(storage)
    with complaint(ValidationError, "Person.town", "not saved"):
        people.update(town=Town())
    with complaint(ValidationError, "Person.visited", "not saved"):
        people.update(visited=[Town()])
    for lookups in ({"town": Town()}, {"town__in": [1, Town()]}, {"visited__contains": Town()}):
        with complaint(OperandInvalid, "Town", "not saved", "save it first"):
            people.where(**lookups)
    assert storage.raw(Person, "ann")["town"] == 1


def test_two_new_records_can_refer_to_each_other_by_their_keys(storage):
    one, two = Person(pk="1"), Person(pk="2")
    one.boss, two.boss = two, one
    storage.save_all([one, two])
    assert Person.objects(storage).get("1").boss.boss == one


def test_a_dangling_reference_is_an_error_when_followed(storage, ann, rome):
    rome.delete()
    found = Person.objects(storage).get("ann")
    with complaint(DanglingReference, "Person 'ann'", "town", "Town 1", storage.name):
        found.town
    with complaint(DanglingReference, "Person 'ann'", "visited", "Town 1"):
        list(found.visited)
    assert found.key_of("town") == 1
    found.name = "Anna"
    found.save()
    Town(id=1).save(storage)
    assert found.town.id == 1


def test_key_of_what_is_no_reference(ann):
    with complaint(UsageError, "Person", "'twon'", "did you mean 'town'"):
        ann.key_of("twon")
    with complaint(UsageError, "Person", "'name'"):
        ann.key_of("name")


# --- the way back ---------------------------------------------------------------------------


def test_a_backward_relation_is_a_query(storage, ann, rome):
    Person(pk="bob", town=2, visited=[1]).save(storage)
    assert rome.people.all() == [ann]
    assert [one.pk for one in rome.visitors.order_by("-pk")] == ["bob", "ann"]
    assert rome.visitors.where(name="Ann").count() == 1
    assert Town(id=9).save(storage).people.all() == []


def test_mistakes_with_backward_relations(storage, rome):
    with complaint(UsageError, "Town.people", "not saved"):
        Town(id=5).people
    with complaint(UsageError, "Town.people", "field 'town'"):
        rome.people = []
    with complaint(ModelError, "Town.lost", "'Nobody'"):
        rome.lost
    with complaint(ModelError, "Town.wrong", "Person", "'name'"):
        rome.wrong
    with complaint(UnknownField, "'people'"):
        Town.objects(storage).where(people="ann")


# --- in conditions --------------------------------------------------------------------------


def test_a_reference_is_compared_with_an_instance_a_key_or_none(storage, ann, rome):
    people = Person.objects(storage)
    bob = Person(pk="bob", visited=[3]).save(storage)
    assert people.where(town=rome).all() == people.where(town=1).all() == [ann]
    assert people.where(Person.town == rome).all() == [ann]
    assert people.where(town=None).all() == [bob]
    assert people.where(town__in=[rome, None]).all() == [ann, bob]
    assert people.where_not(town=rome).all() == [bob]
    assert people.where(boss=ann).all() == [ann]
    assert people.where(visited__contains=rome).all() == [ann]
    assert people.where(visited__contains_any=[rome, 3]).all() == [ann, bob]
    assert people.where(visited=[rome, 2]).all() == [ann]
    assert people.where(visited__0=rome).all() == [ann]
    assert people.where(pk=ann).all() == [ann]
    assert people.get(ann) == ann


def test_in_takes_a_query(storage, ann, rome):
    people, towns = Person.objects(storage), Town.objects(storage)
    Person(pk="bob", town=5, visited=[5]).save(storage)
    Town(id=5, name="Oslo").save(storage)
    assert people.where(town__in=towns.where(name="Rome")).all() == [ann]
    assert people.where_not(town__in=towns.where(name="Rome")).values("pk") == ["bob"]
    assert people.where(visited__contains_any=towns.where(name="Oslo")).values("pk") == ["bob"]
    assert people.where(pk__in=people.where(name="Ann")).all() == [ann]
    assert people.where(town__in=towns.order_by("-name")[:1]).all() == [ann]


def test_queries_where_none_can_stand(storage):
    people, towns = Person.objects(storage), Town.objects(storage)
    with complaint(OperandInvalid, "Person.town", "town", "person"):
        people.where(town__in=people)
    with complaint(OperandInvalid, "Person.name", "no reference", "values"):
        people.where(name__in=towns)
    with complaint(OperandInvalid, "Person.visited", "visited__contains_any"):
        people.where(visited__in=towns)
    with complaint(OperandInvalid, "Person.town", "town__in"):
        people.where(town__contains_any=towns)


def test_a_path_does_not_pass_through_a_reference(storage):
    people = Person.objects(storage)
    for build in (
        lambda: people.where(town__name="Rome"),
        lambda: people.where(town__name__startswith="R"),
        lambda: people.where(Person.town["name"] == "Rome"),
        lambda: people.order_by("town__name"),
        lambda: people.values("town__name"),
    ):
        with complaint(UnknownField, "town refers to Town", "town__in=Town.objects", "name"):
            build()
    with complaint(UnknownField, "visited refers to Town", "visited__contains_any=Town.objects"):
        people.where(visited__name="Rome")
