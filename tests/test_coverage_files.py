"""What ``make test`` does before it combines what was measured."""

from __future__ import annotations

from pathlib import Path

from coverage import CoverageData

from tests.coverage_files import remove_broken


def test_only_what_cannot_be_read_is_removed(tmp_path: Path) -> None:
    for name in ("one", "two", "three", "four"):
        data = CoverageData(str(tmp_path / f".coverage.{name}"))
        data.add_arcs({f"{number}.py": [(1, number)] for number in range(1, 2000)})
        data.write()
        data.close(force=True)
    whole = (tmp_path / ".coverage.one").read_bytes()
    (tmp_path / ".coverage.two").write_bytes(whole[: len(whole) // 2])
    (tmp_path / ".coverage.three").write_bytes(b"")
    (tmp_path / ".coverage.four").write_bytes(b"nonsense" * 1000)
    assert sorted(remove_broken(tmp_path)) == [".coverage.four", ".coverage.three", ".coverage.two"]
    assert [path.name for path in tmp_path.iterdir()] == [".coverage.one"]


def test_a_folder_without_any(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("x")
    assert remove_broken(tmp_path) == []
    assert (tmp_path / "other").exists()
