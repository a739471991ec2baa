"""What becomes of records that refer to others when those are deleted."""

from __future__ import annotations

from typing import Any

import pytest

from pymodels import (
    Conflict,
    DanglingReference,
    DeleteRefused,
    Field,
    Key,
    Model,
    RecordNotFound,
    TransactionsUnsupported,
)
from pymodels.testing.opening import OpensStorage


class Author(Model):
    """What most of the others refer to, each in its own way."""

    id: Key[int]
    name: Field[str] = Field(default="")
    alive: Field[bool] = Field(default=True)


class Living(Author, must_have={"alive": True}):
    """A view of authors, to be referred to as such."""


class Book(Model):
    """Goes with its author, and is cleared of all else."""

    author: Field[Author | None] = Field(default=None, on_delete="cascade")
    editor: Field[Author | None] = Field(default=None, on_delete="clear")
    readers: Field[list[Author]] = Field(default=[], on_delete="clear")
    critic: Field[Author | None] = Field(default=None)
    sequel: Field[Book | None] = Field(default=None, on_delete="cascade")
    title: Field[str] = Field(default="")


class Signed(Book, must_have={"signed": True}):
    """A book that keeps its author from going."""

    author: Field[Author | None] = Field(default=None, on_delete="refuse")
    signed: Field[bool] = Field(default=True)


class Edited(Book, must_have={"edited": True}, must_not_have={"editor": None}):
    """A book that cannot be without an editor."""

    editor: Field[Author | None] = Field(default=None, on_delete="clear")
    edited: Field[bool] = Field(default=True)


class Loan(Model):
    """Keeps a book from being deleted."""

    book: Field[Book] = Field(on_delete="refuse")
    also: Field[list[Book] | None] = Field(default=None, on_delete="refuse")


class Shelf(Model):
    """Goes with any of its books."""

    books: Field[list[Book]] = Field(default=[], on_delete="cascade")


class Prize(Model):
    """Refers to a view."""

    winner: Field[Living | None] = Field(default=None, on_delete="refuse")


