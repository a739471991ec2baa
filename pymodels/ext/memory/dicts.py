"""Tables and indexes in dicts, whose keys are put in order when somebody asks for that."""

from __future__ import annotations

from bisect import bisect_left


class Table:
    """Values by key, and the keys in order as far as somebody has asked for that.

    One thread writes at a time, but any number read, and a reader may put the keys in order while
    they change. So an order counts only for the stamp that it was made under.
    """

    __slots__ = ("ordered", "stamp", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.stamp = 0
        self.ordered: tuple[int, list[bytes]] = (0, [])

    def put(self, key: bytes, value: bytes) -> None:
        if key in self.values:
            self.values[key] = value
            return
        self.values[key] = value
        stamp, order = self.ordered
        if stamp == self.stamp and (not order or order[-1] < key):
            order.append(key)
            self.ordered = (stamp + 1, order)
        self.stamp += 1

    def delete(self, key: bytes) -> None:
        if self.values.pop(key, None) is not None:
            self.stamp += 1

    def keys(self) -> list[bytes]:
        """Return the keys in order; the list may grow at its end, and is not to be changed."""
        stamp, order = self.ordered
        current = self.stamp
        if stamp != current:
            order = sorted(self.values)
            self.ordered = (current, order)
        return order


class Index:
    """Keys by entry, and the entries in order as far as somebody has asked for that.

    As in a table, an order counts only for the stamp that it was made under.
    """

    __slots__ = ("keys", "ordered", "size", "stamp")

    def __init__(self) -> None:
        self.keys: dict[bytes, list[bytes]] = {}
        self.stamp = 0
        self.ordered: tuple[int, list[bytes]] = (0, [])
        self.size = 0

    def add(self, entry: bytes, key: bytes) -> None:
        found = self.keys.get(entry)
        if found is None:
            self.keys[entry] = [key]
            stamp, order = self.ordered
            if stamp == self.stamp and (not order or order[-1] < entry):
                order.append(entry)
                self.ordered = (stamp + 1, order)
            self.stamp += 1
        elif found[-1] < key:
            found.append(key)
        else:
            at = bisect_left(found, key)
            if found[at] == key:
                return
            found.insert(at, key)
        self.size += 1

    def remove(self, entry: bytes, key: bytes) -> None:
        found = self.keys.get(entry)
        at = 0 if found is None else bisect_left(found, key)
        if found is None or at == len(found) or found[at] != key:
            return
        self.size -= 1
        if len(found) > 1:
            del found[at]
        else:
            del self.keys[entry]
            self.stamp += 1

    def between(self, low: bytes | None, high: bytes | None) -> list[bytes]:
        """Return the entries from *low* (included) to *high*, in order."""
        stamp, order = self.ordered
        current = self.stamp
        if stamp != current:
            order = sorted(self.keys)
            self.ordered = (current, order)
        start = 0 if low is None else bisect_left(order, low)
        stop = len(order) if high is None else bisect_left(order, high)
        return order[start:stop]
