"""What kind of collection there is: some of MongoDB's can only be read, and some not even that."""

from __future__ import annotations

from typing import Any, Final

from pymongo import errors as driver

from pymodels.errors import Unsupported

_MAY_NOT_ASK: Final = 13


def look(name: str, collection: Any) -> str:
    """Return "" for a collection, "view" or "capped" for what can only be read.

    Raises ``Unsupported`` where the server would compare text in a way of its own (a default
    collation), or where keys are not unique (time series).
    """
    try:
        cursor = collection.database.list_collections(filter={"name": collection.name})
        found = next(iter(cursor), None)
    except driver.OperationFailure as error:
        if error.code != _MAY_NOT_ASK:
            raise
        return ""  # a user who may not look at that; it is nearly always a plain one
    if found is None:
        return ""
    options = found.get("options", {})
    where = f"{name}: {collection.name}"
    if found.get("type") == "timeseries":
        raise Unsupported(
            f"{where} is a time series, whose records have no unique key: ask it by storage.native"
        )
    locale = options.get("collation", {}).get("locale", "simple")
    if locale != "simple":
        raise Unsupported(
            f"{where} has a default collation ({locale}), by which its server compares and sorts "
            "text, and its keys, in another way than PyModels does. Copy the records to a "
            "collection that was made without, as by an aggregation that ends in $out"
        )
    if found.get("type") == "view":
        return "view"
    return "capped" if options.get("capped") else ""


def refuse_writes(name: str, collection: Any, shape: str) -> None:
    """Raise ``Unsupported`` for a write to what can only be read."""
    if shape == "view":
        raise Unsupported(
            f"{name}: {collection.name} is a view of the server, which can only be read: save to "
            "the collection that it is a view of"
        )
    if shape == "capped":
        raise Unsupported(
            f"{name}: {collection.name} is a capped collection, in which the server writes no "
            "batches and drops the oldest records: it can only be read here"
        )


def refuse_transactions(name: str, collection: Any, shape: str) -> None:
    """Raise ``Unsupported`` for a transaction that reads what has no older states."""
    if shape == "capped":
        raise Unsupported(
            f"{name}: {collection.name} is a capped collection, which MongoDB cannot read in a "
            "transaction: read it before"
        )
