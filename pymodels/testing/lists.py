"""Lists and sets: changed where they are by ``update`` with ``F``, and read member by member."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import pytest
from msgspec import Meta

from pymodels import F, Field, Model, OperandInvalid, QueryError, ValidationError
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import put_raw


class Colour(Enum):
    """A member that is stored by its value."""

    RED = "red"
    GREEN = "green"


class Wheel(Model):
    """Sets of values that Python does not sort."""

    colours: Field[set[Colour]]
    numbers: Field[set[int | None]]
    signs: Field[set[int | str]]
    spokes: Field[list[set[int | None]]]


@dataclass
class Line:
    """A member with members of its own."""

    item: str
    price: Decimal = Decimal(1)


class Order(Model):
    """A record with lists of every sort."""

    tags: Field[list[str]] = Field(default=[])
    maybe: Field[list[int] | None] = Field(default=None)
    lucky: Field[set[int]] = Field(default=set())
    prices: Field[list[Decimal]] = Field(default=[])
    colours: Field[list[Colour]] = Field(default=[])
    lines: Field[list[Line]] = Field(default=[])
    few: Field[Annotated[list[int], Meta(max_length=3)]] = Field(default=[])
    bare: Field[list] = Field(default=[])  # type: ignore[type-arg]  # bare on purpose
    anything: Field[Any] = Field(default=None)
    parts: Field[list[Order]] = Field(default=[])
    count: Field[int] = Field(default=0)


class ListTests(OpensStorage):
    """``append``, ``remove`` and ``add_to_set``."""

    def changed(self, storage: Any, name: str, before: Any, change: Any) -> Any:
        """Store *before*, update the field with *change*, and return what is stored then."""
        order = Order(pk="a", **{name: before}).save(storage, replace=True)
        assert Order.objects(storage).update(**{name: change}) == 1
        return getattr(order.refresh(), name)

    def test_members_are_appended_in_order(self, storage: Any) -> None:
        tags = F("tags")
        assert self.changed(storage, "tags", ["b"], tags.append("a")) == ["b", "a"]
        assert self.changed(storage, "tags", ["b"], tags.append("b", "a", "b")) == list("bbab")
        assert self.changed(storage, "tags", [], tags.append("")) == [""]

    def test_every_member_that_is_the_same_is_removed(self, storage: Any) -> None:
        tags = F("tags")
        assert self.changed(storage, "tags", list("abcab"), tags.remove("a")) == list("bcb")
        assert self.changed(storage, "tags", list("abcab"), tags.remove("b", "a")) == ["c"]
        assert self.changed(storage, "tags", ["a"], tags.remove("A", "")) == ["a"]
        assert self.changed(storage, "maybe", None, F("maybe").remove(1)) is None

    def test_what_is_there_already_is_not_added(self, storage: Any) -> None:
        tags = F("tags")
        assert self.changed(storage, "tags", list("ba"), tags.add_to_set("a")) == list("ba")
        assert self.changed(storage, "tags", list("bb"), tags.add_to_set("c", "a", "c")) == list(
            "bbca"
        )

    def test_steps_follow_each_other(self, storage: Any) -> None:
        change = F("tags").append("a").remove("b").add_to_set("b", "a").append("b")
        assert self.changed(storage, "tags", ["b", "c"], change) == ["c", "a", "b", "b"]

    def test_sets(self, storage: Any) -> None:
        lucky = F("lucky")
        assert self.changed(storage, "lucky", {7}, lucky.add_to_set(3, 7, 11)) == {3, 7, 11}
        assert self.changed(storage, "lucky", {3, 7}, lucky.remove(7, 8)) == {3}
        expected = Order(pk="b", lucky={3, 7, 11}).save(storage)
        Order(pk="c", lucky={7}).save(storage)
        Order.objects(storage).where(pk="c").update(lucky=lucky.add_to_set(11, 3))
        assert storage.raw(Order, "c") == storage.raw(Order, expected.pk)

    def test_sets_of_what_has_no_order_of_its_own(self, storage: Any) -> None:
        wheel = Wheel(
            pk="a",
            colours={Colour.RED, Colour.GREEN},
            numbers={None, 3, 1},
            signs={"x", 1, "a"},
            spokes=[{None, 1}, {2}],
        ).save(storage)
        found = storage.get(Wheel, "a")
        assert found.colours == {Colour.RED, Colour.GREEN}
        assert (found.numbers, found.signs) == ({None, 1, 3}, {"x", 1, "a"})
        assert found.spokes == [{None, 1}, {2}]
        assert not found.is_changed
        wheels = Wheel.objects(storage)
        for condition in (
            Wheel.colours == {Colour.GREEN, Colour.RED},
            Wheel.colours.contains(Colour.RED),
            Wheel.numbers.contains(None),
            Wheel.signs == {1, "a", "x"},
        ):
            assert wheels.where(condition).count() == 1
        wheels.update(colours=F("colours").remove(Colour.RED), numbers=F("numbers").add_to_set(2))
        found = storage.get(Wheel, "a")
        assert (found.colours, found.numbers) == ({Colour.GREEN}, {None, 1, 2, 3})
        wheel.signs = {"b", 7, "c"}
        wheel.save()
        assert storage.get(Wheel, "a").signs == {7, "b", "c"}

    def test_no_set_has_members_that_change(self, storage: Any) -> None:
        Order(pk="a", anything={1}).save(storage)
        orders, anything = Order.objects(storage), F("anything")
        for change in (
            anything.add_to_set({1}),
            anything.append([1]),
            anything.append({"a": 1}).remove(1),
        ):
            with pytest.raises(ValidationError):
                orders.update(anything=change)
        assert orders.get("a").anything == {1}

    def test_members_are_the_same_as_conditions_see_them(self, storage: Any) -> None:
        prices, one = F("prices"), Decimal("1.00")
        assert self.changed(storage, "prices", [one], prices.remove(Decimal(1))) == []
        assert self.changed(storage, "prices", [one], prices.add_to_set(Decimal(1))) == [one]
        anything, mixed = F("anything"), [1, True, "1", 1.0, [1], (1,), None, Decimal(1)]
        found = self.changed(storage, "anything", mixed, anything.remove(1))
        assert [(type(one), one) for one in found] == [
            (bool, True),
            (str, "1"),
            (list, [1]),
            (tuple, (1,)),
            (type(None), None),
        ]
        assert self.changed(storage, "anything", mixed, anything.remove(None, [1], True)) == [
            1,
            "1",
            1.0,
            (1,),
            Decimal(1),
        ]
        assert self.changed(storage, "anything", {1, 2}, anything.add_to_set("x")) == {1, 2, "x"}

    def test_members_of_every_kind(self, storage: Any) -> None:
        red, green = Colour.RED, Colour.GREEN
        change: Any = F("colours").append(green).remove(red)
        assert self.changed(storage, "colours", [red, green, red], change) == [green, green]
        assert self.changed(storage, "colours", [red], F("colours").add_to_set(red)) == [red]
        ink, pen = Line("ink", Decimal("2.50")), Line("pen")
        change = F("lines").append(pen).remove(Line("ink", Decimal("2.5")))
        assert self.changed(storage, "lines", [ink, pen], change) == [pen, pen]
        change = F("bare").append([1], Decimal("1.5"), {2}).remove("x")
        assert self.changed(storage, "bare", ["x", b"y"], change) == [
            b"y",
            [1],
            Decimal("1.5"),
            {2},
        ]

    def test_references_are_given_as_instances_or_keys(self, storage: Any) -> None:
        one, two = Order(pk="1").save(storage), Order(pk="2").save(storage)
        orders = Order.objects(storage).where(pk="1")
        orders.update(parts=F("parts").append(one, "2", two))
        assert storage.raw(Order, "1")["parts"] == ["1", "2", "2"]
        orders.update(parts=F("parts").remove(two).add_to_set("1", "3"))
        assert storage.raw(Order, "1")["parts"] == ["1", "3"]
        with pytest.raises(ValidationError, match="not saved"):
            orders.update(parts=F("parts").append(Order()))

    def test_null_and_absent_count_as_empty_and_are_not_made_by_taking_away(
        self, storage: Any
    ) -> None:
        put_raw(storage, Order, "a", {"maybe": None})
        Order.objects(storage).update(tags=F("tags").remove("x"), maybe=F("maybe").remove(1))
        assert storage.raw(Order, "a") == {"maybe": None}
        Order.objects(storage).update(tags=F("tags").append("x"), maybe=F("maybe").add_to_set(1))
        assert storage.raw(Order, "a") == {"maybe": [1], "tags": ["x"]}

    def test_what_a_model_does_not_declare_of_a_member_is_kept(self, storage: Any) -> None:
        put_raw(storage, Order, "a", {"lines": [{"item": "ink", "price": "2", "note": "blue"}]})
        Order.objects(storage).update(lines=F("lines").append(Line("pen")).remove(Line("x")))
        assert storage.raw(Order, "a")["lines"] == [
            {"item": "ink", "price": "2", "note": "blue"},
            {"item": "pen", "price": "1"},
        ]

    def test_several_fields_of_several_records(self, storage: Any) -> None:
        storage.save_all([Order(pk=key, tags=[key], count=3) for key in "abc"])
        found = Order.objects(storage).where(tags__contains_any=["a", "c"])
        assert found.update(tags=F("tags").append("new"), count=F("count") + 1) == 2
        assert list(Order.objects(storage).select("tags", "count")) == [
            (["a", "new"], 4),
            (["b"], 3),
            (["c", "new"], 4),
        ]

    def test_a_result_that_does_not_fit_changes_nothing(self, storage: Any) -> None:
        storage.save_all([Order(pk="a", few=[1]), Order(pk="b", few=[1, 2, 3])])
        with pytest.raises(ValidationError, match="few"):
            Order.objects(storage).update(few=F("few").append(4))
        assert storage.raw(Order, "a")["few"] == [1]
        assert Order.objects(storage).update(few=F("few").remove(1).append(4)) == 2
        Order(pk="c", anything="text").save(storage)
        with pytest.raises(ValidationError, match="needs a list"):
            Order.objects(storage).where(pk="c").update(anything=F("anything").append(1))

    def test_what_cannot_be_a_member_is_refused(self, storage: Any) -> None:
        orders = Order.objects(storage)
        Order(pk="a").save(storage)
        with pytest.raises(ValidationError, match=r"Order\.tags"):
            orders.update(tags=F("tags").append(1))
        with pytest.raises(OperandInvalid, match="add_to_set"):
            orders.update(lucky=F("lucky").append(1))
        with pytest.raises(OperandInvalid, match="for a list or a set"):
            orders.update(count=F("count").append(1))
        assert not storage.get(Order, "a").is_changed


class MemberTests(OpensStorage):
    """What is read through lists: rows, distinct values, aggregates, groups."""

    def filled(self, storage: Any) -> Any:
        """Store a few orders, and return the query for all of them."""
        put_raw(
            storage,
            Order,
            "a",
            {"few": [1, 2], "anything": [{"n": 1}, {}, [{"n": 2.5}], 7], "count": 1},
        )
        put_raw(storage, Order, "b", {"few": [], "anything": {"n": [3, 4]}, "count": 1})
        put_raw(storage, Order, "c", {"few": [5], "anything": [], "count": 2})
        put_raw(storage, Order, "d", {"maybe": None, "anything": {"n": 2}})
        lines = [{"item": "ink", "price": "2.50"}, {"item": "pen", "price": "1"}]
        put_raw(storage, Order, "e", {"maybe": [4], "lines": lines, "lucky": [3], "count": 2})
        return Order.objects(storage)

    def test_a_path_through_a_list_gives_a_list(self, storage: Any) -> None:
        orders = self.filled(storage)
        assert [value for (value,) in orders.select("anything__n")] == [
            [1, None, 2.5, None],
            [3, 4],
            [],
            2,
            None,
        ]
        assert [value for (value,) in orders.select("anything__0__n")] == [
            1,
            None,
            None,
            None,
            None,
        ]
        assert [value for (value,) in orders.select("lines__price")] == [
            *[None] * 4,
            [Decimal("2.50"), Decimal(1)],
        ]
        assert orders.values("anything__n") == [None, 2, [], [1, None, 2.5, None], [3, 4]]
        assert orders.group_by("few").count() == [(None, 2), ([], 1), ([1, 2], 1), ([5], 1)]

    def test_aggregates_look_at_each_member(self, storage: Any) -> None:
        orders = self.filled(storage)
        assert (orders.sum("few"), orders.avg("few")) == (8, 8 / 3)
        assert (orders.min("few"), orders.max("few")) == (1, 5)
        assert orders.sum("maybe") == 4
        assert orders.sum("lucky") == 3
        assert orders.sum("lines__price") == Decimal("3.50")
        assert (orders.min("lines__item"), orders.max("lines__item")) == ("ink", "pen")
        # In an open place, a list at the end of a path is one value.
        assert (orders.sum("anything__n"), orders.max("anything__n")) == (5.5, [3, 4])
        nothing = orders.where(pk="none")
        assert (nothing.sum("few"), nothing.avg("few"), nothing.min("few")) == (0, None, None)

    def test_groups_look_at_each_member(self, storage: Any) -> None:
        orders = self.filled(storage)
        assert orders.group_by("count").sum("few") == [(None, 0), (1, 3), (2, 5)]
        assert orders.group_by("count").min("few") == [(None, None), (1, 1), (2, 5)]
        assert orders.group_by("count").avg("lines__price") == [
            (None, None),
            (1, None),
            (2, Decimal("1.75")),
        ]

    def test_a_sum_of_what_holds_no_number_is_refused(self, storage: Any) -> None:
        orders = self.filled(storage)
        for field in ("tags", "lines", "lines__item", "colours", "pk"):
            with pytest.raises(QueryError, match="of numbers"):
                orders.sum(field)
            with pytest.raises(QueryError, match="of numbers"):
                orders.group_by("count").avg(field)
        assert orders.sum("bare") == 0
