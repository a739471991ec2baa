"""From a field's annotation to the ``Kind`` that its values have.

``msgspec.inspect`` reads the annotation. What a record could not keep exactly, or what could not be
told apart when it is read back, is refused here, when the model is made.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import inspect as types

from pymodels import checks, kinds
from pymodels.errors import ModelError
from pymodels.kinds import Kind
from pymodels.values import ADDED, family_of

_LIMITS: Final = (
    "gt",
    "ge",
    "lt",
    "le",
    "multiple_of",
    "min_length",
    "max_length",
    "pattern",
)

_Check = Callable[[Any], None]

_SCALARS: Final[dict[type, tuple[Any, str, _Check]]] = {
    types.BoolType: (bool, "bool", checks.exactly(bool, "a bool")),
    types.IntType: (int, "number", checks.check_int),
    types.FloatType: (float, "number", checks.check_float),
    types.DecimalType: (Decimal, "number", checks.check_decimal),
    types.StrType: (str, "text", checks.check_text),
    types.BytesType: (bytes, "bytes", checks.exactly(bytes, "bytes")),
    types.DateType: (date, "date", checks.exactly(date, "a date")),
    types.TimeType: (Annotated[time, msgspec.Meta(tz=False)], "time", checks.check_time),
    types.TimeDeltaType: (timedelta, "duration", checks.exactly(timedelta, "a timedelta")),
    types.UUIDType: (UUID, "uuid", checks.exactly(UUID, "a UUID")),
}

_ARRAYS: Final[dict[type, type]] = {
    types.ListType: list,
    types.SetType: set,
    types.VarTupleType: tuple,
}


def compile_kind(annotation: Any, *, naive: bool = False) -> Kind:
    """Return the kind of the values that a field annotated with *annotation* holds.

    *annotation* has no names left to resolve and no models in it; *naive* says that its datetimes
    have no time zone. Raises ``ModelError`` for a type that no record can hold.

    >>> compile_kind(int | None).families, compile_kind(int | None).nullable
    (frozenset({'number'}), True)
    """
    try:
        info = types.type_info(annotation)
    except TypeError as error:
        raise ModelError(f"{annotation!r} cannot be the type of a field: {error}") from error
    return _Compiler(naive).compile(info)


def _limits(info: types.Type) -> msgspec.Meta | None:
    found = {name: value for name in _LIMITS if (value := getattr(info, name, None)) is not None}
    return msgspec.Meta(**found) if found else None


class _Compiler:
    def __init__(self, naive: bool) -> None:
        self.naive = naive
        self.structures: dict[type, kinds.Structured] = {}

    def compile(self, info: types.Type) -> Kind:
        match info:
            case types.Metadata():
                return self.compile(info.type)
            case types.AnyType():
                return kinds.Open()
            case types.NoneType():
                return kinds.Null()
            case types.DateTimeType():
                check = checks.check_naive if self.naive else checks.check_aware
                zone = Annotated[datetime, msgspec.Meta(tz=not self.naive)]
                return kinds.Scalar(zone, "instant", check)
            case types.LiteralType():
                if any(isinstance(value, bool) for value in info.values):
                    raise ModelError(
                        f"a literal is text or an int, and {info.values!r} has True or False: "
                        "declare bool"
                    )
                return kinds.Choice(_literal(info.values), info.values, enum=None)
            case types.EnumType():
                return self.enum(info)
            case types.ListType() | types.SetType() | types.VarTupleType():
                return self.array(info)
            case types.TupleType():
                return kinds.Positions(tuple(map(self.compile, info.item_types)))
            case types.DictType():
                return self.table(info)
            case types.UnionType():
                # msgspec refused, on reading the annotation, what could not be told apart.
                return kinds.Union(tuple(map(self.compile, info.types)))
            case types.DataclassType() | types.StructType() | types.TypedDictType():
                return self.structured(info)
        if type(info) in _SCALARS:
            return self.scalar(info)
        if isinstance(info, types.CustomType) and info.cls in ADDED:
            name = family_of(info.cls)
            return kinds.Scalar(info.cls, name, checks.exactly(info.cls, f"an {name}"))
        name = getattr(getattr(info, "cls", None), "__name__", type(info).__name__)
        raise ModelError(
            f"no record can hold a {name.removesuffix('Type')}: see 'Values' in docs/semantics.md "
            "for the types that a field may have"
        )

    def scalar(self, info: types.Type) -> Kind:
        annotation, name, check = _SCALARS[type(info)]
        limits = _limits(info)
        if limits is None:
            return kinds.Scalar(annotation, name, check)
        limited: Any = Annotated[annotation, limits]

        def check_limits(value: Any) -> None:
            check(value)
            checks.constrain(value, limited)

        return kinds.Scalar(limited, name, check_limits)

    def enum(self, info: types.EnumType) -> Kind:
        values = [member.value for member in info.cls]
        if not (
            values and (all(type(v) is str for v in values) or all(type(v) is int for v in values))
        ):
            raise ModelError(
                f"the members of the enum {info.cls.__name__} must all be text or all be ints: "
                "they are stored by value"
            )
        return kinds.Choice(info.cls, values, enum=info.cls)

    def array(self, info: types.ListType | types.SetType | types.VarTupleType) -> Kind:
        shape, item, limits = _ARRAYS[type(info)], self.compile(info.item_type), _limits(info)
        if shape is list and type(item) is kinds.Open and limits is None:
            return kinds.OpenShape(list, "list")
        return kinds.Array(shape, item, limits)

    def table(self, info: types.DictType) -> Kind:
        if not isinstance(info.key_type, types.StrType | types.AnyType):
            raise ModelError("the keys of a mapping are text: declare it as dict[str, ...]")
        item, limits = self.compile(info.value_type), _limits(info)
        if type(item) is kinds.Open and limits is None:
            return kinds.OpenShape(dict, "mapping")
        return kinds.Table(item, limits)

    def structured(
        self, info: types.DataclassType | types.StructType | types.TypedDictType
    ) -> Kind:
        cls = info.cls
        if hasattr(cls, "__schema__"):
            raise ModelError(
                f"a reference to {cls.__name__} can be a field or the members of a list, "
                "nothing deeper"
            )
        if getattr(info, "array_like", False):
            raise ModelError(
                f"{cls.__name__} is array_like: its members could not be found by name"
            )
        known = self.structures.get(cls)
        if known is None:
            known = self.structures[cls] = kinds.Structured(cls)
            for field in info.fields:
                kind = self.compile(field.type)
                known.members[field.encode_name] = (field.name, kind, field.required)
        return known


def _literal(values: tuple[Any, ...]) -> Any:
    from typing import Literal

    return Literal[values]
