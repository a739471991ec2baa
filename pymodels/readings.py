"""How a stored value becomes what conditions compare, told without the model that declares it.

A declared scalar is stored in its field's own form: a date as text, a set as a list. A ``Reading``
says so in a form that a storage can remember with an index.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from pymodels import checks
from pymodels.kinds import (
    Array,
    Choice,
    Kind,
    Null,
    Open,
    OpenShape,
    Positions,
    Scalar,
    Structured,
    Table,
    Union,
)


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """How what is stored becomes what conditions compare, where the two differ.

    ``text`` names the type that text stands for, ``shape`` and ``item`` what a list stands for.
    """

    text: str = ""
    shape: str = ""
    item: Reading | None = None


PLAIN: Final = Reading()
"""What is stored is what conditions compare."""

_TYPES: Final[dict[str, Any]] = {
    "decimal": Decimal,
    "uuid": UUID,
    "date": date,
    "time": time,
    "duration": timedelta,
    "naive": datetime,
}
_SHAPES: Final[dict[str, type[Any]]] = {"": list, "list": list, "set": set, "tuple": tuple}


def reading_of(kind: Kind) -> Reading | None:
    """Return how values of *kind* are read, None where a ``Reading`` cannot tell."""
    return _reading(kind, set())


def _reading(kind: Kind, seen: set[int]) -> Reading | None:
    if id(kind) in seen:
        return PLAIN  # of a structure inside itself the first one decides
    seen = seen | {id(kind)}
    if isinstance(kind, Scalar):
        return Reading(_scalar_text(kind))
    if isinstance(kind, Null | Choice | Open | OpenShape):
        return PLAIN
    if isinstance(kind, Array):
        item = _reading(kind.item, seen)
        if item is None or (kind.shape is list and item == PLAIN):
            return item
        return Reading("", kind.shape.__name__, item)
    if isinstance(kind, Positions):
        items = {_reading(item, seen) for item in kind.items}
        return Reading("", "tuple", items.pop()) if len(items) == 1 and None not in items else None
    if isinstance(kind, Union):
        return _united([_reading(option, seen) for option in kind.some])
    if isinstance(kind, Table | Structured):
        return PLAIN if all(_reading(one, seen) == PLAIN for one in kind.inner()) else None
    return None


def _scalar_text(kind: Scalar) -> str:
    (name,) = kind.families
    if name == "number":
        return "decimal" if "Decimal" in repr(kind.annotation) else ""
    if name == "instant":
        return "naive" if kind.check is checks.check_naive else ""
    return name if name in _TYPES else ""


def holds_only(kind: Kind, types: Collection[type]) -> bool:
    """Tell whether every value of a kind is null, or of one of some plain types.

    >>> from pymodels import Field, Model
    >>> class Person(Model):
    ...     name: Field[str | None]
    ...     born: Field[date]
    >>> [holds_only(info.kind, [str]) for info in Person.__schema__.fields.values()]
    [True, False]
    """
    some = kind.some if isinstance(kind, Union) else (kind,)
    return all(type(one) is Scalar and one.annotation in types for one in some)


def _united(readings: Sequence[Reading | None]) -> Reading | None:
    united = PLAIN
    for one in readings:
        if one is None:
            return None
        united = Reading(
            united.text or one.text, united.shape or one.shape, united.item or one.item
        )
    return united


def converter(reading: Reading) -> Callable[[Any], Any]:
    """Return the function from a value as an untyped decoder makes it to what it stands for."""
    wanted = _TYPES.get(reading.text)
    item = None if reading.item is None else converter(reading.item)
    shape = _SHAPES[reading.shape]

    def read(value: Any) -> Any:
        if type(value) is str and wanted is not None:
            try:
                return msgspec.convert(value, wanted)
            except msgspec.ValidationError:
                return value  # another view wrote something else
        if type(value) is list and item is not None:
            return shape(map(item, value))
        return value

    return read
