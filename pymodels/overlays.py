"""What a transaction knows of one collection: what it found there, and what it made of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from pymodels.changes import Change, Delete, Expect, Expectation, Patch, Put, Revision

if TYPE_CHECKING:
    from pymodels.codecs import Codec
    from pymodels.schema import Schema

DELETED: Final[Any] = None

UNCHANGED: Final[Any] = object()


class Overlay:
    """What is known of one collection.

    ``found`` are the records that were read below, by key, None where there was none; ``changed``
    those that were written here, of which each is among those found, None where one was deleted.
    ``names`` are the stored names of the fields that were changed in them; None, where whole
    records were stored or deleted.
    """

    __slots__ = ("changed", "found", "names", "schema")

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.found: dict[Any, Any] = {}
        self.changed: dict[Any, Any] = {}
        self.names: set[str] | None = set()

    def note(self, change: Change) -> None:
        """Note which fields a change is about."""
        if type(change) is not Patch:
            self.names = None
        elif self.names is not None:
            for path in (*change.set, *change.unset, *change.operations):
                self.names.add(path[0])

    def replace(self, records: Mapping[Any, Any], names: AbstractSet[str]) -> None:
        """Note what became of records that are there, of which only these fields were changed."""
        self.changed.update(records)
        if self.names is not None:
            self.names |= names


def changes_in(overlays: Iterable[Overlay], codec: Codec) -> list[Change]:
    """Return what has to be written below, and what has to be found there unchanged."""
    # Deletions first, so that a unique value may move from one record to another.
    deletions: list[Change] = []
    others: list[Change] = []
    revision = codec.revision
    for overlay in overlays:
        schema, changed = overlay.schema, overlay.changed
        for key, found in overlay.found.items():
            expect: Expectation = Expect.ABSENT if found is None else Revision(revision(found))
            stored = changed.get(key, UNCHANGED)
            if stored is UNCHANGED and found is not None:
                others.append(Patch(schema, key, expect=expect))
            elif stored is UNCHANGED or stored is DELETED:
                deletions.append(Delete(schema, key, expect))
            else:
                others.append(Put(schema, key, stored, expect))
    return [*deletions, *others]
