"""Deleting all that a plan finds in tables of bytes, in the batch that finds it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from pymodels.finishing import finished

if TYPE_CHECKING:
    from pymodels.batches import PreparedBatch
    from pymodels.fetching import Chunk
    from pymodels.keyvalue import KeyValueStorage
    from pymodels.planning import Plan


def delete_found(
    storage: KeyValueStorage, plan: Plan, chunks: Iterator[Chunk], prepared: PreparedBatch
) -> int:
    """Delete what *plan* makes of *chunks*, which the batch found; return how many records."""
    if plan.exact and plan.offset == 0 and plan.limit is None:  # so that the order is no matter
        found = sorted(chain.from_iterable(chunks))
    else:
        encode = plan.schema.key.encode
        found = sorted((encode(key), stored) for key, stored in finished(storage, plan, chunks))
    if found:
        prepared.writer.delete(plan.schema, found)
    return len(found)
