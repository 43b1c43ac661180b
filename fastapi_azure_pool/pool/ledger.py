"""Which connection next: the ready ones in buckets by client count."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic

from .connector import ConnT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .connection import SharedTransportConnection


class Ledger(Generic[ConnT]):
    """The ready connections by client count; gives the one with the fewest, in constant time.

    One `OrderedDict` per count that occurs, in order of arrival at that count, so that its first is the one longest there. A
    checkout or a checkin moves one connection by one bucket, so the lowest count moves by at most one as well.

    Attributes:
        lowest: The fewest clients that any connection has; ``client_limit`` when there is no connection.

    Source:
        Frequency lists as in Shah, Mitra and Matani, "An O(1) algorithm for implementing the LFU cache eviction scheme" (2010).
    """

    __slots__ = ("_buckets", "_client_limit", "_size", "_spare", "lowest")

    def __init__(self, client_limit: int) -> None:
        self._client_limit = client_limit
        self._buckets: dict[int, OrderedDict[SharedTransportConnection[ConnT], None]] = {}
        # The bucket emptied last waits here for the next count that occurs: no allocation per checkout, no memory per count.
        self._spare: OrderedDict[SharedTransportConnection[ConnT], None] | None = None
        self._size = 0
        self.lowest = client_limit

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[SharedTransportConnection[ConnT]]:
        """Every connection, in the order of choice."""
        for count in sorted(self._buckets):
            yield from self._buckets[count]

    def idle(self) -> Iterator[SharedTransportConnection[ConnT]]:
        """The connections without a client, the longest idle first."""
        yield from self._buckets.get(0, ())

    def take(self) -> SharedTransportConnection[ConnT] | None:
        """Reserve one client place on the ready connection with the fewest clients.

        Ties go to the connection that has been at its count longest; at zero that is the longest idle. O(1), never awaits.

        Returns:
            The connection, its client count already one higher (1 to ``client_limit``), or None when every one is full.
        """
        lowest = self.lowest
        if lowest == self._client_limit:
            return None
        bucket = self._buckets[lowest]
        connection, _ = bucket.popitem(last=False)
        if not bucket:
            self._discard(lowest, bucket)
            self.lowest = lowest + 1
        connection.current_client_count = lowest + 1
        self._put(connection, lowest + 1)
        return connection

    def give(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Free one client place of a connection that this ledger holds. O(1), never awaits."""
        count = connection.current_client_count
        bucket = self._buckets[count]
        del bucket[connection]
        if not bucket:
            self._discard(count, bucket)
        count -= 1
        connection.current_client_count = count
        self._put(connection, count)
        if count < self.lowest:
            self.lowest = count

    def add(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Put a connection that has just become ready, and so has no client, into the choice."""
        self._put(connection, 0)
        self.lowest = 0
        self._size += 1

    def remove(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Take a connection out of the choice; its client count stays. O(number of counts that occur)."""
        count = connection.current_client_count
        bucket = self._buckets[count]
        del bucket[connection]
        self._size -= 1
        if not bucket:
            self._discard(count, bucket)
            self.lowest = min(self._buckets, default=self._client_limit)

    def _put(self, connection: SharedTransportConnection[ConnT], count: int) -> None:
        bucket = self._buckets.get(count)
        if bucket is None:
            bucket = self._spare
            if bucket is None:
                bucket = OrderedDict()
            else:
                self._spare = None
            self._buckets[count] = bucket
        bucket[connection] = None

    def _discard(self, count: int, bucket: OrderedDict[SharedTransportConnection[ConnT], None]) -> None:
        del self._buckets[count]
        self._spare = bucket
