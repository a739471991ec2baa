"""Unique fields: no two records of a collection hold the same value, whoever writes them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pymodels import DuplicateKey, F, Field, Model, Unsupported
from pymodels.storage import Storage
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import Account, Visited, put_raw


class Ticket(Model):
    """Anything may stand in its unique field."""

    code: Field[Any] = Field(default=None, unique=True)


class Lender(Model, collection="lender"):
    """Declares nothing unique, where ``StrictLender`` does later on."""

    card: Field[str | None] = Field(default=None)


class StrictLender(Model, collection="lender"):
    """The same records, with a card of which there is one."""

    card: Field[str | None] = Field(default=None, unique=True)


class UniqueTests(OpensStorage):
    """Where ``unique`` is declared, it holds; where not, a unique field is refused."""

    def declared(self, storage: Storage) -> bool:
        """Tell whether the storage keeps fields unique, and check that it says so if it cannot."""
        if "unique" in storage.capabilities:
            return True
        with pytest.raises(Unsupported):
            Account(login="ann").save(storage)
        assert len(storage) == 0
        Visited(pk="a", login="ann").save(storage)
        with pytest.raises(Unsupported):
            Account.objects(storage).update(visits=1)
        assert storage.raw(Visited, "a")["visits"] == 0
        storage.clear()
        return False

    def test_a_value_that_is_taken(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        Account(pk="a", login="ann").save(storage)
        with pytest.raises(DuplicateKey) as caught:
            Account(pk="b", login="ann").save(storage)
        assert (caught.value.collection, caught.value.field) == ("account", "login")
        assert caught.value.value == "ann"
        assert storage.get(Account, "b", None) is None
        Account(pk="b", login="Ann").save(storage)
        bob = storage.get(Account, "b")
        bob.login = "ann"
        with pytest.raises(DuplicateKey):
            bob.save()
        assert storage.get(Account, "b").login == "Ann"

    def test_null_and_absent_do_not_collide(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        put_raw(storage, Account, "a", {})
        put_raw(storage, Account, "b", {})
        storage.save_all([Account(pk=key) for key in "cde"])
        assert Account.objects(storage).where(login=None).count() == 5

    def test_several_fields_together(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        storage.save_all(
            [
                Account(pk="a", realm="x", number=1),
                Account(pk="b", realm="x", number=2),
                Account(pk="c", realm="y", number=1),
                Account(pk="d", realm="x"),
                Account(pk="e", realm="x"),
            ]
        )
        with pytest.raises(DuplicateKey) as caught:
            Account(pk="f", realm="x", number=2).save(storage)
        assert "realm" in caught.value.field
        assert "number" in caught.value.field
        moved = storage.get(Account, "c")
        moved.realm = "x"
        with pytest.raises(DuplicateKey):
            moved.save()
        moved.number = 3
        moved.save()
        Account(pk="f", realm="y", number=1).save(storage)

    def test_parts_of_several_fields_are_not_run_together(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        storage.save_all([Account(realm="a1", number=1), Account(realm="a", number=11)])
        assert Account.objects(storage).count() == 2

    def test_a_value_is_free_again(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        ann = Account(pk="a", login="ann").save(storage)
        ann.login = "anna"
        ann.save()
        bob = Account(pk="b", login="ann").save(storage)
        bob.delete()
        Account(pk="c", login="ann").save(storage)
        Account(pk="c", login=None).save(storage, replace=True)
        Account(pk="d", login="ann").save(storage)
        Account.objects(storage).where(login="ann").update(login="other")
        Account(pk="e", login="ann").save(storage)
        Account.objects(storage).where(login="ann").delete()
        Account(pk="f", login="ann").save(storage)
        storage.delete_many(Account, ["f"])
        Account(pk="g", login="ann").save(storage)
        storage.clear()
        Account(pk="h", login="ann").save(storage)
        assert len(storage) == 1

    def test_values_change_places_in_one_batch(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        ann = Account(pk="a", login="ann", realm="x", number=1).save(storage)
        bob = Account(pk="b", login="bob", realm="x", number=2).save(storage)
        ann.login, bob.login = bob.login, ann.login
        ann.number, bob.number = bob.number, ann.number
        storage.save_all([ann, bob])
        assert Account.objects(storage).get(login="ann").pk == "b"
        assert Account.objects(storage).get(login="bob").pk == "a"
        Account.objects(storage).where(realm="x").update(number=F("number") + 1)
        found = Account.objects(storage).order_by("number").select("number")
        assert list(found) == [(2,), (3,)]

    def test_two_new_records_with_one_value_in_a_batch(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        with pytest.raises(DuplicateKey):
            storage.save_all([Account(login="ann"), Account(login="bob"), Account(login="ann")])
        assert len(storage) == 0
        Account(login="ann").save(storage)

    def test_an_update_that_would_repeat_a_value_changes_nothing(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        storage.save_all([Account(pk=key, login=key) for key in "abc"])
        with pytest.raises(DuplicateKey):
            Account.objects(storage).update(login="same")
        assert Account.objects(storage).values("login") == ["a", "b", "c"]
        Account.objects(storage).where(pk="b").update(login="same")
        assert storage.get(Account, "b").login == "same"

    def test_a_view_that_does_not_declare_it_keeps_it_too(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        Account(pk="a", login="ann").save(storage)
        with pytest.raises(DuplicateKey):
            Visited(pk="b", login="ann").save(storage)
        Visited(pk="b", login="bob").save(storage)
        with pytest.raises(DuplicateKey):
            Account(pk="c", login="bob").save(storage)
        with pytest.raises(DuplicateKey):
            Visited.objects(storage).where(pk="b").update(login="ann")
        Visited.objects(storage).get("a").delete()
        Account(pk="c", login="ann").save(storage)
        put_raw(storage, Visited, "b", {"login": "free"})
        Account(pk="d", login="bob").save(storage)

    def test_it_does_not_matter_which_view_comes_first(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        with pytest.raises(DuplicateKey):
            storage.save_all([Visited(pk="a", login="ann"), Account(pk="b", login="ann")])
        assert len(storage) == 0
        if "transactions" in storage.capabilities:
            with storage.transaction():
                assert Visited.objects(storage).count() == 0
                Account(pk="a", login="ann").save(storage)
                Visited(pk="b", login="bob").save(storage)
        else:
            storage.save_all([Visited(pk="b", login="bob"), Account(pk="a", login="ann")])
        with pytest.raises(DuplicateKey):
            Visited(pk="c", login="ann").save(storage)

    def test_declared_after_records_are_there(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        Lender(pk="a", card="1").save(storage)
        Lender(pk="b", card="2").save(storage)
        with pytest.raises(DuplicateKey):
            StrictLender(pk="c", card="1").save(storage)
        StrictLender(pk="c", card="3").save(storage)
        assert StrictLender.objects(storage).get(card="2").pk == "b"

    def test_declared_where_values_repeat_already(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        storage.save_all([Lender(pk="a", card="1"), Lender(pk="b", card="1")])
        with pytest.raises(DuplicateKey):
            StrictLender(pk="c", card="2").save(storage)
        assert StrictLender.objects(storage).where(card="1").count() == 2
        Lender.objects(storage).get("b").delete()
        StrictLender(pk="c", card="2").save(storage)
        with pytest.raises(DuplicateKey):
            Lender(pk="d", card="1").save(storage)

    def test_sameness_is_that_of_conditions(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        different: list[Any] = [1, True, "1", b"1", 1.5, "", False, 0, [], {}, [1], {"a": 1}]
        different += [[None], "a", "A", 2**60, 2**60 + 1, "x" * 5000, "x" * 5001]
        storage.save_all([Ticket(pk=str(n), code=code) for n, code in enumerate(different)])
        same: list[Any] = [1.0, Decimal(1), Decimal("1.50"), -0.0, [1.0], "x" * 5000]
        for code in same:
            with pytest.raises(DuplicateKey):
                Ticket(code=code).save(storage)
        for number, code in enumerate(different):
            assert Ticket.objects(storage).get(code=code).pk == str(number)
        assert len(storage) == len(different)

    def test_a_record_may_be_saved_again(self, storage: Any) -> None:
        if not self.declared(storage):
            return
        ann = Account(pk="a", login="ann", realm="x", number=1).save(storage)
        ann.visits = 1
        ann.save()
        Account(pk="a", login="ann", realm="x", number=1).save(storage, replace=True)
        storage.get(Account, "a").save_as("a", replace=True)
        with pytest.raises(DuplicateKey):
            storage.get(Account, "a").save_as("b")
        assert len(storage) == 1
