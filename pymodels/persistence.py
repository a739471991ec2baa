"""Between instances and storages: loading, and all that saving takes.

``save`` is the one way in which instances are written, alone or many in one batch: hooks, checks,
what the view demands, the smallest change that will do, and the state of the instances afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pymodels import conditions
from pymodels.active import ACTIVE
from pymodels.changes import Delete, Expect, Expectation, Inserts, Patch, Put
from pymodels.errors import Unsupported, ValidationError
from pymodels.hooks import Hooks
from pymodels.kinds import Open, convert
from pymodels.planning import Pair, matcher
from pymodels.references import forget_related, keys_in
from pymodels.resaving import save_again
from pymodels.schema import FieldInfo, Schema
from pymodels.soundness import quick_test, validate

if TYPE_CHECKING:
    from pymodels.codecs import Codec
    from pymodels.storage import Storage


_OPEN: Final = Open()

# --- loading --------------------------------------------------------------------------------


def loader(codec: Codec, schema: Schema, home: Storage) -> Callable[[Any, Any], Any]:
    """Return a function from a key and a stored form to an instance that belongs to *home*."""
    decode, errors = codec.decoder(schema), codec.errors

    def load(key: Any, stored: Any) -> Any:
        try:
            instance = decode(stored)
        except errors as error:
            raise codec.invalid(schema, key, stored, error) from error
        instance._pk = key
        instance._stored = stored
        instance._storage = home
        return instance

    return load


def load_each(
    storage: Storage, schema: Schema, find: Callable[[], Iterable[Pair]]
) -> Iterator[Any]:
    """Yield the instances of what *find* returns, which is called when the first one is asked for.

    It does what ``loader`` does, without a call for each.
    """
    codec, home = storage.codec, storage.home
    decode, errors = codec.decoder(schema), codec.errors
    for key, stored in find():
        try:
            instance = decode(stored)
        except errors as error:
            raise codec.invalid(schema, key, stored, error) from error
        instance._pk = key
        instance._stored = stored
        instance._storage = home
        yield instance


def load_chunks(
    storage: Storage, schema: Schema, chunks: Iterable[Sequence[tuple[bytes, Any]]]
) -> list[Any]:
    """Return the instances of many records, which are given by their encoded keys."""
    codec, home, key_of = storage.codec, storage.home, schema.key.decode
    decode, errors = codec.decoder(schema), codec.errors
    found: list[Any] = []
    add = found.append
    for chunk in chunks:
        for key, stored in chunk:
            try:
                instance = decode(stored)
            except errors as error:
                raise codec.invalid(schema, key_of(key), stored, error) from error
            instance._pk = key_of(key)
            instance._stored = stored
            instance._storage = home
            add(instance)
    return found


def load_by_key(
    storage: Storage, schema: Schema, pairs: Iterable[tuple[Any, Any | None]]
) -> dict[Any, Any]:
    """Return the instances of *pairs* by key, without those of which nothing is stored."""
    codec, home = storage.codec, storage.home
    decode, errors = codec.decoder(schema), codec.errors
    loaded: dict[Any, Any] = {}
    for key, stored in pairs:
        if stored is None:
            continue
        try:
            loaded[key] = instance = decode(stored)
        except errors as error:
            raise codec.invalid(schema, key, stored, error) from error
        instance._pk = key
        instance._stored = stored
        instance._storage = home
    return loaded


def _check_view(storage: Storage, schema: Schema, key: Any, stored: Any) -> None:
    """Raise ``ValidationError`` if a record to be stored would not be one of the view's."""
    if storage.belongs(schema, key, stored):
        return
    parts = schema.must.parts if isinstance(schema.must, conditions.And) else (schema.must,)
    failed = [part for part in parts if not matcher(storage.codec, schema, part)(key, stored)]
    raise ValidationError(
        f"{schema.name} {key!r} cannot be stored: its model demands "
        f"{' and '.join(map(repr, failed))}",
        [("", f"the model demands {part!r}") for part in failed],
    )


# --- saving ---------------------------------------------------------------------------------


