"""Queries that have no meaning are refused when they are built: no record is ever read for them."""

import copy
import operator
import pickle

import pytest

from pymodels import (
    F,
    OperandInvalid,
    Path,
    QueryError,
    UnknownField,
    UsageError,
    ValidationError,
    get_storage,
)
from tests.complaints import complaint
from tests.unread import Person, Town, unread_storage


@pytest.fixture
def storage():
    return unread_storage()


@pytest.fixture
def people(storage):
    return Person.objects(storage)


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "mentioned"),
    [
        ("nmae", ["Person", "'nmae'", "did you mean 'name'", "Path('nmae')"]),
        ("xyzzy", ["Person", "'xyzzy'", "it has name, age, score"]),
        ("nmae__startswith", ["'nmae'", "did you mean 'name'"]),
        ("id", ["Person", "'id'"]),
        ("age__gtt", ["'gtt'", "'age__gtt'", "did you mean 'gt'"]),
        ("name__startwith", ["'startwith'", "did you mean 'startswith'"]),
        ("name__contains_al", ["'contains_al'", "'contains_all'"]),
        ("age__gt__lt", ["'gt'", "lookup", "last"]),
        ("age__", ["''", "'age__'"]),
        ("", ["''", "name, age"]),
        ("__", ["''", "'__'"]),
        ("gt", ["'gt'"]),
        ("address__cty", ["'cty'", "did you mean 'city'"]),
        ("address__city__startwith", ["'startwith'", "'startswith'"]),
        ("addresses__cty", ["'cty'", "'city'"]),
        ("addresses__0__cty", ["'cty'", "'city'"]),
        ("age__0", ["'0'", "'age__0'"]),
        ("pair__2", ["'2'", "'pair__2'"]),
        ("pk__nope", ["'nope'", "'pk__nope'"]),
        ("nick", ["'nick'"]),
    ],
)
def test_unknown_names(people, keyword, mentioned):
    for build in (
        lambda: people.where(**{keyword: 1}),
        lambda: people.where_not(**{keyword: 1}),
        lambda: people.get(**{keyword: 1}),
    ):
        with complaint(UnknownField, *mentioned):
            build()


def test_unknown_names_wherever_a_field_is_named(people):
    for build in (
        lambda: people.order_by("nmae"),
        lambda: people.order_by("age", "-nmae"),
        lambda: people.values("nmae"),
        lambda: people.select("age", "nmae"),
        lambda: people.sum("nmae"),
        lambda: people.avg("nmae"),
        lambda: people.min("nmae"),
        lambda: people.max("nmae"),
        lambda: people.group_by("nmae"),
        lambda: people.update(nmae="x"),
        lambda: people.update(age=F("nmae") + 1),
    ):
        with complaint(UnknownField, "Person", "nmae", "did you mean 'name'"):
            build()


def test_unknown_members_of_paths(people):
    with complaint(UnknownField, "'startwith'", "did you mean", "Person.name['startwith']"):
        Person.name.startwith("x")
    with complaint(UnknownField, "'city'", "Person.address['city']"):
        Person.address.city
    with complaint(UnknownField, "'cty'", "did you mean 'city'"):
        people.where(Person.address["cty"] == "x")
    with complaint(UnknownField, "'gtt'", "did you mean 'gt'"):
        Person.age.lookup("gtt", 1)
    with pytest.raises(AttributeError, match="nmae"):
        Person.nmae


# --- conditions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "combine",
    [
        lambda: Person.age > 3 and Person.age < 5,
        lambda: Person.age > 3 or Person.age < 5,
        lambda: not Person.age > 3,
        lambda: 3 < Person.age < 5,
        lambda: bool(Person.age == 3),
        lambda: 1 if Person.age == 3 else 2,
        lambda: Person.age in [3, 5],
        lambda: any([Person.age == 3]),
        lambda: bool((Person.age > 3) & ~(Person.age == 5)),
    ],
)
def test_a_condition_has_no_truth_value(combine):
    with complaint(QueryError, "truth value", "& | ~", "parentheses"):
        combine()


@pytest.mark.parametrize(
    "combine",
    [
        lambda: Person.age > 3 & Person.age < 5,
        lambda: Person.active & (Person.age > 3),
        lambda: (Person.age > 3) | Person.active,
        lambda: (Person.age > 3) & True,
        lambda: "x" | (Person.age > 3),
        lambda: ~Person.active,
    ],
)
def test_slips_of_precedence_are_explained(combine):
    with complaint(QueryError, "conditions", "parentheses"):
        combine()


def test_a_path_is_no_value():
    with complaint(QueryError, "Person.active", "truth value", "compare"):
        bool(Person.active)
    with complaint(QueryError, "Person.tags.contains('x')"):
        "x" in Person.tags  # noqa: B015
    with complaint(QueryError, "F('age') + 1"):
        Person.age + 1
    with complaint(QueryError, 'order_by("-age")'):
        -Person.age
    for misuse in (lambda: list(Person.tags), lambda: len(Person.tags)):
        with pytest.raises(TypeError):
            misuse()


