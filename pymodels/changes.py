"""What a storage is asked to write: puts, patches and deletions, each with what it expects to find.

A batch of changes is written whole or not at all. A failed expectation rejects it, with
``DuplicateKey`` where a record was expected to be absent and ``Conflict`` or ``RecordNotFound``
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from pymodels.expressions import Operation
    from pymodels.schema import Schema


class Expect(Enum):
    """What a change expects of the record under its key, where no revision says it closer."""

    ANYTHING = "anything"
    ABSENT = "absent"
    PRESENT = "present"


class Revision(msgspec.Struct, frozen=True, gc=False):
    """The change expects the record as it was when this was read; opaque to all but its codec."""

    value: Any


Expectation: TypeAlias = Expect | Revision

StoredPath: TypeAlias = tuple[str, ...]


class Put(msgspec.Struct, frozen=True, gc=False):
    """Store *stored* under *key*, in place of what may be there."""

    schema: Schema
    key: Any
    stored: Any
    expect: Expectation = Expect.ANYTHING


class Patch(msgspec.Struct, frozen=True, gc=False):
    """Change some of the places of the record under *key*, and leave the rest as it is.

    ``set`` and ``unset`` name places by their stored path; values are in the storage's own form.
    ``operations`` are computed from the record as it is when the patch is written. A patch that
    changes nothing only asserts what it expects, and so does one that finds no record and did not
    expect any.
    """

    schema: Schema
    key: Any
    set: Mapping[StoredPath, Any] = msgspec.field(default_factory=dict)
    unset: frozenset[StoredPath] = frozenset()
    operations: Mapping[StoredPath, Operation] = msgspec.field(default_factory=dict)
    expect: Expectation = Expect.PRESENT
    made: tuple[Any, Any] | None = None
    """A stored form, and what this patch makes of it, where that is known already."""

    @property
    def changes_something(self) -> bool:
        """Whether it does more than to assert what it expects."""
        return bool(self.set or self.unset or self.operations)


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Remove the record under *key*; expecting it absent only asserts that."""

    schema: Schema
    key: Any
    expect: Expectation = Expect.ANYTHING


Change: TypeAlias = Put | Patch | Delete
