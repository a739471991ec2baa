"""What goes in comes back equal and of the same type, or is refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import pytest

from pymodels import Field, Model, RecordInvalid, ValidationError
from pymodels.storage import Storage
from pymodels.testing import pools
from pymodels.testing.answers import check
from pymodels.testing.corpus import (
    DECLARED,
    Colour,
    Friend,
    Grade,
    Identified,
    Numbered,
    Point,
    Sample,
    Span,
    Wider,
    load,
    samples,
)
from pymodels.testing.opening import OpensStorage


def identical(left: Any, right: Any) -> bool:
    """Tell whether two values are equal and of one type, through all their members.

    The order of the names in a mapping does not matter, and instants are compared as instants.
    """
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(
            identical(value, right[name]) for name, value in left.items()
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(identical, left, right))
    if isinstance(left, set):
        return left == right and {(type(one), one) for one in left} == {
            (type(one), one) for one in right
        }
    if isinstance(left, msgspec.Struct):
        return identical(msgspec.structs.asdict(left), msgspec.structs.asdict(right))
    if hasattr(left, "__dataclass_fields__"):
        return identical(vars(left), vars(right))
    return bool(left == right)


def _lost(model: type[Model], name: str, before: Any, after: Any) -> Iterator[str]:
    if not identical(before, after):
        yield f"{model.__name__}.{name}: {before!r} came back as {after!r}"


def _same_record(key: Any, wanted: Any, found: Any) -> Iterator[str]:
    for name, value in wanted.items():
        actual = found.key_of(name) if name in ("friend", "friends") else getattr(found, name)
        if not identical(value, actual):
            yield f"{key!r}.{name}: {value!r} came back as {actual!r}"


def _refused() -> dict[str, tuple[Any, ...]]:
    aware, naive = pools.INSTANTS[4], pools.LOCALS[3]
    return {
        "flag": (0, 1, "true", 1.0),
        "whole": (True, 1.0, "1", 2**63, -(2**63) - 1, Decimal(1)),
        "real": (math.nan, math.inf, -math.inf, True, "1.5", Decimal("1.5"), 2**53 + 1),
        "exact": (Decimal("nan"), Decimal("inf"), Decimal("1" * 35), Decimal("1E+6112"), 1, 0.5),
        "number": (True, "1", math.nan, 2**64),
        "text": (1, b"a", "\ud800", "a\udfff", object(), ["a"]),
        "data": ("a", [1], bytearray(b"a")),
        "instant": (naive, pools.DATES[2], "2024-03-01T00:00:00Z", 0),
        "local": (aware, pools.DATES[2], "2024-03-01T00:00:00"),
        "day": (aware, "2024-03-01", 0),
        "clock": (time(1, tzinfo=UTC), "01:00:00", 3600),
        "length": (1, "P1D", 1.5),
        "uid": (str(pools.UUIDS[2]), 1, pools.UUIDS[2].bytes),
        "colour": ("red", Grade.LOW, "blue"),
        "grade": (1, Colour.RED, 3),
        "word": ("c", 2, True, "1"),
        "either": (1.5, b"a", True),
        "strings": (("a",), {"a"}, [1], ["a", None], "ab", ["\ud800"]),
        "numbers": ([1, "2"], [2**63], [True], (1,), None),
        "days": ([aware], ["2024-03-01"]),
        "unique": ([1], {"1"}, frozenset({1}), {True, 2}),
        "pair": ((1,), [1, "a"], ("a", 1), (1, "a", "b")),
        "row": (["a"], (1,), "a"),
        "counts": ({1: 1}, {"a": "1"}, {"a": 2**63}, {"\ud800": 1}, [("a", 1)]),
        "point": ({"x": 1}, Point("1"), (1, "a"), Span(pools.DATES[2])),  # type: ignore[arg-type]
        "points": ([{"x": 1}], (Point(1),), [Point(1), None]),
        "span": (Span(aware), Span(pools.DATES[2], 1.5), Point(1)),  # type: ignore[arg-type]
        "loose": ({"a": "1"}, {"c": 1}, {"b": 1}),
        "defaulted": (None, 1.0, "7"),
        "anything": (
            math.nan,
            2**63,
            Decimal("1" * 35),
            "\ud800",
            naive,
            time(1, tzinfo=UTC),
            Colour.RED,
            Point(1),
            frozenset({1}),
            object(),
            1j,
            range(3),
            bytearray(b"a"),
            [math.nan],
            {"a": [{"b": naive}]},
            {1: "a"},
            {"\ud800": 1},
            (1, {2**63}),
        ),
        "bag": ([], {1: 2}, {"a": math.inf}, {"a": {"b": object()}}),
        "members": ({}, (1,), [naive], [[math.nan]]),
    }


class ValueTests(OpensStorage):
    """Every kind of value, in declared, open and undeclared places: kept exactly, or refused."""

    def test_records_come_back_as_they_were_saved(self, storage: Storage) -> None:
        load(storage)
        made = list(samples(nul="nul" in storage.capabilities))
        found = {one.pk: one for one in Wider.objects(storage)}
        assert len(found) == len(made)
        fields = Wider.__schema__.fields
        defaults = Wider().to_dict()
        wrong: list[str] = []
        for one in made:
            wanted = {
                name: defaults[name]
                if name in one.absent or name not in one.values
                else one.values[name]
                for name in fields
            }
            wrong += _same_record(one.key, wanted, found[one.key])
            wrong += _same_record(one.key, wanted, storage.get(Wider, one.key))
        check(wrong)

    def test_records_are_there_when_opened_again(self, path: Any) -> None:
        with self.make(path) as storage:
            load(storage)
            made = list(samples(nul="nul" in storage.capabilities))
            kept = "persistent" in storage.capabilities
        with self.reopen(path) as storage:
            if not kept:
                assert len(storage) == 0
                return
            found = {one.pk: one for one in Wider.objects(storage)}
            assert len(found) == len(made)
            check(
                wrong
                for one in made
                for wrong in _same_record(
                    one.key,
                    {n: v for n, v in one.values.items() if n not in one.absent},
                    found[one.key],
                )
            )

    def test_values_come_back_from_declared_fields(self, storage: Storage) -> None:
        wrong: list[str] = []
        for name, pool in DECLARED.items():
            storage.save_all([Wider(pk=f"{name}{n}", **{name: v}) for n, v in enumerate(pool)])
            for number, value in enumerate(pool):
                found = storage.get(Wider, f"{name}{number}")
                wrong += _same_record(found.pk, {name: value}, found)
        check(wrong)

    def test_values_are_changed_to_any_other(self, storage: Storage) -> None:
        wrong: list[str] = []
        sample = Wider(pk="one").save(storage)
        for name, pool in DECLARED.items():
            for value in pool:
                setattr(sample, name, value)
                sample.save()
                found = storage.get(Wider, "one")
                wrong += _same_record("one", {name: value}, found)
                assert not found.is_changed
        check(wrong)

    def test_values_are_updated_by_a_query(self, storage: Storage) -> None:
        wrong: list[str] = []
        Wider(pk="one").save(storage)
        for name, pool in DECLARED.items():
            for value in pool[::3]:
                assert Wider.objects(storage).update(**{name: value}) == 1
                wrong += _same_record("one", {name: value}, storage.get(Wider, "one"))
        check(wrong)

    def test_open_places_keep_values_deep_inside(self, storage: Storage) -> None:
        wrong: list[str] = []
        for value in pools.ANYTHING:
            shapes: list[Any] = [
                [value],
                (value, [value]),
                {"a.b": {"$c": [value]}},
                [[{"x": value}]],
            ]
            Sample(pk="one", anything=shapes).save(storage, replace=True)
            found = storage.get(Sample, "one").anything
            wrong += _lost(Sample, "anything", shapes, found)
            (row,) = Sample.objects(storage).select("anything")
            wrong += _lost(Sample, "anything", (shapes,), row)
        check(wrong)

    def test_nothing_tells_the_order_of_the_names_in_a_mapping(self, storage: Storage) -> None:
        nested = {"b": 1, "a": {"d": 1, "c": 2}}
        Sample(pk="one", anything=nested, counts={"z": 1, "y": 2}).save(storage)
        found = storage.get(Sample, "one")
        assert found.counts is not None
        assert list(found.anything) == ["a", "b"]
        assert list(found.anything["a"]) == ["c", "d"]
        assert list(found.counts) == ["y", "z"]

    def test_keys_of_every_kind_come_back(self, storage: Storage) -> None:
        load(storage)
        for model, field in ((Numbered, "twin"), (Identified, "twin")):
            for one in model.objects(storage):
                assert identical(one.pk, getattr(one, field))

    def test_null_is_not_absent(self, storage: Storage) -> None:
        class Narrow(Model, collection="sample"):
            text: Field[str | None] = Field(default=None)

        Narrow(pk="absent", text="a").save(storage)
        Sample(pk="null", text="a", anything=None, bag=None).save(storage)
        absent, null = (storage.raw(Sample, key) for key in ("absent", "null"))
        assert set(absent) == {"text"}
        assert null["anything"] is null["bag"] is None
        assert storage.get(Sample, "absent").defaulted == 7
        sample = storage.get(Sample, "absent")
        sample.mark = 1
        sample.save()
        assert set(storage.raw(Sample, "absent")) == {"text", "mark"}

    def test_undeclared_fields_survive_load_and_save(self, storage: Storage) -> None:
        load(storage)
        before = dict(storage.raw_records(Wider))
        for friend in Friend.objects(storage):
            friend.name += "!"
            friend.save()
        for sample in Sample.objects(storage):
            sample.mark = 5
            sample.save()
        wrong: list[str] = []
        for key, record in storage.raw_records(Wider):
            wrong += _lost(Wider, key, before[key] | {"mark": 5}, record)
        check(wrong)

    def test_a_declared_scalar_shows_its_own_form_to_others(self, storage: Storage) -> None:
        Wider(pk="one", price=Decimal("1.50"), since=date(2024, 2, 29)).save(storage)
        assert storage.get(Sample, "one").unknown["price"] == "1.50"
        assert storage.get(Sample, "one").unknown["since"] == "2024-02-29"

    def test_an_int_in_a_float_field_is_a_float(self, storage: Storage) -> None:
        for number in (0, 1, -3, 2**53, -(2**63)):
            Sample(pk="one", real=number).save(storage, replace=True)
            assert identical(storage.get(Sample, "one").real, float(number))
            assert Sample.objects(storage).where(real=number).count() == 1

    def test_instants_come_back_in_utc(self, storage: Storage) -> None:
        zone = timezone(timedelta(hours=-9, minutes=-30))
        before = datetime(2024, 3, 1, 0, 0, 0, 1, zone)
        Sample(pk="one", instant=before, anything=[before]).save(storage)
        found = storage.get(Sample, "one")
        for after in (found.instant, found.anything[0]):
            assert after == before
            assert after.utcoffset() == timedelta(0)
            assert (after.hour, after.minute, after.microsecond) == (9, 30, 1)

    def test_text_with_nul_is_kept_or_refused(self, storage: Storage) -> None:
        for text in pools.WITH_NUL:
            for values in ({"text": text}, {"anything": [text]}, {"counts": {text: 1}}):
                sample = Sample(pk="one", **values)
                if "nul" in storage.capabilities:
                    sample.save(storage, replace=True)
                    check(_same_record("one", values, storage.get(Sample, "one")))
                else:
                    with pytest.raises(ValidationError, match=next(iter(values))):
                        sample.save(storage, replace=True)

    def test_what_cannot_be_kept_is_refused_by_name(self, storage: Storage) -> None:
        Sample(pk="there").save(storage)
        there = storage.get(Sample, "there")
        wrong: list[str] = []
        for name, values in _refused().items():
            for value in values:
                new = Sample(pk="new", **{name: value})
                wrong += _not_refused(partial(new.save, storage), name, value)
                setattr(there, name, value)
                wrong += _not_refused(there.save, name, value)
                update = partial(Sample.objects(storage).update, **{name: value})
                wrong += _not_refused(update, name, value)
                there.refresh()
        check(wrong)
        assert [one.pk for one in Sample.objects(storage)] == ["there"]
        assert not storage.get(Sample, "there").is_changed

    def test_all_that_is_wrong_comes_in_one_error(self, storage: Storage) -> None:
        values: dict[str, Any] = {"whole": "1", "real": math.nan, "anything": [{"a": object()}]}
        sample = Sample(pk="one", **values)
        with pytest.raises(ValidationError) as caught:
            sample.save(storage)
        assert {name for name, _ in caught.value.problems} == {"whole", "real", "anything"}
        assert all(name in str(caught.value) for name in ("Sample", "whole", "real", "anything"))

    def test_a_record_that_does_not_fit_is_an_error(self, storage: Storage) -> None:
        class Other(Model, collection="sample"):
            whole: Field[Any] = Field(default=None)

        Sample(pk="a", whole=1).save(storage)
        Other(pk="b", whole="one").save(storage)
        for read in (
            lambda: storage.get(Sample, "b"),
            lambda: Sample.objects(storage).all(),
            lambda: Sample.objects(storage).where(whole__gt=0).count(),
            lambda: Sample.objects(storage).order_by("whole").all(),
            lambda: Sample.objects(storage).values("whole"),
        ):
            with pytest.raises(RecordInvalid) as caught:
                read()
            error = caught.value
            assert (error.collection, error.key, error.field) == ("sample", "b", "whole")
        assert storage.raw(Sample, "b") == {"whole": "one"}
        assert dict(storage.raw_records(Sample))["b"] == {"whole": "one"}


def _not_refused(attempt: Callable[[], Any], name: str, value: Any) -> Iterator[str]:
    try:
        attempt()
    except ValidationError as error:
        if name not in str(error) or "Sample" not in str(error):
            yield f"{name}={value!r}: the error names no model or field: {error}"
    else:
        yield f"{name}={value!r}: was not refused"
