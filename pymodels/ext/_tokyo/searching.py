"""Asking a table for keys: what is the same whether this process or a server has the file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pymodels.errors import StorageInvalid
from pymodels.ext._tokyo.columns import MISFITS
from pymodels.ext._tokyo.conditions import Cond, Conjunction, Search

Columns = dict[bytes, bytes]

EVERYTHING: Final = Search(((),))
MISFIT: Final = Search(((Cond(MISFITS, "STRBW", b"|"),),), frozenset({MISFITS}))

_MOST: Final = 10**9
"""How far the engine is let count: it adds two such numbers in 32 bits."""

_NEGATED: Final = "~"
_WITHOUT_INDEX: Final = "+"


class Step(NamedTuple):
    """One condition as it is given to the engine; ``sign`` stands before its name there."""

    column: bytes
    operation: str
    operand: bytes
    sign: str = ""

    @property
    def is_negated(self) -> bool:
        """Whether it is to be false."""
        return self.sign == _NEGATED

    @property
    def avoids_index(self) -> bool:
        """Whether the engine is to look at the column itself."""
        return self.sign == _WITHOUT_INDEX


@dataclass(frozen=True, slots=True)
class Request:
    """Which keys are wanted, each once: those that begin with *prefix*, of what *search* finds.

    They come in the order of their bytes, in none if *descending* is None; or, of one conjunction,
    in the engine's own order *by* a column: its name and what the engine calls the order.
    """

    prefix: bytes
    search: Search = EVERYTHING
    descending: bool | None = False
    skip: int = 0
    most: int | None = None
    by: tuple[bytes, str] | None = None

    @property
    def shown(self) -> bytes:
        """The part of the prefix that the engine reads: it stops at NUL."""
        return self.prefix.partition(b"\0")[0]

    @property
    def is_engines(self) -> bool:
        """Whether the engine alone can put in order and cut off what it finds."""
        return len(self.search.searches) == 1 and self.shown == self.prefix

    @property
    def order(self) -> tuple[bytes, str] | None:
        """The order that the engine is asked for."""
        if self.by is not None or self.descending is None:
            return self.by
        return b"", "STRDESC" if self.descending else "STRASC"

    def finished(self, found: list[bytes]) -> list[bytes]:
        """Return what the union of several searches found, in order and cut off."""
        if self.shown != self.prefix:
            found = [key for key in found if key.startswith(self.prefix)]
        found = sorted(set(found), reverse=bool(self.descending))[self.skip :]
        return found if self.most is None else found[: self.most]


class Table:
    """A table file that is open."""

    name: str

    @abstractmethod
    def get_many(self, keys: Sequence[bytes]) -> Sequence[Columns | None]:
        """Return the columns of several records, None where there is none."""

    @abstractmethod
    def ask(
        self,
        queries: Sequence[Sequence[Step]],
        order: tuple[bytes, str] | None = None,
        skip: int = 0,
        most: int | None = None,
    ) -> list[bytes]:
        """Return the keys that the engine finds; of several queries the union, in no order."""

    @abstractmethod
    def hint(self, query: Sequence[Step], order: tuple[bytes, str] | None, most: int | None) -> str:
        """Return what the engine says of how it goes about a query."""

    def has_index(self, column: bytes, watched: frozenset[bytes]) -> bool:
        """Tell whether the engine will use an index; those of *watched* have one."""
        return column in watched

    def get(self, key: bytes) -> Columns | None:
        """Return the columns of a record, or None."""
        return self.get_many([key])[0]

    def search(self, request: Request) -> list[bytes]:
        """Return the keys that are asked for."""
        queries = [self._steps(request, conds) for conds in request.search.searches]
        if request.is_engines:
            skip, most = request.skip, request.most
            if skip > _MOST:
                return []
            return self.ask(queries, request.order, skip, None if (most or 0) > _MOST else most)
        return request.finished(self.ask(queries))

    def explain(self, request: Request) -> str:
        """Return what the engine says of how it goes about what is asked for."""
        return "\n".join(
            self.hint(self._steps(request, conds), request.by, request.most if request.by else None)
            for conds in request.search.searches
        )

    def _steps(self, request: Request, conds: Conjunction) -> list[Step]:
        watched = request.search.watched
        steps = []
        by_index = request.by is not None and self.has_index(request.by[0], watched)
        for cond in conds:
            sign = ""
            if cond.negated:
                sign = _NEGATED
            elif cond.avoids_index(watched):
                sign = _WITHOUT_INDEX
            elif self.has_index(cond.column, watched):
                by_index = True
            steps.append(Step(cond.column, cond.operation, cond.operand, sign))
        if request.shown:
            # Two indexes at once would make the engine list the whole collection first.
            sign = _WITHOUT_INDEX if by_index else ""
            steps.append(Step(b"", "STRBW", request.shown, sign))
        return steps

    def refuse_empty(self, column: bytes) -> None:
        """Raise ``StorageInvalid`` for what the library would end its process at."""
        found = self.ask([[Step(column, "STREQ", b"", _WITHOUT_INDEX)]], most=1) if column else []
        if found:
            raise StorageInvalid(
                f"{self.name}: the record {found[0]!r}, which another program wrote, has an empty "
                f"column {column.decode('utf-8', 'replace')!r}, and Tokyo Cabinet cannot index "
                "that: save it through its model, or remove the column there"
            )
