"""What a save writes of a changed record: the quick comparison beside the general one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from pymodels import Field, Model, get_storage
from pymodels.messagepack import MessagePack

CODEC = MessagePack()
ABROAD = timezone(timedelta(hours=1))


class Thing(Model):
    text: Field[str | None]
    number: Field[int | None]
    amount: Field[float | None]
    yes: Field[bool | None]
    moment: Field[datetime | None]
    day: Field[date | None]
    exact: Field[Decimal | None]
    words: Field[list[str] | None]
    numbers: Field[list[int] | None]
    several: Field[set[int] | None]
    either: Field[int | str | None]


# Values of which some are equal in Python, and stored as other bytes, or the other way round.
FIELDS: dict[str, list[Any]] = {
    "text": ["", "a", "b"],
    "number": [0, 1, 2**60],
    "amount": [0.0, -0.0, 0, 1, 1.0, 1.5],
    "yes": [True, False],
    "moment": [
        datetime(2020, 1, 1, 12, tzinfo=UTC),
        datetime(2020, 1, 1, 13, tzinfo=ABROAD),
        datetime(2020, 1, 1, 13, tzinfo=UTC),
    ],
    "day": [date(2020, 1, 1), date(2020, 1, 2)],
    "exact": [Decimal(1), Decimal("1.00"), Decimal(2)],
    "words": [[], ["a"], ["a", "b"]],
    "numbers": [[], [0], [1]],
    "several": [set(), {1, 2}, {2, 1, 3}],
    "either": [1, "1", "a"],
}

VALUES = st.fixed_dictionaries(
    {name: st.sampled_from([None, *some]) for name, some in FIELDS.items()}
)


NOTHING = dict.fromkeys(FIELDS)


@example(before=NOTHING | {"amount": 0}, after=NOTHING | {"amount": 0.0})
@example(before=NOTHING | {"amount": 0}, after=NOTHING | {"amount": -0.0})
@given(before=VALUES, after=VALUES)
def test_the_same_is_found_as_by_comparing_what_is_stored(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    schema = Thing.__schema__
    stored, instance = CODEC.encode(Thing(**before)), Thing(**after)
    found = CODEC.difference(schema, stored, instance)
    assert found == CODEC._any_difference(schema, stored, instance)
    set_there, made = CODEC.changed(schema, "k", stored, instance)
    assert set_there == found
    assert CODEC.document(made) == CODEC.document(CODEC.encode(instance))
    assert (made == stored) == (not found)


@given(before=VALUES, after=VALUES)
def test_a_record_is_made_anew_as_it_would_be_by_its_changes(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    schema = Thing.__schema__
    remake: Any = CODEC.remaker(schema)
    stored, instance = CODEC.encode(Thing(**before)), Thing(**after)
    set_there, wanted = CODEC.changed(schema, "k", stored, instance)
    names: set[str] = set()
    many = remake([stored], [instance], names)
    if many is not None:  # else an int, say, is stored in a field of floats
        (made,) = many
        assert CODEC.document(made) == CODEC.document(wanted)
        assert names >= {name for (name,) in set_there}
    elif before["amount"] is None or isinstance(before["amount"], float):
        raise AssertionError("a record that its model wrote is to be made anew")


# An int in a field of floats stays one, also where only another field is put back.
@example([(NOTHING | {"amount": 0}, NOTHING | {"amount": 0, "text": "a"})] * 2)
@example([(NOTHING, NOTHING | {"text": "a"}), (NOTHING | {"amount": 0}, NOTHING | {"amount": 0})])
@example(
    [
        (NOTHING, NOTHING | {"text": "a"}),
        (NOTHING | {"amount": 0}, NOTHING | {"amount": 0, "text": "a"}),
        (NOTHING | {"amount": 0}, NOTHING | {"amount": 1, "text": "a"}),
    ]
)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=5))
def test_many_records_are_made_anew_as_each_would_be(
    pairs: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    schema = Thing.__schema__
    remake: Any = CODEC.remaker(schema)
    records = [CODEC.encode(Thing(**before)) for before, _ in pairs]
    instances = [Thing(**after) for _, after in pairs]
    names: set[str] = set()
    made = remake(records, instances, names)
    each = list(zip(records, instances, strict=True))
    alone = [remake([stored], [instance], set()) for stored, instance in each]
    if made is None:
        assert None in alone
        return
    for (stored, instance), after in zip(each, made, strict=True):
        set_there, wanted = CODEC.changed(schema, "k", stored, instance)
        assert CODEC.document(after) == CODEC.document(wanted)
        assert names >= {name for (name,) in set_there}


def test_a_record_with_more_than_the_model_has_is_not_made_anew() -> None:
    remake: Any = CODEC.remaker(Thing.__schema__)
    thing = Thing(**(dict.fromkeys(FIELDS) | {"text": "new"}))
    record = dict.fromkeys(FIELDS)
    assert remake([msgspec.msgpack.encode(record)], [thing], set()) == [CODEC.encode(thing)]
    turned = dict(reversed(record.items()))  # the order of fields means nothing
    assert remake([msgspec.msgpack.encode(turned)], [thing], set()) == [CODEC.encode(thing)]
    for more in ({"extra": 1}, {"amount": 1}, {"moment": "2020-01-01T12:00:00Z"}, {"number": "?"}):
        assert remake([msgspec.msgpack.encode(record | more)], [thing], set()) is None
        # Nor is it after one that was, of which the same field is another.
        both = [msgspec.msgpack.encode(record), msgspec.msgpack.encode(record | more)]
        assert remake(both, [thing, thing], set()) is None


def test_nothing_that_never_was_a_record_is_given_to_post_init() -> None:
    class Span(Model):
        start: Field[int]
        end: Field[int]

        def __post_init__(self) -> None:
            if self.start > self.end:
                raise ValueError("it ends before it starts")

    remake: Any = CODEC.remaker(Span.__schema__)
    records = [CODEC.encode(Span(start=1, end=2))] * 2
    # With its end put back, the second one would last from 8 to 2.
    moved = [Span(start=1, end=3), Span(start=8, end=9)]
    names: set[str] = set()
    assert remake(records, moved, names) == [CODEC.encode(span) for span in moved]
    assert names == {"start", "end"}


@given(before=VALUES, after=VALUES)
def test_what_nobody_declared_stays(before: dict[str, Any], after: dict[str, Any]) -> None:
    stored = CODEC.encode(Thing(**before), {"extra": 7})
    _, made = CODEC.changed(Thing.__schema__, "k", stored, Thing(**after))
    wanted = CODEC.document(CODEC.encode(Thing(**after)))
    assert CODEC.document(made) == wanted | {"extra": 7}


def test_a_default_that_is_not_stored_is_no_change() -> None:
    class Late(Model, collection="thing"):
        text: Field[str]
        late: Field[Any] = Field(default=None)

    stored = CODEC.from_document({"text": "a"})
    assert CODEC.changed(Late.__schema__, "k", stored, Late(text="a")) == ({}, stored)


def test_an_int_in_a_field_of_floats_is_no_change_once_it_is_saved() -> None:
    values = dict.fromkeys(FIELDS) | {"amount": 1}
    thing = Thing(**values).save(get_storage("pymodels.ext.memory"))
    assert not thing.is_changed
    thing.amount = 2
    assert thing.is_changed
