"""Records in a file of Tokyo Cabinet, opened by this process: a table, a hash or a B+ tree.

The driver is our own binding of the C library, ``pymodels.ext.tokyo_cabinet.binding``, with the
names of tokyo-python. The same table file can be served by Tokyo Tyrant:
``pymodels.ext.tokyo_tyrant``.
"""

from __future__ import annotations

from pymodels.ext.tokyo_cabinet.storage import Query, Storage

__all__ = ["Query", "Storage"]
