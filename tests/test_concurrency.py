"""What threads share, and what a fork makes of it."""

import threading

import pytest

from pymodels import TransactionError
from pymodels.concurrency import Turn, Uninterrupted, WriteLock
from pymodels.testing.running import Child, in_child, in_threads

# --- one batch at a time --------------------------------------------------------------------


def test_a_thread_that_waits_for_another_goes_on() -> None:
    lock, order = WriteLock("plain"), []
    turn = lock.acquire()

    def wait() -> None:
        mine = lock.acquire()
        order.append("second")
        mine.release()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    order.append("first")
    turn.release()
    waiting.join(60)
    assert order == ["first", "second"]


def test_a_thread_that_would_wait_for_itself_is_told() -> None:
    lock = WriteLock("the jar")
    turn = lock.acquire()
    with pytest.raises(TransactionError, match="the jar: this thread has prepared a batch"):
        lock.acquire()
    turn.release()
    lock.acquire().release()


def test_a_turn_is_released_once_and_by_anybody() -> None:
    lock = WriteLock("plain")
    first: Turn = in_threads([lock.acquire])[0]
    first.release()
    second = lock.acquire()
    first.release()
    with pytest.raises(TransactionError):
        lock.acquire()
    second.release()


def test_a_child_begins_with_nobody_at_work() -> None:
    lock = WriteLock("plain")
    theirs: Turn = in_threads([lock.acquire])[0]

    def work() -> bool:
        mine = lock.acquire()
        theirs.release()
        with pytest.raises(TransactionError):
            lock.acquire()
        mine.release()
        return True

    assert in_child(work)
    child = Child(lambda: bool(lock.acquire()), waits=True)
    theirs.release()
    mine = lock.acquire()
    child.go()
    assert child.result() is True
    mine.release()


# --- what a fork leaves whole ---------------------------------------------------------------


class Stubborn(Uninterrupted):
    """Fails at every fork of one test."""

    fails = True

    def before_fork(self) -> None:
        if self.fails:
            raise OSError("at a fork")

    after_fork_in_parent = after_fork_in_child = before_fork


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_section_that_fails_at_a_fork_keeps_no_other_one_locked() -> None:
    stubborn = [Stubborn(), Stubborn()]
    sections = [Uninterrupted(), stubborn[0], Uninterrupted(), stubborn[1], Uninterrupted()]

    def enter_all() -> bool:
        for section in sections:
            with section:
                pass
        return True

    try:
        assert in_child(enter_all)
        assert in_child(lambda: in_child(enter_all))
        assert enter_all()
    finally:
        Stubborn.fails = False  # they may be there until they are collected
