"""How a model declares its fields: ``Field[T]`` and ``Key[T]``.

To a type checker both are descriptors: a typed path on the class, the value on an instance. At run
time ``Field[int]`` is just ``int``, so that the model is a plain ``msgspec.Struct``, and the object
that ``Field(...)`` makes only carries the options to the model's schema.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    ForwardRef,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
    get_args,
    overload,
)

from pymodels.checks import UNNAMEABLE, is_unicode
from pymodels.errors import ModelError
from pymodels.lookups import nearest

if TYPE_CHECKING:
    from pymodels.paths import Path

T = TypeVar("T")


class _Missing:
    def __repr__(self) -> str:
        return "<no default>"


MISSING: Final[Any] = _Missing()


class _KeyMark:
    """What ``Key[T]`` leaves in an annotation, so that the model finds it."""


KEY_MARK: Final = _KeyMark()


_OPTIONS: Final = (
    "default",
    "default_factory",
    "index",
    "unique",
    "choices",
    "validators",
    "name",
    "naive",
    "on_delete",
    "label",
    "help",
)

OnDelete: TypeAlias = Literal["nothing", "refuse", "clear", "cascade"]


def _inner(item: Any) -> Any:
    if not isinstance(item, str):
        return item
    try:
        return ForwardRef(item)
    except (SyntaxError, IndexError):  # of nothing at all it is the latter
        raise ModelError(f"{item!r} is not the name of a type") from None


class Field(Generic[T]):
    """A field of a model: ``age: Field[int | None] = Field(default=None, index=True)``.

    Args:
        type: the type, for the short form ``name = Field(str)``.
        default: the value of a new record that is given none; without it the field is required.
        default_factory: a function without arguments that makes the default.
        index: True, or the name of a kind of index that a backend offers.
        unique: no two records of the collection hold the same value (null and absent may repeat).
        choices: the only values allowed, besides null where the type has it.
        validators: functions that take the value and raise ``ValueError`` if it will not do.
        name: the name under which the value is stored, if not the attribute's own.
        naive: datetimes here have no time zone (without it, they must have one).
        on_delete: what becomes of a record when one that it refers to here is deleted:
            ``"nothing"`` (the default: the reference dangles), ``"refuse"`` (the deletion is
            refused), ``"clear"`` (it refers to None then, a list loses the member) or
            ``"cascade"`` (it is deleted too).
        label: a name for people.
        help: a sentence for people.
    """

    if TYPE_CHECKING:

        @overload
        def __init__(
            self,
            type: type[T],
            /,
            *,
            default: Any = ...,
            default_factory: Callable[[], Any] = ...,
            index: bool | str = ...,
            unique: bool = ...,
            choices: Iterable[Any] = ...,
            validators: Iterable[Callable[[Any], object]] = ...,
            name: str = ...,
            naive: bool = ...,
            on_delete: OnDelete = ...,
            label: str = ...,
            help: str = ...,
        ) -> None: ...
        @overload
        def __init__(
            self,
            *,
            default: T = ...,
            default_factory: Callable[[], T] = ...,
            index: bool | str = ...,
            unique: bool = ...,
            choices: Iterable[T] = ...,
            validators: Iterable[Callable[[Any], object]] = ...,
            name: str = ...,
            naive: bool = ...,
            on_delete: OnDelete = ...,
            label: str = ...,
            help: str = ...,
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

        options: FieldOptions

        @overload
        def __get__(self, instance: None, owner: type[Any]) -> Path[T]: ...
        @overload
        def __get__(self, instance: object, owner: type[Any]) -> T: ...
        def __get__(self, instance: Any, owner: type[Any]) -> Any: ...
        def __set__(self, instance: object, value: T) -> None: ...

    else:

        def __init__(self, type=MISSING, /, **options):
            for option in options:
                if option not in _OPTIONS:
                    raise ModelError(
                        f"a {self.__class__.__name__} has no option {option!r}"
                        f"{nearest(option, _OPTIONS)}; it takes {', '.join(_OPTIONS)}"
                    )
            self.options = FieldOptions(type, **options)

        def __class_getitem__(cls, item):
            return cls if isinstance(item, TypeVar) else _inner(item)

        def __repr__(self):
            return f"{type(self).__name__}({self.options})"


class Key(Field[T]):
    """The primary key of a model, under a name of its own: ``id: Key[int]``.

    Models that declare none have text keys, called ``pk`` as all primary keys are. Without a key,
    ``save()`` makes one where the kind allows: a UUIDv7 for text and ``UUID``.
    """

    if TYPE_CHECKING:

        @overload
        def __init__(
            self, type: type[T], /, *, default: None = ..., label: str = ..., help: str = ...
        ) -> None: ...
        @overload
        def __init__(self, *, default: None = ..., label: str = ..., help: str = ...) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    else:

        def __class_getitem__(cls, item):
            return Annotated[_inner(item), KEY_MARK]


class FieldOptions:
    """The options of one field, as they were declared."""

    __slots__ = (
        "choices",
        "default",
        "default_factory",
        "help",
        "index",
        "label",
        "naive",
        "name",
        "on_delete",
        "type",
        "unique",
        "validators",
    )

    def __init__(
        self,
        type: Any = MISSING,
        *,
        default: Any = MISSING,
        default_factory: Callable[[], Any] | None = None,
        index: bool | str = False,
        unique: bool = False,
        choices: Iterable[Any] | None = None,
        validators: Iterable[Callable[[Any], object]] = (),
        name: str | None = None,
        naive: bool = False,
        on_delete: OnDelete = "nothing",
        label: str | None = None,
        help: str | None = None,
    ) -> None:
        if default is not MISSING and default_factory is not None:
            raise ModelError("a field has a default or a default_factory, not both")
        if default_factory is not None and not callable(default_factory):
            raise ModelError(f"default_factory must be callable, not {default_factory!r}")
        if name is not None and (not isinstance(name, str) or not name or not is_unicode(name)):
            raise ModelError(f"the stored name of a field is text, not {name!r}")
        if name is not None and UNNAMEABLE.search(name):
            raise ModelError(
                f"the stored name of a field has no quotation marks, backslashes and control "
                f"characters, as {name!r} has"
            )
        validators = (
            tuple(validators)
            if isinstance(validators, Iterable) and not callable(validators)
            else (validators,)
        )
        if not all(map(callable, validators)):
            raise ModelError(f"validators are functions of one value, not {validators!r}")
        if choices is not None and (isinstance(choices, str) or not isinstance(choices, Iterable)):
            raise ModelError(f"choices are a list of values, not {choices!r}")
        if on_delete not in get_args(OnDelete):
            raise ModelError(
                f"on_delete is one of {', '.join(map(repr, get_args(OnDelete)))}, not {on_delete!r}"
            )
        self.type = _inner(type)
        self.default = default
        self.default_factory = default_factory
        self.index = index
        self.unique = unique
        self.choices = None if choices is None else tuple(choices)
        self.validators = validators
        self.name = name
        self.naive = naive
        self.on_delete = on_delete
        self.label = label
        self.help = help

    @property
    def is_required(self) -> bool:
        """Whether a record cannot be made without a value for the field."""
        return self.default is MISSING and self.default_factory is None

    @property
    def factory(self) -> Callable[[], Any] | None:
        """What makes the default anew for each record; None where one value serves them all."""
        if self.default_factory is not None or self.default is MISSING:
            return self.default_factory
        if isinstance(self.default, str | bytes | int | float | tuple | type(None)):
            return None
        return functools.partial(copy.deepcopy, self.default)

    @property
    def suit_key(self) -> bool:
        """Whether a key may have these options; it is unique and indexed without any."""
        return self.default in (MISSING, None) and not any(
            (
                self.default_factory,
                self.index,
                self.unique,
                self.choices is not None,
                self.validators,
                self.name,
                self.naive,
                self.on_delete != "nothing",
            )
        )

    def __repr__(self) -> str:
        given = {name: getattr(self, name) for name in self.__slots__}
        return ", ".join(
            f"{name}={value!r}"
            for name, value in given.items()
            if value not in (MISSING, None, False, (), "nothing")
        )
