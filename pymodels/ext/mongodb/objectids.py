"""ObjectIds as primary keys: importing this module makes ``Key[ObjectId]`` a declaration."""

from __future__ import annotations

from bson.objectid import ObjectId

from pymodels.checks import exactly
from pymodels.keys import KEY_KINDS, KeyKind
from pymodels.values import add_scalar

FAMILY = "objectid"


def _bytes(key: ObjectId) -> bytes:
    return key.binary


add_scalar(ObjectId, FAMILY)
KEY_KINDS[ObjectId] = KeyKind(
    FAMILY, ObjectId, exactly(ObjectId, "an ObjectId"), _bytes, ObjectId, ObjectId
)

__all__ = ["FAMILY", "ObjectId"]
