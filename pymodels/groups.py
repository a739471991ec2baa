"""Batches of several threads, committed as one.

A commit that waits for the disk takes longer than all else that a save does. While one thread
commits, others queue up; whoever comes next writes what all of them wait for, each batch in a
nested one of its own, so that a failed expectation rejects no other batch, and commits once.
"""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Protocol

from pymodels.batches import BatchWriter, schemas_of
from pymodels.errors import StorageError
from pymodels.tables import IndexBatch, records_table, table_of, unique_table

if TYPE_CHECKING:
    from pymodels.changes import Change
    from pymodels.keyvalue import KeyValueStorage
    from pymodels.schema import Schema


class NestingBatch(IndexBatch, Protocol):
    """A batch that others can be nested in."""

    def nested(self) -> IndexBatch:
        """Begin a batch inside this one, which is not used before the inner one has ended."""


class _Waiting:
    """One batch whose thread waits for its turn."""

    __slots__ = ("changes", "error", "is_done", "is_withdrawn", "pid")

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes
        self.pid = os.getpid()
        self.is_done = self.is_withdrawn = False
        self.error: BaseException | None = None


class CommitGroups:
    """What the threads of one storage wait to have written, in its ``queue``.

    Args:
        storage: whose batches can be nested.
    """

    def __init__(self, storage: KeyValueStorage) -> None:
        self._storage = storage
        self.queue: deque[_Waiting] = deque()

    def write(self, changes: Sequence[Change], schemas: AbstractSet[Schema]) -> None:
        """Write one batch, of records of *schemas*, with all that wait when its turn comes."""
        lock = self._storage.write_lock
        alone = None if self.queue else lock.try_enter()
        if alone is not None:
            try:
                self._write_alone(changes, schemas)
            finally:
                lock.leave(alone)
            return
        mine = _Waiting(changes)
        self.queue.append(mine)
        try:
            turn = lock.acquire()
        except BaseException:
            mine.is_withdrawn = True
            raise
        try:
            if not mine.is_done:
                self._write_all(self._taken())
        finally:
            turn.release()
        if mine.error is not None:
            raise mine.error

    def _taken(self) -> list[_Waiting]:
        found: list[_Waiting] = []
        me = os.getpid()
        for _ in range(len(self.queue)):
            one = self.queue.popleft()
            if one.pid == me and not one.is_withdrawn:  # a fork copies what its parent waits for
                found.append(one)
        return found

    def _write_alone(self, changes: Sequence[Change], schemas: AbstractSet[Schema]) -> None:
        storage = self._storage
        storage.settle(schemas)
        batch: Any = storage.batch()
        try:
            writer = BatchWriter(storage, batch)
            writer.write(changes, schemas)
            writer.commit()
        except BaseException:
            batch.rollback()
            raise

    def _write_all(self, group: Sequence[_Waiting]) -> None:
        batch: Any = None
        try:
            storage = self._storage
            schemas = schemas_of([change for one in group for change in one.changes])
            storage.settle(schemas)
            batch = storage.batch()
            batch.open(self._tables(batch, {schema.collection for schema in schemas}))
            has_changes = False
            for one in group:
                has_changes = self._nested(batch, one) or has_changes
            if has_changes:
                batch.commit()
            else:
                batch.rollback()
        except BaseException as error:  # noqa: BLE001 - each is told, and raises it
            if batch is not None:
                batch.rollback()
            _fail(group, error, self._storage.name)
        finally:
            for one in group:
                one.is_done = True

    def _nested(self, batch: NestingBatch, one: _Waiting) -> bool:
        inner = batch.nested()
        try:
            has_changes = BatchWriter(self._storage, inner).write(one.changes)
        except Exception as error:  # noqa: BLE001 - it is raised where it belongs
            inner.rollback()
            one.error = error
            return False
        except BaseException:
            inner.rollback()
            raise
        if has_changes:
            inner.commit()
        else:
            inner.rollback()
        return has_changes

    def _tables(self, batch: IndexBatch, collections: set[str]) -> list[str]:
        """Return all tables that the batches may need: a nested one opens none itself."""
        found: list[str] = []
        for name in collections:
            found.append(records_table(name))
            catalog = self._storage.catalog(batch, name)
            if catalog is not None:
                found += [table_of(name, index) for index in catalog.ordered]
                found += [unique_table(name, record.name) for record in catalog.unique]
        return found


def _fail(group: Sequence[_Waiting], error: BaseException, name: str) -> None:
    """Tell all who wait that nothing was written, each by an error of its own."""
    if not isinstance(error, Exception):
        first, *others = group  # whoever leads is the first: it is interrupted itself
        first.error = error
        told: BaseException = StorageError(
            f"{name}: the commit was interrupted, and nothing of this batch was written"
        )
    else:
        others, told = list(group), error
    for one in others:
        if one.error is None:
            one.error = copy.copy(told) if len(group) > 1 else told
            one.error.__cause__ = told.__cause__
