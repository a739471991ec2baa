"""``on_delete``: how it is declared, and which models are asked when a record goes.

What it does to records is in the conformance suite, ``pymodels.testing.deletions``.
"""

import gc
import threading

import pytest

from pymodels import (
    Conflict,
    DeleteRefused,
    Field,
    Key,
    Model,
    ModelError,
    RecordInvalid,
    get_storage,
)
from pymodels.changes import Put
from tests.complaints import complaint


@pytest.fixture(params=["memory", "lmdb"])
def storage(request, tmp_path):
    settings = {"path": tmp_path / "records.lmdb"} if request.param == "lmdb" else {}
    with get_storage(f"pymodels.ext.{request.param}", **settings) as storage:
        yield storage


class Town(Model):
    id: Key[int]
    name: Field[str] = ""


class House(Model):
    town: Field[Town | None] = Field(default=None, on_delete="cascade")


class Early(Model):
    late: Field["Late | None"] = Field(default=None, on_delete="cascade")


class Late(Model):
    pass


# --- declaring ------------------------------------------------------------------------------


def test_mistakes_in_declarations():
    with complaint(ModelError, "on_delete", "'nothing', 'refuse', 'clear', 'cascade'", "'delete'"):
        Field(on_delete="delete")
    with complaint(ModelError, "Wrong.name", "on_delete='cascade'", "for references"):

        class Wrong(Model):
            name: Field[str] = Field(default="", on_delete="cascade")

    with complaint(ModelError, "Fixed.town", "clear", "cannot hold", "Field[Town | None]"):

        class Fixed(Model):
            town: Field[Town] = Field(on_delete="clear")

    with complaint(ModelError, "Keyed.id", "a key has no options"):

        class Keyed(Model):
            id: Key[int] = Field(on_delete="refuse")


def test_a_list_need_not_be_nullable_to_be_cleared(storage):
    class Tour(Model):
        towns: Field[list[Town]] = Field(default=[], on_delete="clear")

    Town(id=1).save(storage)
    Tour(pk="t", towns=[1, 2, 1]).save(storage)
    storage.get(Town, 1).delete()
    assert storage.raw(Tour, "t") == {"towns": [2]}


def test_the_default_is_nothing(storage):
    class Car(Model):
        town: Field[Town | None] = None

    Town(id=1).save(storage)
    Car(pk="c", town=1).save(storage)
    storage.get(Town, 1).delete()
    assert storage.raw(Car, "c") == {"town": 1}


# --- who is asked ---------------------------------------------------------------------------


def test_a_model_that_is_declared_before_what_it_refers_to(storage):
    storage.write([Put(_bare("early"), "e", storage.codec.from_document({"late": "l"}))])
    Late(pk="l").save(storage).delete()  # nothing here has used Early, which found no Late at first
    assert len(storage) == 0


def _bare(collection):
    class Bare(Model, collection=collection):
        pass

    return Bare.__schema__


def test_a_model_whose_names_are_never_found_is_no_hindrance(storage):
    class Hopeless(Model):
        nobody: Field["NobodyAtAll | None"] = Field(default=None, on_delete="cascade")  # noqa: F821

    house = House(pk="h", town=Town(id=1).save(storage)).save(storage)
    house.town.delete()
    assert len(storage) == 0
    with complaint(ModelError, "Hopeless", "NobodyAtAll"):
        Hopeless.objects(storage)


def families():
    """Return a town and a house that refers to it, of the same names each time."""

    class Village(Model):
        pass

    class Barn(Model):
        village: Field[Village | None] = Field(default=None, on_delete="refuse")

    return Village, Barn


def test_models_that_have_nothing_to_do_with_each_other_do_not_meet(storage):
    (village, barn), (other_village, other_barn) = families(), families()
    barn(pk="b", village=village(pk="v").save(storage)).save(storage)
    elsewhere = get_storage("pymodels.ext.memory", name="elsewhere")
    other_village(pk="v").save(elsewhere).delete()
    with complaint(DeleteRefused, "Village 'v'", "Barn.village of 'b'", "forbids"):
        storage.get(village, "v").delete()
    other_barn(pk="b", village="v").save(elsewhere)


def test_another_model_of_the_same_collection(storage):
    class AnyTown(Model, collection="town"):
        id: Key[int]

    Town(id=1).save(storage)
    House(pk="h", town=1).save(storage)
    # The storage was used with Town, and this is Town's collection.
    storage.get(AnyTown, 1).delete()
    assert len(storage) == 0


def test_a_class_that_is_declared_anew_takes_the_place_of_the_old_one(storage):
    kept = []

    class Ground(Model):
        pass

    def declare(action):
        class Plant(Model):
            ground: Field[Ground | None] = Field(default=None, on_delete=action)

        kept.append(Plant)
        return Plant

    declare("refuse")
    plant = declare("clear")
    plant(pk="p", ground=Ground(pk="g").save(storage)).save(storage)
    storage.get(Ground, "g").delete()
    assert storage.raw(plant, "p") == {"ground": None}


