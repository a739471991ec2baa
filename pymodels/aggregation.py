"""Values of many records at once: columns, distinct values, sums, means, groups.

Sums are exact and do not depend on the order of the records: floats are added as fractions and
rounded once.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Context, Decimal, Overflow
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from pymodels.checks import SCALARS
from pymodels.errors import QueryError
from pymodels.evaluation import has_whole_values, reached, root_of
from pymodels.kinds import Choice, Kind, Structured, array_in
from pymodels.planning import Pair
from pymodels.schema import Place, Schema
from pymodels.values import ABSENT, OrderKey, is_array, order_key

if TYPE_CHECKING:
    from pymodels.storage import Storage

_DIGITS: Final = Context(prec=34, Emin=-6143, Emax=6144)


def rows(
    storage: Storage,
    schema: Schema,
    places: Sequence[Place],
    pairs: Iterable[Pair],
    counted: Place | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Yield, for each record, the values at some places; several through a list are a list.

    Of the place *counted*, the last in each row, it is always a list: of every member.
    """
    codec = storage.codec
    if counted is None and all(map(has_whole_values, places)):
        names, whole = _whole(tuple([place.stored for place in places]))
        probe = codec.probe(schema, names)
        for key, stored in pairs:
            try:
                row = whole(probe(stored))
            except codec.errors as error:
                raise codec.invalid(schema, key, stored, error) from error
            yield _without_absent(row) if ABSENT in row else row
        return
    wanted = (*places, counted) if counted is not None else places
    names = tuple(dict.fromkeys(place.stored for place in wanted if not place.is_key))
    probe = codec.probe(schema, names)
    readers = [_output(place, names) for place in places]
    if counted is not None:
        readers.append(_members(counted, names))
    for key, stored in pairs:
        try:
            record = probe(stored)
        except codec.errors as error:
            raise codec.invalid(schema, key, stored, error) from error
        yield tuple(read(record, key) for read in readers)


