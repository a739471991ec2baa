"""What the answers ought to be: the records kept in plain Python, and decided upon there.

Which records a condition finds is for the reference evaluator to say, run over records in
MessagePack and without any planning. How they are sorted is written here a second time, from the
written order alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from pymodels.changes import Patch
from pymodels.conditions import Condition
from pymodels.evaluation import compile_condition
from pymodels.messagepack import MessagePack
from pymodels.schema import Schema
from pymodels.testing.corpus import (
    DECLARED,
    NUMBERED_KEYS,
    Identified,
    Made,
    Numbered,
    Wider,
    samples,
)
from pymodels.testing.pools import UUIDS
from pymodels.values import ABSENT

_CODEC: Final = MessagePack()


class Expected:
    """The records of one model, and which of them a condition finds."""

    def __init__(self, schema: Schema, stored: Mapping[Any, bytes]) -> None:
        self.schema = schema
        self.keys = sorted(stored)
        self.stored = stored
        self._probed: dict[tuple[str, ...], list[tuple[Any, Any]]] = {}

    def finds(self, condition: Condition) -> list[Any]:
        """Return the keys of the records of which a bound condition is true, in order."""
        compiled = compile_condition(condition)
        rows = self._probed.get(compiled.names)
        if rows is None:
            probe = _CODEC.probe(self.schema, compiled.names)
            rows = [(key, probe(self.stored[key])) for key in self.keys]
            self._probed[compiled.names] = rows
        return [key for key, record in rows if compiled.test(record, key)]

    def others(self, keys: Iterable[Any]) -> list[Any]:
        """Return the keys of all other records, in order."""
        left_out = set(keys)
        return [key for key in self.keys if key not in left_out]


def expected_samples(schema: Schema, *, nul: bool) -> Expected:
    """Return what is expected of the samples, read as the model of *schema*."""
    return Expected(schema, {one.key: _stored(one) for one in samples(nul=nul)})


def _stored(made: Made) -> bytes:
    stored = _CODEC.encode(made.instance())
    return _CODEC.apply(stored, Patch(Wider.__schema__, made.key, unset=made.unset))


def expected_numbered() -> Expected:
    """Return what is expected of the records whose keys are numbers."""
    made = {key: _CODEC.encode(Numbered(id=key, twin=key)) for key in NUMBERED_KEYS}
    return Expected(Numbered.__schema__, made)


def expected_identified() -> Expected:
    """Return what is expected of the records whose keys are UUIDs."""
    made = {key: _CODEC.encode(Identified(id=key, twin=key)) for key in UUIDS}
    return Expected(Identified.__schema__, made)


# --- order ----------------------------------------------------------------------------------

Reader = Callable[[Mapping[str, Any]], Any]


class Ordered:
    """Sorts the keys of samples as ``order_by`` should."""

    def __init__(self, *, nul: bool) -> None:
        self._values = {
            one.key: {
                name: ABSENT if name in one.absent else one.values.get(name) for name in DECLARED
            }
            for one in samples(nul=nul)
        }

    def sort(
        self, keys: Iterable[str], terms: Sequence[tuple[Reader, bool]], nulls: str | None = None
    ) -> list[str]:
        """Return *keys* by *terms*, each a function of a record's values and "is descending"."""
        found = sorted(keys, reverse=terms[-1][1] if terms else False)
        for read, descending in reversed(terms):
            first = (not descending) if nulls is None else nulls == "first"
            values = {key: read(self._values[key]) for key in found}
            missing = [key for key in found if values[key] is None or values[key] is ABSENT]
            ranks = {key: rank(values[key]) for key in found if key not in set(missing)}
            present = sorted(ranks, key=ranks.__getitem__, reverse=descending)
            found = missing + present if first else present + missing
        return found


def rank(value: Any) -> tuple[Any, ...]:
    """Return what a value sorts by, as the written order has it: kinds first, then values."""
    match value:
        case bool():
            return (7, value)
        case int() | float() | Decimal():
            return (1, Fraction(value))
        case str():
            return (2, tuple(map(ord, value)))
        case dict():
            return (3, tuple((rank(name), rank(value[name])) for name in sorted(value)))
        case list():
            return (4, 0, tuple(map(rank, value)))
        case tuple():
            return (4, 1, tuple(map(rank, value)))
        case set():
            return (4, 2, tuple(sorted(map(rank, value))))
        case bytes():
            return (5, tuple(value))
        case UUID():
            return (6, value.int)
        case datetime():
            zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
            return (8, zoned - datetime(1, 1, 1, tzinfo=UTC), 1)
        case date():
            return (8, value - date(1, 1, 1), 0)
        case time():
            return (9, 0, value.isoformat("microseconds"))
        case timedelta():
            return (9, 1, value)
        case None:
            return (0,)
    raise TypeError(f"{value!r} has no place in the order")
