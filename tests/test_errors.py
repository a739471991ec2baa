"""The tree of errors: its shape, its messages, and each class met as a user would meet it."""

import builtins
import copy
import multiprocessing
import pickle
import re
import socket
import subprocess
import sys
import textwrap

import pytest

import pymodels
from pymodels import F, Field, Key, Model, Related, errors, get_storage
from pymodels.ext import memory

CLASSES = [getattr(errors, name) for name in errors.__all__]

ATTRIBUTES = {
    errors.ValidationError: {"problems": (("age", "is too high"),)},
    errors.UnsavedReference: {"problems": (("boss", "is not saved"),)},
    errors.RecordInvalid: {"collection": "person", "key": 7, "field": "age"},
    errors.DuplicateKey: {"collection": "person", "field": "email", "value": "a@b"},
    errors.DeleteRefused: {
        "collection": "person",
        "key": "ann",
        "referring": (("Car", 7, "owner"),),
    },
    errors.Conflict: {"collection": "person", "key": "ann"},
}


def tree() -> dict[str, tuple[str, str | None]]:
    """Read the drawing: each class's name, with its parent's and that of its builtin."""
    found: dict[str, tuple[str, str | None]] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        drawn = re.match(r"    ([│├└─ ]*)(\w+)(?: \((\w+)\))?(?:  |$)", line)
        if drawn:
            depth = len(drawn.group(1)) // 4
            path[depth:] = [drawn.group(2)]
            found[drawn.group(2)] = (path[depth - 1] if depth else "Exception", drawn.group(3))
    return found


def test_the_drawing_is_the_tree():
    drawn = tree()
    assert drawn.keys() == set(errors.__all__)
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert defined == drawn.keys()
    for cls in CLASSES:
        parent, natural = drawn[cls.__name__]
        bases = [parent] if natural is None else [parent, natural]
        assert [base.__name__ for base in cls.__bases__] == bases
        if natural is not None:
            assert issubclass(getattr(builtins, natural), Exception)


def test_all_are_exported():
    for cls in CLASSES:
        assert getattr(pymodels, cls.__name__) is cls
        assert cls.__name__ in pymodels.__all__
        assert cls.__module__ == "pymodels.errors"
        assert cls.__doc__


def example(cls: type[errors.PyModelsError]) -> errors.PyModelsError:
    return cls("what, where; what to do: 'quoted'", *ATTRIBUTES.get(cls, {}).values())


def check_same(error: errors.PyModelsError, cls: type[errors.PyModelsError]) -> None:
    assert type(error) is cls
    # KeyError would add quotes and OSError an errno; whoever prints an error sees the message.
    assert str(error) == error.message == "what, where; what to do: 'quoted'"
    for name, value in ATTRIBUTES.get(cls, {}).items():
        assert getattr(error, name) == value


@pytest.mark.parametrize("cls", CLASSES)
def test_message_and_attributes_survive_copies_and_pickles(cls):
    error = example(cls)
    check_same(error, cls)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        check_same(pickle.loads(pickle.dumps(error, protocol)), cls)
    check_same(copy.copy(error), cls)
    check_same(copy.deepcopy(error), cls)
    assert str(cls()) == ""


def raise_example(name: str) -> None:
    raise example(getattr(errors, name))


def test_they_come_back_from_other_processes():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        for cls in CLASSES:
            with pytest.raises(errors.PyModelsError) as caught:
                pool.apply(raise_example, (cls.__name__,))
            check_same(caught.value, cls)


def test_uncaught_they_show_their_message_as_it_is():
    code = "from pymodels import RecordNotFound; raise RecordNotFound('no \"Ann\" here')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == 'pymodels.errors.RecordNotFound: no "Ann" here'


# --- each as a user meets it ----------------------------------------------------------------


class Country(Model):
    id: Key[int]
    people: Related["Person"] = Related("Person", "country")


class Person(Model):
    name: Field[str]
    email: Field[str | None] = Field(default=None, unique=True)
    age: Field[int | None] = None
    country: Field[Country | None] = None


class Passport(Model):
    holder: Field[Person] = Field(on_delete="refuse")


class AnyPerson(Model, collection="person"):
    name: Field[str | int]


class Simple(memory.Storage):
    """A backend that declares nothing: the present ones can do everything there is."""

    capabilities = frozenset()


@pytest.fixture
def storage():
    return get_storage("pymodels.ext.memory")


@pytest.fixture
def ann(storage):
    return Person(pk="ann", name="Ann", email="a@b").save(storage)


def declare_wrongly(storage, folder):
    class Broken(Model):
        save: Field[int]


def settings_error(storage, folder):
    get_storage("pymodels.ext.memory", nmae="x")


def unknown_backend(storage, folder):
    get_storage("pymodels.ext.lmbd")


def driver_missing(storage, folder):
    (folder / "needs_a_driver.py").write_text("import driver_of_nobody\n")
    get_storage("needs_a_driver")


def query_error(storage, folder):
    Person.objects(storage)[-1]


def unknown_field(storage, folder):
    Person.objects(storage).where(nmae="Ann")


