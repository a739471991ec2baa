"""Transactions: an overlay over a storage, written as one batch when it is committed.

Inside, reads see what was written inside. Every record that was read is checked when the
transaction is committed: if others changed one meanwhile, ``Conflict`` says so, nothing is written,
and all can be done again. A transaction inside a transaction is a savepoint.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from pymodels import conditions
from pymodels.active import ACTIVE
from pymodels.changes import Change, Delete, Expect, Patch, Put
from pymodels.concurrency import prepared_elsewhere
from pymodels.errors import Conflict, DuplicateKey, TransactionError
from pymodels.expectations import check_expectation
from pymodels.indexes import duplicate
from pymodels.keys import KeyKind
from pymodels.overlays import DELETED, UNCHANGED, Overlay, changes_in
from pymodels.planning import Pair, Plan, execute, matcher, sort_key
from pymodels.schema import Schema
from pymodels.storage import Prepared, Storage, ended
from pymodels.values import ABSENT


class Transaction(Storage):
    """One transaction on *base*, or a savepoint where *base* is a transaction itself.

    As a context manager it commits at the end, or rolls back when an exception passes. By hand:
    ``prepare()`` checks and stages everything, ``commit()`` makes it true, ``rollback()`` forgets
    it. Instances that were saved inside get back the state they had before it.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset({"transactions"})
    is_transaction = True

    def __init__(self, base: Storage) -> None:
        super().__init__(name=base.name, read_only=base.read_only)
        self.base = base
        self.codec = base.codec
        self.root: Storage = base.home
        self.pid = os.getpid()
        self.state = "open"
        self._overlays: dict[str, Overlay] = {}
        self._unique: dict[int, Change] = {}
        self._before: list[tuple[Any, Any, Any, Any]] = []  # instances, with what they were
        self._prepared: Prepared | None = None
        self._since = base.stamp

    # --- its life ---------------------------------------------------------------------------

    @property
    def home(self) -> Storage:
        return self.root

    @property
    def native(self) -> Any:
        """The handle of the storage below, which knows nothing of this transaction's changes."""
        return self.root.native

    @property
    def revision(self) -> Any:
        return (self.base.revision, self._changes, self.state)

    def __enter__(self) -> Self:
        self._check_usable()
        ACTIVE.set((*ACTIVE.get(), self))
        return self

    def __exit__(self, *error: object) -> None:
        stack = ACTIVE.get()
        if self in stack:
            ACTIVE.set(stack[: stack.index(self)])
        if self.state in ("committed", "rolled back"):
            return
        if error[0] is not None:
            self.rollback()
        else:
            self.commit()

    def check_open(self) -> None:
        self._check_usable()
        self.base.check_open()

    def check_writable(self) -> None:
        self._check_usable()
        self.base.check_writable()

    def _check_usable(self) -> None:
        if self.state != "open":
            raise ended(self.state)
        if self.pid != os.getpid():
            raise TransactionError(
                "this transaction was begun by another process; begin one here with "
                "storage.transaction()"
            )

    def prepare(self, changes: Sequence[Change] | None = None) -> Prepared:
        """Check and stage everything that was done, so that only ``commit()`` is left."""
        if changes is not None:  # a savepoint hands its changes down
            before = {name: dict(one.changed) for name, one in self._overlays.items()}
            self.write(changes)
            return _Applied(self, before)
        self._check_usable()
        try:
            self._prepared = self._stage()
        except DuplicateKey as error:
            self.rollback()
            if error.field != self._overlays[error.collection].schema.key_name:
                raise
            # It was absent when it was read here: doing it all again may well succeed.
            raise Conflict(
                f"{error.collection} {error.value!r} was stored by others while this transaction "
                "was open; begin it again",
                error.collection,
                error.value,
            ) from error
        except BaseException:
            self.rollback()
            raise
        self.state = "prepared"
        return self._prepared

    def _stage(self) -> Prepared:
        if not (self.read_only or self._unique):
            return self.base.prepare_overlays(list(self._overlays.values()), self._since)
        batch = changes_in(self._overlays.values(), self.codec)
        if not self.read_only:
            return self.base.prepare([*batch, *self._unique.values()])
        # Nothing can have changed here, and no batch can check what was read.
        for change in batch:
            found = self.base.read(change.schema, (change.key,))[0]
            check_expectation(self.codec, change, found)
        return _Nothing()

    def commit(self) -> None:
        """Write everything that was done as one batch; raise ``Conflict`` if it is overtaken."""
        if self.state == "open":
            self.prepare()
        if self.state != "prepared" or self._prepared is None:
            raise ended(self.state)
        if self.pid != os.getpid():
            raise prepared_elsewhere(self.name)
        try:
            self._prepared.commit()
        except BaseException:
            self.state = "rolled back"
            self._restore()
            raise
        if isinstance(self.base, Transaction):
            self.base._before += self._before
        self.state = "committed"
        self._before.clear()

    def rollback(self) -> None:
        """Forget everything that was done; doing so again does no harm."""
        if self.state == "committed":
            raise ended(self.state)
        if self._prepared is not None and self.state == "prepared" and self.pid == os.getpid():
            self._prepared.rollback()
        self.state = "rolled back"
        self._restore()

    def close(self) -> None:
        if self.state in ("open", "prepared"):
            self.rollback()

    def remember(self, instances: Iterable[Any]) -> None:
        self._before += [(one, one._pk, one._stored, one._storage) for one in instances]

    def _restore(self) -> None:
        for instance, pk, stored, storage in reversed(self._before):
            instance._pk, instance._stored, instance._storage = pk, stored, storage
        self._before.clear()

    # --- the contract -----------------------------------------------------------------------

    def read(self, schema: Schema, keys: Sequence[Any]) -> Sequence[Any | None]:
        self._check_usable()
        overlay = self.overlay(schema)
        changed, found = overlay.changed, overlay.found
        if not found:  # so that nothing was changed
            there = self.base.read(schema, keys)
            found.update(zip(keys, there, strict=True))
            return there
        unknown = [key for key in keys if key not in changed and key not in found]
        if unknown:
            found.update(zip(unknown, self.base.read(schema, unknown), strict=True))
        if not changed:
            return [found[key] for key in keys]
        return [changed[key] if key in changed else found[key] for key in keys]

    def scan(self, plan: Plan) -> Iterator[Pair]:
        self._check_usable()
        pairs = self._merged(plan)
        if plan.skip or plan.most is not None:
            stop = None if plan.most is None else plan.skip + plan.most
            pairs = itertools.islice(pairs, plan.skip, stop)
        return pairs

    def _merged(self, plan: Plan) -> Iterator[Pair]:
        overlay = self.overlay(plan.schema)
        changed = dict(overlay.changed)  # others may be written before all of these are asked for
        end = None if plan.most is None else plan.skip + plan.most + len(changed)
        below = self.base.plan(
            plan.schema,
            plan.condition,
            order=plan.order,
            descending=plan.descending,
            unordered=plan.unordered,
            limit=end,
        )
        rows = self._noted(overlay, changed, execute(self.base, below))
        if not changed:
            return rows
        matches = matcher(self.codec, plan.schema, plan.condition)
        mine = [
            (key, stored)
            for key, stored in changed.items()
            if stored is not DELETED and matches(key, stored)
        ]
        if plan.unordered:
            return itertools.chain(rows, mine)
        sortable = sort_key(self, plan)
        return heapq.merge(rows, sorted(mine, key=sortable), key=sortable)

    def _noted(
        self, overlay: Overlay, changed: Mapping[Any, Any], rows: Iterator[Pair]
    ) -> Iterator[Pair]:
        """Leave out what was changed here, and note the revision of all else."""
        found = overlay.found
        for key, stored in rows:
            known = found.setdefault(key, stored)
            if key in changed:
                continue
            if known is not stored and known != stored:
                collection = overlay.schema.collection
                raise Conflict(
                    f"{collection} {key!r} was changed by others while this transaction was open; "
                    "begin it again",
                    collection,
                    key,
                )
            yield key, stored

    def write(self, changes: Sequence[Change]) -> None:
        self.check_writable()
        undo: list[tuple[dict[Any, Any], Any, Any]] = []
        overlay: Overlay | None = None
        try:
            for change in changes:
                schema, key = change.schema, change.key
                if overlay is None or overlay.schema is not schema:
                    overlay = self.overlay(schema)
                    if schema.unique:  # the storage below is to know, whichever model is met first
                        unique = Patch(schema, key, expect=Expect.ANYTHING)
                        self._unique[id(schema)] = unique
                changed = overlay.changed
                before = found = changed.get(key, UNCHANGED)
                if before is UNCHANGED:
                    found = overlay.found.get(key, UNCHANGED)
                    if found is UNCHANGED:
                        found = self.read(schema, (key,))[0]
                if (
                    type(change) is Patch
                    and change.expect is Expect.PRESENT
                    and change.made is not None
                    and change.made[0] is found
                ):
                    after = change.made[1]  # as for most records that are changed and saved
                else:
                    after = self._applied(change, found)
                if after is not found:
                    changed[key] = after
                    undo.append((changed, key, before))
                    overlay.note(change)
            if self._unique:
                for change in changes:  # after all of them: unique values may change places
                    self._check_unique(change.schema, change.key)
        except BaseException:
            for changed, key, before in reversed(undo):
                if before is UNCHANGED:
                    changed.pop(key, None)
                else:
                    changed[key] = before
            raise

    def _applied(self, change: Change, found: Any) -> Any:
        """Return what a change makes of a record: what was found itself, if that is nothing."""
        check_expectation(self.codec, change, found)
        self.root.check_change(change)
        if type(change) is Delete:
            return DELETED
        if type(change) is Put:
            return change.stored
        if type(change) is Patch and found is not None and change.changes_something:
            return self.codec.apply(found, change)
        return found

    def _check_unique(self, schema: Schema, key: Any) -> None:
        """Refuse at once what the commit would refuse: a unique value that another record has."""
        stored = self.overlay(schema).changed.get(key)
        for index in schema.unique if stored is not DELETED else ():
            try:
                record = self.codec.probe(schema, index.fields)(stored)
            except self.codec.errors:
                continue  # the record does not fit its model; the commit compares what it holds
            values = [getattr(record, f"f{number}") for number in range(len(index.fields))]
            if any(value is None or value is ABSENT for value in values):
                continue
            condition: conditions.Condition = conditions.EVERYTHING
            for name, value in zip(index.fields, values, strict=True):
                lookup = schema.keyword(schema.stored[name].name, value)
                condition = conditions.both(condition, lookup)
            for other, _ in execute(self, self.plan(schema, condition, unordered=True)):
                if other != key:
                    raise duplicate(schema.collection, index.fields, values, other)

    def collections(self) -> Mapping[str, KeyKind]:
        mine = {name: one.schema.key for name, one in self._overlays.items() if one.changed}
        return {**self.base.collections(), **mine}

    def overlay(self, schema: Schema) -> Overlay:
        found = self._overlays.get(schema.collection)
        if found is None:
            found = self._overlays[schema.collection] = Overlay(schema)
        return found

    @property
    def _changes(self) -> int:
        return sum(len(one.changed) for one in self._overlays.values())

    def query(self, model: Any, *, allow_scan: bool = True) -> Any:
        return self.root.query_class_of()(model, self, allow_scan=allow_scan)

    def plan(self, schema: Schema, condition: conditions.Condition, **options: Any) -> Plan:
        """Plan to take the whole condition: ``scan`` plans it anew for the storage below."""
        return Plan(
            schema,
            condition,
            native=self.base.plan(schema, condition, **options).native,
            order=options.get("order", ()),
            descending=options.get("descending", False),
            unordered=options.get("unordered", False),
            native_order="merged",
            skip=options.get("offset", 0),
            most=options.get("limit"),
        )

    def explain(self, plan: Plan) -> Mapping[str, Any]:
        below = self.base.plan(
            plan.schema, plan.condition, order=plan.order, descending=plan.descending
        )
        return {**self.base.explain(below), "changed in this transaction": self._changes}


class _Nothing(Prepared):
    """A transaction that only read, on a storage that can only be read."""

    def commit(self) -> None:
        pass

    def rollback(self) -> None:
        pass


class _Applied(Prepared):
    """A savepoint's changes, which are in the transaction around it already."""

    def __init__(self, outer: Transaction, before: Mapping[str, dict[Any, Any]]) -> None:
        self._outer = outer
        self._before = before

    def commit(self) -> None:
        pass

    def rollback(self) -> None:
        for name, overlay in self._outer._overlays.items():
            overlay.changed = self._before.get(name, {})
