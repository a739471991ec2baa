"""The benchmarks run, on a few records, and notice when the two sides do different things."""

import pytest

from benchmarks import growth
from benchmarks.__main__ import main
from benchmarks.calls import count_calls
from benchmarks.measuring import BACKENDS, Disagreement, measure, steps
from benchmarks.sides import RawLmdb, RawMemory
from benchmarks.tables import README, marks, write


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
    begin, end = marks("measured")
    readme.write_text(f"before\n{begin}old\n{end}after\n")
    main(["--records", "50", "--rounds", "1", "--backend", "memory"])
    printed = capsys.readouterr().out
    assert "| fetch all " in printed
    write("new", "measured", readme)
    assert readme.read_text() == f"before\n{begin}\nnew\n{end}after\n"
    for name in ("measured", growth.MARK):
        assert all(README.read_text().count(mark) == 1 for mark in marks(name))


@pytest.mark.parametrize("backend", growth.BACKENDS)
def test_an_iteration_holds_no_more_when_there_are_more_records(backend):
    held = {}
    for count in (1_000, 8_000):
        with growth.opened(backend) as storage:
            found = growth.grow(backend, storage, count)
            assert found.get > 0
            assert found.iteration > 0
            held[count] = found.held
            everything = growth.most_held(lambda: list(growth.Person.objects(storage)))
    # Keys and pages may differ a little; all records at once would be eight times as much.
    assert held[8_000] < 2 * held[1_000] + 50_000
    assert everything > 4 * held[8_000]


@pytest.mark.parametrize("backend", growth.BACKENDS)
def test_operations_leave_nothing_behind(backend):
    with growth.opened(backend) as storage:
        left = growth.operate(backend, storage, 5_000)
    assert left.blocks < 500, "one object for each tenth operation would be a leak"


def test_growth_is_printed(capsys):
    growth.main(["--most", "1000", "--operations", "200"])
    printed = capsys.readouterr().out
    assert "| lmdb, 1,000 " in printed
    assert "| memory, 200 " in printed