@pytest.mark.parametrize(
    "given", ["age > 3", True, None, {"age": 3}, lambda person: person.age, 3, Person.age]
)
def test_what_is_no_condition(people, given):
    for build in (people.where, people.where_not):
        with complaint(QueryError, "Person", "no condition", "age__gt=30"):
            build(given)


def test_fields_of_another_model(storage, people):
    for build in (
        lambda: people.where(Town.name == "x"),
        lambda: people.where((Person.age > 3) & ~(Town.name == "x")),
        lambda: people.order_by(Town.name),
        lambda: people.values(Town.name),
        lambda: people.select(Person.name, Town.name),
        lambda: people.sum(Town.id),
        lambda: people.group_by(Town.name),
    ):
        with complaint(QueryError, "Town.", "another model than Person"):
            build()


def test_where_not_of_nothing(people):
    with complaint(UsageError, "where_not", "condition"):
        people.where_not()


@pytest.mark.parametrize(
    "parts", [(), ("",), (None,), ("a", ""), ("a", -1), ("a", 1.5), ("a", True), (b"a",)]
)
def test_paths_that_lead_nowhere(parts):
    with complaint(QueryError, "path"):
        Path(*parts)


@pytest.mark.parametrize("index", [-1, True, 1.5, slice(0, 2), ""])
def test_indices_in_paths(index):
    with complaint(QueryError, "path"):
        Person.tags[index]


# --- slices and order -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "mentioned"),
    [
        (-1, ["-1", "reverse()[0]"]),
        (-3, ["-3", "reverse()[2]"]),
        (slice(-3, None), ["from the start", "reverse()"]),
        (slice(None, -1), ["from the start", "reverse()"]),
        (slice(-5, -1), ["from the start"]),
        (slice(None, None, 2), ["step", "2"]),
        (slice(None, None, -1), ["step", "-1"]),
    ],
)
def test_slices_that_no_engine_knows(people, index, mentioned):
    with complaint(QueryError, *mentioned):
        people[index]


@pytest.mark.parametrize("index", ["ann", 1.5, True, None, (1, 2), slice("a", "b"), slice(1.5)])
def test_indices_are_whole_numbers(people, index):
    with complaint(UsageError, "number"):
        people[index]


@pytest.mark.parametrize(
    "method",
    [
        lambda q: q.where(age=1),
        lambda q: q.where_not(age=1),
        lambda q: q.order_by("age"),
        lambda q: q.reverse(),
        lambda q: q.unordered(),
        lambda q: q.last(),
        lambda q: q.get(age=1),
        lambda q: q & q,
        lambda q: q | q,
        lambda q: q - q,
    ],
)
def test_a_slice_is_final(people, method):
    for sliced in (people[:3], people[2:], people[1:5]):
        with complaint(QueryError, "slice", "before"):
            method(sliced)


@pytest.mark.parametrize("field", ["", "-", 3, None, ["age"], b"age"])
def test_order_by_takes_names(people, field):
    with complaint(UsageError, "order_by", "age", repr(field)):
        people.order_by(field)


@pytest.mark.parametrize("field", ["age desc", "+age", "--age", "?", "age,name", "-" * 3 + "x"])
def test_other_spellings_of_order_are_not_guessed(people, field):
    with complaint(UnknownField, "Person"):
        people.order_by(field)


@pytest.mark.parametrize(
    "field", ["tags", "-tags", "addresses", "addresses__city", "pair", Person.tags]
)
def test_lists_have_no_order(people, field):
    with complaint(QueryError, "Person.", "list", "one value"):
        people.order_by(field)


def test_more_about_order(people):
    people.order_by("addresses__0__city", "-table__x", "anything", "address__city", "pk")
    with complaint(UsageError, "nulls", '"first"', '"last"', "'middle'"):
        people.order_by("age", nulls="middle")
    with complaint(UnknownField, "'gt'", "lookup"):
        people.order_by("age__gt")


# --- combining ------------------------------------------------------------------------------


def test_queries_that_do_not_belong_together(storage, people):
    other = get_storage("pymodels.ext.memory", name="other")
    with complaint(QueryError, "Person", "Town"):
        people & Town.objects(storage)
    with complaint(QueryError, "Town", "Person"):
        Town.objects(storage) | people
    for combine in (operator.and_, operator.or_, operator.sub):
        with complaint(QueryError, "different storages"):
            combine(people, Person.objects(other))
        with complaint(QueryError, "where(", "where_not("):
            combine(people, Person.age > 3)
    with complaint(QueryError, "where("):
        people | Person.active
    for misuse in (
        lambda: people & 3,
        lambda: people | None,
        lambda: people - [],
        lambda: len(people),
    ):
        with pytest.raises(TypeError):
            misuse()


# --- asking and changing --------------------------------------------------------------------


