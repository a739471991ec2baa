"""What the tests of LMDB share: opening files, filling them, and programs of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from pymodels import get_storage
from pymodels.testing.people import Account, Town

HERE = Path(__file__).parent.parent


def open_file(path: Path, **options: Any) -> Any:
    return get_storage("pymodels.ext.lmdb", path=path, **options)


def numbers(storage: Any) -> list[int]:
    return [town.id for town in Town.objects(storage)]


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=HERE, timeout=60
    )


def fill(path: Path) -> Path:
    """Make a file with two hundred towns and as many accounts, and return its path."""
    with open_file(path) as storage:
        storage.save_all([Town(id=n, name="x" * 200) for n in range(200)])
        storage.save_all([Account(pk=str(n), login=str(n)) for n in range(200)])
    return path
