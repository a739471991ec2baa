"""Several models over one collection: what each demands, finds and leaves alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pymodels import (
    Conflict,
    Field,
    Model,
    OperandInvalid,
    Path,
    QueryError,
    RecordNotFound,
    ValidationError,
)
from pymodels.testing.opening import OpensStorage
from pymodels.testing.people import put_raw


class Note(Model):
    """Any note."""

    text: Field[str] = Field(default="")
    kind: Field[str | None] = Field(default=None)
    stars: Field[int | None] = Field(default=None)


class Contact(Note, must_have={"name__exists": True}):
    """A note that has a name."""

    name: Field[str | None] = Field(default=None)


class Task(Note, must_have={"kind": "task"}, must_not_have={"stars__gt": 5}):
    """A note of one kind; the text of ``done`` is this view's alone."""

    done: Field[bool] = Field(default=False)


class UrgentTask(Task, must_have={"level": 1}):
    """A task on one level, which no model declares."""


class Receipt(Model, collection="note", must_have={"kind": "receipt"}):
    """A note that says otherwise what its stars are."""

    kind: Field[str | None] = Field(default=None)
    stars: Field[str | None] = Field(default=None)
    paid: Field[Decimal | None] = Field(default=None)


class Elsewhere(Model):
    """A collection of its own."""

    text: Field[str] = Field(default="")
    stars: Field[int | None] = Field(default=None)


