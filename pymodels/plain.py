"""Records that are given as plain mappings, ``{collection: {key: {field: value}}}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymodels.changes import Put
from pymodels.checks import Unfit
from pymodels.codecs import Codec
from pymodels.keys import KEY_KINDS, KeyKind
from pymodels.schema import Schema


def puts(collection: Any, records: Any, codec: Codec) -> list[Put]:
    """Return what stores all *records* of a collection, ``{key: {field: value}}``.

    Raises ``Unfit`` with the place of what cannot be a collection, a key, a record or a value.

    >>> from pymodels.messagepack import MessagePack
    >>> [put.key for put in puts("cookie", {1: {"type": "muffin"}}, MessagePack())]
    [1]
    """
    if not isinstance(collection, str) or not collection:
        raise Unfit(f"a collection has a name, not {collection!r}")
    try:
        if not isinstance(records, Mapping):
            raise Unfit(f"a collection maps keys to records, and {type(records).__name__} does not")
        if not records:
            return []
        schema = Schema(None, collection, collection, _key_kind(records), "pk")
        return [Put(schema, key, _stored(schema, key, records[key], codec)) for key in records]
    except Unfit as error:
        raise error.within(collection) from None


def _key_kind(keys: Mapping[Any, Any]) -> KeyKind:
    kinds = {type(key) for key in keys}
    kind = KEY_KINDS.get(next(iter(kinds))) if len(kinds) == 1 else None
    if kind is None:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise Unfit(
            f"keys of the types {names}: the keys of a collection are all of one kind, "
            f"{', '.join(sorted(kind.__name__ for kind in KEY_KINDS))}"
        )
    return kind


def _stored(schema: Schema, key: Any, record: Any, codec: Codec) -> Any:
    try:
        schema.key.check(key)
        if not isinstance(record, Mapping):
            raise Unfit(f"a record is a mapping, not {type(record).__name__}")
        return codec.from_document(record)
    except Unfit as error:
        raise error.within(key) from None