@lru_cache(maxsize=1024)
def _whole(stored: tuple[str, ...]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """Return what to probe for the values of whole fields, and a function from that to these."""
    names = tuple(dict.fromkeys(stored))
    get = operator.attrgetter(*[f"f{names.index(name)}" for name in stored])
    return names, get if len(stored) > 1 else lambda record: (get(record),)


def _without_absent(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([None if value is ABSENT else value for value in row])


def _output(place: Place, names: tuple[str, ...]) -> Any:
    """Return a function (probe, key) to what a user sees of a place; None where is nothing."""
    if place.is_key:
        return lambda record, key: key
    finish, read, parts = _finisher(place), _root(place, names), place.inside
    if not parts:
        return lambda record, key: finish(read(record))

    def through(record: Any, key: Any) -> Any:
        several, value = reached(read(record), parts)
        return [finish(one) for one in value] if several else finish(value)

    return through


def _members(place: Place, names: tuple[str, ...]) -> Any:
    """Return a function (probe, key) to a list of all that counts at a place."""
    if place.is_key:
        return lambda record, key: [key]
    finish, read, parts = _finisher(place), _root(place, names), place.inside

    def members(record: Any, key: Any) -> list[Any]:
        several, value = reached(read(record), parts)
        found = value if several else [value]
        return [finish(one) for whole in found for one in _spread(whole, place.kind)]

    return members


def _root(place: Place, names: tuple[str, ...]) -> Any:
    return root_of(place, operator.attrgetter(f"f{names.index(place.stored)}"))


def _spread(value: Any, kind: Kind) -> Iterator[Any]:
    """Yield every member of a declared list, be it in another one; of all else the value itself."""
    array = array_in(kind)
    if array is None or not is_array(value):
        yield value
        return
    for member in value:
        yield from _spread(member, array.item)


def is_single(place: Place) -> bool:
    """Tell whether a record has one value at a place, not members of which each would count."""
    return place.is_key or (not place.inside and array_in(place.kind) is None)


def members(values: list[Any], kind: Kind) -> list[Any]:
    """Return all that counts of some values of a declared kind: of a list each of its members.

    >>> from pymodels import Field, Model
    >>> class Cart(Model):
    ...     prices: Field[list[int]]
    >>> members([[1, 2], [], [3]], Cart.__schema__.fields["prices"].kind)
    [1, 2, 3]
    """
    if array_in(kind) is None:
        return values
    return [member for value in values for member in _spread(value, kind)]


def check_numeric(schema: Schema, place: Place, what: str) -> None:
    """Raise ``QueryError`` if no number can stand at a place: its sum would always be 0."""
    kind = place.kind
    while (array := array_in(kind)) is not None and not kind.is_open:
        kind = array.item
    if not kind.is_open and "number" not in kind.families:
        held = ", ".join(sorted(kind.families))
        raise QueryError(
            f"{schema.name}.{place.path} holds {held}, and {what} is of numbers; "
            "select() reads the values themselves"
        )


def _finisher(place: Place) -> Any:
    kind = place.kind
    if kind.any_inside(Structured) or (place.inside and kind.any_inside(Choice)):
        return lambda value: None if value is None or value is ABSENT else _typed(value, kind)
    return lambda value: None if value is ABSENT else value


def _typed(value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind.annotation, builtin_types=SCALARS)
    except msgspec.ValidationError:
        return value


def distinct(found: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Return the distinct values of a column, in order."""
    keys = _Keys()
    by_key = {keys.of(row[0]): row[0] for row in found}
    return [by_key[key] for key in sorted(by_key)]


class _Keys:
    """Order keys, each made once as long as the same values come again."""

    def __init__(self) -> None:
        self._known: dict[tuple[type, Any], OrderKey] = {}

    def of(self, value: Any) -> OrderKey:
        kind = type(value)
        if kind not in _BY_TYPE:  # those with members may be equal to Python and yet not the same
            return _order_key(value)
        found = self._known.get((kind, value))
        if found is None:
            found = self._known[kind, value] = order_key(value)
        return found


def _order_key(value: Any) -> OrderKey:
    try:
        return order_key(value)
    except TypeError:  # it is, or holds, a dataclass or a Struct
        return order_key(_as_mappings(value))


def _as_mappings(value: Any) -> Any:
    """Return a value with each dataclass and Struct in it as the mapping that it is stored as."""
    kind = type(value)
    if kind is dict:
        return {name: _as_mappings(member) for name, member in value.items()}
    if kind in (list, tuple):
        return kind(map(_as_mappings, value))
    if issubclass(kind, msgspec.Struct):
        names = zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True)
        return {stored: _as_mappings(getattr(value, name)) for stored, name in names}
    if dataclasses.is_dataclass(kind):
        fields = dataclasses.fields(kind)
        return {field.name: _as_mappings(getattr(value, field.name)) for field in fields}
    return value


_BY_TYPE: Final = frozenset({bool, int, float, Decimal, str, bytes, UUID, datetime, date})


_SAME_IN_ORDER: Final = frozenset({bool, int, str, bytes, UUID, date})
"""Types of which two values are equal to Python exactly when their order keys are."""


def grouped(
    columns: Sequence[Sequence[Any]], counted: Sequence[Any]
) -> list[tuple[tuple[Any, ...], list[Any]]]:
    """Group what is *counted* by the values that the columns have at its position.

    The groups come in the order of their values, which are those of the first of each group.

    >>> grouped([["b", "a", "b"]], [1, 2, 3])
    [(('a',), [2]), (('b',), [1, 3])]
    """
    marks = [_marks(column) for column in columns]
    rows = marks[0] if len(marks) == 1 else list(zip(*marks, strict=True))
    groups = defaultdict[Any, list[Any]](list)
    for row, one in zip(rows, counted, strict=True):
        groups[row].append(one)
    if len(columns) == 1 and rows is columns[0]:  # then what is equal looks the same, too
        found = [((row,), some) for row, some in groups.items()]
    else:
        firsts = dict(zip(reversed(rows), range(len(rows) - 1, -1, -1), strict=True))
        found = [
            (tuple([column[firsts[row]] for column in columns]), some)
            for row, some in groups.items()
        ]
    found.sort(key=lambda group: tuple(map(_order_key, group[0])))
    return found


def _marks(column: Sequence[Any]) -> Sequence[Any]:
    """Return for each value what is equal exactly if the values are the same."""
    kinds = set(map(type, column)) - {type(None)}
    if len(kinds) <= 1 and kinds <= _SAME_IN_ORDER:
        return column
    return list(map(_Keys().of, column))


# --- numbers --------------------------------------------------------------------------------


_NUMBERS: Final = frozenset({int, float, Decimal})


def _numbers(values: Iterable[Any]) -> tuple[list[Any], set[type]]:
    """Return the numbers among *values*, and of which types they are."""
    found = list(values)
    kinds = set(map(type, found))
    if not kinds <= _NUMBERS:
        found = [value for value in found if type(value) in _NUMBERS]
        kinds &= _NUMBERS
    return found, kinds


def _exact(numbers: list[Any], kinds: set[type]) -> Fraction:
    """Return the exact sum of some numbers."""
    if kinds <= {int}:
        return Fraction(sum(numbers))
    if kinds == {float}:
        # The sum rounded once, and then, until nothing is left, what rounding took from it.
        found, left = Fraction(), list(numbers)
        try:
            while part := math.fsum(left):
                found += Fraction(part)
                left.append(-part)
            return found
        except OverflowError:  # on the way, perhaps not in the end
            pass
    return sum(map(Fraction, numbers), Fraction())


def _in_kind(exact: Fraction, kinds: set[type]) -> Any:
    """Return an exact number as the widest kind among those it was made of.

    Raises ``QueryError`` where it lies beyond what that kind can hold.
    """
    kind = Decimal if Decimal in kinds else float
    try:
        if kind is Decimal:
            return _DIGITS.divide(Decimal(exact.numerator), Decimal(exact.denominator))
        if float in kinds or exact.denominator != 1:
            return exact.numerator / exact.denominator
    except (OverflowError, Overflow) as error:
        raise QueryError(
            f"the result is greater than any {kind.__name__}: group_by() or where() make it a sum "
            "of fewer records, and select() reads the numbers themselves"
        ) from error
    return int(exact)


def total(values: Iterable[Any]) -> Any:
    """Return the exact sum of the numbers among *values*.

    >>> total([0.1] * 10), total([1, None, 2]), total([Decimal("0.1"), 1])
    (1.0, 3, Decimal('1.1'))
    """
    numbers, kinds = _numbers(values)
    if kinds <= {int}:
        return sum(numbers)
    return _in_kind(_exact(numbers, kinds), kinds)


def mean(values: Iterable[Any]) -> Any:
    """Return the mean of the numbers among *values*, None if there are none.

    >>> mean([1, 2]), mean([]), mean([Decimal(1), Decimal(2)])
    (1.5, None, Decimal('1.5'))
    """
    numbers, kinds = _numbers(values)
    if not numbers:
        return None
    exact = _exact(numbers, kinds) / len(numbers)
    return _in_kind(exact, kinds | {float} if Decimal not in kinds else kinds)


def _present(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def least(values: Iterable[Any]) -> Any:
    """Return the least of *values* in the order between kinds, leaving out None."""
    return min(_present(values), key=_order_key, default=None)


def greatest(values: Iterable[Any]) -> Any:
    """Return the greatest of *values* in the order between kinds, leaving out None."""
    return max(_present(values), key=_order_key, default=None)
