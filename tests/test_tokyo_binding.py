"""The binding of Tokyo Cabinet's library."""

from __future__ import annotations

from pathlib import Path

import pytest

from pymodels.ext.tokyo_cabinet import binding as tokyo


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage.tct"


def test_errors_have_codes_and_messages(path: Path) -> None:
    table = tokyo.TDB()
    with pytest.raises(tokyo.Error) as caught:
        table.open(path, tokyo.TDBOREADER)
    assert caught.value.code == tokyo.TCENOFILE
    assert "file not found" in str(caught.value)
    with pytest.raises(tokyo.Error):
        table.put(b"a", {b"b": b"c"})
    with pytest.raises(ValueError, match="NUL"):
        table.query().filter("a\0b", tokyo.TDBQCSTREQ, "x")


def test_columns_with_nul_come_back_from_the_binding(path: Path) -> None:
    table = tokyo.TDB()
    table.open(path, tokyo.TDBOWRITER | tokyo.TDBOCREAT)
    for stored in ({}, {b"a": b""}, {b"a\0b": b"c\0\0", b"d": b"x" * 300}):
        table.put(b"k", stored)
        assert table.get(b"k") == stored
    table.close()


def test_a_query_outlives_the_names_of_its_table(path: Path) -> None:
    table = tokyo.TDB()
    table.open(path, tokyo.TDBOWRITER | tokyo.TDBOCREAT)
    table.put(b"a", {b"n": b"1"})
    query = table.query()
    query.filter("n", tokyo.TDBQCNUMGE, "0")
    del table
    assert query.search() == [b"a"]
