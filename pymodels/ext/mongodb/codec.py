"""Records as BSON documents: what the driver reads and writes, without key and bookkeeping.

The stored form of a record is the driver's own mapping, less ``_id`` and ``_pymodels``; its dates
are naive and in UTC, those at the top with their full microseconds. It is never changed once it is
handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Union
from uuid import UUID

import msgspec
from bson.decimal128 import Decimal128

from pymodels.changes import Patch, StoredPath
from pymodels.checks import UNNAMEABLE
from pymodels.codecs import Codec
from pymodels.errors import ModelError
from pymodels.ext.mongodb.computing import computed
from pymodels.ext.mongodb.values import (
    EPOCH,
    EPOCH_IN_UTC,
    EXTRA,
    PLAIN,
    Version,
    escaped,
    identical,
    neutral,
    tag,
    tagged_moment,
    to_bson,
    unescaped,
)
from pymodels.kinds import Array, Choice, Kind, Null, Open, Scalar, Structured
from pymodels.kinds import Union as UnionKind
from pymodels.references import keys_in
from pymodels.schema import FieldInfo, Schema
from pymodels.values import ABSENT

_ANY: Final = Open()
_NATIVE: Final = (bytes,)
"""What a document holds as itself alone; an instant may also stand as text, without a zone."""

_SAME: Final = frozenset(kind for kind, plain in PLAIN.items() if plain is None)
"""Types whose values are stored as they are; UUIDs only where they are declared."""

_WRITTEN: Final[Mapping[str, type]] = {
    **dict.fromkeys(("text", "number", "bool", "date", "time", "duration"), type(None)),
    "bytes": bytes,
    "uuid": UUID,
    "instant": datetime,
}
"""Families that msgspec writes as we do, with the type to be left alone, if there is one."""

_RESERVED: Final = frozenset({"_id", EXTRA})

Document = dict[str, Any]
Fix = Callable[[Any], Any]


def is_scalar(kind: Kind) -> bool:
    """Tell whether a kind has no members, whatever it holds."""
    if isinstance(kind, UnionKind):
        return all(is_scalar(option) for option in kind.options)
    return isinstance(kind, Scalar | Choice | Null)


def is_naive(kind: Kind) -> bool:
    """Tell whether instants here have no zone, and so are stored as text."""
    return "tz=False" in repr(kind.annotation)


def is_plain_list(kind: Kind) -> bool:
    """Tell whether a list or tuple stands here whose members are stored as they are."""
    some = kind.some if isinstance(kind, UnionKind) else (kind,)
    return len(some) == 1 and (
        isinstance(some[0], Array)
        and some[0].shape is not set
        and isinstance(some[0].item, Scalar)
        and some[0].item.annotation in (str, int, float, bool)
    )


def _instant(value: Any) -> Any:
    return EPOCH_IN_UTC + (value - EPOCH) if type(value) is datetime else value


def _decimal(value: Any) -> Any:
    return value.to_decimal() if type(value) is Decimal128 else value


def fix_for(kind: Kind) -> Fix | None:
    """Return what makes a stored value fit for conversion to *kind*; None where it is already."""
    if "ObjectId" in repr(kind.annotation):
        return None
    if is_plain_list(kind):
        return None
    if not is_scalar(kind):
        return neutral
    if "instant" in kind.families:
        return _instant
    if "number" in kind.families and "Decimal" in repr(kind.annotation):
        return _decimal
    return None


class Bson(Codec):
    """Records as BSON documents."""

    errors = (msgspec.ValidationError,)

    # --- writing ----------------------------------------------------------------------------

    def encode(self, instance: Any, unknown: Mapping[str, Any] | None = None) -> Document:
        stored: Document = self.encoder(instance._schema)(instance)
        if unknown:
            more = {escaped(n): self.stored_value(_ANY, v) for n, v in unknown.items()}
            stored = more | stored
        return stored

    def encoder(self, schema: Schema) -> Callable[[Any], Document]:
        pack: Callable[[Any], Document] | None = schema.cache.get("bson encode")
        if pack is None:
            pack = schema.cache["bson encode"] = _at_once(schema) or _one_by_one(schema)
        return pack

    def stored_value(self, kind: Kind, value: Any) -> Any:
        return to_bson(kind.pack(value, tag))

    def from_document(self, document: Mapping[str, Any]) -> Document:
        _ANY.check(dict(document))
        for name in document:
            check_name(name, "the record")
        return {escaped(n): self.stored_value(_ANY, v) for n, v in document.items()}

    # --- reading ----------------------------------------------------------------------------

    def decoder(self, schema: Schema) -> Callable[[Document], Any]:
        found: Callable[[Document], Any] | None = schema.cache.get(Bson)
        if found is None:
            kinds = {info.stored: info.kind for info in schema.fields.values()}
            found = schema.cache[Bson] = _converter(kinds, schema.model)
        return found

    def probe(self, schema: Schema, names: tuple[str, ...]) -> Callable[[Document], Any]:
        wanted = (Bson, names)
        found: Callable[[Document], Any] | None = schema.cache.get(wanted)
        if found is None:
            known = {name: schema.stored.get(name) for name in names}
            found = schema.cache[wanted] = _prober(known)
        return found

    def document(self, stored: Document) -> dict[str, Any]:
        return {unescaped(name): neutral(value) for name, value in stored.items()}

    def revision(self, stored: Document) -> Version:
        return Version(stored)

    # --- changes ----------------------------------------------------------------------------

    def difference(self, schema: Schema, stored: Document, instance: Any) -> dict[StoredPath, Any]:
        new = self.encode(instance)
        changed = {
            name: value
            for name, value in new.items()
            if name not in stored or not identical(stored[name], value)
        }
        if not changed:
            return {}
        try:
            # What the model itself would have written, so that its own defaults are no change.
            before = self.encode(self.decoder(schema)(stored))
        except msgspec.ValidationError:
            before = stored
        found: dict[StoredPath, Any] = {}
        for name, value in changed.items():
            if name in before and identical(before[name], value):
                continue
            nested = schema.stored[unescaped(name)].kind.any_inside(Structured)
            if nested and name in stored:
                _inner_difference((name,), stored[name], before[name], value, found)
            else:
                found[(name,)] = value
        return found

    def apply(self, stored: Document, patch: Patch) -> Document:
        changes = dict(patch.set)
        if patch.operations:
            changes |= computed(self, stored, patch)
        found = dict(stored)
        for path, value in changes.items():
            if len(path) > 1 and type(value) is datetime:
                value = tagged_moment(value)
            found[path[0]] = _replaced(found.get(path[0]), path[1:], value)
        for path in patch.unset:
            if len(path) == 1:
                found.pop(path[0], None)
            elif path[0] in found:
                found[path[0]] = _removed(found[path[0]], path[1:])
        return found


def check_name(name: str, where: str) -> None:
    """Raise ``ModelError`` for a top-level name that MongoDB or this backend keeps for itself."""
    if name in _RESERVED:
        raise ModelError(
            f"{where}: {name!r} cannot be the stored name of a field on MongoDB, where it has a "
            'meaning of its own; the primary key is "pk", whatever its name in the database'
        )


def _at_once(schema: Schema) -> Callable[[Any], Document] | None:
    """Return how msgspec writes a record as a whole, much faster; None if it writes another form.

    It leaves alone what is named to it as builtin; instants are seen to afterwards.
    """
    kept: set[type] = set()
    instants: list[str] = []
    for info in schema.fields.values():
        check_name(info.stored, f"{schema.name}.{info.name}")
        kind, name = info.kind, info.stored
        if info.reference is not None or escaped(name) != name:
            return None
        if is_plain_list(kind):
            continue
        if not is_scalar(kind) or not kind.families <= _WRITTEN.keys():
            return None
        if "Decimal" in repr(kind.annotation):
            return None
        if "instant" in kind.families and not is_naive(kind):
            instants.append(name)
        if not is_naive(kind):
            kept |= {_WRITTEN[family] for family in kind.families} - {type(None)}
    builtin = tuple(sorted(kept, key=repr)) or None
    to_builtins = msgspec.to_builtins

    def pack(instance: Any) -> Document:
        stored: Document = to_builtins(instance, builtin_types=builtin)
        for name in instants:
            value = stored[name]
            if type(value) is datetime:
                stored[name] = EPOCH + (value - EPOCH_IN_UTC)
        return stored

    return pack


def _one_by_one(schema: Schema) -> Callable[[Any], Document]:
    fields = []
    for info in schema.fields.values():
        as_they_are = _SAME if is_scalar(info.kind) else _SAME - {UUID}
        fields.append((escaped(info.stored), info.held, as_they_are, _packer(info)))

    def pack(instance: Any) -> Document:
        stored: Document = {}
        for name, held, as_they_are, written in fields:
            value = held(instance)
            stored[name] = value if type(value) in as_they_are else written(value)
        return stored

    return pack


def _packer(info: FieldInfo) -> Callable[[Any], Any]:
    pack = info.kind.pack
    if info.reference is not None:
        return lambda value: to_bson(keys_in(value))
    if is_scalar(info.kind):
        return to_bson
    if is_plain_list(info.kind):
        return lambda value: None if value is None else list(value)
    return lambda value: to_bson(pack(value, tag))


def _converter(kinds: Mapping[str, Kind], target: Any) -> Callable[[Document], Any]:
    """Return a function from a stored form to *target*, whose fields have these kinds."""
    fixes = [(n, fix) for n, kind in kinds.items() if (fix := fix_for(kind)) is not None]
    convert = msgspec.convert
    # Asking for it takes msgspec as long as all the rest, so it is asked where there are bytes.
    plain = all(_is_free_of_bytes(kind) for kind in kinds.values())
    builtin = None if plain else _NATIVE

    def fixed(stored: Document) -> Any:
        document = stored.copy()
        for name, fix in fixes:
            value = document.get(name)
            if value is not None:
                document[name] = fix(value)
        return document

    def decode(stored: Document) -> Any:
        try:
            return convert(fixed(stored) if fixes else stored, target, builtin_types=builtin)
        except msgspec.ValidationError:
            # Perhaps another model wrote it, or somebody else: as the plain form it may fit yet.
            document = {name: neutral(value) for name, value in stored.items()}
            return convert(document, target, builtin_types=_NATIVE)

    return decode


def _is_free_of_bytes(kind: Kind) -> bool:
    return (is_scalar(kind) and "bytes" not in kind.families) or is_plain_list(kind)


def _prober(known: Mapping[str, FieldInfo | None]) -> Callable[[Document], Any]:
    if any(map(UNNAMEABLE.search, known)):  # then by names that a class can have
        other = {name: f"n{number}" for number, name in enumerate(known)}
        inner = _prober({other[name]: info for name, info in known.items()})

        def probe(document: Document) -> Any:
            return inner({new: document[name] for name, new in other.items() if name in document})

        return probe
    kinds: dict[str, Kind] = {}
    fields: list[tuple[str, Any, Any]] = []
    rename: dict[str, str] = {}
    for number, (name, info) in enumerate(known.items()):
        kind: Kind = _ANY if info is None or info.kind.any_inside(Structured) else info.kind
        kinds[name] = kind
        declared: Any = kind.annotation
        annotation: Any = Union[declared, None, msgspec.UnsetType]  # noqa: UP007 - at run time
        fields.append((f"f{number}", annotation, ABSENT))
        rename[f"f{number}"] = name
    shape = msgspec.defstruct("Probe", fields, rename=rename, gc=False)
    return _converter(kinds, shape)


def _inner_difference(
    path: StoredPath, held: Any, before: Any, after: Any, found: dict[StoredPath, Any]
) -> None:
    """Compare two mappings member by member, so that members nobody declared stay."""
    if not all(type(value) is dict for value in (held, before, after)):
        found[path] = after
        return
    if before.keys() - after.keys():  # members were removed: say the whole
        found[path] = after
        return
    for name, value in after.items():
        if name not in before or not identical(before[name], value):
            if name in held and name in before:
                _inner_difference((*path, name), held[name], before[name], value, found)
            else:
                found[(*path, name)] = value


def _replaced(held: Any, path: StoredPath, value: Any) -> Any:
    if not path:
        return value
    found = dict(held) if type(held) is dict else {}
    name = escaped(path[0])
    found[name] = _replaced(found.get(name), path[1:], value)
    return found


def _removed(held: Any, path: StoredPath) -> Any:
    if type(held) is not dict:
        return held
    found, name = dict(held), escaped(path[0])
    if len(path) == 1:
        found.pop(name, None)
    elif name in found:
        found[name] = _removed(found[name], path[1:])
    return found
