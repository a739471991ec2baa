"""How a class statement becomes a model: its options, fields and annotations.

A model is a ``msgspec.Struct``. msgspec reads the annotations of a class when it first decodes one,
so they are resolved before that, by ``building.py``: references become the type of their keys,
``Field[...]`` what is inside. What cannot be resolved yet (a model declared further down) is looked
for again when the model is first used.
"""

from __future__ import annotations

import copy
import keyword
import re
import sys
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, get_origin

import msgspec

from pymodels.building import build, equalities, try_to_build
from pymodels.checks import is_unicode
from pymodels.constructing import construct
from pymodels.errors import ModelError
from pymodels.fields import KEY_MARK, MISSING, Field, FieldOptions, Key
from pymodels.lookups import nearest
from pymodels.paths import Path
from pymodels.references import Related
from pymodels.resolving import Declared, Elsewhere, declared_key, is_abstract, is_model, lineage_of

if TYPE_CHECKING:
    _StructMeta = type
else:
    _StructMeta = type(msgspec.Struct)

_OPTIONS: Final = (
    "collection",
    "must_have",
    "must_not_have",
    "indexes",
    "abstract",
    "label",
)


class _SchemaOfClass:
    """The attribute by which a model gives its schema, and an instance's type shows it is a model.

    The metaclass itself has none, so that a class is not mistaken for an instance.
    """

    def __get__(self, cls: Any, metaclass: type) -> Any:
        if cls is None:
            raise AttributeError("__schema__")
        return cls._schema or build(cls)


# Related is no specifier: mypy would demand it from the constructor, as a field without a default.
@typing.dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(Field, Key))
class ModelMeta(_StructMeta):
    """Makes models; answers ``Person.age`` with a path and ``Person(...)`` with a new record."""

    if not TYPE_CHECKING:

        def __new__(mcls, name, bases, namespace, **options):
            if not any(isinstance(base, ModelMeta) for base in bases):
                root = super().__new__(mcls, name, bases, namespace, eq=False)
                root._schema = None
                return root
            frame = sys._getframe(1)
            local = frame.f_locals if frame.f_locals is not frame.f_globals else None
            namespace.setdefault("__module__", frame.f_globals.get("__name__", "builtins"))
            declared = Declared(namespace["__module__"], frame.f_globals, local)
            _read(name, bases, namespace, options, declared)
            # Each model has a metaclass of its own, with a property a field: Person.age is a path,
            # while instances and all other attributes of the class keep the speed of C.
            abstract = declared.options.get("abstract")
            own = (
                mcls
                if abstract
                else type.__new__(type, f"{name}Meta", (mcls,), {"__call__": construct})
            )
            cls = super().__new__(
                own,
                name,
                bases,
                namespace,
                kw_only=True,
                eq=False,
                rename=_stored_names(name, _all_fields(bases, declared)),
            )
            cls.__declared__ = declared
            cls._schema = None
            if not abstract:
                for field in _names(cls):
                    setattr(own, field, property(_always(Path.of(cls, field))))
            try_to_build(cls)
            return cls

        __call__ = construct  # until the fields are known: see building

        __schema__ = _SchemaOfClass()


# --- reading a class statement --------------------------------------------------------------


