"""The benchmarks run, on a few records, and notice when two sides do different things."""

from weakref import WeakSet

import pytest

from benchmarks import growth, mongodb, mongodb_growth, tokyo
from benchmarks.__main__ import main, ratios
from benchmarks.by_hand import RawLmdb, RawSqlite
from benchmarks.calls import count_calls
from benchmarks.chart import chart
from benchmarks.index_growth import measure_growth
from benchmarks.library import Library, in_lmdb, in_memory
from benchmarks.measuring import Disagreement, measure
from benchmarks.tables import README, marks, write
from benchmarks.workload import FEW, steps
from pymodels import referring
from tests import mongodb_server

SIDES = (RawLmdb, in_lmdb, in_memory, RawSqlite)


def test_all_sides_agree_on_every_operation():
    timings = measure(SIDES, count=300, rounds=1)
    assert [one.step.title for one in timings] == [step.title for step in steps(300)]
    titles = [RawLmdb.title, "PyModels, LMDB", "PyModels, memory", RawSqlite.title]
    for timing in timings:
        assert list(timing.seconds) == titles
        assert all(timing.each(title) > 0 for title in titles)


@pytest.mark.parametrize("operation", ["in_city", "of_age", "with_text", "page_by_score", "get"])
def test_a_side_that_finds_less_is_noticed(monkeypatch, operation):
    complete = getattr(RawSqlite, operation)
    monkeypatch.setattr(RawSqlite, operation, lambda self, *given: complete(self, *given)[1:])
    with pytest.raises(Disagreement):
        measure((RawLmdb, RawSqlite), count=500, rounds=1)


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ("cities", lambda found: found[::-1]),
        ("ages", lambda found: (found[0], found[1] + 1)),
        ("ages_in_cities", lambda found: {**found, "City 0000": 0}),
    ],
)
def test_a_side_that_reckons_otherwise_is_noticed(monkeypatch, operation, wrong):
    right = getattr(RawSqlite, operation)
    monkeypatch.setattr(RawSqlite, operation, lambda self: wrong(right(self)))
    with pytest.raises(Disagreement):
        measure((RawLmdb, RawSqlite), count=300, rounds=1)


def test_a_side_that_changes_less_is_noticed(monkeypatch):
    monkeypatch.setattr(RawSqlite, "update", lambda self, keys: None)
    with pytest.raises(Disagreement):
        measure((RawLmdb, RawSqlite), count=300, rounds=1)


def test_a_slow_side_does_less_and_still_ends_with_the_same_records(monkeypatch):
    asked = []
    complete = Library.get
    monkeypatch.setattr(
        Library, "get", lambda self, keys: asked.append(keys) or complete(self, keys)
    )
    title = "PyModels, slowly"
    slow = lambda folder: Library(title, "pymodels.ext.memory", is_slow=True)  # noqa: E731
    timings = measure((RawLmdb, slow), count=700, rounds=1)
    assert {len(keys) for keys in asked} == {FEW}
    fewer = {one.step.title: one.fewer[title] for one in timings if title in one.fewer}
    assert fewer == {"single save": FEW, "get by key": FEW}
    printed = ratios(timings, [title])
    rows = [line.split("|")[1].strip() for line in printed.splitlines() if "† |" in line]
    assert rows == ["single save", "get by key"]
    assert printed.endswith(
        "† timed on fewer records or calls (single save: 5 of 7; get by key: 5 of 35)\n"
    )


def test_a_side_that_is_there_twice_is_measured_twice(monkeypatch):
    timings = measure((RawLmdb, RawSqlite, RawLmdb), count=300, rounds=1)
    for timing in timings:
        by_hand, sqlite = timing.seconds.values()
        assert len(by_hand) == 2 * len(sqlite) == 2 * timing.step.times
    counts = iter(range(100))
    monkeypatch.setattr(RawLmdb, "count_city", lambda self, name: next(counts))
    with pytest.raises(Disagreement, match="indexed count: LMDB and msgspec by hand gives"):
        measure((RawLmdb, RawSqlite, RawLmdb), count=300, rounds=1)


