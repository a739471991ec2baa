"""Adversarial values: what has fooled some engine, of every kind that a record can hold.

Each pool holds values of one family in which neighbours are easily mistaken for each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

FLAGS: Final = (False, True)

# Around 2**53 floats lose their last bit, and 64 bits end.
INTS: Final = (
    0,
    1,
    -1,
    2,
    10,
    2**53 - 1,
    2**53,
    2**53 + 1,
    -(2**53) - 1,
    2**63 - 1,
    2**63 - 2,
    -(2**63),
)
FLOATS: Final = (
    0.0,
    -0.0,
    1.0,
    0.1,
    0.1 + 0.2,
    0.3,
    1.5,
    -2.5,
    2.0**53,
    2.0**63,
    1e308,
    5e-324,
)
DECIMALS: Final = (
    Decimal(0),
    Decimal(1),
    Decimal("1.00"),
    Decimal("0.1"),
    Decimal("0.3"),
    Decimal("-2.5"),
    Decimal(2**53 + 1),
    Decimal("9" * 34),
    Decimal("0." + "3" * 34),
    Decimal("1E+6111"),
    Decimal("-1E-6176"),
)
NUMBERS: Final = (*INTS, *FLOATS, *DECIMALS)

# Patterns of SQL, globs and regular expressions; text that changes its length when its case does;
# composed and decomposed accents; order by code point where UTF-16 and collations have another.
TEXTS: Final = (
    "",
    "a",
    "A",
    "aa",
    "ab",
    "AB",
    "b",
    "é",
    "É",
    "e\u0301",
    "ß",
    "ẞ",
    "ss",
    "SS",
    "ς",
    "σ",  # noqa: RUF001  # and its form at the end of a word above
    "İ",
    "i",
    "ı",  # noqa: RUF001  # a letter that is no i
    "%",
    "_",
    "a%",
    "a_b",
    "axb",
    ".*",
    "^a",
    "a*",
    "[a]",
    "\\",
    "\\d",
    "a\nb",
    "b\n",
    "2",
    "10",
    " a",
    "a ",
    "'",
    '"',
    "$",
    "a.b",
    "null",
    "true",
    "\ud7ff",
    "\uffff",
    "😀",
)
WITH_NUL: Final = ("\0", "a\0", "a\0b", "\0a")
"""Text for storages that declare the capability ``nul``."""

BYTES: Final = (b"", b"\0", b"a", b"ab", b"A", b"\x7f", b"\x80", b"\xff", b"\xff\xff")
INSTANTS: Final = (
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2024, 2, 29, 23, 59, 59, 999999, UTC),
    datetime(2024, 3, 1, tzinfo=UTC),
    datetime(2024, 3, 1, 0, 0, 0, 1, UTC),
    datetime(2024, 3, 1, 0, 0, 0, 999, UTC),
    datetime(2024, 3, 1, 0, 0, 0, 1000, UTC),
    datetime(2024, 3, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    datetime(2024, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
)
LOCALS: Final = (
    datetime(1, 1, 1),  # noqa: DTZ001  # naive on purpose, like the others here
    datetime(1969, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
    datetime(2024, 2, 29, 23, 59, 59, 999999),  # noqa: DTZ001
    datetime(2024, 3, 1),  # noqa: DTZ001
    datetime(2024, 3, 1, 0, 0, 0, 1),  # noqa: DTZ001
    datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
)
DATES: Final = (
    date(1, 1, 1),
    date(1969, 12, 31),
    date(2024, 2, 29),
    date(2024, 3, 1),
    date(9999, 12, 31),
)
TIMES: Final = (
    time(0),
    time(0, 0, 0, 1),
    time(9, 30),
    time(12, 30),
    time(12, 30, 0, 1),
    time(23, 59, 59, 999999),
)
DURATIONS: Final = (
    timedelta(0),
    timedelta(microseconds=1),
    timedelta(microseconds=-1),
    timedelta(days=1),
    timedelta(days=1, microseconds=1),
    timedelta(days=-400, seconds=3),
    timedelta.max,
    timedelta.min,
)
UUIDS: Final = (
    UUID(int=0),
    UUID(int=1),
    UUID("12345678-1234-5678-1234-567812345678"),
    UUID("fedcba98-7654-3210-fedc-ba9876543210"),
    UUID(int=2**128 - 1),
)
LISTS: Final[tuple[Any, ...]] = (
    [],
    [1],
    [1.0],
    [True],
    [None],
    ["1"],
    ["a"],
    ["a", "b"],
    ["b", "a"],
    ["a", "b", "a"],
    [[]],
    [["a"], ["b"]],
    [{}],
    [{"a": 1}],
    [{"a": 1}, {"b": 2}],
    [{"a": 2}, {"a": None}],
    [1, "a", None, 2**53 + 1, b"a"],
)
TUPLES: Final = ((), (1,), ("a", "b"), ((),), (None, [1], {"a": (1,)}))
SETS: Final[tuple[Any, ...]] = (set(), {1}, {"a", "b"}, {True, "true"}, {(1, 2), None})
MAPPINGS: Final[tuple[Any, ...]] = (
    {},
    {"a": 1},
    {"a": 1.0},
    {"a": True},
    {"a": None},
    {"b": 1, "a": 2},
    {"a": {"b": 1}},
    {"a": {"b": [1, {"c": 2}]}},
    {"a": [1, 2]},
    {"a": [{"b": 1}, {"b": 2}]},
    {"a.b": 1},
    {"a__b": 1},
    {"$gt": ""},
    {"$gt": 0, "a": 1},
    {"": 1},
    {"0": "a", "1": "b"},
    {"%": DECIMALS[3], "when": INSTANTS[4], "ids": {UUIDS[1]}},
)

POOLS: Final[Mapping[str, tuple[Any, ...]]] = {
    "null": (None,),
    "bool": FLAGS,
    "number": NUMBERS,
    "text": TEXTS,
    "bytes": BYTES,
    "instant": INSTANTS,
    "date": DATES,
    "time": TIMES,
    "duration": DURATIONS,
    "uuid": UUIDS,
    "list": LISTS,
    "tuple": TUPLES,
    "set": SETS,
    "mapping": MAPPINGS,
}
"""The values of every family."""

ANYTHING: Final = tuple(value for pool in POOLS.values() for value in pool)
"""What an open place can hold."""

PATTERNS: Final = (
    "",
    "a",
    "^a",
    "b$",
    r"^\s",
    "a.b",
    "(?s)a.b",
    "(?m)^b",
    "A|É",
    "é",
    "ß",
    r"[^\x00-\x7f]",
    r"\\",
    r"^.{2}$",
    "^$",
    r"\d",
    "(?i)AB",
    "(a)(?!b)",
)
"""Regular expressions with Python's meaning: lookahead, flags inside, escapes, newlines."""
