"""Where the demonstration keeps its records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent

LMDB = {
    "backend": "pymodels.ext.lmdb",
    "path": _HERE / "world.lmdb",
}

MEMORY = {
    "backend": "pymodels.ext.memory",
}

# Needs pip install 'pymodels[mongodb]', and a server: mongod --replSet rs0, then rs.initiate().
MONGODB = {
    "backend": "pymodels.ext.mongodb",
    "uri": "mongodb://localhost/?replicaSet=rs0",
    "database": "geography",
}

PICKLED = {
    "backend": "pymodels.ext.pickled",
    "path": _HERE / "world.pickle",
}

SHELVE = {
    "backend": "pymodels.ext.shelve",
    "path": _HERE / "world.shelf",
    "kind": "dbm.sqlite3",
}

# Needs the C library of Tokyo Cabinet: apt-get install libtokyocabinet9.
TOKYO_CABINET = {
    "backend": "pymodels.ext.tokyo_cabinet",
    "path": _HERE / "world.tct",
}

# Needs a server of the same file: ttserver -port 1978 world.tct.
TOKYO_TYRANT = {
    "backend": "pymodels.ext.tokyo_tyrant",
    "host": "localhost",
}

# The one line that decides where the world is kept. Nothing else in this example knows.
STORAGE = LMDB

# The demonstration then asks the same questions here, and compares the answers and the times.
COMPARED_WITH: Sequence[Mapping[str, Any]] = [MEMORY, PICKLED, SHELVE]
