"""A storage over anything that maps bytes to bytes, in tables that keep their keys in order.

``KeyValueStorage`` needs two things of an engine: a ``View`` to read from and a ``Batch`` to write
with. Records, keys, unique entries, expectations and the scan are the same for all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import NotImplementedType
from typing import Any, ClassVar, Final, Protocol, TypeAlias, TypeVar

import msgspec

from pymodels import conditions
from pymodels.changes import Change, Delete, Patch, Put
from pymodels.codecs import MessagePack
from pymodels.errors import ModelError, OperandInvalid, StorageInvalid
from pymodels.indexes import IndexRecord, duplicate, entry, index_record, probe_types
from pymodels.keys import KeyKind, kind_named
from pymodels.kinds import Unfit
from pymodels.planning import Native, Pair, Plan, Superset, Term
from pymodels.query import Query
from pymodels.schema import Place, Schema
from pymodels.storage import Prepared, Storage, check_expectation
from pymodels.values import ABSENT

M = TypeVar("M")

FORMAT: Final = 1
"""The version of what is written here; a file of a later version is refused."""


class View(Protocol):
    """Tables of bytes to read: one state of them, for as long as the view is open."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value under *key*, or None."""

    def items(
        self, table: str, low: bytes | None, high: bytes | None, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs from *low* (included) to *high* (not included), in the order of keys."""

    def count(self, table: str) -> int:
        """Return how many pairs the table has."""


class Batch(View, Protocol):
    """Tables to write: nobody else sees the changes before ``commit``."""

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Store *value* under *key*."""

    def delete(self, table: str, key: bytes) -> None:
        """Remove *key*, if it is there."""

    def commit(self) -> None:
        """Make all changes true at once, and end the batch."""

    def rollback(self) -> None:
        """Forget all changes, and end the batch; doing so again does no harm."""


# --- what the engine can find by itself -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Keys:
    """The records under these keys."""

    keys: frozenset[Any]

    def __repr__(self) -> str:
        return f"get {len(self.keys)} by key"


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The records whose keys lie from *low* (included) to *high*."""

    low: Any = None
    high: Any = None
    high_included: bool = False
    low_excluded: bool = False

    def __repr__(self) -> str:
        return f"keys from {self.low!r} to {self.high!r}"


@dataclass(frozen=True, slots=True)
class Prefix:
    """The records whose text keys begin with this."""

    text: str

    def __repr__(self) -> str:
        return f"keys that begin with {self.text!r}"


@dataclass(frozen=True, slots=True)
class UniqueValue:
    """The record that has this value in a unique field."""

    index: str
    value: Any

    def __repr__(self) -> str:
        return f"unique index on {self.index}"


Fragment: TypeAlias = Keys | KeyRange | Prefix | UniqueValue


def _equals(place: Place, operand: Any) -> Any:
    if place.is_key:
        return Keys(frozenset() if operand is None else frozenset({operand}))
    info = place.field
    if info is not None and info.options.unique and not place.inside and operand is not None:
        return Superset(UniqueValue(info.stored, operand))
    return NotImplemented


def _in(place: Place, operands: Any) -> Any:
    if not place.is_key:
        return NotImplemented
    return Keys(frozenset(operand for operand in operands if operand is not None))


def _encodable(place: Place, operand: Any) -> bool:
    """Tell whether a range can end here: 2.5 is a fair bound for int keys, but no key itself."""
    try:
        place.kind.check(operand)
    except Unfit:
        return operand == "" and "text" in place.kind.families
    return True


def _range(**bounds: str) -> Any:
    def answer(place: Place, operand: Any) -> Any:
        if not place.is_key or not _encodable(place, operand):
            return NotImplemented
        if bounds["end"] == "low":
            return KeyRange(low=operand, low_excluded=bounds["kind"] == "open")
        return KeyRange(high=operand, high_included=bounds["kind"] == "closed")

    return answer


def _between(place: Place, ends: Any) -> Any:
    if not place.is_key or not all(_encodable(place, end) for end in ends):
        return NotImplemented
    return KeyRange(ends[0], ends[1], high_included=True)


def _prefix(place: Place, operand: Any) -> Any:
    return Prefix(operand) if place.is_key else NotImplemented


class ByKey(Native[Fragment]):
    """Finds records by their keys and by unique values, and yields them in the order of keys."""

    lookups: ClassVar[Mapping[str, Any]] = {
        "equals": _equals,
        "in": _in,
        "gt": _range(end="low", kind="open"),
        "gte": _range(end="low", kind="closed"),
        "lt": _range(end="high", kind="open"),
        "lte": _range(end="high", kind="closed"),
        "between": _between,
        "startswith": _prefix,
    }

    def all_of(self, parts: Sequence[Fragment]) -> Fragment | NotImplementedType:
        sets = [part.keys for part in parts if isinstance(part, Keys)]
        if len(sets) == len(parts):
            return Keys(frozenset.intersection(*sets))
        return NotImplemented

    def any_of(self, parts: Sequence[Fragment]) -> Fragment | NotImplementedType:
        sets = [part.keys for part in parts if isinstance(part, Keys)]
        if len(sets) == len(parts):
            return Keys(frozenset().union(*sets))
        return NotImplemented

    def order_by(self, terms: tuple[Term, ...], descending: bool) -> Any:
        if not terms:
            return "descending keys" if descending else "ascending keys"
        if terms[0].place.is_key:  # keys are unique, so that no further term matters
            return "descending keys" if terms[0].descending else "ascending keys"
        return NotImplemented


class KeyValueQuery(Query[M]):
    """A query that finds records by key and unique value, and scans for all else."""

    native = ByKey()


# --- the storage ----------------------------------------------------------------------------


class _Collection(msgspec.Struct):
    """What is remembered of a collection."""

    key: str
    indexes: dict[str, IndexRecord] = {}


META: Final = "meta"


def _records(collection: str) -> str:
    return f"records:{collection}"


def _unique(collection: str, index: str) -> str:
    return f"unique:{collection}:{index}"


def _tables_for(changes: Sequence[Change]) -> list[str]:
    names = {META: None}
    for schema in {id(change.schema): change.schema for change in changes}.values():
        names[_records(schema.collection)] = None
        for index in schema.unique:
            names[_unique(schema.collection, index.name)] = None
    return list(names)


class KeyValueStorage(Storage):
    """A storage over tables of bytes; an engine gives it views and batches."""

    query_class = KeyValueQuery
    codec = MessagePack()
    longest_key: ClassVar[int | None] = None
    """How many bytes a key may have, where the engine has a limit."""

    @abstractmethod
    def view(self) -> AbstractContextManager[View]:
        """Return a context that reads one state of the tables."""

    @abstractmethod
    def batch(self) -> Batch:
        """Begin to write; one batch at a time, others wait."""

    def make_tables(self, names: Sequence[str]) -> None:
        """Make tables before a batch writes to them, where the engine wants that."""

    # --- reading ----------------------------------------------------------------------------

    def read(self, schema: Schema, keys: Sequence[Any]) -> Sequence[bytes | None]:
        self.check_open()
        table, encode = _records(schema.collection), schema.key.encode
        with self.view() as view:
            return [view.get(table, encode(key)) for key in keys]

    def scan(self, plan: Plan) -> Iterator[Pair]:
        self.check_open()
        return self._scan(plan)

    def _scan(self, plan: Plan) -> Iterator[Pair]:
        descending = plan.native_order == "descending keys"
        decode = plan.schema.key.decode
        skip, most = plan.skip, plan.most
        if most == 0:
            return
        with self.view() as view:
            for key, stored in self._pairs(view, plan, descending=descending):
                if skip:
                    skip -= 1
                    continue
                yield decode(key), stored
                if most is not None:
                    most -= 1
                    if not most:
                        return

    def _pairs(self, view: View, plan: Plan, *, descending: bool) -> Iterator[tuple[bytes, bytes]]:
        schema, fragment = plan.schema, plan.native
        table, encode = _records(schema.collection), schema.key.encode
        match fragment:
            case None:
                return view.items(table, None, None, descending=descending)
            case Keys(keys):
                encoded = sorted(map(encode, _possible(schema, keys)), reverse=descending)
                return (
                    (key, stored) for key in encoded if (stored := view.get(table, key)) is not None
                )
            case KeyRange():
                low, high = _bounds(schema, fragment)
                return view.items(table, low, high, descending=descending)
            case Prefix(text):
                low = text.encode()
                return view.items(table, low, after_prefix(low), descending=descending)
            case UniqueValue(index, value):
                return self._by_unique(view, plan, index, value, descending=descending)
        raise AssertionError(f"{fragment!r} was made by another backend")

    def _by_unique(
        self, view: View, plan: Plan, index: str, value: Any, *, descending: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        collection = plan.schema.collection
        table = _records(collection)
        known = self._collection(view, collection)
        found = entry([value])
        if known is None or index not in known.indexes or found is None:
            # No model that declares the index has been written yet: look at every record.
            yield from view.items(table, None, None, descending=descending)
            return
        key = view.get(_unique(collection, index), found)
        stored = None if key is None else view.get(table, key)
        if key is not None and stored is not None:
            yield key, stored

    def count(self, plan: Plan) -> int:
        if plan.condition != conditions.EVERYTHING or plan.skip or plan.most is not None:
            return super().count(plan)
        if plan.offset or plan.limit is not None:
            return super().count(plan)
        self.check_open()
        with self.view() as view:
            return view.count(_records(plan.schema.collection))

    def collections(self) -> Mapping[str, KeyKind]:
        self.check_open()
        with self.view() as view:
            return {
                name[len("collection:") :]: kind_named(
                    msgspec.msgpack.decode(value, type=_Collection).key
                )
                for key, value in view.items(META, b"collection:", b"collection;", descending=False)
                if (name := key.decode())
            }

    def _collection(self, view: View, name: str) -> _Collection | None:
        data = view.get(META, f"collection:{name}".encode())
        return None if data is None else msgspec.msgpack.decode(data, type=_Collection)

    # --- writing ----------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> None:
        if changes:
            self.prepare(changes).commit()
        else:
            self.check_writable()

    def prepare(self, changes: Sequence[Change]) -> Prepared:
        self.check_writable()
        self.make_tables(_tables_for(changes))
        batch = self.batch()
        try:
            _Writer(self, batch).write(changes)
        except BaseException:
            batch.rollback()
            raise
        return _PreparedBatch(batch)

    def check_format(self, found: bytes | None) -> None:
        """Raise ``StorageInvalid`` if a file was written by a later version of PyModels."""
        if found is not None and int(found) > FORMAT:
            raise StorageInvalid(
                f"{self.name} has format {int(found)}, and this version of PyModels reads up to "
                f"{FORMAT}: install a newer PyModels"
            )


class _PreparedBatch(Prepared):
    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def commit(self) -> None:
        self._batch.commit()

    def rollback(self) -> None:
        self._batch.rollback()


class _Writer:
    """Carries out one batch of changes: records first, then what the unique indexes say of them."""

    def __init__(self, storage: KeyValueStorage, batch: Batch) -> None:
        self.storage = storage
        self.batch = batch
        self.known: dict[str, _Collection] = {}
        self.moves: list[tuple[Schema, bytes, bytes | None, bytes | None]] = []

    def write(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.change(change)
        if self.moves:
            self.update_unique()

    def change(self, change: Change) -> None:
        schema, batch = change.schema, self.batch
        known = self.known.get(schema.collection) or self.know(schema)
        table, key = _records(schema.collection), self.key(schema, change.key)
        found = batch.get(table, key)
        check_expectation(self.storage.codec, change, found)
        match change:
            case Put(stored=stored):
                after = stored
            case Patch():
                if not (change.set or change.unset or change.operations):
                    return
                after = self.storage.codec.apply(found, change)
            case Delete():
                after = None
        if after is not None:
            batch.put(table, key, after)
        elif found is not None:
            batch.delete(table, key)
        if known.indexes:
            self.moves.append((schema, key, found, after))

    def key(self, schema: Schema, key: Any) -> bytes:
        encoded = schema.key.encode(key)
        longest = self.storage.longest_key
        if longest is not None and len(encoded) > longest:
            raise OperandInvalid(
                f"{schema.name}.{schema.key_name}: the key {key!r:.60} has {len(encoded)} bytes, "
                f"and {self.storage.name} allows {longest}: keep long text in a field, and let the "
                "key be short"
            )
        return bytes(encoded)

    # --- what is remembered of collections --------------------------------------------------

    def know(self, schema: Schema) -> _Collection:
        """Return what is remembered of the collection, with what its model adds to that."""
        name = schema.collection
        if self.storage.longest_key is not None:
            self.check_name(name)
        known = self.storage._collection(self.batch, name)
        is_new = known is None
        if known is None:
            known = _Collection(schema.key.name, {})
        if known.key != schema.key.name:
            raise ModelError(
                f"{schema.name} declares {schema.key.name} keys, and the collection {name!r} in "
                f"{self.storage.name} has {known.key} keys: declare Key[...] as it was, or another "
                "collection"
            )
        added = [
            index_record(schema, index)
            for index in schema.unique
            if index.name not in known.indexes
        ]
        for record in added:
            known.indexes[record.name] = record
            self.build(schema, record)
        if is_new or added:
            self.batch.put(META, b"format", b"%d" % FORMAT)
            self.batch.put(META, f"collection:{name}".encode(), msgspec.msgpack.encode(known))
        self.known[name] = known
        return known

    def check_name(self, name: str) -> None:
        longest = self.storage.longest_key or 0
        if len(name.encode()) > longest // 2:
            raise ModelError(
                f"the collection name {name!r:.60} has {len(name.encode())} bytes, and "
                f"{self.storage.name} allows {longest // 2}"
            )

    # --- unique entries ---------------------------------------------------------------------

    def build(self, schema: Schema, record: IndexRecord) -> None:
        """Make the entries of an index for the records that were there before it."""
        table = _unique(schema.collection, record.name)
        values_of = _extractor([record])
        for key, stored in list(
            self.batch.items(_records(schema.collection), None, None, descending=False)
        ):
            self.claim(schema, table, record, values_of(stored)[record.name], key)

    def claim(
        self, schema: Schema, table: str, record: IndexRecord, values: Sequence[Any], key: bytes
    ) -> None:
        found = entry(values)
        if found is None:
            return
        other = self.batch.get(table, found)
        if other is not None and other != key:
            raise duplicate(schema.collection, record.fields, values, schema.key.decode(other))
        self.batch.put(table, found, key)

    def update_unique(self) -> None:
        """Give up all old entries before new ones are claimed: values may change places."""
        claims: list[tuple[Schema, str, IndexRecord, Sequence[Any], bytes]] = []
        extractors: dict[str, Any] = {}
        for schema, key, before, after in self.moves:
            collection = schema.collection
            records = self.known[collection].indexes
            if collection not in extractors:
                extractors[collection] = _extractor(list(records.values()))
            values_of = extractors[collection]
            old = {} if before is None else values_of(before)
            new = {} if after is None else values_of(after)
            for name, record in records.items():
                table = _unique(collection, name)
                was, now = entry(old.get(name, [None])), entry(new.get(name, [None]))
                if was == now:
                    continue
                if was is not None and self.batch.get(table, was) == key:
                    self.batch.delete(table, was)
                if now is not None:
                    claims.append((schema, table, record, new[name], key))
        for claim in claims:
            self.claim(*claim)


def _extractor(records: Sequence[IndexRecord]) -> Any:
    """Return a function from a stored record to the values of each index, by its name."""
    types = probe_types(records)
    names = list(types)
    codec = KeyValueStorage.codec
    typed = _index_decoder(names, types, codec)
    untyped = _index_decoder(names, dict.fromkeys(names, Any), codec)

    def values_of(stored: bytes) -> dict[str, list[Any]]:
        try:
            probe = typed(stored)
        except msgspec.DecodeError:
            # Some other view wrote the field as another type: it still must not repeat.
            probe = untyped(stored)
        found = {name: getattr(probe, f"f{number}") for number, name in enumerate(names)}
        return {record.name: [found[name] for name in record.fields] for record in records}

    return values_of


def _index_decoder(names: Iterable[str], types: Mapping[str, Any], codec: MessagePack) -> Any:
    from typing import Union

    names = list(names)
    shape = msgspec.defstruct(
        "Indexed",
        [
            (f"f{number}", Union[types[name], None, msgspec.UnsetType], ABSENT)
            for number, name in enumerate(names)
        ],
        rename={f"f{number}": name for number, name in enumerate(names)},
        gc=False,
    )
    return msgspec.msgpack.Decoder(shape, ext_hook=codec.untag).decode


def _possible(schema: Schema, keys: Iterable[Any]) -> Iterator[Any]:
    """Leave out what can be asked for, but never be a key: an int of 65 bits, a number for text."""
    for key in keys:
        try:
            schema.key.check(key)
        except Unfit:
            continue
        yield key


def _bounds(schema: Schema, wanted: KeyRange) -> tuple[bytes | None, bytes | None]:
    encode = schema.key.encode
    low = None if wanted.low is None else encode(wanted.low)
    high = None if wanted.high is None else encode(wanted.high)
    # No key lies between some bytes and the same with a zero byte appended.
    if low is not None and wanted.low_excluded:
        low += b"\0"
    if high is not None and wanted.high_included:
        high += b"\0"
    return low, high


def after_prefix(prefix: bytes) -> bytes | None:
    """Return the least bytes greater than all that begin with *prefix*, None if there are none.

    >>> after_prefix(b"ab"), after_prefix(b"a\\xff"), after_prefix(b"")
    (b'ac', b'b', None)
    """
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None
