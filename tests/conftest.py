"""Fixtures that several files of tests use."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def public(tmp_path: Path) -> None:
    """Let others pass through the folders above, which are the user's alone.

    They stay so: another test process may be using the same ones.
    """
    temporary = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(temporary) and folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o011)
