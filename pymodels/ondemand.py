"""Indexes that are made in memory, when a model that declares some is first asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pymodels import maintenance
from pymodels.errors import RecordInvalid, StorageInvalid
from pymodels.heldindexes import IndexedStorage
from pymodels.ordered import OrderedIndex
from pymodels.schema import Schema
from pymodels.tables import check_key_kind

if TYPE_CHECKING:
    from pymodels.byindex import ByIndex
    from pymodels.models import Model


class IndexedOnDemand(IndexedStorage):
    """A storage that holds indexes in memory of records that persist without them."""

    def __init__(self, *, name: str, read_only: bool = False) -> None:
        super().__init__(name=name, read_only=read_only)
        # The collections whose indexes are kept, and those about which somebody has asked.
        self._indexed: set[str] = set()
        self._asked: set[str] = set()

    def ordered_indexes(self, schema: Schema) -> Sequence[OrderedIndex]:
        return super().ordered_indexes(schema) if schema.collection in self._indexed else ()

    def _native(self, schema: Schema) -> ByIndex | None:
        if schema.collection not in self._asked and super().ordered_indexes(schema):
            self._index(schema)
        return super()._native(schema)

    def build_indexes(
        self, *models: type[Model], progress: maintenance.Progress | None = None
    ) -> None:
        for model in models:
            self._native(model.__schema__)
        super().build_indexes(*models, progress=progress)

    def _index(self, schema: Schema) -> None:
        """Make in memory what a model declares: its first query reads every record anyway."""
        self.check_open()
        turn = self.write_lock.try_acquire()
        if turn is None:
            return  # somebody writes, who may be waiting for this thread
        name = schema.collection
        try:
            batch = self.batch()
            catalog = self.catalog(batch, name)
            if catalog is not None:
                check_key_kind(catalog.record, schema, self.name)
                maintenance.begin_anew(self, batch, catalog, name, super().ordered_indexes(schema))
                with self.applying:
                    revision = self._revision
                    batch.apply()
                    self._revision = revision  # the records are as they were
            self._indexed.add(name)
        except (RecordInvalid, StorageInvalid):
            self.catalogs.pop(name, None)  # whoever comes to that record is told
        finally:
            self._asked.add(name)
            turn.release()
