"""Operands that a field or lookup cannot take are refused when the query is built."""

import math
import re
from datetime import UTC, date, datetime
from enum import Enum

import pytest

from pymodels import F, OperandInvalid, Path
from tests.complaints import complaint
from tests.unread import Address, Nicknamed, Person, Town, unread_storage


@pytest.fixture
def storage():
    return unread_storage()


@pytest.fixture
def people(storage):
    return Person.objects(storage)


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)
AWARE = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("keyword", "operand", "mentioned"),
    [
        ("name", 3, ["holds text", "number", "3"]),
        ("name", b"x", ["holds text", "bytes"]),
        ("name", ["x"], ["holds text", "list"]),
        ("name", object(), ["holds text", "object"]),
        ("name", Town, ["holds text", "Town"]),
        ("name", "\ud800", ["surrogate"]),
        ("age", "3", ["holds number", "text", "'3'"]),
        ("age", True, ["holds number", "bool"]),
        ("age", float("nan"), ["nan"]),
        ("age", {"$gt": 1}, ["holds number", "mapping"]),
        ("active", 1, ["holds bool", "number"]),
        ("born", "2020-01-01", ["holds instant", "text"]),
        ("born", date(2020, 1, 1), ["holds instant", "date"]),
        ("born", datetime(2020, 1, 1), ["naive", "time zone"]),
        ("day", AWARE, ["holds date", "instant"]),
        ("tags", ("a",), ["holds list", "tuple"]),
        ("tags", "a", ["holds list", "text"]),
        ("table", [1], ["holds mapping", "list"]),
        ("table", {1: 1}, ["keys of a mapping are text"]),
        ("address__city", 3, ["Person.address__city", "holds text"]),
        ("addresses__number", "3", ["Person.addresses__number", "holds number"]),
        ("addresses__0__number", "3", ["holds number"]),
        ("pair__0", "x", ["holds number"]),
        ("town", "Rome", ["holds number", "'Rome'"]),
        ("pk", 3, ["holds text", "3"]),
        ("anything", object(), ["object"]),
        ("anything", float("inf"), ["inf"]),
        ("anything", datetime(2020, 1, 1), ["naive"]),
        ("age__gt", "3", ["holds number", "text"]),
        ("age__lte", True, ["holds number", "bool"]),
        ("tags__gt", ["a"], ["list", "neither greater nor less"]),
        ("anything__gt", ["a"], ["list", "neither greater nor less"]),
        ("anything__lt", {"a": 1}, ["mapping", "neither greater nor less"]),
        ("address__gte", {"city": "x"}, ["mapping", "neither greater nor less"]),
        ("age__between", 3, ["pair (low, high)"]),
        ("age__between", (1, 2, 3), ["pair (low, high)"]),
        ("age__between", (1, "x"), ["holds number", "'x'"]),
        ("age__between", "12", ["pair (low, high)"]),
        ("age__in", 3, ["list of values"]),
        ("name__in", "abc", ["list of values"]),
        ("age__in", [1, "x"], ["holds number", "'x'"]),
        ("name__startswith", 3, ["takes text", "3"]),
        ("name__startswith", None, ["takes text", "None"]),
        ("age__startswith", "3", ["holds number", "text"]),
        ("tags__endswith", "x", ["holds list", "text"]),
        ("anything__icontains", 3, ["takes text"]),
        ("name__matches", "(", ["'('", "no regular expression"]),
        ("name__imatches", "*", ["'*'", "no regular expression"]),
        ("name__matches", "a{99999999999}", ["no regular expression"]),
        ("name__matches", "(" * 3000, ["no regular expression"]),
        ("name__in", Person.tags, ["list of values", "Person.tags"]),
        ("pk__in", ENDLESS, ["nested too deeply"]),
        ("anything", ENDLESS, ["nested too deeply"]),
        ("name", ENDLESS, ["nested too deeply"]),
        ("name__matches", re.compile("x"), ["text of a regular expression", "(?i)"]),
        ("age__matches", "x", ["holds number"]),
        ("name__exists", 1, ["True or False"]),
        ("anything__exists", "yes", ["True or False"]),
        ("tags__contains", 3, ["holds text", "3"]),
        ("age__contains", 3, ["only text and lists contain"]),
        ("name__contains", 3, ["text", "3"]),
        ("tags__contains_all", "abc", ["list of values"]),
        ("tags__contains_any", ["a", 3], ["holds text", "3"]),
        ("tags__size", "3", ["int"]),
        ("tags__size", True, ["int"]),
        ("name__size", 3, ["holds text", "list"]),
        ("born__year", "2020", ["int"]),
        ("born__month", 1.0, ["int"]),
        ("age__year", 2020, ["holds number", "instant"]),
        ("day__hour", 3, ["holds date", "instant"]),
        ("age", F("score"), ["F is for update()"]),
        ("age__gt", F("score") + 1, ["F is for update()"]),
    ],
)
def test_operands_that_the_field_or_lookup_cannot_take(people, keyword, operand, mentioned):
    for build in (people.where, people.where_not, people.get):
        with complaint(OperandInvalid, "Person.", *mentioned):
            build(**{keyword: operand})


@pytest.mark.parametrize(
    "build",
    [
        lambda q: q.where(age=None),
        lambda q: q.where(age__gt=None),
        lambda q: q.where(tags__contains=None),
        lambda q: q.where(age__in=[]),
        lambda q: q.where(age__in=[None, 1.5]),
        lambda q: q.where(age=10**30),
        lambda q: q.where(anything__gt="x"),
        lambda q: q.where(name__in={"a", "b"}),
        lambda q: q.where(address={"city": "x", "number": 1}),
        lambda q: q.where(address=Address("x")),
        lambda q: q.where(pk__gt="a"),
        lambda q: q.where(Nicknamed.nick == "x"),
        lambda q: q.where(Path("undeclared", "a.b__c", 0) == "x"),
        lambda q: q.where(Path("undeclared").lookup("size", 3)),
    ],
)
def test_sound_questions_are_not_refused(people, build):
    build(people)


class Odd(Enum):
    """Members whose values no record can hold."""

    NOT_A_NUMBER = math.nan
    ENDLESS = math.inf
    BROKEN = "\ud800"
    STRANGE = frozenset({1})


@pytest.mark.parametrize("lookup", ["equals", "in", "gt", "gte", "lt", "lte", "between"])
@pytest.mark.parametrize("member", Odd)
@pytest.mark.parametrize("field", ["name", "age", "anything"])
def test_the_value_of_a_member_is_checked_as_any_other(people, lookup, member, field):
    operand = {"in": [member], "between": (member, member)}.get(lookup, member)
    with pytest.raises(OperandInvalid):
        people.where(**{f"{field}__{lookup}": operand})
