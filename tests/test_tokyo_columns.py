"""Tokyo Cabinet: what stands in the columns of a file, and what other programs wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from pymodels import (
    Field,
    Key,
    Model,
    RecordInvalid,
    StorageInvalid,
)
from tests.tokyo_files import (
    Person,
    Town,
    columns,
    foreign,
    opened,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage.tct"


def test_columns_are_text_that_others_can_read(path: Path) -> None:
    with opened(path) as storage:
        Person(pk="ann", name="Ann", age=42, extra=[1, "x"]).save(storage)
    found = columns(path, b"person:ann")
    assert found is not None
    assert (found[b"name"], found[b"age"], found[b"extra"]) == (b"Ann", b"42", b'[1,"x"]')


def test_null_absent_and_empty_are_three_things(path: Path) -> None:
    class Nickname(Model, collection="person"):
        nick: Field[str | None] = Field(default="none given")

    with opened(path) as storage:
        Person(pk="absent", name="A").save(storage)
        Nickname(pk="null", nick=None).save(storage)
        Nickname(pk="empty", nick="").save(storage)
        Nickname(pk="space", nick=" ").save(storage)
    with opened(path) as storage:
        found = {one.pk: one.nick for one in Nickname.objects(storage)}
        assert found == {"absent": "none given", "null": None, "empty": "", "space": " "}
        query = Nickname.objects(storage)
        assert [one.pk for one in query.where(nick=None)] == ["absent", "null"]
        assert [one.pk for one in query.where(nick="")] == ["empty"]
        assert [one.pk for one in query.where(nick=" ")] == ["space"]
        assert [one.pk for one in query.where(nick__exists=False)] == ["absent"]


@pytest.mark.parametrize("indexed", [False, True])
def test_numbers_beyond_what_the_engine_compares_exactly(path: Path, *, indexed: bool) -> None:
    class Number(Model):
        value: Field[int] = Field(index=indexed)

    values = [
        *(sign * (2**53 + more) for sign in (1, -1) for more in range(-2, 4)),
        2**63 - 1,
        2**63 - 2,
        -(2**63),
        0,
        7,
    ]
    with opened(path) as storage:
        storage.save_all([Number(pk=str(value), value=value) for value in values])
        query = Number.objects(storage)
        for operand in values:
            for lookup, compare in (
                ("equals", operand.__eq__),
                ("gt", operand.__lt__),
                ("gte", operand.__le__),
                ("lt", operand.__gt__),
                ("lte", operand.__ge__),
            ):
                found = {one.value for one in query.where(**{f"value__{lookup}": operand})}
                assert found == {value for value in values if compare(value)}, (lookup, operand)
        low, high = 2**53 - 1, 2**53 + 1
        between = query.where(value__between=(low, high))
        assert sorted(one.value for one in between) == [2**53 - 1, 2**53, 2**53 + 1]
        assert query.where(value__in=[2**53 + 1, 7]).count() == 2


def test_columns_of_other_programs_survive(path: Path) -> None:
    with opened(path) as storage:
        Person(pk="ann", name="Ann").save(storage)
        record = storage.native.get(b"person:ann")
        storage.native.put(b"person:ann", record | {b"phone": b"12", b"raw": b"\0\xff"})
    with opened(path) as storage:
        ann = Person.objects(storage).get("ann")
        ann.age = 3
        ann.save()
        assert storage.raw(Person, "ann")["phone"] == "12"
    found = columns(path, b"person:ann")
    assert found is not None
    assert found[b"phone"] == b"12"
    assert found[b"age"] == b"3"


def test_collections_share_a_file_without_meeting(path: Path) -> None:
    class Odd(Model, collection="person:x"):
        name: Field[str]

    with opened(path) as storage:
        Person(pk="x:1", name="one").save(storage)
        Odd(pk="1", name="two").save(storage)
        storage.save_all([Town(id=number, name=str(number)) for number in (-10, -9, 0, 9, 10, 99)])
        assert [one.name for one in Person.objects(storage)] == ["one"]
        assert [one.name for one in Odd.objects(storage)] == ["two"]
        assert [town.id for town in Town.objects(storage)] == [-10, -9, 0, 9, 10, 99]
        assert [town.id for town in Town.objects(storage).reverse()[:2]] == [99, 10]
        assert Town.objects(storage).count() == 6
        assert len(storage) == 8


ANIMALS = {
    b"7": {b"type": b"cat", b"name": b"Tom", b"lives": b"9"},
    b"8": {b"type": b"mouse", b"name": b"Jerry", b"lives": b"many"},
    b"9": {b"type": b"cat", b"name": b"Kitty", b"lives": b"7", b"weight": b"2.5"},
}


class Cat(Model, collection="animal", must_have={"type": "cat"}):
    id: Key[int]
    type: Field[str]
    name: Field[str]
    lives: Field[int]
    weight: Field[float | None] = Field(default=None)


def test_files_of_other_programs_are_adopted(path: Path) -> None:
    foreign(path, ANIMALS)
    with opened(path, adopt=["animal"]) as storage:
        cats = Cat.objects(storage)
        assert [(cat.id, cat.name, cat.lives) for cat in cats] == [(7, "Tom", 9), (9, "Kitty", 7)]
        assert cats.where(lives__gt=8).get().name == "Tom"
        assert cats.where(weight=2.5).get().id == 9
        assert cats.where(name__in=["Tom", "Jerry"]).count() == 1
        tom = cats.get(7)
        tom.lives = 8
        tom.save()
        Cat(id=10, name="Leo", lives=1).save(storage)
        Town(id=7, name="Rome").save(storage)
        assert [cat.id for cat in cats] == [7, 9, 10]
        assert [town.name for town in Town.objects(storage)] == ["Rome"]
    found = columns(path, b"7")
    assert found is not None
    assert (found[b"lives"], found[b"name"]) == (b"8", b"Tom")
    assert columns(path, b"8") == ANIMALS[b"8"]


def test_what_does_not_fit_is_named(path: Path) -> None:
    foreign(path, {b"x": {b"type": b"cat", b"name": b"Tom", b"lives": b"9"}})
    with opened(path, adopt=["animal"]) as storage, pytest.raises(RecordInvalid, match="b'x'"):
        list(Cat.objects(storage))


def test_an_empty_column_is_refused_an_index(path: Path) -> None:
    foreign(path, {b"person:a": {b"title": b""}})

    class Titled(Model, collection="person"):
        title: Field[str | None] = Field(default=None, index=True)

    with opened(path) as storage, pytest.raises(StorageInvalid, match="empty column 'title'"):
        Titled(pk="b", title="x").save(storage)
