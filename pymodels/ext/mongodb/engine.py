"""What the server does by one command to all that a query finds: updating and deleting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pymongo import errors as driver

from pymodels.changes import Patch, StoredPath
from pymodels.expressions import Arithmetic, Constant, F, ListChange, Operation
from pymodels.ext.mongodb.codec import is_plain_list
from pymodels.ext.mongodb.documents import patch_update
from pymodels.ext.mongodb.paths import is_known
from pymodels.kinds import Array, Kind, Scalar, Union, array_in
from pymodels.planning import Plan
from pymodels.schema import FieldInfo, Schema

if TYPE_CHECKING:
    from pymodels.ext.mongodb.filters import Filter
    from pymodels.ext.mongodb.storage import Storage

_DUPLICATE: Final = 11000
_NOT_SO: Final = frozenset({2, 14})
"""Codes for a sum that leaves 64 bits, or of what is no number."""


class LeftToPython(Exception):
    """It shows only now that the server cannot do it as it should."""


def is_whole(plan: Plan) -> bool:
    """Tell whether the server alone decides which records are meant."""
    sliced = plan.skip or plan.offset or plan.most is not None or plan.limit is not None
    return plan.exact and not sliced


def is_about_one(plan: Plan) -> bool:
    """Tell whether the server finds one record at most, by its key, and nothing can go half way."""
    fragment: Filter | None = plan.native
    if fragment is None or fragment.wide or fragment.misfits:
        return False
    return any(not isinstance(part.get("_id", {}), dict) for part in fragment.narrow)


def strict_filter(plan: Plan) -> dict[str, Any]:
    fragment: Filter | None = plan.native
    return {} if fragment is None else fragment.strict


def unfit_among(plan: Plan, collection: Any, session: Any) -> bool:
    """Tell whether a record that *plan* asks about does not fit its model: Python refuses it."""
    unfit = None if plan.native is None else plan.native.unfit
    if unfit is None:
        return False
    return collection.find_one(unfit, {"_id": 1}, session=session) is not None


def refuse_misfits(plan: Plan, collection: Any, session: Any) -> None:
    """Leave it to Python to refuse a record that does not fit its model."""
    if unfit_among(plan, collection, session):
        raise LeftToPython


def update_for(
    storage: Storage,
    schema: Schema,
    values: Mapping[StoredPath, Any],
    operations: Mapping[StoredPath, Operation],
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the server's update, and the filter of records that it would change in another way.

    None, where no update says exactly what is asked for.
    """
    if storage.unique.computed(schema.collection):
        return None
    update = patch_update(Patch(schema, None, values)) if values else {}
    if update is None:
        return None
    unfit: list[dict[str, Any]] = []
    for path, expression in operations.items():
        info = schema.stored[path[0]]
        if isinstance(expression, ListChange):
            listed = _list_step(info, expression)
            if listed is None:
                return None
            operator, members, misfit = listed
            update.setdefault(operator, {})[path[0]] = members
            unfit.append(misfit)
            continue
        found = _step(schema, path[0], info.kind, expression)
        if found is None:
            return None
        operator, amount = found
        update.setdefault(operator, {})[path[0]] = amount
        unfit.append({path[0]: {"$not": {"$type": ["int", "long"]}}})
    return update, ({"$or": unfit} if unfit else {})


_MEMBERS: Final = {
    str: ["string"],
    int: ["int", "long"],
    float: ["double"],
    bool: ["bool"],
}


def _list_step(info: FieldInfo, change: ListChange) -> tuple[str, Any, dict[str, Any]] | None:
    """Return the operator, its operand, and the filter of records where it would mean less.

    None for sets, which are sorted, lists with constraints, and more steps than one.
    """
    kind, name = info.kind, info.stored
    limited = info.options.choices is not None or info.options.validators
    if len(change.steps) > 1 or limited or not is_known(name) or not is_plain_list(kind):
        return None
    array = array_in(kind)
    if not isinstance(array, Array) or array.shape is not list or array.length is not None:
        return None
    types = _MEMBERS[array.item.annotation]
    wrong_member = {name: {"$elemMatch": {"$not": {"$type": types}}}}
    misfit = {"$or": [{name: {"$not": {"$type": "array"}}}, wrong_member]}
    (step,) = change.steps
    members = [float(m) for m in step.members] if types == ["double"] else list(step.members)
    if step.name == "append":
        return "$push", {"$each": members}, misfit
    if step.name == "remove":
        return "$pull", {"$in": members}, misfit
    return "$addToSet", {"$each": members}, misfit


def _step(schema: Schema, name: str, kind: Kind, expression: Operation) -> tuple[str, int] | None:
    """Return what is added to an int field, or what it is multiplied by; None for all else."""
    if not _is_int(kind) or not is_known(name):
        return None
    mine = schema.stored[name].name
    match expression:
        case Arithmetic("+", F(path), Constant(value)) | Arithmetic("+", Constant(value), F(path)):
            operator = "$inc"
        case Arithmetic("-", F(path), Constant(value)):
            operator, value = "$inc", -value if type(value) is int else value
        case Arithmetic("*", F(path), Constant(value)) | Arithmetic("*", Constant(value), F(path)):
            operator = "$mul"
        case _:
            return None
    if path != mine or type(value) is not int or not -(2**63) <= value < 2**63:
        return None
    return operator, value


def _is_int(kind: Kind) -> bool:
    """Tell whether a place holds ints of any size, without further limits."""
    some = kind.some if isinstance(kind, Union) else (kind,)
    return len(some) == 1 and isinstance(some[0], Scalar) and some[0].annotation is int


def update_found(
    storage: Storage,
    plan: Plan,
    values: Mapping[StoredPath, Any],
    operations: Mapping[StoredPath, Operation],
) -> Any:
    """Return the work that updates all that *plan* finds, in a session; None for Python."""
    made = update_for(storage, plan.schema, values, operations) if is_whole(plan) else None
    if made is None:
        return None
    update, unfit = made

    def work(session: Any) -> int:
        collection = storage.collection(plan.schema)
        wanted = strict_filter(plan)
        refuse_misfits(plan, collection, session)
        # Only what is about one record is done again by the driver when a connection is lost.
        about_one = session is None and storage.whole_batches
        change = collection.update_one if about_one else collection.update_many
        if unfit and about_one:
            wanted = {"$and": [wanted, {"$nor": [unfit]}]}
        elif unfit:
            odd = {"$and": [wanted, unfit]} if wanted else unfit
            if collection.find_one(odd, {"_id": 1}, session=session) is not None:
                raise LeftToPython
        try:
            found = int(change(wanted, update, session=session).matched_count)
        except driver.WriteError as error:
            # A value may be free again once all is done, and Python says best what is no number.
            if error.code == _DUPLICATE or error.code in _NOT_SO:
                raise LeftToPython from error
            raise
        if not found and unfit and about_one:
            raise LeftToPython  # which sees whether there is none, or one that does not fit
        return found

    return work


def delete_found(storage: Storage, plan: Plan) -> Any:
    """Return the work that deletes all that *plan* finds, in a session; None for Python."""
    if not is_whole(plan):
        return None

    def work(session: Any) -> int:
        collection = storage.collection(plan.schema)
        refuse_misfits(plan, collection, session)
        about_one = session is None and storage.whole_batches
        delete = collection.delete_one if about_one else collection.delete_many
        return int(delete(strict_filter(plan), session=session).deleted_count)

    return work
