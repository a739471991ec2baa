"""What of a record is to be written: a comparison with an instance, made for each model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

import msgspec

from pymodels.kinds import Kind, Open, Scalar, Structured, Union, is_list_of_text
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

_EXACT: Final = (str, int, bool, bytes, date, datetime, timedelta, UUID)
"""The types of which two values that are equal are stored alike."""


def is_comparable(schema: Schema) -> bool:
    """Tell whether the fields of a model are compared one by one, as they are.

    Not if one is a reference, or holds mappings, of which members may be stored that nobody
    declared.
    """
    return not any(
        info.reference is not None or info.kind.any_inside(Open) or info.kind.any_inside(Structured)
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
    """Return what ``Codec.remaker`` promises."""
    decode, encode = codec.decoder(schema), codec.encoder(schema)
    differing, is_own = _differing(schema), _own(encode)

    def remake(stored: bytes, instance: Any, names: set[str]) -> bytes | None:
        made: bytes = encode(instance)
        if made == stored:
            return stored
        try:
            before = decode(stored)
        except msgspec.DecodeError:
            return None
        if encode(before) != stored and not is_own(stored, before):
            return None
        names.update(differing(before, instance))
        return made

    return remake


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
