"""Which of two indexes is read depends on the values that are asked for, each time anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymodels import Field, Model, get_storage

COUNT = 6_000


class Parcel(Model):
    state: Field[str] = Field(index=True)
    weight: Field[int] = Field(index=True)


def state(number: int) -> str:
    """Return what nearly all are, but for one in a hundred."""
    return "lost" if number % 100 == 0 else "delivered"


@pytest.fixture(params=["memory", "lmdb"])
def parcels(request: Any, tmp_path: Path) -> Iterator[Any]:
    settings = {"path": tmp_path / "parcels"} if request.param == "lmdb" else {}
    with get_storage(f"pymodels.ext.{request.param}", **settings) as storage:
        storage.save_all(
            Parcel(pk=f"{number:05}", state=state(number), weight=number) for number in range(COUNT)
        )
        yield Parcel.objects(storage)


def read(query: Any) -> str:
    return repr(query.plan().native)


def wanted(asked: str, least: int) -> list[str]:
    return [f"{number:05}" for number in range(least, COUNT) if state(number) == asked]


def test_the_rarer_value_is_looked_for(parcels: Any) -> None:
    for _ in range(2):  # by what is counted, and then by what was sampled meanwhile
        rare = parcels.where(state="lost", weight__gte=100)
        assert read(rare) == "index on state"
        assert [parcel.pk for parcel in rare] == wanted("lost", 100)
        frequent = parcels.where(state="delivered", weight__gte=COUNT - 20)
        assert read(frequent) == "range of index on weight"
        assert [parcel.pk for parcel in frequent] == wanted("delivered", COUNT - 20)


def test_a_sample_that_is_wrong_by_now_changes_no_answer(parcels: Any) -> None:
    parcels.where(state="delivered", weight__gte=1_000).plan()
    assert parcels.storage.samples
    assert parcels.where(weight__between=(3_000, 4_000)).delete() == 1_001
    for query, keys in (
        (parcels.where(state="lost", weight__between=(2_990, 4_000)), []),
        (parcels.where(state="delivered", weight__between=(2_990, 4_010)), range(2_990, 4_011)),
    ):
        assert [int(parcel.pk) for parcel in query] == [
            number
            for number in keys
            if state(number) == "delivered" and not 3_000 <= number <= 4_000
        ]
        assert query.count() == len(query.all())
