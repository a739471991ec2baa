"""Values computed from the record itself: ``update(visits=F("visits") + 1)``."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

from pymodels.errors import OperandInvalid, ValidationError

_SIGNS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


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
    """

    path: str

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path:
            raise OperandInvalid(f'F takes the name of a field, as in F("age"), not {self.path!r}')

    def __repr__(self) -> str:
        return f"F({self.path!r})"


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


def _expression(value: Any) -> Expression:
    if isinstance(value, F | Constant | Arithmetic):
        return value
    if value is None or isinstance(value, bool | list | dict | set | tuple):
        raise OperandInvalid(f"F computes with numbers, text and durations, not with {value!r}")
    return Constant(value)


def fields_in(expression: Expression) -> Iterator[str]:
    """Yield the path of every field that *expression* reads."""
    match expression:
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
                return _SIGNS[sign](first, second)
            except (TypeError, ArithmeticError) as error:
                raise ValidationError(
                    f"cannot compute {expression!r} with {first!r} and {second!r}: {error}"
                ) from error
