"""Where a condition looks: ``Person.age``, or ``Path("address", "city")`` for any record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pymodels.checks import is_unicode
from pymodels.conditions import Condition, Lookup, Not
from pymodels.errors import QueryError, UnknownField
from pymodels.lookups import LOOKUPS, nearest

T = TypeVar("T")


class Path(Generic[T]):
    """A place in a record, whose operators and methods make conditions.

    ``Path("address", "a.b__c")`` takes its parts literally and asks about any record, declared or
    not; a number is an index on a list and a key on a mapping. ``Person.age`` is the path of a
    declared field, ``Person.address["city"]`` leads on from there.

    >>> (Path("age") > 30) & ~Path("name").startswith("J")
    (age__gt=30 & ~name__startswith='J')
    """

    __slots__ = ("_literal", "_owner", "_parts")

    def __init__(self: Path[Any], *parts: str | int) -> None:
        if not parts or not all(isinstance(part, str | int) and part != "" for part in parts):
            raise QueryError(f"a path has one or more names or indices, not {parts!r}")
        for part in parts:
            if isinstance(part, int) and (part < 0 or isinstance(part, bool)):
                raise QueryError(f"an index in a path counts from 0; {part!r} is no index")
        self._parts = tuple(map(str, parts))
        if not all(map(is_unicode, self._parts)):
            raise QueryError(f"no name in a record has a lone surrogate, as one in {parts!r} has")
        self._owner: type | None = None
        self._literal = True

    @classmethod
    def of(cls, owner: type, *parts: str) -> Path[Any]:
        """Return the path of a field that *owner* declares."""
        path: Path[Any] = cls(*parts)
        path._owner = owner
        path._literal = False
        return path

    @property
    def parts(self) -> tuple[str, ...]:
        """The names on the way, outermost first."""
        return self._parts

    @property
    def owner(self) -> type | None:
        """The model whose attribute this path is, if it is one."""
        return self._owner

    @property
    def literal(self) -> bool:
        """Whether the first part need not be a declared field."""
        return self._literal

    def __getitem__(self, part: str | int) -> Path[Any]:
        inner: Path[Any] = Path(*self._parts, part)
        inner._owner, inner._literal = self._owner, self._literal
        return inner

    def __iter__(self) -> Any:
        raise TypeError("a path is not iterable; Person.tags[0] is the path to a member")

    if not TYPE_CHECKING:  # a type checker says it without these; at run time they say what to do

        def __contains__(self, member):
            raise QueryError(f"'in' cannot make a condition: write {self!r}.contains({member!r})")

        def _misplaced(self, other=None):
            raise QueryError(
                f"& | ~ combine conditions, and {self!r} is a path: a comparison beside them needs "
                f"parentheses of its own, as in ({self!r} > 3) & ({self!r} < 5)"
            )

        __and__ = __rand__ = __or__ = __ror__ = __invert__ = _misplaced

        def _computed(self, other=None):
            raise QueryError(
                f"a path does not compute; update() does with F, as in F({self._parts[0]!r}) + 1"
            )

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _computed
        __truediv__ = __rtruediv__ = _computed

        def __neg__(self):
            raise QueryError(
                f'a path has no negative; a descending order is order_by("-{self._parts[0]}")'
            )

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            methods = [one for one in dir(Path) if not one.startswith("_")]
            raise UnknownField(
                f"{self!r} has no method {name!r}{nearest(name, methods)}; a member of what is "
                f"stored there is {self!r}[{name!r}]"
            )

    def __repr__(self) -> str:
        if self._owner is not None:
            inner = "".join(f"[{part!r}]" for part in self._parts[1:])
            return f"{self._owner.__name__}.{self._parts[0]}{inner}"
        return f"Path({', '.join(map(repr, self._parts))})"

    def __hash__(self) -> int:
        return hash(self._parts)

    def __bool__(self) -> bool:
        raise QueryError(f"{self!r} is a path and has no truth value: compare it with something")

    def lookup(self, name: str, operand: Any) -> Condition:
        """Return the condition of the lookup *name*, for lookups that have no method here.

        >>> Path("name").lookup("istartswith", "j")
        name__istartswith='j'
        """
        if name not in LOOKUPS:
            raise UnknownField(f"no lookup is called {name!r}{nearest(name, LOOKUPS)}")
        return Lookup(self._parts, name, operand, None, self._owner, self._literal)

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]  # a condition, not a bool
        return Lookup(self._parts, "equals", other, None, self._owner, self._literal)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]  # a condition, not a bool
        return Not(Lookup(self._parts, "equals", other, None, self._owner, self._literal))

    def __gt__(self, other: T) -> Condition:
        return Lookup(self._parts, "gt", other, None, self._owner, self._literal)

    def __ge__(self, other: T) -> Condition:
        return Lookup(self._parts, "gte", other, None, self._owner, self._literal)

    def __lt__(self, other: T) -> Condition:
        return Lookup(self._parts, "lt", other, None, self._owner, self._literal)

    def __le__(self, other: T) -> Condition:
        return Lookup(self._parts, "lte", other, None, self._owner, self._literal)

    def between(self, low: T, high: T) -> Condition:
        """True from *low* to *high*, both included."""
        return self.lookup("between", (low, high))

    def in_(self, operands: Iterable[Any]) -> Condition:
        """True of each of *operands*, which may be a query: its keys, for a reference."""
        return self.lookup("in", operands)

    def exists(self, present: bool = True) -> Condition:
        """True where the record has this place at all, null included."""
        return self.lookup("exists", present)

    def contains(self, operand: Any) -> Condition:
        """True of a list that has *operand* among its members, and of text that has it inside."""
        return self.lookup("contains", operand)

    def contains_all(self, operands: Iterable[Any]) -> Condition:
        """True where every one of *operands* is contained."""
        return self.lookup("contains_all", operands)

    def contains_any(self, operands: Iterable[Any]) -> Condition:
        """True where at least one of *operands* is contained."""
        return self.lookup("contains_any", operands)

    def icontains(self, operand: str) -> Condition:
        """As ``contains`` on text, whatever the case."""
        return self.lookup("icontains", operand)

    def startswith(self, operand: str) -> Condition:
        """True of text that begins with *operand*."""
        return self.lookup("startswith", operand)

    def istartswith(self, operand: str) -> Condition:
        """As ``startswith``, whatever the case."""
        return self.lookup("istartswith", operand)

    def endswith(self, operand: str) -> Condition:
        """True of text that ends with *operand*."""
        return self.lookup("endswith", operand)

    def iendswith(self, operand: str) -> Condition:
        """As ``endswith``, whatever the case."""
        return self.lookup("iendswith", operand)

    def iequals(self, operand: str) -> Condition:
        """True of text that equals *operand*, whatever the case."""
        return self.lookup("iequals", operand)

    def matches(self, pattern: str) -> Condition:
        """True of text in which Python's ``re.search`` finds *pattern*."""
        return self.lookup("matches", pattern)

    def imatches(self, pattern: str) -> Condition:
        """As ``matches``, with ``re.IGNORECASE``."""
        return self.lookup("imatches", pattern)

    def size(self, length: int) -> Condition:
        """True of a list or mapping with *length* members."""
        return self.lookup("size", length)

    def year(self, number: int) -> Condition:
        """True of a moment in that year, in UTC."""
        return self.lookup("year", number)

    def month(self, number: int) -> Condition:
        """True of a moment in that month (1 to 12), in UTC."""
        return self.lookup("month", number)

    def day(self, number: int) -> Condition:
        """True of a moment on that day of the month (1 to 31), in UTC."""
        return self.lookup("day", number)

    def hour(self, number: int) -> Condition:
        """True of a moment in that hour (0 to 23), in UTC."""
        return self.lookup("hour", number)

    def week_day(self, number: int) -> Condition:
        """True of a moment on that day of the week (Monday is 1, Sunday 7), in UTC."""
        return self.lookup("week_day", number)
