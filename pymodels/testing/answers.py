"""How answers are checked: many questions to one storage, and the first ten that went wrong."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import pytest

from pymodels.conditions import Condition
from pymodels.query import Query
from pymodels.storage import Storage
from pymodels.testing.corpus import Sample, load
from pymodels.testing.expected import Expected, expected_samples
from pymodels.testing.opening import OpensStorage

_SHOWN: Final = 10


def has_nul(storage: Storage) -> bool:
    return "nul" in storage.capabilities


def keys_of(query: Query[Any]) -> list[Any]:
    """Return the keys that a query finds, in its order, reading no more than that."""
    return [key for (key,) in query.select("pk")]


def check(wrong: Iterable[str]) -> None:
    """Fail with the first few of what is wrong, if anything is."""
    found = list(itertools.islice(wrong, _SHOWN + 1))
    more = ["..."] if len(found) > _SHOWN else []
    assert not found, "wrong answers:\n" + "\n".join([*found[:_SHOWN], *more])


def differences(what: object, found: Sequence[Any], wanted: Sequence[Any]) -> Iterator[str]:
    """Yield a line that says how an answer differs from what was wanted, if it does."""
    if found == wanted:
        return
    missing = [key for key in wanted if key not in found][:3]
    excess = [key for key in found if key not in wanted][:3]
    if missing or excess:
        yield f"{what!r}: does not find {missing!r}, finds {excess!r} instead"
    elif len(found) != len(wanted):
        yield f"{what!r}: finds {len(found)} records instead of {len(wanted)}, some twice"
    else:
        at = next(n for n, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
        yield f"{what!r}: has {found[at]!r} at {at} instead of {wanted[at]!r}"


def answers(
    query: Query[Any], conditions: Iterable[Condition], expected: Expected
) -> Iterator[str]:
    """Yield what is wrong with the records that conditions find, and with their complements."""
    for number, condition in enumerate(conditions):
        asked = query.where(condition)
        wanted = expected.finds(asked.condition)
        if number % 2 == 0:
            yield from differences(condition, keys_of(asked), wanted)
        else:
            others = keys_of(query.where_not(condition))
            yield from differences(~condition, others, expected.others(wanted))
        if number % 25 == 0:
            yield from _counted(asked, wanted)
            yield from _counted(query.where_not(condition), expected.others(wanted))


def _counted(query: Query[Any], wanted: Sequence[Any]) -> Iterator[str]:
    if query.count() != len(wanted):
        yield f"{query!s}: counts {query.count()} instead of {len(wanted)}"
    if query.exists() is not bool(wanted):
        yield f"{query!s}: exists() is {query.exists()}, and there are {len(wanted)}"
    yield from differences(f"{query!s} unordered", sorted(keys_of(query.unordered())), wanted)


class AsksSamples(OpensStorage):
    """What asks about the samples, which are loaded once for all tests of a class."""

    @pytest.fixture(scope="class")
    @classmethod
    def loaded(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
        """A storage with all the samples, which no test of this class changes."""
        with cls().make(tmp_path_factory.mktemp("queries")) as storage:
            load(storage)
            yield storage

    def ask(self, storage: Storage, conditions: Iterable[Condition]) -> None:
        """Check all answers to questions about the samples."""
        expected = expected_samples(Sample.__schema__, nul=has_nul(storage))
        check(answers(Sample.objects(storage), conditions, expected))
