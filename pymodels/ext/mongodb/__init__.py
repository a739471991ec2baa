"""Records in MongoDB: a collection for each of the model's, documents with native BSON types.

The server runs queries, sorts and pages wherever its answer is the written one. Batches and
transactions are transactions of its own, which take a replica set; one member is enough.
"""

from pymodels.ext.mongodb.indexes import IndexReport
from pymodels.ext.mongodb.objectids import ObjectId
from pymodels.ext.mongodb.storage import Query, Storage

__all__ = ["IndexReport", "ObjectId", "Query", "Storage"]
