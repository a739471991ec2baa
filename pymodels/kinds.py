"""What a declared type can hold: checking a value, converting it, and finding one's way inside.

An annotation becomes a tree of ``Kind`` objects, once per field (``annotations.py`` does that).
They add what a record needs beyond what msgspec checks (exact types, finite numbers, zones, text
that can be encoded) and what a query needs (families, the way into nested values).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from types import GenericAlias
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec

from pymodels.checks import (
    Unfit,
    check_each,
    check_levels,
    check_name,
    check_open,
    check_text,
    constrain,
    expected,
)
from pymodels.values import ARRAYS, SORTABLE, family, order_key

NATIVE: Final = (bytes, datetime)
"""What a decoded record holds as itself; every other scalar has a text form there."""

TAGGED: Final = (Decimal, UUID, date, time, timedelta, set, tuple)
"""Types that an open place stores with a tag, because their plain form would not tell them."""

Tag = Callable[[Any], Any]


class Kind:
    """What one place of a record can hold; the subclasses differ in shape.

    ``annotation`` is what msgspec decodes there, ``families`` what values it may hold besides
    null, ``nullable`` whether null is one of them.
    """

    annotation: Any = Any
    families: frozenset[str] = frozenset()
    nullable = False
    is_open = False

    def check(self, value: Any) -> None:
        """Raise ``Unfit`` if *value* could not be stored here and come back as it is."""
        raise NotImplementedError

    def pack(self, value: Any, tag: Tag) -> Any:
        """Return *value* with what stands in open places tagged by *tag*."""
        return value

    def neutral(self, value: Any) -> Any:
        """Turn what an untyped decoder made of a stored value into what conditions compare."""
        return convert(value, self.annotation)

    def child(self, part: str) -> Kind | None:
        """Return the kind of the member named *part*, or None if there can be none."""
        return None

    def stored_name(self, part: str) -> str:
        """Return the name under which the member *part* is stored."""
        return part

    def member_names(self) -> Iterable[str]:
        """Return the names of the declared members."""
        return ()

    def inner(self) -> Iterable[Kind]:
        """Return the kinds directly inside this one."""
        return ()

    def any_inside(self, wanted: type[Kind]) -> bool:
        """Tell whether a kind of class *wanted* is here or anywhere inside."""
        return any(isinstance(kind, wanted) for kind in self.everything())

    def everything(self) -> Iterator[Kind]:
        """Yield this kind and all that are inside, each once."""
        seen: set[int] = set()
        queue: list[Kind] = [self]
        while queue:
            kind = queue.pop()
            if id(kind) not in seen:
                seen.add(id(kind))
                yield kind
                queue.extend(kind.inner())


def convert(value: Any, annotation: Any) -> Any:
    """Return the plain form of a stored value as *annotation* says, or as it is if it does not."""
    try:
        return msgspec.convert(value, annotation, builtin_types=NATIVE)
    except msgspec.ValidationError:
        return value


class Scalar(Kind):
    """One family of values without members."""

    def __init__(self, annotation: Any, name: str, check: Callable[[Any], None]) -> None:
        self.annotation = annotation
        self.families = frozenset({name})
        self.check = check  # type: ignore[method-assign, assignment]  # one call less per value


class Null(Kind):
    """``None`` alone."""

    annotation: Any = None
    nullable = True

    def check(self, value: Any) -> None:
        if value is not None:
            raise expected("None", value)


class Choice(Kind):
    """An enum or a literal, stored by value."""

    def __init__(self, annotation: Any, options: Iterable[Any], *, enum: type | None) -> None:
        options = tuple(options)
        self.annotation: Any = annotation
        self.enum = enum
        self.nullable = None in options
        self.families = frozenset(family(option) for option in options if option is not None)
        self.known = {order_key(option) for option in options}
        self.title = enum.__name__ if enum else str(annotation)

    def check(self, value: Any) -> None:
        if self.enum is not None:
            if type(value) is not self.enum:
                raise expected(f"a member of {self.title}", value)
            return
        if type(value) not in (str, int, type(None)) or order_key(value) not in self.known:
            raise expected(f"one of {self.title}", value)


class Open(Kind):
    """A place for a value of any kind: ``Any``, a bare ``dict`` or a bare ``list``."""

    nullable = True
    is_open = True
    families = SORTABLE | ARRAYS | {"mapping"}

    def check(self, value: Any) -> None:
        check_levels(value)
        check_open(value)

    def pack(self, value: Any, tag: Tag) -> Any:
        kind = type(value)
        if kind is dict:
            return {name: self.pack(member, tag) for name, member in value.items()}
        if kind is list:
            return [self.pack(member, tag) for member in value]
        if kind is tuple:
            return tag(tuple(self.pack(member, tag) for member in value))
        if kind is set:
            return tag(_Members(self.pack(member, tag) for member in sorted(value, key=order_key)))
        return tag(value) if kind in TAGGED else value

    def neutral(self, value: Any) -> Any:
        return value

    def child(self, part: str) -> Kind | None:
        return self


class OpenShape(Open):
    """A bare ``dict`` or ``list``: the container is declared, its members are open."""

    def __init__(self, shape: type, name: str) -> None:
        self.shape = shape
        self.item = Open()
        self.annotation = shape
        self.families = frozenset({name})
        self.nullable = False
        self.is_open = False

    def check(self, value: Any) -> None:
        if type(value) is not self.shape:
            raise expected(f"a {self.shape.__name__}", value)
        super().check(value)

    def child(self, part: str) -> Kind | None:
        return self.item


class _Members(list[Any]):
    """The packed members of a set, in their order; still to be tagged as a set."""


SetMembers = _Members


class Array(Kind):
    """A list, set or tuple whose members are all of one kind."""

    def __init__(self, shape: type[Any], item: Kind, length: Any) -> None:
        self.shape = shape
        self.item = item
        members = (item.annotation, ...) if shape is tuple else (item.annotation,)
        self.annotation = GenericAlias(shape, members)
        self.length = length
        if length is not None:
            self.annotation = Annotated[self.annotation, length]
        self.families = frozenset({shape.__name__})

    def check(self, value: Any) -> None:
        if type(value) is not self.shape:
            raise expected(f"a {self.shape.__name__}", value)
        check_each(value, self.item.check)
        if self.length is not None:
            constrain(list(value), Annotated[list[Any], self.length])

    def pack(self, value: Any, tag: Tag) -> Any:
        members = sorted(value, key=order_key) if self.shape is set else value
        return [self.item.pack(member, tag) for member in members]

    def neutral(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return self.shape(map(self.item.neutral, value))

    def child(self, part: str) -> Kind | None:
        return self.item if is_index(part) else self.item.child(part)

    def stored_name(self, part: str) -> str:
        return part if is_index(part) else self.item.stored_name(part)

    def member_names(self) -> Iterable[str]:
        return self.item.member_names()

    def inner(self) -> Iterable[Kind]:
        return (self.item,)


def is_list_of_text(kind: Kind) -> bool:
    """Tell whether *kind* is that of lists of any text, of any length."""
    return (
        isinstance(kind, Array)
        and kind.shape is list
        and kind.length is None
        and isinstance(kind.item, Scalar)
        and kind.item.check is check_text
    )


class Positions(Kind):
    """A tuple with a kind for each position."""

    families = frozenset({"tuple"})

    def __init__(self, items: tuple[Kind, ...]) -> None:
        self.items = items
        self.annotation = GenericAlias(tuple, tuple(item.annotation for item in items))

    def check(self, value: Any) -> None:
        if type(value) is not tuple or len(value) != len(self.items):
            raise expected(f"a tuple of {len(self.items)}", value)
        for index, (item, member) in enumerate(zip(self.items, value, strict=True)):
            try:
                item.check(member)
            except Unfit as error:
                raise error.within(index) from None

    def pack(self, value: Any, tag: Tag) -> Any:
        return tuple(item.pack(part, tag) for item, part in zip(self.items, value, strict=True))

    def neutral(self, value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(self.items):
            return value
        return tuple(item.neutral(part) for item, part in zip(self.items, value, strict=True))

    def child(self, part: str) -> Kind | None:
        if is_index(part):
            return self.items[int(part)] if int(part) < len(self.items) else None
        return next((found for item in self.items if (found := item.child(part))), None)

    def inner(self) -> Iterable[Kind]:
        return self.items


class Table(Kind):
    """A mapping from any text to one kind: ``dict[str, T]``."""

    families = frozenset({"mapping"})

    def __init__(self, item: Kind, length: Any) -> None:
        self.item = item
        self.length = length
        self.annotation = GenericAlias(dict, (str, item.annotation))
        if length is not None:
            self.annotation = Annotated[self.annotation, length]

    def check(self, value: Any) -> None:
        if type(value) is not dict:
            raise expected("a dict", value)
        for name, member in value.items():
            check_name(name)
            try:
                self.item.check(member)
            except Unfit as error:
                raise error.within(name) from None
        if self.length is not None:
            constrain(value, Annotated[dict[str, Any], self.length])

    def pack(self, value: Any, tag: Tag) -> Any:
        return {name: self.item.pack(member, tag) for name, member in value.items()}

    def neutral(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: self.item.neutral(member) for name, member in value.items()}

    def child(self, part: str) -> Kind | None:
        return self.item

    def inner(self) -> Iterable[Kind]:
        return (self.item,)


class Structured(Kind):
    """A dataclass, ``msgspec.Struct`` or ``TypedDict``: a mapping with declared members."""

    families = frozenset({"mapping"})

    def __init__(self, cls: type) -> None:
        self.annotation = cls
        self.cls = cls
        self.is_dict = not (dataclasses.is_dataclass(cls) or issubclass(cls, msgspec.Struct))
        self.python_type: Any = dict if self.is_dict else cls
        self.members: dict[str, tuple[str, Kind, bool]] = {}  # stored name: name, kind, required

    @cached_property
    def holds_itself(self) -> bool:
        """Whether one of these may lie in another, to any depth."""
        return any(self is found for kind in self.inner() for found in kind.everything())

    def check(self, value: Any) -> None:
        if type(value) is not self.python_type:
            raise expected(f"a {self.cls.__name__}", value)
        if self.holds_itself:
            check_levels(value)
        if self.is_dict:
            extra = value.keys() - {name for name, _, _ in self.members.values()}
            if extra:
                raise Unfit(f"{self.cls.__name__} declares no {min(extra, key=repr)!r}")
        for name, kind, required in self.members.values():
            member = value.get(name, msgspec.UNSET) if self.is_dict else getattr(value, name)
            if member is msgspec.UNSET:
                if required:
                    raise Unfit(f"{self.cls.__name__} needs {name!r}")
                continue
            try:
                kind.check(member)
            except Unfit as error:
                raise error.within(name) from None

    def pack(self, value: Any, tag: Tag) -> Any:
        packed = {}
        for stored, (name, kind, _) in self.members.items():
            member = value.get(name, msgspec.UNSET) if self.is_dict else getattr(value, name)
            if member is not msgspec.UNSET:
                packed[stored] = kind.pack(member, tag)
        return packed

    def neutral(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        members = self.members
        return {
            name: members[name][1].neutral(member) if name in members else member
            for name, member in value.items()
        }

    def child(self, part: str) -> Kind | None:
        if part in self.members:
            return self.members[part][1]
        return next((kind for name, kind, _ in self.members.values() if name == part), None)

    def stored_name(self, part: str) -> str:
        if part in self.members:
            return part
        return next((key for key, (name, _, _) in self.members.items() if name == part), part)

    def member_names(self) -> Iterable[str]:
        return [name for name, _, _ in self.members.values()]

    def inner(self) -> Iterable[Kind]:
        return [kind for _, kind, _ in self.members.values()]


class Union(Kind):
    """One of several kinds, told apart by the value's own type."""

    def __init__(self, options: tuple[Kind, ...]) -> None:
        self.options = options
        self.annotation = _union(options)
        self.nullable = any(option.nullable for option in options)
        self.families = frozenset().union(*(option.families for option in options))
        self.is_open = any(option.is_open for option in options)
        self.some = tuple(option for option in options if not isinstance(option, Null))

    def check(self, value: Any) -> None:
        if value is None and self.nullable:
            return
        first: Unfit | None = None
        for option in self.some:
            try:
                option.check(value)
            except Unfit as error:
                if first is None or error.trail:
                    first = error
            else:
                return
        if first is not None and (len(self.some) == 1 or first.trail):
            raise first
        names = ", ".join(sorted(self.families | ({"None"} if self.nullable else set())))
        raise expected(f"one of {names}", value)

    def _option(self, value: Any) -> Kind | None:
        for option in self.some:
            try:
                option.check(value)
            except Unfit:
                continue
            return option
        return None

    def pack(self, value: Any, tag: Tag) -> Any:
        option = self._option(value)
        return value if option is None else option.pack(value, tag)

    def neutral(self, value: Any) -> Any:
        wanted = _STORED_AS.get(type(value), frozenset())
        for option in self.some:
            if option.families & wanted:
                return option.neutral(value)
        return convert(value, self.annotation)

    def child(self, part: str) -> Kind | None:
        return next((found for option in self.some if (found := option.child(part))), None)

    def stored_name(self, part: str) -> str:
        owner = next((option for option in self.some if option.child(part)), self.some[0])
        return owner.stored_name(part)

    def member_names(self) -> Iterable[str]:
        return [name for option in self.some for name in option.member_names()]

    def inner(self) -> Iterable[Kind]:
        return self.options


_STORED_AS: Final[dict[type, frozenset[str]]] = {dict: frozenset({"mapping"}), list: ARRAYS}


def _union(options: tuple[Kind, ...]) -> Any:
    result = options[0].annotation
    for option in options[1:]:
        result = result | option.annotation if result is not None else option.annotation | None
    return result


def array_in(kind: Kind) -> Array | OpenShape | None:
    """Return the list, set or tuple that a declared place holds, besides null; None if none."""
    for option in kind.some if isinstance(kind, Union) else (kind,):
        if isinstance(option, Array) or (isinstance(option, OpenShape) and option.shape is list):
            return option
    return None


def is_index(part: str) -> bool:
    """Tell whether a part of a path counts the members of a list."""
    return part.isascii() and part.isdecimal()


def is_packed(kind: Kind) -> bool:
    """Tell whether values of a kind are brought into another form before msgspec writes them.

    It writes a set in order, and knows none of enums, nulls and values of several types.
    """
    if isinstance(kind, Array) and kind.shape is set:
        return not isinstance(kind.item, Scalar)
    return isinstance(kind, Open)
