"""Saving in a transaction what it has found: nothing of a record is lost, and all can be undone."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pymodels import Field, Model, RecordNotFound, ValidationError, get_storage
from pymodels.changes import Put


class Page(Model):
    title: Field[str]
    number: Field[int] = Field(index=True)
    weight: Field[float] = Field(default=1.0)
    words: Field[list[str]] = Field(default_factory=list)


class Part(Model, collection="page"):
    """A view of the same records, which knows less of them."""

    title: Field[str]


@pytest.fixture(params=["lmdb", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    path = {"path": tmp_path / "pages.lmdb"} if request.param == "lmdb" else {}
    with get_storage(f"pymodels.ext.{request.param}", **path) as opened:
        yield opened


def pages(storage: Any, count: int = 3) -> list[Page]:
    made = [Page(pk=f"p{n}", title=f"Page {n}", number=n) for n in range(count)]
    storage.save_all(made)
    return made


def raw(storage: Any, key: str) -> dict[str, Any]:
    found: dict[str, Any] = storage.raw(Page, key)
    return found


def test_each_of_two_instances_of_a_record_writes_what_it_changed(storage: Any) -> None:
    pages(storage)
    with storage.transaction():
        one = Page.objects(storage).get("p0")
        other = Page.objects(storage).get("p0")
        one.title, other.number = "one", 7
        assert storage.save_all([one, other]) == 2
    assert raw(storage, "p0") == {"title": "one", "number": 7, "weight": 1.0, "words": []}


def test_each_of_two_views_of_a_record_writes_what_it_changed(storage: Any) -> None:
    pages(storage)
    with storage.transaction():
        one, other = storage.get(Page, "p0"), storage.get(Part, "p0")
        one.number, other.title = 7, "other"
        storage.save_all([one, other])
    assert raw(storage, "p0") == {"title": "other", "number": 7, "weight": 1.0, "words": []}


def test_what_a_view_does_not_know_stays(storage: Any) -> None:
    pages(storage)
    with storage.transaction():
        parts = storage.get_many(Part, ["p0", "p1"]).values()
        for part in parts:
            part.title = part.title.upper()
        assert storage.save_all(parts) == 2
    assert raw(storage, "p1") == {"title": "PAGE 1", "number": 1, "weight": 1.0, "words": []}


def test_what_is_stored_in_another_way_stays_as_it_is(storage: Any) -> None:
    record = {"title": "a", "number": 1, "weight": 3, "words": []}
    storage.write([Put(Page.__schema__, "p0", storage.codec.from_document(record))])
    with storage.transaction():
        page = storage.get(Page, "p0")
        page.title = "b"
        page.save()
    assert type(raw(storage, "p0")["weight"]) is int


def test_a_list_that_was_changed_in_place_is_written(storage: Any) -> None:
    pages(storage)
    with storage.transaction():
        page = storage.get(Page, "p0")
        page.words.append("a")
        page.save()
        page.words.append("b")
        page.save()
    assert raw(storage, "p0")["words"] == ["a", "b"]


def test_the_other_zero_is_a_change(storage: Any) -> None:
    Page(pk="p0", title="a", number=1, weight=0.0).save(storage)
    with storage.transaction():
        page = storage.get(Page, "p0")
        page.weight = -0.0
        assert storage.save_all([page]) == 1
    assert str(raw(storage, "p0")["weight"]) == "-0.0"


def test_indexes_follow(storage: Any) -> None:
    pages(storage)
    with storage.transaction():
        found = list(Page.objects(storage).where(number__gte=1))
        for page in found:
            page.number += 10
        storage.save_all(found)
        assert {p.pk for p in Page.objects(storage).where(number=11)} == {"p1"}
    assert {p.pk for p in Page.objects(storage).where(number__between=(11, 12))} == {"p1", "p2"}
    assert Page.objects(storage).where(number=1).count() == 0


def test_unchanged_instances_are_not_counted(storage: Any) -> None:
    pages(storage)
    with storage.transaction():
        found = storage.get_many(Page, ["p0", "p1", "p2"])
        found["p1"].title = "new"
        assert storage.save_all(found.values()) == 1
        assert not any(page.is_changed for page in found.values())


def test_one_that_cannot_be_stored_keeps_all_from_it(storage: Any) -> None:
    pages(storage)
    with storage.transaction():
        found = storage.get_many(Page, ["p0", "p1"])
        found["p0"].title = "new"
        wrong: Any = found["p1"]
        wrong.number = "seven"
        with pytest.raises(ValidationError, match="number"):
            storage.save_all(found.values())
        assert storage.get(Page, "p0").title == "Page 0"
        assert found["p0"].is_changed


def test_a_record_that_was_deleted_is_not_saved_again(storage: Any) -> None:
    pages(storage)
    with storage.transaction():
        page, same = storage.get(Page, "p0"), storage.get(Page, "p0")
        same.delete()
        page.title = "new"
        with pytest.raises(RecordNotFound):
            page.save()


def test_new_ones_among_them_are_stored(storage: Any) -> None:
    pages(storage)
    with storage.transaction():
        page = storage.get(Page, "p0")
        page.title = "new"
        assert storage.save_all([page, Page(pk="p9", title="more", number=9)]) == 2
    assert {p.title for p in Page.objects(storage)} == {"new", "Page 1", "Page 2", "more"}


def test_rolled_back_they_can_be_saved_again(storage: Any) -> None:
    pages(storage)
    with storage.transaction() as transaction:
        page = storage.get(Page, "p0")
        for title in ("first", "second"):
            page.title = title
            page.save()
        transaction.rollback()
    assert raw(storage, "p0")["title"] == "Page 0"
    assert page.is_changed
    page.save()
    assert raw(storage, "p0")["title"] == "second"


def test_a_savepoint_that_is_taken_back_takes_them_back(storage: Any) -> None:
    pages(storage)
    with storage.transaction():
        page = storage.get(Page, "p0")
        page.title = "outer"
        page.save()
        with storage.transaction() as savepoint:
            page.title = "inner"
            page.save()
            savepoint.rollback()
        assert storage.get(Page, "p0").title == "outer"
    assert raw(storage, "p0")["title"] == "outer"


def test_saving_one_of_thousands_is_not_about_the_others(storage: Any) -> None:
    pages(storage, 5000)
    with storage.transaction():
        found = Page.objects(storage).all()
        for page in found[:2]:  # what a first save makes once, and what a second one finds then
            page.number += 1
            page.save()
        found[2].number += 1
        tracemalloc.start()
        found[2].save()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 5000 * 8  # a copy of what was found takes more than a pointer each
    assert storage.get(Page, found[2].pk).number == found[2].number
