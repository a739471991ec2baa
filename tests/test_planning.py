"""What is sound to push down to an engine, and that nothing else is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pytest

from pymodels import Field, Model, Path, get_storage
from pymodels.conditions import EVERYTHING, And, Condition, Not, Or
from pymodels.planning import Native, Superset, Term, make_plan, split
from pymodels.testing import asking
from pymodels.testing.answers import answers, check, differences, keys_of
from pymodels.testing.corpus import Sample, load
from pymodels.testing.expected import expected_samples
from tests.toys import ToyStorage, Whimsical, storage_with


class Thing(Model):
    a: Field[Any] = Field(default=None)
    b: Field[Any] = Field(default=None)


class Words(Native[str]):
    """Says ``equals`` exactly, ``gt`` too broadly, and nothing else."""

    def __init__(self, *cannot: str) -> None:
        self.cannot = cannot
        self.lookups = {
            "equals": lambda place, operand: f"{place.path}={operand}",
            "gt": lambda place, operand: Superset(f"{place.path}>~{operand}"),
            "lt": lambda place, operand: NotImplemented,
        }

    def _joined(self, what: str, word: str, parts: Sequence[str]) -> Any:
        return NotImplemented if what in self.cannot else f"({word.join(parts)})"

    def all_of(self, parts: Sequence[str]) -> Any:
        return self._joined("all", " and ", parts)

    def any_of(self, parts: Sequence[str]) -> Any:
        return self._joined("any", " or ", parts)

    def negate(self, part: str) -> Any:
        return NotImplemented if "not" in self.cannot else f"not {part}"

    def order_by(self, terms: tuple[Term, ...], descending: bool) -> Any:
        return NotImplemented if terms else f"by key {descending}"


def bound(condition: Condition) -> Condition:
    return Thing.__schema__.bind(condition)


EXACT = bound(Path("a") == 1)
OTHER = bound(Path("b") == 2)
BROAD = bound(Path("a") > 3)
NEVER = bound(Path("b").contains(4))
REFUSED = bound(Path("b") < 5)

SPLITS = [
    (EVERYTHING, None, EVERYTHING),
    (EXACT, "a=1", EVERYTHING),
    (BROAD, "a>~3", BROAD),
    (NEVER, None, NEVER),
    (REFUSED, None, REFUSED),
    # And: what translates is pushed down, the others are kept.
    (And((EXACT, OTHER)), "(a=1 and b=2)", EVERYTHING),
    (And((EXACT, NEVER)), "a=1", NEVER),
    (And((NEVER, EXACT, REFUSED)), "a=1", And((NEVER, REFUSED))),
    (And((EXACT, BROAD)), "(a=1 and a>~3)", BROAD),
    (And((BROAD, NEVER)), "a>~3", And((BROAD, NEVER))),
    (And((NEVER, REFUSED)), None, And((NEVER, REFUSED))),
    (And((EXACT, And((OTHER, NEVER)))), "(a=1 and b=2)", And((OTHER, NEVER))),
    # Or: only if every part translates.
    (Or((EXACT, OTHER)), "(a=1 or b=2)", EVERYTHING),
    (Or((EXACT, NEVER)), None, Or((EXACT, NEVER))),
    (Or((EXACT, BROAD)), "(a=1 or a>~3)", Or((EXACT, BROAD))),
    (Or((And((EXACT, NEVER)), OTHER)), "(a=1 or b=2)", Or((And((EXACT, NEVER)), OTHER))),
    (Or((And((NEVER, REFUSED)), OTHER)), None, Or((And((NEVER, REFUSED)), OTHER))),
    # Not: only what is exact.
    (Not(EXACT), "not a=1", EVERYTHING),
    (Not(BROAD), None, Not(BROAD)),
    (Not(NEVER), None, Not(NEVER)),
    (Not(And((EXACT, OTHER))), "not (a=1 and b=2)", EVERYTHING),
    (Not(And((EXACT, NEVER))), None, Not(And((EXACT, NEVER)))),
    (Not(And((EXACT, BROAD))), None, Not(And((EXACT, BROAD)))),
    (Not(Or((EXACT, BROAD))), None, Not(Or((EXACT, BROAD)))),
    (Not(Not(EXACT)), "not not a=1", EVERYTHING),
    (Not(Not(BROAD)), None, Not(Not(BROAD))),
    (And((Not(BROAD), EXACT)), "a=1", Not(BROAD)),
    (And((Not(EXACT), Or((OTHER, NEVER)))), "not a=1", Or((OTHER, NEVER))),
]


@pytest.mark.parametrize(("condition", "fragment", "rest"), SPLITS, ids=str)
def test_split(condition: Condition, fragment: str | None, rest: Condition) -> None:
    assert split(Words(), condition) == (fragment, rest)


def test_what_cannot_be_joined_stays_in_python() -> None:
    both, either = And((EXACT, OTHER)), Or((EXACT, OTHER))
    assert split(Words("all"), both) == ("a=1", both)
    assert split(Words("any"), either) == (None, either)
    assert split(Words("not"), Not(EXACT)) == (None, Not(EXACT))
    assert split(Words("all"), Or((both, EXACT))) == ("(a=1 or a=1)", Or((both, EXACT)))
    assert split(Words("all"), Not(both)) == (None, Not(both))
    assert split(Native(), both) == (None, both)


def test_a_page_is_pushed_down_only_below_nothing() -> None:
    schema = Thing.__schema__
    term = Term(schema.place(("a",)), False, True)

    def page(condition: Condition, **options: Any) -> tuple[int, int | None, int, int | None]:
        plan = make_plan(Words(), schema, condition, offset=2, limit=3, **options)
        return plan.skip, plan.most, plan.offset, plan.limit

    pushed, kept = (2, 3, 0, None), (0, None, 2, 3)
    assert page(EXACT) == pushed
    assert page(EVERYTHING) == pushed
    assert page(EXACT, descending=True) == pushed
    assert page(BROAD) == kept
    assert page(NEVER) == kept
    assert page(And((EXACT, NEVER))) == kept
    assert page(EXACT, order=(term,)) == kept
    assert page(EXACT, unordered=True) == pushed
    assert page(BROAD, unordered=True) == kept


def test_a_plan_reads_the_fields_that_python_needs() -> None:
    schema = Thing.__schema__
    term = Term(schema.place(("b",)), False, True)
    assert make_plan(Words(), schema, EXACT, names=frozenset()).names == frozenset()
    assert make_plan(Words(), schema, BROAD, names=frozenset()).names == {"a"}
    assert make_plan(Words(), schema, EXACT, order=(term,), names=frozenset()).names == {"b"}
    assert make_plan(Words(), schema, NEVER).names is None


# --- answers --------------------------------------------------------------------------------


def _conditions(seed: int) -> Iterator[Condition]:
    leaves = [
        *list(asking.in_declared_places())[seed::29],
        *list(asking.in_open_places())[seed::29],
        *list(asking.on_paths())[seed::37],
        *list(asking.on_text_keys())[seed::11],
    ]
    yield from leaves[::3]
    yield from asking.trees(leaves, 120, seed=seed)


@pytest.mark.parametrize("seed", range(6))
def test_answers_do_not_depend_on_what_the_engine_can_do(seed: int) -> None:
    native = Whimsical(seed)
    storage = storage_with(native)()
    load(storage)
    expected = expected_samples(Sample.__schema__, nul=True)
    objects = Sample.objects(storage)
    check(answers(objects, _conditions(seed), expected))
    plain = get_storage("pymodels.ext.memory")
    load(plain)
    for condition in islice(_conditions(seed), 0, None, 5):
        for terms in ((), ("-pk",), ("flag", "-grade")):
            page = objects.where(condition).order_by(*terms)[2:7]
            wanted = keys_of(Sample.objects(plain).where(condition).order_by(*terms))[2:7]
            check(differences(page, keys_of(page), wanted))
            assert page.count() == len(wanted)
    assert all(count > 100 for count in native.treated.values()), native.treated


def test_changes_by_condition_do_not_depend_on_what_the_engine_can_do() -> None:
    expected = expected_samples(Sample.__schema__, nul=True)
    for seed in range(4):
        storage: ToyStorage = storage_with(Whimsical(seed))()
        load(storage)
        for number, condition in enumerate(islice(_conditions(seed), 0, None, 9), 1):
            query = Sample.objects(storage).where(condition)
            wanted = expected.finds(query.condition)
            assert query.update(mark=number) == len(wanted)
            assert keys_of(Sample.objects(storage).where(mark=number)) == wanted
