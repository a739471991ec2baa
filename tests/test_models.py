"""Class statements: every spelling that declares a model, its options, views and abstract models.

This file has no ``from __future__ import annotations``; ``test_postponed_annotations.py`` does.
"""

from typing import ClassVar, Optional

import pytest

from pymodels import Field, Key, Model, ModelError, Path, get_storage
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


# --- spellings ------------------------------------------------------------------------------


def test_every_spelling_declares_the_same_kind_of_field(storage):
    class Spelled(Model):
        annotated: Field[str]
        short = Field(str)
        quoted: Field["str"]
        all_quoted: "Field[str]"
        plain: str

    values = {name: name for name in ("annotated", "short", "quoted", "all_quoted", "plain")}
    saved = Spelled(pk="a", **values).save(storage)
    assert Spelled.objects(storage).get("a").to_dict() == {"pk": "a"} | values
    assert saved.to_dict() == {"pk": "a"} | values
    for name in values:
        assert isinstance(getattr(Spelled, name), Path)
        assert Spelled.objects(storage).where(**{name: name}).count() == 1


def test_defaults_in_every_spelling():
    class Defaults(Model):
        annotated: Field[int] = Field(default=1)
        bare: Field[int] = 2
        short = Field(int, default=3)
        plain: int = 4
        optional: Field[Optional[int]] = None  # noqa: UP045  # this spelling is what is tested
        made: Field[int] = Field(default_factory=lambda: 6)

    assert Defaults().to_dict() == {
        "pk": None, "annotated": 1, "bare": 2, "short": 3, "plain": 4, "optional": None, "made": 6,
    }  # fmt: skip


def test_what_is_no_field():
    class Tidy(Model):
        text: Field[str] = ""
        shared: ClassVar[int] = 7
        constant = 8

        def shout(self):
            return self.text.upper()

        @property
        def first(self):
            return self.text[0]

        @classmethod
        def greeting(cls):
            return cls(text="hello")

        @staticmethod
        def nothing():
            return None

    tidy = Tidy.greeting()
    assert (tidy.shout(), tidy.first, tidy.nothing()) == ("HELLO", "h", None)
    assert (Tidy.shared, Tidy.constant, tidy.shared, tidy.constant) == (7, 8, 7, 8)
    assert tidy.to_dict() == {"pk": None, "text": "hello"}


def test_default_values_are_not_shared():
    class Basket(Model):
        bare: Field[list[int]] = []
        given: Field[dict[str, list[int]]] = Field(default={"a": []})
        made: Field[set[int]] = Field(default_factory=set)

    one, two = Basket(), Basket()
    one.bare.append(1)
    one.given["a"].append(1)
    one.made.add(1)
    assert two.to_dict() == {"pk": None, "bare": [], "given": {"a": []}, "made": set()}
    assert Basket().to_dict() == two.to_dict()


def test_a_default_factory_is_called_for_each_record():
    numbers = iter(range(10))

    class Counted(Model):
        number: Field[int] = Field(default_factory=lambda: next(numbers))

    assert [Counted().number, Counted(number=99).number, Counted().number] == [0, 99, 1]


def test_a_stored_name_of_its_own(storage):
    class Renamed(Model):
        text: Field[str] = Field(name="$strange.name__here")
        saved: Field[bool] = Field(default=False, name="save")

    Renamed(pk="a", text="x").save(storage)
    assert storage.raw(Renamed, "a") == {"$strange.name__here": "x", "save": False}
    assert Renamed.objects(storage).get(text="x").pk == "a"
    assert Renamed.objects(storage).where(Path("$strange.name__here") == "x").count() == 1


# --- options --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "collection"),
    [
        ("Person", "person"),
        ("BlogPost", "blog_post"),
        ("HTTPServer", "http_server"),
        ("Mp3File", "mp3_file"),
    ],
)
def test_collections_are_named_after_the_class(name, collection, storage):
    model = type(Model)(name, (Model,), {"__module__": __name__, "__qualname__": name})
    model(pk="a").save(storage)
    assert list(storage.collections()) == [collection]


def test_options_as_keywords_and_in_meta_mean_the_same(storage):
    class Keywords(Model, collection="things", label="A thing", must_have={"kind": "x"}):
        kind: Field[str]

    class Nested(Model):
        kind: Field[str]

        class Meta:
            collection = "things"
            label = "A thing"
            must_have = {"kind": "x"}

    Keywords(pk="a").save(storage)
    assert [one.kind for one in Nested.objects(storage)] == ["x"]
    assert Nested.__schema__.label == Keywords.__schema__.label == "A thing"
    assert not hasattr(Nested, "Meta")


def test_unknown_option():
    with complaint(ModelError, "Broken", "'must_hve'", "did you mean 'must_have'", "must_not_have"):

        class Broken(Model, must_hve={}):
            pass

    with complaint(ModelError, "Broken", "'colection'", "did you mean 'collection'"):

        class Broken(Model):
            class Meta:
                colection = "x"


def test_an_option_given_twice():
    with complaint(ModelError, "Twice", "label", "Meta", "give one"):

        class Twice(Model, label="a"):
            class Meta:
                label = "b"


@pytest.mark.parametrize("collection", ["", 3, None, b"x"])
def test_a_collection_has_a_name(collection):
    with complaint(ModelError, "Broken", "collection", repr(collection)):

        class Broken(Model, collection=collection):
            pass


