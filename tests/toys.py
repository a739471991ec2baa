"""Backends whose engine is a Python function: for tests of planning, and for planted faults."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from pymodels.conditions import Lookup
from pymodels.evaluation import compile_condition
from pymodels.ext import memory
from pymodels.fetching import Chunk
from pymodels.finishing import sliced
from pymodels.lookups import LOOKUPS
from pymodels.planning import Native, Plan, Superset, Term
from pymodels.query import Query
from pymodels.schema import Place, Schema
from pymodels.storage import Storage
from pymodels.tables import View

Decides = Callable[[Any, Any], bool]


@dataclass(frozen=True)
class Fragment:
    """What a toy engine runs: given the storage and schema, a function of key and stored form."""

    text: str
    prepare: Callable[[Storage, Schema], Decides]

    def __repr__(self) -> str:
        return self.text


def of_lookup(name: str, place: Place, operand: Any) -> Fragment:
    """Return the fragment that decides a lookup as the reference evaluator does."""
    lookup = Lookup((place.path,), name, operand, place)

    def prepare(storage: Storage, schema: Schema) -> Decides:
        compiled = compile_condition(lookup)
        probe = storage.codec.probe(schema, compiled.names)
        return lambda key, stored: compiled.test(probe(stored), key)

    return Fragment(repr(lookup), prepare)


class Engine(Native[Fragment]):
    """A native language that can say everything, of fragments that are functions."""

    def all_of(self, parts: Sequence[Fragment]) -> Any:
        return self.joined(parts, all, " and ")

    def any_of(self, parts: Sequence[Fragment]) -> Any:
        return self.joined(parts, any, " or ")

    def negate(self, part: Fragment) -> Any:
        def prepare(storage: Storage, schema: Schema) -> Decides:
            test = part.prepare(storage, schema)
            return lambda key, stored: not test(key, stored)

        return Fragment(f"not {part}", prepare)

    def joined(self, parts: Sequence[Fragment], how: Any, word: str) -> Fragment:
        def prepare(storage: Storage, schema: Schema) -> Decides:
            tests = [part.prepare(storage, schema) for part in parts]
            return lambda key, stored: how(test(key, stored) for test in tests)

        return Fragment(f"({word.join(map(str, parts))})", prepare)

    def order_by(self, terms: tuple[Term, ...], descending: bool) -> Any:
        if terms:
            return NotImplemented
        return "descending keys" if descending else "ascending keys"


class ToyStorage(memory.Storage):
    """Records in memory, of which an engine of functions finds those that a plan asks for."""

    def _chunks_in(self, view: View, plan: Plan) -> Iterator[Chunk]:
        chunks = super()._chunks_in(view, replace(plan, native=None, skip=0, most=None))
        if plan.native is not None:
            test, decode = plan.native.prepare(self, plan.schema), plan.schema.key.decode
            chunks = ([one for one in chunk if test(decode(one[0]), one[1])] for chunk in chunks)
        return sliced(chunks, plan.skip, plan.most)


def storage_with(native: Native[Any]) -> type[ToyStorage]:
    """Return a backend whose queries are answered by *native*."""

    class ToyQuery(Query[Any]):
        pass

    class Toy(ToyStorage):
        query_class = ToyQuery

    ToyQuery.native = native
    return Toy


class Whimsical(Engine):
    """Answers each lookup exactly, too broadly or not at all, and joins some fragments: by chance.

    The same question gets the same treatment each time.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.treated = {"exact": 0, "superset": 0, "none": 0}
        self.lookups: Mapping[str, Any] = {name: self._answer(name) for name in LOOKUPS}

    def _chance(self, sides: int, *about: object) -> int:
        return zlib.crc32(repr((self.seed, about)).encode("utf-8", "replace")) % sides

    def _answer(self, name: str) -> Callable[[Place, Any], Any]:
        def answer(place: Place, operand: Any) -> Any:
            treatment = ("exact", "exact", "superset", "none")[
                self._chance(4, name, place.path, operand)
            ]
            self.treated[treatment] += 1
            exact = of_lookup(name, place, operand)
            if treatment == "none":
                return NotImplemented
            return exact if treatment == "exact" else Superset(self._broader(exact))

        return answer

    def _broader(self, exact: Fragment) -> Fragment:
        def prepare(storage: Storage, schema: Schema) -> Decides:
            test = exact.prepare(storage, schema)
            return lambda key, stored: test(key, stored) or self._chance(3, exact.text, key) == 0

        return Fragment(f"{exact} and more", prepare)

    def all_of(self, parts: Sequence[Fragment]) -> Any:
        return NotImplemented if self._chance(5, "all", parts) == 0 else super().all_of(parts)

    def any_of(self, parts: Sequence[Fragment]) -> Any:
        return NotImplemented if self._chance(5, "any", parts) == 0 else super().any_of(parts)

    def negate(self, part: Fragment) -> Any:
        return NotImplemented if self._chance(5, "not", part) == 0 else super().negate(part)

    def order_by(self, terms: tuple[Term, ...], descending: bool) -> Any:
        return NotImplemented if self.seed % 2 else super().order_by(terms, descending)