def test_get_takes_a_key_of_the_models_kind(people):
    for key in (3, None, Person.age, Town(id=3), Person(), ""):
        with complaint(OperandInvalid, "Person.pk"):
            people.get(key)
    with complaint(QueryError, "no condition"):
        people.get("a", "b")
    with complaint(OperandInvalid, "Person.pk", "3"):
        people.in_bulk(["a", 3])
    with complaint(UsageError, "in_bulk", "'abc'"):
        people.in_bulk("abc")


def test_get_or_create_makes_what_it_is_given(people):
    for lookups in ({"age__gt": 3}, {"name__startswith": "x"}, {"address__city": "x"}):
        with complaint(UsageError, "get_or_create", *lookups, "where()"):
            people.get_or_create(**lookups)
    with complaint(UsageError, "'nmae'", "did you mean 'name'"):
        people.get_or_create(nmae="x")
    with complaint(UsageError, "'nmae'", "did you mean 'name'"):
        people.get_or_create({"nmae": "x"}, name="x")
    for defaults in (Person.age > 3, "x", 3, [("name", "x")]):
        with complaint(UsageError, "get_or_create", "mapping"):
            people.get_or_create(defaults, name="x")


@pytest.mark.parametrize("changes", [{"pk": "x"}, {"pk": F("name")}])
def test_keys_are_not_updated(people, changes):
    with complaint(UsageError, "key", "save_as()"):
        people.update(**changes)


def test_the_key_under_its_own_name_is_not_updated(storage):
    with complaint(UsageError, "key", "save_as()"):
        Town.objects(storage).update(id=3)


def test_updates_that_have_no_meaning(people):
    with complaint(UsageError, "update", "field=value"):
        people.update()
    with complaint(UnknownField, "'address__city'", "whole fields"):
        people.update(address__city="x")
    with complaint(UnknownField, "'pk'"):
        people.update(name=F("pk"))
    with complaint(ValidationError, "Person.age", "int", "'x'"):
        people.update(age="x")
    with complaint(ValidationError, "Person.age", "Path"):
        people.update(age=Person.age)
    for wrong in (None, [1], {"a": 1}, True):
        with complaint(OperandInvalid, "F computes", repr(wrong)):
            F("age") + wrong
    for build in (
        lambda: F("age") + F("tags").append("x"),
        lambda: F("tags").append("x") + 1,
        lambda: 2 * F("tags").remove("x"),
    ):
        with complaint(OperandInvalid, "F('tags')", "is a list", "numbers"):
            build()
    for wrong in ("", 3, None, Person.age):
        with complaint(OperandInvalid, 'F("age")'):
            F(wrong)


def test_changes_of_lists_that_have_no_meaning(people):
    tags = F("tags")
    for build in (tags.append, tags.remove, tags.add_to_set, tags.append("x").remove):
        with complaint(OperandInvalid, 'F("tags")', "members"):
            build()
    with complaint(OperandInvalid, "Person.name", "holds text", "list or a set"):
        people.update(name=F("name").append("x"))
    with complaint(OperandInvalid, "Person.table", "holds mapping"):
        people.update(table=F("table").remove("x"))
    with complaint(OperandInvalid, "Person.pair", "tuple", "give a new one"):
        people.update(pair=F("pair").append(1))
    with complaint(OperandInvalid, "Person.addresses", "'tags'", "update(tags="):
        people.update(addresses=tags.append("x"))
    with complaint(UnknownField, "F('tagss')", "did you mean 'tags'"):
        people.update(tags=F("tagss").append("x"))
    with complaint(ValidationError, "Person.tags", "text", "3"):
        people.update(tags=tags.append("x", 3))
    with complaint(ValidationError, "Person.addresses", "Address", "'Rome'"):
        people.update(addresses=F("addresses").append("Rome"))
    with complaint(ValidationError, "Person.anything", "nan"):
        people.update(anything=F("anything").append(float("nan")))
    with complaint(OperandInvalid, "Person.tags", "F is for update()"):
        people.where(tags=tags.append("x"))


def test_changes_of_lists_are_plain_data():
    change = F("tags").append("a", "b").remove("c")
    assert change == F("tags").append("a", "b").remove("c")
    assert change != F("tags").append("a").remove("c")
    assert repr(change) == "F('tags').append('a', 'b').remove('c')"
    assert [(step.name, step.members) for step in change.steps] == [
        ("append", ("a", "b")),
        ("remove", ("c",)),
    ]
    assert change.source == F("tags")


def test_select_values_and_group_by_need_names(people):
    for build in (people.select, people.group_by):
        with complaint(UsageError, "names of the fields"):
            build()
    for wrong in (3, None, "", ["age"]):
        for build in (people.values, people.select, people.sum, people.group_by):
            with complaint(UsageError, "named", repr(wrong)):
                build(wrong)


def test_a_query_is_its_own_copy_and_stays_where_it_is(people):
    some = people.where(age__gt=3)[:2]
    assert copy.copy(some) is copy.deepcopy(some) is some
    with complaint(UsageError, "a query cannot be pickled", "keys"):
        pickle.dumps(some)
