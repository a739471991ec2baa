"""Changes that are told as they are made, or a storage that says it cannot: ``WatchTests``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pymodels import F, Field, Model, QueryError, RecordInvalid, Unsupported, UsageError
from pymodels.testing.opening import OpensStorage

WAIT = 0.5
"""Seconds after which nothing more is to come."""


class Event(Model):
    """What happens, with a number to tell one state of it from another."""

    text: Field[str] = Field(default="")
    number: Field[int] = Field(default=0)
    at: Field[datetime | None] = Field(default=None)


class Loud(Event, collection="event", must_have={"text": "loud"}):
    """Those of the same records whose text is ``"loud"``."""


class Misread(Model, collection="event"):
    """The same records, by a model that their text does not fit."""

    text: Field[int]


def told(feed: Any) -> list[tuple[str, Any, Any]]:
    """Return what a feed tells until nothing more comes: kind, key, and the number by then."""
    return [(one.kind, one.key, None if one.record is None else one.record.number) for one in feed]


class WatchTests(OpensStorage):
    """``query.watch()``."""

    @pytest.fixture
    def feed(self, storage: Any) -> Iterator[Any]:
        """A feed of all events, after one record was stored."""
        Event(pk="old").save(storage)
        if "watch" not in storage.capabilities:
            with pytest.raises(Unsupported, match="does not tell of changes"):
                Event.objects(storage).watch()
            with pytest.raises(Unsupported):
                Event.objects(storage).where(number=1).watch(after="x", wait=0.1)
            yield None
            return
        with Event.objects(storage).watch(wait=WAIT) as feed:
            yield feed

    def test_every_change_is_told(self, storage: Any, feed: Any) -> None:
        if feed is None:
            return
        event = Event(pk="a", number=1).save(storage)
        event.number = 2
        event.save()
        event.save()  # nothing has changed
        storage.save_all([Event(pk="b", number=3), Event(pk="c", number=4)])
        Event.objects(storage).where(number__gt=2).update(number=F("number") + 10)
        storage.get(Event, "b").delete()
        Event.objects(storage).where(pk="c").delete()
        found = told(feed)
        assert [(kind, key) for kind, key, _ in found if key == "a"] == [
            ("inserted", "a"),
            ("changed", "a"),
        ]
        for key in ("b", "c"):
            assert [kind for kind, other, _ in found if other == key][-1] == "deleted"
        assert "old" not in {key for _, key, _ in found}
        assert ("changed", "a", 2) in found

    def test_records_belong_to_the_storage(self, storage: Any, feed: Any) -> None:
        if feed is None:
            return
        Event(pk="a", number=1).save(storage)
        change = next(feed)
        assert isinstance(change.record, Event)
        change.record.number = 5
        change.record.save()
        assert storage.get(Event, "a").number == 5

    def test_a_feed_goes_on_after_a_token(self, storage: Any, feed: Any) -> None:
        if feed is None:
            return
        begin = feed.token
        for number in range(3):
            Event(pk=f"{number}", number=number).save(storage)
        first = next(feed)
        assert (first.kind, first.key) == ("inserted", "0")
        feed.close()
        feed.close()
        query = Event.objects(storage)
        with query.watch(after=first.token, wait=WAIT) as again:
            assert told(again) == [("inserted", "1", 1), ("inserted", "2", 2)]
            last = again.token
        if begin is not None:
            with query.watch(after=begin, wait=WAIT) as again:
                assert len(told(again)) == 3
        with query.watch(after=last, wait=0.1) as again:
            assert told(again) == []
            Event(pk="new").save(storage)
            assert next(again).key == "new"  # after its end it may go on

    def test_a_transaction_is_told_when_it_is_committed(self, storage: Any, feed: Any) -> None:
        if feed is None or "transactions" not in storage.capabilities:
            return
        given_up = storage.begin()
        Event(pk="never").save(given_up)
        given_up.rollback()
        with storage.transaction():
            assert storage.get(Event, "old").number == 0  # what is only read has not changed
            assert storage.get(Event, "none", None) is None
            Event(pk="a", number=1).save(storage)
            Event(pk="b", number=2).save(storage)
        assert sorted(told(feed)) == [("inserted", "a", 1), ("inserted", "b", 2)]

    def test_conditions_are_those_of_the_record_by_now(self, storage: Any, feed: Any) -> None:
        if feed is None:
            return
        with (
            Event.objects(storage).where(number__gt=5).watch(wait=WAIT) as high,
            Loud.objects(storage).watch(wait=WAIT) as loud,
        ):
            Event(pk="low", number=1).save(storage)
            Event(pk="high", number=6).save(storage)
            Event(pk="loud", text="loud", number=7).save(storage)
            Event(pk="gone").save(storage).delete()
            assert {change.key for change in high} == {"high", "loud", "gone"}
            assert {(change.kind, change.key) for change in loud} == {
                ("inserted", "loud"),
                ("deleted", "gone"),
            }

    def test_a_change_of_a_microsecond_is_a_change(self, storage: Any, feed: Any) -> None:
        if feed is None:
            return
        at = datetime(2024, 1, 1, tzinfo=UTC)
        event = Event(pk="a", at=at).save(storage)
        for microseconds in (1, 2, 0):
            event.at = at + timedelta(microseconds=microseconds)
            event.save()
        assert [kind for kind, _, _ in told(feed)] == ["inserted", *["changed"] * 3]

    def test_a_change_that_does_not_fit_is_refused(self, storage: Any, feed: Any) -> None:
        if feed is None:
            return
        with Misread.objects(storage).watch(wait=WAIT) as wrong:
            Event(pk="a", text="no number").save(storage)
            Event(pk="b").save(storage).delete()
            with pytest.raises(RecordInvalid, match="'a'"):
                next(wrong)

    def test_wrong_arguments_are_refused(self, storage: Any, feed: Any) -> None:
        with pytest.raises(QueryError, match="slice"):
            Event.objects(storage)[:3].watch()
        if feed is None:
            return
        with pytest.raises(UsageError, match="token"):
            Event.objects(storage).watch(after=7)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="seconds"):
            Event.objects(storage).watch(wait="long")  # type: ignore[arg-type]

    def test_what_another_storage_writes_is_told(self, storage: Any, feed: Any, path: Path) -> None:
        if feed is None or not {"processes", "persistent"} <= storage.capabilities:
            return
        with self.reopen(path) as other:
            Event(pk="a", number=1).save(other)
        assert told(feed) == [("inserted", "a", 1)]
