"""One way to check an error: its exact class, and what its message has to mention."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pymodels import PyModelsError


@contextmanager
def complaint(kind: type[PyModelsError], *mentioned: str) -> Iterator[None]:
    """Expect an error of exactly *kind* whose message holds every one of *mentioned*."""
    with pytest.raises(PyModelsError) as caught:
        yield
    assert type(caught.value) is kind, repr(caught.value)
    message = str(caught.value)
    missing = [part for part in mentioned if part not in message]
    assert not missing, f"{missing} not in {message!r}"
