"""Everything about single records, and about the storage as a whole: ``RecordTests``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pymodels import Field, Model, StorageClosed, StorageReadOnly, UsageError
from pymodels.testing.deletions import DeletionTests
from pymodels.testing.fidelity import FidelityTests
from pymodels.testing.iterating import IterationTests
from pymodels.testing.lists import ListTests, MemberTests
from pymodels.testing.people import Person, Setting, Town
from pymodels.testing.prefetching import PrefetchTests
from pymodels.testing.relations import ReferenceTests
from pymodels.testing.saving import SavingTests
from pymodels.testing.uniqueness import UniqueTests
from pymodels.testing.views import ViewTests


class Shop(Model):
    """Its index is called ``orders:members``; the next collection is ``shop:orders``."""

    orders: Field[list[int]] = Field(default_factory=list, index=True)


class Order(Model, collection="shop:orders"):
    """Its index is called ``members``."""

    members: Field[int] = Field(index=True)


WRITES: dict[str, Callable[[Any, Person], object]] = {
    "save": lambda storage, ann: Person(name="new").save(storage),
    "save a change": lambda storage, ann: ann.save(),
    "save nothing": lambda storage, ann: storage.get(Person, "a").save(),
    "save_as": lambda storage, ann: ann.save_as("c"),
    "save_all": lambda storage, ann: storage.save_all([Person(name="new")]),
    "save_all of nothing": lambda storage, ann: storage.save_all([]),
    "delete": lambda storage, ann: ann.delete(),
    "delete_many": lambda storage, ann: storage.delete_many(Person, ["a"]),
    "delete_many of nothing": lambda storage, ann: storage.delete_many(Person, []),
    "update": lambda storage, ann: Person.objects(storage).update(age=1),
    "delete by query": lambda storage, ann: Person.objects(storage).delete(),
    "get_or_create": lambda storage, ann: Person.objects(storage).get_or_create(name="new"),
    "clear": lambda storage, ann: storage.clear(),
    "write": lambda storage, ann: storage.write([]),
}

READS: dict[str, Callable[[Any, Person], object]] = {
    "get": lambda storage, ann: storage.get(Person, "a"),
    "get with a default": lambda storage, ann: storage.get(Person, "a", None),
    "get_many": lambda storage, ann: storage.get_many(Person, ["a"]),
    "refresh": lambda storage, ann: ann.refresh(),
    "iterate": lambda storage, ann: list(Person.objects(storage)),
    "filter": lambda storage, ann: Person.objects(storage).where(age=1).all(),
    "count": lambda storage, ann: Person.objects(storage).count(),
    "exists": lambda storage, ann: Person.objects(storage).exists(),
    "values": lambda storage, ann: Person.objects(storage).values("age"),
    "len": lambda storage, ann: len(storage),
    "keys": lambda storage, ann: list(storage.keys(Person)),
    "raw": lambda storage, ann: storage.raw(Person, "a"),
    "raw_records": lambda storage, ann: list(storage.raw_records(Person)),
    "collections": lambda storage, ann: storage.collections(),
    "revision": lambda storage, ann: storage.revision,
}


class RecordTests(
    SavingTests,
    FidelityTests,
    UniqueTests,
    ViewTests,
    ReferenceTests,
    PrefetchTests,
    DeletionTests,
    ListTests,
    MemberTests,
    IterationTests,
):
    """All about records, and the storage that holds them."""

    def test_collections_of_alike_names_are_apart(self, storage: Any) -> None:
        storage.save_all([Shop(pk="a", orders=[5]), Order(pk="b", members=5), Shop(pk="b")])
        assert Order.objects(storage).where(members=5).count() == 1
        assert Order.objects(storage).values("members") == [5]
        assert Shop.objects(storage).where(orders__contains=5).count() == 1
        Order.objects(storage).delete()
        Order(pk="a", members=7).save(storage)
        assert Shop.objects(storage).where(orders__contains_any=[5, 7]).count() == 1
        assert [one.pk for one in Order.objects(storage).order_by("members")] == ["a"]

    def test_keys_and_instances_come_in_lists(self, storage: Any) -> None:
        storage.save_all([Person(pk=key, name=key) for key in "abc"])
        for wrong in (
            lambda: storage.delete_many(Person, "abc"),
            lambda: storage.get_many(Person, "abc"),
            lambda: storage.get_many(Person, None),
            lambda: Person.objects(storage).in_bulk("abc"),
            lambda: storage.save_all(storage.get(Person, "a")),
            lambda: storage.save_all([Person]),
            lambda: storage.save_all(["a"]),
            lambda: storage.get(dict, "a"),
            lambda: storage.delete_many("Person", ["a"]),
            lambda: list(storage.keys(Any)),
        ):
            with pytest.raises(UsageError):
                wrong()
        assert list(storage.keys(Person)) == ["a", "b", "c"]

    def test_an_empty_storage_is_true_and_has_nothing(self, storage: Any) -> None:
        assert bool(storage) is True
        assert len(storage) == 0
        assert list(storage.keys(Person)) == []
        assert list(Person.objects(storage)) == []
        assert isinstance(storage.name, str)
        assert storage.name in repr(storage)

    def test_counting_and_clearing_all_collections(self, storage: Any) -> None:
        storage.save_all([Person(pk="a", name="Ann"), Person(pk="b", name="Bob")])
        storage.save_all([Town(id=1), Setting(pk="a")])
        assert len(storage) == 4
        assert set(storage.collections()) == {"person", "town", "setting"}
        storage.clear()
        assert len(storage) == 0
        assert bool(storage) is True
        for model in (Person, Town, Setting):
            assert list(storage.keys(model)) == []
        Person(pk="a", name="Ann").save(storage)
        assert len(storage) == 1

    def test_the_revision_is_another_after_each_write(self, storage: Any) -> None:
        ann = Person(pk="a", name="Ann")
        seen = [storage.revision]
        ann.save(storage)
        seen.append(storage.revision)
        ann.age = 1
        ann.save()
        seen.append(storage.revision)
        Person.objects(storage).update(age=2)
        seen.append(storage.revision)
        ann.delete()
        seen.append(storage.revision)
        assert len(set(seen)) == 5
        assert Person.objects(storage).all() == []
        assert storage.get(Person, "a", None) is None
        assert storage.revision == seen[-1]

    @pytest.mark.parametrize("what", WRITES)
    def test_what_is_read_only_is_not_written(self, storage: Any, what: str) -> None:
        ann = Person(pk="a", name="Ann").save(storage)
        ann.age = 7
        storage.read_only = True
        with pytest.raises(StorageReadOnly):
            WRITES[what](storage, ann)
        assert storage.get(Person, "a").age is None
        assert len(storage) == 1

    @pytest.mark.parametrize("what", READS)
    def test_what_is_read_only_is_read(self, storage: Any, what: str) -> None:
        ann = Person(pk="a", name="Ann").save(storage)
        storage.read_only = True
        READS[what](storage, ann)

    @pytest.mark.parametrize("what", [*READS, *WRITES])
    def test_nothing_is_done_with_a_closed_storage(self, storage: Any, what: str) -> None:
        ann = Person(pk="a", name="Ann").save(storage)
        ann.age = 7
        storage.close()
        with pytest.raises(StorageClosed):
            (READS | WRITES)[what](storage, ann)
        assert "closed" in repr(storage)
        assert bool(storage) is True

    def test_closing_twice_does_no_harm(self, path: Any) -> None:
        with self.make(path) as storage:
            Person(pk="a", name="Ann").save(storage)
        assert storage.closed
        storage.close()
        with pytest.raises(StorageClosed):
            storage.get(Person, "a")
        with pytest.raises(StorageClosed):
            storage.begin()
        with pytest.raises(StorageClosed), storage:
            pytest.fail("nothing is to be done with it")

    def test_a_storage_given_by_a_function(self, storage: Any) -> None:
        Person(pk="a", name="Ann").save(lambda: storage)
        assert Person.objects(lambda: storage).get("a").name == "Ann"
        wrong: Any = "people.lmdb"
        with pytest.raises(UsageError):
            Person.objects(wrong)
        with pytest.raises(UsageError):
            Person(name="new").save()
