"""What every query has to answer, whichever way it is asked."""

from __future__ import annotations

import itertools
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from pymodels import Model, MultipleFound, QueryError, RecordNotFound
from pymodels.conditions import Condition
from pymodels.query import Query
from pymodels.storage import Storage
from pymodels.testing import asking
from pymodels.testing.answers import check, differences, has_nul, keys_of
from pymodels.testing.corpus import Friend, Numbered, Point, Sample, Span, Wider, load
from pymodels.testing.expected import expected_numbered, expected_samples, rank
from pymodels.testing.finding import LookupTests
from pymodels.testing.ordering import OrderTests


class QueryTests(LookupTests, OrderTests):
    """Every lookup, order, page and count, over records that are easily mistaken."""

    def test_all_ways_of_asking_agree(self, loaded: Storage) -> None:
        for condition in _some_conditions():
            query = Sample.objects(loaded).where(condition).order_by("-defaulted", "text")
            keys = keys_of(query)
            assert [one.pk for one in query] == keys
            assert [one.pk for one in query.all()] == keys
            assert query.count() == len(keys)
            assert query.exists() is bool(query) is bool(keys)
            assert list(query.in_bulk([*keys, "no such key"])) == keys
            assert [row["pk"] for row in query.select("pk", "text", dicts=True)] == keys
            assert [row[1] for row in query.select("pk", "whole")] == _visible(query, "whole")
            if keys:
                assert query.first().pk == query[0].pk == keys[0]
                assert query.last().pk == keys[-1]
                assert query.get(keys[-1]).pk == keys[-1]
            else:
                with pytest.raises(RecordNotFound):
                    query.first()
                with pytest.raises(RecordNotFound):
                    query.last()

    def test_pages_of_everything_and_far_away(self, loaded: Storage) -> None:
        keys = expected_numbered().keys
        objects = Numbered.objects(loaded)
        for query in (objects, objects.order_by("twin"), objects.where(twin__exists=True)):
            assert query[3:7].count() == 4
            assert query[3:].count() == len(keys) - 3
            for far in (10**9, 2**31 - 1, 2**31, 2**32 + 1, 2**63 - 1, 2**63, 10**30):
                assert keys_of(query[2:far]) == keys[2:], far
                assert query[2:far].count() == len(keys) - 2
                assert not query[far:]
                assert keys_of(query[far:]) == keys_of(query[far : far + 1]) == []
                assert query[far:].count() == 0

    def test_get_finds_one_record(self, loaded: Storage) -> None:
        objects = Numbered.objects(loaded)
        assert objects.get(2**53 + 1).twin == 2**53 + 1
        assert objects.get(twin=2**53).pk == 2**53
        assert objects.get((Numbered.twin > 2) & (Numbered.twin < 4)).pk == 3
        with pytest.raises(MultipleFound):
            objects.get(twin__in=[1, 2])
        with pytest.raises(RecordNotFound):
            objects.get(12345)
        with pytest.raises(RecordNotFound):
            objects.where(twin=2).get(1)

    def test_queries_combine(self, loaded: Storage) -> None:
        objects = Sample.objects(loaded).order_by("-text")
        everything, some = keys_of(objects), _some_conditions()
        for first, second in itertools.pairwise(some):
            left, right = objects.where(first), objects.where(second)
            one, other = keys_of(left), keys_of(right)
            for found, wanted in (
                (left & right, [key for key in one if key in other]),
                (left - right, [key for key in one if key not in other]),
                (left | right, [key for key in everything if key in one or key in other]),
                (objects - right, [key for key in everything if key not in other]),
            ):
                check(differences(found, keys_of(found), wanted))
            assert (left - right).count() == len(set(one) - set(other))
            assert not (left - left).exists()
            assert not (left - objects).exists()

    def test_values_are_distinct(self, loaded: Storage) -> None:
        for name in ("flag", "whole", "text", "exact", "anything", "bag__x", "pk"):
            found = Sample.objects(loaded).values(name)
            ranks = [rank(value) for value in found]
            assert ranks == sorted(set(ranks)), name
            seen = {rank(value) for (value,) in Sample.objects(loaded).select(name)}
            assert set(ranks) == seen, name

    def test_structures_are_values_too(self, storage: Storage) -> None:
        spans: list[Any] = [Span(date(2024, 1, 2)), Span(date(2024, 1, 1), Decimal(1)), None]
        points = [Point(2), Point(1, "b"), Point(1, "b")]
        storage.save_all(
            Sample(pk=f"{at}", span=span, point=point, points=[point], spans={"a": spans[1]})
            for at, (span, point) in enumerate(zip(spans, points, strict=True))
        )
        objects = Sample.objects(storage)
        assert objects.values("point") == [Point(2), Point(1, "b")]  # by name, and then by x
        assert objects.values("points") == [[Point(2)], [Point(1, "b")]]
        assert objects.values("spans") == [{"a": spans[1]}]
        assert objects.values("span") == [None, spans[0], spans[1]]
        assert objects.group_by("point").count() == [(Point(2), 1), (Point(1, "b"), 2)]
        assert (objects.min("span"), objects.max("point")) == (spans[0], points[1])

    def test_members_of_a_set_come_in_their_order(self, storage: Storage) -> None:
        pairs = {(number, "x") for number in range(-20, 20)}
        storage.save_all([Sample(pk=f"{n}", anything=pairs, mark=n) for n in range(3)])
        Sample(pk="low", anything={(-21, "x"), (30, "x")}, mark=-1).save(storage)
        objects = Sample.objects(storage)
        (found,) = next(objects.where(mark=0).select("anything__0"))
        assert found == list(range(-20, 20))
        assert objects.values("anything__0") == [[-21, 30], found]
        assert keys_of(objects.order_by("-anything__0")) == ["2", "1", "0", "low"]

    def test_groups_are_of_equal_values(self, loaded: Storage) -> None:
        for name in ("flag", "whole", "text", "exact", "anything", "bag__x", "pk"):
            sums: dict[Any, list[int]] = {}
            for value, whole in Sample.objects(loaded).select(name, "whole"):
                sums.setdefault(rank(value), []).append(whole or 0)
            grouped = Sample.objects(loaded).group_by(name)
            for found, function in ((grouped.count(), len), (grouped.sum("whole"), sum)):
                wanted = [(key, function(sums[key])) for key in sorted(sums)]
                assert [(rank(value), one) for value, one in found] == wanted, name

    def test_aggregates(self, loaded: Storage) -> None:
        objects = Numbered.objects(loaded)
        values = sorted(expected_numbered().keys)
        assert objects.sum("twin") == sum(values)
        assert Fraction(objects.avg("twin")) == Fraction(sum(values) / len(values))
        assert (objects.min("twin"), objects.max("twin")) == (values[0], values[-1])
        nothing = objects.where(twin__in=[])
        assert (nothing.sum("twin"), nothing.avg("twin")) == (0, None)
        assert (nothing.min("twin"), nothing.max("twin")) == (None, None)
        greatest = Sample.objects(loaded).where(real=Sample.objects(loaded).max("real"))
        assert greatest.count() > 1
        for ask in (greatest.sum, greatest.group_by("defaulted").sum):
            with pytest.raises(QueryError, match="greater than any float"):
                ask("real")
        groups = Sample.objects(loaded).group_by("flag").count()
        rows = [row[0] for row in Sample.objects(loaded).select("flag")]
        assert groups == [(flag, rows.count(flag)) for flag in (None, False, True)]

    def test_explain_counts_what_was_returned(self, loaded: Storage) -> None:
        for condition in _some_conditions():
            query = Sample.objects(loaded).where(condition)
            explained = query.explain()
            assert explained.returned == query.count() <= explained.read

    # --- many records changed at once -------------------------------------------------------

    def test_update_by_condition(self, storage: Storage) -> None:
        load(storage)
        expected = expected_samples(Sample.__schema__, nul=has_nul(storage))
        for number, condition in enumerate(_some_conditions(), 1):
            query = Sample.objects(storage).where(condition)
            wanted = expected.finds(query.condition)
            before = dict(Sample.objects(storage).select("pk", "mark"))
            assert query.update(mark=number) == len(wanted), condition
            after = dict(Sample.objects(storage).select("pk", "mark"))
            marked = [key for key in expected.keys if after[key] == number]
            check(differences(condition, marked, wanted))
            assert all(after[key] == before[key] for key in expected.others(wanted)), condition

    def test_delete_by_condition(self, storage: Storage) -> None:
        load(storage)
        expected = expected_samples(Sample.__schema__, nul=has_nul(storage))
        left = expected.keys
        for condition in _some_conditions()[::3]:
            query = Sample.objects(storage).where(condition)
            gone = set(expected.finds(query.condition))
            assert query.delete() == len(gone.intersection(left)), condition
            left = [key for key in left if key not in gone]
            check(differences(f"left after {condition!r}", keys_of(Sample.objects(storage)), left))
            assert Sample.objects(storage).count() == len(left)
        assert Friend.objects(storage).count() == 3

    def test_update_and_delete_of_a_page(self, storage: Storage) -> None:
        load(storage)
        keys = keys_of(Sample.objects(storage).order_by("-text"))
        assert Sample.objects(storage).order_by("-text")[2:9].update(mark=1) == 7
        assert set(keys_of(Sample.objects(storage).where(mark=1))) == set(keys[2:9])
        for nothing in (
            Sample.objects(storage)[3:3],
            Sample.objects(storage).where(pk__gt="")[:0],
            Sample.objects(storage).where(pk__startswith="k")[2:2],
            Sample.objects(storage).where(mark=1).order_by("text")[:0],
        ):
            assert nothing.update(mark=2) == nothing.delete() == nothing.count() == 0
        assert Sample.objects(storage).order_by("-text")[:4].delete() == 4
        check(differences("left", keys_of(Sample.objects(storage).order_by("-text")), keys[4:]))

    def test_iteration_survives_writes(self, storage: Storage) -> None:
        load(storage)
        keys, seen = keys_of(Sample.objects(storage)), []
        for sample in Sample.objects(storage):
            seen.append(sample.pk)
            sample.mark = 1
            sample.save()
            if len(seen) % 3 == 0:
                sample.delete()
                Sample(pk=f"{sample.pk}~", mark=2).save(storage)
        assert len(seen) == len(set(seen))
        assert set(keys) <= set(seen)

    def test_a_view_sees_its_own_records(self, storage: Storage) -> None:
        load(storage)
        view = _viewed()
        expected = expected_samples(view.__schema__, nul=has_nul(storage))
        objects = view.objects(storage)
        wanted = expected.finds(objects.condition)
        assert 0 < len(wanted) < len(expected.keys)
        check(differences(view, keys_of(objects), wanted))
        found = keys_of(objects.where_not(flag=True))
        check(
            differences("where_not", found, expected.finds(objects.where_not(flag=True).condition))
        )
        assert {*keys_of(objects.where(flag=True)), *found} == set(wanted)
        assert objects.delete() == len(wanted)
        check(differences("others", keys_of(Sample.objects(storage)), expected.others(wanted)))


def _viewed() -> type[Model]:
    class Positive(Wider, must_have={"whole__gt": 0}, must_not_have={"text": ""}):
        """Samples of which a part has to be true."""

    return Positive


def _some_conditions() -> list[Condition]:
    every = [
        *list(asking.in_declared_places())[::311],
        *list(asking.in_open_places())[::211],
        *list(asking.on_text_keys())[::23],
    ]
    return [*every, *asking.trees(every, 10, seed=6)]


def _visible(query: Query[Any], name: str) -> list[Any]:
    """Return a field of the records found, where its default is None."""
    return [getattr(one, name) for one in query]
