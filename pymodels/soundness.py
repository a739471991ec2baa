"""Whether an instance can be stored: decided at once of nearly all, by a function for each model.

The function is written for the model's fields, and asks of each value the least that proves it
sound: that it is of the one type, that an int fits, that text is ASCII. What it does not take may
still be right; ``problems`` decides, and says everything that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

from pymodels.checks import Unfit, check_aware, check_float, check_int, check_text
from pymodels.errors import UnsavedReference, ValidationError
from pymodels.kinds import Kind, Scalar, Union, is_list_of_text
from pymodels.references import key_in
from pymodels.schema import FieldInfo, Schema

Test: TypeAlias = Callable[[Any], bool]

# --- at once --------------------------------------------------------------------------------


def is_sound(instance: Any) -> bool:
    """Tell at once of most instances that nothing is wrong with them; of others say False."""
    return quick_test(instance._schema)(instance)


def quick_test(schema: Schema) -> Test:
    """Return ``is_sound`` for the instances of one model."""
    known: Test | None = schema.cache.get("sound")
    if known is None:
        known = schema.cache["sound"] = _written_for(schema)
    return known


_TEMPLATE: Final = """\
def is_sound(instance):
    try:
        value = instance._pk
        if value is not None and not ({key}):
            _check_key(value)
{fields}\
    except _ERRORS:
        return False
    return True
"""

# What proves a value sound, by the check that it saves. What an expression does not take may still
# be sound, but is rare: a number of another type that fits, an instant of another zone than UTC.
_PROOFS: Final[dict[Callable[[Any], None], str]] = {
    check_text: "type(value) is str and (value.isascii() or _can_encode(value))",
    check_int: "type(value) is int and -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF",
    check_float: "type(value) is float and value - value == 0.0",
    check_aware: "type(value) is _datetime and value.tzinfo is _UTC",
}

_EXACT: Final = (bool, bytes, date, timedelta, UUID)
"""The types of which a value needs nothing but to be of that type."""


def _written_for(schema: Schema) -> Test:
    known: dict[str, Any] = {
        "_ERRORS": (Unfit, RecursionError, UnicodeEncodeError),
        "_UTC": UTC,
        "_can_encode": _can_encode,
        "_check_key": schema.key.check,
        "_datetime": datetime,
        "_saved": _saved,
        **{kind.__name__: kind for kind in _EXACT},
    }
    lines: list[str] = []
    for number, info in enumerate(schema.fields.values()):
        known |= {
            f"_held{number}": info.held,
            f"_check{number}": info.kind.check,
            f"_problem{number}": info.problem,
        }
        lines += _lines(info, number)
    source = _TEMPLATE.format(
        key="type(value) is str and value and value.isascii()" if schema.key.type is str else False,
        fields="".join(f"        {line}\n" for line in lines),
    )
    exec(source, known)  # noqa: S102 - made of numbers, and of what stands in this file
    made: Test = known["is_sound"]
    return made


def _lines(info: FieldInfo, number: int) -> list[str]:
    """Return what one field is asked."""
    held = f"instance.{info.name}"
    if info.reference is not None:  # whose attribute would load the record
        held = f"_saved(_held{number}(instance))"
    lines = [f"value = {held}"]
    if info.options.choices is not None or info.options.validators:
        return [*lines, f"if _problem{number}(value):", "    return False"]
    if is_list_of_text(info.kind):
        return [
            *lines,
            f"if type(value) is not list: _check{number}(value)",
            "for one in value:",
            "    if type(one) is not str or not one.isascii():",
            f"        _check{number}(value)",
            "        break",
        ]
    proof = _proof(info.kind)
    if proof is None:
        return [*lines, f"_check{number}(value)"]
    return [*lines, f"if not ({proof}):", f"    _check{number}(value)"]


def _proof(kind: Kind) -> str | None:
    if isinstance(kind, Union):
        inner = _proof(kind.some[0]) if len(kind.some) == 1 else None
        return None if inner is None else f"value is None or ({inner})"
    if not isinstance(kind, Scalar):
        return None
    if kind.annotation in _EXACT:
        return f"type(value) is {kind.annotation.__name__}"
    return _PROOFS.get(kind.check)


def _can_encode(text: str) -> bool:
    text.encode()
    return True


def _saved(value: Any) -> Any:
    """Return the keys in a reference's slot; raise ``Unfit`` where one has no key yet."""
    keys, unsaved = reference_keys(value)
    if unsaved:
        raise Unfit(unsaved)
    return keys


# --- everything that is wrong ---------------------------------------------------------------


def problems(instance: Any) -> list[tuple[str, str]]:
    """Return everything that keeps *instance* from being stored, as (field, reason)."""
    schema: Schema = instance._schema
    found: list[tuple[str, str]] = []
    for info in schema.fields.values():
        value = info.held(instance)
        if info.reference is not None:
            value, unsaved = reference_keys(value)
            if unsaved:
                found.append((info.name, f"refers to {unsaved}, which is not saved: save it first"))
                continue
        reason = info.problem(value)
        if reason:
            found.append((info.name, reason))
    if instance._pk is not None:
        try:
            schema.key.check(instance._pk)
        except Unfit as error:
            found.append((schema.key_name, error.reason))
    return found


def reference_keys(value: Any) -> tuple[Any, str]:
    """Return the keys that a reference stands for, and the repr of what has none yet."""
    many = value if isinstance(value, list) else [value]
    for one in many:
        if one is not None and key_in(one) is None:
            return None, repr(one)
    return ([key_in(one) for one in many] if isinstance(value, list) else key_in(value)), ""


def validate(instance: Any) -> None:
    """Raise ``ValidationError`` with everything that keeps *instance* from being stored."""
    if is_sound(instance):
        return
    found = problems(instance)
    if found:
        schema: Schema = instance._schema
        unsaved = all("is not saved: save it first" in reason for _, reason in found)
        known = f" {instance._pk!r}" if instance._pk is not None else ""
        raise (UnsavedReference if unsaved else ValidationError)(
            f"{schema.name}{known} cannot be stored: "
            + "; ".join(f"{name}: {reason}" for name, reason in found),
            found,
        )
