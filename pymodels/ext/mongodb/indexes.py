"""The indexes that a model declares, made on the server; and how the two differ.

Each ends in ``_id``, by which ties are broken: pages of an ordered query then come straight from
the index. ``Field(index="sparse")``, ``"ttl:3600"``, ``"text"`` and ``"hashed"`` ask for the kinds
that MongoDB has besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo import errors as driver

from pymodels.errors import ModelError, StorageError
from pymodels.ext.mongodb.codec import is_naive
from pymodels.ext.mongodb.paths import is_known
from pymodels.ext.mongodb.unique import COMPUTED, EXISTS_ALREADY, NATIVE, SEPARATOR, is_native
from pymodels.ext.mongodb.values import EXTRA
from pymodels.schema import Index, Schema

_MADE: Final = "pymodels index "


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What ``ensure_indexes`` found and did, by the names of the server's indexes.

    ``created`` are new, ``present`` were there, ``undeclared`` are on the server and in no
    declaration of the model, ``dropped`` are no more.
    """

    created: tuple[str, ...]
    present: tuple[str, ...]
    undeclared: tuple[str, ...]
    dropped: tuple[str, ...] = ()


def ensure(schema: Schema, collection: Any, *, drop: bool) -> IndexReport:
    """Make what is missing of the declared indexes; drop what PyModels made for others, if asked.

    The unique ones have been seen to before.
    """
    wanted = {}
    for index in schema.indexes:
        if not index.unique:
            keys, options = declared(schema, index)
            wanted[options["name"]] = (keys, options)
    found = {one["name"]: one for one in collection.list_indexes()}
    unique = {_unique_name(schema, index) for index in schema.unique}
    there = {_same_as(found, name, *wanted[name]) or name for name in wanted} & found.keys()
    others = found.keys() - there - unique - {"_id_"}
    dropped = sorted(name for name in others if drop and _is_ours(name))
    for name in dropped:  # first, since there can be one index of a kind on the same fields
        collection.drop_index(name)
    created = []
    for name, (keys, options) in wanted.items():
        if _same_as(found, name, keys, options) is None:
            _create(schema, collection, keys, options)
            created.append(name)
    return IndexReport(
        tuple(created),
        tuple(sorted(there | (found.keys() & unique))),
        tuple(sorted(others - set(dropped))),
        tuple(dropped),
    )


def _same_as(
    found: Mapping[str, Any], name: str, keys: Sequence[tuple[str, Any]], options: Mapping[str, Any]
) -> str | None:
    """Return the name of the server's index that is the declared one, whoever has made it."""
    if name in found:
        return name
    own = ("expireAfterSeconds", "partialFilterExpression")
    for other, one in found.items():
        if (
            list(one["key"].items()) == list(keys)
            and all(one.get(option) == options.get(option) for option in own)
            and not any(one.get(odd) for odd in ("collation", "hidden", "sparse", "unique"))
        ):
            return other
    return None


def _create(schema: Schema, collection: Any, keys: Any, options: Mapping[str, Any]) -> None:
    try:
        collection.create_index(keys, **options)
    except driver.OperationFailure as error:
        if error.code not in EXISTS_ALREADY:
            raise
        fields = ", ".join(name for name, _ in keys if name != "_id")
        raise StorageError(
            f"{schema.name}: the server has another index on {fields} than the model declares, and "
            f"cannot have both: {(error.details or {}).get('errmsg', error)}. One that PyModels "
            f"made is dropped by ensure_indexes({schema.name}, drop=True); drop others by "
            "storage.native"
        ) from error


def _is_ours(name: str) -> bool:
    return name.startswith((_MADE, NATIVE, COMPUTED))


def _unique_name(schema: Schema, index: Index) -> str:
    begin = NATIVE if is_native(schema, index) else COMPUTED
    return begin + SEPARATOR.join(index.fields)


def declared(schema: Schema, index: Index) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """Return keys and options of the server's index for a declared one."""
    for name in index.fields:
        if not is_known(name):
            raise ModelError(
                f"{schema.name}: MongoDB cannot index a field that is stored as {name!r}: give it "
                "a stored name without dots, and without a dollar at its beginning"
            )
    kind, _, amount = index.kind.partition(":")
    options: dict[str, Any] = {}
    if kind in ("", "sparse"):
        keys: list[tuple[str, Any]] = []
        for name in index.fields:
            keys.append((name, 1))
            declared_kind = schema.stored[name].kind
            if "instant" in declared_kind.families and not is_naive(declared_kind):
                keys.append((f"{EXTRA}.us.{name}", 1))
        keys.append(("_id", 1))
        if kind:
            options["partialFilterExpression"] = {name: {"$exists": True} for name in index.fields}
    elif kind == "ttl" and amount.isdecimal() and len(index.fields) == 1:
        keys = [(index.fields[0], 1)]
        options["expireAfterSeconds"] = int(amount)
    elif kind in ("text", "hashed"):
        keys = [(name, kind) for name in index.fields]
    else:
        raise ModelError(
            f"{schema.name}: MongoDB has no index of the kind {index.kind!r} on "
            f"{', '.join(index.fields)}; there is True, 'sparse', 'ttl:SECONDS' on one field, "
            "'text' and 'hashed'"
        )
    title = f"{index.kind} " if index.kind else ""
    return keys, {"name": _MADE + title + SEPARATOR.join(index.fields), **options}
