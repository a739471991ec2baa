"""What of a record is to be written: a function for each model, which compares stored fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from pymodels.kinds import Open, Structured
from pymodels.schema import Schema

if TYPE_CHECKING:
    from pymodels.changes import StoredPath
    from pymodels.messagepack import MessagePack

Compare: TypeAlias = "Callable[[bytes, bytes], tuple[dict[StoredPath, msgspec.Raw], bool]]"

_TEMPLATE: Final = """\
def differing(before, after):
    found = []
{fields}\
    return found
"""

_LINES: Final = """\
    if before.f{number} != after.f{number}:
        found.append(({number}, before.f{number}, after.f{number}))
"""

_NOTHING: Final = msgspec.Raw()


def comparison(codec: MessagePack, schema: Schema) -> Compare | None:
    """Return a function from a record and what its model makes of an instance to what is different.

    It returns what has to be set in the record, and whether the second one is the record with that
    set: not if the record holds what nobody declared. What was stored in another way than the model
    would is not different. It raises ``msgspec.DecodeError`` if the record does not fit the model.

    None, where a field is a reference or holds mappings, of which members may be stored that nobody
    declared.
    """
    infos = [schema.fields[name] for name in schema.model.__struct_fields__]
    if any(
        info.reference is not None or info.kind.any_inside(Open) or info.kind.any_inside(Structured)
        for info in infos
    ):
        return None
    strict = _raw_fields([info.stored for info in infos], forbid_unknown_fields=True)
    lenient = _raw_fields([info.stored for info in infos])
    known: dict[str, Any] = {}
    lines = [_LINES.format(number=number) for number in range(len(infos))]
    exec(_TEMPLATE.format(fields="".join(lines)), known)  # noqa: S102 - made of numbers alone
    differing: Callable[[Any, Any], list[tuple[int, msgspec.Raw, msgspec.Raw]]]
    differing = known["differing"]
    decode, stored_value = codec.decoder(schema), codec.stored_value
    readers = [codec.value_decoder(info) for info in infos]

    def compare(stored: bytes, made: bytes) -> tuple[dict[StoredPath, msgspec.Raw], bool]:
        try:
            before, is_made = strict(stored), True
        except msgspec.DecodeError:
            before, is_made = lenient(stored), False
        found: dict[StoredPath, msgspec.Raw] = {}
        for number, old, new in differing(before, lenient(made)):
            info = infos[number]
            value = info.held(decode(stored)) if old == _NOTHING else readers[number](old)
            if stored_value(info.kind, value) == new:
                is_made = False
                continue
            found[(info.stored,)] = new
        return found, is_made

    return compare


def _raw_fields(names: list[str], **options: Any) -> Callable[[bytes], Any]:
    shape = msgspec.defstruct(
        "Fields",
        [(f"f{number}", msgspec.Raw, _NOTHING) for number, _ in enumerate(names)],
        rename={f"f{number}": name for number, name in enumerate(names)},
        gc=False,
        **options,
    )
    return msgspec.msgpack.Decoder(shape).decode
