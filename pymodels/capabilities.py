"""What a backend can declare that it does, and what each declaration promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

Capability: TypeAlias = str

CAPABILITIES: Final[Mapping[Capability, str]] = {
    "transactions": "several batches become one, or none",
    "durable": "what was acknowledged survives a kill of the process",
    "persistent": "what was written is there when the storage is opened again",
    "processes": "several processes may use it at once",
    "snapshot": "an iteration sees the records as they were when it began",
    "unique": "unique fields are enforced, whoever writes",
    "nul": "text may hold the NUL character",
    "watch": "changes are told as they are made, by whomever",
}
"""What a backend can declare, and what each declaration promises."""
