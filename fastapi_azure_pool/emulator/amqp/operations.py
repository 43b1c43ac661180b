"""Where every request of a client passes by the log and the faults before it is done."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.node import ACCEPTED, Outcome, rejected
from fastapi_azure_pool.emulator.amqp.performatives import Modified, Released
from fastapi_azure_pool.emulator.amqp.requests import Request, RequestNode
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError
from fastapi_azure_pool.emulator.fault import SERVICE_BUSY, FaultKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.emulator.amqp.connection import AmqpConnection
    from fastapi_azure_pool.emulator.amqp.link import IncomingDelivery, IncomingLink, Link, OutgoingDelivery
    from fastapi_azure_pool.emulator.amqp.performatives import Detach
    from fastapi_azure_pool.emulator.fault import Delivery

SERVICE = "amqp"

_SETTLED: dict[str, Outcome] = {"released": Released(), "modified": Modified(delivery_failed=True)}


# uvloop's clock has milliseconds.
_TIMER_PRECISION_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class _Delayed:
    due: float
    delivery: IncomingDelivery
    request: Request | None
    decision: Delivery | None


class Operations:
    """The operations of one connection.

    Each method counts the operation, asks the faults, and then does it, later, in another way, or not at all.
    """

    def __init__(self, connection: AmqpConnection) -> None:
        self._connection = connection
        self._faults = connection.server.faults
        self._log = connection.server.requests
        # what a delay holds back, by link: those behind it wait too
        self._delayed: dict[IncomingLink, deque[_Delayed]] = {}

    def open(self, proceed: Callable[[], None]) -> None:
        """Open the connection."""
        connection = self._connection
        self._run_holding("OPEN", proceed, connection.close, connection.stall)

    def begin(self, proceed: Callable[[], None], fail: Callable[[str, str], None]) -> None:
        """Begin a session."""
        self._run_holding("BEGIN", proceed, fail, lambda: None)

    def attach(self, link: Link) -> None:
        """Attach a link."""
        self._log.add("ATTACH", link.address)
        decision = self._faults.deliver(SERVICE, "ATTACH", link.address)
        proceed: Callable[[], None] = partial(link.session.open_link, link)
        if decision is not None and decision.kind is FaultKind.ACCEPT_THEN_DETACH:
            proceed = partial(_open_then_detach, link, decision)
        self._decide(decision, proceed, link.refuse)

    def detach(self, link: Link, detach: Detach) -> None:
        """Detach a link."""
        self._run("DETACH", link.address, partial(link.session.answer_detach, link, detach), link.detach)

    def end(self, proceed: Callable[[], None]) -> None:
        """End a session."""
        self._run("END", "", proceed, self._connection.close)

    def close(self, proceed: Callable[[], None]) -> None:
        """Close the connection."""
        self._run("CLOSE", "", proceed, self._connection.close)

    def disposition(self, delivery: OutgoingDelivery, outcome: Outcome, *, is_settled: bool) -> None:
        """Settle a message that the client has received."""
        link = delivery.link
        self._run(
            "DISPOSITION",
            link.address,
            partial(link.settle, delivery, outcome, is_settled=is_settled),
            link.detach,
        )

    def transfer(self, link: IncomingLink, delivery: IncomingDelivery) -> None:
        """Take a message, or a request."""
        request = None
        node = link.node
        method, path = "TRANSFER", link.address
        if isinstance(node, RequestNode):
            try:
                request = node.read(link, delivery)
            except AmqpDecodeError as error:
                link.settle(delivery, rejected("amqp:decode-error", str(error)))
                return
            method, path = node.operation_name(request), node.fault_path(request)
        self._log.add(method, path)
        decision = self._faults.deliver(SERVICE, method, path)
        if decision is None and link not in self._delayed:
            self._transfer(link, delivery, request, None)
            return
        due = self._connection.time() + (decision.delay if decision is not None else 0.0)
        waiting = self._delayed.get(link)
        if waiting:
            # a message never overtakes one before it on its link
            waiting.append(_Delayed(max(due, waiting[-1].due), delivery, request, decision))
        elif decision is not None and decision.delay:
            self._delayed[link] = deque([_Delayed(due, delivery, request, decision)])
            self._connection.later(decision.delay, partial(self._transfer_delayed, link))
        else:
            self._transfer(link, delivery, request, decision)

    def _transfer_delayed(self, link: IncomingLink) -> None:
        waiting = self._delayed[link]
        now = self._connection.time()
        # the timer may be a little early
        while waiting and waiting[0].due <= now + _TIMER_PRECISION_SECONDS:
            delayed = waiting.popleft()
            # a message on a link that is gone by now never came
            if link.is_open:
                self._transfer(link, delayed.delivery, delayed.request, delayed.decision)
        if waiting:
            self._connection.later(waiting[0].due - now, partial(self._transfer_delayed, link))
        else:
            del self._delayed[link]

    def _transfer(
        self, link: IncomingLink, delivery: IncomingDelivery, request: Request | None, decision: Delivery | None
    ) -> None:
        kind = decision.kind if decision is not None else None
        if decision is None or kind is None:
            self._hand_over(link, delivery, request)
        elif kind is FaultKind.DROP_BEFORE:
            self._connection.reset()
        elif kind is FaultKind.DROP_AFTER:
            self._hand_over(link, delivery, request)
            self._connection.reset()
        elif kind is FaultKind.STALL:
            link.forget(delivery)
        elif kind is FaultKind.STALL_AFTER:
            link.forget(delivery)
            if request is None:
                self._hand_over(link, delivery, None)
            else:
                request.node.answer(request)
        elif kind is FaultKind.SETTLE:
            link.settle(delivery, _SETTLED[decision.outcome])
        elif request is None or kind is FaultKind.REJECT:
            link.settle(delivery, rejected(decision.condition, decision.description))
        else:
            link.settle(delivery, ACCEPTED)
            status = 503 if decision.condition == SERVICE_BUSY else decision.status
            request.answer(request.node.refuse(request, status, decision.condition, decision.description))

    @staticmethod
    def _hand_over(link: IncomingLink, delivery: IncomingDelivery, request: Request | None) -> None:
        if request is None:
            link.hand_over(delivery)
        else:
            link.settle(delivery, ACCEPTED)
            request.node.serve(request)

    def _run_holding(
        self, method: str, proceed: Callable[[], None], fail: Callable[[str, str], None], stall: Callable[[], None]
    ) -> None:
        """Run what all later frames build upon: while it is delayed they wait."""
        self._log.add(method, "")
        decision = self._faults.deliver(SERVICE, method, "")
        if decision is not None and decision.kind in {FaultKind.STALL, FaultKind.STALL_AFTER}:
            stall()
        elif decision is not None and decision.delay:
            self._connection.hold()
            self._connection.later(decision.delay, partial(self._release, decision, proceed, fail))
        else:
            self._act(decision, proceed, fail)

    def _release(self, decision: Delivery, proceed: Callable[[], None], fail: Callable[[str, str], None]) -> None:
        self._act(decision, proceed, fail)
        self._connection.release()

    def _run(self, method: str, path: str, proceed: Callable[[], None], fail: Callable[[str, str], None]) -> None:
        self._log.add(method, path)
        self._decide(self._faults.deliver(SERVICE, method, path), proceed, fail)

    def _decide(self, decision: Delivery | None, proceed: Callable[[], None], fail: Callable[[str, str], None]) -> None:
        if decision is not None and decision.delay:
            self._connection.later(decision.delay, partial(self._act, decision, proceed, fail))
        else:
            self._act(decision, proceed, fail)

    def _act(self, decision: Delivery | None, proceed: Callable[[], None], fail: Callable[[str, str], None]) -> None:
        kind = decision.kind if decision is not None else None
        if decision is None or kind is None or kind is FaultKind.ACCEPT_THEN_DETACH:
            proceed()
        elif kind is FaultKind.DROP_BEFORE:
            self._connection.reset()
        elif kind is FaultKind.DROP_AFTER:
            proceed()
            self._connection.reset()
        elif kind not in {FaultKind.STALL, FaultKind.STALL_AFTER}:
            fail(decision.condition, decision.description)


def _open_then_detach(link: Link, decision: Delivery) -> None:
    link.session.open_link(link)
    link.detach(decision.condition, decision.description)
