"""What becomes of open connections in a forked process: they are the parent's, and the child begins anew."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """What a forked process gets a copy of, and must not use."""

    def leave_to_parent(self) -> object:
        """Become as if it had never been opened; called in the child, before anything else runs there.

        A fork copies sockets and the belief that the parent's event loop runs in this thread. Who uses the copy of a connection
        writes into the parent's conversation, and who closes it says the parent's farewell. So this lets go of everything, and
        neither calls nor awaits anything of it.

        Returns:
            What it let go of. It is kept for as long as the child lives: collecting it would close it.
        """


_inherited: WeakSet[Inherited] = WeakSet()
_left: list[object] = []


def leave_to_parent_when_forked(what: Inherited) -> None:
    """Have this left to the parent in every process that is forked from now on."""
    _inherited.add(what)


def _begin_child() -> None:
    _left.extend(what.leave_to_parent() for what in tuple(_inherited))


if hasattr(os, "register_at_fork"):  # pragma: no branch - always there but on Windows, which does not fork
    os.register_at_fork(after_in_child=_begin_child)
