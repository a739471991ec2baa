"""What a storage is asked to write: puts, patches and deletions, each with what it expects to find.

A batch of changes is written whole or not at all. A failed expectation rejects it, with
``DuplicateKey`` where a record was expected to be absent and ``Conflict`` or ``RecordNotFound``
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, overload

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


class Inserts(Sequence[Put]):
    """Puts of new records of one model, whose keys and stored forms are at hand as lists.

    >>> from pymodels import Model
    >>> class Person(Model): ...
    >>> inserts = Inserts(Person.__schema__, ["a", "b"], [b"1", b"2"])
    >>> len(inserts), inserts[1].key, [put.stored for put in inserts]
    (2, 'b', [b'1', b'2'])
    """

    __slots__ = ("_puts", "keys", "schema", "stored")

    def __init__(self, schema: Schema, keys: list[Any], stored: list[Any]) -> None:
        self.schema = schema
        self.keys = keys
        self.stored = stored
        self._puts: list[Put] | None = None

    def _each(self) -> list[Put]:
        if self._puts is None:
            schema, absent = self.schema, Expect.ABSENT
            pairs = zip(self.keys, self.stored, strict=True)
            self._puts = [Put(schema, key, stored, absent) for key, stored in pairs]
        return self._puts

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Put]:
        return iter(self._each())

    @overload
    def __getitem__(self, at: int) -> Put: ...
    @overload
    def __getitem__(self, at: slice) -> list[Put]: ...
    def __getitem__(self, at: int | slice) -> Put | list[Put]:
        return self._each()[at]


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