def operand_invalid(storage, folder):
    Person.objects(storage).where(age__gt="x")


def scan_refused(storage, folder):
    Person.objects(storage, allow_scan=False).where(age__gt=3).all()


def usage_error(storage, folder):
    Person(nmae="Ann")


def validation_error(storage, folder):
    Person(name=3, age="x").save(storage)


def unsaved_reference(storage, folder):
    Person(name="Ann", country=Country()).save(storage)


def record_not_found(storage, folder):
    Person.objects(storage).get("bob")


def dangling_reference(storage, folder):
    Person(pk="bob", name="Bob", country=7).save(storage).country


def multiple_found(storage, folder):
    Person(pk="bob", name="Bob").save(storage)
    Person.objects(storage).get(age=None)


def record_invalid(storage, folder):
    AnyPerson(pk="bob", name=3).save(storage)
    Person.objects(storage).get("bob")


def duplicate_key(storage, folder):
    Person(pk="bob", name="Bob", email="a@b").save(storage)


def delete_refused(storage, folder):
    Passport(pk="p7", holder="ann").save(storage)
    Person.objects(storage).where(name="Ann").delete()


def conflict(storage, folder):
    mine, yours = (Person.objects(storage).get("ann") for _ in range(2))
    yours.age = 30
    yours.save()
    mine.age = 31
    mine.save(check=True)


def transaction_error(storage, folder):
    with storage.transaction() as transaction:
        pass
    transaction.commit()


def transactions_unsupported(storage, folder):
    with Simple(name="simple").transaction():
        pass


def unsupported(storage, folder):
    Person(name="Ann").save(Simple(name="simple"))


def storage_error(storage, folder):
    get_storage("pymodels.ext.lmdb", path=folder / "nowhere" / "people.lmdb")


def storage_invalid(storage, folder):
    (folder / "people.lmdb").write_bytes(b"something else entirely\n" * 1000)
    get_storage("pymodels.ext.lmdb", path=folder / "people.lmdb")


def storage_full(storage, folder):
    with get_storage("pymodels.ext.lmdb", path=folder / "p.lmdb", map_size=1 << 18) as small:
        small.save_all(Person(name="Ann" * 100) for _ in range(5000))


def storage_busy(storage, folder):
    get_storage("pymodels.ext.lmdb", path=folder / "p.lmdb").close()
    with get_storage("pymodels.ext.lmdb", path=folder / "p.lmdb", read_only=True):
        get_storage("pymodels.ext.lmdb", path=folder / "p.lmdb")


def storage_read_only(storage, folder):
    Person(name="Ann").save(get_storage("pymodels.ext.memory", read_only=True))


def storage_closed(storage, folder):
    storage.close()
    Person.objects(storage).all()


def connection_failed(storage, folder):
    with socket.socket() as reserved:  # bound, but not listening: nobody can answer there
        reserved.bind(("127.0.0.1", 0))
        uri = f"mongodb://ann:secret@127.0.0.1:{reserved.getsockname()[1]}"
        with get_storage("pymodels.ext.mongodb", uri=uri, database="people", timeout=1) as served:
            Person(name="Ann").save(served)


# What the user did, and what the message has to say: what, where, and what to do about it.
MET = {
    "ModelError": (declare_wrongly, ["Broken.save", "of its own", "Field(name='save')"]),
    "SettingsError": (settings_error, ["'nmae'", "did you mean 'name'", "takes"]),
    "UnknownBackend": (unknown_backend, ["'pymodels.ext.lmbd'", "did you mean"]),
    "DriverMissing": (driver_missing, ["'driver_of_nobody'", "pip install driver_of_nobody"]),
    "QueryError": (query_error, ["-1", "from the end", "reverse()[0]"]),
    "UnknownField": (unknown_field, ["Person", "'nmae'", "did you mean 'name'"]),
    "OperandInvalid": (operand_invalid, ["Person.age", "holds number", "'x'"]),
    "ScanRefused": (scan_refused, ["Person", "age__gt=3", "allow_scan=False", "indexed field"]),
    "UsageError": (usage_error, ["Person", "'nmae'", "did you mean 'name'"]),
    "ValidationError": (validation_error, ["Person", "name", "age", "expected"]),
    "UnsavedReference": (unsaved_reference, ["Person", "country", "save it first"]),
    "RecordNotFound": (record_not_found, ["memory", "Person", "'bob'"]),
    "DanglingReference": (dangling_reference, ["Person 'bob'", "country", "Country 7", "memory"]),
    "MultipleFound": (multiple_found, ["'ann'", "'bob'", "age=None"]),
    "RecordInvalid": (record_invalid, ["person 'bob'", "'name'", "storage.raw(Person, 'bob')"]),
    "DuplicateKey": (duplicate_key, ["email", "'a@b'", "'ann'"]),
    "DeleteRefused": (delete_refused, ["Person 'ann'", "Passport.holder of 'p7'", "delete those"]),
    "Conflict": (conflict, ["Person 'ann'", "changed", "read it again"]),
    "TransactionError": (transaction_error, ["committed", "storage.transaction()"]),
    "TransactionsUnsupported": (transactions_unsupported, ["simple", "no transactions"]),
    "Unsupported": (unsupported, ["Person", "email must be unique", "simple", "choose"]),
    "StorageError": (storage_error, ["people.lmdb", "nowhere", "create it"]),
    "StorageInvalid": (storage_invalid, ["people.lmdb", "no LMDB file"]),
    "StorageFull": (storage_full, ["p.lmdb", "map_size", "larger", "Nothing"]),
    "StorageBusy": (storage_busy, ["p.lmdb", "reading only", "close", "read_only=True"]),
    "StorageReadOnly": (storage_read_only, ["memory", "read_only=True"]),
    "StorageClosed": (storage_closed, ["memory", "closed", "get_storage"]),
    "ConnectionFailed": (
        connection_failed,
        ["mongodb 127.0.0.1:", "no server", "Check that it runs"],
    ),
}


