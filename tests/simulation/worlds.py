"""The kinds of worlds there are, by the names that the command line knows them by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .pool_world import PoolWorld
from .sending_world import CrowdWorld, SendingWorld

if TYPE_CHECKING:
    from .world import World

WORLDS: dict[str, type[World]] = {world.name: world for world in (PoolWorld, SendingWorld, CrowdWorld)}
