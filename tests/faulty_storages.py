"""Storages that plan, keep or write records wrongly in one way each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import SimpleNamespace
from typing import Any, ClassVar

from msgspec.structs import replace

from pymodels.bykey import ByKey, KeyRange
from pymodels.changes import Change
from pymodels.ext import memory
from pymodels.fields import MISSING
from pymodels.messagepack import MessagePack
from pymodels.planning import Pair, Plan
from pymodels.schema import Schema
from pymodels.storage import Storage
from pymodels.tables import Batch
from pymodels.values import ABSENT
from tests.toys import Engine, storage_with

# --- plans that are not sound ---------------------------------------------------------------


class LimitsTooEarly(storage_with(Engine())):  # type: ignore[misc]
    """Hands the limit to the engine although Python has yet to filter."""

    def plan(self, schema: Schema, condition: Any, **options: Any) -> Plan:
        plan = super().plan(schema, condition, **options)
        return plan if plan.limit is None else replace(plan, most=plan.offset + plan.limit)


class ForgetsToSkip(memory.Storage):
    """Reads a page from the start."""

    def scan(self, plan: Plan) -> Iterator[Pair]:
        return super().scan(replace(plan, skip=0))


class SkipsAfterLimit(memory.Storage):
    """Limits first, and skips then."""

    def scan(self, plan: Plan) -> Iterator[Pair]:
        most = None if plan.most is None else max(0, plan.most - plan.skip)
        return super().scan(replace(plan, most=most))


class _UpToUffff(ByKey):
    """Ends a range of keys with a prefix at U+FFFF, beyond which there is more."""

    lookups: ClassVar[Mapping[str, Any]] = {
        **ByKey.lookups,
        "startswith": lambda place, operand: (
            KeyRange(operand, operand + "\uffff") if place.is_key else NotImplemented
        ),
    }


class _KeyQuery(memory.Query):
    native = _UpToUffff()


class PrefixesEndAtUffff(memory.Storage):
    query_class = _KeyQuery


class CountsTombstones(memory.Storage):
    """Remembers what was deleted, and counts it."""

    buried = 0

    def write(self, changes: Sequence[Change]) -> None:
        self._bury(changes)
        super().write(changes)

    def rewrite(self, plan: Plan, change: Callable[[Any, Any], Change | None]) -> int:
        made: list[Change] = []

        def noted(key: Any, stored: Any) -> Change | None:
            one = change(key, stored)
            if one is not None:
                made.append(one)
            return one

        found = super().rewrite(plan, noted)
        self._bury(made)
        return found

    def delete_found(self, plan: Plan) -> int | None:
        return None  # so that it is rewritten

    def _bury(self, changes: Sequence[Change]) -> None:
        self.buried += sum(1 for change in changes if type(change).__name__ == "Delete")

    def count(self, plan: Plan) -> int:
        return super().count(plan) + self.buried


# --- codecs that lose something -------------------------------------------------------------


class Altered(MessagePack):
    """Changes every value on its way in."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self.change = change

    def encode(self, instance: Any, unknown: Mapping[str, Any] | None = None) -> bytes:
        document = self.document(super().encode(instance, unknown))
        return self.from_document({name: self._altered(one) for name, one in document.items()})

    def _altered(self, value: Any) -> Any:
        value = self.change(value)
        if type(value) is dict:
            return {name: self._altered(member) for name, member in value.items()}
        if type(value) in (list, tuple):
            return type(value)(map(self._altered, value))
        return value


def through_a_float(value: Any) -> Any:
    """Keep ints as JavaScript does."""
    return int(float(value)) if type(value) is int and abs(value) < 2**62 else value


def to_milliseconds(value: Any) -> Any:
    """Keep instants as MongoDB does."""
    if not isinstance(value, datetime):
        return value
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def as_a_list(value: Any) -> Any:
    """Keep tuples and sets as JSON does."""
    return list(value) if type(value) in (tuple, set) else value


def stripped(value: Any) -> Any:
    """Keep text without spaces at its end, as CHAR columns do."""
    return value.rstrip(" ") if type(value) is str else value


class Defaults(MessagePack):
    """Takes what is absent for its default."""

    def probe(self, schema: Schema, names: tuple[str, ...]) -> Callable[[bytes], Any]:
        read = MessagePack().probe(schema, names)
        defaults = {}
        for number, name in enumerate(names):
            info = schema.stored.get(name)
            if info is not None and info.options.default is not MISSING:
                defaults[f"f{number}"] = info.options.default

        def filled(stored: bytes) -> Any:
            record = read(stored)
            found = {f"f{n}": getattr(record, f"f{n}") for n in range(len(names))}
            for field, default in defaults.items():
                found[field] = default if found[field] is ABSENT else found[field]
            return SimpleNamespace(**found)

        return filled


class SharedObjects(MessagePack):
    """Gives every reader the same objects."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[tuple[str, bytes], Any] = {}

    def decoder(self, schema: Schema) -> Callable[[bytes], Any]:
        decode = MessagePack().decoder(schema)

        def shared(stored: bytes) -> Any:
            return self.known.setdefault((schema.name, stored), decode(stored))

        return shared


class OneRevision(MessagePack):
    """Takes every version of a record for the same."""

    def revision(self, stored: Any) -> Any:
        return 1


def keeping(made: MessagePack) -> type[Storage]:
    """Return a backend that stores records by another codec."""

    class Keeping(memory.Storage):
        codec = made

    return Keeping


# --- writing --------------------------------------------------------------------------------


class _NoUnique:
    """A batch that finds no unique entry."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def get(self, table: str, key: bytes) -> bytes | None:
        return None if table.startswith("unique:") else self._batch.get(table, key)


class ForgetsUnique(memory.Storage):
    """Declares unique fields, and lets values repeat."""

    def batch(self) -> Any:
        return _NoUnique(super().batch())


class WritesOneByOne(memory.Storage):
    """Leaves half a batch behind when the rest is refused."""

    def write(self, changes: Sequence[Change]) -> None:
        for change in changes:
            super().write([change])


class NoTransactions(memory.Storage):
    """Declares transactions, and does without."""

    def transaction(self) -> AbstractContextManager[Any]:
        return contextlib.nullcontext(self)
