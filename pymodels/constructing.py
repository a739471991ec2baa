"""``Person(...)``: a constructor for each model, written for its fields.

A call with keywords is handed on fastest by a function that names all of them, so each model gets
such a function when its fields are known, as a dataclass gets its ``__init__``. What it does not
take it leaves to the slow way, which knows what was wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pymodels.errors import UsageError
from pymodels.fields import MISSING
from pymodels.lookups import nearest

if TYPE_CHECKING:
    from pymodels.schema import Schema

_make: Any = type(msgspec.Struct).__call__


def construct(cls: Any, /, *positional: Any, **values: Any) -> Any:
    """Return a new record of any model, or raise ``UsageError`` with what was given wrongly."""
    schema: Schema = cls._schema or cls.__schema__
    if positional:
        raise UsageError(
            f"{cls.__name__} takes its fields by name, not by position: write "
            f"{cls.__name__}({next(iter(schema.fields), 'pk')}={positional[0]!r})"
        )
    key = values.pop("pk", None)
    if key is None and schema.key_name != "pk":
        key = values.pop(schema.key_name, None)
    elif schema.key_name in values:
        raise UsageError(f"{cls.__name__}: pk and {schema.key_name} are the same, give one")
    try:
        instance = _make(cls, **values)
    except TypeError as error:
        raise _refused(cls, values, error) from None
    instance._pk = key
    instance._stored = instance._storage = None
    if schema.references:
        for reference in schema.references:
            if values.get(reference) is not None:
                setattr(instance, reference, values[reference])
    return instance


def _refused(cls: Any, values: Mapping[str, Any], error: TypeError) -> UsageError:
    schema = cls.__schema__
    for name in values:
        if name not in schema.fields:
            return UsageError(
                f"{cls.__name__} has no field {name!r}{nearest(name, schema.fields)}; it has "
                f"{', '.join((*schema.fields, schema.key_name))}"
            )
    missing = [
        name
        for name, info in schema.fields.items()
        if name not in values and info.options.is_required
    ]
    if missing:
        return UsageError(f"{cls.__name__} needs a value for {', '.join(map(repr, missing))}")
    return UsageError(f"{cls.__name__}: {error}")


# --- the function of one model --------------------------------------------------------------

_TEMPLATE: Final = """\
def __call__(_cls, /, *_positional, {parameters}**_more):
    if _positional or _more{incomplete}:
        _values = {{{values}}}
        _given = {{name: one for name, one in _values.items() if one is not _MISSING}}
        return _construct(_cls, *_positional, **_given, **_more)
{defaults}\
    _new = _replace(_blank, {fields})
    _new._pk = pk
    _new._stored = _new._storage = None
{references}\
    return _new
"""


def constructor(schema: Schema) -> Callable[..., Any]:
    """Return the function by which *schema*'s model makes its records.

    It is ``construct`` where there is nothing to name, or a ``__post_init__`` to be called.
    """
    cls, names = schema.model, schema.model.__struct_fields__
    if not names or hasattr(cls, "__post_init__"):
        return construct
    known: dict[str, Any] = {
        "_MISSING": MISSING,
        "_construct": construct,
        "_replace": msgspec.structs.replace,
        # Every field is replaced in it. With lists the collector sees it, and a model can go.
        "_blank": _make(cls, **{name: [] for name in names}),
    }
    parameters, incomplete, defaults = ["pk=None"], [], []
    if schema.key_name != "pk":
        # Both names at once, and the lack of a key, are for the slow way.
        parameters = ["pk=_MISSING", f"{schema.key_name}=_MISSING"]
        incomplete = ["pk is not _MISSING", f"{schema.key_name} is _MISSING"]
        defaults = [f"    pk = {schema.key_name}\n"]
    for number, name in enumerate(names):
        options = schema.fields[name].options
        if options.is_required:
            parameters.append(f"{name}=_MISSING")
            incomplete.append(f"{name} is _MISSING")
        elif options.factory is not None:
            known[f"_make{number}"] = options.factory
            parameters.append(f"{name}=_MISSING")
            defaults.append(f"    if {name} is _MISSING:\n        {name} = _make{number}()\n")
        else:
            known[f"_default{number}"] = options.default
            parameters.append(f"{name}=_default{number}")
    given = dict.fromkeys(["pk", schema.key_name, *names])
    source = _TEMPLATE.format(
        parameters="".join(f"{one}, " for one in parameters),
        incomplete="".join(f" or {one}" for one in incomplete),
        values=", ".join(f"{name!r}: {name}" for name in given),
        defaults="".join(defaults),
        fields=", ".join(f"{name}={name}" for name in names),
        references="".join(
            f"    if {name} is not None:\n        _new.{name} = {name}\n"
            for name in schema.references
        ),
    )
    exec(source, known)  # noqa: S102 - made of the names of fields alone, which are identifiers
    made: Callable[..., Any] = known["__call__"]
    return made
