"""What is remembered of other conditions leads to the same plan as looking at everything anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pymodels import Field, Model, Path, get_storage, prepared
from tests.planned import HOLDS, OPTIONS, PAGES, check_same


class Person(Model):
    name: Field[str] = Field(index=True)
    age: Field[int | None] = Field(index=True)
    born: Field[date] = Field(index=True)
    size: Field[float] = Field(index=True)
    paid: Field[Decimal] = Field(index=True)
    at: Field[datetime] = Field(index=True)
    when: Field[Any] = Field(index=True)
    email: Field[str] = Field(unique=True)
    score: Field[int]
    active: Field[bool]


@pytest.fixture(scope="module")
def people() -> Any:
    storage = get_storage("pymodels.ext.memory")
    storage.save_all(
        Person(
            name=f"Person {number % 7}",
            age=number % 30 or None,
            born=date(1990, 1, 1),
            size=number / 64,
            paid=Decimal(number) / 4,
            at=datetime(2019, 10, 1, tzinfo=UTC) + timedelta(days=number),
            when=date(2020, 1, 1) + timedelta(days=number),
            email=f"{number}@example.org",
            score=number * 37 % 101,
            active=number % 2 == 0,
            pk=f"{number:05}",
        )
        for number in range(200)
    )
    return Person.objects(storage)


QUICK = [
    {"age": 7, "age__lt": 9},
    {"when__gt": date(2020, 1, 1)},
    {"age__exists": False},
    {"age": 7},
    {"age": None},
    {"age__gt": 7},
    {"age__gte": 7},
    {"age__lt": 7},
    {"age__lt": 2**63 - 1},
    {"age__lte": 7},
    {"age__between": (3, 9)},
    {"age__between": [3, 9]},
    {"name": "Person 3"},
    {"name__gt": "Person 3"},
    {"name__between": ("Person 2", "Person 3")},
    {"born": date(1990, 1, 1)},
    {"age": 7, "active": True},
    {"active": True, "age__gte": 7, "score__lt": 90},
    {"name__startswith": "Person 3"},
    {"name__startswith": ""},
    {"name__startswith": "x" * 100},
    {"name__startswith": "Zo\xeb"},
    {"name__in": ["Person 3", "Person 1", "Person 3"]},
    {"age__in": [3, None, 9]},
    {"age__in": (7,)},
    {"born__in": [date(1990, 1, 1), date(1991, 1, 1)]},
    {"age__gt": 3, "age__lte": 9},
    {"age__gt": 3, "age__lte": 9, "active": False},
    {"name__in": ["Person 3"], "active": True},
    {"born__gt": date(1980, 1, 1)},
    {"born__gt": date(1980, 1, 1), "age": 7},
    {"born__year": 1990},
    {"size__lt": 0.5},
    {"size__between": (Decimal("0.25"), 3)},
    {"paid__lte": Decimal("2.5")},
    {"at__gte": datetime(2020, 1, 1, tzinfo=UTC)},
]
UNHELPED: list[dict[str, Any]] = [
    {"email__in": ["7@example.org"]},
    {"active": True},
    {"active": True, "score": 3},
    {"active": True, "score__in": [3, 4]},
    {"name__icontains": "son"},
    {"name__exists": True},
    {"name__endswith": "3", "age__exists": True},
]
UNIQUE: list[dict[str, Any]] = [
    {"email": "7@example.org"},
    {"email": "7@example.org", "age": 7},
    {"active": False, "email": "7@example.org"},
]
BY_KEY: list[dict[str, Any]] = [
    {"active": True, "pk__gt": "00007", "age": 7},
    {"age": 7, "pk": "00007"},
    {"email": "7@example.org", "pk": "00007"},
    {"pk": "00007"},
    {"pk__in": ["00007", "00003", "none"]},
    {"pk__gte": "00100"},
    {"pk__between": ("00010", "00020")},
    {"pk__startswith": "0001"},
    {"pk__in": ["00007", "00003"], "active": True},
]
TOGETHER: list[tuple[Any, Callable[[Person], bool]]] = [
    (
        (Person.age == 7) | (Person.name == "Person 3"),
        lambda one: one.age == 7 or one.name == "Person 3",
    ),
    (
        (Person.age == 7) | (Person.age > 27) | (Person.name == "Person 3"),
        lambda one: one.age in (7, 28, 29) or one.name == "Person 3",
    ),
    (
        ((Person.age == 7) | (Person.name == "Person 3")) & (Person.score > 50),
        lambda one: (one.age == 7 or one.name == "Person 3") and one.score > 50,
    ),
    (
        ((Person.age < 7) & (Person.name == "Person 3")) | (Person.name == "Person 4"),
        lambda one: (
            (one.age is not None and one.age < 7 and one.name == "Person 3")
            or one.name == "Person 4"
        ),
    ),
    ((Person.age == 7) | (Person.score > 50), lambda one: one.age == 7 or one.score > 50),
    (~(Person.age == 7), lambda one: one.age != 7),
    (~(Person.age > 7), lambda one: one.age is None or one.age <= 7),
    (Person.name != "Person 3", lambda one: one.name != "Person 3"),
    (Person.age.exists() & ~Person.age.in_([None]), lambda one: one.age is not None),
    (~(Person.score > 50), lambda one: one.score <= 50),
    (
        (Person.name != "Person 3") & (Person.score > 50),
        lambda one: one.name != "Person 3" and one.score > 50,
    ),
    (
        ~((Person.age == 7) | (Person.score > 50)),
        lambda one: one.age != 7 and one.score <= 50,
    ),
]
CONDITIONS = [condition for condition, _ in TOGETHER]
ORDERS = [
    ("score",),
    ("-score",),
    ("score", "-active"),
    ("age",),
    ("-age",),
    ("name",),
    ("-name",),
    ("-name", "score"),
    ("score", "pk"),
    ("age", "name"),
]
ODD = [
    {"age__between": (9, 3)},
    {"age__gt": 10**600 + 1},
    {"name__gt": "x" * 500},
    {"name__in": ["x" * 500, "y"]},
    {"name__startswith": "x" * 500},
    {"age__in": list(range(1001))},
    {"age__in": []},
    {"age__between": (9, 3), "name": "Person 3"},
    {"age__gt": 9, "age__lt": 9},
]


def asking(people: Any, asked: Any) -> Any:
    return people.where(**asked) if isinstance(asked, dict) else people.where(asked)


ALL = [*QUICK, *UNHELPED, *UNIQUE, *BY_KEY, *CONDITIONS]


@pytest.mark.parametrize("options", [*OPTIONS, *PAGES], ids=repr)
@pytest.mark.parametrize("asked", ALL, ids=repr)
def test_the_same_is_read(people: Any, asked: Any, options: dict[str, Any]) -> None:
    check_same(asking(people, asked), **options)


@pytest.mark.parametrize("limit", [None, 5, 150])
@pytest.mark.parametrize("order", ORDERS, ids=repr)
@pytest.mark.parametrize("asked", [{}, *ALL], ids=repr)
def test_the_same_is_read_in_an_order(
    people: Any, asked: Any, order: tuple[str, ...], limit: int | None
) -> None:
    terms = people.order_by(*order)._asked
    options = {"order": terms.order, "descending": terms.descending, "offset": 2, "limit": limit}
    for names in (None, frozenset[str](), frozenset({"email"})):
        check_same(asking(people, asked), **options, names=names)


def test_nulls_elsewhere_than_an_index_has_them(people: Any) -> None:
    terms = people.order_by("age", nulls="last")._asked
    plan = check_same(people, order=terms.order)
    assert plan.native_order.nulls is not None


@pytest.mark.parametrize("asked", ODD, ids=repr)
def test_odd_operands_are_looked_at_each_time(people: Any, asked: dict[str, Any]) -> None:
    check_same(asking(people, asked), is_known=False)


AFTER_USUAL: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"name": "Person 3"}, {"name": "Person\x003"}),
    ({"name": "Person 3"}, {"name": "x" * 600}),
    ({"name__gt": "Person 3"}, {"name__gt": "x" * 500}),
    ({"name__in": ["Person 3", "y"]}, {"name__in": ["x" * 500, "Person 3"]}),
    ({"name__in": ["Person 3", "y"]}, {"name__in": ["Person\x013", "Person 3", "\x00"]}),
    ({"name__startswith": "Person"}, {"name__startswith": "x" * 500}),
    ({"age": 7}, {"age": -7}),
    ({"age": 7}, {"age": 2**53 + 1}),
    ({"age": 7}, {"age": 10**600}),
    ({"age__gt": 7}, {"age__gt": -(2**60)}),
    ({"age__gt": 7}, {"age__gt": 10**600 + 1}),
    ({"age__lt": 7}, {"age__lt": 10**600}),
    ({"age__in": [7, 8]}, {"age__in": [-7, 2**60, 7]}),
    ({"age__in": [7, 8]}, {"age__in": list(range(1001))}),
    ({"age__between": (3, 9)}, {"age__between": (9, 3)}),
    ({"age__gt": 3, "age__lt": 9}, {"age__gt": 9, "age__lt": 9}),
    ({"born__year": 1990}, {"born__year": 99_999}),
    ({"pk__gte": "00100"}, {"pk__gte": ""}),
    ({"pk__in": ["00100"]}, {"pk__in": ["00100", "", "x" * 600]}),
    ({"size__lt": 0.5}, {"size__lt": -1e308}),
    ({"email": "7@example.org"}, {"email": "7\x00"}),
]


@pytest.mark.parametrize(("usual", "odd"), AFTER_USUAL, ids=repr)
@pytest.mark.parametrize("order", [None, "name", "-age"])
def test_an_odd_operand_comes_after_a_usual_one(
    people: Any, usual: dict[str, Any], odd: dict[str, Any], order: str | None
) -> None:
    first, second = people.where(**usual), people.where(**odd)
    if order is not None:
        first, second = first.order_by(order), second.order_by(order)
    native = people.storage._native(Person.__schema__)
    native.prepared.clear()
    first.plan()
    assert list(native.prepared.values()) != [None]
    assert len(native.prepared) == 1
    quick = second.plan()
    assert len(native.prepared) == 1
    native.prepared.clear()
    assert quick == second.plan()
    wanted = sorted(one.pk for one in people if all_hold(one, odd))
    assert sorted(one.pk for one in second) == wanted


def test_shapes_are_remembered_up_to_some_number(
    people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "MOST_KNOWN", 3)
    native = people.storage._native(Person.__schema__)
    native.prepared.clear()
    for name in ("gt", "gte", "lt", "lte", "in"):
        people.where(**{f"age__{name}": [7] if name == "in" else 7}).plan()
        assert 0 < len(native.prepared) <= 3
    assert people.where(age__lte=7).count() == sum(1 for one in people if one.age and one.age <= 7)


@pytest.mark.parametrize("asked", [*QUICK, *UNHELPED, *UNIQUE, *BY_KEY], ids=repr)
def test_what_is_found_is_right(people: Any, asked: dict[str, Any]) -> None:
    found = people.where(**asked)
    assert [person.pk for person in found] == sorted(
        person.pk for person in people if all_hold(person, asked)
    )


def all_hold(person: Person, asked: dict[str, Any]) -> bool:
    return all(holds(person, name, operand) for name, operand in asked.items())


def holds(person: Person, asked: str, operand: Any) -> bool:
    field, _, lookup = asked.partition("__")
    value = getattr(person, field)
    if value is None and lookup not in ("", "in", "exists"):
        return False
    return bool(HOLDS[lookup](value, operand))


@pytest.mark.parametrize(("asked", "wanted"), TOGETHER, ids=map(repr, CONDITIONS))
def test_what_is_found_together_is_right(
    people: Any, asked: Any, wanted: Callable[[Person], bool]
) -> None:
    found = people.where(asked)
    assert [one.pk for one in found] == sorted(one.pk for one in people if wanted(one))
    first = [one.pk for one in found[:5]]
    assert first == sorted(one.pk for one in people if wanted(one))[:5]


class Sack(Model, collection="sack"):
    number: Field[int] = Field(name="stored_number", index=True)
    town: Field[str] = Field(index=True)
    state: Field[str]
    size: Field[float]
    note: Field[str] = Field(index="column")
    places: Field[dict[str, int]]

    class Meta:
        indexes = (
            {"fields": "town", "where": {"state__in": ["lost", "found"]}},
            {"fields": "number", "where": {"size": 0.0}},
            ("number", "town"),
        )


@pytest.fixture
def sacks() -> Any:
    storage = get_storage("pymodels.ext.memory")
    storage.save_all(
        Sack(
            pk=f"{number:03}",
            number=number % 9,
            town=f"town {number % 7}",
            state=("lost", "found", "there")[number % 3],
            size=(0.0, -0.0, 1.0)[number % 3],
            note=f"note {number}",
            places={"a": number},
        )
        for number in range(100)
    )
    return Sack.objects(storage)


def shapes(query: Any) -> dict[Any, Any]:
    found: dict[Any, Any] = query.storage._native(Sack.__schema__).prepared
    return found


def test_places_that_are_made_anew_have_the_same_shape(sacks: Any) -> None:
    shapes(sacks).clear()
    for number in range(20):
        named = sacks.where(Path("stored_number") == number)
        assert named.count() == sacks.where(number=number).count()
        named.order_by(Path("nowhere")).plan()
        sacks.where(Path("nowhere") == number).order_by(Path("stored_number")).plan()
    assert len(shapes(sacks)) <= 4
    assert None not in shapes(sacks).values()


def test_no_operand_is_remembered(sacks: Any) -> None:
    shapes(sacks).clear()
    for query in (
        sacks.where(Path("note").lookup("contains", "secret"), number__in=[1, 2]),
        sacks.where((Sack.town == "secret") | (Sack.town == "other")),
        sacks.where((Sack.town == "secret") | (Sack.number > 3)),
        sacks.where(~(Sack.town == "secret"), note__endswith="secret").order_by("note")[:3],
        sacks.where(town__startswith="secret", number=3),
    ):
        query.plan()
    assert len(shapes(sacks)) == 5
    assert "secret" not in repr(shapes(sacks))


def test_many_values_are_remembered_as_few_are(sacks: Any) -> None:
    shapes(sacks).clear()
    check_same(sacks.where(number__in=range(500)))
    check_same(sacks.where(number__in=range(3, 9)))
    check_same(sacks.where(number__in=range(30), town__in=[f"town {n}" for n in range(30)]))
    check_same(
        sacks.where(number__in=range(40), town__in=[f"town {n}" for n in range(40)]),
        is_known=False,
    )


def test_conditions_of_very_many_parts_are_not_remembered(sacks: Any) -> None:
    wanted = [one for one in sacks if f"town {one.number}" == one.town]
    shapes(sacks).clear()
    wide = sacks.where(Path("number") == -1)
    for number in range(400):
        wide |= sacks.where(number=number) & sacks.where(town=f"town {number}")
    assert wide.count() == len(wanted)
    assert not shapes(sacks)


def check_in_turn(query: Any, name: str, operands: list[Any], *, negated: bool = False) -> None:
    """Check that what is remembered of one operand is not taken for what holds of another one."""
    everything = query.all()
    for turn in (operands, operands[::-1]):
        query.storage._native(query.model.__schema__).prepared.clear()
        for operand in turn * 2:
            found = (
                query.where_not(**{name: operand}) if negated else query.where(**{name: operand})
            )
            field, _, lookup = name.partition("__")
            wanted = [
                one.pk
                for one in everything
                if bool(HOLDS[lookup](getattr(one, field), operand)) is not negated
            ]
            assert [one.pk for one in found.where(number__gte=0)] == wanted
            assert [one.pk for one in found.where(town__gte="")] == wanted
            assert found.where(number__gte=0).count() == len(wanted)


def test_what_an_index_of_some_records_asks_for_is_part_of_a_shape(sacks: Any) -> None:
    some = [["lost", "found"], ["lost", "there"], ["found", "lost"], ["lost"], ["found"]]
    check_in_turn(sacks, "state__in", some)
    check_in_turn(sacks, "size", [0.0, -0.0, 1.0, 0, 1, 0.5])
    plan = sacks.where(state__in=["lost", "found"], town__gte="town 1").plan()
    assert "#" in repr(plan.native)  # how an index of some records is called


@pytest.mark.parametrize(
    ("asked", "operands", "negated"),
    [
        ({"state": "lost"}, ["lost", "there", "found"], False),
        ({"state__in": ["lost"]}, [["lost"], ["there"], ["lost", "there"]], False),
        ({"state__gte": "l"}, ["l", "a", "z"], False),
        ({"amount": 2**64 - 1}, [2**64 - 1, 1, 0], False),
        ({"amount__in": [2**64 - 1]}, [[2**64 - 1], [0, 1], [1]], False),
        ({"amount__between": (1, 2)}, [(1, 2), (0, 2), (2, 3)], False),
        ({"amount": 1}, [1, 1.0, 2], False),
        ({"is_open": True}, [True, False], False),
        ({"state": "lost"}, ["lost", "there"], True),
    ],
    ids=repr,
)
def test_an_index_of_some_records_has_no_others(
    asked: dict[str, Any], operands: list[Any], *, negated: bool
) -> None:
    ((name, operand),) = asked.items()
    field, _, lookup = name.partition("__")
    where: Any = Path(field).lookup(lookup or "equals", operand)

    class Bag(Model, indexes=[{"fields": "number", "where": ~where if negated else where}]):
        number: Field[int]
        town: Field[str]
        state: Field[str]
        amount: Field[int]
        is_open: Field[bool]

    with get_storage("pymodels.ext.memory") as storage:
        storage.save_all(
            Bag(
                pk=f"{number:03}",
                number=number,
                town="Rome",
                state=("lost", "found", "there")[number % 3],
                amount=number % 4,
                is_open=number % 2 == 0,
            )
            for number in range(100)
        )
        check_in_turn(Bag.objects(storage), name, operands, negated=negated)
