"""Saving what a transaction has found: most records that are changed are read and saved in one.

The transaction knows what such a record is, and looks at it again when it ends. So nothing has to
be told but what becomes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pymodels import conditions
from pymodels.schema import Schema
from pymodels.soundness import quick_test, validate

if TYPE_CHECKING:
    from pymodels.codecs import Remake
    from pymodels.storage import Storage

_UNKNOWN: Final[Any] = object()


def save_again(instances: Sequence[Any], transaction: Storage) -> int | None:
    """Save instances of one model whose records *transaction* has found as they know them.

    Return how many had something to write; None, and nothing is done, if one of them wants more: if
    it is new, if its record may hold what nobody declared, if another one is of the same record, or
    if there is more to be checked than its values.
    """
    schema: Schema = instances[0]._schema
    if schema.unique or schema.must is not conditions.EVERYTHING:
        return None
    overlay, remake = transaction.overlay(schema), _remaker(schema, transaction)
    if overlay is None or remake is None:
        return None
    transaction.check_writable()
    home, is_sound = transaction.home, quick_test(schema)
    # Not put together in one mapping: of thousands that were found, one may be saved at a time.
    found, changed = overlay.found, overlay.changed
    keys: list[Any] = []
    records: list[Any] = []
    for instance in instances:
        key, stored = instance._pk, instance._stored
        if (
            stored is None
            or (changed[key] if key in changed else found.get(key)) is not stored
            or instance._schema is not schema
            or instance._storage is not home
        ):
            return None
        if not is_sound(instance):
            validate(instance)
        keys.append(key)
        records.append(stored)
    if len(set(keys)) < len(keys):
        return None
    names: set[str] = set()
    made = remake(records, instances, names)
    if made is None:
        return None
    remade: list[Any] = []
    replaced: dict[Any, Any] = {}
    for instance, key, stored, after in zip(instances, keys, records, made, strict=True):
        if after is not stored:
            replaced[key] = after
            remade.append(instance)
    transaction.remember(remade)
    overlay.replace(replaced, names)
    for instance, after in zip(remade, replaced.values(), strict=True):
        instance._stored = after
    return len(remade)


def _remaker(schema: Schema, storage: Storage) -> Remake | None:
    wanted = (storage.codec, "remaker")
    known: Remake | None = schema.cache.get(wanted, _UNKNOWN)
    if known is _UNKNOWN:
        known = schema.cache[wanted] = storage.codec.remaker(schema)
    return known
