"""Annotations that are text: of whole modules, of functions, of models declared further down."""

from __future__ import annotations

from datetime import datetime
from types import ModuleType
from typing import Any, ClassVar

import msgspec
import pytest

import pymodels
import pymodels as pm
from pymodels import Field, Key, Model, ModelError, Related, get_storage
from tests.complaints import complaint


@pytest.fixture
def storage():
    return get_storage("pymodels.ext.memory")


class Book(Model):
    """Refers to a model that is declared further down, and to itself."""

    id: Key[int]
    author: Field[Author | None] = Field(default=None)
    sequel: Field[Book | None] = Field(default=None)
    quoted: Field["list[Author]"] = Field(default_factory=list)  # noqa: UP037  # text in text
    prequels: Related[Book] = Related("Book", "sequel")


class Author(Model):
    name: Field[str]
    born: Field[datetime | None] = Field(default=None)
    extra: Field[Any] = Field(default=None)
    books: Related[Book] = Related("Book", "author")
    count: ClassVar[int] = 7


class Qualified(pymodels.Model):
    id: pm.Key[int]
    text: pymodels.Field[str] = pymodels.Field(default="x")
    limited: pm.Field[pm.fields.Annotated[int, msgspec.Meta(ge=1)]] = pm.Field(default=1)
    note: ClassVar[str] = "no field"


def test_module_level_references_in_both_directions(storage):
    author = Author(pk="jane", name="Jane").save(storage)
    first = Book(id=1, author=author).save(storage)
    Book(id=2, sequel=first, quoted=[author]).save(storage)
    again = Book.objects(storage).get(2)
    assert again.sequel == first
    assert again.sequel.author == author
    assert list(again.quoted) == [author]
    assert author.books.all() == [first]
    assert first.prequels.all() == [again]


def test_names_through_a_module(storage):
    assert Qualified(pk=3).save(storage).to_dict() == {"id": 3, "text": "x", "limited": 1}
    assert Qualified.note == "no field"


def test_models_declared_in_a_function(storage):
    class Local(Model):
        tags: Field[list[Tag]] = Field(default_factory=list)
        parent: Field[Local | None] = Field(default=None)
        owner: Field[Author | None] = Field(default=None)

    class Tag(Model):
        text: Field[str]
        locals: Related[Local] = Related("Local", "tags")

    tag = Tag(pk="t", text="x").save(storage)
    root = Local(pk="root", tags=[tag]).save(storage)
    leaf = Local(pk="leaf", parent=root).save(storage)
    assert Local.objects(storage).get("leaf").parent.tags[0].text == "x"
    assert tag.locals.all() == [root]
    assert leaf.owner is None


def test_a_local_type_that_is_no_model(storage):
    class Size(msgspec.Struct):
        width: int

    class Box(Model):
        size: Field[Size]

    Box(pk="b", size=Size(3)).save(storage)
    assert Box.objects(storage).get(size__width=3).size == Size(3)


def test_two_functions_may_use_one_name(storage):
    def declare(kind):
        class Part(Model):
            value: Field[kind]

        class Whole(Model):
            part: Field[Part | None] = Field(default=None)

        return Part, Whole

    numbers, whole_numbers = declare(int)
    texts, whole_texts = declare(str)
    assert whole_numbers._schema.references["part"].reference is numbers
    assert whole_texts._schema.references["part"].reference is texts
    part = numbers(pk="a", value=3).save(storage)
    assert whole_numbers(part=part).save(storage).part.value == 3


def test_a_view_resolves_its_parents_names(storage):
    def declare():
        class Inner(Model):
            pass

        class Parent(Model):
            inner: Field[Inner | None] = Field(default=None)

        return Parent, Inner

    parent, inner = declare()

    class View(parent):
        other: Field[Book | None] = Field(default=None)

    inner(pk="i").save(storage)
    assert View(inner="i", other=None).save(storage).inner.pk == "i"


def test_an_abstract_model_resolves_its_own_names(storage):
    def declare():
        class Owner(Model):
            pass

        class Owned(Model, abstract=True):
            owner: Field[Owner | None] = Field(default=None)
            like: Field[list[Owner]] = Field(default_factory=list)

        return Owned, Owner

    owned, owner = declare()

    class House(owned):
        street: Field[str] = ""

    me = owner(pk="me").save(storage)
    House(pk="h", owner=me, like=[me]).save(storage)
    assert House.objects(storage).get("h").owner == me


def test_a_name_that_is_nowhere_to_be_found():
    class Lost(Model):
        where: Field[Nowhere | None] = None  # noqa: F821

    for use in (lambda: Lost(), lambda: Lost.objects(get_storage("pymodels.ext.memory"))):  # noqa: PLW0108
        with complaint(ModelError, "Lost", "'Nowhere'", "not to be found"):
            use()


def test_a_name_that_appears_later_is_found_then(storage):
    class Early(Model):
        late: Field[AppearsLater | None] = Field(default=None)

    with complaint(ModelError, "AppearsLater"):
        Early()

    class AppearsLater(Model):
        pass

    late = AppearsLater(pk="l").save(storage)
    assert Early(late=late).save(storage).late == late


@pytest.mark.parametrize("annotation", ["Field[datetime.nope]", "Field[int", "int | 3"])
def test_an_annotation_without_meaning(annotation):
    with complaint(ModelError, "Broken.x", annotation):
        type(Model)(
            "Broken", (Model,), {"__module__": __name__, "__annotations__": {"x": annotation}}
        )


def test_mistakes_in_text_name_the_field():
    with complaint(ModelError, "Broken.x", "Field[str]"):

        class Broken(Model):
            x: Field

    with complaint(ModelError, "Other.x", "complex"):

        class Other(Model):
            x: Field[complex]


# --- models of one name in several modules --------------------------------------------------


def module(name, *lines):
    """Run *lines* as a module of its own, and return it."""
    made = ModuleType(name)
    made.__dict__["__name__"] = name
    source = ["from __future__ import annotations", "from pymodels import *", *lines]
    exec("\n".join(source), made.__dict__)
    return made


def test_what_is_declared_further_down_is_meant_and_no_namesake():
    first = module("first_zoo", "class Keeper(Model): pass")
    second = module(
        "second_zoo",
        "class Cage(Model):",
        "    keeper: Field[Keeper | None] = None",
        "class Keeper(Model): pass",
    )
    assert second.Cage.__schema__.references["keeper"].reference is second.Keeper
    assert second.Keeper is not first.Keeper


def test_a_model_of_another_module_is_found_if_it_is_the_only_one():
    first = module("first_port", "class Ferryboat(Model): pass")
    second = module(
        "second_port", "class Berth(Model):", "    boat: Field[Ferryboat | None] = None"
    )
    assert second.Berth.__schema__.references["boat"].reference is first.Ferryboat


def test_which_of_two_modules_is_not_guessed():
    modules = [module(name, "class Lighthouse(Model): pass") for name in ("a_coast", "b_coast")]
    third = module(
        "third_coast", "class Rock(Model):", "    on_it: Field[Lighthouse | None] = None"
    )
    with complaint(ModelError, "Rock.on_it", "a_coast or of b_coast", "import", "third_coast"):
        _ = third.Rock.__schema__
    assert len(modules) == 2
