"""Batches: written whole or not at all, with what each change expects: ``BatchTests``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pymodels import (
    Conflict,
    DuplicateKey,
    F,
    PyModelsError,
    RecordInvalid,
    RecordNotFound,
    ValidationError,
)
from pymodels.changes import Change, Delete, Expect, Patch, Put
from pymodels.storage import Storage
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import Account, Person, Setting, Town, put_raw
from pymodels.testing.running import in_threads

SCHEMA: Any = Person.__schema__


def stored(storage: Storage, value: Any) -> Any:
    """Return one value in the storage's own form, as a patch holds it."""
    return storage.codec.stored_value(SCHEMA.fields["extra"].kind, value)


def put(storage: Storage, key: str, expect: Any) -> Change:
    """Return a change that stores a whole record."""
    return Put(SCHEMA, key, storage.codec.from_document({"name": "put"}), expect)


def patch(storage: Storage, key: str, expect: Any) -> Change:
    """Return a change of one field."""
    return Patch(SCHEMA, key, {("name",): stored(storage, "patched")}, expect=expect)


def delete(storage: Storage, key: str, expect: Any) -> Change:
    """Return a change that removes the record."""
    return Delete(SCHEMA, key, expect)


CHANGES: dict[str, Callable[[Storage, str, Any], Change]] = {
    "put": put,
    "patch": patch,
    "delete": delete,
}
AFTER: dict[str, dict[str, Any] | None] = {
    "put": {"name": "put"},
    "patch": {"name": "patched", "age": 1},
    "delete": None,
}

# What each expectation makes of a record that is absent, as it was read, or changed since then;
# None is success.
ABSENT, READ, CHANGED = "absent", "as it was read", "changed"
OUTCOMES: dict[tuple[str, str], type[PyModelsError] | None] = {
    ("anything", ABSENT): None,
    ("anything", READ): None,
    ("anything", CHANGED): None,
    ("absent", ABSENT): None,
    ("absent", READ): DuplicateKey,
    ("absent", CHANGED): DuplicateKey,
    ("present", ABSENT): RecordNotFound,
    ("present", READ): None,
    ("present", CHANGED): None,
    ("revision", ABSENT): Conflict,
    ("revision", READ): None,
    ("revision", CHANGED): Conflict,
}


def put_people(storage: Any, count: int) -> None:
    """Store people with the ages 0, 1, 2, ... under keys in that order."""
    storage.save_all([Person(pk=f"{n:05}", name="x", age=n) for n in range(count)])


def document(storage: Any, key: str) -> dict[str, Any] | None:
    """Return what is stored under *key*, None if there is nothing."""
    found: dict[str, Any] = dict(storage.raw_records(Person))
    return found.get(key)


