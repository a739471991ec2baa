"""The questions of the suite: every lookup, with every operand that could fool an engine."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, Final

import msgspec

from pymodels.conditions import Condition
from pymodels.paths import Path
from pymodels.testing import pools
from pymodels.testing.corpus import DECLARED, Sample, Span
from pymodels.values import ARRAYS, SORTABLE, family

COMPARISONS: Final = ("gt", "lte", "lt", "gte")
PARTS: Final = {
    "year": (1, 1969, 2024, 9999, 0),
    "month": (2, 3, 12, 13),
    "day": (1, 29, 31),
    "hour": (0, 23, 20, 24),
    "week_day": (1, 4, 5, 7, 0),
}
TEXT_LOOKUPS: Final = (
    "startswith",
    "endswith",
    "contains",
    "iequals",
    "icontains",
    "istartswith",
    "iendswith",
)
SIZES: Final = (0, 1, 2, 3, -1, 2**70)
BEYOND: Final = (2**63, 2**70, -(2**70))
"""No record holds such an int, but asking for one, or for more than one, makes sense."""


def family_of(value: Any) -> str:
    """Return the family that a value belongs to once it is stored."""
    if isinstance(value, Enum):
        return family(value.value)
    if isinstance(value, msgspec.Struct) or hasattr(value, "__dataclass_fields__"):
        return "mapping"
    return family(value)


def about(path: Path[Any], pool: Sequence[Any]) -> Iterator[Condition]:
    """Yield all sound questions about a place that holds the values of *pool*."""
    families = {family_of(value) for value in pool}
    operands = _operands(pool, families)
    yield path.lookup("exists", True)
    yield path.lookup("exists", False)
    for operand in (*operands, None):
        yield path.lookup("equals", operand)
    yield from _in(path, operands)
    if families & SORTABLE:
        yield from _compared(path, operands)
    if "text" in families:
        yield from _text(path, [one for one in operands if type(one) is str])
    if families & ARRAYS:
        yield from _members(path, pool)
    if families & (ARRAYS | {"mapping"}):
        yield from (path.lookup("size", size) for size in SIZES)
    if families & {"instant", "date"}:
        for name, numbers in PARTS.items():
            if name != "hour" or "instant" in families:
                yield from (path.lookup(name, number) for number in numbers)


def _operands(pool: Sequence[Any], families: set[str]) -> list[Any]:
    operands = list(pool)
    if families == {"number"} and 3 < len(pool) < 20:
        operands = list(pools.NUMBERS)
    if "number" in families:
        operands += BEYOND if len(pool) > 3 else BEYOND[1:2]
    operands += [one.value for one in pool if isinstance(one, Enum)]
    return operands


def _in(path: Path[Any], operands: Sequence[Any]) -> Iterator[Condition]:
    yield path.lookup("in", [])
    yield path.lookup("in", [None])
    yield path.lookup("in", list(operands))
    for start in range(0, len(operands), 3):
        yield path.lookup("in", operands[start : start + 3])
        yield path.lookup("in", (operands[start], None, operands[start]))


def _compared(path: Path[Any], operands: Iterable[Any]) -> Iterator[Condition]:
    sortable = [one for one in operands if family_of(one) in SORTABLE]
    thinned = 2 if len(sortable) > 20 else 1
    for number, name in enumerate(COMPARISONS):
        for operand in (*sortable[number % thinned :: thinned], None):
            yield path.lookup(name, operand)
    shifted = itertools.chain(sortable[3:], sortable[:3])
    for low, high in zip(sortable, shifted, strict=True):
        yield path.lookup("between", (low, high))
    for one in sortable[::5]:
        yield path.lookup("between", [one, one])
    yield path.lookup("between", (sortable[0], None))
    yield path.lookup("between", (None, sortable[-1]))


def _text(path: Path[Any], operands: Sequence[str]) -> Iterator[Condition]:
    is_short = len(operands) < 9
    for name in TEXT_LOOKUPS:
        for operand in operands[-1:] if is_short else operands:
            yield path.lookup(name, operand)
    for some in ([], operands[1:3], ["a", "b"], ["%", "a"])[is_short:]:
        yield path.lookup("contains_all", some)
        yield path.lookup("contains_any", some)
    for pattern in pools.PATTERNS[5:6] if is_short else pools.PATTERNS:
        yield path.lookup("matches", pattern)
        yield path.lookup("imatches", pattern)


def _members(path: Path[Any], pool: Iterable[Any]) -> Iterator[Condition]:
    members: list[Any] = []
    for value in pool:
        if family_of(value) in ARRAYS:
            members += [one for one in value if not any(_alike(one, known) for known in members)]
    for member in members:
        yield path.lookup("contains", member)
    for start in range(0, len(members), 2):
        yield path.lookup("contains_all", members[start : start + 2])
        yield path.lookup("contains_any", members[start : start + 2])
    yield path.lookup("contains_all", [])
    yield path.lookup("contains_any", [])


def _alike(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


# --- where it is asked ----------------------------------------------------------------------


def in_declared_places() -> Iterator[Condition]:
    """Yield questions about every declared field of ``Sample``."""
    for name, pool in DECLARED.items():
        if name in Sample.__schema__.fields and name not in ("anything", "bag", "members"):
            yield from about(getattr(Sample, name), pool)
    for field in ("bag", "members"):
        path = getattr(Sample, field)
        pool = DECLARED[field]
        yield path.lookup("exists", True)
        yield path.lookup("equals", None)
        yield from (path.lookup("equals", value) for value in pool[::5])
        yield path.lookup("in", pool[:20])
        yield from (path.lookup("size", size) for size in SIZES)
    for value in pools.ANYTHING[::3]:
        yield Path("members").lookup("contains", value)
        yield Path("members").lookup("contains", [{"x": value}])


def in_open_places() -> Iterator[Condition]:
    """Yield questions about the place that holds any value."""
    yield from about(Sample.anything, pools.ANYTHING)


def in_undeclared_places() -> Iterator[Condition]:
    """Yield questions about fields that ``Sample`` does not declare."""
    yield from about(Path("hidden"), pools.ANYTHING[::4])
    yield from about(Path("price"), [str(value) for value in pools.DECIMALS])
    yield from about(Path("price"), pools.DECIMALS[1:4])
    yield from about(Path("since"), [str(value) for value in pools.DATES])
    yield from about(Path("stored$as.this"), DECLARED["renamed"])
    yield from about(Path("nobody", "wrote", "this"), pools.ANYTHING[::29])
    yield from about(Path("hidden", "a"), (1, None, True, [1, 2], {"b": 1}, 2))
    yield from about(Path("hidden", "a", "b"), (1, 2, [1, {"c": 2}]))
    yield from about(Path("hidden", "a", "b", "c"), (2, "2"))
    yield from about(Path("hidden", 0), ("a", "b", 1, [], {"a": 1}))
    yield from about(Path("hidden", "$gt"), ("", 0))
    yield from about(Path("hidden", "a.b"), (1, 2.0))
    yield from about(Path("hidden", "a__b"), (1, 2))


def on_paths() -> Iterator[Condition]:
    """Yield questions about what lies inside mappings, lists and structures."""
    ints, texts = (1, 2**53 + 1), ("a", "A")
    bag, members = Sample.bag, Sample.members
    yield from about(bag["x"], pools.ANYTHING[1::31])
    yield from about(bag["a.b"]["y"], pools.ANYTHING[::43])
    yield from about(bag["x"]["a"], (1, None, True, [1, 2], {"b": 1}, 2))
    yield from about(bag["x"]["0"], ("a", "b", 1, [], {"a": 1}))
    yield from about(members["x"], pools.ANYTHING[2::29])
    yield from about(members[0]["x"], pools.ANYTHING[1::43])
    yield from about(members[1]["x"], pools.ANYTHING[::43])
    yield from about(members[2], pools.ANYTHING[3::31])
    yield from about(members[3], pools.ANYTHING[::80])
    yield from about(Sample.numbers[0], ints)
    yield from about(Sample.strings[1], texts)
    yield from about(Sample.days[0], pools.DATES[2:4])
    yield from about(Sample.pair[0], ints)
    yield from about(Sample.pair[1], texts)
    yield from about(Sample.row[1], texts)
    yield from about(Sample.point["x"], ints)
    yield from about(Sample.point["name"], texts)
    yield from about(Sample.points["x"], ints)
    yield from about(Sample.points["name"], texts)
    yield from about(Sample.points[0]["x"], ints)
    yield from about(Sample.points[0], DECLARED["point"])
    for name in ("a", "a.b", "a__b", "$gt", "0"):
        yield from about(Sample.counts[name], (1,))
    yield from about(Sample.loose["a"], ints)
    yield from about(Sample.loose["b"], texts)
    yield from _in_spans()


def _in_spans() -> Iterator[Condition]:
    yield from about(Sample.span["start"], pools.DATES[2:4])
    yield from about(Sample.span["price"], pools.DECIMALS[3:5])
    yield from about(Sample.span["tags"], (["a"], ["a", "b"]))
    yield from about(Sample.spans["a"]["start"], pools.DATES[2:3])
    yield from about(Sample.spans["b.c"]["price"], pools.DECIMALS[3:4])
    yield from about(Sample.spans["a"], (Span(pools.DATES[2]), {"start": pools.DATES[2]}))


def on_text_keys() -> Iterator[Condition]:
    """Yield questions about primary keys that are text."""
    odd = ("", "a", "A", "é", "É", "%", "_", "k", "k0", "k05", "zzz", "\uffff", "😀", "\U0010ffff")
    yield from about(Path("pk"), (*odd, "k010", "nothing", "\ud7ff"))


def on_numbered_keys() -> Iterator[Condition]:
    """Yield questions about primary keys that are numbers."""
    yield from about(Path("pk"), (*pools.INTS, 7, 255))


def on_identified_keys() -> Iterator[Condition]:
    """Yield questions about primary keys that are UUIDs."""
    yield from about(Path("pk"), pools.UUIDS)


def trees(leaves: Sequence[Condition], count: int, seed: int) -> Iterator[Condition]:
    """Yield random conditions, up to three levels of and, or and not over *leaves*."""
    chance = random.Random(seed)  # noqa: S311  # what is wanted is repeatable, not secret

    def grow(depth: int) -> Condition:
        if depth == 0 or chance.random() < 0.2:
            leaf = chance.choice(leaves)
            return ~leaf if chance.random() < 0.3 else leaf
        left, right = grow(depth - 1), grow(depth - 1)
        match chance.randrange(5):
            case 0 | 1:
                return left & right
            case 2 | 3:
                return left | right
        return ~(left & right)

    for _ in range(count):
        yield grow(3)
