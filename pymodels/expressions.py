"""Values computed from the record itself: ``update(visits=F("visits") + 1)``.

All of them are plain data, which a backend may translate for its engine.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, TypeVar

from pymodels.errors import OperandInvalid, ValidationError

T = TypeVar("T")

_SIGNS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


_NO_FACTORS: Final = (str, bytes, list, tuple)
"""What Python would repeat, until its memory is full."""


class Node:
    """What expressions share: arithmetic that makes larger ones."""

    __slots__ = ()

    def __add__(self, other: Any) -> Arithmetic:
        return Arithmetic("+", _expression(self), _expression(other))

    def __radd__(self, other: Any) -> Arithmetic:
        return Arithmetic("+", _expression(other), _expression(self))

    def __sub__(self, other: Any) -> Arithmetic:
        return Arithmetic("-", _expression(self), _expression(other))

    def __rsub__(self, other: Any) -> Arithmetic:
        return Arithmetic("-", _expression(other), _expression(self))

    def __mul__(self, other: Any) -> Arithmetic:
        return Arithmetic("*", _expression(self), _expression(other))

    def __rmul__(self, other: Any) -> Arithmetic:
        return Arithmetic("*", _expression(other), _expression(self))

    def __truediv__(self, other: Any) -> Arithmetic:
        return Arithmetic("/", _expression(self), _expression(other))

    def __rtruediv__(self, other: Any) -> Arithmetic:
        return Arithmetic("/", _expression(other), _expression(self))


@dataclass(frozen=True, slots=True, repr=False)
class F(Node):
    """The value that a field of the record has at the moment of the update.

    >>> (F("price") * F("count") + 1)
    ((F('price') * F('count')) + 1)

    Of a field that holds a list or a set, members are added and taken away:

    >>> F("tags").append("new").remove("old", "older")
    F('tags').append('new').remove('old', 'older')
    """

    path: str

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path:
            raise OperandInvalid(f'F takes the name of a field, as in F("age"), not {self.path!r}')

    def __repr__(self) -> str:
        return f"F({self.path!r})"

    def append(self, *members: Any) -> ListChange:
        """Return the list with *members* at its end."""
        return ListChange((_step("append", members),), self)

    def remove(self, *members: Any) -> ListChange:
        """Return the list, or set, without any member that is the same as one of *members*."""
        return ListChange((_step("remove", members),), self)

    def add_to_set(self, *members: Any) -> ListChange:
        """Return the list, or set, with those of *members* added that it does not have yet."""
        return ListChange((_step("add_to_set", members),), self)


@dataclass(frozen=True, slots=True, repr=False)
class Constant(Node):
    """A number, text, or duration beside an ``F``."""

    value: Any

    def __repr__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True, repr=False)
class Arithmetic(Node):
    """Two expressions and the sign between them."""

    sign: str
    left: Expression
    right: Expression

    def __repr__(self) -> str:
        return f"({self.left!r} {self.sign} {self.right!r})"


Expression: TypeAlias = F | Constant | Arithmetic


StepName: TypeAlias = Literal["append", "remove", "add_to_set"]


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a list: the name of it, and the members that it is about."""

    name: StepName
    members: tuple[Any, ...]


@dataclass(frozen=True, slots=True, repr=False)
class ListChange(Node):
    """What becomes of the list or set in one field, step by step: ``F("tags").append("new")``.

    ``steps`` are carried out in their order, the first of them on what ``source`` names.
    """

    steps: tuple[Step, ...]
    source: F

    def append(self, *members: Any) -> ListChange:
        """Return the list with *members* at its end."""
        return ListChange((*self.steps, _step("append", members)), self.source)

    def remove(self, *members: Any) -> ListChange:
        """Return the list, or set, without any member that is the same as one of *members*."""
        return ListChange((*self.steps, _step("remove", members)), self.source)

    def add_to_set(self, *members: Any) -> ListChange:
        """Return the list, or set, with those of *members* added that it does not have yet."""
        return ListChange((*self.steps, _step("add_to_set", members)), self.source)

    def __repr__(self) -> str:
        steps = (f".{step.name}({', '.join(map(repr, step.members))})" for step in self.steps)
        return f"{self.source!r}{''.join(steps)}"


def _step(name: StepName, members: tuple[Any, ...]) -> Step:
    if not members:
        raise OperandInvalid(f'{name} takes the members, as in F("tags").{name}("new")')
    return Step(name, members)


Operation: TypeAlias = Expression | ListChange
"""What a patch may compute a field from."""


def changed_members(
    change: ListChange,
    members: Sequence[T],
    given: Callable[[Any], T],
    same_as: Callable[[T], Any],
) -> list[T]:
    """Carry out *change* on *members*, in whatever form a codec has them.

    *given* brings a member that a step names into that form, *same_as* is equal for two members
    exactly when they are the same.

    >>> changed_members(F("x").append(2, 2).remove(1).add_to_set(2, 3), [1], int, int)
    [2, 2, 3]
    """
    found = list(members)
    for step in change.steps:
        named = [given(member) for member in step.members]
        if step.name == "append":
            found += named
        elif step.name == "remove":
            gone = set(map(same_as, named))
            found = [member for member in found if same_as(member) not in gone]
        else:
            there = set(map(same_as, found))
            for member in named:
                identity = same_as(member)
                if identity not in there:
                    there.add(identity)
                    found.append(member)
    return found


def _expression(value: Any) -> Expression:
    if isinstance(value, F | Constant | Arithmetic):
        return value
    if isinstance(value, ListChange):
        raise OperandInvalid(
            f"{value!r} is a list, and F computes with numbers, text and durations"
        )
    if value is None or isinstance(value, bool | list | dict | set | tuple):
        raise OperandInvalid(f"F computes with numbers, text and durations, not with {value!r}")
    return Constant(value)


def fields_in(expression: Operation) -> Iterator[str]:
    """Yield the path of every field that *expression* reads."""
    match expression:
        case ListChange(_, F(path)):
            yield path
        case F(path):
            yield path
        case Arithmetic(_, left, right):
            yield from fields_in(left)
            yield from fields_in(right)


def evaluate(expression: Expression, read: Callable[[str], Any]) -> Any:
    """Compute *expression*; *read* gives the value of a field by its path.

    Raises ``ValidationError`` where the record's values do not allow it, as None + 1 does not.
    """
    match expression:
        case F(path):
            return read(path)
        case Constant(value):
            return value
        case Arithmetic(sign, left, right):
            first, second = evaluate(left, read), evaluate(right, read)
            if isinstance(first, Decimal) and type(second) is float:
                second = Decimal(second)
            elif isinstance(second, Decimal) and type(first) is float:
                first = Decimal(first)
            try:
                if isinstance(first, bool) or isinstance(second, bool):
                    raise TypeError("a bool is no number")
                if sign == "*" and (type(first) in _NO_FACTORS or type(second) in _NO_FACTORS):
                    raise TypeError("text and lists are not multiplied")
                return _SIGNS[sign](first, second)
            except (TypeError, ArithmeticError) as error:
                raise ValidationError(
                    f"cannot compute {expression!r} with {first!r} and {second!r}: {error}"
                ) from error
