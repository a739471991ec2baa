"""Where the demonstration keeps its records."""

from pathlib import Path

LMDB = {
    "backend": "pymodels.ext.lmdb",
    "path": Path(__file__).with_name("world.lmdb"),
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

# The one line that decides where the world is kept. Nothing else in this example knows.
STORAGE = LMDB

# The demonstration then asks the same questions here, and compares the answers and the time.
COMPARED_WITH = MEMORY
