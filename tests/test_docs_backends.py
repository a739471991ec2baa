"""The two backends that `docs/writing-a-backend.md` shows in full pass the conformance suite."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from pymodels.testing import StorageTests

PAGE = Path(__file__).parent.parent / "docs" / "writing-a-backend.md"


def shown(title: str, name: str) -> Any:
    """Return the module that the page shows, found by its docstring."""
    text = PAGE.read_text(encoding="utf-8")
    (source,) = re.findall(
        rf'^```python\n("""{re.escape(title)}.*?)^```$', text, re.MULTILINE | re.DOTALL
    )
    made = sys.modules[name] = ModuleType(name)
    exec(compile(source, str(PAGE), "exec"), made.__dict__)
    return made


SQLITE = shown("Records in an SQLite file.", "shown_sqlite_store")
PLAIN = shown("Records in a dict", "shown_plain_store")


class TestSQLiteFromThePage(StorageTests):
    def make(self, path: Path) -> Any:
        return SQLITE.Storage(path=path / "records.db")


class TestDictFromThePage(StorageTests):
    def make(self, path: Path) -> Any:
        return PLAIN.Storage()
