"""Links between records: references that load when they are followed, and the way back.

The slot of a reference holds the key that is stored, or the instance once that is known; whatever
writes a record puts the keys in first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar, overload

from pymodels.errors import DanglingReference, ModelError, RecordNotFound, UsageError

if TYPE_CHECKING:
    from pymodels.models import Model
    from pymodels.query import Query

M = TypeVar("M", bound="Model")


def is_instance(value: Any) -> bool:
    """Tell whether what stands in a reference's slot is a record, and not the key of one."""
    return hasattr(type(value), "__schema__")


def key_in(value: Any) -> Any:
    """Return the key that a reference's slot stands for: of an instance its own."""
    return value.pk if hasattr(type(value), "__schema__") else value


def keys_in(value: Any) -> Any:
    """Return the key, or the list of keys, that a reference's slot stands for."""
    return [key_in(one) for one in value] if isinstance(value, list) else key_in(value)


def accept(value: Any, model: Any, where: str) -> Any:
    """Return *value* if it can refer to a record of *model*: an instance or a key."""
    if hasattr(type(value), "__schema__"):
        if type(value).__schema__.collection != model.__schema__.collection:
            raise UsageError(
                f"{where} refers to {model.__name__}, and {value!r} is a {type(value).__name__}"
            )
        return value
    return value


def accept_all(value: Any, model: Any, where: str) -> None:
    """Check that *value*, or each member of it, can refer to a record of *model*."""
    for one in value if isinstance(value, list) else [value]:
        accept(one, model, where)


class Reference:
    """The attribute of a field that refers to another record."""

    def __init__(self, name: str, model: Any, slot: Any) -> None:
        self.name = name
        self.model = model
        self.slot = slot

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = self.slot.__get__(instance, owner)
        if value is None or hasattr(type(value), "__schema__"):
            return value
        found = follow(instance, self.name, self.model, [value])[value]
        self.slot.__set__(instance, found)
        return found

    def __set__(self, instance: Any, value: Any) -> None:
        where = f"{type(instance).__name__}.{self.name}"
        self.slot.__set__(instance, accept(value, self.model, where))

    def held(self, instance: Any) -> Any:
        """Return what the slot holds, a key or an instance, without loading anything."""
        return self.slot.__get__(instance)


