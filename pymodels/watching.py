"""Changes as they are made, by whomever: ``Person.objects(storage).watch()``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, Self, TypeVar

if TYPE_CHECKING:
    from pymodels.models import Model

M = TypeVar("M", bound="Model")


@dataclass(frozen=True, slots=True)
class RecordChange(Generic[M]):
    """One change of one record.

    ``record`` is the record as it is by now, None if it was deleted. With ``token``,
    ``watch(after=token)`` goes on from here, in another process too.
    """

    kind: Literal["inserted", "changed", "deleted"]
    key: object
    record: M | None
    token: str


class Feed(ABC, Iterator[RecordChange[M]]):
    """An iteration over changes that has begun already; as a context manager it closes itself."""

    @abstractmethod
    def __next__(self) -> RecordChange[M]:
        """Return the next change; wait for it as long as ``watch`` was told to."""

    @property
    @abstractmethod
    def token(self) -> str | None:
        """Where the feed is: ``watch(after=token)`` goes on with the change after that."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening; closing twice does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
