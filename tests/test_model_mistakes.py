"""Class statements that are refused: each mistake, and what its message has to say."""

import types
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
import pytest

from pymodels import Field, Key, Model, ModelError, Related, UsageError, get_storage
from tests.complaints import complaint


@pytest.fixture
def storage():
    return get_storage("pymodels.ext.memory")


class Town(Model):
    id: Key[int]
    name: Field[str]


class Person(Model):
    name: Field[str]
    age: Field[int | None] = Field(default=None)


# --- mistakes in fields ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["save", "pk", "objects", "storage", "delete", "changes", "mro"])
def test_names_that_every_model_has_are_refused(name):
    with complaint(ModelError, f"Broken.{name}", f"Field(name={name!r})"):
        declare("Broken", {name: Field[str]})


@pytest.mark.parametrize("name", ['5"', "a\\b", "a\nb"])
def test_stored_names_that_no_class_can_have(name):
    with complaint(ModelError, "stored name", repr(name)):
        Field(int, name=name)


@pytest.mark.parametrize("name", ["", "list[int", "3 +"])
def test_what_names_no_type(name):
    with complaint(ModelError, repr(name), "not the name of a type"):
        Field(name)


def test_a_class_that_type_makes():
    made = type("Made", (Model,), {"number": Field(int)})
    assert made.__module__ == __name__
    assert made(number=3).number == 3


def test_a_key_may_be_called_pk_but_nothing_else_of_a_model(storage):
    model = declare("Counted", {"pk": Key[int]})
    assert model(pk=3).save(storage).pk == 3
    with complaint(ModelError, "Broken.save", "of its own"):
        declare("Broken", {"save": Key[int]})


@pytest.mark.parametrize("name", ["_hidden", "__mangled", "a__b", "a__"])
def test_underscores_that_queries_could_not_say(name):
    with complaint(ModelError, f"Broken.{name}", "Field(name=...)"):
        declare("Broken", {name: Field[str]})


@pytest.mark.parametrize(
    ("annotation", "option", "told"),
    [
        (int, {"default": 5, "choices": [1, 2]}, "none of the choices"),
        (int, {"naive": True}, "naive=True is for datetimes"),
        (Any, {"naive": True}, "naive=True is for datetimes"),
        (Literal[True], {}, "declare bool"),
        (str, {"name": "\ud800"}, "stored name"),
    ],
    ids=["choices", "naive int", "naive open", "literal", "surrogate"],
)
def test_options_that_can_never_be_right(annotation, option, told):
    with complaint(ModelError, told):
        declare("Broken", {"x": Field[annotation]}, x=Field(**option))


@pytest.mark.parametrize("index", [3, (), ("x", 3), {"fields": ()}, None])
def test_indexes_of_nothing(index):
    with complaint(ModelError, "an index is of a field"):
        declare("Broken", {"x": Field[int]}, options={"indexes": [index]})


def test_a_collection_that_cannot_be_written_down():
    with complaint(ModelError, "collection is the name"):
        declare("Broken", {"x": Field[int]}, options={"collection": "\ud800"})


def declare(name: str, annotations: dict[str, Any], **namespace: Any) -> Any:
    """Run ``class name(Model)`` with those annotations and attributes."""
    options = namespace.pop("options", {})
    body = {"__module__": __name__, "__qualname__": name, "__annotations__": annotations}
    return type(Model)(name, (Model,), body | namespace, **options)


class Mixed(Enum):
    ONE = 1
    TWO = "two"


T = TypeVar("T")


@pytest.mark.parametrize(
    ("annotation", "mentioned"),
    [
        (Field[str | bytes], "str-like"),
        (Field[str | UUID | None], "str-like"),
        (Field[datetime | date], "str-like"),
        (Field[str | Decimal], "str-like"),
        (Field[list[int] | set[int]], "array-like"),
        (Field[tuple[int, ...] | list[int] | None], "array-like"),
        (Field[dict[str, int] | dict[str, str]], "dict"),
        (Field[dict[int, str]], "dict[str, ...]"),
        (Field[complex], "complex"),
        (Field[object], "object"),
        (Field[type], "type"),
        (Field[Callable[[], int]], "Callable"),
        (Field[frozenset[int]], "Set"),
        (Field[Mixed], "all str or all int"),
        (Field, "Field[str]"),
        (Key, "Key[str]"),
        (Field[Town | int], "Town or None"),
        (Field[Town | Person], "one model"),
        (Field[set[Town]], "reference to Town"),
        (Field[dict[str, Town]], "reference to Town"),
        (Field[list[Town | None]], "reference to Town"),
    ],
)
def test_types_that_no_record_can_hold(annotation, mentioned):
    with complaint(ModelError, "Broken.x", mentioned):
        declare("Broken", {"x": annotation})


