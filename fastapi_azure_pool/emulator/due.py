"""Items with a time at which something becomes of them."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

# Entries of items that were taken away stay in the heap, to be skipped; so many of them are not worth the work.
_TOLERATED = 64


class DueTimes(Generic[T]):
    """Gives items in the order of their times; adding and popping cost O(log n), taking one away O(1) on the average."""

    __slots__ = ("_heap", "_numbers", "_valid")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._valid: dict[T, int] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._valid)

    def add(self, when: float, item: T) -> None:
        """Have an item fall due at a time, and at no other that was told before."""
        number = next(self._numbers)
        self._valid[item] = number
        heapq.heappush(self._heap, (when, number, item))

    def discard(self, item: T) -> None:
        """Take an item away, if it is there."""
        if self._valid.pop(item, None) is None or len(self._heap) <= 2 * len(self._valid) + _TOLERATED:
            return
        self._heap = [entry for entry in self._heap if self._valid.get(entry[2]) == entry[1]]
        heapq.heapify(self._heap)

    def pop_due(self, now: float) -> Iterator[T]:
        """Take away and give, earliest first, each item whose time has come."""
        while self._skip_invalid() and self._heap[0][0] <= now:
            _, _, item = heapq.heappop(self._heap)
            del self._valid[item]
            yield item

    @property
    def next_due(self) -> float:
        """The earliest time; infinity when there is none."""
        return self._heap[0][0] if self._skip_invalid() else math.inf

    def _skip_invalid(self) -> bool:
        heap, valid = self._heap, self._valid
        while heap and valid.get(heap[0][2]) != heap[0][1]:
            heapq.heappop(heap)
        return bool(heap)
