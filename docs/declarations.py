"""The tables in semantics.md that say what each backend declares, made of the declarations.

`python -m docs.declarations` writes them anew; a test fails as long as they are not current.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pymodels import Field, Model, ext
from pymodels.capabilities import CAPABILITIES
from pymodels.lookups import LOOKUPS
from pymodels.planning import Native, Superset
from pymodels.schema import Place
from pymodels.storage import Storage

PAGE: Final = Path(__file__).parent / "semantics.md"
BEGIN: Final = "<!-- From here on made by `python -m docs.declarations`: do not edit. -->"
END: Final = "<!-- To here. -->"


class Asked(Model):
    """A field of each sort that a backend may treat in its own way."""

    text: Field[str | None] = Field(default=None)
    number: Field[int | None] = Field(default=None)
    moment: Field[datetime | None] = Field(default=None)
    members: Field[list[str]] = Field(default=[])
    text_unique: Field[str | None] = Field(default=None, unique=True)
    number_unique: Field[int | None] = Field(default=None, unique=True)
    moment_unique: Field[datetime | None] = Field(default=None, unique=True)
    text_indexed: Field[str | None] = Field(default=None, index=True)
    number_indexed: Field[int | None] = Field(default=None, index=True)
    moment_indexed: Field[datetime | None] = Field(default=None, index=True)
    members_indexed: Field[list[str]] = Field(default=[], index=True)


_NOON: Final = datetime(2024, 2, 29, 12, tzinfo=UTC)

# What each lookup is asked with, by the sort of field.
_VALUES: Final[Mapping[str, Any]] = {"text": "a", "number": 1, "moment": _NOON, "members": ["a"]}
_OPERANDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "in": {sort: [value] for sort, value in _VALUES.items()},
    "exists": dict.fromkeys(_VALUES, True),
    "between": {sort: (value, value) for sort, value in _VALUES.items() if sort != "members"},
    "contains": {"text": "a", "members": "a"},
    "contains_all": {"text": ["a"], "members": ["a"]},
    "contains_any": {"text": ["a"], "members": ["a"]},
    "size": {"members": 1},
    **{
        name: {"text": "a"}
        for name in LOOKUPS
        if name.endswith(("startswith", "endswith", "matches")) or name in ("iequals", "icontains")
    },
    "search": {"text": "a"},
    **{name: {"moment": 1} for name in ("year", "month", "day", "week_day", "hour")},
    **{
        name: {sort: value for sort, value in _VALUES.items() if sort != "members"}
        for name in ("gt", "gte", "lt", "lte")
    },
}


def backends() -> dict[str, Any]:
    """Return the modules in ``pymodels.ext`` that are backends, by name."""
    found = {}
    for module in pkgutil.iter_modules(ext.__path__):
        if module.name.startswith("_"):  # what several backends share
            continue
        backend = importlib.import_module(f"{ext.__name__}.{module.name}")
        if hasattr(backend, "Storage") and hasattr(backend, "Query"):
            found[module.name] = backend
    return dict(sorted(found.items()))


def capabilities() -> Iterator[str]:
    """Yield the lines of the table of capabilities."""
    found = backends()
    yield f"| capability | {' | '.join(f'`{name}`' for name in found)} |"
    yield "|---" * (len(found) + 1) + "|"
    for name, meaning in CAPABILITIES.items():
        cells = (declared(backend.Storage, name) for backend in found.values())
        yield f"| `{name}`: {meaning} | {' | '.join(cells)} |"


def declared(storage: type[Storage], name: str) -> str:
    """Say whether a backend has a capability, always or with some settings."""
    if name in storage.capabilities:
        return "yes"
    return "some" if name in storage.may_declare else "no"


def lookups() -> Iterator[str]:
    """Yield the lines of the table of lookups that engines answer."""
    found = backends()
    yield f"| lookup | {' | '.join(f'`{name}`' for name in found)} |"
    yield "|---" * (len(found) + 1) + "|"
    for name in LOOKUPS:
        cells = (answered(backend.Query.native, name) for backend in found.values())
        yield f"| `{name}` | {' | '.join(cells)} |"


def answered(native: Native[Any], name: str) -> str:
    """Say in which places an engine answers a lookup, with a star where Python checks again."""
    lookup = native.lookups.get(name)
    places = []
    for title, suffix in (
        ("key", None),
        ("unique", "_unique"),
        ("indexed", "_indexed"),
        ("any field", ""),
    ):
        answers = [
            answer
            for place, operand in _questions(name, suffix)
            if lookup is not None and (answer := lookup(place, operand)) is not NotImplemented
        ]
        if answers:
            checked = any(isinstance(answer, Superset) for answer in answers)
            places.append(f"{title}*" if checked else title)
    if "any field" in places:  # then also where there is an index
        places = [place for place in places if place in ("key", "any field")]
    return ", ".join(places) or "Python"


def _questions(name: str, suffix: str | None) -> Iterator[tuple[Place, Any]]:
    schema = Asked.__schema__
    for sort, operand in _OPERANDS.get(name, _VALUES).items():
        if suffix is None:
            if sort == "text":
                lookup = schema.keyword(f"pk__{name}", operand) if _fits_key(name) else None
                if lookup is not None and lookup.place is not None:
                    yield lookup.place, lookup.operand
        elif f"{sort}{suffix}" in schema.fields:
            lookup = schema.keyword(f"{sort}{suffix}__{name}", operand)
            if lookup.place is not None:
                yield lookup.place, lookup.operand


def _fits_key(name: str) -> bool:
    return "text" in _OPERANDS.get(name, _VALUES)


def tables() -> str:
    """Return what stands between the two marks."""
    return "\n".join(["", *capabilities(), "", *lookups(), ""])


def current(text: str) -> str:
    """Return the text of the page with the tables as they are to be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
