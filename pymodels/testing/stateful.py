"""A storage against a plain dict, through thousands of random steps: ``StatefulTests``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pymodels import DuplicateKey, F, RecordNotFound
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import Account, Visited

KEYS: Final = st.sampled_from(["a", "b", "c", "d", "é", "f"])
LOGINS: Final = st.sampled_from([None, "x", "y", "z"])
VISITS: Final = st.integers(-3, 3)

PROFILE: Final = settings(
    max_examples=30,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Frequent(Visited, must_have={"visits__gt": 0}):
    """A view of those who were here."""


class Undo(Exception):
    """Ends a transaction that is to be rolled back."""


class AgainstDict(RuleBasedStateMachine):
    """Does the same with a storage and with a dict of dicts, and compares after each step."""

    def __init__(self, tests: OpensStorage, path: Path) -> None:
        super().__init__()
        self.tests = tests
        self.path = path
        self.storage: Any = None
        self.records: dict[str, dict[str, Any]] = {}
        self.open: list[tuple[Any, dict[str, dict[str, Any]]]] = []
        self.held: dict[str, tuple[Any, dict[str, Any]]] = {}

    @initialize()
    def start(self) -> None:
        """Open an empty storage."""
        self.storage = self.tests.make(self.path)
        declared = self.storage.capabilities
        self.unique = "unique" in declared
        self.transactional = "transactions" in declared
        self.persistent = "persistent" in declared
        self.model: Any = Account if self.unique else Visited

    def teardown(self) -> None:
        """Leave open transactions, innermost first, and close."""
        while self.open:
            self.roll_back()
        if self.storage is not None:
            self.storage.close()

    # --- what is expected -------------------------------------------------------------------

    def clashes(self, key: str, login: str | None) -> bool:
        """Tell whether another record has this value of the unique field."""
        return (
            self.unique
            and login is not None
            and any(
                other != key and record["login"] == login for other, record in self.records.items()
            )
        )

    # --- records ----------------------------------------------------------------------------

    @rule(key=KEYS, login=LOGINS, visits=VISITS)
    def create(self, key: str, login: str | None, visits: int) -> None:
        """Save a new record, where its key and its unique value are free."""
        made = self.model(pk=key, login=login, visits=visits)
        if key in self.records or self.clashes(key, login):
            with pytest.raises(DuplicateKey):
                made.save(self.storage)
            assert made.storage is None
        else:
            made.save(self.storage)
            self.records[key] = {"login": login, "visits": visits}

    @rule(key=KEYS, login=LOGINS, visits=VISITS)
    def replace(self, key: str, login: str | None, visits: int) -> None:
        """Save a record in place of what may be there."""
        made = self.model(pk=key, login=login, visits=visits)
        if self.clashes(key, login):
            with pytest.raises(DuplicateKey):
                made.save(self.storage, replace=True)
        else:
            made.save(self.storage, replace=True)
            self.records[key] = {"login": login, "visits": visits}

    @rule(key=KEYS)
    def load(self, key: str) -> None:
        """Load a record, to be changed at some time when it may be another."""
        found = self.storage.get(self.model, key, None)
        assert (found is None) == (key not in self.records)
        if found is not None:
            self.held[key] = (found, dict(self.records[key]))

    @rule(key=KEYS, login=LOGINS, visits=st.none() | VISITS)
    def change(self, key: str, login: str | None, visits: int | None) -> None:
        """Change a record that was loaded at some time: only what changed is written."""
        if key not in self.held:
            return
        found, known = self.held.pop(key)
        found.login = login
        if visits is not None:
            found.visits = visits
        new = {name: getattr(found, name) for name in ("login", "visits")}
        changed = {name: value for name, value in new.items() if known[name] != value}
        if not changed:
            found.save()
        elif key not in self.records:
            with pytest.raises(RecordNotFound):
                found.save()
        elif self.clashes(key, changed.get("login")):
            with pytest.raises(DuplicateKey):
                found.save()
        else:
            found.save()
            self.records[key] |= changed

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        """Delete one record by its key."""
        assert self.storage.delete_many(self.model, [key]) == (key in self.records)
        self.records.pop(key, None)

    @rule(first=KEYS, second=KEYS)
    def exchange(self, first: str, second: str) -> None:
        """Exchange the unique values of two records, in one batch."""
        if first == second or not {first, second} <= self.records.keys():
            return
        one, other = self.storage.get(self.model, first), self.storage.get(self.model, second)
        one.login, other.login = other.login, one.login
        self.storage.save_all([one, other])
        ours, theirs = self.records[first], self.records[second]
        ours["login"], theirs["login"] = theirs["login"], ours["login"]

    # --- queries ----------------------------------------------------------------------------

    @rule(least=VISITS, more=VISITS)
    def count_up(self, least: int, more: int) -> None:
        """Update some records by an expression."""
        wanted = [one for one in self.records.values() if one["visits"] >= least]
        query = self.model.objects(self.storage).where(visits__gte=least)
        assert query.update(visits=F("visits") + more) == len(wanted)
        for record in wanted:
            record["visits"] += more

    @rule(keys=st.lists(KEYS), login=LOGINS)
    def delete_some(self, keys: list[str], login: str | None) -> None:
        """Delete what a query finds."""
        gone = [k for k in self.records if k in keys and self.records[k]["login"] == login]
        query = self.model.objects(self.storage).where(pk__in=keys, login=login)
        assert query.delete() == len(gone)
        for key in gone:
            del self.records[key]

    @rule()
    def delete_the_frequent(self) -> None:
        """Delete through a view, which leaves the others alone."""
        gone = [key for key, record in self.records.items() if record["visits"] > 0]
        assert Frequent.objects(self.storage).delete() == len(gone)
        for key in gone:
            del self.records[key]

    @rule(low=VISITS, start=st.integers(0, 3), length=st.integers(0, 4))
    def page(self, low: int, start: int, length: int) -> None:
        """Read a page of an ordered query, forwards and backwards."""
        query = self.model.objects(self.storage).where_not(visits__lt=low).order_by("-visits")
        keys = [key for key, record in self.records.items() if record["visits"] >= low]
        keys.sort(reverse=True)
        keys.sort(key=lambda key: -self.records[key]["visits"])
        assert [one.pk for one in query[start : start + length]] == keys[start : start + length]
        assert [one.pk for one in query.reverse()] == keys[::-1]
        assert query[start:].count() == len(keys[start:])

    # --- transactions and reopening ---------------------------------------------------------

    @precondition(lambda self: self.storage and self.transactional and len(self.open) < 3)
    @rule()
    def begin(self) -> None:
        """Begin a transaction, or a savepoint in it."""
        transaction = self.storage.transaction()
        transaction.__enter__()
        self.open.append((transaction, {key: dict(one) for key, one in self.records.items()}))

    @precondition(lambda self: self.open)
    @rule()
    def commit(self) -> None:
        """Commit the innermost transaction."""
        transaction, _ = self.open.pop()
        transaction.__exit__(None, None, None)

    @precondition(lambda self: self.open)
    @rule()
    def roll_back(self) -> None:
        """Roll the innermost transaction back; what was loaded in it is forgotten here."""
        transaction, self.records = self.open.pop()
        transaction.__exit__(Undo, Undo(), None)
        self.held.clear()

    @precondition(lambda self: self.storage and self.persistent and not self.open)
    @rule()
    def reopen(self) -> None:
        """Close the storage and open it again."""
        self.storage.close()
        self.storage = self.tests.reopen(self.path)
        self.held.clear()

    @rule()
    def clear(self) -> None:
        """Delete everything."""
        self.storage.clear()
        self.records.clear()

    # --- the comparison ---------------------------------------------------------------------

    @invariant()
    def everything_is_the_same(self) -> None:
        """Compare all records, their order, and what some queries find."""
        if self.storage is None:
            return
        objects = self.model.objects(self.storage)
        found = {one.pk: {"login": one.login, "visits": one.visits} for one in objects}
        assert found == self.records
        assert list(found) == sorted(self.records)
        assert objects.count() == len(self.storage) == len(self.records)
        frequent = [key for key in sorted(self.records) if self.records[key]["visits"] > 0]
        assert [one.pk for one in Frequent.objects(self.storage)] == frequent
        for login in ("x", None):
            having = [key for key in sorted(found) if found[key]["login"] == login]
            assert [one.pk for one in objects.where(login=login)] == having
            assert objects.where(login=login).exists() is bool(having)


class StatefulTests(OpensStorage):
    """Random steps, the same ones in each run."""

    steps: settings = PROFILE
    """How many; a backend over a network may take fewer."""

    def test_against_a_dict(self, path: Path) -> None:
        """Run the machine; each of its runs has a folder of its own."""
        runs = 0

        def machine() -> AgainstDict:
            nonlocal runs
            runs += 1
            folder = path / str(runs)
            folder.mkdir()
            return AgainstDict(self, folder)

        run_state_machine_as_test(machine, settings=self.steps)  # type: ignore[arg-type]
        assert runs > 1
