"""Deleting records, and what that asks of the records that refer to them, in one batch.

``on_delete`` of a reference says what becomes of a record when the one that it refers to goes:
it refuses that, is cleared of the reference, or goes as well, and so on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pymodels import conditions
from pymodels.changes import Change, Delete, Patch
from pymodels.errors import DeleteRefused
from pymodels.expectations import check_expectation
from pymodels.planning import Pair, Plan, matcher
from pymodels.referring import Rule, deciding, rules_about

if TYPE_CHECKING:
    from pymodels.schema import Schema
    from pymodels.storage import Storage

Place: TypeAlias = tuple[str, Any]
"""A collection and a key."""

Find: TypeAlias = Callable[[Plan], Iterable[Pair]]

_SHOWN: Final = 3
"""How many of the records that refer an error names."""


def delete_all(target: Storage, deletes: Sequence[Delete]) -> None:
    """Delete some records of one model, as each of *deletes* expects them, in one batch."""
    schema = deletes[0].schema
    if not rules_about(target, schema):
        target.write(deletes)
        return
    plan = target.plan(schema, _under(schema, [one.key for one in deletes]), unordered=True)

    def gather(find: Find) -> Sequence[Change]:
        found = dict(find(plan))
        for one in deletes:
            check_expectation(target.codec, one, found.get(one.key))
        return _Spreading(target, find).changes(deletes)

    target.compose(gather)


def delete_found(target: Storage, schema: Schema, plan: Plan) -> int:
    """Delete what *plan* finds, in one batch; return how many records that were."""
    if not rules_about(target, schema):
        done = target.delete_found(plan)
        if done is not None:
            return done
        return target.rewrite(
            plan, lambda key, stored: Delete(schema, key, target.expectation(stored))
        )
    count = 0

    def gather(find: Find) -> Sequence[Change]:
        nonlocal count
        deletes = [Delete(schema, key, target.expectation(stored)) for key, stored in find(plan)]
        count = len(deletes)
        return _Spreading(target, find).changes(deletes)

    target.compose(gather)
    return count


def delete_keys(target: Storage, schema: Schema, keys: Sequence[Any]) -> int:
    """Delete the records of a model under some keys, in one batch; return how many there were."""
    if not keys:
        return 0
    condition = conditions.both(schema.must, _under(schema, keys))
    return delete_found(target, schema, target.plan(schema, condition, unordered=True))


def _under(schema: Schema, keys: Sequence[Any]) -> conditions.Condition:
    return schema.keyword("pk__in", keys)


@dataclass(slots=True)
class _Referring:
    """A record that stays, and that refers to some that go."""

    schema: Schema
    key: Any
    stored: Any
    rules: dict[str, Rule] = field(default_factory=dict)  # by stored name of the field


class _Spreading:
    """From the records that are to go to all that has to be written because of it."""

    def __init__(self, target: Storage, find: Find) -> None:
        self.target = target
        self.find = find
        self.gone: dict[Place, Delete] = {}
        self.staying: dict[Place, _Referring] = {}

    def changes(self, deletes: Sequence[Delete]) -> Sequence[Change]:
        """Return the whole batch; raise ``DeleteRefused`` if a record that stays forbids it."""
        fresh = list(deletes)
        while fresh:
            for one in fresh:
                self.gone[one.schema.collection, one.key] = one
            going: dict[Schema, list[Any]] = {}
            for one in fresh:
                going.setdefault(one.schema, []).append(one.key)
            fresh = [more for schema, keys in going.items() for more in self.ask(schema, keys)]
        # A record that is itself deleted has no say, nor has it anything to be cleared of.
        staying = [one for place, one in self.staying.items() if place not in self.gone]
        self.refuse(staying)
        return [*self.gone.values(), *map(self.cleared, staying)]

    def ask(self, schema: Schema, keys: Sequence[Any]) -> list[Delete]:
        """Ask those that refer to some records that go; return what goes because of it."""
        matched: dict[tuple[Place, str], tuple[Any, list[Rule]]] = {}
        for rule in rules_about(self.target, schema):
            lookup = "contains_any" if rule.is_list else "in"
            refers = rule.schema.keyword(f"{rule.info.name}__{lookup}", keys)
            condition = conditions.both(rule.schema.must, refers)
            plan = self.target.plan(rule.schema, condition, unordered=True)
            for key, stored in self.find(plan):
                where = (rule.schema.collection, key), rule.info.stored
                matched.setdefault(where, (stored, []))[1].append(rule)
        more: list[Delete] = []
        for (place, name), (stored, rules) in matched.items():
            rule = deciding(rules)
            if place in self.gone or rule.action == "nothing":
                continue
            if rule.action == "cascade":
                expect = self.target.expectation(stored)
                self.gone[place] = Delete(rule.schema, place[1], expect)
                more.append(self.gone[place])
            else:
                one = self.staying.setdefault(place, _Referring(rule.schema, place[1], stored))
                one.rules[name] = rule
        return more

    def refuse(self, staying: Iterable[_Referring]) -> None:
        """Raise ``DeleteRefused`` if one of the records that stay forbids what was to be done."""
        refusing = [
            (rule, one) for one in staying for rule in one.rules.values() if rule.action == "refuse"
        ]
        if not refusing:
            return
        rule, first = refusing[0]
        wanted = self.wanted(rule, first)
        shown = [f"{rule.title} of {one.key!r}" for rule, one in refusing[:_SHOWN]]
        more = f" and {len(refusing) - _SHOWN} more" if len(refusing) > _SHOWN else ""
        raise DeleteRefused(
            f"{wanted.schema.name} {wanted.key!r} cannot be deleted: {', '.join(shown)}{more} "
            'would be left without it, and on_delete="refuse" forbids that: delete those records, '
            "or let them refer to others, before or in the same batch",
            wanted.schema.collection,
            wanted.key,
            [(rule.schema.name, one.key, rule.info.name) for rule, one in refusing],
        )

    def value(self, rule: Rule, one: _Referring) -> Any:
        """Return the keys that a record refers to, or the one key."""
        codec = self.target.codec
        try:
            return codec.probe(rule.schema, (rule.info.stored,))(one.stored).f0
        except codec.errors as error:
            raise codec.invalid(rule.schema, one.key, one.stored, error) from error

    def wanted(self, rule: Rule, one: _Referring) -> Delete:
        """Return the deletion of a record that another one refers to."""
        value = self.value(rule, one)
        collection = rule.info.reference.__schema__.collection
        keys = value if rule.is_list else [value]
        return next(self.gone[collection, key] for key in keys if (collection, key) in self.gone)

    def cleared(self, one: _Referring) -> Patch:
        """Return the change of a record that loses references."""
        codec, schema = self.target.codec, one.schema
        changes: dict[tuple[str, ...], Any] = {}
        for name, rule in one.rules.items():
            value: Any = None
            if rule.is_list:
                collection = rule.info.reference.__schema__.collection
                value = [key for key in self.value(rule, one) if (collection, key) not in self.gone]
            reason = rule.info.problem(value)
            if reason:
                raise self.uncleared(rule, one, reason)
            changes[(name,)] = codec.stored_value(rule.info.kind, value)
        patch = Patch(schema, one.key, changes, expect=self.target.expectation(one.stored))
        after = codec.apply(one.stored, patch)
        for rule in one.rules.values():
            must = rule.schema.must
            if must == conditions.EVERYTHING or matcher(codec, rule.schema, must)(one.key, after):
                continue
            raise self.uncleared(rule, one, f"its model demands {must!r}")
        return patch

    def uncleared(self, rule: Rule, one: _Referring, reason: str) -> DeleteRefused:
        """Return the error for a record that cannot do without a reference."""
        wanted = self.wanted(rule, one)
        return DeleteRefused(
            f"{wanted.schema.name} {wanted.key!r} cannot be deleted: {rule.title} of {one.key!r} "
            f"refers to it and cannot be cleared of that: {reason}; let it refer to another record "
            "first, or delete it too",
            wanted.schema.collection,
            wanted.key,
            [(rule.schema.name, one.key, rule.info.name)],
        )
