"""From settings to a storage: ``get_storage``.

Settings are a mapping, keywords, the name of an entry in a settings file, or a function. All of
them end in ``open_storage``, which names every mistake and what to write instead.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import tomllib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from pymodels.errors import DriverMissing, SettingsError, UnknownBackend
from pymodels.lookups import nearest
from pymodels.storage import Storage

Settings: TypeAlias = Mapping[str, Any] | str | Callable[[], Any] | Storage | None

_HERE: Final = "pymodels.ext"


def get_storage(settings: Settings = None, /, **keywords: Any) -> Storage:
    """Open the storage that *settings* describe.

    Args:
        settings: one of

            - a mapping with ``backend``, the path of a module, and what that backend takes:
              ``{"backend": "pymodels.ext.lmdb", "path": "people.lmdb"}``;
            - the path of a backend alone, ``"pymodels.ext.memory"``, its settings as keywords;
            - an entry of a TOML file, ``"settings.toml:main"``, or of an importable Python module,
              ``"settings:DATABASES.main"``;
            - a function that returns settings or a storage.
        keywords: settings that go before those.

    Raises ``SettingsError`` (``UnknownBackend``, ``DriverMissing``) for settings that will not do,
    ``StorageError`` where the store itself cannot be opened.

    >>> get_storage("pymodels.ext.memory").name
    'memory'
    >>> get_storage({"backend": "pymodels.ext.memory", "nmae": "jar"})
    Traceback (most recent call last):
    ...
    pymodels.errors.SettingsError: pymodels.ext.memory takes no setting 'nmae'; did you mean
    'name'? It takes: data, name, read_only
    """
    if callable(settings) and not isinstance(settings, Storage):
        settings = settings()
    if isinstance(settings, str):
        settings = _named(settings)
    if isinstance(settings, Storage):
        if keywords:
            raise SettingsError(
                f"{settings!r} is open already, and takes no further settings "
                f"({', '.join(sorted(keywords))})"
            )
        return settings
    if settings is None:
        settings = {}
    if not isinstance(settings, Mapping):
        raise SettingsError(
            f"settings are a mapping such as {{'backend': '{_HERE}.lmdb', 'path': 'people.lmdb'}}, "
            f"not {type(settings).__name__}"
        )
    return open_storage({**settings, **keywords})


def open_storage(settings: Mapping[str, Any]) -> Storage:
    """Open the storage that a mapping of settings describes."""
    options = dict(settings)
    backend = options.pop("backend", "")
    if not isinstance(backend, str):
        raise SettingsError(
            f"'backend' is the path of a module, such as '{_HERE}.lmdb', not {backend!r}"
        )
    if not backend:
        given = ", ".join(sorted(map(str, settings))) or "nothing"
        raise SettingsError(
            f"the settings name no backend (they have: {given}); write for example "
            f"'backend': '{_HERE}.lmdb'. {_known()}"
        )
    made = _backend(backend)
    _check_options(backend, made, options)
    storage = made(**options)
    if not isinstance(storage, Storage):
        raise UnknownBackend(f"{backend}.Storage is no pymodels.storage.Storage")
    return storage


def _backend(backend: str) -> Any:
    if backend.startswith("."):
        raise UnknownBackend(
            f"{backend!r} is no whole path of a module, such as '{_HERE}.lmdb'. {_known()}"
        )
    try:
        module = importlib.import_module(backend)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if backend == missing or backend.startswith(f"{missing}."):
            raise UnknownBackend(f"there is no backend {backend!r}{_hint(backend)}") from error
        # Each backend of PyModels that needs a driver has an extra of its own name.
        package, _, extra = backend.rpartition(".")
        install = (
            f"pip install 'pymodels[{extra}]'" if package == _HERE else f"pip install {missing}"
        )
        raise DriverMissing(
            f"{backend} needs the package {missing!r}, which is not installed: {install}"
        ) from error
    except (ImportError, TypeError, ValueError) as error:
        raise UnknownBackend(f"the backend {backend!r} cannot be imported: {error}") from error
    made = getattr(module, "Storage", None)
    if not (isinstance(made, type) and hasattr(module, "Query")):
        raise UnknownBackend(
            f"{backend} is a module, but no backend, which has a Storage and a Query"
            f"{_hint(backend)}"
        )
    return made


def _backends() -> list[str]:
    from pymodels import ext

    found = {module.name for module in pkgutil.iter_modules(ext.__path__)}
    return sorted(f"{_HERE}.{name}" for name in found if not name.startswith("_"))


def _hint(backend: str) -> str:
    known = _backends()
    near = nearest(backend, known) or nearest(f"{_HERE}.{backend}", known) or "."
    return f"{near} {_known()}"


def _known() -> str:
    return f"The backends of PyModels are {', '.join(_backends())}"


def _check_options(backend: str, made: Any, options: Mapping[str, Any]) -> None:
    parameters, required, takes_others = _parameters(made)
    if required <= options.keys() and (takes_others or options.keys() <= parameters):
        return
    takes = f"It takes: {', '.join(sorted(parameters))}"
    for name in options:
        if name not in parameters and not takes_others:
            hint = nearest(str(name), parameters) or "."
            raise SettingsError(f"{backend} takes no setting {name!r}{hint} {takes}")
    for name in sorted(required - options.keys()):
        raise SettingsError(f"{backend} needs the setting {name!r}. {takes}")


@lru_cache(maxsize=32)
def _parameters(made: Any) -> tuple[frozenset[str], frozenset[str], bool]:
    """Return which settings there are, which have to be given, and whether others may be."""
    parameters = inspect.signature(made).parameters.values()
    named = [one for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD]
    required = {one.name for one in named if one.default is inspect.Parameter.empty}
    names = frozenset(one.name for one in named)
    return names, frozenset(required), len(names) < len(parameters)


# --- settings files -------------------------------------------------------------------------


def _named(name: str) -> Any:
    """Return the settings that a text names: a backend, or an entry of a file or module."""
    if ":" not in name:
        if name.endswith((".toml", ".py")) or os.sep in name:
            raise SettingsError(
                f"{name!r} names a file without an entry: write 'settings.toml:main', or "
                "'settings:DATABASES.main' for an importable Python module"
            )
        return {"backend": name}
    source, _, entry = name.rpartition(":")
    if source.endswith(".toml"):
        return _entry(_toml(source), entry.split("."), source)
    if source.endswith(".py") or os.sep in source:
        raise SettingsError(
            f"{source!r} is a path, and no file is run to read settings from it: name an "
            f"importable module, as in {Path(source).stem + ':' + (entry or 'DATABASE')!r}, or a "
            "TOML file"
        )
    try:
        module = importlib.import_module(source)
    except (ImportError, TypeError, ValueError) as error:
        raise SettingsError(
            f"the settings module {source!r} cannot be imported: {error}"
        ) from error
    first, *inside = entry.split(".")
    if not hasattr(module, first):
        names = [one for one in vars(module) if one.isupper()]
        raise SettingsError(f"{source} has no {first!r}{nearest(first, names)}")
    return _entry(getattr(module, first), inside, f"{source}:{first}")


def _toml(source: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{source} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source} is no TOML file: {error}") from error


def _entry(found: Any, names: list[str], source: str) -> Any:
    for name in names:
        if not isinstance(found, Mapping) or name not in found:
            known = [str(key) for key in found] if isinstance(found, Mapping) else []
            raise SettingsError(
                f"{source} has no entry {name!r}{nearest(name, known)}"
                + (f"; it has {', '.join(known)}" if known else "")
            )
        found = found[name]
    if callable(found):
        found = found()
    if not isinstance(found, Mapping | Storage):
        entry = ".".join((source, *names))
        raise SettingsError(f"{entry} is no mapping of settings: {found!r:.60}")
    return found
