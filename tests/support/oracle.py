"""What the design says a pool does, told with plain lists that are searched from end to end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from fastapi_azure_pool.errors import ConnectionFailed, ConnectionsExhausted, PoolClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clients import Client
    from .scripted_connector import Transport

Sizes: TypeAlias = dict[str, Any]
"""The arguments of a pool that are numbers of something."""


@dataclass(eq=False)
class Member:
    """A connection in the model: its clients, and since which step it has had so many."""

    transport: Transport
    since: int
    clients: list[Client] = field(default_factory=list)


@dataclass
class Oracle:
    """A pool in which nothing ages and nothing takes time; each method is something that happens to it."""

    sizes: Sizes
    is_dead: Callable[[Member], bool]
    is_open: bool = False
    is_new: bool = True
    ready: list[Member] = field(default_factory=list)
    draining: list[Member] = field(default_factory=list)
    opening: int = 0
    line: list[Client] = field(default_factory=list)
    refused: dict[Client, type[Exception]] = field(default_factory=dict)
    is_failing: bool = False
    is_pausing: bool = False
    step: int = 0

    @property
    def clients(self) -> list[Client]:
        """Those who hold a place."""
        return [client for member in (*self.ready, *self.draining) for client in member.clients]

    def in_order_of_choice(self) -> list[Member]:
        """The ready connections, the next to be chosen first."""
        return sorted(self.ready, key=lambda member: (len(member.clients), member.since))

    def grows(self) -> bool:
        """Whether every ready connection carries so many clients that one more is wanted."""
        threshold = self.sizes["grow_at"]
        return threshold < self.sizes["client_limit"] and all(len(member.clients) >= threshold for member in self.ready)

    def replenish(self, unplaced: int = 0) -> None:
        """Begin to open what rules 3, 6, 7 and 9 allow; ``unplaced`` callers are neither clients nor in line."""
        if self.is_pausing or not self.is_open:
            return
        present, most = len(self.ready) + self.opening, self.sizes["max_size"]
        limit = max(most, present)  # What a burst has opened stays, and grows no further.
        is_full = all(len(member.clients) == self.sizes["client_limit"] for member in self.ready)
        if self.line and len(self.ready) >= most and is_full:
            limit = self.sizes["burst_limit"]
        demand = len(self.clients) + len(self.line) + unplaced
        aim = max(-(-demand // self.sizes["client_limit"]), self.sizes["min_size"])
        if self.ready and self.grows():
            aim = max(aim, len(self.ready) + 1)
        if self.is_failing:
            aim = max(aim, 1)
        at_once = 1 if self.is_failing else self.sizes["max_concurrent_creates"]
        cap = 2 * self.sizes["burst_limit"] + 1
        room = min(aim, limit) - present, at_once - self.opening, cap - present - len(self.draining)
        self.opening += max(0, min(room))

    def choose(self, client: Client) -> bool:
        """Give the client a place on the best connection that is not dead, if there is one."""
        while self.ready:
            best = self.in_order_of_choice()[0]
            if len(best.clients) == self.sizes["client_limit"]:
                return False
            if not self.is_dead(best):
                self.step += 1
                best.clients.append(client)
                best.since = self.step
                return True
            self.retire(best, unplaced=1)
        return False

    def ask(self, client: Client) -> None:
        """A caller asks for a place."""
        if self.is_new:
            self.open()
        if not self.is_open:
            self.refused[client] = PoolClosed
            return
        placed = self.choose(client)
        if self.grows():
            self.replenish()
        if placed:
            return
        if self.is_pausing and not self.ready and not self.opening:
            self.refused[client] = ConnectionFailed
            return
        self.line.append(client)
        self.replenish()
        if self.sizes["max_waiting"] is not None and len(self.line) > self.sizes["max_waiting"]:
            self.line.remove(client)
            self.refused[client] = ConnectionsExhausted

    def leave(self, client: Client, *, is_fatal: bool) -> None:
        """A client gives its place back."""
        member = next((member for member in (*self.ready, *self.draining) if client in member.clients), None)
        if member is None:
            return  # The pool was closed under it.
        if member in self.ready and (is_fatal or (self.line and self.is_dead(member))):
            self.retire(member)
        member.clients.remove(client)
        if member in self.draining:
            self.close_if_left(member)
        elif self.line:
            member.clients.append(self.line.pop(0))
        else:
            self.step += 1
            member.since = self.step

    def retire(self, member: Member, unplaced: int = 0) -> None:
        """A connection drains."""
        self.ready.remove(member)
        self.draining.append(member)
        self.replenish(unplaced)
        self.close_if_left(member)

    def close_if_left(self, member: Member) -> None:
        """A connection that drains is closed when its last client leaves."""
        if not member.clients:
            self.draining.remove(member)
            self.replenish()

    def succeed(self, transport: Transport) -> None:
        """An attempt works."""
        self.opening -= 1
        self.is_failing = self.is_pausing = False
        self.step += 1
        self.ready.append(Member(transport, self.step))
        while self.line and self.choose(self.line[0]):
            self.line.pop(0)
        self.replenish()

    def fail(self) -> None:
        """An attempt fails."""
        self.opening -= 1
        self.is_failing = self.is_pausing = True
        if not self.ready and not self.opening:
            self.refused |= dict.fromkeys(self.line, ConnectionFailed)
            self.line.clear()

    def open(self) -> None:
        """The pool opens."""
        self.is_new, self.is_open = False, True

    def close(self) -> None:
        """The pool closes under its clients."""
        self.is_new = self.is_open = self.is_failing = self.is_pausing = False
        self.refused |= dict.fromkeys(self.line, PoolClosed)
        self.line.clear()
        self.ready.clear()
        self.draining.clear()
        self.opening = 0