@pytest.mark.parametrize(
    "annotation",
    [
        int | float | Decimal,
        int | str | None,
        bool | int | str | list[str] | dict[str, Any] | None,
        Literal["a", "b", 1],
        dict[str, list[dict[str, set[int]]]],
        Annotated[str, msgspec.Meta(max_length=3)] | None,
        None,
    ],
)
def test_unions_that_can_be_told_apart(annotation):
    declare("Fine", {"x": Field[annotation]})


def test_a_generic_model_is_refused():
    with complaint(ModelError, "Box.value", "generic"):

        class Box(Model, Generic[T]):
            value: Field[T]


@pytest.mark.parametrize(
    ("options", "mentioned"),
    [
        ({"defualt": 1}, ["'defualt'", "did you mean 'default'"]),
        ({"unik": True}, ["'unik'", "unique", "validators"]),
        ({"default": 1, "default_factory": int}, ["default", "not both"]),
        ({"default_factory": 3}, ["default_factory", "3"]),
        ({"choices": 5}, ["choices", "5"]),
        ({"choices": "abc"}, ["choices", "'abc'"]),
        ({"validators": 5}, ["validators", "5"]),
        ({"validators": [len, "x"]}, ["validators", "'x'"]),
        ({"name": ""}, ["stored name", "''"]),
        ({"name": 3}, ["stored name", "3"]),
    ],
)
def test_mistakes_in_the_options_of_a_field(options, mentioned):
    with complaint(ModelError, *mentioned):
        Field(**options)


def test_a_generator_of_validators_is_kept():
    def refuse(value):
        raise ValueError("no")

    model = declare("Strict", {"x": Field[int]}, x=Field(validators=(one for one in [refuse])))
    assert model(x=1)._schema.fields["x"].options.validators == (refuse,)


def test_choices_that_do_not_fit():
    with complaint(ModelError, "Broken.x", "choice 'a'", "expected an int"):
        declare("Broken", {"x": Field[int]}, x=Field(choices=[1, "a"]))


def test_a_short_form_without_type():
    with complaint(ModelError, "Broken.x", "Field(str)", "Field[str]"):
        declare("Broken", {}, x=Field(default=1))


def test_two_fields_with_one_stored_name():
    with complaint(ModelError, "Broken", "x", "y", "both stored as 'y'"):
        declare("Broken", {"x": Field[int], "y": Field[int]}, x=Field(name="y"))
    with complaint(ModelError, "View", "name", "title", "both stored as 'name'"):

        class View(Person):
            title: Field[str] = Field(default="", name="name")


@pytest.mark.parametrize(
    "default", [3, Key(default=3), Field(unique=True), Key(name="x"), Field(validators=[len])]
)
def test_a_key_has_no_options_that_would_be_ignored(default):
    with complaint(ModelError, "Broken.id", "a key has no options"):
        declare("Broken", {"id": Key[int]}, id=default)


def test_a_key_may_say_that_it_can_be_left_out():
    for default in (Key(default=None, label="Number"), None):
        assert declare("Fine", {"id": Key[UUID]}, id=default)().id is None


def test_mistakes_in_keys():
    with complaint(ModelError, "a and b", "key"):
        declare("Broken", {"a": Key[int], "b": Key[str]})
    with complaint(ModelError, "float", "UUID, int, str"):
        declare("Broken", {"id": Key[float]})
    with complaint(ModelError, "None", "UUID, int, str"):
        declare("Broken", {"id": Key[int | None]})


@pytest.mark.parametrize(
    ("options", "mentioned"),
    [
        ({"must_have": 3}, ["must_have", "mapping", "3"]),
        ({"must_have": {1: 1}}, ["must_have", "named as in 'age__gte'", "1"]),
        ({"must_not_have": {1: 1}}, ["must_not_have", "named as in 'age__gte'", "1"]),
        ({"must_have": ["x"]}, ["must_have", "'x'", "condition"]),
        ({"must_have": {"x__gt": "a"}}, ["must_have", "Broken.x", "number", "'a'"]),
        ({"must_have": {"x__gtt": 1}}, ["must_have", "'gtt'", "did you mean 'gt'"]),
        ({"must_not_have": Person.name == "x"}, ["must_not_have", "Person.name"]),
        ({"indexes": ["y"]}, ["index", "'y'", "no field"]),
        ({"indexes": ["xx"]}, ["'xx'", "did you mean 'x'"]),
        ({"indexes": "x"}, ["indexes", "['x']"]),
        ({"indexes": {"fields": "x"}}, ["indexes", "list"]),
        ({"indexes": [{"field": "x"}]}, ["'fields'", "'unique'"]),
    ],
)
def test_mistakes_in_the_options_of_a_model(options, mentioned):
    with complaint(ModelError, "Broken", *mentioned):
        declare("Broken", {"x": Field[int]}, options=options)


