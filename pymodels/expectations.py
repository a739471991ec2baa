"""What a change expects of the record that it finds, and the errors for what it finds instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymodels.changes import Change, Delete, Expect, Patch, Put, Revision
from pymodels.errors import Conflict, DuplicateKey, RecordNotFound

if TYPE_CHECKING:
    from pymodels.codecs import Codec


def not_there(change: Change) -> Exception:
    """Return the error for a change that expected a record, or one revision, and found none."""
    where = f"{change.schema.name} {change.key!r}"
    if isinstance(change.expect, Revision):
        return Conflict(
            f"{where} was deleted since it was read", change.schema.collection, change.key
        )
    return RecordNotFound(
        f"{where} does not exist, or not any more; save_as() stores an instance as a new record"
    )


def check_expectation(codec: Codec, change: Put | Patch | Delete, found: Any | None) -> None:
    """Raise what the expectation of *change* calls for, where *found* is what is stored there."""
    expect = change.expect
    if expect is Expect.ANYTHING:
        return
    if expect is Expect.ABSENT:
        if found is not None:
            raise taken(change)
        return
    if found is None:
        raise not_there(change)
    if isinstance(expect, Revision) and codec.revision(found) != expect.value:
        raise Conflict(
            f"{change.schema.name} {change.key!r} was changed by others since it was read; read it "
            "again, and repeat the change",
            change.schema.collection,
            change.key,
        )


def taken(change: Change) -> DuplicateKey:
    """Return the error for a new record under a key that another record has."""
    schema = change.schema
    return DuplicateKey(
        f"there is a {schema.name} with the key {change.key!r} already; get it and change it, or "
        "save with replace=True to put this one in its place",
        schema.collection,
        schema.key_name,
        change.key,
    )
