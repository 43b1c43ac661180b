"""What Azure's messaging services do to people: lost links, withheld credit, outcomes that are no success, silence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, Protocol

from fastapi_azure_pool.emulator.fault import AMQP, Delivery, Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Callable

FORCED_DETACH = "amqp:link:detach-forced"
FORCED_CLOSE = "amqp:connection:forced"

_DETACHED = (
    "The link '{name}' is force detached. Code: RenewToken/consumer. Details: Idle link tracker: link is detached after it "
    "was idle for too long."
)


class AmqpControl(Protocol):
    """What the AMQP server does at once when a fault asks for it."""

    def detach_links(self, path: str | None, condition: str, description: str) -> int:
        """Detach links, and return how many there were."""

    def close_connections(self, condition: str, description: str) -> int:
        """Close connections, and return how many there were."""

    def send_flow(self, path: str | None) -> int:
        """Send a flow on links, and return how many there were."""

    def replenish(self) -> None:
        """Grant the credit that was withheld."""


class AmqpFaults(ABC):
    """The faults that only Event Hubs and Service Bus have.

    Their ``method`` is an operation: OPEN, BEGIN, ATTACH, TRANSFER, DISPOSITION, DETACH, END, CLOSE, PUT-TOKEN, READ or
    a management operation such as ``com.microsoft:schedule-message``; without one a fault strikes whatever it can, but
    DETACH, END and CLOSE only by name. Their ``path`` is a link's address: ``"orders"``, ``"hub/Partitions/1"``,
    ``"topic/Subscriptions/audit"``; for requests the entity that they are about, and ``""`` for OPEN, BEGIN, END and CLOSE.
    """

    def __init__(self) -> None:
        self._amqp: Callable[[], AmqpControl] | None = None

    def connect_amqp(self, control: Callable[[], AmqpControl]) -> None:
        """Tell it what acts at once, when there is something."""
        self._amqp = control

    def drop_midway(self, *, path: str | None = None, times: int | None = None) -> Fault:
        """Reset the connection in the midst of a message that takes several frames: nothing of it is stored.

        Args:
            path: A shell pattern of addresses; default: all.
            times: How often; default: until cleared.
        """
        return self._add(FaultKind.DROP_MIDWAY, AMQP, None, path, times)

    def stall(
        self,
        when: Literal["before", "after"] = "before",
        *,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Take requests and answer nothing, without closing; what was stalled stays so when the fault is cleared.

        Args:
            when: ``"before"`` a message is stored (default): it never is; or ``"after"``.
            method: An operation; default: all.
            path: See the class.
            times: How often; default: until cleared.
        """
        kinds = {"before": FaultKind.STALL, "after": FaultKind.STALL_AFTER}
        if when not in kinds:
            raise ValueError(f"when={when!r} must be 'before' or 'after'")
        return self._add(kinds[when], AMQP, method, path, times)

    def settle(
        self, outcome: Literal["released", "modified"], *, path: str | None = None, times: int | None = None
    ) -> Fault:
        """Answer messages with an outcome that is neither success nor failure; they are not stored.

        Args:
            outcome: Which.
            path: See the class.
            times: How often; default: until cleared.
        """
        if outcome not in {"released", "modified"}:
            raise ValueError(f"outcome={outcome!r} must be 'released' or 'modified'; for 'rejected' write reject()")
        return self._add(FaultKind.SETTLE, AMQP, None, path, times, Delivery(outcome=outcome))

    def reject(
        self,
        condition: str,
        description: str = "The message was rejected.",
        *,
        path: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Reject messages with an error; they are not stored.

        Args:
            condition: Such as ``amqp:not-allowed`` or ``amqp:link:message-size-exceeded``.
            description: What it says.
            path: See the class.
            times: How often; default: until cleared.
        """
        decision = Delivery(condition=condition, description=description)
        return self._add(FaultKind.REJECT, AMQP, None, path, times, decision)

    def withhold_credit(self, *, credit: int = 0, path: str | None = None) -> Fault:
        """Give links on which clients send little credit when they attach, and no link any more, until cleared.

        A client that sends more than it has credit for loses the link: ``amqp:link:transfer-limit-exceeded``.

        Args:
            credit: How many messages a link may send, 0 (default) or more.
            path: See the class.
        """
        if credit < 0:
            raise ValueError(f"credit={credit} must be 0 or more")
        return self._add(FaultKind.WITHHOLD_CREDIT, AMQP, None, path, None, Delivery(credit=credit))

    def refuse_attach(
        self,
        condition: str = "amqp:not-found",
        description: str = "The messaging entity could not be found.",
        *,
        path: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Answer an attach with one that leads nowhere, and a detach with an error, as Azure does for a missing entity.

        Args:
            condition: The error.
            description: What it says.
            path: See the class.
            times: How often; default: until cleared.
        """
        decision = Delivery(condition=condition, description=description)
        return self._add(FaultKind.REFUSE_ATTACH, AMQP, None, path, times, decision)

    def accept_then_detach(
        self,
        condition: str = FORCED_DETACH,
        description: str = "The link was detached.",
        *,
        path: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Answer an attach as usual, and detach the link at once with an error.

        Args:
            condition: The error.
            description: What it says.
            path: See the class.
            times: How often; default: until cleared.
        """
        decision = Delivery(condition=condition, description=description)
        return self._add(FaultKind.ACCEPT_THEN_DETACH, AMQP, None, path, times, decision)

    def detach_links(self, path: str | None = None, condition: str = FORCED_DETACH) -> int:
        """Detach the links that are open now, as Azure detaches idle ones, and return how many there were.

        Args:
            path: A shell pattern of addresses; default: all but those of ``$cbs`` and ``$management``.
            condition: The error.
        """
        return self._control().detach_links(path, condition, _DETACHED)

    def close_connections(self, condition: str = FORCED_CLOSE) -> int:
        """Close the connections that are open now, as Azure closes idle ones, and return how many there were.

        Args:
            condition: The error.
        """
        message = "The connection was inactive for more than the allowed 240000 milliseconds and is closed."
        return self._control().close_connections(condition, message)

    def send_flow(self, path: str | None = None) -> int:
        """Send a flow on the links that are open now, as Azure does at any moment, and return how many there were.

        Args:
            path: A shell pattern of addresses; default: all.
        """
        return self._control().send_flow(path)

    @abstractmethod
    def _add(
        self,
        kind: FaultKind,
        service: str | None,
        method: str | None,
        path: str | None,
        times: int | None,
        decision: Delivery | None = None,
    ) -> Fault: ...

    def _control(self) -> AmqpControl:
        if self._amqp is None:
            raise RuntimeError("there is no AMQP service that could do this")
        return self._amqp()
