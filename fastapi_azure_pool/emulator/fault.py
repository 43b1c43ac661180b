"""One fault: what it does, which requests it strikes, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

AMQP = "amqp"
IDENTITY = "identity"

SERVICE_BUSY = "com.microsoft:server-busy"
INTERNAL_ERROR = "amqp:internal-error"


class FaultKind(Enum):
    """What a fault does to a request that it strikes."""

    DELAY = "delay"
    DROP_BEFORE = "drop before"
    DROP_AFTER = "drop after"
    DROP_MIDWAY = "drop midway"
    FAIL = "fail"
    REJECT_AUTHORIZATION = "reject authorization"
    STALL = "stall"
    STALL_AFTER = "stall after"
    SETTLE = "settle"
    REJECT = "reject"
    WITHHOLD_CREDIT = "withhold credit"
    REFUSE_ATTACH = "refuse attach"
    ACCEPT_THEN_DETACH = "accept then detach"


# What is no request of a client, and what ends one thing or another: only a fault that names it strikes it.
_STRUCK_BY_NAME = frozenset({"CLOSE", "CREDIT", "DETACH", "END", "MIDWAY"})

# What AMQP has no way to refuse without taking more along: a refusal that names no method leaves it alone.
_NOT_REFUSED = frozenset({"BEGIN", "DISPOSITION", "OPEN"})

# The kinds that are about one operation of AMQP.
_METHODS = {
    FaultKind.ACCEPT_THEN_DETACH: "ATTACH",
    FaultKind.DROP_MIDWAY: "MIDWAY",
    FaultKind.REFUSE_ATTACH: "ATTACH",
    FaultKind.REJECT: "TRANSFER",
    FaultKind.SETTLE: "TRANSFER",
    FaultKind.WITHHOLD_CREDIT: "CREDIT",
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the faults have decided for one request."""

    delay: float = 0.0
    kind: FaultKind | None = None
    status: int = 0
    retry_after: float | None = None
    condition: str = INTERNAL_ERROR
    description: str = ""
    outcome: str = ""
    credit: int = 0


class FaultOwner(Protocol):
    """The collection that a fault belongs to."""

    @property
    def active(self) -> tuple[Fault, ...]:
        """The faults that can still strike."""

    def discard(self, fault: Fault) -> None:
        """End a fault."""


class Fault:
    """One fault in force, as the methods of Faults return it; use it in ``with`` to end it at the block's end.

    Attributes:
        kind: What it does.
        service: The one service that it strikes, or None for every service.
        method: The HTTP method or AMQP operation that it strikes, or None for every one.
        path: A shell pattern (``*`` also matches ``/``) of the paths that it strikes, or None for every path.
        times: How often it strikes before it ends by itself, or None for no end.
        strikes: How often it has struck.
    """

    __slots__ = ("_owner", "decision", "kind", "method", "path", "service", "strikes", "times")

    def __init__(
        self,
        owner: FaultOwner,
        decision: Delivery,
        kind: FaultKind,
        *,
        service: str | None,
        method: str | None,
        path: str | None,
        times: int | None,
    ) -> None:
        self._owner = owner
        self.decision = decision
        self.kind = kind
        self.service = service
        # a management operation's name has lower case in it, and a colon
        self.method = method.upper() if method is not None and ":" not in method else method
        self.path = path
        self.times = times
        self.strikes = 0

    def __repr__(self) -> str:
        where = " ".join(part for part in (self.service, self.method, self.path) if part is not None)
        times = "" if self.times is None else f" of {self.times}"
        return f"<Fault {self.kind.value} on {where or 'everything'}: struck {self.strikes}{times}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.clear()

    @property
    def is_active(self) -> bool:
        """Whether it can still strike."""
        return self in self._owner.active

    def clear(self) -> None:
        """End it; ending an ended one does nothing."""
        self._owner.discard(self)

    def matches(self, service: str, method: str, path: str) -> bool:
        """Whether it strikes such a request. For Faults."""
        return (
            (self.service is None or self.service == service)
            and (self._strikes_any(service, method) if self.method is None else self.method == method)
            and (self.path is None or fnmatchcase(path, self.path))
        )

    def strike(self) -> None:
        """Count a request that it has struck. For Faults."""
        self.strikes += 1
        if self.times is not None and self.strikes >= self.times:
            self.clear()

    def _strikes_any(self, service: str, method: str) -> bool:
        if self.kind in _METHODS:
            return _METHODS[self.kind] == method
        if service != AMQP:
            return True
        if self.kind is FaultKind.REJECT_AUTHORIZATION:
            return method == "PUT-TOKEN"
        return method not in _STRUCK_BY_NAME and not (self.kind is FaultKind.FAIL and method in _NOT_REFUSED)