def _read(
    name: str,
    bases: tuple[type, ...],
    namespace: dict[str, Any],
    options: dict[str, Any],
    declared: Declared,
) -> None:
    declared.options = _read_options(name, namespace, options)
    annotations = dict(namespace.get("__annotations__", {}))
    if "__init__" in namespace:
        raise ModelError(
            f"{name}: a model cannot have an __init__ of its own: compute defaults with "
            "Field(default_factory=...), or write a class method that makes records"
        )
    concrete = [base for base in bases if is_model(base) and not is_abstract(base)]
    if len(concrete) > 1:
        raise ModelError(
            f"{name}: {' and '.join(base.__name__ for base in concrete)} both have records; a view "
            "has one parent, and shares more fields through abstract models"
        )
    if declared.options.get("abstract") and concrete:
        raise ModelError(f"{name}: a view of {concrete[0].__name__} cannot be abstract")
    for attribute, value in list(namespace.items()):
        if isinstance(value, Field) and attribute not in annotations:
            if value.options.type is MISSING:
                raise ModelError(f"{name}.{attribute}: write Field(str), or annotate Field[str]")
            marked = (
                Annotated[value.options.type, KEY_MARK]
                if isinstance(value, Key)
                else value.options.type
            )
            annotations[attribute] = marked
    _refuse_hidden_fields(name, bases, namespace, annotations)
    for attribute, annotation in annotations.items():
        _read_attribute(name, attribute, annotation, namespace, declared)
    if not declared.options.get("abstract"):
        _take_from_abstract(bases, concrete, declared)
        _default_from_must_have(concrete, declared)
    for attribute, field in declared.fields.items():
        namespace.pop(attribute, None)
        _set_default(name, attribute, field, namespace)
    abstract = bool(declared.options.get("abstract"))
    if abstract:
        for attribute in declared.fields:
            namespace.pop(attribute, None)
    namespace["__annotations__"] = {} if abstract else dict(declared.annotations)


