"""Records in a table file that Tokyo Tyrant serves to many clients: ``ttserver storage.tct``.

The protocol is spoken by PyModels itself. The same file can be opened directly, when no server
has it: ``pymodels.ext.tokyo_cabinet``.
"""

from __future__ import annotations

from pymodels.ext.tokyo_tyrant.storage import Query, Storage

__all__ = ["Query", "Storage"]
