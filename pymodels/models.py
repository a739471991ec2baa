"""``Model``: a record with an identity, that can be saved, compared and looked at through views."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

import msgspec

from pymodels import persistence, soundness
from pymodels.checks import shown
from pymodels.declaring import ModelMeta
from pymodels.errors import RecordNotFound, UsageError
from pymodels.fields import Key
from pymodels.hooks import Hooks
from pymodels.lookups import nearest
from pymodels.references import forget_related, keys_in
from pymodels.schema import schema_of
from pymodels.storage import Opened, Storage, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pymodels.conditions import Condition
    from pymodels.query import Query
    from pymodels.schema import Schema

    class _Struct: ...

else:
    _Struct = msgspec.Struct

N = TypeVar("N", bound="Model")


class _State:
    """What an instance knows of its record, beside the fields.

    ``_pk`` is its key, ``_stored`` the stored form that it was read from or saved as, ``_storage``
    the storage that it belongs to; the last two are None for a new record. ``_related`` is set only
    where those that refer to it have been loaded.
    """

    __slots__ = ("__weakref__", "_pk", "_related", "_storage", "_stored")


class Model(_State, Hooks, _Struct, metaclass=ModelMeta):
    """A record. Subclasses declare its fields, and are used with any storage.

    Class keywords, or the attributes of a nested ``class Meta``:

    Args:
        collection: the name under which records are kept; by default made of the class's name, and
            for a subclass its parent's: a subclass is a *view* of the same records.
        must_have: lookups that hold for every record of the model, as a mapping or conditions. They
            narrow ``objects()``, are checked by ``save()``, and plain equalities are filled in.
        must_not_have: lookups of which none holds.
        indexes: further indexes: a field's name, several, or ``{"fields": ..., "unique": True}``.
        abstract: the class has no records; it lends its fields and methods.
        label: a name for people.

    >>> from pymodels import Field, Model, get_storage
    >>> class Note(Model):
    ...     text: Field[str]
    >>> storage = get_storage("pymodels.ext.memory")
    >>> note = Note(text="milk").save(storage)
    >>> note.text = "oat milk"
    >>> note.changes()
    {'text': ('milk', 'oat milk')}
    >>> Note.objects(storage).get(note.save().pk).text
    'oat milk'
    """

    if TYPE_CHECKING:
        pk: Key[Any] = Key(default=None)
        __schema__: ClassVar[Schema]
        _schema: ClassVar[Any]
        # Without annotations, or they would be arguments of the constructor.
        _pk = cast(Any, None)
        _stored = cast(Any, None)
        _storage = cast("Storage | None", None)
        _related = cast(Any, None)

        def __init_subclass__(
            cls,
            *,
            collection: str = ...,
            must_have: Mapping[str, Any] | Condition | Iterable[Condition] = ...,
            must_not_have: Mapping[str, Any] | Condition | Iterable[Condition] = ...,
            indexes: Iterable[str | Iterable[str] | Mapping[str, Any]] = ...,
            abstract: bool = ...,
            label: str = ...,
        ) -> None: ...
    else:

        @property
        def pk(self):
            """The primary key, None as long as there is none."""
            return self._pk

        @pk.setter
        def pk(self, key):
            if self._stored is not None and key != self._pk:
                raise UsageError(
                    f"{self!r} is stored under its key, which does not change: "
                    f"save_as({key!r}) stores a copy under another"
                )
            self._pk = key

    # --- finding ----------------------------------------------------------------------------

    @classmethod
    def objects(
        cls, storage: Storage | Callable[[], Storage], *, allow_scan: bool = True
    ) -> Query[Self]:
        """Return the query of all records of this model in *storage*.

        *storage* may be a function that returns one. With ``allow_scan=False`` queries that would
        read every record raise ``ScanRefused``.
        """
        try:
            found: Query[Self] | None = storage.queries.get(cls)  # type: ignore[union-attr]  # else it is a function
        except AttributeError:
            found = None  # as of a function
        if found is not None and allow_scan:
            return found
        return resolve(storage).query(cls, allow_scan=allow_scan)

    @classmethod
    def reference(cls, key: Any) -> Self:
        """Return *key* where an instance is expected: ``Person(home=Town.reference(7))``.

        What is returned is the key itself; nothing is loaded.
        """
        return cls.__schema__.check_key(key)  # type: ignore[no-any-return]  # documented above

    @property
    def storage(self) -> Storage | None:
        """The storage that the record belongs to, None for a new record."""
        return self._storage

    # --- saving -----------------------------------------------------------------------------

    def save(
        self,
        storage: Storage | Callable[[], Storage] | None = None,
        *,
        check: bool = False,
        replace: bool = False,
    ) -> Self:
        """Store the record, where it belongs or in *storage*, and return the instance.

        Of a stored record only what changed is written, so that others may change other fields at
        the same time. A new record is stored under its key, or a new one.

        Args:
            storage: where to store it; needed for a new record. A record of one storage that is
                saved in another becomes one of that, with the same key.
            check: raise ``Conflict`` if the record has changed since it was read.
            replace: a new record may take the place of another one under its key.

        Raises ``ValidationError`` with all that is wrong, ``DuplicateKey`` if the key or a unique
        value is taken, ``RecordNotFound`` if the record was deleted meanwhile.
        """
        if not isinstance(storage, Opened):
            storage = self._target(storage)
        if replace or not persistence.save_new(self, storage):
            persistence.save([self], storage, check=check, replace=replace)
        return self

    def save_as(
        self,
        key: Any = None,
        storage: Storage | Callable[[], Storage] | None = None,
        *,
        replace: bool = False,
    ) -> Self:
        """Store a copy as a new record and return it; this instance stays as it is.

        Args:
            key: the key of the copy, by default a new one.
            storage: where to store it, by default where this record belongs.
            replace: take the place of another record under that key.
        """
        target = self._target(storage)
        other: Any = copy.copy(self)
        unknown = persistence.unknown_fields(self, self._schema)
        other._pk = key
        other._stored = other._storage = None
        persistence.save([other], target, replace=replace, unknown=unknown)
        return other  # type: ignore[no-any-return]  # a copy of this instance

    def delete(self, *, check: bool = False) -> None:
        """Delete the record; the instance is a new one afterwards, with the same key.

        With *check* ``Conflict`` is raised if the record has changed since it was read.
        """
        if self._storage is None:
            raise UsageError(f"{self!r} is not stored, so it cannot be deleted")
        persistence.delete(self, self._storage, check=check)

    def refresh(self) -> Self:
        """Read the record again, and forget what was changed here."""
        if self._storage is None:
            raise UsageError(f"{self!r} is not stored, so it cannot be read again")
        schema, target = self._schema, self._storage.current
        stored = target.read(schema, (self._pk,))[0]
        if stored is None:
            raise RecordNotFound(
                f"{target.name} has no {schema.name} with the key {self._pk!r} any more"
            )
        fresh = target.loader(schema)(self._pk, stored)
        for info in schema.fields.values():
            setattr(self, info.name, info.held(fresh))
        target.remember((self,))
        forget_related(self)
        self._stored = stored
        return self

    def _target(self, storage: Storage | Callable[[], Storage] | None) -> Storage:
        if storage is not None:
            return resolve(storage)
        if self._storage is None:
            raise UsageError(
                f"{self!r} is new and belongs to no storage yet: save(storage) says where"
            )
        return self._storage

    # --- looking at it ----------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ``ValidationError`` with everything that keeps the record from being stored."""
        soundness.validate(self)

    @property
    def is_changed(self) -> bool:
        """Whether ``save()`` would have something to write."""
        if self._stored is None or self._storage is None:
            return True
        return bool(self._storage.codec.difference(self._schema, self._stored, self))

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Return what was changed since the record was read, as {field: (before, after)}.

        Of a new record that is every field, with None before.
        """
        schema = self._schema
        if self._stored is None or self._storage is None:
            return {name: (None, keys_in(info.held(self))) for name, info in schema.fields.items()}
        codec = self._storage.codec
        names = {path[0] for path in codec.difference(schema, self._stored, self)}
        try:
            before = codec.decoder(schema)(self._stored)
        except codec.errors:
            document = codec.document(self._stored)
            return {
                info.name: (document.get(info.stored), keys_in(info.held(self)))
                for info in schema.fields.values()
                if info.stored in names
            }
        return {
            info.name: (keys_in(info.held(before)), keys_in(info.held(self)))
            for info in schema.fields.values()
            if info.stored in names
        }

    @property
    def unknown(self) -> dict[str, Any]:
        """What is stored of the record that its model does not declare, by stored name: a copy."""
        return persistence.unknown_fields(self, self._schema)

    def key_of(self, name: str) -> Any:
        """Return the key that a reference holds, or the list of them, without loading anything."""
        info = self._schema.references.get(name)
        if info is None:
            raise UsageError(
                f"{type(self).__name__} has no reference {name!r}"
                f"{nearest(name, self._schema.references)}"
            )
        return keys_in(info.held(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the key and the fields by attribute name; references stand as their keys."""
        schema = self._schema
        return {schema.key_name: self._pk} | {
            name: copy.deepcopy(keys_in(info.held(self))) for name, info in schema.fields.items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return a new record made of what ``to_dict`` returned; it is checked like any other."""
        return cls(**_by_name(values, "from_dict"))

    def convert_to(self, model: type[N], overrides: Mapping[str, Any] | None = None) -> N:
        """Return the same record through another model, with some of its fields changed.

        Saving the result writes what *overrides* and the other model add. Where the other model has
        a collection of its own, the result is a new record there.

        Args:
            model: the model to see the record as.
            overrides: values for fields of that model, by attribute name.

        Raises ``UsageError`` for what is no model, and for names that it does not have.
        """
        schema, mine = schema_of(model), self._schema
        values = {
            info.stored: keys_in(info.held(self)) for info in mine.fields.values()
        } | persistence.unknown_fields(self, mine)
        overrides = dict(_by_name(overrides or {}, "convert_to"))
        unknown = overrides.keys() - schema.fields.keys()
        if unknown:
            name = min(unknown)
            raise UsageError(f"{schema.name} has no field {name!r}{nearest(name, schema.fields)}")
        for info in schema.fields.values():
            if info.name not in overrides and info.stored in values:
                overrides[info.name] = persistence.as_field(info, values[info.stored])
        other: Any = model(**overrides)
        if schema.collection == mine.collection:
            other._pk, other._stored, other._storage = self._pk, self._stored, self._storage
        return other  # type: ignore[no-any-return]  # an instance of model

    # --- identity ---------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Model):
            return NotImplemented
        return (
            self._storage is not None
            and self._storage is other._storage
            and self._pk == other._pk
            and self._schema.collection == other._schema.collection
        )

    def __hash__(self) -> int:
        if self._storage is None:
            raise TypeError(f"{self!r} is not stored, so it has no identity to be hashed by")
        return hash((self._schema.collection, self._pk))

    def __repr__(self) -> str:
        schema = self._schema
        key = f"{schema.key_name}={self._pk!r}" if self._pk is not None else "new"
        shown = [key]
        for info in schema.fields.values():
            text = repr(keys_in(info.held(self)))
            shown.append(f"{info.name}={text if len(text) <= 60 else text[:57] + '...'}")
        return f"{schema.name}({', '.join(shown)})"

    def __copy__(self) -> Self:
        schema = self._schema
        other = type(self)(**{name: info.held(self) for name, info in schema.fields.items()})
        other._pk, other._stored, other._storage = self._pk, self._stored, self._storage
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        other = copy.copy(self)
        memo[id(self)] = other
        for info in self._schema.fields.values():
            setattr(other, info.name, copy.deepcopy(keys_in(info.held(self)), memo))
        return other

    def __reduce__(self) -> Any:
        # The storage stays behind: it is of this process. What is loaded again has to be told where
        # to be saved, and save() says so.
        values = {name: keys_in(info.held(self)) for name, info in self._schema.fields.items()}
        return (_rebuild, (type(self), self._pk, values))


def _by_name(values: Any, asker: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise UsageError(f"{asker} takes a mapping of values by name, not {shown(values)}")
    return values


def _rebuild(model: Any, key: Any, values: Mapping[str, Any]) -> Any:
    instance = model(**values)
    instance._pk = key
    return instance