class BatchTests(OpensStorage):
    """The contract of ``Storage.write``, and what stands on it."""

    def expected(self, storage: Any, expect: str, state: str) -> Any:
        """Bring the record "a" into *state*, and return the expectation called *expect*."""
        put_raw(storage, Person, "a", {"name": "before", "age": 1})
        revision = storage.expectation(storage.read(SCHEMA, ["a"])[0])
        if state == ABSENT:
            storage.delete_many(Person, ["a"])
        elif state == CHANGED:
            put_raw(storage, Person, "a", {"name": "others", "age": 1})
        return revision if expect == "revision" else Expect(expect)

    @pytest.mark.parametrize("what", CHANGES)
    @pytest.mark.parametrize(("expect", "state"), OUTCOMES)
    def test_each_expectation(self, storage: Any, what: str, expect: str, state: str) -> None:
        expectation = self.expected(storage, expect, state)
        before = document(storage, "a")
        change = CHANGES[what](storage, "a", expectation)
        wanted = OUTCOMES[expect, state]
        if wanted is None:
            storage.write([change])
            nothing_to_patch = what == "patch" and state == ABSENT
            assert document(storage, "a") == (None if nothing_to_patch else AFTER[what])
        else:
            with pytest.raises(wanted):
                storage.write([change])
            assert document(storage, "a") == before

    @pytest.mark.parametrize("position", [0, 1, 2, 3])
    @pytest.mark.parametrize(
        ("expect", "state"), [key for key, wanted in OUTCOMES.items() if wanted is not None]
    )
    def test_a_failed_expectation_anywhere_rejects_the_whole(
        self, storage: Any, position: int, expect: str, state: str
    ) -> None:
        expectation = self.expected(storage, expect, state)
        put_raw(storage, Person, "b", {"name": "kept"})
        put_raw(storage, Person, "c", {"name": "kept"})
        before, revision = dict(storage.raw_records(Person)), storage.revision
        changes = [
            put(storage, "new", Expect.ABSENT),
            patch(storage, "b", Expect.PRESENT),
            delete(storage, "c", Expect.PRESENT),
        ]
        changes.insert(position, put(storage, "a", expectation))
        wanted = OUTCOMES[expect, state]
        assert wanted is not None
        with pytest.raises(wanted):
            storage.write(changes)
        assert dict(storage.raw_records(Person)) == before
        assert storage.revision == revision

    def test_a_patch_of_nothing_only_asserts(self, storage: Any) -> None:
        put_raw(storage, Person, "a", {"name": "before"})
        read = storage.expectation(storage.read(SCHEMA, ["a"])[0])
        storage.write([Patch(SCHEMA, "a", expect=read)])
        put_raw(storage, Person, "a", {"name": "others"})
        with pytest.raises(Conflict):
            storage.write([put(storage, "b", Expect.ANYTHING), Patch(SCHEMA, "a", expect=read)])
        assert document(storage, "b") is None
        assert document(storage, "a") == {"name": "others"}

    def test_a_deletion_that_expects_nothing_only_asserts(self, storage: Any) -> None:
        storage.write([Delete(SCHEMA, "a", Expect.ABSENT)])
        put_raw(storage, Person, "a", {"name": "before"})
        with pytest.raises(DuplicateKey):
            storage.write([put(storage, "b", Expect.ANYTHING), delete(storage, "a", Expect.ABSENT)])
        assert dict(storage.raw_records(Person)) == {"a": {"name": "before"}}

    def test_later_changes_see_the_earlier_ones(self, storage: Any) -> None:
        storage.write(
            [
                put(storage, "a", Expect.ABSENT),
                patch(storage, "a", Expect.PRESENT),
                put(storage, "b", Expect.ABSENT),
                delete(storage, "b", Expect.PRESENT),
                delete(storage, "b", Expect.ABSENT),
            ]
        )
        assert dict(storage.raw_records(Person)) == {"a": {"name": "patched"}}

    def test_a_batch_over_several_collections(self, storage: Any) -> None:
        Setting(pk="s", size=1).save(storage)
        town = Put(Town.__schema__, 1, storage.codec.from_document({"name": "Bath"}))
        setting = Delete(Setting.__schema__, "s", Expect.PRESENT)
        with pytest.raises(RecordNotFound):
            storage.write([town, setting, delete(storage, "a", Expect.PRESENT)])
        assert list(storage.keys(Town)) == []
        assert storage.get(Setting, "s").size == 1
        storage.write([town, setting, put(storage, "a", Expect.ABSENT)])
        assert storage.get(Town, 1).name == "Bath"
        assert len(storage) == 2

    # --- patches ----------------------------------------------------------------------------

    def test_a_patch_sets_and_unsets_places(self, storage: Any) -> None:
        put_raw(
            storage,
            Person,
            "a",
            {"name": "Ann", "age": 1, "extra": {"x": {"y": 1, "z": 2}, "w": [1]}, "shoe": 4},
        )
        storage.write(
            [
                Patch(
                    SCHEMA,
                    "a",
                    set={
                        ("extra", "x", "y"): stored(storage, [1, 2]),
                        ("extra", "new", "deep"): stored(storage, None),
                        ("tags",): stored(storage, ["t"]),
                    },
                    unset=frozenset(
                        {("age",), ("extra", "x", "z"), ("extra", "w"), ("no",), ("shoe", "no")}
                    ),
                )
            ]
        )
        assert document(storage, "a") == {
            "name": "Ann",
            "extra": {"x": {"y": [1, 2]}, "new": {"deep": None}},
            "tags": ["t"],
            "shoe": 4,
        }

    def test_parts_of_a_path_are_taken_literally(self, storage: Any) -> None:
        put_raw(storage, Person, "a", {"extra": {"a.b": {"$set": 1, "c__d": 2}, "a": {"b": 3}}})
        place = ("extra", "a.b", "$set")
        storage.write([Patch(SCHEMA, "a", {place: stored(storage, {"$inc": 5})})])
        storage.write([Patch(SCHEMA, "a", unset=frozenset({("extra", "a.b", "c__d")}))])
        assert document(storage, "a") == {
            "extra": {"a.b": {"$set": {"$inc": 5}}, "a": {"b": 3}},
        }

    def test_operations_are_computed_from_the_record_as_it_is(self, storage: Any) -> None:
        put_raw(storage, Person, "a", {"name": "Ann", "age": 1})
        change = Patch(SCHEMA, "a", operations={("age",): F("age") * 2 + 1})
        storage.write([change, change])
        storage.write([change])
        assert document(storage, "a") == {"name": "Ann", "age": 15}
        put_raw(storage, Person, "b", {"name": "Bob", "age": None})
        with pytest.raises(ValidationError):
            storage.write([change, Patch(SCHEMA, "b", operations={("age",): F("age") + 1})])
        assert document(storage, "a") == {"name": "Ann", "age": 15}
        overflow = Patch(SCHEMA, "a", operations={("age",): F("age") + (2**63 - 1)})
        with pytest.raises(ValidationError):
            storage.write([overflow])
        assert document(storage, "a") == {"name": "Ann", "age": 15}

    # --- many records -----------------------------------------------------------------------

    def test_a_big_batch(self, storage: Any) -> None:
        assert storage.save_all([Town(id=n, name="x" * (n % 50)) for n in range(3000)]) == 3000
        assert Town.objects(storage).count() == 3000
        assert Town.objects(storage).update(name=F("name") + "!") == 3000
        assert Town.objects(storage).where(name="!").count() == 60
        assert storage.delete_many(Town, range(1000, 5000)) == 2000
        with pytest.raises(DuplicateKey):
            storage.save_all([Town(id=n, name="new") for n in (*range(1000, 3000), 5)])
        assert len(storage) == 1000
        assert Town.objects(storage).delete() == 1000
        assert len(storage) == 0

    def test_a_large_record(self, storage: Any) -> None:
        text = "é" * 2_000_000
        Person(pk="a", name=text, extra=[text[:1000]] * 100).save(storage)
        Person.objects(storage).update(age=1)
        found = storage.get(Person, "a")
        assert found.name == text
        assert len(found.extra) == 100
        assert Person.objects(storage).where(name__endswith="éé").count() == 1

    def test_updating_by_query(self, storage: Any) -> None:
        put_people(storage, 10)
        found = Person.objects(storage).where(age__gte=7)
        assert found.update(name="old", age=F("age") + 100) == 3
        assert [one.age for one in Person.objects(storage)] == [*range(7), 107, 108, 109]
        assert Person.objects(storage).values("name") == ["old", "x"]
        assert Person.objects(storage).where(age=1000).update(name="nobody") == 0
        assert Person.objects(storage).order_by("-age")[:2].update(name="top") == 2
        assert [one.age for one in Person.objects(storage).where(name="top")] == [108, 109]
        with pytest.raises(ValidationError):
            Person.objects(storage).update(age=F("age") / 2)
        with pytest.raises(ValidationError, match="not multiplied"):
            Person.objects(storage).update(name=F("name") * 10**12)
        assert Person.objects(storage).sum("age") == sum(range(7)) + 107 + 108 + 109

    def test_deleting_by_query(self, storage: Any) -> None:
        put_people(storage, 10)
        assert Person.objects(storage).where(age__lt=3).delete() == 3
        assert Person.objects(storage).order_by("age")[1:3].delete() == 2
        assert Person.objects(storage).values("age") == [3, 6, 7, 8, 9]
        assert Person.objects(storage).where(age=None).delete() == 0
        assert Person.objects(storage).delete() == 5

    def test_an_update_that_fails_for_one_changes_none(self, storage: Any) -> None:
        put_people(storage, 3)
        put_raw(storage, Person, "z", {"name": "odd"})
        with pytest.raises(ValidationError):
            Person.objects(storage).update(age=F("age") + 1)
        put_raw(storage, Person, "z", {"name": "odd", "age": "text"})
        with pytest.raises(RecordInvalid):
            Person.objects(storage).update(age=F("age") + 1)
        assert [one.age for one in Person.objects(storage)[:3]] == [0, 1, 2]

    # --- at once ----------------------------------------------------------------------------

    def test_increments_from_many_threads_lose_nothing(self, storage: Any) -> None:
        storage.save_all([Account(pk="one", visits=0), Account(pk="two", visits=100)])

        def increment() -> int:
            return sum(
                Account.objects(storage).where(visits__gte=0).update(visits=F("visits") + 1)
                for _ in range(25)
            )

        assert in_threads([increment] * 4) == [50] * 4
        assert storage.get(Account, "one").visits == 100
        assert storage.get(Account, "two").visits == 200

    def test_what_many_threads_delete_is_deleted_once(self, storage: Any) -> None:
        put_people(storage, 200)

        def by_query() -> int:
            return sum(
                Person.objects(storage).where(age__gte=start, age__lt=start + 20).delete()
                for start in range(0, 200, 20)
            )

        def by_key() -> int:
            keys = [f"{n:05}" for n in range(200)]
            return sum(
                storage.delete_many(Person, keys[start : start + 20])
                for start in range(180, -1, -20)
            )

        assert sum(in_threads([by_query, by_key, by_query, by_key])) == 200
        assert len(storage) == 0

    def test_many_threads_make_one_record(self, storage: Any) -> None:
        def make() -> list[tuple[Any, bool]]:
            return [Town.objects(storage).get_or_create(pk=number) for number in range(40)]

        results = in_threads([make] * 4)
        assert sum(created for made in results for _, created in made) == 40
        assert Town.objects(storage).count() == 40

    def test_many_threads_make_one_record_of_a_unique_value(self, storage: Any) -> None:
        if "unique" not in storage.capabilities:
            return  # UniqueTests see that such a model is refused

        def make() -> list[tuple[Any, bool]]:
            accounts = Account.objects(storage)
            return [accounts.get_or_create(login=str(number)) for number in range(30)]

        results = in_threads([make] * 4)
        assert sum(created for made in results for _, created in made) == 30
        assert Account.objects(storage).count() == 30
        for position in range(30):
            assert len({made[position][0].pk for made in results}) == 1

    def test_checked_saves_from_many_threads_lose_nothing(self, storage: Any) -> None:
        Person(pk="a", name="Ann", age=0).save(storage)

        def increment() -> None:
            done = 0
            while done < 20:
                ann = storage.get(Person, "a")
                ann.age += 1
                try:
                    ann.save(check=True)
                except Conflict:
                    continue
                done += 1

        in_threads([increment] * 4)
        assert storage.get(Person, "a").age == 80

    def test_edits_of_different_fields_from_many_threads_all_win(self, storage: Any) -> None:
        Setting(pk="s", size=0, colour="0").save(storage)

        def edit(field: str, convert: Callable[[int], Any]) -> Callable[[], None]:
            def run() -> None:
                mine = storage.get(Setting, "s")
                for number in range(1, 41):
                    setattr(mine, field, convert(number))
                    mine.save()

            return run

        in_threads([edit("size", int), edit("colour", str)])
        assert storage.raw(Setting, "s") == {"size": 40, "colour": "40"}
