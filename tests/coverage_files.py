"""Remove files of measured coverage that were not written to their end: ``make test`` does it.

A child that a test kills may be about to write one. Coverage cannot combine the others with it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def is_whole(path: Path) -> bool:
    """Tell whether a file can be read as what coverage writes."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            (found,) = database.execute("PRAGMA quick_check").fetchone()
            database.execute("SELECT count(*) FROM file")
    except sqlite3.Error:
        return False
    return bool(found == "ok")


def remove_broken(folder: Path) -> list[str]:
    """Remove the files in *folder* that are not whole, and return their names."""
    found = [path for path in folder.glob(".coverage.*") if not is_whole(path)]
    for path in found:
        path.unlink()
    return [path.name for path in found]


if __name__ == "__main__":
    for name in remove_broken(Path.cwd()):
        print(f"{name}: left half written by a process that was killed, and removed")  # noqa: T201 - a program prints
