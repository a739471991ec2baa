"""From settings to a storage: every form of settings, and every mistake in one."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

import settings_example
from pymodels import (
    DriverMissing,
    Field,
    Model,
    SettingsError,
    StorageError,
    StorageInvalid,
    UnknownBackend,
    get_storage,
)
from pymodels.ext import lmdb, memory, mongodb, pickled, shelve, tokyo_cabinet, tokyo_tyrant
from tests import mongodb_server, tyrants
from tests.complaints import complaint

MEMORY = {"backend": "pymodels.ext.memory"}


class Person(Model):
    name: Field[str]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, from which modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if not name.startswith("pymodels"):
            del sys.modules[name]


# --- every form -----------------------------------------------------------------------------


def test_the_forms_of_settings(folder):
    (folder / "settings.toml").write_text(
        '[main]\nbackend = "pymodels.ext.memory"\nname = "toml"\n'
        '[db.test]\nbackend = "pymodels.ext.memory"\nname = "deep"\n'
    )
    (folder / "forms.py").write_text(
        "from pymodels import get_storage\n"
        "DATABASES = {'main': {'backend': 'pymodels.ext.memory', 'name': 'python'}}\n"
        "DATABASE = DATABASES['main']\n"
        "def settings():\n    return {'backend': 'pymodels.ext.memory', 'name': 'made'}\n"
        "def storage():\n    return get_storage(settings(), name='open')\n"
    )
    forms = {
        "mapping": {**MEMORY, "name": "mapping"},
        "toml": "settings.toml:main",
        "deep": "settings.toml:db.test",
        "python": "forms:DATABASES.main",
        "made": "forms:settings",
        "open": "forms:storage",
        "function": lambda: {**MEMORY, "name": "function"},
        "class": lambda: memory.Storage(name="class"),
    }
    for name, settings in forms.items():
        with get_storage(settings) as storage:
            assert storage.name == name
            assert type(storage) is memory.Storage
    assert get_storage("forms:DATABASE").name == "python"
    assert get_storage(lambda: "forms:DATABASE").name == "python"
    assert get_storage(str(folder / "settings.toml") + ":main").name == "toml"
    assert get_storage(**MEMORY, name="keywords").name == "keywords"
    assert get_storage("pymodels.ext.memory", name="both").name == "both"


def test_keywords_go_before_the_settings():
    assert get_storage({**MEMORY, "name": "a"}, name="b").name == "b"
    assert get_storage(lambda: {**MEMORY, "name": "a"}, name="b").name == "b"
    settings = {**MEMORY, "name": "a"}
    get_storage(settings, name="b")
    assert settings == {**MEMORY, "name": "a"}


def test_a_storage_is_passed_through():
    storage = get_storage(MEMORY)
    assert get_storage(storage) is storage
    assert get_storage(lambda: storage) is storage
    with complaint(SettingsError, "open already", "name", "read_only"):
        get_storage(storage, name="x", read_only=True)


def test_opened_storages_work(folder):
    for settings in (MEMORY, {"backend": "pymodels.ext.lmdb", "path": folder / "p.lmdb"}):
        with get_storage(settings) as storage:
            Person(pk="a", name="Ann").save(storage)
            assert Person.objects(storage).get("a").name == "Ann"


# --- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "mentioned"),
    [
        (None, ["no backend", "'backend': 'pymodels.ext.lmdb'", "pymodels.ext.memory"]),
        ({}, ["no backend", "nothing"]),
        ("", ["no backend"]),
        ({"path": "x", "size": 3}, ["no backend", "path, size"]),
        ({"backend": None}, ["'backend'", "path of a module", "None"]),
        ({"backend": memory}, ["'backend'", "path of a module"]),
        (3, ["mapping", "int"]),
        ([("backend", "pymodels.ext.memory")], ["mapping", "list"]),
        (b"pymodels.ext.memory", ["mapping", "bytes"]),
        (Path("settings.toml"), ["mapping", "Path"]),
        (lambda: 3, ["mapping", "int"]),
        ({**MEMORY, "nmae": "x"}, ["'nmae'", "did you mean 'name'", "data, name, read_only"]),
        ({**MEMORY, "x": 1}, ["takes no setting 'x'", "data, name, read_only"]),
        ({**MEMORY, 3: 1}, ["takes no setting 3"]),
        ({**MEMORY, "read_only": "no"}, ["read_only", "True or False", "'no'"]),
        ({**MEMORY, "name": 3}, ["name", "3"]),
        ({**MEMORY, "data": 3}, ["data", "3"]),
        ({**MEMORY, "data": {"a": 3}}, ["data['a']", "int"]),
        ({**MEMORY, "data": {3: {}}}, ["data", "name", "3"]),
        ({**MEMORY, "data": {"a": {1: 3}}}, ["data['a'][1]", "mapping", "int"]),
        ({**MEMORY, "data": {"a": {1: {}, "b": {}}}}, ["data['a']", "int, str", "one kind"]),
        ({**MEMORY, "data": {"a": {1.5: {}}}}, ["data['a']", "float", "UUID, int, str"]),
        ({**MEMORY, "data": {"a": {1: {"x": object()}}}}, ["data['a'][1]['x']", "object"]),
        ("pymodels.ext.lmdb", ["needs the setting 'path'", "map_size"]),
        ({"backend": "pymodels.ext.lmdb", "pth": "x"}, ["'pth'", "did you mean 'path'"]),
        ({"backend": "pymodels.ext.lmdb", "path": ""}, ["path", "file", "''"]),
        ({"backend": "pymodels.ext.lmdb", "path": 3}, ["path", "file", "3"]),
        ({"backend": "pymodels.ext.lmdb", "path": "x", "map_size": "1GB"}, ["map_size", "'1GB'"]),
        ({"backend": "pymodels.ext.lmdb", "path": "x", "max_tables": 0}, ["max_tables", "0"]),
        ({"backend": "pymodels.ext.lmdb", "path": "x", "read_only": "no"}, ["read_only", "'no'"]),
    ],
)
def test_mistakes_in_settings(settings, mentioned):
    with complaint(SettingsError, *mentioned):
        get_storage(settings)


@pytest.mark.parametrize(
    ("backend", "mentioned"),
    [
        ("memory", ["no backend 'memory'", "did you mean 'pymodels.ext.memory'"]),
        ("lmdb", ["lmdb is a module, but no backend", "did you mean 'pymodels.ext.lmdb'"]),
        ("pymodels.ext.lmbd", ["'pymodels.ext.lmbd'", "did you mean 'pymodels.ext.lmdb'"]),
        ("pymodels.ext.memory.deeper", ["'pymodels.ext.memory.deeper'"]),
        ("nowhere.to.be.found", ["'nowhere.to.be.found'", "pymodels.ext.lmdb"]),
        ("people.lmdb", ["'people.lmdb'"]),
        ("two words", ["'two words'"]),
        ("os.path", ["os.path is a module, but no backend", "Storage", "Query"]),
        ("pymodels", ["pymodels is a module, but no backend"]),
    ],
)
def test_what_is_no_backend(backend, mentioned):
    for settings in (backend, {"backend": backend}):
        with complaint(UnknownBackend, *mentioned, "pymodels.ext.memory"):
            get_storage(settings)


@pytest.mark.parametrize(
    ("entry", "mentioned"),
    [
        ("good.toml", ["without an entry", "settings.toml:main", "settings:DATABASES.main"]),
        ("good.py", ["without an entry"]),
        ("./folder/people", ["without an entry"]),
        ("good.toml:mian", ["good.toml", "'mian'", "did you mean 'main'", "it has main, other"]),
        ("good.toml:", ["good.toml", "''", "it has main, other"]),
        ("good.toml:main.name", ["good.toml.main.name", "no mapping", "'x'"]),
        ("good.toml:main.nope", ["'nope'", "backend, name"]),
        ("good.toml:other", ["no backend", "path"]),
        ("bad.toml:main", ["bad.toml", "no TOML", "line 1"]),
        ("binary.toml:main", ["binary.toml", "no TOML"]),
        ("missing.toml:main", ["missing.toml", "No such file"]),
        ("good.py:DATABASE", ["'good.py'", "no file is run", "'good:DATABASE'"]),
        ("./good.py:DATABASE", ["no file is run", "'good:DATABASE'"]),
        ("good:DATABSE", ["good", "'DATABSE'", "did you mean 'DATABASE'"]),
        ("good:DATABASES.mian", ["good:DATABASES", "'mian'", "did you mean 'main'", "main"]),
        ("good:NUMBER", ["good:NUMBER", "no mapping", "3"]),
        ("good:", ["good", "''"]),
        (":DATABASE", ["settings module", "''"]),
        ("nowhere:DATABASE", ["'nowhere'", "cannot be imported"]),
        ("needy:DATABASE", ["'needy'", "cannot be imported", "not_installed"]),
    ],
)
def test_mistakes_in_entries(folder, entry, mentioned):
    (folder / "good.toml").write_text(
        '[main]\nbackend = "pymodels.ext.memory"\nname = "x"\n[other]\npath = "x"\n'
    )
    (folder / "bad.toml").write_text("[main\n")
    (folder / "binary.toml").write_bytes(b"\xff\xfe\0")
    (folder / "good.py").write_text(
        "DATABASES = {'main': {'backend': 'pymodels.ext.memory'}}\n"
        "DATABASE = DATABASES['main']\nNUMBER = 3\n"
    )
    (folder / "needy.py").write_text("import not_installed\n")
    with complaint(SettingsError, *mentioned):
        get_storage(entry)


def test_a_settings_file_is_never_run_by_its_path(folder):
    (folder / "evil.py").write_text("open('ran', 'w').close()\nDATABASE = {}\n")
    for entry in ("evil.py:DATABASE", "./evil.py:DATABASE", f"{folder}/evil.py:DATABASE"):
        with pytest.raises(SettingsError):
            get_storage(entry)
    assert not (folder / "ran").exists()


def test_a_store_that_cannot_be_opened_is_no_mistake_in_settings():
    with complaint(StorageError, "nowhere", "does not exist", "create it"):
        get_storage("pymodels.ext.lmdb", path="nowhere/people.lmdb")


# --- drivers and third parties --------------------------------------------------------------


def test_a_missing_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)  # as if it were not installed
    for name in [name for name in sys.modules if name.startswith("pymodels.ext.lmdb")]:
        monkeypatch.delitem(sys.modules, name)
    with complaint(DriverMissing, "pymodels.ext.lmdb", "'lmdb'", "pip install 'pymodels[lmdb]'"):
        get_storage("pymodels.ext.lmdb", path="x.lmdb")


def test_a_missing_driver_of_a_third_party(folder):
    (folder / "mystore.py").write_text("import driver_of_mine\n")
    with complaint(DriverMissing, "mystore", "'driver_of_mine'", "pip install driver_of_mine"):
        get_storage("mystore")


def test_a_backend_of_a_third_party(folder):
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text("")
    (folder / "shop" / "store.py").write_text(
        "from pymodels.ext.memory import Query\n"
        "from pymodels.ext.memory import Storage as Memory\n\n"
        "class Storage(Memory):\n"
        "    def __init__(self, *, shelf, **options):\n"
        "        super().__init__(**options)\n"
        "        self.shelf = shelf\n"
    )
    storage = get_storage({"backend": "shop.store", "shelf": 7, "name": "mine"})
    assert (storage.shelf, storage.name) == (7, "mine")
    Person(name="Ann").save(storage)
    assert Person.objects(storage).count() == 1
    with complaint(SettingsError, "shop.store", "needs the setting 'shelf'"):
        get_storage("shop.store", name="x")


def test_backends_that_are_not_what_they_should_be(folder):
    (folder / "fake.py").write_text("class Storage: pass\nclass Query: pass\n")
    (folder / "half.py").write_text("class Storage: pass\n")
    (folder / "broken.py").write_text("from pymodels import nothing_of_this_name\n")
    with complaint(UnknownBackend, "fake.Storage", "no pymodels.storage.Storage"):
        get_storage("fake")
    with complaint(UnknownBackend, "half", "Query"):
        get_storage("half")
    with complaint(UnknownBackend, "'broken'", "cannot be imported", "nothing_of_this_name"):
        get_storage("broken")
    with complaint(UnknownBackend, "'.relative'", "no whole path"):
        get_storage(".relative")


def loaded_by(code: str) -> set[str]:
    """Return the modules that a new interpreter has loaded after running *code*."""
    show = f"import sys; {code}; print(*sys.modules)"
    root = Path(settings_example.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", show], cwd=root, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_pymodels_imports_no_driver_and_little_else():
    nothing = loaded_by("pass")
    loaded = loaded_by("import pymodels") - nothing
    outside = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert {"pymodels", "msgspec"} <= outside
    assert outside <= {"pymodels", "msgspec", "typing_extensions"}
    assert not {name for name in loaded if name.startswith(("pymodels.ext", "pymodels.testing"))}
    # A count does not vary with the load of the machine, as a time would; 115 on Python 3.11.
    assert len(loaded) < 160


def test_a_backend_imports_its_own_driver_and_no_other():
    loaded = loaded_by("import pymodels; pymodels.get_storage('pymodels.ext.memory')")
    assert "pymodels.ext.memory" in loaded
    assert not {name for name in loaded if "lmdb" in name}


# --- the example ----------------------------------------------------------------------------

BACKENDS = {
    "memory": memory,
    "lmdb": lmdb,
    "mongodb": mongodb,
    "pickled": pickled,
    "shelve": shelve,
    "tokyo_cabinet": tokyo_cabinet,
    "tokyo_tyrant": tokyo_tyrant,
}


def test_the_example_has_every_backend():
    import pkgutil

    from pymodels import ext

    assert settings_example.DATABASES.keys() == {
        module.name
        for module in pkgutil.iter_modules(ext.__path__)
        if not module.name.startswith("_")
    }
    assert settings_example.DATABASES.keys() == BACKENDS.keys()
    assert settings_example.DATABASE in settings_example.DATABASES.values()


@pytest.mark.parametrize("name", settings_example.DATABASES)
def test_every_entry_of_the_example_loads(name, folder, request):
    given = {}
    if name == "mongodb":  # the entry as it stands asks for a server where everybody has theirs
        given = {"uri": mongodb_server.uri(), "collection_prefix": f"{uuid4()}_"}
    if name == "tokyo_tyrant":  # likewise
        tyrant = tyrants.Tyrant(folder / "storage.tct")
        request.addfinalizer(tyrant.remove)
        given = {"socket": tyrant.socket}
    with get_storage(f"settings_example:DATABASES.{name}", **given) as storage:
        assert isinstance(storage, BACKENDS[name].Storage)
        Person(pk="a", name="Ann").save(storage)
        assert len(storage) == 1


def test_the_line_that_decides(folder):
    with get_storage("settings_example:DATABASE") as storage:
        assert type(storage) is lmdb.Storage
    assert (folder / "people.lmdb").exists()


@pytest.mark.parametrize("name", settings_example.DATABASES)
def test_the_settings_commented_out_are_the_rest_with_their_defaults(name):
    source = Path(settings_example.__file__).read_text()
    entry = source.split(f'    "{name}": {{')[1].split("\n    },")[0]
    commented = dict(re.findall(r'# "(\w+)": (.+),$', entry, re.MULTILINE))
    given = settings_example.DATABASES[name].keys() - {"backend"}
    parameters = inspect.signature(BACKENDS[name].Storage).parameters
    assert commented.keys() | given == parameters.keys()
    for setting, shown in commented.items():
        assert shown.replace('"', "'") == repr(parameters[setting].default)


@pytest.mark.parametrize(
    ("backend", "given"),
    [
        ("lmdb", {"path": "a\0b"}),
        ("pickled", {"path": "a\0b"}),
        ("shelve", {"path": "a\0b"}),
        ("tokyo_cabinet", {"path": "a\0b.tct"}),
        ("lmdb", {"path": "a.lmdb", "map_size": 10**30}),
        ("lmdb", {"path": "a.lmdb", "max_readers": 2**31}),
        ("mongodb", {"database": "a", "tls": True, "tls_ca_file": "/no/such/file"}),
    ],
)
def test_settings_that_no_system_takes(backend, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError):
        get_storage(f"pymodels.ext.{backend}", **given)


@pytest.mark.parametrize("backend", ["lmdb", "pickled", "shelve", "tokyo_cabinet"])
def test_a_folder_is_no_file(backend, tmp_path):
    with pytest.raises(StorageInvalid, match="is a folder"):
        get_storage(f"pymodels.ext.{backend}", path=tmp_path)
