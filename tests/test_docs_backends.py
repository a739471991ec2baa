"""The backends that the documentation shows in full pass the conformance suite."""

import gc
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pymodels.testing import StorageTests

pytestmark = pytest.mark.long

DOCS = Path(__file__).parent.parent / "docs"
WRITING = DOCS / "writing-a-backend.md"
MAPPINGS = DOCS / "backends" / "mappings.md"


def shown(title: str, name: str, page: Path = WRITING) -> Any:
    """Return the module that a page shows, found by its docstring."""
    text = page.read_text(encoding="utf-8")
    (source,) = re.findall(
        rf'^```python\n("""{re.escape(title)}.*?)^```$', text, re.MULTILINE | re.DOTALL
    )
    made = sys.modules[name] = ModuleType(name)
    exec(compile(source, str(page), "exec"), made.__dict__)
    return made


SQLITE = shown("Records in an SQLite file.", "shown_sqlite_store")
PLAIN = shown("Records in a dict", "shown_plain_store")
DBM = shown("Records in a file of dbm.dumb", "shown_dbm_store", MAPPINGS)
DISKCACHE = shown("Records in a folder of DiskCache", "shown_diskcache_store", MAPPINGS)


class TestSQLiteFromThePage(StorageTests):
    def make(self, path: Path) -> Any:
        return SQLITE.Storage(path=path / "records.db")


class TestDictFromThePage(StorageTests):
    def make(self, path: Path) -> Any:
        return PLAIN.Storage()


class TestDbmFromThePage(StorageTests):
    def make(self, path: Path) -> Any:
        return DBM.Storage(path=path / "records")


@pytest.fixture(scope="class")
def collected_here() -> Iterator[None]:
    """Collect what the tests left, or one of another class would be warned of it."""
    yield
    gc.collect()


# DiskCache leaves the connection of each thread to the collector; Python 3.13 warns of it.
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
@pytest.mark.usefixtures("collected_here")
class TestDiskCacheFromThePage(StorageTests):
    def make(self, path: Path) -> Any:
        return DISKCACHE.Storage(path=path / "records")