class ViewTests(OpensStorage):
    """``must_have`` and ``must_not_have`` filter, fill in and check."""

    def fill_notes(self, storage: Any) -> None:
        """Store one record for each way of being a note."""
        put_raw(storage, Note, "note", {"text": "n"})
        put_raw(storage, Note, "contact", {"text": "c", "name": "Ann"})
        put_raw(storage, Note, "unnamed", {"name": None})
        put_raw(storage, Note, "task", {"kind": "task", "name": "T", "stars": 5})
        put_raw(storage, Note, "starred", {"kind": "task", "stars": 6})
        put_raw(storage, Note, "urgent", {"kind": "task", "level": 1, "done": True})

    def test_a_view_finds_its_own(self, storage: Any) -> None:
        self.fill_notes(storage)
        assert [one.pk for one in Note.objects(storage)] == sorted(
            ["note", "contact", "unnamed", "task", "starred", "urgent"]
        )
        assert [one.pk for one in Contact.objects(storage)] == ["contact", "task", "unnamed"]
        assert [one.pk for one in Task.objects(storage)] == ["task", "urgent"]
        assert [one.pk for one in UrgentTask.objects(storage)] == ["urgent"]
        assert Task.objects(storage).count() == 2
        assert list(storage.keys(Task)) == ["task", "urgent"]
        assert Task.objects(storage).where_not(done=True).count() == 1

    def test_a_record_of_another_view_is_not_there(self, storage: Any) -> None:
        self.fill_notes(storage)
        with pytest.raises(RecordNotFound):
            storage.get(Task, "note")
        with pytest.raises(RecordNotFound):
            Task.objects(storage).get("starred")
        assert storage.get(Task, "starred", None) is None
        assert set(storage.get_many(Task, ["note", "task", "starred"])) == {"task"}
        assert storage.delete_many(Task, ["note", "task"]) == 1
        assert storage.get(Note, "note").text == "n"
        assert Task.objects(storage).update(text="changed") == 1
        assert Note.objects(storage).where(text="changed").count() == 1
        assert Contact.objects(storage).delete() == 2
        assert [one.pk for one in Note.objects(storage)] == ["note", "starred", "urgent"]

    def test_a_condition_on_a_field_of_another_view(self, storage: Any) -> None:
        self.fill_notes(storage)
        Receipt(pk="paid", kind="receipt", paid=Decimal("2.5"), stars="7").save(storage)
        notes = Note.objects(storage)
        assert [one.pk for one in notes.where(Contact.name == "Ann")] == ["contact"]
        assert [one.pk for one in notes.where(Contact.name > "Ann")] == ["task"]
        assert [one.pk for one in notes.where(Task.done == True)] == ["urgent"]  # noqa: E712
        assert notes.where(kind="task").where(~(Contact.name == "T")).count() == 2
        assert [one.pk for one in Receipt.objects(storage).where(Note.kind == "receipt")] == [
            "paid"
        ]
        for condition in (Receipt.stars > "1", Receipt.stars == "7"):
            with pytest.raises(OperandInvalid, match=r"Note\.stars: holds number"):
                notes.where(condition)
        with pytest.raises(QueryError, match="does not declare 'paid'"):
            notes.where(Receipt.paid > Decimal(1))
        with pytest.raises(QueryError, match="another model"):
            notes.where(Elsewhere.text == "x")

    def test_names_that_no_field_can_have_are_asked_for(self, storage: Any) -> None:
        names = ('5"', "a\\b", "a\nb", "'", "a b")
        for number, name in enumerate(names):
            put_raw(storage, Note, f"{number}", {name: number, "text": "x"})
        notes = Note.objects(storage)
        for number, name in enumerate(names):
            assert [one.pk for one in notes.where(Path(name) == number)] == [f"{number}"]
            assert notes.where(Path(name).exists(), text="x").count() == 1
            assert notes.where(Path(name, "a") == 1).count() == 0
            assert list(notes.select(Path(name))) == [
                (number if other == number else None,) for other in range(len(names))
            ]
            assert notes.get(f"{number}").unknown == {name: number}

    def test_equalities_are_filled_in(self, storage: Any) -> None:
        task = UrgentTask(pk="t", text="x").save(storage)
        assert task.kind == "task"
        assert storage.raw(Note, "t")["kind"] == "task"
        assert storage.raw(Note, "t")["level"] == 1
        assert [one.pk for one in UrgentTask.objects(storage)] == ["t"]

    def test_what_a_view_demands_is_checked(self, storage: Any) -> None:
        for wrong in (Task(kind="other"), Task(stars=6)):
            with pytest.raises(ValidationError):
                wrong.save(storage)
        assert len(storage) == 0
        task = Task(pk="t", stars=5).save(storage)
        task.stars = 6
        with pytest.raises(ValidationError):
            task.save()
        assert storage.get(Task, "t").stars == 5
        with pytest.raises(ValidationError):
            Task.objects(storage).update(stars=6)
        with pytest.raises(ValidationError):
            Task.objects(storage).update(kind="other")
        assert storage.get(Task, "t").stars == 5
        assert Note.objects(storage).update(stars=6) == 1
        assert storage.get(Task, "t", None) is None

    def test_a_view_leaves_what_it_does_not_know(self, storage: Any) -> None:
        Task(pk="t", text="x", done=True).save(storage)
        note = storage.get(Note, "t")
        assert note.unknown == {"done": True}
        note.text = "y"
        note.save()
        assert storage.get(Task, "t").done is True
        assert storage.get(Task, "t").text == "y"

    def test_the_same_record_through_another_model(self, storage: Any) -> None:
        put_raw(storage, Note, "a", {"text": "x", "shoe": 40, "name": "Ann"})
        note = storage.get(Note, "a")
        contact = note.convert_to(Contact)
        assert (contact.pk, contact.name, contact.text) == ("a", "Ann", "x")
        assert contact.storage is storage
        task = note.convert_to(Task, {"kind": "task", "done": True})
        task.save()
        assert storage.raw(Note, "a") == {
            "text": "x",
            "shoe": 40,
            "name": "Ann",
            "kind": "task",
            "done": True,
        }
        assert Note.objects(storage).count() == 1
        with pytest.raises(ValidationError):
            note.refresh().convert_to(Task, {"kind": "other"}).save()

    def test_conversion_writes_only_what_changed(self, storage: Any) -> None:
        note = Note(pk="a", text="x", stars=1).save(storage)
        contact = note.convert_to(Contact, {"name": "Ann"})
        assert set(contact.changes()) == {"name"}
        Note.objects(storage).update(stars=2)
        contact.save()
        assert storage.raw(Note, "a")["stars"] == 2
        assert storage.raw(Note, "a")["name"] == "Ann"

    def test_conversion_to_another_collection_makes_a_new_record(self, storage: Any) -> None:
        note = Note(pk="a", text="x", stars=3).save(storage)
        other = note.convert_to(Elsewhere, {"text": "y"})
        assert other.storage is None
        other.save(storage)
        assert (other.text, other.stars) == ("y", 3)
        assert storage.get(Note, "a").text == "x"
        assert len(storage) == 2

    def test_a_record_that_was_changed_out_of_a_view(self, storage: Any) -> None:
        task = Task(pk="t").save(storage)
        Note.objects(storage).update(kind="other")
        with pytest.raises(RecordNotFound):
            storage.get(Task, "t")
        assert Task.objects(storage).delete() == 0
        with pytest.raises(Conflict):
            task.save(check=True)
        assert storage.raw(Note, "t")["kind"] == "other"

    def test_making_what_a_view_finds(self, storage: Any) -> None:
        made, created = Task.objects(storage).get_or_create(text="x", defaults={"stars": 1})
        assert created
        assert (made.kind, made.stars) == ("task", 1)
        again, created = Task.objects(storage).get_or_create(text="x", defaults={"stars": 2})
        assert not created
        assert again == made
