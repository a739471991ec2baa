"""Questions that one look into one index answers, so that nobody makes a plan for them.

An engine that can look without a view of its own, in less time, says so by one of the methods that
end in ``_at_once``. It tells the stamp of the state it saw: what the catalog says of that state is
known to hold.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from pymodels.answering import equality
from pymodels.columns import NOT_NULL, holds_text, texts
from pymodels.conditions import Lookup
from pymodels.encoding import decoded_text
from pymodels.evaluation import has_whole_values
from pymodels.messagepack import MessagePack
from pymodels.ordered import LONGEST, OrderedIndex
from pymodels.persistence import load_chunks
from pymodels.schema import Place, Schema
from pymodels.storage import Storage
from pymodels.tables import View, index_table

if TYPE_CHECKING:
    from pymodels.byindex import ByIndex
    from pymodels.catalog import Catalog


class UnplannedReader(Storage):
    """A storage that answers by one look into an index where that is all that it takes."""

    codec = MessagePack()
    catalogs: dict[str, Catalog]

    @abstractmethod
    def view(self) -> AbstractContextManager[View]:
        """Return a context that reads one state of the tables."""

    @abstractmethod
    def _catalog_for(self, view: View, schema: Schema) -> Catalog | None:
        """Return what is known of a model's collection, and check that its keys are of one kind."""

    @abstractmethod
    def _scans_as_usual(self) -> bool:
        """Tell whether records come from nowhere but the tables."""

    def _last_known(self, schema: Schema) -> tuple[Catalog, ByIndex] | None:
        """Return what was last known of a collection, and by which indexes it is asked."""
        try:
            catalog = self.catalogs[schema.collection]
            native = catalog.plans[schema]
        except KeyError:
            return None
        return (catalog, native) if catalog.record.key == schema.key.name else None

    # --- of one value -----------------------------------------------------------------------

    def count_equal(self, schema: Schema, lookup: Lookup) -> int | None:
        known = self._last_known(schema)
        found = None if known is None else equality(known[1], lookup)
        if known is None or found is None:
            return None
        index, entry = found
        table = index_table(schema.collection, index.name)
        at_once = self.count_at_once(table, entry)
        if at_once is not None and at_once[1] == known[0].stamp:
            return at_once[0]
        self.check_open()
        seen: Any
        with self.view() as seen, seen.steady():
            # The count may begin the view anew, so that what it was made with is asked afterwards.
            count: int = seen.count_under(table, entry)
            catalog = self._catalog_for(seen, schema)
            is_there = catalog is not None and catalog.record.ordered.get(index.name) is index
        return count if is_there else None

    def count_at_once(self, table: str, entry: bytes) -> tuple[int, int] | None:
        """Return how many records have an entry of an index, and the stamp of that state.

        None where a view is as quick.
        """
        return None

    def load_equal(self, schema: Schema, lookup: Lookup) -> list[Any] | None:
        known = self._last_known(schema)
        found = None if known is None else equality(known[1], lookup)
        if known is None or found is None or not self._scans_as_usual():
            return None
        index, entry = found
        at_once = self.records_at_once(
            schema.table, index_table(schema.collection, index.name), entry
        )
        if at_once is None or at_once[1] != known[0].stamp:
            return None
        return load_chunks(self, schema, (at_once[0],))

    def records_at_once(
        self, records: str, index: str, entry: bytes
    ) -> tuple[Sequence[tuple[bytes, bytes]], int] | None:
        """Return the records that have an entry, by encoded key, and the stamp of that state.

        They are in the order of their keys. None where a view is as quick.

        Args:
            records: the table of the records.
            index: the table of the index.
            entry: what the records have in it.
        """
        return None

    # --- of all records ---------------------------------------------------------------------

    def end_of(self, schema: Schema, place: Place, *, descending: bool) -> list[Any] | None:
        known = self._last_known(schema)
        index = None if known is None else known[1].alone.get(place.way)
        if known is None or index is None or not has_whole_values(place):
            return None
        found = self.end_at_once(schema, known[0], index, descending=descending)
        if found is None:
            return None
        entry, stored = found
        if len(entry) >= LONGEST:
            return None
        if holds_text(place):
            return [decoded_text(entry)]
        try:
            return [self.codec.probe(schema, (place.stored,))(stored).f0]
        except msgspec.DecodeError:
            return None  # whoever looks closer says which record it is

    def end_at_once(
        self, schema: Schema, catalog: Catalog, index: OrderedIndex, *, descending: bool
    ) -> tuple[bytes, bytes] | None:
        """Return the least entry of an index but null, or the greatest, and its first record.

        None, if there is no such entry, or if *catalog* is of another state.
        """
        ((low, high),) = NOT_NULL
        seen: Any
        self.check_open()
        with self.view() as seen, seen.steady():
            if self._catalog_for(seen, schema) is not catalog:
                return None
            table = index_table(schema.collection, index.name)
            found = seen.end(table, low, high, descending=descending)
            stored = None if found is None else seen.get(schema.table, found[1])
            return None if stored is None else (found[0], stored)

    def values_of(self, schema: Schema, place: Place) -> list[Any] | None:
        known = self._last_known(schema)
        index = None if known is None else known[1].alone.get(place.way)
        if known is None or index is None or place.inside or not holds_text(place):
            return None
        at_once = self.entries_at_once(index_table(schema.collection, index.name))
        return None if at_once is None or at_once[1] != known[0].stamp else texts(at_once[0])

    def entries_at_once(self, table: str) -> tuple[list[bytes], int] | None:
        """Return the entries of an index, each once, in order, and the stamp of that state.

        None where a view is as quick.
        """
        return None
