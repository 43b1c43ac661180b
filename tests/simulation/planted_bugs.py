"""Bugs that somebody could make: each is a change of one place, and the simulation must find it within so many seeds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlantedBug:
    """A bug, and how soon it is found.

    Attributes:
        name: What is wrong.
        world: The kind of world that finds it.
        module: The file, below the package.
        before: The text that is right; it occurs there once.
        after: The text that is wrong.
        seeds: Seeds within which it is found; most need fewer than 20.
    """

    name: str
    world: str
    module: str
    before: str
    after: str
    seeds: int = 300

    def changed(self, text: str) -> str:
        """Give the module's text with the bug in it.

        Raises:
            LookupError: The right text is not there, or not only once.
        """
        if (count := text.count(self.before)) != 1:
            raise LookupError(
                f"the planted bug {self.name!r} must be renewed: the text that it changes occurs {count} times in {self.module}"
            )
        return text.replace(self.before, self.after)


def planted_bugs() -> tuple[PlantedBug, ...]:
    """Give all of them."""
    from . import planted_in_sending, planted_in_the_pool

    return planted_in_the_pool.BUGS + planted_in_sending.BUGS
