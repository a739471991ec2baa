"""MongoDB's storage over mongomock: for programs that test themselves without a server.

It is no oracle for anything, and lacks much of what the backend stands on: transactions, change
streams, ``bulk_write`` for current pymongo, expressions, conditions on several types, partial
indexes. So Python answers every query here, and nothing keeps unique fields or a batch whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import bson
import mongomock
import mongomock.collection
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne

from pymodels.ext.mongodb import Storage as MongoStorage
from pymodels.ext.mongodb.client import OPTIONS
from pymodels.ext.mongodb.documents import kind_of_key
from pymodels.keys import KEY_KINDS, KeyKind
from pymodels.query import Query


class _Encoded(bson.BSON):
    """What mongomock tries each document with: as the client has it that the backend makes.

    Mongomock asks for the driver's default, which refuses every UUID, and takes no other setting.
    """

    @classmethod
    def encode(
        cls, document: Any, check_keys: bool = False, codec_options: Any = OPTIONS
    ) -> bson.BSON:
        return super().encode(document, check_keys, codec_options)


mongomock.collection.BSON = _Encoded

FOLDERS: dict[Path, Any] = {}
"""What stands for the files of a server: it is forgotten with the process."""


class Storage(MongoStorage):
    """Records in mongomock."""

    query_class = Query
    capabilities: ClassVar[frozenset[str]] = frozenset({"persistent", "nul"})

    def __init__(self, path: Path) -> None:
        super().__init__(database="mocked", whole_batches=False)
        self._mocked = FOLDERS.setdefault(path, mongomock.MongoClient())

    @property
    def native(self) -> Any:
        self.check_open()
        return self._mocked["mocked"]

    def collection(self, schema: Any) -> Any:
        found = self.native[self._checked_name(schema.collection)]
        found.bulk_write = lambda requests, **_: _one_by_one(found, requests)
        return found

    def hello(self) -> Mapping[str, Any]:
        return {}

    @property
    def revision(self) -> Any:
        database = self.native
        return [(name, list(database[name].find())) for name in database.list_collection_names()]

    def collections(self) -> Mapping[str, KeyKind]:
        database = self.native
        found = {}
        for name in database.list_collection_names():
            one = database[name].find_one()
            kind = None if one is None else kind_of_key(one["_id"], KEY_KINDS)
            if kind is not None:
                found[name] = kind
        return found


def _one_by_one(collection: Any, requests: Sequence[Any]) -> None:
    for one in requests:
        match one:
            case InsertOne():
                collection.insert_one(one._doc)
            case DeleteOne():
                collection.delete_one(one._filter)
            case UpdateOne():
                collection.update_one(one._filter, one._doc)
            case ReplaceOne():
                collection.replace_one(one._filter, one._doc)
