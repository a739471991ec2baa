"""Transactions, where they are declared: whole or not at all, and apart from each other."""

from __future__ import annotations

from typing import Any

import pytest

from pymodels import (
    Conflict,
    DuplicateKey,
    F,
    RecordNotFound,
    StorageReadOnly,
    TransactionError,
)
from pymodels.testing.isolation import IsolationTests, ages, elsewhere, undone
from pymodels.testing.people import Account, Person, Setting, Town


class TransactionTests(IsolationTests):
    """What ``transactions`` promises; a storage that does not declare it says so when asked."""

    # --- the end of it ----------------------------------------------------------------------

    def test_what_was_done_is_true_at_the_end(self, storage: Any, two_people: None) -> None:
        with storage.transaction():
            Person(pk="c", name="Cat", age=3).save(storage)
            ann = storage.get(Person, "a")
            ann.age = 10
            ann.save()
            storage.get(Person, "b").delete()
            Town(id=1).save(storage)
            seen = elsewhere(lambda: (ages(storage), len(storage)))
        assert seen == ({"a": 1, "b": 2}, 2)
        assert ages(storage) == {"a": 10, "c": 3}
        assert len(storage) == 3
        assert not ann.is_changed

    def test_an_exception_undoes_everything(self, storage: Any, two_people: None) -> None:
        before = storage.revision
        with undone(storage):
            Person(pk="c", name="Cat").save(storage)
            Person.objects(storage).update(age=9)
            storage.get(Person, "b").delete()
            storage.clear()
            Setting(pk="s").save(storage)
        assert ages(storage) == {"a": 1, "b": 2}
        assert len(storage) == 2
        assert storage.revision == before

    def test_a_rollback_in_the_block(self, storage: Any, two_people: None) -> None:
        with storage.transaction() as transaction:
            Person.objects(storage).update(age=9)
            transaction.rollback()
        assert ages(storage) == {"a": 1, "b": 2}

    def test_a_commit_in_the_block(self, storage: Any, two_people: None) -> None:
        with storage.transaction() as transaction:
            Person.objects(storage).update(age=9)
            transaction.commit()
        assert ages(storage) == {"a": 9, "b": 9}

    def test_an_empty_transaction(self, storage: Any, two_people: None) -> None:
        with storage.transaction():
            pass
        storage.begin().commit()
        storage.begin().rollback()
        assert ages(storage) == {"a": 1, "b": 2}

    def test_by_hand(self, storage: Any, two_people: None) -> None:
        transaction = storage.begin()
        Person(pk="c", name="Cat", age=3).save(transaction)
        assert transaction.get(Person, "c").age == 3
        assert storage.get(Person, "c", None) is None
        prepared = transaction.prepare()
        assert elsewhere(lambda: ages(storage)) == {"a": 1, "b": 2}
        prepared.commit()
        assert ages(storage) == {"a": 1, "b": 2, "c": 3}

    def test_prepared_and_committed_through_the_transaction(
        self, storage: Any, two_people: None
    ) -> None:
        transaction = storage.begin()
        Person.objects(transaction).update(age=5)
        transaction.prepare()
        with pytest.raises(TransactionError):
            Person.objects(transaction).update(age=6)
        transaction.commit()
        assert ages(storage) == {"a": 5, "b": 5}

    def test_prepared_and_rolled_back(self, storage: Any, two_people: None) -> None:
        transaction = storage.begin()
        Person.objects(transaction).update(age=5)
        transaction.prepare()
        transaction.rollback()
        assert ages(storage) == {"a": 1, "b": 2}
        Person.objects(storage).update(age=6)
        assert ages(storage) == {"a": 6, "b": 6}

    def test_a_thread_that_would_wait_for_itself_is_told(
        self, storage: Any, two_people: None
    ) -> None:
        transaction = storage.begin()
        Person.objects(transaction).update(age=5)
        transaction.prepare()
        with pytest.raises(TransactionError, match="prepared"):
            Person(pk="c", name="Cat").save(storage)
        assert ages(storage) == {"a": 1, "b": 2}
        transaction.commit()
        Person(pk="c", name="Cat").save(storage)
        assert ages(storage) == {"a": 5, "b": 5, "c": None}

    def test_preparing_checks(self, storage: Any, two_people: None) -> None:
        transaction = storage.begin()
        assert transaction.get(Person, "a").age == 1
        Person(pk="c", name="Cat").save(transaction)
        Person.objects(storage).update(age=F("age") + 1)
        with pytest.raises(Conflict):
            transaction.prepare()
        assert storage.get(Person, "c", None) is None
        with pytest.raises(TransactionError):
            transaction.commit()

    def test_a_batch_prepared_without_a_transaction(self, storage: Any, two_people: None) -> None:
        from pymodels.changes import Delete, Expect

        change = Delete(Person.__schema__, "a", Expect.PRESENT)
        storage.prepare([change]).rollback()
        assert ages(storage) == {"a": 1, "b": 2}
        storage.prepare([change]).commit()
        assert ages(storage) == {"b": 2}
        with pytest.raises(RecordNotFound):
            storage.prepare([change])
        Person(pk="a", name="Ann").save(storage)

    @pytest.mark.parametrize("how", ["commit", "rollback"])
    def test_nothing_is_done_after_the_end(self, storage: Any, two_people: None, how: str) -> None:
        transaction = storage.begin()
        ann = transaction.get(Person, "a")
        people = Person.objects(transaction)
        getattr(transaction, how)()
        for late in (
            lambda: transaction.get(Person, "a"),
            people.all,
            people.count,
            lambda: people.update(age=1),
            lambda: Person(name="late").save(transaction),
            transaction.clear,
            transaction.commit,
            transaction.begin,
            transaction.__enter__,
        ):
            with pytest.raises(TransactionError):
                late()
        ann.age = 7
        ann.save()
        assert storage.get(Person, "a").age == 7

    def test_rolling_back_after_the_end(self, storage: Any, two_people: None) -> None:
        transaction = storage.begin()
        transaction.rollback()
        transaction.rollback()
        transaction.close()
        transaction = storage.begin()
        Person.objects(transaction).update(age=5)
        transaction.commit()
        with pytest.raises(TransactionError):
            transaction.rollback()
        assert ages(storage) == {"a": 5, "b": 5}

    # --- inside each other ------------------------------------------------------------------

    def test_a_savepoint_that_is_undone(self, storage: Any, two_people: None) -> None:
        with storage.transaction():
            Person(pk="c", name="Cat", age=3).save(storage)
            with undone(storage):
                Person.objects(storage).update(age=9)
                storage.get(Person, "c").delete()
                with storage.transaction():
                    Person(pk="d", name="Dan").save(storage)
                assert ages(storage) == {"a": 9, "b": 9, "d": None}
            assert ages(storage) == {"a": 1, "b": 2, "c": 3}
            with storage.transaction():
                Person.objects(storage).where(pk="a").update(age=10)
            assert ages(storage) == {"a": 10, "b": 2, "c": 3}
        assert ages(storage) == {"a": 10, "b": 2, "c": 3}

    def test_everything_is_undone_with_the_outermost(self, storage: Any, two_people: None) -> None:
        with undone(storage):
            with storage.transaction():
                Person.objects(storage).update(age=9)
                with storage.transaction():
                    Person(pk="c", name="Cat").save(storage)
            assert len(storage) == 3
        assert ages(storage) == {"a": 1, "b": 2}

    # --- instances --------------------------------------------------------------------------

    def test_instances_are_what_they_were_after_a_rollback(
        self, storage: Any, two_people: None
    ) -> None:
        ann, bob = storage.get(Person, "a"), storage.get(Person, "b")
        cat = Person(name="Cat")
        with undone(storage):
            ann.age = 10
            ann.save()
            bob.delete()
            cat.save(storage)
            assert (ann.is_changed, bob.storage, cat.storage) == (False, None, storage)
        assert ann.changes() == {"age": (1, 10)}
        assert (bob.storage, bob.is_changed) == (storage, False)
        assert (cat.pk, cat.storage, cat.is_changed) == (None, None, True)
        ann.save()
        bob.age = 20
        bob.save()
        cat.save(storage)
        assert len(storage) == 3
        assert (storage.get(Person, "a").age, storage.get(Person, "b").age) == (10, 20)

    def test_instances_after_an_inner_rollback(self, storage: Any, two_people: None) -> None:
        ann = storage.get(Person, "a")
        with storage.transaction():
            ann.age = 10
            ann.save()
            with undone(storage):
                ann.age = 11
                ann.save()
                ann.delete()
            assert ann.changes() == {"age": (10, 11)}
            ann.save()
        assert storage.get(Person, "a").age == 11
        assert not ann.is_changed

    def test_instances_after_a_failed_commit(self, storage: Any, two_people: None) -> None:
        ann, cat = storage.get(Person, "a"), Person(pk="c", name="Cat")
        transaction = storage.begin()
        ann.age = 10
        ann.save(transaction)
        cat.save(transaction)
        elsewhere(lambda: Person.objects(storage).update(age=5))
        with pytest.raises(Conflict):
            transaction.commit()
        assert ann.is_changed
        assert cat.storage is None
        assert ages(storage) == {"a": 5, "b": 5}

    # --- refusals ---------------------------------------------------------------------------

    def test_a_key_that_is_taken_is_refused_at_once(self, storage: Any, two_people: None) -> None:
        with storage.transaction():
            with pytest.raises(DuplicateKey):
                Person(pk="a", name="again").save(storage)
            Person(pk="c", name="Cat").save(storage)
            with pytest.raises(DuplicateKey):
                Person(pk="c", name="again").save(storage)
            storage.get(Person, "a").delete()
            Person(pk="a", name="anew", age=0).save(storage)
        assert ages(storage) == {"a": 0, "b": 2, "c": None}

    def test_a_unique_value_that_is_taken_is_refused_at_once(
        self, storage: Any, two_people: None
    ) -> None:
        Account(pk="a", login="ann").save(storage)
        with storage.transaction():
            with pytest.raises(DuplicateKey):
                Account(pk="b", login="ann").save(storage)
            Account(pk="c", login="cat").save(storage)
            with pytest.raises(DuplicateKey):
                storage.save_all([Account(pk="d", login="dan"), Account(pk="e", login="cat")])
            assert storage.get(Account, "d", None) is None
            storage.get(Account, "a").delete()
            Account(pk="b", login="ann").save(storage)
        found = {one.pk: one.login for one in Account.objects(storage)}
        assert found == {"b": "ann", "c": "cat"}

    def test_unique_values_change_places_inside(self, storage: Any, two_people: None) -> None:
        ann = Account(pk="a", login="ann").save(storage)
        bob = Account(pk="b", login="bob").save(storage)
        with storage.transaction():
            ann.login, bob.login = "bob", "ann"
            storage.save_all([ann, bob])
            assert Account.objects(storage).get(login="bob").pk == "a"
        assert {one.pk: one.login for one in Account.objects(storage)} == {"a": "bob", "b": "ann"}

    def test_a_unique_value_that_others_took_meanwhile(
        self, storage: Any, two_people: None
    ) -> None:
        transaction = storage.begin()
        Account(pk="a", login="ann").save(transaction)
        elsewhere(lambda: Account(pk="b", login="ann").save(storage))
        with pytest.raises(DuplicateKey):
            transaction.commit()
        assert list(storage.keys(Account)) == ["b"]

    def test_a_storage_that_is_only_read(self, storage: Any, two_people: None) -> None:
        storage.read_only = True
        with storage.transaction():
            assert ages(storage) == {"a": 1, "b": 2}
            with storage.transaction():
                assert storage.get(Person, "c", None) is None
        transaction = storage.begin()
        transaction.get(Person, "a")
        storage.read_only = False  # as another process would that may write
        storage.get(Person, "a").delete()
        with pytest.raises(Conflict, match="Person"):
            transaction.commit()

    def test_a_closed_or_read_only_storage(self, storage: Any, two_people: None) -> None:
        storage.read_only = True
        with undone(storage), pytest.raises(StorageReadOnly):
            Person(pk="c", name="Cat").save(storage)
        assert ages(storage) == {"a": 1, "b": 2}
