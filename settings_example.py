"""Where your records live: copy this file as ``settings.py``, and keep the entries you use.

One line decides, at the end; nothing else in a program has to know::

    from pymodels import get_storage

    storage = get_storage("settings:DATABASE")
    everywhere_else = get_storage("settings:DATABASES.memory")

Settings that stand here commented out have the value shown unless you set them.
"""

DATABASES = {
    # In the memory of this process, gone when it ends: for tests and prototypes. Needs nothing.
    "memory": {
        "backend": "pymodels.ext.memory",
        # Records to begin with, by collection and key: {"person": {"ann": {"name": "Ann"}}}.
        # "data": None,
        # Refuse every write.
        # "read_only": False,
        # What messages call it.
        # "name": "memory",
    },
    # In one file, with transactions; several processes can use it. Needs: pip install
    # 'pymodels[lmdb]'.
    "lmdb": {
        "backend": "pymodels.ext.lmdb",
        # The file, relative to the current folder. It is created when missing, its folder is not.
        "path": "people.lmdb",
        # Refuse every write; the file has to exist.
        # "read_only": False,
        # How many collections and indexes the file can have, together.
        # "max_tables": 256,
        # How many readers, over all processes, can be at work at once.
        # "max_readers": 512,
        # What a save waits for: "full", "no-metasync" or "async".
        # "durability": "full",
        # The most bytes that the file can grow to; None is a tebibyte, or what the machine allows.
        # "map_size": None,
    },
    # On a MongoDB server, replica set or sharded cluster. Needs: pip install 'pymodels[mongodb]'.
    "mongodb": {
        "backend": "pymodels.ext.mongodb",
        # Made with its first record.
        "database": "people",
        # Where the servers are, "mongodb://host1,host2/?replicaSet=rs0"; or else host and port.
        # "uri": None,
        # "host": "localhost",
        # "port": 27017,
        # Who asks; neither is ever shown. "auth_source" is the database that knows the user.
        # "user": None,
        # "password": None,
        # "auth_source": None,
        # Encrypt the connection; a file of certificates says who may sign for the server.
        # "tls": None,
        # "tls_ca_file": None,
        # What the names of all collections begin with.
        # "collection_prefix": "",
        # "secondaryPreferred" and so on; None leaves it to the URI.
        # "read_preference": None,
        # "majority" and so on; None leaves it to the server.
        # "read_concern": None,
        # How many members acknowledge a write.
        # "write_concern": "majority",
        # The most connections that are open at once.
        # "pool_size": 100,
        # Seconds after which a server that cannot be reached is given up.
        # "timeout": 10,
        # Seconds after which a server that does not answer is given up; None waits.
        # "socket_timeout": 300,
        # False, for a single server: batches may stay half done.
        # "whole_batches": True,
        # Whatever else pymongo.MongoClient takes, by its names.
        # "options": None,
        # Refuse every write.
        # "read_only": False,
    },
    # In memory, and saved whole to one file after every change: for a few thousand records that
    # one program writes. Needs nothing.
    "pickled": {
        "backend": "pymodels.ext.pickled",
        # The file, relative to the current folder. It is created when missing, its folder is not.
        "path": "people.pickle",
        # Refuse every write; the file has to exist.
        # "read_only": False,
    },
    # In a shelf of the standard library, which other programs can read. Needs nothing.
    "shelve": {
        "backend": "pymodels.ext.shelve",
        # The file, as shelve.open takes it: some kinds of dbm add a suffix.
        "path": "people.shelf",
        # Which kind of dbm a new file is to be, such as "dbm.sqlite3"; None lets Python choose.
        # "kind": None,
        # The collection whose records stand under their bare keys, in a shelf of another program.
        # "collection": None,
        # What these keys are: "text", "int" or "uuid".
        # "keys": "text",
        # Refuse every write; the file has to exist.
        # "read_only": False,
    },
    # In a table file of Tokyo Cabinet, for one process at a time. Needs the C library: apt-get
    # install libtokyocabinet9.
    "tokyo_cabinet": {
        "backend": "pymodels.ext.tokyo_cabinet",
        # The file, relative to the current folder. It is created when missing, its folder is not.
        "path": "storage.tct",
        # "TABLE", or "HASH" or "BTREE" for plain bytes.
        # "kind": "TABLE",
        # Refuse every write; the file has to exist.
        # "read_only": False,
        # Have each batch on the disk before it is acknowledged.
        # "sync": False,
        # How a new file is laid out: "large", "deflate", "bzip", "tcbs".
        # "options": (),
        # How many buckets a new file has; 0 is the library's own choice, here and below.
        # "buckets": 0,
        # How many records are kept in memory.
        # "cache": 0,
        # How many bytes of the file are mapped into memory.
        # "mmap_size": 0,
        # How many seconds to wait for another process that has the file open.
        # "lock_timeout": 0,
        # Collections that other programs have written.
        # "adopt": (),
    },
    # The same file, served to many processes: ttserver -port 1978 storage.tct. Needs nothing here.
    "tokyo_tyrant": {
        "backend": "pymodels.ext.tokyo_tyrant",
        # Where the server is.
        "host": "localhost",
        "port": 1978,
        # The path of the server's Unix socket, instead of host and port.
        # "socket": None,
        # How many seconds an answer may take.
        # "timeout": 30.0,
        # How many connections there are at most.
        # "pool_size": 16,
        # Refuse every write.
        # "read_only": False,
        # Have each batch on the server's disk before it is acknowledged.
        # "sync": False,
        # How many seconds a batch may take before its client counts as dead.
        # "lock_seconds": 15.0,
        # Collections that other programs have written.
        # "adopt": (),
    },
}

# The one line to change for another store.
DATABASE = DATABASES["lmdb"]
