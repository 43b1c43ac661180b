"""What Azure does to people, on demand: dropped connections, delays, throttling, outages, refused tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from fastapi_azure_pool.emulator.amqp_faults import AmqpFaults
from fastapi_azure_pool.emulator.fault import AMQP, IDENTITY, INTERNAL_ERROR, SERVICE_BUSY, Delivery, Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["Delivery", "Fault", "FaultKind", "Faults"]

_BUSY = (
    "The request was terminated because the entity is being throttled. Error code : 50009. Please wait {seconds:g} seconds "
    "and try again."
)
_FAILED = "The service was unable to process the request; please retry the operation."


class Faults(AmqpFaults):
    """The faults in force in one emulator; every method that adds one returns it.

    Every such method can be narrowed: ``service`` (``"cosmos"``, ``"blob"``, ``"eventgrid"``, ``"identity"``, or ``"amqp"`` for
    Event Hubs and Service Bus; default: all), ``method`` (an HTTP method, or an AMQP operation as AmqpFaults lists them;
    default: all), ``path`` (a shell pattern such as ``"/dbs/shop/colls/orders/docs/*"``, or for AMQP the address of an entity
    such as ``"orders"``, in which ``*`` also matches ``/``; default: all) and ``times`` (how many requests it strikes before it
    ends by itself, at least 1; default: until cleared). Delays add up; of the other faults the oldest that matches strikes.

    Args:
        services: The names that ``service`` may take.
        drop: Called with a service's name: resets that service's open connections, returns how many.
    """

    def __init__(self, services: Collection[str], drop: Callable[[str], int]) -> None:
        super().__init__()
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
        for fault in self.active:
            self.discard(fault)

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
        return self._add(FaultKind.DELAY, service, method, path, times, Delivery(delay=seconds))

    def throttle(
        self,
        *,
        retry_after: float = 0.1,
        service: str | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Answer that the service is busy, without handling the request: 429 with the time after which to come back.

        Event Hubs and Service Bus reject messages with ``com.microsoft:server-busy``, and answer requests with 503, as Blob
        Storage does.

        Args:
            retry_after: That time, in seconds, 0 or more (default 0.1); Cosmos DB tells it in ``x-ms-retry-after-ms``, the
                token endpoint, Blob Storage and Event Grid in ``Retry-After``, rounded up to whole seconds.
            service: See the class.
            method: See the class.
            path: See the class.
            times: See the class.
        """
        if not retry_after >= 0:
            raise ValueError(f"retry_after={retry_after} must be 0 or more")
        decision = Delivery(
            status=429,
            retry_after=retry_after,
            condition=SERVICE_BUSY,
            description=_BUSY.format(seconds=max(retry_after, 2)),
        )
        return self._add(FaultKind.FAIL, service, method, path, times, decision)

    def fail(
        self,
        status: int = 503,
        *,
        service: str | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Answer an error of the service's own form, without handling the request; over AMQP ``amqp:internal-error``.

        Args:
            status: The HTTP status, 400 to 599 (default 503).
            service: See the class.
            method: See the class.
            path: See the class.
            times: See the class.
        """
        if not 400 <= status <= 599:
            raise ValueError(f"status={status} must be from 400 to 599")
        decision = Delivery(status=status, condition=INTERNAL_ERROR, description=_FAILED)
        return self._add(FaultKind.FAIL, service, method, path, times, decision)

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
        """Answer 401, as if the key had been rotated or the token revoked; the token endpoint keeps giving tokens.

        Event Hubs and Service Bus answer so at ``$cbs``; the path is the entity that the token is for.
        """
        if service == IDENTITY:
            raise ValueError("the token endpoint checks no authorization: write refuse_tokens()")
        decision = Delivery(
            status=401,
            condition="amqp:unauthorized-access",
            description="InvalidSignature: The token has an invalid signature.",
        )
        return self._add(FaultKind.REJECT_AUTHORIZATION, service, method, path, times, decision)

    def refuse_tokens(self, status: int = 400, *, times: int | None = None) -> Fault:
        """Give no token: the token endpoint answers an error.

        Args:
            status: The HTTP status, 400 to 599. 400 (default) is what Azure answers when no identity is assigned, and
                azure-identity fails at once; 429 and 5xx it tries again for seconds.
            times: See the class.
        """
        return self.fail(status, service=IDENTITY, times=times)

    def deliver(self, service: str, method: str, path: str) -> Delivery | None:
        """Decide what happens to one request and count it; None when nothing does. For the emulator's services."""
        if not self._active:
            return None
        delay = 0.0
        striking: Fault | None = None
        for fault in tuple(self._active):
            if not fault.matches(service, method, path):
                continue
            if fault.kind is FaultKind.DELAY:
                delay += fault.decision.delay
            elif striking is not None or (fault.kind is FaultKind.REJECT_AUTHORIZATION and service == IDENTITY):
                continue
            else:
                striking = fault
            fault.strike()
        if striking is not None:
            return replace(striking.decision, delay=delay)
        return Delivery(delay) if delay else None

    def withheld_credit(self, address: str, *, is_new: bool) -> int | None:
        """Return how much credit a link gets, None for as usual; a new link counts. For the AMQP service."""
        for fault in tuple(self._active):
            if fault.kind is FaultKind.WITHHOLD_CREDIT and fault.matches(AMQP, "CREDIT", address):
                if is_new:
                    fault.strike()
                return fault.decision.credit
        return None

    def discard(self, fault: Fault) -> None:
        """End one fault; ending an ended one does nothing."""
        if fault in self._active:
            self._active.remove(fault)
            if fault.kind is FaultKind.WITHHOLD_CREDIT and self._amqp is not None:
                self._amqp().replenish()

    def _add(
        self,
        kind: FaultKind,
        service: str | None,
        method: str | None,
        path: str | None,
        times: int | None,
        decision: Delivery | None = None,
    ) -> Fault:
        self._check_service(service)
        if times is not None and times < 1:
            raise ValueError(f"times={times} must be at least 1, or None for no end")
        decision = replace(decision or Delivery(), kind=None if kind is FaultKind.DELAY else kind)
        fault = Fault(self, decision, kind, service=service, method=method, path=path, times=times)
        self._active.append(fault)
        return fault

    def _check_service(self, service: str | None) -> None:
        if service is not None and service not in self._services:
            raise ValueError(f"service={service!r} is unknown: write one of {', '.join(self._services)}")
