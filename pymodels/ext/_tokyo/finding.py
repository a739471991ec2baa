"""From a plan to the keys of the records that the engine finds for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from pymodels.bykey import KeyRange, Keys, Prefix, UniqueValue, possible_keys
from pymodels.ext._tokyo.batches import entered, entry_key
from pymodels.ext._tokyo.conditions import Search
from pymodels.ext._tokyo.ordering import EngineOrder, Page, gaps_key
from pymodels.ext._tokyo.places import CollectionKeys
from pymodels.ext._tokyo.searching import EVERYTHING, MISFIT, Request, Table
from pymodels.planning import Plan, matcher

if TYPE_CHECKING:
    from pymodels.ext._tokyo.storage import TableStorage

_CHUNK: Final = 256
"""How many records are read at once while an iteration goes on."""


def chunked(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield *keys*, some at a time."""
    rest = iter(keys)
    while chunk := list(itertools.islice(rest, _CHUNK)):
        yield chunk


def is_page(plan: Plan) -> bool:
    """Tell whether a plan wants the first records in an order, of what one search finds."""
    whole = plan.native is None
    one = isinstance(plan.native, Search) and len(plan.native.searches) == 1
    return plan.most is not None and (whole or one)


def relied_on(plan: Plan) -> frozenset[bytes]:
    """Return the columns that must have an index, so that the engine finds what a plan says."""
    found = plan.native.watched if isinstance(plan.native, Search) else frozenset()
    if isinstance(plan.native_order, EngineOrder):
        found |= {plan.native_order.column}
    return found


class Finding:
    """What the engine finds for one plan, in a table that is open."""

    def __init__(self, storage: TableStorage, table: Table, plan: Plan) -> None:
        self._storage = storage
        self._table = table
        self._plan = plan
        self._place = storage.place(plan.schema)
        order = {"ascending keys": False, "descending keys": True}
        self._order = None
        if isinstance(plan.native_order, str):
            self._order = order.get(plan.native_order)

    def keys(self) -> Iterable[bytes] | None:
        """Return the keys that the engine finds, without the first ``plan.skip``.

        None says that it is not trusted with what is there, so that Python has to look at all.
        """
        plan, place, table = self._plan, self._place, self._table
        if isinstance(plan.native_order, EngineOrder):
            return self._page(plan.native_order)
        descending = bool(self._order)
        match plan.native:
            case None:
                return self._searched(EVERYTHING, plan.skip, plan.most)
            case Search():
                return self._search(plan.native)
            case Keys(keys):
                found = sorted(possible_keys(plan.schema, keys), reverse=descending)
                wanted = list(map(place.full, found))
                if plan.skip:
                    there = zip(wanted, table.get_many(wanted), strict=True)
                    wanted = [key for key, columns in there if columns is not None]
                return wanted[plan.skip :]
            case Prefix(text) if not place.foreign:
                prefix = place.prefix + text.encode()
                return table.search(Request(prefix, descending=self._order, skip=plan.skip))
            case KeyRange() | Prefix():
                inside = _range_test(plan.native)
                found = self._searched(EVERYTHING)
                return [key for key in found if inside(place.own(key))][plan.skip :]
            case UniqueValue(index, value):
                return self._by_unique_value(index, value)
        raise AssertionError(f"{plan.native!r} was made by another backend")

    def _searched(self, search: Search, skip: int = 0, most: int | None = None) -> list[bytes]:
        place, order = self._place, self._order
        if not place.foreign:
            return self._table.search(Request(place.prefix, search, order, skip, most))
        found = self._table.search(Request(b"", search, order))
        storage = self._storage
        others = tuple(
            CollectionKeys(name, kind, foreign=False).prefix
            for name, kind in storage.collections().items()
            if name not in storage.adopt
        )
        found = [key for key in found if not key.startswith((b":", *others))]
        if order is not None and place.kind.type is not str:
            found.sort(key=place.own, reverse=order)
        found = found[skip:]
        return found if most is None else found[:most]

    def _misfits(self) -> list[bytes]:
        return self._table.search(Request(self._place.prefix, MISFIT, descending=None))

    def _search(self, search: Search) -> Iterable[bytes]:
        plan = self._plan
        misfits = self._misfits() if search.watched else []
        if not misfits:
            return self._searched(search, plan.skip, plan.most)
        # What the index is not trusted with is decided in Python, or raises there.
        found = dict.fromkeys(self._searched(search))
        wanted = matcher(self._storage.codec, plan.schema, plan.condition)
        place = self._place
        for key, columns in zip(misfits, self._table.get_many(misfits), strict=True):
            found.pop(key, None)
            if columns is not None and wanted(place.own(key), place.stored(columns, plan.schema)):
                found[key] = None
        return sorted(found, reverse=bool(self._order))[plan.skip :]

    def _page(self, order: EngineOrder) -> list[bytes] | None:
        plan, place = self._plan, self._place
        if plan.most is None or self._misfits():
            return None
        search = plan.native if isinstance(plan.native, Search) else EVERYTHING
        gaps = self._table.get(gaps_key(place.collection))
        return Page(self._table, place.prefix, search, order, gaps).keys(plan.skip, plan.most)

    def _by_unique_value(self, index: str, value: Any) -> Iterable[bytes]:
        """Return the key of the only record that can have the value; Python looks if it has."""
        collection = self._place.collection
        known = self._storage.catalog(collection)
        full = entry_key(collection, index, [value])
        if known is None or index not in known.unique or full is None:
            # No model that declares the index has been written yet: look at every record.
            return self._searched(EVERYTHING)
        found = entered(self._table.get(full))
        return [] if found is None else [found]


def _range_test(wanted: KeyRange | Prefix) -> Callable[[Any], bool]:
    if isinstance(wanted, Prefix):
        return lambda key: bool(key.startswith(wanted.text))

    def inside(key: Any) -> bool:
        low, high = wanted.low, wanted.high
        if low is not None and (key < low or (key == low and wanted.low_excluded)):
            return False
        return high is None or key < high or (key == high and wanted.high_included)

    return inside
