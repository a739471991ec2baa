"""Each lookup, with each kind of operand, on each kind of value, wherever it stands."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from pymodels import Field, Model, Path
from pymodels.conditions import Condition, lookups_in
from pymodels.lookups import LOOKUPS, lookup
from pymodels.storage import Storage
from pymodels.testing import asking, pools
from pymodels.testing.answers import AsksSamples, answers, check, differences, has_nul, keys_of
from pymodels.testing.corpus import Friend, Identified, Numbered, Sample
from pymodels.testing.expected import (
    expected_identified,
    expected_numbered,
    expected_samples,
)


class Squares(Model):
    """Lists in lists."""

    rows: Field[list[list[dict[str, int]]]] = Field(default_factory=list)


class Mixed(Model):
    """Numbers of every type in one field."""

    number: Field[int | float | Decimal]


class LookupTests(AsksSamples):
    """Which records a condition finds, and its complement."""

    def test_the_samples_are_stored_as_they_are(self, loaded: Storage) -> None:
        expected = expected_samples(Sample.__schema__, nul=has_nul(loaded))
        check(differences("all records", list(loaded.keys(Sample)), expected.keys))
        assert Sample.objects(loaded).count() == len(expected.keys)

    def test_lookups_in_declared_places(self, loaded: Storage) -> None:
        self.ask(loaded, asking.in_declared_places())

    def test_lookups_in_open_places(self, loaded: Storage) -> None:
        self.ask(loaded, asking.in_open_places())

    def test_lookups_in_undeclared_places(self, loaded: Storage) -> None:
        self.ask(loaded, asking.in_undeclared_places())

    def test_lookups_on_paths(self, loaded: Storage) -> None:
        self.ask(loaded, asking.on_paths())

    def test_lookups_on_text_keys(self, loaded: Storage) -> None:
        self.ask(loaded, asking.on_text_keys())

    def test_lookups_on_keys_that_are_numbers(self, loaded: Storage) -> None:
        questions = asking.on_numbered_keys()
        check(answers(Numbered.objects(loaded), questions, expected_numbered()))

    def test_lookups_on_keys_that_are_uuids(self, loaded: Storage) -> None:
        questions = asking.on_identified_keys()
        check(answers(Identified.objects(loaded), questions, expected_identified()))

    def test_every_lookup_is_asked(self) -> None:
        asked = {
            one.name
            for questions in (asking.in_declared_places(), asking.in_open_places())
            for condition in questions
            for one in lookups_in(condition)
        }
        # A backend may bring a lookup of its own, which it tests itself.
        assert asked >= {
            name
            for name, meaning in LOOKUPS.items()
            if meaning.test.__module__ == "pymodels.lookups"
        }

    def test_random_conditions(self, loaded: Storage) -> None:
        leaves = [
            *list(asking.in_declared_places())[::7],
            *list(asking.in_open_places())[::7],
            *list(asking.in_undeclared_places())[::31],
            *list(asking.on_paths())[::31],
            *list(asking.on_text_keys()) * 2,
        ]
        self.ask(loaded, asking.trees(leaves, 300, seed=2))

    def test_random_conditions_on_keys(self, loaded: Storage) -> None:
        leaves = list(asking.on_numbered_keys())
        leaves += [Numbered.twin > 0, Numbered.twin == 2**53 + 1, Numbered.twin <= 255]
        questions = asking.trees(leaves, 300, seed=3)
        check(answers(Numbered.objects(loaded), questions, expected_numbered()))

    def test_keywords_mean_what_paths_mean(self, loaded: Storage) -> None:
        objects = Sample.objects(loaded)
        pairs: list[tuple[dict[str, Any], Condition]] = [
            ({"whole": 1}, Sample.whole == 1),
            (
                {"whole__gt": 0, "text__contains": "a"},
                (Sample.whole > 0) & Path("text").contains("a"),
            ),
            ({"point__x__gte": 1}, Sample.point["x"].lookup("gte", 1)),
            ({"points__0__name": "a"}, Sample.points[0]["name"].lookup("equals", "a")),
            ({"counts__a__in": [1, 2]}, Path("counts", "a").in_([1, 2])),
            ({"bag__x__size": 1}, Path("bag", "x").size(1)),
            ({"renamed": "a"}, Path("stored$as.this") == "a"),
            ({"pk__startswith": "k0"}, Path("pk").startswith("k0")),
        ]
        for keywords, condition in pairs:
            found = keys_of(objects.where(**keywords))
            check(differences(condition, found, keys_of(objects.where(condition))))
            assert found, condition

    def test_a_lookup_that_a_user_adds_works(self, loaded: Storage) -> None:
        @lookup("ends_in_three")
        def ends_in_three(value: Any, operand: Any) -> bool:
            return type(value) is int and (value % 10 == 3) is operand

        try:
            objects, expected = Numbered.objects(loaded), expected_numbered()
            condition = Path("twin").lookup("ends_in_three", True)
            wanted = [key for key in expected.keys if key % 10 == 3]
            check(differences(condition, keys_of(objects.where(condition)), wanted))
            others = keys_of(objects.where_not(twin__ends_in_three=True))
            check(differences(~condition, others, expected.others(wanted)))
        finally:
            del LOOKUPS["ends_in_three"]

    def test_paths_lead_through_lists_in_lists(self, storage: Storage) -> None:
        rows: dict[str, Any] = {
            "a": [[{"n": 1}], [{"n": 5}, {}]],
            "b": [[{"n": 2}]],
            "c": [[], [{}]],
            "d": [],
        }
        storage.save_all([Squares(pk=key, rows=value) for key, value in rows.items()])
        objects = Squares.objects(storage)
        for wanted, lookups in (
            (["a"], {"rows__n": 5}),
            (["a", "b"], {"rows__n__gte": 2}),
            (["a", "b"], {"rows__n__in": [1, 2]}),
            (["a", "c", "d"], {"rows__n": None}),
            (["a", "b"], {"rows__n__exists": True}),
            (["a"], {"rows__1__n": 5}),
            ([], {"rows__n__gt": 5}),
        ):
            assert keys_of(objects.where(**lookups)) == wanted, lookups
            others = [key for key in rows if key not in wanted]
            assert keys_of(objects.where_not(**lookups)) == others, lookups
        assert objects.where(rows__n=2).update(rows=[[], [{"n": 9}]]) == 1
        assert objects.where(rows__n__gt=4).delete() == 2

    def test_numbers_of_every_type_in_one_field(self, storage: Storage) -> None:
        numbers: dict[str, Any] = {f"{at:02}": one for at, one in enumerate(pools.NUMBERS)}
        storage.save_all([Mixed(pk=key, number=one) for key, one in numbers.items()])
        exact = {key: Fraction(one) for key, one in numbers.items()}
        for place, operand in numbers.items():
            bound = exact[place]
            for lookups, wanted in (
                ({"number": operand}, [key for key in exact if exact[key] == bound]),
                ({"number__in": [operand]}, [key for key in exact if exact[key] == bound]),
                ({"number__lt": operand}, [key for key in exact if exact[key] < bound]),
                ({"number__gte": operand}, [key for key in exact if exact[key] >= bound]),
            ):
                found = keys_of(Mixed.objects(storage).where(**lookups))
                check(differences(lookups, found, wanted))

    def test_text_is_found_by_text_of_any_length(self, storage: Storage) -> None:
        for length in (999, 1001, 40_000):
            text = "aß." * length
            Sample(pk=f"{length}", text=text).save(storage)
            objects = Sample.objects(storage)
            for name in ("startswith", "endswith", "contains", "equals"):
                assert keys_of(objects.where(**{f"text__{name}": text})) == [f"{length}"]
                assert objects.where(**{f"text__i{name}": text.upper()}).count() == 1
            assert objects.where(text__contains_all=[text, "a"]).count() == 1
            assert objects.where(pk__startswith=text).count() == 0
            objects.delete()

    def test_in_takes_a_query(self, loaded: Storage) -> None:
        objects, friends = Sample.objects(loaded), Friend.objects(loaded)
        for found in (friends.where(name="f1"), friends.where(name__gt="f"), friends.where(pk="")):
            keys = [friend.pk for friend in found]
            by_keys = objects.where(friend__in=keys)
            by_query = objects.where(friend__in=found)
            check(differences(by_query.condition, keys_of(by_query), keys_of(by_keys)))
            assert objects.where_not(friend__in=found).count() == objects.count() - by_keys.count()

    def test_conditions_leave_operands_as_they_are(self, loaded: Storage) -> None:
        operands: list[Any] = [[2, 1], {"b": 1, "a": [3, 2]}, {"z", "a"}, ["b", "a", None]]
        before = repr(operands)
        for operand in operands:
            keys_of(Sample.objects(loaded).where(anything=operand))
            keys_of(Sample.objects(loaded).where(anything__in=[operand]))
            keys_of(Sample.objects(loaded).where(anything__contains=operand))
            keys_of(Sample.objects(loaded).where(anything__contains_any=list(operand)))
        assert repr(operands) == before
