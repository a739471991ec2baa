"""Opened again, and used by many: threads, forked children, other processes: ``ProcessTests``."""

from __future__ import annotations

import functools
import gc
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pymodels import DuplicateKey, F, StorageError, TransactionError, UsageError
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import Account, Device, Person, Setting, Town
from pymodels.testing.running import Child, Opener, Signal, in_child, in_threads

COUNT = 600
"""Towns to read while others write: more than any storage reads ahead at once."""


def numbers(storage: Any) -> list[int]:
    """Return the keys of all towns."""
    return [town.id for town in Town.objects(storage)]


def increment(storage: Any, times: int) -> None:
    """Count the visits of the only account up, one by one."""
    for _ in range(times):
        Account.objects(storage).update(visits=F("visits") + 1)


def work_apart(opener: Opener, start: int) -> None:
    """Do what another process does, which opens the storage itself."""
    with opener.open() as storage:
        assert Town.objects(storage).get(1).name == "by the parent"
        storage.save_all([Town(id=start + n, name="by a child") for n in range(20)])
        increment(storage, 20)


class ProcessTests(OpensStorage):
    """What ``persistent`` and ``processes`` promise, and what threads and forks can rely on."""

    # --- opened again -----------------------------------------------------------------------

    def test_opened_again(self, path: Any) -> None:
        with self.make(path) as storage:
            persistent = "persistent" in storage.capabilities
            unique = "unique" in storage.capabilities
            storage.save_all([Town(id=n, name=str(n)) for n in (-1, 0, 300)])
            Device(label="x").save(storage)
            ann = Person(pk="a", name="Ann", tags=["x"], extra={"k": (1, {2})}).save(storage)
            ann.age = 5
            ann.save()
            Person(pk="b", name="Bob").save(storage).delete()
            if unique:
                Account(pk="a", login="ann").save(storage)
            everything = dict(storage.collections())
            count = len(storage)
        with self.reopen(path) as storage:
            if not persistent:
                assert len(storage) == 0, "what was written is there: declare persistent"
                return
            assert storage.collections() == everything
            assert len(storage) == count
            assert numbers(storage) == [-1, 0, 300]
            ann = storage.get(Person, "a")
            assert (ann.age, ann.tags, ann.extra) == (5, ["x"], {"k": (1, {2})})
            assert storage.get(Person, "b", None) is None
            if unique:
                with pytest.raises(DuplicateKey):
                    Account(pk="b", login="ann").save(storage)
            ann.age = 6
            ann.save()
        with self.reopen(path) as storage:
            assert storage.get(Person, "a").age == 6
            storage.clear()
        with self.reopen(path) as storage:
            assert len(storage) == 0
            if unique:
                Account(pk="b", login="ann").save(storage)

    def test_opened_twice_at_once(self, path: Any) -> None:
        with self.make(path) as first:
            if "processes" not in first.capabilities:
                return  # whether a second opener is let in is the backend's own affair
            with self.reopen(path) as second:
                Town(id=1, name="x").save(first)
                town = second.get(Town, 1)
                town.name = "y"
                town.save()
                assert first.get(Town, 1).name == "y"
                assert town != first.get(Town, 1), "a record belongs to one storage object"
            town = first.get(Town, 1)
            town.name = "z"
            town.save()
            assert numbers(first) == [1]
        with self.reopen(path) as third:
            assert third.get(Town, 1).name == "z"

    def test_a_storage_is_not_pickled(self, storage: Any) -> None:
        with pytest.raises(UsageError):
            pickle.dumps(storage)
        ann = Person(pk="a", name="Ann", town=Town(id=1).save(storage)).save(storage)
        copy = pickle.loads(pickle.dumps(ann))  # noqa: S301  # our own data
        assert (copy.pk, copy.name, copy.key_of("town"), copy.storage) == ("a", "Ann", 1, None)
        with pytest.raises(UsageError):
            copy.save()

    # --- threads ----------------------------------------------------------------------------

    def test_many_writers_and_readers(self, storage: Any) -> None:
        storage.save_all([Town(id=n, name="0") for n in range(50)])
        finished = threading.Event()

        def write(start: int) -> Callable[[], None]:
            def run() -> None:
                for number in range(40):
                    Town(id=start + number, name="new").save(storage)
                    storage.save_all([Setting(pk="one", size=number)], replace=True)
                    Town.objects(storage).where(pk__lt=50).update(name=str(start + number))
                    if number % 4 == 0:
                        Town.objects(storage).get(start + number).delete()

            return run

        def read() -> int:
            rounds = 0
            while not finished.is_set() or not rounds:
                seen = numbers(storage)
                assert seen == sorted(set(seen))
                assert set(seen) >= set(range(50))
                assert Town.objects(storage).where(pk__lt=50).count() == 50
                assert len(Town.objects(storage).order_by("name", "-pk")[:50].all()) == 50
                rounds += 1
            return rounds

        def write_all() -> None:
            try:
                in_threads([write(1000), write(2000)])
            finally:
                finished.set()

        in_threads([read, read, write_all])
        left = [n for start in (1000, 2000) for n in range(start, start + 40) if n % 4]
        assert numbers(storage) == [*range(50), *left]

    def test_a_batch_is_seen_whole_or_not_at_all(self, storage: Any) -> None:
        """By one read of many keys, at least; a query sees that much where snapshots are."""
        storage.save_all([Town(id=n, name="0") for n in range(10)])
        finished = threading.Event()
        snapshot = "snapshot" in storage.capabilities

        def write() -> None:
            try:
                for number in range(60):
                    Town.objects(storage).update(name=str(number))
            finally:
                finished.set()

        def read() -> None:
            while not finished.is_set():
                if snapshot:
                    assert len(Town.objects(storage).values("name")) == 1
                assert len(numbers(storage)) == 10

        in_threads([read, write, read])
        assert Town.objects(storage).values("name") == ["59"]

    # --- forks ------------------------------------------------------------------------------

    def test_a_forked_child_reads_and_writes(self, storage: Any) -> None:
        shared = "processes" in storage.capabilities
        Town(id=1, name="before").save(storage)

        def work() -> list[int]:
            assert storage.get(Town, 1).name == "before"
            Town(id=2, name="by the child").save(storage)
            Town.objects(storage).where(pk=1).update(name="changed by the child")
            return numbers(storage)

        assert in_child(work) == [1, 2]
        assert numbers(storage) == ([1, 2] if shared else [1])
        assert storage.get(Town, 1).name == ("changed by the child" if shared else "before")
        Town(id=3).save(storage)
        assert numbers(storage) == ([1, 2, 3] if shared else [1, 3])

    def test_parent_and_child_at_once(self, storage: Any) -> None:
        shared = "processes" in storage.capabilities
        Account(pk="a").save(storage)

        def work() -> int:
            increment(storage, 50)
            visits: int = storage.get(Account, "a").visits
            return visits

        children = [Child(work), Child(work)]
        increment(storage, 50)
        seen = [child.result() for child in children]
        assert storage.get(Account, "a").visits == (150 if shared else 50)
        assert max(seen) <= 150
        if not shared:
            assert seen == [50, 50]

    def test_what_the_parent_writes_after_the_fork(self, storage: Any) -> None:
        shared = "processes" in storage.capabilities
        child = Child(lambda: numbers(storage), waits=True)
        Town(id=1).save(storage)
        child.go()
        assert child.result() == ([1] if shared else [])

    def test_closing_in_one_leaves_the_other_alone(self, storage: Any) -> None:
        Town(id=1).save(storage)

        def close_and_leave() -> bool:
            storage.close()
            return bool(storage.closed)

        assert in_child(close_and_leave) is True
        assert not storage.closed
        assert numbers(storage) == [1]
        Town(id=2).save(storage)
        child = Child(lambda: numbers(storage), waits=True)
        storage.close()
        child.go()
        assert child.result() == [1, 2]

    def test_the_parent_closes_while_its_child_goes_on_writing(self, path: Any) -> None:
        saved, closed = Signal(), Signal()
        storage = self.make(path)
        declared = storage.capabilities
        Town(id=1).save(storage)

        def work() -> list[int]:
            Town(id=2).save(storage)
            saved.give()
            closed.wait()
            Town(id=3).save(storage)
            storage.save_all([Town(id=n) for n in range(4, 50)])
            assert Town.objects(storage).where(pk=2).update(name="by the child") == 1
            return numbers(storage)

        child = Child(work)
        saved.wait()
        storage.close()
        closed.give()
        assert child.result() == list(range(1, 50))
        if "persistent" in declared:
            shared = "processes" in declared
            with self.reopen(path) as storage:  # nothing that was acknowledged is lost
                assert numbers(storage) == (list(range(1, 50)) if shared else [1])
                assert storage.get(Town, 1).name == ""
                if shared:
                    assert storage.get(Town, 2).name == "by the child"

    def test_a_grandchild(self, storage: Any) -> None:
        Town(id=1).save(storage)

        def work() -> Any:
            Town(id=2).save(storage)
            return in_child(lambda: numbers(storage))

        assert in_child(work) == [1, 2]

    def test_forks_while_threads_write(self, storage: Any) -> None:
        finished = threading.Event()

        def write() -> None:
            number = 0
            while not finished.is_set():
                number += 1
                Town(id=number).save(storage)

        def fork() -> None:
            try:
                for number in range(5):
                    assert in_child(functools.partial(self.write_one, storage, -number - 1))
            finally:
                finished.set()

        in_threads([write, fork])
        assert Town.objects(storage).where(pk__gt=0).exists()

    def write_one(self, storage: Any, key: int) -> bool:
        """Store one town and say whether it is there: what a child does."""
        Town(id=key).save(storage)
        return Town.objects(storage).where(pk=key).exists()

    def test_an_iteration_that_is_open_across_a_fork(self, storage: Any) -> None:
        storage.save_all([Town(id=n, name="old") for n in range(COUNT)])
        results = iter(Town.objects(storage))
        assert next(results).id == 0

        def forget() -> list[int]:
            nonlocal results
            results = iter(())
            gc.collect()
            Town.objects(storage).update(name="by the child")
            return numbers(storage)

        assert in_child(forget) == list(range(COUNT))
        for number in range(5):  # what a reader's snapshot needs is not to be overwritten
            Town.objects(storage).update(name=f"by the parent {number}")
        rest = list(results)
        assert [town.id for town in rest] == list(range(1, COUNT))
        if "snapshot" in storage.capabilities:
            assert {town.name for town in rest} == {"old"}

    def test_an_iteration_that_goes_on_in_the_child(self, storage: Any) -> None:
        storage.save_all([Town(id=n, name="old") for n in range(COUNT)])
        results = iter(Town.objects(storage))
        assert next(results).id == 0

        def go_on() -> list[int] | None:
            try:
                return [town.id for town in results]
            except StorageError:  # it may be refused, but neither stop early nor be wrong
                return None

        assert in_child(go_on) in (None, list(range(1, COUNT)))
        Town.objects(storage).update(name="new")
        rest = list(results)
        assert [town.id for town in rest] == list(range(1, COUNT))
        if "snapshot" in storage.capabilities:
            assert {town.name for town in rest} == {"old"}

    def test_a_transaction_is_of_the_process_that_began_it(self, storage: Any) -> None:
        if "transactions" not in storage.capabilities:
            return  # TransactionTests see that it says so
        with storage.transaction() as transaction:
            Town(id=1).save(storage)

            def work() -> list[int]:
                with pytest.raises(TransactionError):
                    transaction.get(Town, 1)
                with pytest.raises(TransactionError):
                    transaction.commit()
                with storage.transaction():
                    Town(id=2).save(storage)
                return numbers(storage)

            assert in_child(work) == [2]
            assert 1 in numbers(storage)
        shared = "processes" in storage.capabilities
        assert numbers(storage) == ([1, 2] if shared else [1])

    def test_a_prepared_batch_is_of_the_process_that_prepared_it(self, storage: Any) -> None:
        if "transactions" not in storage.capabilities:
            return  # TransactionTests see that it says so
        transaction = storage.begin()
        Town(id=1, name="prepared").save(transaction)
        transaction.prepare()

        def work() -> bool:
            with pytest.raises(TransactionError):
                transaction.commit()
            transaction.rollback()
            return True

        assert in_child(work)
        assert numbers(storage) == []
        transaction.commit()
        assert numbers(storage) == [1]
        Town(id=2).save(storage)
        assert numbers(storage) == [1, 2]

    # --- other processes --------------------------------------------------------------------

    @pytest.mark.parametrize("method", ["spawn", "fork"])
    def test_other_processes(self, path: Any, method: str) -> None:
        with self.make(path) as storage:
            if "processes" not in storage.capabilities:
                return  # what a fork makes of it is tested above
            Town(id=1, name="by the parent").save(storage)
            Account(pk="a").save(storage)
            context: Any = multiprocessing.get_context(method)
            children = [
                context.Process(target=work_apart, args=(Opener(self, path), start))
                for start in (100, 200)
            ]
            for child in children:
                child.start()
            increment(storage, 20)
            for child in children:
                child.join(120)
            assert [child.exitcode for child in children] == [0, 0]
            assert numbers(storage) == [1, *range(100, 120), *range(200, 220)]
            assert storage.get(Account, "a").visits == 60

    def test_a_unique_value_is_unique_over_all_processes(self, storage: Any) -> None:
        if not {"unique", "processes"} <= storage.capabilities:
            return  # UniqueTests and the forks above test what is declared

        def claim() -> int:
            made = 0
            for number in range(40):
                try:
                    Account(login=str(number)).save(storage)
                except DuplicateKey:
                    continue
                made += 1
            return made

        children = [Child(claim), Child(claim)]
        made = claim() + sum(child.result() for child in children)
        assert made == 40
        assert Account.objects(storage).count() == 40
        assert len(Account.objects(storage).values("login")) == 40