def test_every_class_is_met():
    # The root is not raised: only its subclasses are.
    assert MET.keys() | {"PyModelsError"} == set(errors.__all__)


@pytest.mark.parametrize("name", MET)
def test_met(name, storage, ann, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    do, mentioned = MET[name]
    with pytest.raises(errors.PyModelsError) as caught:
        do(storage, tmp_path)
    assert type(caught.value).__name__ == name, repr(caught.value)
    message = str(caught.value)
    assert [part for part in mentioned if part not in message] == [], message
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    assert "\n" not in message
    assert "secret" not in message


def test_what_the_errors_carry(storage, ann, tmp_path):
    with pytest.raises(errors.ValidationError) as invalid:
        validation_error(storage, tmp_path)
    assert [name for name, _ in invalid.value.problems] == ["name", "age"]
    with pytest.raises(errors.DuplicateKey) as taken:
        duplicate_key(storage, tmp_path)
    found = taken.value
    assert (found.collection, found.field, found.value) == ("person", "email", "a@b")
    with pytest.raises(errors.DuplicateKey) as same_key:
        Person(pk="ann", name="Ann").save(storage)
    found = same_key.value
    assert (found.collection, found.field, found.value) == ("person", "pk", "ann")
    with pytest.raises(errors.Conflict) as overtaken:
        conflict(storage, tmp_path)
    assert (overtaken.value.collection, overtaken.value.key) == ("person", "ann")
    with pytest.raises(errors.RecordInvalid) as unfit:
        record_invalid(storage, tmp_path)
    error = unfit.value
    assert (error.collection, error.key, error.field) == ("person", "bob", "name")
    assert storage.raw(Person, "bob") == {"name": 3}


def test_failures_of_the_store_have_the_drivers_error_as_cause(storage, tmp_path):
    for do in (storage_invalid, storage_full):
        with pytest.raises(errors.StorageError) as caught:
            do(storage, tmp_path)
        assert type(caught.value.__cause__).__module__ == "lmdb"


def test_computing_with_values_that_do_not_go_together(storage, ann):
    with pytest.raises(errors.ValidationError, match="age") as caught:
        Person.objects(storage).update(age=F("age") + 1)
    assert "None" in str(caught.value)


def test_what_is_computed_is_validated_like_everything_else(storage):
    def even(number):
        if number % 2:
            raise ValueError("is odd")

    class Counter(Model):
        number: Field[int] = Field(default=0, validators=[even], choices=[0, 2, 4])
        seen: Field[list[int]] = Field(default=[], validators=[lambda seen: even(len(seen))])

    Counter(pk="c").save(storage)
    counters = Counter.objects(storage)
    for changes, name in (
        ({"number": F("number") + 1}, "number"),
        ({"number": F("number") + 6}, "number"),
        ({"seen": F("seen").append(1)}, "seen"),
    ):
        with pytest.raises(errors.ValidationError, match=f"Counter 'c'.{name}") as caught:
            counters.update(**changes)
        assert [field for field, _ in caught.value.problems] == [name]
    assert counters.update(number=F("number") + 2, seen=F("seen").append(1, 1)) == 1
    assert storage.raw(Counter, "c") == {"number": 2, "seen": [1, 1]}


def test_the_natural_builtin_catches_it(storage, ann, tmp_path):
    # A page of code that knows nothing of PyModels' own classes.
    caught = []
    for builtin, do in (
        (KeyError, record_not_found),
        (ValueError, validation_error),
        (ValueError, duplicate_key),
        (AttributeError, unknown_field),
        (TypeError, operand_invalid),
        (TypeError, usage_error),
        (OSError, storage_closed),
    ):
        try:
            do(storage, tmp_path)
        except builtin as error:
            caught.append(error)
    assert len(caught) == 7


def test_a_traceback_in_a_program_names_the_line_of_the_user(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            from pymodels import Field, Model, get_storage
            class Person(Model):
                age: Field[int]
            storage = get_storage("pymodels.ext.memory")
            query = Person.objects(storage).where(agge=3)
            print("not reached")
        """)
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True)
    assert done.stdout == ""
    assert "where(agge=3)" in done.stderr
    assert "did you mean 'age'" in done.stderr.splitlines()[-1]
