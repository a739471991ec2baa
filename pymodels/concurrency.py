"""What the threads of a process share, so that none waits for itself and a fork breaks nothing."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import ExitStack
from typing import Any, Final

from pymodels.errors import TransactionError


class WriteLock:
    """Lets one batch at a time be written to a storage.

    A thread that would wait for a batch which it has prepared itself, and so for ever, gets a
    ``TransactionError``. A forked child begins with nobody at work.

    Args:
        name: what messages call the storage.

    >>> lock = WriteLock("plain")
    >>> turn = lock.acquire()
    >>> lock.acquire()
    Traceback (most recent call last):
    ...
    pymodels.errors.TransactionError: plain: this thread has prepared a batch, and would wait for
    itself: commit that or roll it back first
    >>> turn.release()
    """

    __slots__ = ("__weakref__", "_lock", "_name", "_writer")

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._writer: int | None = None
        _WRITE_LOCKS.add(self)

    def acquire(self) -> Turn:
        """Wait until nobody else writes; what is returned is to be released in the end."""
        lock, me = self._lock, threading.get_ident()
        if not lock.acquire(blocking=False):
            if self._writer == me:
                raise waits_for_itself(self._name)
            lock.acquire()
        self._writer = me
        return Turn(self, lock)

    def try_acquire(self) -> Turn | None:
        """Return what ``acquire`` does, or None, at once, if it would have to wait."""
        lock = self._lock
        if not lock.acquire(blocking=False):
            return None
        self._writer = threading.get_ident()
        return Turn(self, lock)

    def try_enter(self) -> threading.Lock | None:
        """Take the turn for a batch that is written in one go; None, if somebody else writes.

        What is returned is for ``leave``.
        """
        lock = self._lock
        if not lock.acquire(blocking=False):
            return None
        self._writer = threading.get_ident()
        return lock

    def leave(self, lock: threading.Lock) -> None:
        """End the turn that ``try_enter`` gave."""
        if lock is self._lock:  # else a parent process took it
            self._writer = None
            lock.release()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self._writer = None


class Turn:
    """The turn of one batch; whatever thread ends that may release it."""

    __slots__ = ("_lock", "_owner")

    def __init__(self, owner: WriteLock, lock: threading.Lock) -> None:
        self._owner = owner
        self._lock: threading.Lock | None = lock

    @property
    def is_inherited(self) -> bool:
        """Whether a parent process took it, and has yet to end its batch."""
        return self._lock is not None and self._lock is not self._owner._lock

    def release(self) -> None:
        """Let the next one in; doing so again does no harm."""
        owner, lock = self._owner, self._lock
        self._lock = None
        if lock is not None and lock is owner._lock:  # else a parent process has to
            owner._writer = None
            lock.release()


class Uninterrupted:
    """A section that no fork cuts in half: a fork waits until whoever is inside has left it.

    It is for changes to memory, of which a forked child gets a copy, and must not lead to any code
    that forks. Whoever needs to do more at a fork says so in a class made from this one.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock: Any = self._new_lock()
        _SECTIONS.add(self)

    def _new_lock(self) -> Any:
        return threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        """Make ready what a child will need, while nobody is inside; this must not raise."""

    def after_fork_in_parent(self) -> None:
        """Forget what only a child needs, before anybody comes in again."""

    def after_fork_in_child(self) -> None:
        """Let go of what belongs to the parent, before anybody comes in again."""


def prepared_elsewhere(storage: str) -> TransactionError:
    """Return the error for a child that would end the batch that its parent has prepared."""
    return TransactionError(
        f"{storage}: this batch was prepared by another process, and only that one can commit it"
    )


def waits_for_itself(storage: str) -> TransactionError:
    """Return the error for a thread that would wait for the batch that it has prepared itself."""
    return TransactionError(
        f"{storage}: this thread has prepared a batch, and would wait for itself: commit that or "
        "roll it back first"
    )


_WRITE_LOCKS: Final[weakref.WeakSet[WriteLock]] = weakref.WeakSet()
_SECTIONS: Final[weakref.WeakSet[Uninterrupted]] = weakref.WeakSet()
_forking: Final = threading.Lock()
_held: Final[list[Uninterrupted]] = []


# An exit stack goes on when one of its callbacks fails: a section that was left locked would make
# the child wait for ever.


def _before_fork() -> None:
    _forking.acquire()
    with ExitStack() as stack:
        for section in list(_SECTIONS):
            section._lock.acquire()
            _held.append(section)
            stack.callback(section.before_fork)


def _after_fork_in_parent() -> None:
    with ExitStack() as stack:
        stack.callback(_forking.release)
        while _held:
            section = _held.pop()
            stack.callback(section._lock.release)
            stack.callback(section.after_fork_in_parent)


def _after_fork_in_child() -> None:
    with ExitStack() as stack:
        for lock in list(_WRITE_LOCKS):
            stack.callback(lock._after_fork)
        stack.callback(_forking.release)
        while _held:
            section = _held.pop()
            stack.callback(section._lock.release)
            stack.callback(section.after_fork_in_child)


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
