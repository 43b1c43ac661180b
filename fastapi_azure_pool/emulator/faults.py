"""What Azure does to people, on demand: dropped connections, delays, throttling, outages, refused tokens."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

_IDENTITY = "identity"


class FaultKind(Enum):
    """What a fault does to a request that it strikes."""

    DELAY = "delay"
    DROP_BEFORE = "drop before"
    DROP_AFTER = "drop after"
    FAIL = "fail"
    REJECT_AUTHORIZATION = "reject authorization"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the faults have decided for one request."""

    delay: float = 0.0
    kind: FaultKind | None = None
    status: int = 0
    retry_after: float | None = None


class Fault:
    """One fault in force, as the methods of Faults return it; use it in ``with`` to end it at the block's end.

    Attributes:
        kind: What it does.
        service: The one service that it strikes, or None for every service.
        method: The HTTP method that it strikes, or None for every method.
        path: A shell pattern (``*`` also matches ``/``) of the paths that it strikes, or None for every path.
        times: How often it strikes before it ends by itself, or None for no end.
        strikes: How often it has struck.
    """

    __slots__ = (
        "_faults",
        "delay_seconds",
        "kind",
        "method",
        "path",
        "retry_after",
        "service",
        "status",
        "strikes",
        "times",
    )

    def __init__(
        self,
        faults: Faults,
        kind: FaultKind,
        *,
        service: str | None,
        method: str | None,
        path: str | None,
        times: int | None,
        delay_seconds: float = 0.0,
        status: int = 0,
        retry_after: float | None = None,
    ) -> None:
        self._faults = faults
        self.kind = kind
        self.service = service
        self.method = None if method is None else method.upper()
        self.path = path
        self.times = times
        self.delay_seconds = delay_seconds
        self.status = status
        self.retry_after = retry_after
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
        return self in self._faults.active

    def clear(self) -> None:
        """End it; ending an ended one does nothing."""
        self._faults._discard(self)  # noqa: SLF001 - a fault and its collection are one concept

    def _matches(self, service: str, method: str, path: str) -> bool:
        return (
            (self.service is None or self.service == service)
            and (self.method is None or self.method == method)
            and (self.path is None or fnmatchcase(path, self.path))
        )

    def _strike(self) -> None:
        self.strikes += 1
        if self.times is not None and self.strikes >= self.times:
            self.clear()


