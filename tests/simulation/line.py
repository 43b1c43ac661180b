"""Fairness: who came first is served first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable


class LineWatch:
    """Watches a pool's line from one step to the next."""

    def __init__(self) -> None:
        self._before: tuple[asyncio.Future[Any], ...] = ()

    @property
    def was_empty(self) -> bool:
        """Whether nobody was in line after the step before."""
        return not self._before

    def look(self, line: Iterable[asyncio.Future[Any]]) -> list[Any]:
        """Look at the line after a step: nobody may have been served before who came first, and nobody have changed places.

        Returns:
            The connections that were handed over in this step to those who were in line before it.
        """
        now = tuple(line)
        if now == self._before == ():
            return []
        somebody_waits = False
        for place in self._before:
            if not place.done():
                somebody_waits = True
            elif somebody_waits:
                assert not was_served(place), "somebody is served before who came first"
        if self._before and now:
            stayed, remained = set(now), set(self._before)
            assert [place for place in self._before if place in stayed] == [place for place in now if place in remained]
        served = [place.result() for place in self._before if was_served(place)]
        self._before = now
        return served


def was_served(place: asyncio.Future[Any]) -> bool:
    """Whether a place was given; asked so that asyncio does not take an error for seen."""
    return place.done() and not place.cancelled() and place._exception is None