def save(
    instances: Sequence[Any],
    storage: Storage,
    *,
    check: bool = False,
    replace: bool = False,
    unknown: Mapping[str, Any] | None = None,
) -> int:
    """Save *instances* in one batch and return how many had something to write.

    *unknown* are undeclared fields of a new record, for a copy to take along.
    """
    target = storage.current
    home = target.home
    kinds: set[Any] = {type(instances[0])} if len(instances) == 1 else set(map(type, instances))
    is_asked = is_told = False
    for kind in kinds:
        schema = kind._schema
        if home.supported.get(schema) is not schema.indexes:
            check_supported(schema, home)
        is_asked = is_asked or kind.before_save is not Hooks.before_save
        is_told = is_told or kind.after_save is not Hooks.after_save
    if is_asked:
        for instance in instances:
            instance.before_save()
    if target is not home and instances and not (check or unknown):
        count = save_again(instances, target)
        if count is not None:
            for instance in instances if is_told else ():
                instance.after_save(False)
            return count
    if len(kinds) == 1 and not (replace or unknown):
        inserts = _inserts(instances, target.codec)
        if inserts is not None:
            _insert(inserts, instances, target, home)
            for instance in instances if is_told else ():
                instance.after_save(True)
            return len(inserts)
    prepared = _prepare(
        instances, target, home, check=check, replace=replace, unknown=unknown or {}
    )
    changes: Any = prepared
    if None in prepared:
        changes = [change for change in prepared if change is not None]
    if changes:
        target.write(changes)
    else:
        target.check_writable()
    if target is not home:  # it can be taken back, with the state of the instances
        target.remember(instances)
    for instance, change in zip(instances, prepared, strict=True):
        if type(change) is Put:
            if instance._pk is None:
                instance._pk = change.key
            instance._stored = change.stored
            instance._storage = home
        elif type(change) is Patch and change.made is not None:
            instance._stored = change.made[1]
    if is_told:
        for instance, change in zip(instances, prepared, strict=True):
            instance.after_save(type(change) is Put)
    return len(changes)


def _inserts(instances: Sequence[Any], codec: Codec) -> Inserts | None:
    """Return how to store instances of one model, if all are new and ask for nothing more."""
    schema: Schema = instances[0]._schema
    if schema.fill or schema.must is not conditions.EVERYTHING:
        return None
    is_fine, encode = schema.cache.get(codec) or _test_and_encoder(schema, codec)
    keys: list[Any] = []
    stored: list[Any] = []
    # All that one instance needs is done while it is at hand: it may be one of many thousands.
    for instance in instances:
        if instance._stored is not None:
            return None
        if not is_fine(instance):
            validate(instance)
        key = instance._pk
        keys.append(_new_key(schema) if key is None else key)
        stored.append(encode(instance))
    return Inserts(schema, keys, stored)


def _insert(inserts: Inserts, instances: Sequence[Any], target: Storage, home: Storage) -> None:
    target.write(inserts)
    if target is not home:
        target.remember(instances)
    for instance, key, stored in zip(instances, inserts.keys, inserts.stored, strict=True):
        if instance._pk is None:
            instance._pk = key
        instance._stored = stored
        instance._storage = home


def save_new(instance: Any, storage: Storage) -> bool:
    """Do what ``save`` does of a new instance, where nothing but storing is to be done; tell so.

    It is what is saved most, alone and often: each call less counts.
    """
    kind, schema = type(instance), instance._schema
    if (
        instance._stored is not None
        or storage.is_transaction
        or ACTIVE.get()
        or schema.fill
        or schema.must is not conditions.EVERYTHING
        or storage.supported.get(schema) is not schema.indexes
        or kind.before_save is not Hooks.before_save
    ):
        return False
    codec = storage.codec
    is_fine, encode = schema.cache.get(codec) or _test_and_encoder(schema, codec)
    if not is_fine(instance):
        validate(instance)
    key = instance._pk
    if key is None:
        key = _new_key(schema)
    stored = encode(instance)
    storage.write((Put(schema, key, stored, Expect.ABSENT),))
    instance._pk = key
    instance._stored = stored
    instance._storage = storage
    if kind.after_save is not Hooks.after_save:
        instance.after_save(True)
    return True


def check_supported(schema: Schema, home: Storage) -> None:
    """Refuse what the storage would silently not do."""
    home.meet(schema)
    if schema.unique and "unique" not in home.capabilities:
        names = " and ".join(", ".join(index.fields) for index in schema.unique)
        raise Unsupported(
            f"{schema.name}: {names} must be unique, and {home.name} cannot see to that: declare "
            "the model without, or choose a storage whose capabilities have 'unique'"
        )
    home.supported[schema] = schema.indexes


def _prepare(
    instances: Sequence[Any],
    target: Storage,
    home: Storage,
    *,
    check: bool,
    replace: bool,
    unknown: Mapping[str, Any],
) -> list[Put | Patch | None]:
    """Return what is to be written of each instance, None where nothing is."""
    codec = target.codec
    expect = Expect.ANYTHING if replace else Expect.ABSENT
    prepared: list[Put | Patch | None] = []
    schema: Any = None
    is_fine: Callable[[Any], bool] = bool
    encode: Callable[[Any], Any] = bytes
    is_simple = False
    for instance in instances:
        if instance._schema is not schema:
            schema = instance._schema
            is_fine, encode = schema.cache.get(codec) or _test_and_encoder(schema, codec)
            is_simple = not (unknown or schema.fill or schema.must is not conditions.EVERYTHING)
        if schema.fill:
            _fill(instance)
        if not is_fine(instance):
            validate(instance)
        if instance._stored is None and is_simple:
            key = instance._pk
            if key is None:
                key = _new_key(schema)
            prepared.append(Put(schema, key, encode(instance), expect))
        elif instance._stored is None or instance._storage is not home:
            prepared.append(_prepare_new(instance, target, expect, unknown))
        else:
            prepared.append(_prepare_changed(instance, target, check=check))
    return prepared