class Faults:
    """The faults in force in one emulator; every method that adds one returns it.

    Every such method can be narrowed: ``service`` (``"cosmos"`` or ``"identity"``; default: all), ``method`` (an HTTP
    method; default: all), ``path`` (a shell pattern such as ``"/dbs/shop/colls/orders/docs/*"``, in which ``*`` also
    matches ``/``; default: all) and ``times`` (how many requests it strikes before it ends by itself, at least 1;
    default: until cleared). Delays add up; of the other faults the oldest that matches strikes.

    Args:
        services: The names that ``service`` may take.
        drop: Called with a service's name: resets that service's open connections, returns how many.
    """

    def __init__(self, services: Collection[str], drop: Callable[[str], int]) -> None:
        self._services = tuple(services)
        self._drop = drop
        self._active: list[Fault] = []

    def __repr__(self) -> str:
        return f"<Faults {self._active}>"

    @property
    def active(self) -> tuple[Fault, ...]:
        """The faults that can still strike, oldest first."""
        return tuple(self._active)

    def clear(self) -> None:
        """End every fault."""
        self._active.clear()

    def drop_connections(self, service: str | None = None) -> int:
        """Reset the connections that are open now, busy and idle, and return how many there were.

        New connections are accepted at once: this is a load balancer that forgot its flows, not an outage.
        """
        self._check_service(service)
        names = self._services if service is None else (service,)
        return sum(self._drop(name) for name in names)

    def delay(
        self,
        seconds: float,
        *,
        service: str | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Hold each request back before it is handled.

        Args:
            seconds: How long, in seconds; more than 0.
            service: See the class.
            method: See the class.
            path: See the class.
            times: See the class.
        """
        if not seconds > 0:
            raise ValueError(f"seconds={seconds} must be more than 0")
        return self._add(FaultKind.DELAY, service, method, path, times, delay_seconds=seconds)

    def throttle(
        self,
        *,
        retry_after: float = 0.1,
        service: str | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Answer 429 with the time after which to come back, without handling the request.

        Args:
            retry_after: That time, in seconds, 0 or more (default 0.1); Cosmos DB tells it in ``x-ms-retry-after-ms``, the
                token endpoint in ``Retry-After``, rounded up to whole seconds.
            service: See the class.
            method: See the class.
            path: See the class.
            times: See the class.
        """
        if not retry_after >= 0:
            raise ValueError(f"retry_after={retry_after} must be 0 or more")
        return self._add(FaultKind.FAIL, service, method, path, times, status=429, retry_after=retry_after)

    def fail(
        self,
        status: int = 503,
        *,
        service: str | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Answer an error of the service's own form, without handling the request.

        Args:
            status: The HTTP status, 400 to 599 (default 503).
            service: See the class.
            method: See the class.
            path: See the class.
            times: See the class.
        """
        if not 400 <= status <= 599:
            raise ValueError(f"status={status} must be from 400 to 599")
        return self._add(FaultKind.FAIL, service, method, path, times, status=status)

    def drop(
        self,
        when: Literal["before", "after"] = "before",
        *,
        service: str | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Reset the connection of each request instead of answering it.

        Args:
            when: ``"before"`` the request is handled (default), or ``"after"``: what it asked for is done and stored, and
                the client cannot know.
            service: See the class.
            method: See the class.
            path: See the class.
            times: See the class.
        """
        kinds = {"before": FaultKind.DROP_BEFORE, "after": FaultKind.DROP_AFTER}
        if when not in kinds:
            raise ValueError(f"when={when!r} must be 'before' or 'after'")
        return self._add(kinds[when], service, method, path, times)

    def reject_authorization(
        self,
        *,
        service: str | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Answer 401, as if the key had been rotated or the token revoked; the token endpoint keeps giving tokens."""
        if service == _IDENTITY:
            raise ValueError("the token endpoint checks no authorization: write refuse_tokens()")
        return self._add(FaultKind.REJECT_AUTHORIZATION, service, method, path, times, status=401)

    def refuse_tokens(self, status: int = 400, *, times: int | None = None) -> Fault:
        """Give no token: the token endpoint answers an error.

        Args:
            status: The HTTP status, 400 to 599. 400 (default) is what Azure answers when no identity is assigned, and
                azure-identity fails at once; 429 and 5xx it tries again for seconds.
            times: See the class.
        """
        return self.fail(status, service=_IDENTITY, times=times)

    def deliver(self, service: str, method: str, path: str) -> Delivery | None:
        """Decide what happens to one request and count it; None when nothing does. For the emulator's services."""
        if not self._active:
            return None
        delay = 0.0
        striking: Fault | None = None
        for fault in tuple(self._active):
            if not fault._matches(service, method, path):  # noqa: SLF001 - see Fault.clear
                continue
            if fault.kind is FaultKind.DELAY:
                delay += fault.delay_seconds
            elif striking is not None or (fault.kind is FaultKind.REJECT_AUTHORIZATION and service == _IDENTITY):
                continue
            else:
                striking = fault
            fault._strike()  # noqa: SLF001 - see Fault.clear
        if striking is not None:
            return Delivery(delay, striking.kind, striking.status, striking.retry_after)
        return Delivery(delay) if delay else None

    def _add(
        self,
        kind: FaultKind,
        service: str | None,
        method: str | None,
        path: str | None,
        times: int | None,
        *,
        delay_seconds: float = 0.0,
        status: int = 0,
        retry_after: float | None = None,
    ) -> Fault:
        self._check_service(service)
        if times is not None and times < 1:
            raise ValueError(f"times={times} must be at least 1, or None for no end")
        fault = Fault(
            self,
            kind,
            service=service,
            method=method,
            path=path,
            times=times,
            delay_seconds=delay_seconds,
            status=status,
            retry_after=retry_after,
        )
        self._active.append(fault)
        return fault

    def _check_service(self, service: str | None) -> None:
        if service is not None and service not in self._services:
            raise ValueError(f"service={service!r} is unknown: write one of {', '.join(self._services)}")

    def _discard(self, fault: Fault) -> None:
        if fault in self._active:
            self._active.remove(fault)
