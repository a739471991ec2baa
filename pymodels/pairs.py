"""Many pairs of bytes, as two lists side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload


class Pairs(Sequence[tuple[bytes, bytes]]):
    """Pairs of bytes, of which a tuple is made only while somebody looks at it.

    Tens of thousands of tuples that live as long as a batch take longer to be passed over by the
    collector of garbage, again and again, than to be made.

    >>> pairs = Pairs([b"a", b"b"], [b"1", b"2"])
    >>> len(pairs), pairs[-1], list(pairs)
    (2, (b'b', b'2'), [(b'a', b'1'), (b'b', b'2')])
    """

    __slots__ = ("firsts", "seconds")

    def __init__(self, firsts: Sequence[bytes], seconds: Sequence[bytes]) -> None:
        self.firsts = firsts
        self.seconds = seconds

    def __len__(self) -> int:
        return len(self.firsts)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return zip(self.firsts, self.seconds, strict=True)

    @overload
    def __getitem__(self, at: int) -> tuple[bytes, bytes]: ...
    @overload
    def __getitem__(self, at: slice) -> Pairs: ...
    def __getitem__(self, at: int | slice) -> tuple[bytes, bytes] | Pairs:
        if isinstance(at, slice):
            return Pairs(self.firsts[at], self.seconds[at])
        return self.firsts[at], self.seconds[at]
