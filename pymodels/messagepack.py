"""Records as MessagePack: the stored form of every storage that keeps bytes.

A record is one MessagePack map from stored names to values. What MessagePack cannot tell apart in
open places is an extension type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Final, Union, cast
from uuid import UUID

import msgspec

from pymodels.changes import Patch, StoredPath
from pymodels.checks import UNNAMEABLE
from pymodels.codecs import (
    Codec,
    Remake,
    changed_open,
    check_result,
    fitted,
    reason_of,
    unfit_result,
)
from pymodels.comparing import Compare, comparison, is_comparable, remaker
from pymodels.expressions import ListChange, changed_members, evaluate
from pymodels.kinds import Kind, Open, SetMembers, Structured, array_in, is_packed
from pymodels.references import keys_in
from pymodels.schema import FieldInfo, Schema
from pymodels.values import ABSENT, order_key

Raw = msgspec.Raw

_ANY: Final = Open()
_UNKNOWN: Final[Any] = object()

# The codes of the extension types in open places. They are part of the file format.
_DECIMAL, _UUID, _DATE, _TIME, _DURATION, _SET, _TUPLE = range(1, 8)


class MessagePack(Codec):
    """Records as MessagePack maps."""

    errors = (msgspec.DecodeError,)

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder(order="deterministic")
        self._fields = msgspec.msgpack.Decoder(dict[str, Raw])
        self._plain = msgspec.msgpack.Decoder(ext_hook=self.untag)
        self._in_order = msgspec.msgpack.Encoder()

    # --- tags -------------------------------------------------------------------------------

    def _tag(self, value: Any) -> msgspec.msgpack.Ext:
        encode = self._encoder.encode
        kind = type(value)
        if kind is Decimal:
            return msgspec.msgpack.Ext(_DECIMAL, str(value).encode())
        if kind is UUID:
            return msgspec.msgpack.Ext(_UUID, value.bytes)
        if kind is date:
            return msgspec.msgpack.Ext(_DATE, value.isoformat().encode())
        if kind is time:
            return msgspec.msgpack.Ext(_TIME, value.isoformat().encode())
        if kind is timedelta:
            return msgspec.msgpack.Ext(
                _DURATION, encode((value.days, value.seconds, value.microseconds))
            )
        if kind is SetMembers:
            return msgspec.msgpack.Ext(_SET, encode(list(value)))
        return msgspec.msgpack.Ext(_TUPLE, encode(list(value)))

    def untag(self, code: int, data: memoryview) -> Any:
        """Return the value behind an extension type, as msgspec's ``ext_hook``."""
        content = bytes(data)
        if code == _DECIMAL:
            return Decimal(content.decode())
        if code == _UUID:
            return UUID(bytes=content)
        if code == _DATE:
            return date.fromisoformat(content.decode())
        if code == _TIME:
            return time.fromisoformat(content.decode())
        if code == _DURATION:
            days, seconds, microseconds = self._plain.decode(content)
            return timedelta(days, seconds, microseconds)
        if code == _SET:
            return set(self._plain.decode(content))
        if code == _TUPLE:
            return tuple(self._plain.decode(content))
        raise msgspec.DecodeError(f"an extension of the unknown type {code}")

    # --- whole records ----------------------------------------------------------------------

    def _special(self, schema: Schema) -> tuple[FieldInfo, ...]:
        """Return the fields that are not stored just as msgspec would write them."""
        special: tuple[FieldInfo, ...] | None = schema.cache.get("special")
        if special is None:
            special = schema.cache["special"] = tuple(
                info
                for info in schema.fields.values()
                if info.reference is not None or any(map(is_packed, info.kind.everything()))
            )
        return special

    def _storable(self, instance: Any) -> Any:
        """Return *instance*, or a mapping with keys for records and with tagged open places."""
        schema = instance._schema
        special = self._special(schema)
        if not special:
            return instance
        plain = {info.stored: info.held(instance) for info in schema.fields.values()}
        for info in special:
            value = plain[info.stored]
            if info.reference is None:
                plain[info.stored] = info.kind.pack(value, self._tag)
            else:
                plain[info.stored] = keys_in(value)
        return plain

    def encode(self, instance: Any, unknown: Mapping[str, Any] | None = None) -> bytes:
        data = self._encoder.encode(self._storable(instance))
        if unknown:
            fields = {name: self.stored_value(_ANY, value) for name, value in unknown.items()}
            data = self._in_order.encode(fields | self._fields.decode(data))
        return data

    def encoder(self, schema: Schema) -> Callable[[Any], bytes]:
        return self.encode if self._special(schema) else self._encoder.encode

    def decoder(self, schema: Schema) -> Callable[[bytes], Any]:
        found: Callable[[bytes], Any] | None = schema.cache.get(type(self))
        if found is None:
            decoder = msgspec.msgpack.Decoder(schema.model, ext_hook=self.untag)
            found = schema.cache[type(self)] = decoder.decode
        return found

    def probe(self, schema: Schema, names: tuple[str, ...]) -> Callable[[bytes], Any]:
        wanted = (type(self), names)  # a model may be used with storages of several kinds
        found: Callable[[bytes], Any] | None = schema.cache.get(wanted)
        if found is None:
            types = {name: probed(schema.stored.get(name)) for name in names}
            found = schema.cache[wanted] = self.fields_decoder(types)
        return found

    def fields_decoder(self, types: Mapping[str, Any]) -> Callable[[bytes], Any]:
        """Return a function from a record to an object with the given fields, as ``probe`` does."""
        if any(map(UNNAMEABLE.search, types)):
            return self._unnamed_decoder(types)
        shape = msgspec.defstruct(
            "Probe",
            [
                (f"f{number}", Union[annotation, None, msgspec.UnsetType], ABSENT)  # noqa: UP007 - made at run time
                for number, annotation in enumerate(types.values())
            ],
            rename={f"f{number}": name for number, name in enumerate(types)},
            gc=False,
        )
        return msgspec.msgpack.Decoder(shape, ext_hook=self.untag).decode

    def _unnamed_decoder(self, types: Mapping[str, Any]) -> Callable[[bytes], Any]:
        """Return what ``fields_decoder`` does of fields whose names no class can have."""
        numbers = [f"f{number}" for number, _ in enumerate(types)]
        shape = msgspec.defstruct("Probe", numbers)
        split = msgspec.msgpack.Decoder(dict[str, Raw]).decode
        decoders = {
            name: msgspec.msgpack.Decoder(annotation | None, ext_hook=self.untag).decode
            for name, annotation in types.items()
        }

        def decode(stored: bytes) -> Any:
            found = split(stored)
            return shape(
                *[
                    decode(found[name]) if name in found else ABSENT
                    for name, decode in decoders.items()
                ]
            )

        return decode

    def raw_fields(self, names: Iterable[str]) -> Callable[[bytes], Any]:
        """Return a function from a record to some of its fields as bytes, to be compared."""
        return msgspec.msgpack.Decoder(
            msgspec.defstruct(
                "RawFields",
                [(f"f{number}", Raw, Raw()) for number, _ in enumerate(names)],
                rename={f"f{number}": name for number, name in enumerate(names)},
                gc=False,
            )
        ).decode

    def value_decoder(self, info: FieldInfo) -> Callable[[Raw], Any]:
        """Return a function from the stored form of a field to its value."""
        return msgspec.msgpack.Decoder(probed(info), ext_hook=self.untag).decode

    def document(self, stored: bytes) -> dict[str, Any]:
        found = self._plain.decode(stored)
        if not isinstance(found, dict):
            raise msgspec.DecodeError(f"a record is a map, not {type(found).__name__}")
        return found

    def from_document(self, document: Mapping[str, Any]) -> bytes:
        _ANY.check(dict(document))
        return self._encoder.encode(_ANY.pack(dict(document), self._tag))

    def stored_value(self, kind: Kind, value: Any) -> Raw:
        return Raw(self._encoder.encode(kind.pack(value, self._tag)))

    # --- changes ----------------------------------------------------------------------------

    def difference(self, schema: Schema, stored: bytes, instance: Any) -> dict[StoredPath, Any]:
        return self._compared(schema, stored, instance)[0]

    def changed(
        self, schema: Schema, key: Any, stored: bytes, instance: Any
    ) -> tuple[dict[StoredPath, Any], bytes]:
        found, after = self._compared(schema, stored, instance)
        if after is None:
            after = self.apply(stored, Patch(schema, key, found))
        return found, after

    def _compared(
        self, schema: Schema, stored: bytes, instance: Any
    ) -> tuple[dict[StoredPath, Any], bytes | None]:
        """Return what is to be set, and what becomes of the record, if that is known."""
        compare = schema.cache.get((type(self), "comparison"), _UNKNOWN)
        if compare is _UNKNOWN:
            compare = comparison(self, schema) if is_comparable(schema) else None
            schema.cache[type(self), "comparison"] = compare
        if compare is not None:
            try:
                return cast("Compare", compare)(stored, instance)
            except msgspec.DecodeError:
                pass
        found = self._any_difference(schema, stored, instance)
        return found, None if found else stored

    def remaker(self, schema: Schema) -> Remake | None:
        return remaker(self, schema) if is_comparable(schema) else None

    def _any_difference(
        self, schema: Schema, stored: bytes, instance: Any
    ) -> dict[StoredPath, Any]:
        new = self._encoder.encode(self._storable(instance))
        if new == stored:
            return {}
        held = self._fields.decode(stored)
        try:
            # What the model itself would have written, so that its own defaults are no change.
            before = self._fields.decode(
                self._encoder.encode(self._storable(self.decoder(schema)(stored)))
            )
        except msgspec.DecodeError:
            before = held
        found: dict[StoredPath, Any] = {}
        for name, value in self._fields.decode(new).items():
            if before.get(name) != value != held.get(name):
                nested = schema.stored[name].kind.any_inside(Structured)
                if nested and name in held:
                    self._inner_difference((name,), held[name], before[name], value, found)
                else:
                    found[(name,)] = value
        return found

    def _inner_difference(
        self, path: StoredPath, held: Raw, before: Raw, after: Raw, found: dict[StoredPath, Any]
    ) -> None:
        """Compare two mappings member by member, so that members nobody declared stay."""
        try:
            inside = [self._fields.decode(value) for value in (held, before, after)]
        except msgspec.DecodeError:
            found[path] = after
            return
        if inside[1].keys() - inside[2].keys():  # members were removed: say the whole
            found[path] = after
            return
        for name, value in inside[2].items():
            if inside[1].get(name) != value:
                if name in inside[0] and name in inside[1]:
                    self._inner_difference(
                        (*path, name), inside[0][name], inside[1][name], value, found
                    )
                else:
                    found[(*path, name)] = value

    def apply(self, stored: bytes, patch: Patch) -> bytes:
        if patch.made is not None and patch.made[0] == stored:
            made: bytes = patch.made[1]
            return made
        fields = self._fields.decode(stored)
        changes = dict(patch.set)
        if patch.operations:
            changes |= self._compute(stored, fields, patch)
        for path, value in changes.items():
            fields[path[0]] = self._replaced(fields.get(path[0]), path[1:], value)
        for path in patch.unset:
            if len(path) == 1:
                fields.pop(path[0], None)
            elif path[0] in fields:
                fields[path[0]] = self._removed(fields[path[0]], path[1:])
        return self._in_order.encode(fields)

    def _replaced(self, held: Raw | None, path: StoredPath, value: Raw) -> Raw:
        if not path:
            return value
        try:
            fields = {} if held is None else self._fields.decode(held)
        except msgspec.DecodeError:
            fields = {}
        fields[path[0]] = self._replaced(fields.get(path[0]), path[1:], value)
        return Raw(self._encoder.encode(fields))

    def _removed(self, held: Raw, path: StoredPath) -> Raw:
        try:
            fields = self._fields.decode(held)
        except msgspec.DecodeError:
            return held
        if len(path) == 1:
            fields.pop(path[0], None)
        elif path[0] in fields:
            fields[path[0]] = self._removed(fields[path[0]], path[1:])
        return Raw(self._encoder.encode(fields))

    def _compute(
        self, stored: bytes, fields: Mapping[str, Raw], patch: Patch
    ) -> dict[StoredPath, Raw]:
        """Return what the operations of *patch* make of the record as it is."""
        found: dict[StoredPath, Raw] = {}
        read: Callable[[str], Any] | None = None
        for path, operation in patch.operations.items():
            info = patch.schema.stored[path[0]]
            if isinstance(operation, ListChange):
                try:
                    changed = self._changed_list(patch, info, fields.get(path[0]), operation)
                except msgspec.DecodeError as error:
                    raise self.invalid(patch.schema, patch.key, stored, error) from error
                if changed is not None:
                    self._check_list(patch, info, operation, changed)
                    found[path] = changed
                continue
            if read is None:
                read = self._reader(stored, patch)
            value = evaluate(operation, read)
            if isinstance(value, Decimal) and "number" in info.kind.families:
                value = fitted(value)
            check_result(patch, info, operation, value)
            found[path] = self.stored_value(info.kind, value)
        return found

    def _reader(self, stored: bytes, patch: Patch) -> Callable[[str], Any]:
        """Return a function from a field to its value in the record, None if it has none."""
        schema = patch.schema
        names = tuple(info.stored for info in schema.fields.values())
        try:
            record = self.probe(schema, names)(stored)
        except msgspec.DecodeError as error:
            raise self.invalid(schema, patch.key, stored, error) from error
        position = {name: number for number, name in enumerate(schema.fields)}

        def read(path: str) -> Any:
            value = getattr(record, f"f{position[path]}")
            return None if value is ABSENT else value

        return read

    def _changed_list(
        self, patch: Patch, info: FieldInfo, held: Raw | None, change: ListChange
    ) -> Raw | None:
        """Return what becomes of a stored list, or None if nothing does.

        Members stay in their stored form: what a model does not declare of them is kept.
        """
        array = array_in(info.kind)
        members: Any = None if held is None else self._plain.decode(held)
        if members is None:
            if all(step.name == "remove" for step in change.steps):
                return None
            members = []
        elif array is not None:
            members = msgspec.msgpack.decode(cast(Raw, held), type=list[Raw])
        if array is None:
            return self.stored_value(info.kind, changed_open(patch, info, change, members))
        item = array.item

        def neutral(member: Raw) -> Any:
            return order_key(item.neutral(self._plain.decode(member)))

        def given(member: Any) -> Raw:
            return self.stored_value(item, member)

        after = changed_members(change, members, given, neutral)
        if array.shape is set:
            after.sort(key=neutral)
        return Raw(self._encoder.encode(after))

    def _check_list(self, patch: Patch, info: FieldInfo, change: ListChange, changed: Raw) -> None:
        try:
            value = msgspec.msgpack.decode(changed, type=info.kind.annotation, ext_hook=self.untag)
        except msgspec.ValidationError as error:  # a constraint of the field, on its length
            raise unfit_result(patch, info, change, reason_of(error)) from None
        check_result(patch, info, change, value)


def probed(info: FieldInfo | None) -> Any:
    """Return the type as which a probe decodes a field."""
    if info is None or info.kind.any_inside(Structured):
        return Any
    return info.kind.annotation
