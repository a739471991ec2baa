"""What a query asks of a record: four kinds of immutable nodes, put together with ``& | ~``.

``And(())`` is true of every record and ``Or(())`` of none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, assert_never

import msgspec

from pymodels.errors import QueryError

if TYPE_CHECKING:
    from pymodels.schema import Place


class Node:
    """What the four nodes share: the operators, and no truth value."""

    __slots__ = ()

    def __and__(self, other: Condition) -> Condition:
        if type(other) not in NODES:
            _refuse(other)
        return both(self, other)  # type: ignore[arg-type]  # one of a closed union

    def __or__(self, other: Condition) -> Condition:
        if type(other) not in NODES:
            _refuse(other)
        if type(self) is not Or and type(other) is not Or:
            return Or((self, other))  # type: ignore[arg-type]  # one of a closed union
        return either(self, other)  # type: ignore[arg-type]  # one of a closed union

    if not TYPE_CHECKING:  # what is neither query nor condition stands on the left: an error

        def __rand__(self, other):
            _refuse(other)

        __ror__ = __rand__

    def __invert__(self) -> Condition:
        if type(self) is Lookup:
            return Not(self)
        return negated(self)  # type: ignore[arg-type]  # one of a closed union

    def __bool__(self) -> NoReturn:
        raise QueryError(
            "a condition has no truth value, so 'and', 'or', 'not', 'if' and chained comparisons "
            "cannot combine conditions: use & | ~ with parentheses, as in "
            "(Person.age > 30) & ~(Person.city == 'Rome')"
        )


class Lookup(Node, msgspec.Struct, frozen=True):
    """One question to one place of a record: ``Lookup(("age",), "gte", 18)``.

    ``parts`` is the path, ``name`` the lookup, ``place`` where the path leads in a given model,
    known once a query has bound the condition; ``owner`` the model whose attribute began it.
    """

    parts: tuple[str, ...]
    name: str
    operand: Any
    place: Place | None = None
    owner: type | None = None
    literal: bool = False

    def __repr__(self) -> str:
        path = "__".join(self.parts)
        try:
            operand = repr(self.operand)
        except ValueError:  # Python writes no int of more than some thousands of digits
            operand = "..."
        return f"{path}={operand}" if self.name == "equals" else f"{path}__{self.name}={operand}"


class And(Node, msgspec.Struct, frozen=True):
    """True where every part is."""

    parts: tuple[Condition, ...]

    def __repr__(self) -> str:
        return f"({' & '.join(map(repr, self.parts))})" if self.parts else "everything"


class Or(Node, msgspec.Struct, frozen=True):
    """True where at least one part is."""

    parts: tuple[Condition, ...]

    def __repr__(self) -> str:
        return f"({' | '.join(map(repr, self.parts))})" if self.parts else "nothing"


class Not(Node, msgspec.Struct, frozen=True):
    """True where its part is not: the exact complement."""

    part: Condition

    def __repr__(self) -> str:
        return f"~{self.part!r}"


Condition: TypeAlias = Lookup | And | Or | Not

EVERYTHING: Final = And(())
NOTHING: Final = Or(())

NODES: Final = frozenset({Lookup, And, Or, Not})
"""The types of conditions."""


def _refuse(value: Any) -> NoReturn:
    raise QueryError(
        f"& and | combine conditions, and {value!r} is none: a comparison beside & or | needs "
        "parentheses of its own"
    )


def both(left: Condition, right: Condition) -> Condition:
    """Return the condition that both hold, without nesting needlessly."""
    if left is EVERYTHING:
        return right
    if type(left) is not And and type(right) is not And:
        return And((left, right))
    lefts = left.parts if type(left) is And else (left,)
    parts = (*lefts, *right.parts) if type(right) is And else (*lefts, right)
    return parts[0] if len(parts) == 1 else And(parts)


def either(left: Condition, right: Condition) -> Condition:
    """Return the condition that at least one holds, without nesting needlessly."""
    lefts = left.parts if type(left) is Or else (left,)
    parts = (*lefts, *right.parts) if type(right) is Or else (*lefts, right)
    return parts[0] if len(parts) == 1 else Or(parts)


def negated(condition: Condition) -> Condition:
    """Return the complement of *condition*."""
    if condition in (EVERYTHING, NOTHING):
        return NOTHING if condition == EVERYTHING else EVERYTHING
    return condition.part if isinstance(condition, Not) else Not(condition)


def without(left: Condition, right: Condition) -> Condition:
    """Return the condition that *left* holds and *right* does not."""
    return both(left, negated(right))


def transform(condition: Condition, change: Callable[[Lookup], Condition]) -> Condition:
    """Return *condition* with every lookup in it replaced by what *change* makes of it."""
    match condition:
        case Lookup():
            return change(condition)
        case And(()) | Or(()):
            return condition
        case And(parts) | Or(parts):
            changed: tuple[Condition, ...] = ()
            for part in parts:
                one = change(part) if type(part) is Lookup else transform(part, change)
                changed += (one,)
            return And(changed) if type(condition) is And else Or(changed)
        case Not(part):
            return Not(change(part) if type(part) is Lookup else transform(part, change))
        case _:
            assert_never(condition)


def lookups_in(condition: Condition) -> Iterator[Lookup]:
    """Yield every lookup in *condition*."""
    match condition:
        case Lookup():
            yield condition
        case And(parts) | Or(parts):
            for part in parts:
                yield from lookups_in(part)
        case Not(part):
            yield from lookups_in(part)
        case _:
            assert_never(condition)


def with_operand(lookup: Lookup, operand: Any) -> Lookup:
    """Return *lookup* asking for another operand."""
    return msgspec.structs.replace(lookup, operand=operand)