def test_a_model_that_is_gone_is_not_asked(storage):
    class Ground(Model):
        pass

    def declare():
        class Plant(Model):
            ground: Field[Ground | None] = Field(default=None, on_delete="cascade")

        return Plant.__schema__.collection

    collection = declare()
    gc.collect()
    storage.write([Put(_bare(collection), "p", storage.codec.from_document({"ground": "g"}))])
    Ground(pk="g").save(storage).delete()
    assert len(storage) == 1


def test_only_the_same_storage_is_asked(storage):
    elsewhere = get_storage("pymodels.ext.memory", name="elsewhere")
    town = Town(id=1).save(storage)
    town.save_as(1, elsewhere)
    House(pk="h", town=1).save(elsewhere)
    town.delete()
    assert len(elsewhere) == 2


def test_a_view_that_says_nothing_is_left_alone(storage):
    class Castle(House, must_have={"castle": True}):
        town: Field[Town | None] = Field(default=None, on_delete="nothing")

    Town(id=1).save(storage)
    storage.save_all([House(pk="h", town=1), Castle(pk="c", town=1)])
    storage.get(Town, 1).delete()
    assert list(storage.keys(House)) == ["c"]


def test_a_view_inherits(storage):
    class Tent(House, must_have={"tent": True}):
        pass

    Town(id=1).save(storage)
    Tent(pk="t", town=1).save(storage)
    storage.get(Town, 1).delete()
    assert len(storage) == 0


def test_an_abstract_model_lends_its_rule(storage):
    class Placed(Model, abstract=True):
        town: Field[Town | None] = Field(default=None, on_delete="cascade")

    class Tree(Placed):
        pass

    Town(id=1).save(storage)
    Tree(pk="t", town=1).save(storage)
    storage.get(Town, 1).delete()
    assert len(storage) == 0


# --- how it is done -------------------------------------------------------------------------


def test_it_is_one_batch(storage):
    Town(id=1).save(storage)
    storage.save_all(House(pk=str(n), town=1) for n in range(3))
    batches, batch = [], storage.batch

    def counted():
        batches.append(1)
        return batch()

    storage.batch = counted
    storage.get(Town, 1).delete()
    assert (len(batches), len(storage)) == (1, 0)


def test_hooks_are_called_of_what_is_deleted_by_itself_alone(storage):
    calls = []

    class Street(Model):
        def after_delete(self):
            calls.append("street")

    class Lamp(Model):
        street: Field[Street | None] = Field(default=None, on_delete="cascade")

        def after_delete(self):
            calls.append("lamp")

    street = Street(pk="s").save(storage)
    Lamp(street=street).save(storage)
    street.delete()
    assert (calls, len(storage)) == (["street"], 0)


def test_an_instance_that_was_refused_is_as_it_was(storage):
    village, barn = families()
    one = village(pk="v").save(storage)
    barn(pk="b", village=one).save(storage)
    with pytest.raises(DeleteRefused):
        one.delete()
    assert one.storage is storage
    assert not one.is_changed


def test_many_that_refer_are_not_all_named(storage):
    village, barn = families()
    one = village(pk="v").save(storage)
    storage.save_all(barn(pk=f"b{n}", village=one) for n in range(5))
    with complaint(DeleteRefused, "'b0'", "'b2'", "and 2 more"):
        one.delete()


def test_a_record_that_does_not_fit_is_not_passed_over(storage):
    Town(id=1).save(storage)
    storage.write([Put(House.__schema__, "h", storage.codec.from_document({"town": "one"}))])
    with complaint(RecordInvalid, "house 'h'", "'town'"):
        storage.get(Town, 1).delete()
    assert len(storage) == 2


def test_what_begins_to_refer_meanwhile_is_seen_or_waits(storage):
    """Nobody can save a reference between the look at who refers and the deletion."""
    village, barn = families()
    for number in range(20):
        village(pk=f"v{number}").save(storage)
    refused, together = [], threading.Barrier(2)

    def refer():
        together.wait()
        for number in range(20):
            try:
                with storage.transaction():
                    if village.objects(storage).where(pk=f"v{number}").exists():
                        barn(pk=f"b{number}", village=f"v{number}").save(storage)
            except Conflict:
                continue  # the village went while the barn was built: that is fine

    def delete():
        together.wait()
        for number in range(20):
            try:
                storage.delete_many(village, [f"v{number}"])
            except DeleteRefused:
                refused.append(number)

    threads = [threading.Thread(target=one) for one in (refer, delete)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = set(village.objects(storage).values("pk"))
    assert {one.key_of("village") for one in barn.objects(storage)} <= left
    assert {f"v{number}" for number in refused} == left
