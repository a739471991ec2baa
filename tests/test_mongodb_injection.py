"""MongoDB: no operand, name or key from outside ever acts as an operator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymodels import (
    Field,
    Model,
    OperandInvalid,
    PyModelsError,
    QueryError,
    UsageError,
    ValidationError,
)
from pymodels import (
    Path as At,
)
from tests.mongodb_server import open_storage

OPERATORS = [
    "$eq",
    "$ne",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$and",
    "$or",
    "$nor",
    "$not",
    "$exists",
    "$type",
    "$expr",
    "$jsonSchema",
    "$mod",
    "$regex",
    "$options",
    "$text",
    "$where",
    "$geoIntersects",
    "$geoWithin",
    "$near",
    "$nearSphere",
    "$all",
    "$elemMatch",
    "$size",
    "$bitsAllClear",
    "$bitsAllSet",
    "$bitsAnyClear",
    "$bitsAnySet",
    "$slice",
    "$meta",
    "$rand",
    "$comment",
    "$natural",
    "$currentDate",
    "$inc",
    "$min",
    "$max",
    "$mul",
    "$rename",
    "$set",
    "$setOnInsert",
    "$unset",
    "$addToSet",
    "$pop",
    "$pull",
    "$push",
    "$pullAll",
    "$each",
    "$position",
    "$sort",
    "$bit",
    "$replaceRoot",
    "$replaceWith",
    "$addFields",
    "$project",
    "$match",
    "$group",
    "$lookup",
    "$graphLookup",
    "$merge",
    "$out",
    "$unionWith",
    "$facet",
    "$function",
    "$accumulator",
    "$literal",
    "$getField",
    "$setField",
    "$unsetField",
    "$$ROOT",
    "$$CURRENT",
    "$$REMOVE",
    "$$NOW",
    "$ref",
    "$id",
    "$db",
    "$query",
    "$orderby",
    "$explain",
    "$hint",
    "$maxTimeMS",
    "$returnKey",
    "$showDiskLoc",
    "$snapshot",
    "$isolated",
    "$atomic",
    "$sampleRate",
    "$toLower",
    "$",
]

EVIL: list[Any] = ["", 0, None, [], {}, True, "1==1", ".*", [{"x": 1}], {"$gt": ""}]


class Account(Model):
    name: Field[str] = Field(default="")
    secret: Field[str] = Field(default="")
    number: Field[int] = Field(default=0)
    counts: Field[dict[str, Any]] = Field(default_factory=dict)
    names: Field[list[str]] = Field(default_factory=list)
    anything: Field[Any] = Field(default=None)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Any]:
    with open_storage(tmp_path) as storage:
        storage.save_all(
            [
                Account(pk=key, name=key, secret="hidden", number=n, names=[key], anything=key)
                for n, key in enumerate("abc")
            ]
        )
        yield storage


def keys(query: Any) -> list[Any]:
    return [one.pk for one in query]


def test_a_mapping_as_an_operand_is_a_mapping(storage: Any) -> None:
    accounts = Account.objects(storage)
    wrong = []
    for operator in OPERATORS:
        for value in EVIL:
            operand = {operator: value}
            queries = (
                accounts.where(anything=operand),
                accounts.where(anything__in=[operand]),
                accounts.where(anything__contains=operand),
                accounts.where(counts=operand),
            )
            wrong += [(operand, found) for query in queries if (found := keys(query))]
            for text in ("name", "secret", "number", "names__contains", "name__startswith"):
                try:
                    found = keys(accounts.where(**{text: operand}))
                except OperandInvalid:
                    continue
                wrong.append((text, operand))
    assert not wrong


def test_what_looks_like_an_operator_is_found_as_what_it_is(storage: Any) -> None:
    for number, operator in enumerate(OPERATORS):
        held = {operator: EVIL[number % len(EVIL)]}
        Account(pk=f"k{number:03}", anything=held, counts=held, name=operator).save(storage)
    accounts = Account.objects(storage)
    for number, operator in enumerate(OPERATORS):
        key, held = f"k{number:03}", {operator: EVIL[number % len(EVIL)]}
        assert keys(accounts.where(anything=held)) == [key]
        assert keys(accounts.where(counts=held)) == [key]
        assert keys(accounts.where(name=operator)) == [key]
        assert keys(accounts.where(name__in=[operator, "$none"])) == [key]
        assert key in keys(accounts.where(name__startswith=operator))
        assert keys(accounts.where(At("counts", operator).exists(True))) == [key]
        assert accounts.get(key).anything == held


def test_text_that_looks_like_a_path_or_a_variable_is_text(storage: Any) -> None:
    accounts = Account.objects(storage)
    for text in (*OPERATORS, "$secret", "$$ROOT.secret", "$name", "a.b", ".", "$."):
        assert accounts.where(pk="a").update(name=text, anything={text: text}) == 1
        assert storage.get(Account, "a").name == text
        assert storage.get(Account, "a").anything == {text: text}
        one = storage.get(Account, "a")
        one.counts = {text: {text: text}}
        one.save()
        assert storage.get(Account, "a").counts == {text: {text: text}}
        assert keys(accounts.where(name=text)) == ["a"]
        made, created = accounts.get_or_create(name=f"new {text}")
        assert created
        assert made.name == f"new {text}"
    assert {one.secret for one in accounts.where(pk__in=["a", "b", "c"])} == {"hidden"}


def test_names_of_fields_are_never_operators(storage: Any) -> None:
    accounts = Account.objects(storage)
    for operator in OPERATORS:
        for ask in (
            lambda name=operator: accounts.where(**{name: 1}),
            lambda name=operator: accounts.where(**{f"name__{name}": "a"}),
            lambda name=operator: accounts.where(**{f"{name}__gt": ""}),
            lambda name=operator: accounts.order_by(name),
            lambda name=operator: accounts.order_by(f"-{name}"),
            lambda name=operator: accounts.values(name),
            lambda name=operator: list(accounts.select(name)),
            lambda name=operator: accounts.sum(name),
            lambda name=operator: accounts.group_by(name),
            lambda name=operator: accounts.update(**{name: 1}),
            lambda name=operator: accounts.get_or_create(**{name: 1}),
        ):
            with pytest.raises((QueryError, UsageError)):
                ask()
        undeclared = At(operator)
        for condition in (undeclared == 1, undeclared == "1==1", undeclared.lookup("gt", "")):
            assert keys(accounts.where(condition)) == []
        assert keys(accounts.where(undeclared == None)) == ["a", "b", "c"]  # noqa: E711
        assert keys(accounts.where(At("anything", operator) == "a")) == []
        assert keys(accounts.order_by(At(operator))) == ["a", "b", "c"]
    assert accounts.count() == 3


def test_keys_are_never_operators(storage: Any) -> None:
    for operator in OPERATORS:
        for value in EVIL:
            evil: Any = {operator: value}
            for ask in (
                lambda evil=evil: storage.get(Account, evil),
                lambda evil=evil: storage.get(Account, evil, None),
                lambda evil=evil: storage.get_many(Account, [evil]),
                lambda evil=evil: storage.delete_many(Account, [evil]),
                lambda evil=evil: Account.objects(storage).get(evil),
                lambda evil=evil: Account.objects(storage).where(pk=evil).all(),
                lambda evil=evil: Account.objects(storage).in_bulk([evil]),
            ):
                with pytest.raises((OperandInvalid, PyModelsError)):
                    ask()
            with pytest.raises(ValidationError):
                Account(pk=evil).save(storage)
        assert storage.get(Account, operator, None) is None
        Account(pk=operator, name=operator).save(storage)
        assert storage.get(Account, operator).name == operator
        assert storage.delete_many(Account, [operator]) == 1
    assert keys(Account.objects(storage)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "evil", [".*", "^", "a|b", "[a-c]", "(?i)A", "\\Qa\\E", "a\\", "/a/i", "$"]
)
def test_text_is_never_a_pattern(storage: Any, evil: str) -> None:
    accounts = Account.objects(storage)
    for lookup in (
        *("startswith", "endswith", "contains"),
        *("iequals", "icontains", "istartswith", "iendswith"),
    ):
        assert keys(accounts.where(**{f"name__{lookup}": evil})) == []
        assert keys(accounts.where(**{f"pk__{lookup}": evil})) == []
    Account(pk="evil", name=f"x{evil}x").save(storage)
    assert keys(accounts.where(name__contains=evil)) == ["evil"]
    assert keys(accounts.where(name__icontains=evil.upper())) == ["evil"]
    assert keys(accounts.where(name__startswith=f"x{evil}")) == ["evil"]
    assert keys(accounts.where(name__endswith=f"{evil}x")) == ["evil"]
