"""What a query did: what the engine ran, what Python finished, how many records that took."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pymodels import conditions
from pymodels.planning import Pair, Plan, finish

if TYPE_CHECKING:
    from pymodels.storage import Storage

_SAID_ABOVE: Final = frozenset({"native", "order"})


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one query was answered; ``print`` shows it as a table.

    ``engine`` is what the engine ran, in its own terms, None for every record; ``finished`` the
    condition that Python decided after it, None for nothing; ``sorted_by`` who sorted. ``expected``
    is how many records the engine was thought to find, None where nobody can say, and ``read`` how
    many it found; ``suggestion`` says which index would have helped.
    """

    query: str
    storage: str
    engine: Any
    details: Mapping[str, Any]
    finished: str | None
    sorted_by: str
    scan: bool
    read: int
    returned: int
    milliseconds: float
    expected: int | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        lines = {
            "query": self.query,
            "storage": self.storage,
            "engine": "reads every record" if self.engine is None else self.engine,
            "Python": self.finished or "nothing left to decide",
            "sorted by": self.sorted_by,
            "read": f"{self.read} for {self.returned} returned",
            "time": f"{self.milliseconds:.2f} ms",
        }
        for name, value in self.details.items():
            if name not in _SAID_ABOVE:
                lines[f"{name} says" if name in lines else name] = value
        if self.expected is not None:
            lines["expected"] = f"{self.expected} to be read"
        if self.suggestion is not None:
            lines["suggestion"] = self.suggestion
        width = max(map(len, lines))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in lines.items())


def explain(storage: Storage, plan: Plan, query: str) -> Explanation:
    """Run *plan* and say how it was answered."""
    read = 0

    def counted(pairs: Iterable[Pair]) -> Iterator[Pair]:
        nonlocal read
        for pair in pairs:
            read += 1
            yield pair

    expected = storage.expected(plan)
    begin = time.perf_counter()
    returned = sum(1 for _ in finish(storage, plan, counted(storage.scan(plan))))
    elapsed = time.perf_counter() - begin
    if plan.unordered:
        sorted_by = "nobody"
    else:
        sorted_by = "Python" if plan.native_order is None else f"engine ({plan.native_order})"
    details = storage.explain(plan)
    return Explanation(
        query=query,
        storage=storage.name,
        engine=plan.native,
        details=details,
        finished=None if plan.rest == conditions.EVERYTHING else repr(plan.rest),
        sorted_by=sorted_by,
        scan=plan.reads_everything,
        read=read,
        returned=returned,
        milliseconds=elapsed * 1000,
        expected=expected,
        suggestion=details.get("suggestion"),
    )
