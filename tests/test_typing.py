"""Both type checkers, run over ``tests/typing``: clean files stay clean, mistakes are found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TYPING = ROOT / "tests" / "typing"
CLEAN = sorted(TYPING.glob("*.py"))
MISTAKES = TYPING / "mistakes.txt"

Findings = dict[int, set[str]]


def run(*command: str) -> str:
    """Run a program of this environment on the repository, and return what it printed."""
    environment = os.environ | {
        "PYRIGHT_PYTHON_GLOBAL_NODE": "0",
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    # Both programs exit with 1 where they found something; more is a failure of their own.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def expected(checker: int) -> Findings:
    """Read from the comments what a checker is to report: 0 is mypy, 1 pyright."""
    found: Findings = {}
    for number, line in enumerate(MISTAKES.read_text().splitlines(), 1):
        comment = re.search(r"#! (\S+) (\S+)$", line)
        if comment:
            codes = comment.group(checker + 1)
            if codes != "-":
                found[number] = set(codes.split(","))
    return found


def compare(reported: Findings, wanted: Findings) -> list[str]:
    """Name each line on which a checker said something else than its comment says."""
    lines = MISTAKES.read_text().splitlines()
    problems = []
    for number in sorted(reported.keys() | wanted.keys()):
        said, meant = reported.get(number, set()), wanted.get(number, set())
        # A line may have several codes of which one suffices: versions differ in their choice.
        if bool(said) != bool(meant) or not said <= meant:
            problems.append(f"{number}: {lines[number - 1].strip()} -> {sorted(said)}")
    return problems


@pytest.fixture
def mistakes(tmp_path: Path) -> Path:
    copy = tmp_path / "mistakes.py"
    copy.write_text(MISTAKES.read_text())
    return copy


def test_the_comments_are_read() -> None:
    lines = [line for line in MISTAKES.read_text().splitlines() if "#!" in line]
    assert len(lines) == len(expected(1)) > 40
    assert len(expected(0)) == len(lines) - sum("#! - " in line for line in lines)


def test_mypy(mistakes: Path) -> None:
    files = [*map(str, CLEAN), str(mistakes)]
    output = run("mypy", "--no-error-summary", "--no-pretty", "--show-error-codes", *files)
    reported: Findings = {}
    elsewhere = []
    for line in output.splitlines():
        error = re.match(r"(.+?):(\d+)(?::\d+)?: error: .*?\[([a-z-]+)\]$", line)
        if error and Path(error.group(1)).name == mistakes.name:
            reported.setdefault(int(error.group(2)), set()).add(error.group(3))
        elif ": error: " in line:
            elsewhere.append(line)
    assert elsewhere == []
    assert compare(reported, expected(0)) == []


def test_pyright(mistakes: Path) -> None:
    files = [*map(str, CLEAN), str(mistakes)]
    output = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable, *files))
    assert output["summary"]["filesAnalyzed"] == len(files)
    reported: Findings = {}
    elsewhere = []
    for found in output["generalDiagnostics"]:
        if found["severity"] != "error":
            continue
        line = found["range"]["start"]["line"] + 1
        if Path(found["file"]).name == mistakes.name:
            reported.setdefault(line, set()).add(found.get("rule", "?"))
        else:
            elsewhere.append(f"{found['file']}:{line}: {found['message']}")
    assert elsewhere == []
    assert compare(reported, expected(1)) == []
