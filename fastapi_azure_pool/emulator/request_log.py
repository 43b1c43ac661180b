"""What a service was asked, for tests to look at."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

# A benchmark that reads a million items must not fill the memory; past this many paths they are counted under "*".
_MAX_DISTINCT = 10_000


class RequestLog:
    """Counts of the requests that one service has seen, by method and path."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self.total = 0
        self._counts: Counter[tuple[str, str]] = Counter()

    def __repr__(self) -> str:
        return f"<RequestLog {self.total} requests>"

    def __len__(self) -> int:
        return self.total

    def count(self, method: str | None = None, path: str | None = None) -> int:
        """Return how many requests had this method and a path that matches this shell pattern (``*`` matches ``/`` too).

        Paths are counted one by one up to 10,000 different ones; requests to others after that are in ``total`` and in a
        count without a path.
        """
        return sum(
            count
            for (seen_method, seen_path), count in self._counts.items()
            if (method is None or seen_method == method) and (path is None or fnmatchcase(seen_path, path))
        )

    def clear(self) -> None:
        """Forget everything seen so far."""
        self.total = 0
        self._counts.clear()

    def add(self, method: str, path: str) -> None:
        """Count one request. For the emulator's services."""
        self.total += 1
        key = (method, path)
        if len(self._counts) >= _MAX_DISTINCT and key not in self._counts:
            key = (method, "*")
        self._counts[key] += 1