# --- views and abstract models --------------------------------------------------------------


def test_a_view_shares_its_parents_records(storage):
    class Note(Model):
        text: Field[str] = ""

    class Contact(Note, must_have={"name__exists": True}):
        name: Field[str]

    class Friend(Contact, must_have={"close": True}, must_not_have={"name__startswith": "X"}):
        close: Field[bool]
        since: Field[int] = 2020

    Note(pk="n", text="milk").save(storage)
    Contact(pk="c", text="call", name="Ann").save(storage)
    friend = Friend(pk="f", name="Bob").save(storage)
    assert friend.close is True  # filled in: the view demands it
    assert [one.pk for one in Note.objects(storage)] == ["c", "f", "n"]
    assert [one.pk for one in Contact.objects(storage)] == ["c", "f"]
    assert [one.pk for one in Friend.objects(storage)] == ["f"]
    assert storage.collections().keys() == {"note"}
    assert storage.raw(Note, "f") == {"text": "", "name": "Bob", "close": True, "since": 2020}
    assert list(Friend.__schema__.fields) == ["text", "name", "close", "since"]


def test_must_have_as_conditions_and_lists_of_them(storage):
    class One(Model, collection="number"):
        n: Field[int]

    class Large(One, must_have=One.n > 10):
        pass

    class Middle(One, must_have=[One.n > 3, One.n < 10], must_not_have=One.n == 5):
        pass

    storage.save_all(One(pk=str(n), n=n) for n in (1, 4, 5, 9, 11))
    assert [one.n for one in Large.objects(storage)] == [11]
    assert [one.n for one in Middle.objects(storage)] == [4, 9]


def test_a_view_of_undeclared_fields_and_a_view_of_that(storage):
    class Note(Model):
        pass

    class Tagged(Note, must_have={"tag__exists": True}):
        pass

    class Red(Tagged, must_have={"tag": "red"}):
        pass

    Note(pk="n").save(storage)
    Red(pk="r").save(storage)
    assert storage.raw(Note, "r") == {"tag": "red"}
    assert [one.pk for one in Red.objects(storage)] == ["r"]
    assert [one.pk for one in Tagged.objects(storage).where(pk__gt="a")] == ["r"]


def test_abstract_models_lend_fields_methods_and_keys(storage):
    class Numbered(Model, abstract=True):
        id: Key[int]

    class Dated(Model, abstract=True):
        year: Field[int] = 2000

        def age(self, now):
            return now - self.year

    class Film(Numbered, Dated):
        title: Field[str]

    class Book(Dated):
        title: Field[str]

    film = Film(id=1, title="Alien", year=1979).save(storage)
    assert (film.pk, film.age(1999)) == (1, 20)
    assert Book(title="Emma").save(storage).year == 2000
    assert storage.collections().keys() == {"film", "book"}
    assert list(Film.__schema__.fields) == ["year", "title"]


def test_the_nearer_abstract_model_wins():
    class Root(Model, abstract=True):
        x: Field[int] = 1

    class Left(Root, abstract=True):
        y: Field[int] = 1

    class Right(Root, abstract=True):
        x: Field[int] = 2
        y: Field[int] = 2

    class Both(Left, Right):
        pass

    class Own(Left, Right):
        x: Field[int] = 3

    # As Python looks attributes up: Both, Left, Right, Root.
    assert [base.__name__ for base in Both.__mro__[:4]] == ["Both", "Left", "Right", "Root"]
    assert (Both().x, Both().y) == (2, 1)
    assert (Own().x, Own().y) == (3, 1)


def test_a_view_may_take_from_an_abstract_model_too(storage):
    class Note(Model):
        text: Field[str] = ""

    class Dated(Model, abstract=True):
        year: Field[int] = 2000

    class Diary(Note, Dated):
        pass

    Diary(pk="d", text="dear").save(storage)
    assert storage.raw(Note, "d") == {"text": "dear", "year": 2000}


def test_abstract_models_have_no_records(storage):
    class Dated(Model, abstract=True):
        year: Field[int]

    for use in (
        lambda: Dated(year=1),
        lambda: Dated.objects(storage),
        lambda: storage.get(Dated, "a"),
        lambda: Dated.reference("a"),
        lambda: Dated.from_dict({}),
    ):
        with complaint(ModelError, "Dated is abstract", "inherits"):
            use()


def test_model_itself_has_no_records(storage):
    for use in (Model, lambda: Model.objects(storage), lambda: storage.get(Model, "a")):
        with complaint(ModelError, "Model itself", "declare a class"):
            use()


def test_a_view_has_one_parent():
    with pytest.raises(TypeError):

        class Both(Person, Town):
            pass


def test_a_view_cannot_be_abstract():
    with complaint(ModelError, "Odd", "view of Person", "abstract"):

        class Odd(Person, abstract=True):
            pass


def test_a_view_may_declare_a_field_anew(storage):
    class Grown(Person):
        age: Field[int] = 18

    assert Grown(name="Ann").age == 18
    Person(pk="a", name="Ann", age=3).save(storage)
    assert Grown.objects(storage).get("a").age == 3


@pytest.mark.parametrize("value", [3, property(lambda self: 3), lambda self: 3])
def test_a_field_cannot_be_hidden(value):
    with complaint(ModelError, "Hiding.age", "hide the field 'age' of Person", "annotate"):

        class Hiding(Person):
            age = value
