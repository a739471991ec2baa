"""Handles that cannot cross a fork."""

import os
import threading
import time

import pytest

from pymodels import StorageError
from pymodels.handles import HandlePool
from pymodels.testing.running import Child, in_child, in_threads


class Handle:
    """Knows which process made it, and whether it was closed."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.closed = False

    def close(self) -> None:
        self.closed = True


def make_pool() -> HandlePool[Handle]:
    return HandlePool("the jar", Handle, Handle.close)


def test_a_handle_is_kept_for_the_next_one() -> None:
    pool = make_pool()
    first, second = pool.take(), pool.take()
    assert first is not second
    pool.give_back(first)
    assert pool.take() is first
    pool.give_back(first)
    pool.close()
    assert (first.closed, second.closed) == (True, False)
    pool.give_back(second)
    assert second.closed


def test_a_handle_that_cannot_be_opened() -> None:
    def fail() -> Handle:
        raise OSError("no such thing")

    pool = HandlePool("the jar", fail, Handle.close)
    with pytest.raises(OSError, match="no such thing"):
        in_threads([pool.take])
    begin = time.monotonic()
    assert in_child(lambda: True)  # a fork waits for handles in use, and this is none
    assert time.monotonic() - begin < 10


def test_no_handle_crosses_a_fork() -> None:
    pool = make_pool()
    handle = pool.take()
    pool.give_back(handle)

    def work() -> bool:
        mine = pool.take()
        pool.give_back(mine)
        return mine.pid == os.getpid() and handle.closed

    assert in_child(work)
    assert handle.closed
    handle = pool.take()
    assert not handle.closed
    pool.give_back(handle)


def test_a_fork_waits_for_what_other_threads_use() -> None:
    pool, taken, steps = make_pool(), threading.Event(), []

    def use() -> None:
        first = pool.take()
        taken.set()
        time.sleep(0.2)
        second = pool.take()  # whoever is at work already is let go on
        steps.append("used")
        pool.give_back(first)
        pool.give_back(second)

    def fork() -> None:
        taken.wait(60)
        child = Child(lambda: [*steps, pool.take().closed])
        assert child.result() == ["used", False]

    in_threads([use, fork])


def test_a_child_of_a_thread_that_uses_a_handle_is_told() -> None:
    pool = make_pool()
    handle = pool.take()

    def work() -> bool:
        with pytest.raises(StorageError, match="the jar was in use when this process was forked"):
            pool.take()
        pool.give_back(handle)
        pool.close()
        return handle.closed

    assert in_child(work) is False
    pool.give_back(handle)
    assert pool.take() is handle


def test_forks_while_threads_take_handles() -> None:
    pool, finished = make_pool(), threading.Event()

    def use() -> int:
        uses = 0
        while not finished.is_set():
            handle = pool.take()
            assert (handle.pid, handle.closed) == (os.getpid(), False)
            pool.give_back(handle)
            uses += 1
        return uses

    def fork() -> None:
        try:
            for _ in range(20):
                assert in_child(lambda: pool.take().pid == os.getpid())
        finally:
            finished.set()

    assert all(in_threads([use, use, fork])[:2])