@pytest.mark.parametrize(
    "wrong", [lambda found: found[1:], lambda found: found[::-1], lambda found: [*found, found[0]]]
)
def test_a_slow_side_that_finds_something_else_is_noticed(monkeypatch, wrong):
    monkeypatch.setattr(RawSqlite, "is_slow", True)
    complete = RawSqlite.get
    monkeypatch.setattr(RawSqlite, "get", lambda self, keys: wrong(complete(self, keys)))
    with pytest.raises(Disagreement, match="get by key"):
        measure((RawLmdb, RawSqlite), count=500, rounds=1)


@pytest.mark.parametrize("opener", [in_lmdb, in_memory])
def test_calls_stay_few(monkeypatch, opener):
    # Models of other tests refer to what is never declared, and each deletion looks for that.
    monkeypatch.setattr(referring, "_UNRESOLVED", WeakSet())
    counted = count_calls(opener)
    is_lmdb = opener is in_lmdb
    assert counted["get by key"] <= 15
    assert counted["fetch all, an object"] <= 3.5
    assert counted["indexed =, an object"] <= (4 if is_lmdb else 5)
    assert counted["indexed count"] <= (25 if is_lmdb else 40)
    assert counted["build a query"] <= 10
    planned = [title for title in counted if title.startswith("build and plan")]
    assert len(planned) == 43
    for title in planned:
        assert counted[title] <= 40, title
    assert counted["build and plan a query"] <= 20
    assert counted["build and plan a page in order"] <= 24
    assert counted["lowest and highest, indexed"] <= (60 if is_lmdb else 100)
    assert counted["values of an indexed field, a value"] <= (4 if is_lmdb else 10)
    assert counted["update in a transaction, a record"] <= (20 if is_lmdb else 28)
    assert counted["single save"] <= (62 if is_lmdb else 97)
    assert counted["delete by filter, a record"] <= (10 if is_lmdb else 25)
    assert counted["bulk insert, a record"] <= (20 if is_lmdb else 30)


def test_growth_is_measured_at_each_size():
    found = measure_growth([500, 1_000])
    assert {len(measured) for measured in found.values()} == {2}
    assert all(one > 0 for measured in found.values() for one in measured)


def test_the_chart_shows_each_ratio():
    picture = chart("Title & more", ["one", "two"], {"a row": [1.5, 20.0], "another": [0.5, None]})
    assert "Title &amp; more" in picture
    assert [f">{ratio}<" in picture for ratio in ("1.5", "20", "0.5")] == [True] * 3


def test_the_tables_are_written_in_their_place(tmp_path, capsys):
    readme = tmp_path / "README.md"
    begin, end = marks("measured")
    readme.write_text(f"before\n{begin}old\n{end}after\n")
    main(["--records", "200", "--rounds", "1", "--no-peers", "--growth", "1000"])
    printed = capsys.readouterr().out
    assert "| fetch all " in printed
    write("new", "measured", readme)
    assert readme.read_text() == f"before\n{begin}\nnew\n{end}after\n"
    for name in ("measured", growth.MARK, mongodb.MARK, mongodb_growth.MARK, tokyo.MARK):
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


def test_an_iteration_over_mongodb_holds_a_batch():
    few, many = 1_000, 6_000
    held = {
        (one.records, one.order): one.bytes
        for one in mongodb_growth.measure(mongodb_server.uri(), [few, many])
    }
    assert {order for _, order in held} == set(mongodb_growth.ORDERS)
    assert held[many, "key"] < 1.5 * held[few, "key"]
    for order in mongodb_growth.ORDERS:  # some 100 bytes for each key, and not 1,500 for a record
        assert held[many, order] < 1.5 * held[few, order] + 200 * (many - few)


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


def test_tokyo_beside_the_bare_binding():
    timings = tokyo.compare(200, 1)
    assert [one.step.title for one in timings] == [step.title for step in tokyo.steps(200)]
    for one in timings:
        assert list(one.seconds) == [title for _, *pair in tokyo.PAIRS for title in pair[::-1]]
        assert all(one.each(title) > 0 for title in one.seconds)


@pytest.mark.parametrize("side", [tokyo.HandCabinet, tokyo.InTyrant])
def test_a_side_of_tokyo_that_changes_less_is_noticed(monkeypatch, side):
    monkeypatch.setattr(side, "update", lambda self, keys: None)
    with pytest.raises(Disagreement, match="what is left"):
        tokyo.compare(200, 1)