class DeletionTests(OpensStorage):
    """``on_delete``, whichever way a record is deleted."""

    def library(self, storage: Any) -> tuple[Author, Author]:
        """Store two authors and two books of the first."""
        one, two = Author(id=1, name="One"), Author(id=2, name="Two")
        storage.save_all([one, two])
        storage.save_all(
            [
                Book(pk="a", author=one, editor=two, readers=[two, one, two], title="A"),
                Book(pk="b", author=one, critic=two, title="B"),
                Book(pk="c", author=two, editor=one, readers=[one], critic=one, title="C"),
            ]
        )
        return one, two

    def test_everything_that_is_declared_happens(self, storage: Any) -> None:
        one, _ = self.library(storage)
        a, c = storage.get(Book, "a"), storage.get(Book, "c")
        storage.save_all([Shelf(pk="s", books=[c, a]), Shelf(pk="t", books=[c])])
        one.delete()
        assert list(storage.keys(Author)) == [2]
        assert list(storage.keys(Shelf)) == ["t"]
        assert dict(storage.raw_records(Book)) == {
            "c": {
                "author": 2,
                "editor": None,
                "readers": [],
                "critic": 1,
                "sequel": None,
                "title": "C",
            }
        }
        with pytest.raises(DanglingReference):
            _ = storage.get(Book, "c").critic

    def test_only_the_references_to_what_goes_are_cleared(self, storage: Any) -> None:
        _, two = self.library(storage)
        first, second = Author.reference(1), Author.reference(2)
        Book(pk="d", readers=[first, second, first, second, second]).save(storage)
        two.delete()
        assert list(storage.keys(Book)) == ["a", "b", "d"]
        book = storage.get(Book, "a")
        assert (book.key_of("editor"), book.key_of("readers")) == (None, [1])
        assert storage.get(Book, "d").key_of("readers") == [1, 1]
        assert storage.get(Book, "b").key_of("critic") == 2

    def test_every_way_of_deleting(self, storage: Any) -> None:
        for delete in (
            lambda: storage.get(Author, 1).delete(),
            lambda: storage.get(Author, 1).delete(check=True),
            lambda: storage.delete_many(Author, [1, 99]),
            lambda: Author.objects(storage).where(name="One").delete(),
            lambda: Author.objects(storage).order_by("name")[0:1].delete(),  # noqa: PLW0108 - later
            lambda: Living.objects(storage).where(pk=1).delete(),
            lambda: storage.delete_many(Living, [1]),
        ):
            storage.clear()
            self.library(storage)
            assert delete() in (None, 1)
            assert list(storage.keys(Book)) == ["c"]
            assert storage.get(Book, "c").key_of("readers") == []

    def test_a_record_that_others_need_is_not_deleted(self, storage: Any) -> None:
        self.library(storage)
        Loan(pk="l", book=Book.reference("a")).save(storage)
        Loan(pk="m", book=Book.reference("c"), also=[Book.reference("a")]).save(storage)
        before = dict(storage.raw_records(Book)), dict(storage.raw_records(Author))
        for delete in (
            lambda: storage.get(Book, "a").delete(),
            lambda: storage.delete_many(Book, ["a"]),
            lambda: Book.objects(storage).delete(),
            lambda: storage.get(Author, 1).delete(),
            lambda: Author.objects(storage).delete(),
        ):
            with pytest.raises(DeleteRefused, match=r"Book 'a' .*Loan\.book of 'l'") as caught:
                delete()
            assert (caught.value.collection, caught.value.key) == ("book", "a")
            assert ("Loan", "l", "book") in caught.value.referring
            assert ("Loan", "m", "also") in caught.value.referring
        assert (dict(storage.raw_records(Book)), dict(storage.raw_records(Author))) == before
        assert Loan.objects(storage).delete() == 2
        assert Author.objects(storage).delete() == 2
        assert len(storage) == 0

    def test_cycles_end(self, storage: Any) -> None:
        storage.save_all(
            [Book(pk=key, sequel=Book.reference("bca"["abc".index(key)])) for key in "abc"]
        )
        Book(pk="d", sequel=Book.reference("a")).save(storage)
        Book(pk="e").save(storage)
        storage.get(Book, "b").delete()
        assert list(storage.keys(Book)) == ["e"]
        selfish = Book(pk="f")
        selfish.sequel = selfish
        selfish.save(storage).delete()
        assert list(storage.keys(Book)) == ["e"]

    def test_who_is_deleted_as_well_has_no_say(self, storage: Any) -> None:
        one, _ = self.library(storage)
        # The loan is deleted with its book only where both are found by one query.
        book = Signed(pk="s", author=one).save(storage)
        with pytest.raises(DeleteRefused, match=r"Author 1 .*Signed\.author of 's'"):
            one.delete()
        book.sequel = book
        book.save()
        first = Book(pk="z", author=one).save(storage)
        book.author, book.sequel = one, first
        book.save()
        # Through its author goes the first book, through that the signed one.
        one.delete()
        assert list(storage.keys(Book)) == ["c"]

    def test_a_view_may_say_something_else(self, storage: Any) -> None:
        one, two = Author(id=1).save(storage), Author(id=2).save(storage)
        Book(pk="plain", author=one).save(storage)
        Signed(pk="signed", author=two).save(storage)
        one.delete()
        assert list(storage.keys(Book)) == ["signed"]
        with pytest.raises(DeleteRefused):
            two.delete()

    def test_what_refers_to_a_view(self, storage: Any) -> None:
        winner = Living(id=1).save(storage)
        Author(id=2, alive=False).save(storage)
        storage.save_all([Prize(pk="p", winner=winner), Prize(pk="q", winner=Living.reference(2))])
        for model in (Author, Living):
            with pytest.raises(DeleteRefused, match=r"Prize\.winner of 'p'"):
                storage.get(model, 1).delete()
        with pytest.raises(DeleteRefused, match=r"Prize\.winner of 'q'"):
            storage.delete_many(Author, [2])

    def test_a_record_that_cannot_be_cleared(self, storage: Any) -> None:
        one = Author(id=1).save(storage)
        Edited(pk="e", editor=one).save(storage)
        with pytest.raises(DeleteRefused, match=r"Edited\.editor of 'e' .*demands") as caught:
            one.delete()
        assert caught.value.referring == (("Edited", "e", "editor"),)
        assert storage.get(Book, "e").key_of("editor") == 1

    def test_deleting_what_changed_or_is_gone(self, storage: Any) -> None:
        one, _ = self.library(storage)
        other = storage.get(Author, 1)
        other.name = "changed"
        other.save()
        with pytest.raises(Conflict):
            one.delete(check=True)
        assert list(storage.keys(Book)) == ["a", "b", "c"]
        other.delete(check=True)
        with pytest.raises(RecordNotFound):
            one.delete()
        with pytest.raises(Conflict):
            one.delete(check=True)
        assert list(storage.keys(Book)) == ["c"]

    def test_inside_a_transaction(self, storage: Any) -> None:
        if "transactions" not in storage.capabilities:
            with pytest.raises(TransactionsUnsupported):
                storage.transaction()
            return
        one, two = self.library(storage)
        transaction = storage.begin()
        Author.objects(transaction).where(pk=1).delete()
        assert list(transaction.keys(Book)) == ["c"]
        transaction.rollback()
        assert list(storage.keys(Book)) == ["a", "b", "c"]
        with storage.transaction():
            Loan(pk="l", book=Book.reference("c")).save(storage)
            one.delete()
            with pytest.raises(DeleteRefused):
                two.delete()
            Book(pk="new", author=two).save(storage)
            Loan.objects(storage).delete()
            two.delete()
            assert Book.objects(storage).count() == 0
        assert len(storage) == 0
