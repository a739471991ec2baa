"""Which transactions are open here: reading and writing go through the innermost of them."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pymodels.transactions import Transaction

ACTIVE: Final[ContextVar[tuple[Transaction, ...]]] = ContextVar("pymodels_transactions", default=())
"""The open transactions of this thread or task, innermost last."""
