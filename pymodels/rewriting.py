"""Finding records and writing what is made of them, again and again while others are faster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from pymodels.changes import Change
from pymodels.errors import Conflict, RecordNotFound
from pymodels.planning import Pair, Plan, execute

if TYPE_CHECKING:
    from pymodels.storage import Storage

_ATTEMPTS: Final = 50
"""How often a change that others keep overtaking is tried before ``Conflict`` is raised."""


def rewrite(storage: Storage, plan: Plan, change: Callable[[Any, Any], Change | None]) -> int:
    """Do what ``Storage.rewrite`` does."""

    def gather(find: Callable[[Plan], Iterable[Pair]]) -> Sequence[Change]:
        return [made for pair in list(find(plan)) if (made := change(*pair)) is not None]

    return compose(storage, gather)


def compose(
    storage: Storage, gather: Callable[[Callable[[Plan], Iterable[Pair]]], Sequence[Change]]
) -> int:
    """Do what ``Storage.compose`` does, and return how many changes were written."""
    overtaken: Exception | None = None
    for _ in range(_ATTEMPTS):
        changes = gather(lambda plan: execute(storage, plan))
        try:
            storage.write(changes)
        except (Conflict, RecordNotFound) as error:
            overtaken = error
            continue
        return len(changes)
    raise Conflict(
        f"{storage.name}: records kept changing between being read and being written"
    ) from overtaken
