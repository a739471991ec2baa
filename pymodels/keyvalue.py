"""A storage over anything that maps bytes to bytes, in tables that keep their keys in order.

``KeyValueStorage`` needs two things of an engine: a ``View`` to read from and a ``Batch`` to write
with. Records, keys, unique entries, expectations and the scan are the same for all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from pymodels import maintenance
from pymodels.batches import PreparedBatch, check_key, check_name, schemas_of
from pymodels.bykey import ByKey
from pymodels.changes import Change, Expect, Put
from pymodels.clearing import delete_found
from pymodels.concurrency import WriteLock
from pymodels.errors import StorageInvalid, UsageError
from pymodels.expectations import taken as key_is_taken
from pymodels.finishing import finished
from pymodels.groups import CommitGroups
from pymodels.indexing import IndexWriter
from pymodels.overlays import Overlay
from pymodels.planning import Pair, Plan
from pymodels.query import Query
from pymodels.schema import Schema, schema_of
from pymodels.storage import Prepared
from pymodels.tablereading import TableReader
from pymodels.tables import (
    FORMAT,
    Batch,
    IndexBatch,
    View,
    tables_for,
)

if TYPE_CHECKING:
    from pymodels.models import Model

M = TypeVar("M", bound="Model")


class KeyValueQuery(Query[M]):
    """A query that finds records by key and unique value, and scans for all else."""

    native = ByKey()


class KeyValueStorage(TableReader):
    """A storage over tables of bytes; an engine gives it views and batches."""

    query_class = KeyValueQuery
    groups_commits: ClassVar[bool] = False
    """Whether its batches can be nested, so that those of several threads are committed as one."""
    longest_key: ClassVar[int | None] = None
    """How many bytes a key may have, where the engine has a limit."""

    def __init__(self, *, name: str, read_only: bool = False) -> None:
        super().__init__(name=name, read_only=read_only)
        self.write_lock = WriteLock(name)
        self._groups = CommitGroups(self)
        self.settled: dict[Schema, Any] = {}  # whose tables there are, with its indexes

    @abstractmethod
    def batch(self) -> Batch:
        """Begin to write; other threads of this storage wait already, others have to be made to."""

    def make_tables(self, names: AbstractSet[str]) -> None:
        """Make tables before a batch writes to them, where the engine wants that."""

    # --- writing ----------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> None:
        if self.closed or self.read_only or not changes:
            self.check_writable()
            return
        if len(changes) == 1 and self.keeps_indexes and self._write_new(changes[0]):
            return
        if self.groups_commits:
            schemas = schemas_of(changes)
            if not self.settled.keys() >= schemas:
                self._check_names(schemas)
            self._groups.write(changes, schemas)
        else:
            self.prepare(changes).commit()

    def _write_new(self, change: Change) -> bool:
        """Store a single new record, if nobody else writes and it has a plain entry in each index.

        Tell whether it did; if not, nothing is done. This is what waits for the disk most often,
        and after that each function that is entered costs a microsecond: so it is one.
        """
        schema = change.schema
        if (
            type(change) is not Put
            or change.expect is not Expect.ABSENT
            or self.settled.get(schema) is not schema.indexes
            or self._groups.queue
        ):
            return False
        catalog = self.catalogs.get(schema.collection)
        if catalog is None or not catalog.is_plain or not catalog.has_all_of(schema):
            return False
        entries = catalog.entries.read_plain(change.stored)
        key = schema.key.encode(change.key)
        if entries is None or (self.longest_key is not None and len(key) > self.longest_key):
            return False
        lock = self.write_lock
        turn = lock.try_enter()
        if turn is None:
            return False
        try:
            batch: Any = self.batch()
            try:
                stamp = batch.stamp
                if (stamp is None or stamp != catalog.stamp) and (
                    self.catalog(batch, schema.collection) is not catalog
                ):
                    batch.rollback()
                    return False
                pairs = zip(catalog.tables, entries, strict=True)
                if not batch.insert_one(schema.table, key, change.stored, pairs):
                    raise key_is_taken(change)
                batch.commit()
            except BaseException:
                batch.rollback()
                raise
            catalog.stamp = batch.stamp
        finally:
            lock.leave(turn)
        return True

    def prepare(self, changes: Sequence[Change]) -> Prepared:
        self.check_writable()
        schemas = schemas_of(changes)
        self._check_names(schemas)
        prepared = self._begin(schemas)
        try:
            prepared.carry_out(changes)
        except BaseException:
            prepared.rollback()
            raise
        return prepared

    def prepare_overlays(self, overlays: Sequence[Overlay], since: int | None) -> Prepared:
        self.check_writable()
        schemas = {overlay.schema for overlay in overlays}
        self._check_names(schemas)
        prepared = self._begin(schemas)
        try:
            prepared.carry_out_overlays(overlays, since)
        except BaseException:
            prepared.rollback()
            raise
        return prepared

    def _check_names(self, schemas: AbstractSet[Schema]) -> None:
        for schema in schemas:
            if schema not in self.settled:
                check_name(self, schema.collection)

    def settle(self, schemas: AbstractSet[Schema]) -> None:
        """Have the tables made that records of some models need, while nobody else writes."""
        for schema in schemas:
            if self.settled.get(schema) is not schema.indexes:
                self.make_tables(tables_for(schemas, self.ordered_indexes))
                self.settled |= {one: one.indexes for one in schemas}
                return

    def _begin(self, schemas: AbstractSet[Schema] = frozenset()) -> PreparedBatch:
        turn = self.write_lock.acquire()
        try:
            self.settle(schemas)
            return PreparedBatch(self, turn)
        except BaseException:
            turn.release()
            raise

    @contextmanager
    def writing(self, schemas: AbstractSet[Schema] = frozenset()) -> Iterator[IndexBatch]:
        """Return a context with a batch, committed at its end or rolled back by an exception."""
        self.check_writable()
        prepared = self._begin(schemas)
        try:
            yield cast("IndexBatch", prepared.batch)
        except BaseException:
            prepared.rollback()
            raise
        prepared.writer.has_changes = True
        prepared.commit()

    # --- indexes ----------------------------------------------------------------------------

    def build_indexes(
        self, *models: type[Model], progress: maintenance.Progress | None = None
    ) -> None:
        """Build what *models* declare and the storage does not have yet, and what is half built.

        Few records are indexed together with the first write through a model, many bit by bit with
        every write: this does all that is left. It goes on where a build was interrupted; others
        read and write meanwhile, by the indexes that are ready.

        Args:
            models: whose indexes to build; none for whatever was begun in any collection.
            progress: called with a collection's name, how many records were done, and how many
                there are.
        """
        if progress is not None and not callable(progress):
            raise UsageError(
                "progress is a function of a collection's name, how many of its records were done, "
                f"and how many there are, not {progress!r}"
            )
        schemas: list[Schema] = [schema_of(model) for model in models]
        for schema in schemas:
            with self.writing({schema}) as batch:
                IndexWriter(self, batch).know(schema)
        collections = {schema.collection: None for schema in schemas} or dict.fromkeys(
            self.collections()
        )
        maintenance.build(self, collections, progress)

    def drop_indexes(self, model: type[Model], *names: str) -> list[str]:
        """Drop indexes of a model's collection, and return their names.

        Without *names*, all that *model* does not declare. An index that it still declares, or some
        other model, is made anew by the next write through that. Raises ``UsageError`` for a name
        that no index has.
        """
        for name in names:
            if not isinstance(name, str):
                raise UsageError(f"drop_indexes takes a model and names of indexes, not {name!r}")
        return maintenance.drop(self, schema_of(model), names)

    def check(self, *, repair: bool = False) -> maintenance.Check:
        """Compare all indexes with the records, and return what was wrong.

        With *repair*, indexes that are wrong are built anew, in one batch. Records that cannot be
        read are named, and left as they are.
        """
        self.check_open()
        return maintenance.check(self, repair=repair)

    def check_change(self, change: Change) -> None:
        if isinstance(change, Put):  # else there is such a record, or nothing to be stored
            check_key(self, change)
            check_name(self, change.schema.collection)

    def rewrite(self, plan: Plan, change: Callable[[Any, Any], Change | None]) -> int:
        """Find and write in one batch: nobody can come between, so that nothing is tried twice."""
        self.check_writable()
        prepared = self._begin()
        try:
            found = list(self._find(prepared.batch, plan))
            changes = [made for pair in found if (made := change(*pair)) is not None]
            prepared.carry_out(changes)
        except BaseException:
            prepared.rollback()
            raise
        prepared.commit()
        return len(changes)

    def delete_found(self, plan: Plan) -> int | None:
        if not self.keeps_indexes:
            return None
        self.check_writable()
        prepared = self._begin()
        try:
            count = delete_found(self, plan, self._chunks_in(prepared.batch, plan), prepared)
        except BaseException:
            prepared.rollback()
            raise
        prepared.commit()
        return count

    def compose(
        self, gather: Callable[[Callable[[Plan], Iterable[Pair]]], Sequence[Change]]
    ) -> None:
        """Find and write in one batch, as ``rewrite`` does."""
        self.check_writable()
        prepared = self._begin()
        try:
            prepared.carry_out(gather(partial(self._find, prepared.batch)))
        except BaseException:
            prepared.rollback()
            raise
        prepared.commit()

    def _find(self, view: View, plan: Plan) -> Iterator[Pair]:
        return finished(self, plan, self._chunks_in(view, plan))

    def check_format(self, found: bytes | None) -> None:
        """Raise ``StorageInvalid`` if a file was written by a later version of PyModels."""
        if found is not None and not found.isdigit():
            raise StorageInvalid(
                f"{self.name} has the format {found!r}, which is none: it is damaged, or the file "
                "of another program"
            )
        if found is not None and int(found) > FORMAT:
            raise StorageInvalid(
                f"{self.name} has format {int(found)}, and this version of PyModels reads up to "
                f"{FORMAT}: install a newer PyModels"
            )
