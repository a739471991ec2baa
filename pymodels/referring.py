"""Which models refer to a model, and what becomes of their records when one of it is deleted.

A model is known to those that it refers to from the moment it is declared, as a class knows its
subclasses: there is no list of all models, and models that have nothing to do with each other do
not meet, whatever their collections are called.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet, WeakValueDictionary

from pymodels.errors import PyModelsError
from pymodels.resolving import is_abstract, lineage_of
from pymodels.schema import FieldInfo, Schema

if TYPE_CHECKING:
    from pymodels.storage import Storage

STRICTEST_FIRST: Final = ("refuse", "cascade", "clear", "nothing")

# Models of which a name could not be found yet: one of their references may lead to any model.
_UNRESOLVED: Final[WeakSet[Any]] = WeakSet()


@dataclass(frozen=True, slots=True)
class Rule:
    """What a model says of one of its references: ``info.options.on_delete``."""

    schema: Schema
    info: FieldInfo

    @property
    def action(self) -> str:
        """What happens to a record that refers so to one that is deleted."""
        return self.info.options.on_delete

    @property
    def is_list(self) -> bool:
        """Whether the reference is a list of them."""
        return "list" in self.info.kind.families

    @property
    def title(self) -> str:
        """The field, as messages call it."""
        return f"{self.schema.name}.{self.info.name}"


def note_unresolved(model: Any) -> None:
    """Remember a model that refers to something that is not declared yet."""
    _UNRESOLVED.add(model)


def note_references(schema: Schema) -> None:
    """Make a model known to those models whose deleted records it wants to hear of."""
    model = schema.model
    _UNRESOLVED.discard(model)
    for info in schema.references.values():
        if _has_say(schema, info):
            # A class that is declared anew, as in a notebook, takes the place of the one before.
            name = (model.__module__, model.__qualname__, schema.collection)
            _referring_to(info.reference)[name] = model


def _has_say(schema: Schema, info: FieldInfo) -> bool:
    """Tell whether a model says anything about a reference, be it that a parent's word is void."""
    declared = (parent.__declared__.fields.get(info.name) for parent in lineage_of(schema.model))
    return any(found is not None and found.on_delete != "nothing" for found in declared)


def _referring_to(model: Any) -> WeakValueDictionary[Any, Any]:
    """Return the models that refer to a family: a model with records, and the views of it."""
    found: WeakValueDictionary[Any, Any] = _root(model).__declared__.referring
    return found


def _root(model: Any) -> Any:
    declared = model.__declared__
    if declared.root is None:
        concrete = [base for base in lineage_of(model) if not is_abstract(base)]
        declared.root = concrete[-1] if concrete else model
    return declared.root


def _resolve() -> None:
    for model in list(_UNRESOLVED):
        try:
            _ = model.__schema__
        except PyModelsError:
            continue  # whoever uses it will hear what is wrong with it


def rules_about(storage: Storage, schema: Schema) -> list[Rule]:
    """Return the rules that concern the deletion of records of *schema*'s collection.

    They are those of the models that refer to *schema*'s model, to a view of it or to what it is a
    view of; and to any other model that was used with *storage* for the same collection.
    """
    if schema.model is None:
        return []
    if _UNRESOLVED:
        _resolve()
    roots = {_root(schema.model)}
    for known in list(storage.home.met.get(schema.collection, ())):
        roots.add(_root(known))
    found = [
        rule
        for root in roots
        if root.__declared__.referring
        for model in list(_referring_to(root).values())
        for rule in _rules_of(model.__schema__, schema.collection)
    ]
    return [rule for rule in found if not any(_inherits(rule, other) for other in found)]


def _rules_of(schema: Schema, collection: str) -> Iterator[Rule]:
    for info in schema.references.values():
        if info.reference.__schema__.collection == collection and _has_say(schema, info):
            yield Rule(schema, info)


def _inherits(rule: Rule, other: Rule) -> bool:
    """Tell whether *rule* is a view's, and *other* the same one, of the model that it is a view of.

    The other one finds every record that it would find.
    """
    return (
        rule.schema is not other.schema
        and issubclass(rule.schema.model, other.schema.model)
        and rule.schema.collection == other.schema.collection
        and rule.info.options is other.info.options
    )


def deciding(rules: list[Rule]) -> Rule:
    """Return which of several rules about one field of one record counts.

    A view's goes before that of the model that it is a view of, a stricter one before others.
    """
    closest = [
        rule
        for rule in rules
        if not any(
            other.schema is not rule.schema and issubclass(other.schema.model, rule.schema.model)
            for other in rules
        )
    ]
    return min(closest, key=lambda rule: STRICTEST_FIRST.index(rule.action))