class ListReference(Reference):
    """The attribute of a field that refers to several records, in order."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = self.slot.__get__(instance, owner)
        return None if value is None else ReferenceList(instance, self, value)

    def __set__(self, instance: Any, value: Any) -> None:
        if value is None:
            self.slot.__set__(instance, None)
            return
        if isinstance(value, ReferenceList):
            value = value.held
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise UsageError(
                f"{type(instance).__name__}.{self.name} refers to several records: give a list of "
                f"{self.model.__name__}s or keys, not {value!r}"
            )
        where = f"{type(instance).__name__}.{self.name}"
        self.slot.__set__(instance, [accept(one, self.model, where) for one in value])


class ReferenceList(MutableSequence[Any]):
    """The records that a field refers to; they load together when one of them is needed.

    ``keys`` are theirs, without loading. Changes go to the record's own list.
    """

    __slots__ = ("_attribute", "_instance", "held")

    def __init__(self, instance: Any, attribute: ListReference, held: list[Any]) -> None:
        self._instance = instance
        self._attribute = attribute
        self.held = held

    @property
    def keys(self) -> list[Any]:
        """The keys of the records, in order; None for one that is not saved yet."""
        return [key_in(value) for value in self.held]

    def _load(self) -> None:
        wanted = [value for value in self.held if not hasattr(type(value), "__schema__")]
        if not wanted:
            return
        name, model = self._attribute.name, self._attribute.model
        found = follow(self._instance, name, model, wanted)
        self.held[:] = [
            value if hasattr(type(value), "__schema__") else found[value] for value in self.held
        ]

    def __getitem__(self, index: Any) -> Any:
        self._load()
        return self.held[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        where = f"{type(self._instance).__name__}.{self._attribute.name}"
        if isinstance(index, slice):
            self.held[index] = [accept(one, self._attribute.model, where) for one in value]
        else:
            self.held[index] = accept(value, self._attribute.model, where)

    def __delitem__(self, index: Any) -> None:
        del self.held[index]

    def __len__(self) -> int:
        return len(self.held)

    def __iter__(self) -> Iterator[Any]:
        self._load()
        return iter(list(self.held))

    def insert(self, index: int, value: Any) -> None:
        """Refer to one more record, given as an instance or a key."""
        where = f"{type(self._instance).__name__}.{self._attribute.name}"
        self.held.insert(index, accept(value, self._attribute.model, where))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ReferenceList):
            return self.keys == other.keys
        if isinstance(other, list):
            return self.keys == [key_in(value) for value in other]
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<{len(self.held)} references to {self._attribute.model.__name__}: {self.keys}>"


def forget_related(instance: Any) -> None:
    """Forget what was loaded of those that refer to *instance*."""
    if hasattr(instance, "_related"):
        del instance._related


def follow(instance: Any, name: str, model: Any, keys: Iterable[Any]) -> dict[Any, Any]:
    """Load the records that *instance* refers to; raise ``DanglingReference`` if one is gone."""
    keys = list(keys)
    where = f"{type(instance).__name__} {instance.pk!r}: {name}"
    storage = instance.storage
    if storage is None:
        raise UsageError(
            f"{where} refers to {model.__name__} {keys[0]!r}, which can be loaded once the record "
            f"belongs to a storage; key_of({name!r}) reads the key alone"
        )
    found: dict[Any, Any] = storage.get_many(model, keys)
    for key in keys:
        if key not in found:
            raise DanglingReference(
                f"{where} refers to {model.__name__} {key!r}, and there is no such record in "
                f"{storage.name}"
            ) from RecordNotFound(key)
    return found


class Related(Generic[M]):
    """The records that refer here: ``people: Related["Person"] = Related("Person", "country")``.

    Args:
        model: the model that refers, or its name where it is declared further down.
        field: the name of its field that refers here, one record or a list.

    On an instance it is a query of those records.
    """

    def __init__(self, model: type[M] | str, field: str, *, init: bool = False) -> None:
        self._model: Any = model
        self.field = field
        self.name = "related"
        self.owner: Any = None

    if not TYPE_CHECKING:

        def __class_getitem__(cls, item):
            return cls

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.owner = owner

    def model(self) -> Any:
        """Return the model that refers, and check that its field does."""
        from pymodels.resolving import model_named

        if isinstance(self._model, str):
            found = model_named(self._model, self.owner.__module__)
            if found is None:
                raise ModelError(
                    f"{self.owner.__name__}.{self.name}: no model is called {self._model!r}"
                )
            self._model = found
        info = self._model.__schema__.references.get(self.field)
        if info is None:
            raise ModelError(
                f"{self.owner.__name__}.{self.name}: {self._model.__name__} has no field "
                f"{self.field!r} that refers to a model"
            )
        return self._model

    def lookup(self, one: str, many: str) -> str:
        """Return the lookup *one* of the field that refers, or *many* where that is a list."""
        kind = self.model().__schema__.references[self.field].kind
        return f"{self.field}__{many if 'list' in kind.families else one}"

    def query(self, instance: Any, storage: Any) -> Query[M]:
        """Return the query of the records in *storage* that refer to *instance*."""
        lookups = {self.lookup("equals", "contains"): instance.pk}
        return self.model().objects(storage).where(**lookups)  # type: ignore[no-any-return]

    def remember(self, instance: Any, found: Query[M]) -> None:
        """Let *instance* answer with *found* from now on, until it is read again."""
        try:
            instance._related[self.name] = found
        except AttributeError:
            instance._related = {self.name: found}

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Related[M]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> Query[M]: ...
    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        if instance is None:
            return self
        if instance.storage is None or instance.pk is None:
            raise UsageError(
                f"{type(instance).__name__}.{self.name}: only a saved record is referred to by "
                "others, and this one is not saved"
            )
        known = getattr(instance, "_related", None)
        if known is not None and self.name in known:
            return known[self.name]
        return self.query(instance, instance.storage)

    def __set__(self, instance: object, value: Never) -> None:
        raise UsageError(
            f"{type(instance).__name__}.{self.name} is what others refer here with: "
            f"set their field {self.field!r} instead"
        )
