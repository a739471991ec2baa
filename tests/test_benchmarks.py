"""The benchmarks run, on a few records, and notice when the two sides do different things."""

import pytest

from benchmarks import mongodb
from benchmarks.__main__ import BEGIN, END, main, write
from benchmarks.calls import count_calls
from benchmarks.measuring import BACKENDS, Disagreement, measure, steps
from benchmarks.sides import RawLmdb, RawMemory
from tests import mongodb_server


@pytest.mark.parametrize("backend", BACKENDS)
def test_both_sides_agree_on_every_operation(backend):
    timings = measure(backend, count=100, rounds=1)
    assert [one.title for one in timings] == [step.title for step in steps(backend, 100)]
    assert all(one.library_each > 0 and one.raw_each > 0 for one in timings)


@pytest.mark.parametrize(("backend", "raw"), [("memory", RawMemory), ("lmdb", RawLmdb)])
@pytest.mark.parametrize("operation", ["scan", "page_by_score", "get"])
def test_a_side_that_finds_less_is_noticed(monkeypatch, backend, raw, operation):
    complete = getattr(raw, operation)
    monkeypatch.setattr(raw, operation, lambda self, *given: complete(self, *given)[1:])
    with pytest.raises(Disagreement):
        measure(backend, count=100, rounds=1)


def test_a_side_that_changes_less_is_noticed(monkeypatch):
    monkeypatch.setattr(RawMemory, "load_and_save", lambda self, keys: None)
    with pytest.raises(Disagreement, match="what is left"):
        measure("memory", count=100, rounds=1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls_are_counted(backend):
    counted = count_calls(backend)
    # A get calls at least the decoder, and planning a query more than reading one record.
    assert 1 < counted["get by key, storage.get"] <= counted["get by key"]
    assert counted["fetch all, a record"] < counted["build and plan a query"]


def test_the_table_is_written_in_its_place(tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}old\n{END}after\n")
    main(["--records", "50", "--rounds", "1", "--backend", "memory"])
    printed = capsys.readouterr().out
    assert "| fetch all " in printed
    write("new", readme)
    assert readme.read_text() == f"before\n{BEGIN}\nnew\n{END}after\n"


def test_mongodb_beside_the_driver_and_mongoengine():
    compared = mongodb.compare(mongodb_server.uri(), count=200, rounds=2)
    assert [one.title for one in compared] == [
        step.title for step in mongodb.steps(200) if step.title
    ]
    for one in compared:
        assert len(set(map(len, one.took.values()))) == 1
        assert all(one.each(side) > 0 for side in mongodb.SIDES)


@pytest.mark.parametrize("side", mongodb.SIDES)
def test_a_side_of_mongodb_that_changes_less_is_noticed(monkeypatch, side):
    monkeypatch.setattr(mongodb.SIDES[side], "save_held", lambda self, age: None)
    monkeypatch.setattr(mongodb.SIDES[side], "update", lambda self, keys, age: None)
    with pytest.raises(Disagreement, match="what is left"):
        mongodb.compare(mongodb_server.uri(), count=100, rounds=1)
