"""Tokyo Tyrant: one file, opened or served, and the file as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pymodels import (
    F,
    Field,
    Key,
    Model,
    StorageBusy,
    TransactionsUnsupported,
    get_storage,
)
from pymodels.ext._tokyo.unfinished import LOCK
from pymodels.ext.tokyo_cabinet import binding as tokyo
from tests.tyrant_models import Account, Country, Person
from tests.tyrants import Tyrant, served


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage.tct"


@pytest.fixture
def storage(tyrant_storage: Any) -> Any:
    return tyrant_storage


def application(storage: Any) -> list[Any]:
    """Do some work, and return all that there is then; it knows nothing of the backend."""
    norway = storage.get(Country, "no", None) or Country(pk="no", name="Norway").save(storage)
    Person.objects(storage).where(age__gte=40).update(age=F("age") + 1)
    count = Person.objects(storage).count()
    Person(pk=f"p{count}", name=f"Person {count}", age=38 + count, country=norway).save(storage)
    return [(one.pk, one.name, one.age, one.country.name) for one in Person.objects(storage)]


def test_the_same_file_opened_and_served(path: Path) -> None:
    memory = get_storage("pymodels.ext.memory")
    direct = {"backend": "pymodels.ext.tokyo_cabinet", "path": path}
    for _ in range(2):
        with get_storage(direct) as storage:
            assert application(storage) == application(memory)
        with served(path) as tyrant, get_storage(tyrant.settings()) as storage:
            assert application(storage) == application(memory)
            assert application(storage) == application(memory)
            query = Person.objects(storage).where(age__gt=40)
            assert 'using an index: "age"' in query.explain().details["engine"]
            with pytest.raises(StorageBusy, match="another process"):
                get_storage(direct)
    with get_storage(direct) as storage:
        assert application(storage) == application(memory)
        assert storage.native.get(LOCK) is None
        assert Country.objects(storage).where(name="Norway").count() == 1


def test_there_are_no_transactions(storage: Any) -> None:
    with pytest.raises(TransactionsUnsupported), storage.transaction():
        raise AssertionError("not reached")
    assert "transactions" not in storage.capabilities


def test_files_of_other_programs_are_adopted(path: Path) -> None:
    class Cat(Model, collection="animal", must_have={"type": "cat"}):
        id: Key[int]
        type: Field[str]
        lives: Field[int]

    table = tokyo.TDB()
    table.open(path, tokyo.TDBOWRITER | tokyo.TDBOCREAT)
    table.put(b"7", {b"type": b"cat", b"lives": b"9", b"raw": b"\0\1\0"})
    table.put(b"8", {b"type": b"mouse"})
    table.close()
    with (
        served(path) as tyrant,
        get_storage(tyrant.settings(adopt=["animal"])) as storage,
    ):
        assert [cat.id for cat in Cat.objects(storage).where(lives__gt=5)] == [7]
        Cat(id=9, type="cat", lives=1).save(storage)
        assert [cat.id for cat in Cat.objects(storage)] == [7, 9]
        assert storage.raw(Cat, 7)["raw"] == "\0\1\0"


def test_the_file_as_a_whole(storage: Any, tmp_path: Path) -> None:
    storage.save_all([Account(id=n) for n in range(50)])
    storage.sync()
    storage.copy_file(str(tmp_path / "copy.tct"))
    storage.optimize()
    revision = storage.revision
    storage.vanish()
    assert (len(storage), storage.collections()) == (0, {})
    assert storage.revision != revision
    Account(id=1, login="x").save(storage)
    assert Account.objects(storage).where(login="x").count() == 1
    with get_storage("pymodels.ext.tokyo_cabinet", path=tmp_path / "copy.tct") as copy:
        assert Account.objects(copy).count() == 50


def test_another_client_sees_a_file_that_was_emptied(storage: Any, tyrant: Tyrant) -> None:
    with get_storage(tyrant.settings()) as other:
        Account(id=1, login="x").save(storage)
        assert Account.objects(other).get(login="x").id == 1
        storage.vanish()
        Account(id=2, login="x").save(other)
        assert [one.id for one in Account.objects(storage)] == [2]
