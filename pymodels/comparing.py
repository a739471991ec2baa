"""What of a record is to be written: a comparison with an instance, made for each model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from uuid import UUID

import msgspec

from pymodels.kinds import Kind, Scalar, Structured, Union, is_list_of_text, is_packed
from pymodels.schema import FieldInfo, Schema

if TYPE_CHECKING:
    from pymodels.changes import StoredPath
    from pymodels.codecs import Remake
    from pymodels.messagepack import MessagePack

Compare: TypeAlias = "Callable[[bytes, Any], tuple[dict[StoredPath, msgspec.Raw], bytes | None]]"

_TEMPLATE: Final = """\
def differing(before, after):
    found = []
{fields}\
    return found
"""

_PUT_BACK: Final = """\
def put_back(instance, stored):
    old = probe(stored)
    return replace(instance{values})
"""

_EXACT: Final = (str, int, bool, bytes, date, datetime, timedelta, UUID)
"""The types of which two values that are equal are stored alike."""


def is_comparable(schema: Schema) -> bool:
    """Tell whether the fields of a model are compared one by one, as they are.

    Not if one is a reference, or holds mappings, of which members may be stored that nobody
    declared.
    """
    return not any(
        info.reference is not None
        or any(map(is_packed, info.kind.everything()))
        or info.kind.any_inside(Structured)
        for info in schema.fields.values()
    )


def comparison(codec: MessagePack, schema: Schema) -> Compare:
    """Return a function from a record and an instance to what has to be set in the record.

    It returns besides what becomes of the record then, None if that is not what the model makes of
    the instance: if the record holds what nobody declared, or what was stored in another way. That
    is not different, if it reads the same. It raises ``msgspec.DecodeError`` if the record does not
    fit the model.
    """
    decode, encode = codec.decoder(schema), codec.encoder(schema)
    differing = _differing(schema)
    getters = {info.stored: info.held for info in schema.fields.values()}
    is_own = _own(encode)
    fields = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode

    def compare(stored: bytes, instance: Any) -> tuple[dict[StoredPath, msgspec.Raw], bytes | None]:
        made = encode(instance)
        if made == stored:
            return {}, stored
        before = decode(stored)
        found: dict[StoredPath, msgspec.Raw] = {}
        for name in differing(before, instance):
            old, new = getters[name](before), getters[name](instance)
            packed = encode(new)  # bytes, as Raw is equal to nothing but Raw
            value = msgspec.Raw(packed)
            if packed != encode(old) and (new != old or value != fields(stored).get(name)):
                found[(name,)] = value
        if not found:
            return found, stored
        return found, made if is_own(stored, before) else None

    return compare


def remaker(codec: MessagePack, schema: Schema) -> Remake:
    """Return what ``Codec.remaker`` promises.

    Nearly always the same few fields are changed in all records. So an instance with only those
    put back is what the record would have been made of: if it is, nothing else was changed, and the
    record holds nothing else. Any other record is decoded and compared field by field.
    """
    decode, encode = codec.decoder(schema), codec.encoder(schema)
    differing, is_own = _differing(schema), _own(encode)
    # It would be called for what is put back, and may refuse what never was a record.
    is_plain = not hasattr(schema.model, "__post_init__")

    def remake(
        records: Sequence[bytes], instances: Sequence[Any], names: set[str]
    ) -> list[bytes] | None:
        made: list[bytes] = []
        put_back: Callable[[Any, bytes], Any] | None = None
        try:
            for stored, instance in zip(records, instances, strict=True):
                after = encode(instance)
                if after == stored:
                    made.append(stored)
                    continue
                if put_back is None and names and is_plain:
                    put_back = _putting_back(codec, schema, frozenset(names))
                if put_back is None or encode(put_back(instance, stored)) != stored:
                    before = decode(stored)
                    if encode(before) != stored and not is_own(stored, before):
                        return None
                    names.update(differing(before, instance))
                    put_back = None
                made.append(after)
        except msgspec.DecodeError:
            return None
        return made

    return remake


def _putting_back(
    codec: MessagePack, schema: Schema, names: frozenset[str]
) -> Callable[[Any, bytes], Any]:
    """Return a function from an instance and a record to the instance with the record's *names*.

    What it returns is good for being encoded, and for nothing else.
    """
    wanted = (type(codec), "putting back", names)
    known: Callable[[Any, bytes], Any] | None = schema.cache.get(wanted)
    if known is None:
        stored_names = tuple(sorted(names))
        fields = [schema.stored[name].name for name in stored_names]
        parts = [f", {name}=old.f{number}" for number, name in enumerate(fields)]
        source = _PUT_BACK.format(values="".join(parts))
        made: dict[str, Any] = {
            "probe": codec.probe(schema, stored_names),
            "replace": msgspec.structs.replace,
        }
        exec(source, made)  # noqa: S102 - made of numbers, and of the names of attributes
        known = schema.cache[wanted] = cast("Callable[[Any, bytes], Any]", made["put_back"])
    return known


def _own(encode: Callable[[Any], bytes]) -> Callable[[bytes, Any], bool]:
    """Return whether a record is what its model makes of it, but perhaps for the order of fields.

    The function takes the record, and the instance that was made of it.
    """
    fields = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode

    def is_own(stored: bytes, before: Any) -> bool:
        own = encode(before)
        return own == stored or (len(own) == len(stored) and fields(own) == fields(stored))

    return is_own


def _differing(schema: Schema) -> Callable[[Any, Any], list[str]]:
    """Return a function from two instances to the stored names of fields that may differ."""
    known: dict[str, Any] = {}
    lines: list[str] = []
    for number, info in enumerate(schema.fields.values()):
        known[f"name{number}"] = info.stored
        lines += [f"    if {_difference(info)}:", f"        found.append(name{number})"]
    source = _TEMPLATE.format(fields="".join(f"{line}\n" for line in lines))
    exec(source, known)  # noqa: S102 - made of numbers, and of the names of attributes
    made: Callable[[Any, Any], list[str]] = known["differing"]
    return made


def _difference(info: FieldInfo) -> str:
    """Return an expression that is false only if both instances are stored alike there."""
    kind: Kind = info.kind
    if isinstance(kind, Union) and len(kind.some) == 1:
        kind = kind.some[0]
    unequal = f"before.{info.name} != after.{info.name}"
    if is_list_of_text(kind):
        return unequal
    if not isinstance(kind, Scalar):
        return "True"
    held = getattr(kind.annotation, "__origin__", kind.annotation)  # without its limits
    if held is float:
        # There are two zeros, and an int is stored as one.
        return f"{unequal} or after.{info.name} == 0 or type(after.{info.name}) is int"
    return unequal if held in _EXACT else "True"
