"""The indexes that a model declares, made on the server; and how the two differ.

Each ends in ``_id``, by which ties are broken: pages of an ordered query then come straight from
the index. ``Field(index="sparse")``, ``"ttl:3600"``, ``"text"`` and ``"hashed"`` ask for the kinds
that MongoDB has besides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pymodels.errors import ModelError
from pymodels.ext.mongodb.codec import is_naive
from pymodels.ext.mongodb.paths import is_known
from pymodels.ext.mongodb.unique import COMPUTED, NATIVE, SEPARATOR, is_native
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
    there = {one["name"] for one in collection.list_indexes()}
    created = [name for name in wanted if name not in there]
    for name in created:
        keys, options = wanted[name]
        collection.create_index(keys, **options)
    unique = {_unique_name(schema, index) for index in schema.unique}
    others = there - wanted.keys() - unique - {"_id_"}
    dropped = sorted(name for name in others if drop and _is_ours(name))
    for name in dropped:
        collection.drop_index(name)
    return IndexReport(
        tuple(created),
        tuple(sorted(there & (wanted.keys() | unique))),
        tuple(sorted(others - set(dropped))),
        tuple(dropped),
    )


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
