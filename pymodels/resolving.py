"""Finding what the names in annotations mean, and which models they refer to.

An annotation may be text, or hold text, and name models that are declared further down; so it is
evaluated with the names that its class statement could see, and when they do not suffice, with the
names of all models.
"""

from __future__ import annotations

import builtins
import typing
from collections.abc import Mapping
from functools import reduce
from operator import or_
from types import GenericAlias, UnionType
from typing import Annotated, Any, ForwardRef, get_args, get_origin
from weakref import WeakValueDictionary

from pymodels import keys
from pymodels.errors import ModelError
from pymodels.fields import FieldOptions


class Declared:
    """What one class statement declared, until its annotations are all resolved."""

    def __init__(
        self, module: str, global_names: Mapping[str, Any], local_names: Mapping[str, Any] | None
    ) -> None:
        self.module = module
        self.global_names = global_names
        self.local_names = local_names
        self.fields: dict[str, FieldOptions] = {}
        self.annotations: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.key: tuple[str, Any] | None = None
        self.root: Any = None  # the model of which this is a view, or a view of a view
        # The models that refer here and say what a deletion asks of them: see referring.py.
        self.referring: WeakValueDictionary[tuple[str, str, str], Any] = WeakValueDictionary()


def is_model(base: Any) -> bool:
    """Tell whether *base* is a model, abstract or not, and not Model itself."""
    return "__declared__" in getattr(base, "__dict__", ())


def is_abstract(base: Any) -> bool:
    return bool(base.__declared__.options.get("abstract"))


def lineage_of(cls: type) -> list[Any]:
    return [base for base in cls.__mro__ if is_model(base)]


class Elsewhere:
    """An annotation whose names belong to another class statement."""

    def __init__(self, annotation: Any, declared: Declared) -> None:
        self.annotation = annotation
        self.declared = declared


class Unresolved(Exception):
    """A name in an annotation is not to be found yet."""


def evaluate(annotation: Any, declared: Declared, declaring: Any = None) -> Any:
    """Return *annotation* with every name in it resolved.

    *declaring* is the model whose class statement is under way, if one is: then no name is looked
    for where the statement does not see it, since what is meant may be declared further down, and
    another model may go by the same name.
    """
    if isinstance(annotation, Elsewhere):
        return evaluate(annotation.annotation, annotation.declared, declaring)
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        names = _Names(declared, declaring)
        try:
            # The text is the class body's own source, as typing.get_type_hints evaluates it too.
            value = eval(annotation, {}, names)  # noqa: S307
        except NameError as error:
            raise Unresolved(
                f"the annotation {annotation!r} names {error.name!r}, which is not to be found"
            ) from None
        except (TypeError, SyntaxError, AttributeError) as error:
            raise ModelError(f"the annotation {annotation!r} has no meaning: {error}") from error
        return evaluate(value, declared, declaring)
    arguments = get_args(annotation)
    if not arguments:
        return annotation
    origin = get_origin(annotation)
    if origin is Annotated:
        inner = evaluate(arguments[0], declared, declaring)
        return Annotated[(inner, *arguments[1:])]
    if origin is typing.Literal:
        return annotation
    resolved = tuple(
        evaluate(a, declared, declaring) if a is not Ellipsis else a for a in arguments
    )
    if resolved == arguments:
        return annotation
    if origin in (typing.Union, UnionType):
        return typing.Union[resolved]  # noqa: UP007 - made at run time
    return GenericAlias(origin, resolved)


class _Names(dict[str, Any]):
    """The names that an annotation may use: local, of the module, builtin, or any model's."""

    def __init__(self, declared: Declared, declaring: Any) -> None:
        super().__init__()
        self.declaring = declaring
        self.global_names = declared.global_names
        self.local_names = declared.local_names or {}
        self.home = declared.module

    def __missing__(self, name: str) -> Any:
        if name in self.local_names:
            return self.local_names[name]
        if name in self.global_names:
            return self.global_names[name]
        if hasattr(builtins, name):
            return getattr(builtins, name)
        if self.declaring is None:
            found = model_named(name, self.home)
        else:
            found = self.declaring if name == self.declaring.__name__ else None
        if found is None:
            raise NameError(f"name {name!r} is not defined", name=name)
        return found


def model_named(name: str, module: str) -> Any:
    """Return the model called *name*, or None: the latest in *module*, else the only one.

    Raises ``ModelError`` if several other modules have one.
    """
    from pymodels.models import Model

    found: list[Any] = []
    queue: list[Any] = [Model]
    while queue:
        for cls in type.__subclasses__(queue.pop()):
            queue.append(cls)
            if cls.__name__ == name:
                found.append(cls)
    near = [cls for cls in found if cls.__module__ == module]
    if near:
        return near[-1]
    modules = sorted({cls.__module__ for cls in found})
    if len(modules) > 1:
        raise ModelError(
            f"{name!r} may be a model of {' or of '.join(modules)}: import the one that is meant "
            f"where {module} refers to it"
        )
    return found[-1] if found else None


def without_models(annotation: Any) -> tuple[Any, Any]:
    """Return *annotation* with a reference as the type of its key, and the model referred to."""
    if is_model(annotation):
        return _key_type(annotation), annotation
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin in (typing.Union, UnionType):
        models = [a for a in arguments if is_model(a)]
        if len(models) > 1:
            raise ModelError(
                f"a reference leads to one model, not to {' or '.join(m.__name__ for m in models)}"
            )
        parts = [without_models(a) for a in arguments]
        target = next((model for _, model in parts if model is not None), None)
        if target is None:
            return annotation, None
        if [a for a in arguments if a is not type(None) and not _refers(a)]:
            raise ModelError(f"a reference can be {target.__name__} or None, and nothing else")
        return reduce(or_, [inner for inner, _ in parts]), target
    if origin is list and is_model(arguments[0]):
        return list[_key_type(arguments[0])], arguments[0]  # type: ignore[misc]
    return annotation, None


def _refers(annotation: Any) -> bool:
    return without_models(annotation)[1] is not None


def declared_key(cls: Any) -> tuple[str, Any, Declared] | None:
    for base in lineage_of(cls):
        if base.__declared__.key is not None:
            return (*base.__declared__.key, base.__declared__)
    return None


def _key_type(cls: Any) -> Any:
    return declared_key_kind(cls).type


def declared_key_kind(cls: Any) -> keys.KeyKind:
    found = declared_key(cls)
    if found is None:
        return keys.TEXT
    annotation = evaluate(found[1], found[2])
    return keys.key_kind(get_args(annotation)[0])