def _test_and_encoder(
    schema: Schema, codec: Codec
) -> tuple[Callable[[Any], bool], Callable[[Any], Any]]:
    found = schema.cache[codec] = (quick_test(schema), codec.encoder(schema))
    return found


def _prepare_changed(instance: Any, target: Storage, *, check: bool) -> Patch | None:
    """Return the change of a stored record, None if nothing is to be written or asserted."""
    schema, codec = instance._schema, target.codec
    key, before = instance._pk, instance._stored
    changed, after = codec.changed(schema, key, before, instance)
    if schema.fill:
        missing = _missing_fill(target, instance, before)
        if missing:
            changed = missing | changed
            after = codec.apply(before, Patch(schema, key, changed))
    if not changed:
        return Patch(schema, key, expect=target.expectation(before)) if check else None
    expect: Expectation = target.expectation(before) if check else Expect.PRESENT
    if schema.must is not conditions.EVERYTHING:
        _check_view(target, schema, key, after)
    return Patch(schema, key, changed, expect=expect, made=(before, after))


def _prepare_new(instance: Any, target: Storage, expect: Expect, unknown: Mapping[str, Any]) -> Put:
    schema: Schema = instance._schema
    key = instance._pk if instance._pk is not None else _new_key(schema)
    undeclared = unknown
    if instance._stored is not None:
        undeclared = {**undeclared, **unknown_fields(instance, schema)}
    if schema.fill:
        undeclared = {**undeclared, **_undeclared(schema)}
    stored = target.codec.encode(instance, undeclared)
    if schema.must is not conditions.EVERYTHING:
        _check_view(target, schema, key, stored)
    return Put(schema, key, stored, expect)


def _new_key(schema: Schema) -> Any:
    if schema.key.generate is None:
        raise ValidationError(
            f"{schema.name} cannot be stored without a key: give it a {schema.key_name} "
            f"({schema.key.type.__name__}), no new one can be made up",
            [(schema.key_name, "is missing")],
        )
    return schema.key.generate()


def _fill(instance: Any) -> None:
    """Give fields that hold nothing the values that the view demands."""
    schema: Schema = instance._schema
    for stored, value in schema.fill.items():
        info = schema.stored.get(stored)
        if info is not None and info.held(instance) is None:
            setattr(instance, info.name, value)


def _undeclared(schema: Schema) -> dict[str, Any]:
    return {name: value for name, value in schema.fill.items() if name not in schema.stored}


def _missing_fill(target: Storage, instance: Any, stored: Any) -> dict[tuple[str, ...], Any]:
    """Return what the view demands and the record lacks: a declared default is not stored yet."""
    schema: Schema = instance._schema
    if not schema.fill:
        return {}
    held = target.codec.document(stored)
    found: dict[tuple[str, ...], Any] = {}
    for name, value in schema.fill.items():
        info = schema.stored.get(name)
        value = value if info is None else keys_in(info.held(instance))
        if held.get(name) is None and value is not None:
            kind = _OPEN if info is None else info.kind
            found[(name,)] = target.codec.stored_value(kind, value)
    return found


def unknown_fields(instance: Any, schema: Schema) -> dict[str, Any]:
    """Return what is stored of *instance* and not declared by its model, by stored name."""
    if instance._stored is None:
        return {}
    document = instance._storage.codec.document(instance._stored)
    return {name: value for name, value in document.items() if name not in schema.stored}


def as_field(info: FieldInfo, value: Any) -> Any:
    """Return a value, perhaps in plain stored form, as the declared type of a field if it fits."""
    return convert(value, info.kind.annotation)


# --- deleting -------------------------------------------------------------------------------


def delete(instance: Any, storage: Storage, *, check: bool) -> None:
    """Delete the record of *instance*, which is a new one afterwards."""
    from pymodels import deleting

    target = storage.current
    instance.before_delete()
    expect: Expectation = target.expectation(instance._stored) if check else Expect.PRESENT
    target.check_writable()
    deleting.delete_all(target, [Delete(instance._schema, instance._pk, expect)])
    target.remember((instance,))
    forget_related(instance)
    instance._stored = None
    instance._storage = None
    instance.after_delete()
