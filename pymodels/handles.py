"""Handles of an engine that cannot cross a fork: closed before it, and opened anew after it."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import pymodels.concurrency  # noqa: F401 - its hooks are to be registered first
from pymodels.errors import StorageError

H = TypeVar("H")

_PATIENCE: Final = 30.0
"""How many seconds a fork waits for the handles that other threads use."""


class HandlePool(Generic[H]):
    """Handles of an engine that cannot cross a fork, such as connections to SQLite.

    A handle is used by whoever has taken it, and kept for the next one after that. A fork waits
    until no other thread uses any, and closes those that are kept: so no handle is open in two
    processes, and the engine's library is at rest.

    Args:
        name: what messages call the storage.
        open: makes a handle.
        close: gives one back to the engine.

    >>> pool = HandlePool("a file", lambda: open("/dev/null"), lambda file: file.close())
    >>> file = pool.take()
    >>> pool.give_back(file)
    >>> pool.take() is file
    True
    >>> pool.close()
    >>> pool.give_back(file)
    >>> file.closed
    True
    """

    def __init__(self, name: str, open: Callable[[], H], close: Callable[[H], object]) -> None:
        self._name = name
        self._open = open
        self._close = close
        self._kept: list[H] = []
        self._taken: dict[int, tuple[H, int]] = {}
        self._users: Counter[int] = Counter()
        self._closed = False
        self._torn = False
        _GATE.add(self)

    def take(self) -> H:
        """Return a handle that nobody else uses until it is given back.

        Raises ``StorageError`` in a child that was forked while one of the handles was in use.
        """
        me = _GATE.enter(self._users)
        try:
            if self._torn:
                raise StorageError(
                    f"{self._name} was in use when this process was forked, and cannot be used "
                    "here: before you fork, end every batch that is prepared"
                )
            try:
                handle = self._kept.pop()
            except IndexError:
                handle = self._open()
        except BaseException:
            _GATE.leave(self._users, me)
            raise
        self._taken[id(handle)] = (handle, me)
        return handle

    def give_back(self, handle: H) -> None:
        """Keep a handle for the next one who takes it; what a fork brought along is left alone."""
        _, taker = self._taken.pop(id(handle), (None, None))
        if taker is None:
            return
        try:
            if self._closed:
                self._close(handle)
            else:
                self._kept.append(handle)
        finally:
            _GATE.leave(self._users, taker)

    def close(self) -> None:
        """Close what is kept now, and what is in use as soon as it is given back."""
        self._closed = True
        self._close_kept()

    def _close_kept(self) -> None:
        while self._kept:
            try:
                handle = self._kept.pop()
            except IndexError:
                return  # another thread was faster
            self._close(handle)

    def _after_fork_in_child(self) -> None:
        self._torn = self._torn or bool(self._users)
        _INHERITED.extend(handle for handle, _ in self._taken.values())
        self._taken.clear()
        self._users.clear()


class _Gate:
    """Keeps the use of handles and forks apart, over all pools."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # of an RLock: the collector may give handles back
        self._forks = 0

    def add(self, pool: HandlePool[Any]) -> None:
        """Make *pool* known to forks, which look at no set that changes meanwhile."""
        with self._changed:
            _POOLS.add(pool)

    def enter(self, users: Counter[int]) -> int:
        """Wait while a fork is under way, and note this thread among *users*; return which."""
        me = threading.get_ident()
        with self._changed:
            while self._forks and me not in _users():  # who is inside already is waited for
                self._changed.wait()
            users[me] += 1
        return me

    def leave(self, users: Counter[int], user: int) -> None:
        with self._changed:
            users[user] -= 1
            if not users[user]:
                del users[user]
            if self._forks:
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait for all others, and let nobody in until the process is forked."""
        me = threading.get_ident()
        self._changed.acquire()
        self._forks += 1
        self._changed.wait_for(lambda: _users() <= {me}, _PATIENCE)

    def after_fork(self) -> None:
        self._forks -= 1
        self._changed.notify_all()
        self._changed.release()


def _users() -> set[int]:
    return {user for pool in list(_POOLS) for user in pool._users}


# --- forks ----------------------------------------------------------------------------------

_POOLS: Final[weakref.WeakSet[HandlePool[Any]]] = weakref.WeakSet()
_INHERITED: Final[list[Any]] = []
"""Handles of a parent: collected, they would be closed under its hands."""
_GATE = _Gate()


def _before_fork() -> None:
    _GATE.before_fork()
    for pool in list(_POOLS):
        pool._close_kept()


def _after_fork_in_parent() -> None:
    _GATE.after_fork()


def _after_fork_in_child() -> None:
    global _GATE  # noqa: PLW0603 - other threads of the parent may have waited at it
    _GATE = _Gate()
    for pool in list(_POOLS):
        pool._after_fork_in_child()


# Hooks that are registered later come earlier before a fork: whoever uses a handle may still need
# to enter an uninterrupted section, so that this gate closes before those of `concurrency`.
os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