def _read_options(name: str, namespace: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    meta = namespace.pop("Meta", None)
    given = {k: v for k, v in vars(meta).items() if not k.startswith("__")} if meta else {}
    both = given.keys() & options.keys()
    if both:
        raise ModelError(f"{name}: {min(both)} is given in Meta and as a class keyword, give one")
    given |= options
    for option in given:
        if option not in _OPTIONS:
            raise ModelError(
                f"{name}: no option is called {option!r}{nearest(option, _OPTIONS)}; the options "
                f"of a model are {', '.join(_OPTIONS)}"
            )
    collection = given.get("collection", "x")
    if not isinstance(collection, str) or not collection or not is_unicode(collection):
        raise ModelError(
            f"{name}: collection is the name under which records are kept, not {collection!r}"
        )
    return given


def _read_attribute(
    model: str, attribute: str, annotation: Any, namespace: dict[str, Any], declared: Declared
) -> None:
    value = namespace.get(attribute, MISSING)
    if isinstance(value, Related) or _is_class_variable(annotation):
        return
    if attribute.startswith("_") or "__" in attribute:
        raise ModelError(
            f"{model}.{attribute}: the name of a field has no leading or double underscore; "
            "Field(name=...) gives it any stored name"
        )
    if not attribute.isidentifier() or keyword.iskeyword(attribute):
        raise ModelError(
            f"{model}.{attribute}: the name of a field is a name in Python; Field(name=...) gives "
            "it any stored name"
        )
    if isinstance(value, Field):
        field = value.options
    else:
        field = FieldOptions(default=value) if value is not MISSING else FieldOptions()
    is_key = _marks_key(annotation, declared, attribute, model)
    if attribute in _reserved() and not (is_key and attribute == "pk"):
        raise ModelError(
            f"{model}.{attribute}: every model has a {attribute!r} of its own; choose another name "
            f"and keep the stored one with Field(name={attribute!r})"
        )
    if is_key:
        if declared.key is not None:
            raise ModelError(f"{model}: {declared.key[0]} and {attribute} are both declared as key")
        if not field.suit_key:
            raise ModelError(
                f"{model}.{attribute}: a key has no options but default=None, label and help, "
                f"not {field!r}"
            )
        declared.key = (attribute, annotation)
        namespace.pop(attribute, None)
        return
    declared.fields[attribute] = field
    declared.annotations[attribute] = annotation


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return bool(re.match(r"(\w+\.)*ClassVar\b", annotation))
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _marks_key(annotation: Any, declared: Declared, attribute: str, model: str) -> bool:
    if isinstance(annotation, str):
        return bool(re.match(r"(\w+\.)*Key\s*\[", annotation))
    return get_origin(annotation) is Annotated and KEY_MARK in annotation.__metadata__


def _inherited(bases: tuple[type, ...]) -> list[Any]:
    """Return the models above, the nearest first: in the order in which Python looks them up."""
    found = [base for parent in bases if is_model(parent) for base in lineage_of(parent)]
    return list(dict.fromkeys(reversed(found)))[::-1]


def _refuse_hidden_fields(
    name: str, bases: tuple[type, ...], namespace: Mapping[str, Any], annotations: Mapping[str, Any]
) -> None:
    for base in _inherited(bases):
        for attribute in base.__declared__.fields:
            if attribute in namespace and attribute not in annotations:
                raise ModelError(
                    f"{name}.{attribute}: this would hide the field {attribute!r} of "
                    f"{base.__name__}: annotate it to declare the field anew, or choose another "
                    "name"
                )


def _take_from_abstract(bases: tuple[type, ...], concrete: list[Any], declared: Declared) -> None:
    """Copy the fields of abstract parents: two Structs with fields could not both be bases."""
    there = {
        n for parent in concrete for base in lineage_of(parent) for n in base.__declared__.fields
    }
    own, own_annotations = declared.fields, declared.annotations
    declared.fields, declared.annotations = {}, {}
    abstract = [base for base in _inherited(bases) if is_abstract(base)]
    for base in reversed(abstract):
        source = base.__declared__
        for attribute, field in source.fields.items():
            if attribute not in there:
                declared.fields[attribute] = field
                declared.annotations[attribute] = Elsewhere(source.annotations[attribute], source)
    declared.fields |= own
    declared.annotations |= own_annotations
    if declared.key is None and not concrete:
        base = next((base for base in abstract if base.__declared__.key is not None), None)
        if base is not None:
            name, annotation = base.__declared__.key
            declared.key = (name, Elsewhere(annotation, base.__declared__))


def _default_from_must_have(concrete: list[Any], declared: Declared) -> None:
    """A required field for which the view demands one value has that value as its default."""
    for name, value in equalities(declared.options).items():
        field, annotation = declared.fields.get(name), declared.annotations.get(name)
        if field is None:
            for parent in concrete:
                for base in lineage_of(parent):
                    if field is None and name in base.__declared__.fields:
                        field = base.__declared__.fields[name]
                        annotation = Elsewhere(
                            base.__declared__.annotations[name], base.__declared__
                        )
        if field is None or field.default_factory or field.default not in (MISSING, None):
            continue
        field = copy.copy(field)
        field.default = value
        declared.fields[name] = field
        declared.annotations[name] = annotation


def _set_default(model: str, name: str, field: FieldOptions, namespace: dict[str, Any]) -> None:
    if hasattr(type(field.default), "__schema__"):
        raise ModelError(f"{model}.{name}: the default of a reference is a key or None")
    if field.factory is not None:
        namespace[name] = msgspec.field(default_factory=field.factory)
    elif not field.is_required:
        namespace[name] = field.default


def _all_fields(bases: tuple[type, ...], declared: Declared) -> dict[str, FieldOptions]:
    found: dict[str, FieldOptions] = {}
    for base in reversed(bases):
        for parent in reversed(lineage_of(base)):
            if not is_abstract(parent):
                found.update(parent.__declared__.fields)
    return found | declared.fields


def _stored_names(model: str, fields: Mapping[str, FieldOptions]) -> dict[str, str]:
    """Return the stored names that differ from the attributes'; no two fields share one."""
    taken: dict[str, str] = {}
    for name, field in fields.items():
        other = taken.setdefault(field.name or name, name)
        if other != name:
            raise ModelError(
                f"{model}: {other} and {name} are both stored as {field.name or name!r}"
            )
    return {name: field.name for name, field in fields.items() if field.name}


def _names(cls: Any) -> set[str]:
    names = {name for base in lineage_of(cls) for name in base.__declared__.fields}
    key = declared_key(cls)
    return names | {"pk"} | ({key[0]} if key else set())


def _always(path: Path[Any]) -> Callable[[Any], Path[Any]]:
    return lambda cls: path


def _reserved() -> frozenset[str]:
    from pymodels.models import Model

    # What the type of a class offers counts too: a field called mro would stand before type.mro.
    return frozenset(name for name in (*dir(Model), *dir(type)) if not name.startswith("_"))
