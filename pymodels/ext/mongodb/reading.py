"""Reading what a plan finds: the cursor, what each record needs, counting and explaining."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pymongo.read_preferences import ReadPreference

from pymodels.errors import StorageClosed, StorageError
from pymodels.ext.mongodb import client as clients
from pymodels.ext.mongodb.documents import from_document, key_reader
from pymodels.ext.mongodb.filters import Filter
from pymodels.ext.mongodb.met import MetKeys
from pymodels.ext.mongodb.paths import is_known
from pymodels.ext.mongodb.values import EXTRA, restore
from pymodels.planning import Pair, Plan, matcher
from pymodels.schema import Schema

if TYPE_CHECKING:
    from pymodels.ext.mongodb.storage import Storage

_MANY: Final = 5_000
"""How many keys are asked for in one command."""

_BATCH: Final = 1_000
"""How many records are fetched at once: the server would send up to 16 MiB, and Python hold it."""

_FIRST: Final = 101
"""How many the server sends at first unless it is told otherwise."""


def collection_in(storage: Storage, schema: Schema, session: Any) -> Any:
    """Return the driver's collection; in a transaction it is the primary's, whatever is set."""
    collection = storage.collection(schema)
    if session is None or session.in_transaction:
        return collection
    return collection.with_options(read_preference=ReadPreference.PRIMARY)


def read(storage: Storage, schema: Schema, keys: Sequence[Any], session: Any) -> list[Any | None]:
    """Return the stored forms under *keys*, in their order, None for a key without a record."""
    found: dict[Any, Any] = {}
    wanted = list(dict.fromkeys(keys))
    collection = collection_in(storage, schema, session)
    for start in range(0, len(wanted), _MANY):
        some = {"_id": {"$in": wanted[start : start + _MANY]}}
        for document in collection.find(some, session=session):
            key, stored = from_document(document)
            found[key] = stored
    return [found.get(key) for key in keys]


def rows(storage: Storage, plan: Plan, session: Any) -> Iterator[Pair]:
    """Yield what *plan* finds, in a transaction of the server if there is a session."""
    if plan.most == 0:
        return
    pid = os.getpid()
    read_key = key_reader(plan.schema, storage.name)
    wanted = plan.schema.key.type
    met, is_sure = _met(storage, plan, session), _sure(storage, plan)
    last: Any = None
    with storage.named_errors():
        found = cursor(storage, plan, session)
        try:
            for document in found:
                if os.getpid() != pid:
                    raise StorageError(
                        f"{storage.name}: this iteration was begun by another process; begin one "
                        "here"
                    )
                if storage.closed:
                    raise StorageClosed(f"{storage.name} was closed while records were read")
                key = document.pop("_id")
                if EXTRA in document:
                    restore(document, document.pop(EXTRA))
                if type(key) is not wanted:
                    key = read_key(key)
                if met is None:
                    if key == last:
                        continue
                    last = key
                elif not met.is_new(key):
                    continue
                if is_sure is None or is_sure(key, document):
                    yield key, document
        finally:
            if os.getpid() == pid:
                found.close()
                if met is not None:
                    met.close()
            else:
                clients.keep((found, met))


def _met(storage: Storage, plan: Plan, session: Any) -> MetKeys | None:
    """Return where to note keys, if a record that changes meanwhile could be met twice.

    Not so in a session, where nothing changes meanwhile.
    """
    order = plan.native_order
    if session is not None or (plan.native is None if order is None else order[0][0] == "_id"):
        return None
    return MetKeys(plan.schema.key.encode, storage.name)


def _sure(storage: Storage, plan: Plan) -> Callable[[Any, Any], bool] | None:
    """Return the test of a record that may not fit its model, where nobody else will see it."""
    fragment: Filter | None = plan.native
    if fragment is None or not fragment.misfits or not plan.exact:
        return None
    types = [(one.name, one.types) for one in fragment.misfits]
    matches = matcher(storage.codec, plan.schema, plan.condition)

    def is_sure(key: Any, stored: Any) -> bool:
        for name, fitting in types:
            if type(stored.get(name)) not in fitting:
                return matches(key, stored)  # raises RecordInvalid, or else knows the answer
        return True

    return is_sure


def cursor(storage: Storage, plan: Plan, session: Any) -> Any:
    """Return the driver's cursor over what *plan* finds."""
    fragment: Filter | None = plan.native
    return collection_in(storage, plan.schema, session).find(
        {} if fragment is None else fragment.loose,
        projection(plan),
        sort=None if plan.native_order is None else list(plan.native_order),
        skip=plan.skip,
        limit=plan.most or 0,
        batch_size=_BATCH if plan.most is None or plan.most > _FIRST else 0,
        allow_disk_use=True if plan.native_order else None,
        session=session,
    )


def projection(plan: Plan) -> Mapping[str, Any] | None:
    """Return which fields are to be sent; None for all."""
    if plan.names is None:
        return None
    names = {name for name in plan.names if name}
    if plan.exact and plan.native is not None:
        names |= {one.name for one in plan.native.misfits}
    if not all(map(is_known, names)):
        return None
    if not names:
        return {"_id": 1}
    return {**dict.fromkeys(sorted(names), 1), f"{EXTRA}.us": 1}


def count(storage: Storage, plan: Plan) -> int | None:
    """Return the number of records that *plan* finds; None if one of them does not fit."""
    if plan.most == 0:
        return 0
    fragment: Filter | None = plan.native
    options: dict[str, Any] = {"skip": plan.skip} if plan.skip else {}
    if plan.most is not None:
        options["limit"] = plan.most
    collection = storage.collection(plan.schema)
    unfit = None if fragment is None else fragment.unfit
    if unfit is not None and collection.find_one(unfit, {"_id": 1}) is not None:
        return None
    return int(collection.count_documents({} if fragment is None else fragment.strict, **options))


def explain(storage: Storage, plan: Plan) -> Mapping[str, Any]:
    """Return what the server says of its way to answer *plan*."""
    said = cursor(storage, plan, None).explain()
    winning = said["queryPlanner"]["winningPlan"]
    stages = list(_stages(winning.get("queryPlan", winning)))
    ran = said.get("executionStats", {})
    return {
        "filter": {} if plan.native is None else plan.native.loose,
        "sort": plan.native_order,
        "winning plan": " < ".join(stage["stage"] for stage in stages),
        "index": next(filter(None, map(_index, stages)), None),
        "documents examined": ran.get("totalDocsExamined"),
        "keys examined": ran.get("totalKeysExamined"),
    }


def _index(stage: Mapping[str, Any]) -> str | None:
    return "_id_" if stage["stage"] == "IDHACK" else stage.get("indexName")


def _stages(stage: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield stage
    for inner in (stage.get("inputStage"), *stage.get("inputStages", ()), *stage.get("shards", ())):
        if inner is not None:
            yield from _stages(inner.get("winningPlan", inner))
