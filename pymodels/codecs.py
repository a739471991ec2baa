"""How one storage's records become Python values and back: what every codec does."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from pymodels.changes import Patch, StoredPath
from pymodels.errors import RecordInvalid, ValidationError
from pymodels.expressions import ListChange, Operation, changed_members
from pymodels.kinds import Kind
from pymodels.schema import FieldInfo, Schema
from pymodels.values import order_key

Raw = msgspec.Raw

Remake: TypeAlias = Callable[[Sequence[Any], Sequence[Any], set[str]], list[Any] | None]
"""See ``Codec.remaker``."""


class Codec(ABC):
    """How one storage's records become Python values and back."""

    errors: tuple[type[Exception], ...] = ()
    """What ``decoder`` and ``probe`` raise for a record that does not fit; see ``invalid``."""

    @abstractmethod
    def encode(self, instance: Any, unknown: Mapping[str, Any] | None = None) -> Any:
        """Return the stored form of an instance, with the undeclared fields *unknown* besides."""

    def encoder(self, schema: Schema) -> Callable[[Any], Any]:
        """Return ``encode`` for many instances of one model, which have nothing besides."""
        return self.encode

    @abstractmethod
    def decoder(self, schema: Schema) -> Callable[[Any], Any]:
        """Return a function from the stored form to an instance, still without key and storage."""

    @abstractmethod
    def probe(self, schema: Schema, names: tuple[str, ...]) -> Callable[[Any], Any]:
        """Return a function from the stored form to an object with some fields, ``f0``, ``f1``, ...

        A field that the record does not have is ``ABSENT`` there; structures stay plain mappings.
        """

    @abstractmethod
    def document(self, stored: Any) -> dict[str, Any]:
        """Return the record as a plain mapping by stored names, whatever a model says of it."""

    @abstractmethod
    def from_document(self, document: Mapping[str, Any]) -> Any:
        """Return the stored form of a plain mapping."""

    @abstractmethod
    def difference(self, schema: Schema, stored: Any, instance: Any) -> dict[StoredPath, Any]:
        """Return what must be set in *stored* so that it reads as *instance* does."""

    def changed(
        self, schema: Schema, key: Any, stored: Any, instance: Any
    ) -> tuple[dict[StoredPath, Any], Any]:
        """Return what ``difference`` does, and *stored* with that set."""
        found = self.difference(schema, stored, instance)
        return found, self.apply(stored, Patch(schema, key, found)) if found else stored

    def remaker(self, schema: Schema) -> Remake | None:
        """Return a function from records and their instances to what saving makes of the records.

        Of each the record itself, if nothing is different. None, if ``changed`` has to tell of all,
        because one may hold more than the model does. The stored names of fields that may be
        different are added to the set. Without such a function, ``changed`` tells of all records.
        """
        return None

    @abstractmethod
    def apply(self, stored: Any, patch: Patch) -> Any:
        """Return *stored* with *patch* carried out."""

    @abstractmethod
    def stored_value(self, kind: Kind, value: Any) -> Any:
        """Return the stored form of one value, as ``Patch.set`` holds it."""

    def revision(self, stored: Any) -> Any:
        """Return what tells one version of a record from every other."""
        return stored

    def invalid(self, schema: Schema, key: Any, stored: Any, error: Exception) -> RecordInvalid:
        """Return the error for a record that does not fit its model."""
        found = re.search(r"`\$\.([^`.\[]+)", str(error))
        field = found.group(1) if found else None
        missing = re.search(r"missing required field `([^`]+)`", str(error))
        if missing and field is None:
            field = missing.group(1)
        reason = reason_of(error)
        where = f", field {field!r}" if field else ""
        return RecordInvalid(
            f"{schema.collection} {key!r}{where}: {reason}. storage.raw({schema.name}, {key!r}) "
            "reads the record as it is stored",
            schema.collection,
            key,
            field,
        )


def check_result(patch: Patch, info: FieldInfo, operation: Operation, value: Any) -> None:
    """Raise ``ValidationError`` if a field cannot hold what an operation gives."""
    problem = info.problem(value)
    if problem:
        raise unfit_result(patch, info, operation, problem)


def changed_open(patch: Patch, info: FieldInfo, change: ListChange, held: Any) -> Any:
    """Return what becomes of the list or set that a field without declared members holds.

    Raises ``ValidationError`` if it holds something else, or would be a set of what changes.
    """
    if not isinstance(held, list | set):
        raise _unfit(
            patch, info, f"{change!r} needs a list or a set, and finds {type(held).__name__}"
        )
    after = changed_members(change, list(held), _as_it_is, order_key)
    if not isinstance(held, set):
        return after
    try:
        return set(after)
    except TypeError:
        problem = f"{change!r} adds what no set can have: a list, a set or a mapping"
        raise _unfit(patch, info, problem) from None


def _as_it_is(value: Any) -> Any:
    return value


def _unfit(patch: Patch, info: FieldInfo, problem: str) -> ValidationError:
    return ValidationError(
        f"{patch.schema.name} {patch.key!r}.{info.name}: {problem}", [(info.name, problem)]
    )


def unfit_result(
    patch: Patch, info: FieldInfo, operation: Operation, problem: str
) -> ValidationError:
    """Return the error for a field that cannot hold what an operation gives."""
    return ValidationError(
        f"{patch.schema.name} {patch.key!r}.{info.name}: {operation!r} gives what does not fit: "
        f"{problem}",
        [(info.name, problem)],
    )


def reason_of(error: Exception) -> str:
    """Return what msgspec says is wrong, without its way of saying where."""
    return re.sub(r" - at `\$[^`]*`", "", str(error)).replace("`", "")


def fitted(value: Decimal) -> Decimal:
    """Return a computed Decimal without more trailing zeros than its 34 digits allow."""
    return value.normalize() if len(value.as_tuple().digits) > 34 else value