@pytest.mark.parametrize(
    ("annotation", "default", "mentioned"),
    [
        (Field[int], "3", ["'3'", "int"]),
        (Field[int], None, ["None", "int", "| None"]),
        (Field[int], True, ["True", "int"]),
        (Field[str | None], 3, ["3", "text"]),
        (Field[list[int]], [1, "2"], ["[1]", "int"]),
        (Field[list[int]], (1,), ["list"]),
        (Field[dict[str, int]], {"a": "b"}, ["'a'", "int"]),
        (Field[float], float("nan"), ["nan", "finite"]),
        (Field[datetime], datetime(2024, 1, 1), ["naive"]),
        (Field[Any], object(), ["open place"]),
        (Field[Town | None], "rome", ["'rome'", "int"]),
        (Field[list[Town]], [1, None], ["[1]", "None"]),
    ],
)
@pytest.mark.parametrize("wrap", [lambda default: default, lambda default: Field(default=default)])
def test_a_default_that_does_not_fit(annotation, default, mentioned, wrap):
    with complaint(ModelError, "Broken.x", "default", "does not fit", *mentioned):
        declare("Broken", {"x": annotation}, x=wrap(default))


def test_defaults_that_fit():
    assert declare("Fine", {"x": Field[float]}, x=3)().x == 3.0
    assert declare("Fine", {"x": Field[Town | None]}, x=Field(default=7))().key_of("x") == 7
    assert declare("Fine", {"x": Field[Any]}, x=Field(default={"a": [None]}))().x == {"a": [None]}


def test_two_parents_with_records():
    class Citizen(Person):
        pass

    with complaint(ModelError, "Both", "Citizen and Person", "abstract models"):

        class Both(Citizen, Person):
            pass

    class Player(Model):
        rank: Field[int]

    # Python compares the classes of the classes before any code of ours runs.
    with pytest.raises(TypeError, match="metaclass conflict"):

        class Neither(Person, Player):
            pass


def test_no_constructor_of_ones_own():
    with complaint(ModelError, "Broken", "__init__", "default_factory"):

        class Broken(Model):
            def __init__(self):
                pass


def test_a_relation_is_no_field():
    class Teacher(Model):
        pupils: Related["Pupil"] = Related("Pupil", "teacher")  # noqa: F821

    assert list(Teacher.__schema__.fields) == []
    with complaint(UsageError, "Teacher", "'pupils'"):
        Teacher(pupils=[])


@pytest.mark.parametrize("name", ["class", "two words", "1st"])
def test_a_field_is_named_as_python_allows(name):
    made = {"__module__": __name__, name: Field(str)}
    with pytest.raises(ModelError, match=r"the name of a field is a name in Python; Field\(name="):
        types.new_class("Thing", (Model,), {}, lambda body: body.update(made))


# --- mistakes in indexes --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"index": "trigrams"}, "no index is of the kind 'trigrams'; did you mean 'trigram'?"),
        ({"index": "Caseless"}, "did you mean 'caseless'?"),
        ({"index": 3}, "index is True or the name of a kind"),
        ({"index": ["caseless"]}, "index is True or the name of a kind"),
        ({"unique": "yes"}, "unique is True or False, not 'yes'"),
    ],
)
def test_an_index_of_a_field_that_would_do_nothing_is_refused(options, said):
    with complaint(ModelError, "Broken", said):
        declare("Broken", {"login": Field[str]}, login=Field(**options))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"kind": "trigrams"}, "did you mean 'trigram'?"),
        ({"kind": 3}, "named by text, not 3"),
        ({"unique": "no"}, "'unique' of an index is True or False, not 'no'"),
        ({"caseless": 1}, "'caseless' of an index is True or False, not 1"),
        ({"unqiue": True}, "did you mean 'unique'?"),
        ({"unique": True, "where": {"age": 3}}, "among all records, not among those of a 'where'"),
        ({"unique": True, "caseless": True}, "as an entry of its own"),
        ({"unique": True, "kind": "trigram"}, "as an entry of its own"),
    ],
)
def test_an_index_that_would_be_another_one_is_refused(entry, said):
    with complaint(ModelError, "Broken", said):

        class Broken(Model, indexes=[{"fields": "name", **entry}]):
            name: Field[str]
            age: Field[int]

        assert Broken.__schema__


def test_kinds_of_other_backends_are_left_to_them():
    class Fine(Model, indexes=[{"fields": "name", "kind": "caseless"}]):
        name: Field[str] = Field(index="qgram", unique=True)
        when: Field[datetime] = Field(index="ttl:3600")

    assert [(one.kind, one.caseless) for one in Fine.__schema__.indexes] == [
        ("qgram", False),
        ("ttl:3600", False),
        ("", True),
    ]


@pytest.mark.parametrize("where", [{"name__contains": "x"}, {"born": date(2000, 1, 1)}])
def test_a_partial_index_that_cannot_be_kept_is_told_of(storage, where):
    class Partial(Model, indexes=[{"fields": "age", "where": where}]):
        name: Field[str]
        age: Field[int]
        born: Field[date]

    with complaint(ModelError, "Partial", "index on age cannot be kept where", "equals"):
        Partial(name="x", age=1, born=date(2000, 1, 1)).save(storage)
