"""What differs between two instances of a model: a function for each model, made of its fields."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pymodels.kinds import Kind, Open, Scalar, Structured, Union, is_list_of_text
from pymodels.schema import FieldInfo, Schema

if TYPE_CHECKING:
    from pymodels.changes import StoredPath
    from pymodels.codecs import Codec

Compare: TypeAlias = Callable[[Any, Any], "dict[StoredPath, Any]"]

_TEMPLATE: Final = """\
def differing(before, after):
    found = []
{fields}\
    return found
"""

_BY_VALUE: Final = (str, int, bool, bytes, date)
"""The types of which equal values are stored as the same bytes, and others as others."""

_TOLD_APART: Final = frozenset({*_BY_VALUE, float})
"""Types of which values that are not equal are stored as other bytes."""


def comparison(codec: Codec, schema: Schema) -> Compare | None:
    """Return a function from two instances to what has to be set so that one reads as the other.

    What was stored is taken as the model itself would write it. None, where a field is a reference
    or holds mappings, of which members may be stored that nobody declared.
    """
    infos = [schema.fields[name] for name in schema.model.__struct_fields__]
    if any(
        info.reference is not None or info.kind.any_inside(Open) or info.kind.any_inside(Structured)
        for info in infos
    ):
        return None
    known: dict[str, Any] = {}
    source = _TEMPLATE.format(fields="".join(map(_lines, range(len(infos)), infos)))
    exec(source, known)  # noqa: S102 - made of the names of fields alone, which are identifiers
    differing: Callable[[Any, Any], list[tuple[int, Any, Any]]] = known["differing"]
    stored_value = codec.stored_value

    def compare(before: Any, after: Any) -> dict[StoredPath, Any]:
        found: dict[StoredPath, Any] = {}
        for number, old, new in differing(before, after):
            info = infos[number]
            value = stored_value(info.kind, new)
            kind = type(old)
            is_other = kind is type(new) and kind in _TOLD_APART and old != new
            if is_other or stored_value(info.kind, old) != value:
                found[(info.stored,)] = value
        return found

    return compare


def _lines(number: int, info: FieldInfo) -> str:
    """Return what finds out whether a field may be stored as other bytes."""
    test = "old is not new"
    if _is_by_value(info.kind):
        test += " and (old != new or type(old) is not type(new))"
    elif _some(info.kind).annotation is float:  # there are two zeros
        test += " and (old != new or old == 0.0 or type(old) is not type(new))"
    elif _some(info.kind).families == {"instant"}:
        test += " and (old != new or type(old) is not type(new) or old.tzinfo is not new.tzinfo)"
    return (
        f"    old, new = before.{info.name}, after.{info.name}\n"
        f"    if {test}:\n"
        f"        found.append(({number}, old, new))\n"
    )


def _is_by_value(kind: Kind) -> bool:
    some = _some(kind)
    return is_list_of_text(some) or (isinstance(some, Scalar) and some.annotation in _BY_VALUE)


def _some(kind: Kind) -> Kind:
    """Return what *kind* holds besides null, where that is of one kind."""
    return kind.some[0] if isinstance(kind, Union) and len(kind.some) == 1 else kind
