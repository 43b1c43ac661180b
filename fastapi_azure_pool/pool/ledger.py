"""Which connection next: the ready ones in buckets by client count."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic

from fastapi_azure_pool.pool.connector import ConnT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi_azure_pool.pool.connection import SharedTransportConnection


class Ledger(Generic[ConnT]):
    """The ready connections by client count; gives the one with the fewest, in constant time.

    Args:
        client_limit: Clients per connection at most.
        clock: Monotonic seconds.

    One `OrderedDict` per count, in order of arrival at that count, so that its first is the one longest there. A checkout or a
    checkin moves one connection by one bucket, so the lowest count moves by at most one as well.

    Attributes:
        lowest: The fewest clients that any connection has; ``client_limit`` when there is no connection.
        taken: Places given so far.
        freed: Places freed so far, or gone with a connection that was removed.
        peak: The most places that were in use at once since it was last set.

    Source:
        Frequency lists as in Shah, Mitra and Matani, "An O(1) algorithm for implementing the LFU cache eviction scheme" (2010).
    """

    __slots__ = ("_buckets", "_client_limit", "_clock", "_size", "freed", "lowest", "peak", "taken")

    def __init__(self, client_limit: int, clock: Callable[[], float]) -> None:
        self._client_limit = client_limit
        self._clock = clock
        # By count, as far as counts have occurred.
        self._buckets: list[OrderedDict[SharedTransportConnection[ConnT], None]] = [OrderedDict()]
        self._size = 0
        self.lowest = client_limit
        self.taken = 0
        self.freed = 0
        self.peak = 0

    def __len__(self) -> int:
        return self._size

    @property
    def clients(self) -> int:
        """Places in use on these connections."""
        return self.taken - self.freed

    def __iter__(self) -> Iterator[SharedTransportConnection[ConnT]]:
        """Every connection, in the order of choice."""
        for bucket in self._buckets:
            yield from bucket

    def idle(self) -> Iterator[SharedTransportConnection[ConnT]]:
        """The connections without a client, the longest idle first."""
        return iter(self._buckets[0])

    def take(self) -> SharedTransportConnection[ConnT] | None:
        """Reserve one client place on the ready connection with the fewest clients.

        Ties go to the connection that has been at its count longest; at zero that is the longest idle. O(1), never awaits.

        Returns:
            The connection, its client count already one higher (1 to ``client_limit``), or None when every one is full.
        """
        count = self.lowest
        if count == self._client_limit:
            return None
        buckets = self._buckets
        bucket = buckets[count]
        connection, _ = bucket.popitem(False)
        count += 1
        if not bucket:
            self.lowest = count
        connection.current_client_count = count
        try:
            buckets[count][connection] = None
        except IndexError:
            buckets.append(OrderedDict({connection: None}))
        self.taken = taken = self.taken + 1
        if taken - self.freed > self.peak:
            self.peak = taken - self.freed
        return connection

    def give(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Free one client place of a connection that this ledger holds. O(1), never awaits.

        The clock is read when its last client leaves, for ``max_idle_seconds``, and never to compare.
        """
        count = connection.current_client_count
        buckets = self._buckets
        del buckets[count][connection]
        count -= 1
        connection.current_client_count = count
        buckets[count][connection] = None
        if count < self.lowest:
            self.lowest = count
        self.freed += 1
        if not count:
            connection.idle_since = self._clock()

    def add(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Put a connection that has just become ready, and so has no client, into the choice."""
        self._buckets[0][connection] = None
        self.lowest = 0
        self._size += 1

    def remove(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Take a connection out of the choice, its clients with it. O(number of counts that have occurred)."""
        del self._buckets[connection.current_client_count][connection]
        self._size -= 1
        self.freed += connection.current_client_count
        self.lowest = next((count for count, bucket in enumerate(self._buckets) if bucket), self._client_limit)

    def trim(self) -> None:
        """Give up the memory of counts that no connection reaches any more."""
        while len(self._buckets) > 1 and not self._buckets[-1]:
            self._buckets.pop()
