"""Management requests: operations of the SDK that are no transfers, carried out in turn by the connection's owner."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from fastapi_azure_pool.clients.borrowed_context import in_context
from fastapi_azure_pool.clients.flights import retry_delay
from fastapi_azure_pool.clients.transfers import SERVER_BUSY
from fastapi_azure_pool.errors import SendRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi_azure_pool.clients.farewell import Farewell
    from fastapi_azure_pool.clients.transfers import Packing

AnswerT = TypeVar("AnswerT")

# As in coalescing.
_NO_CONTEXT = Context()


class Connection(Protocol):
    """What requests tell the connection that carries them out."""

    def wake(self) -> None:
        """Let its owner look at what has changed."""

    def lose(self) -> None:
        """Give it up."""

    def doubt(self, since: float) -> None:
        """Give it up if nothing has moved for too long."""


class _Request(Generic[AnswerT]):
    """One caller's management request."""

    __slots__ = ("answer", "arrived", "context", "deadline", "operation")

    def __init__(
        self,
        operation: Callable[[float], Coroutine[Any, Any, AnswerT]],
        arrived: float,
        deadline: float,
        answer: asyncio.Future[AnswerT],
    ) -> None:
        self.operation = operation
        self.arrived = arrived
        self.deadline = deadline
        self.answer = answer
        self.context = copy_context()


class Requests:
    """The management requests of one connection, in order of arrival.

    Args:
        connection: Whose owner carries them out.
        packing: What it says of errors.
    """

    __slots__ = ("_connection", "_is_lost", "_line", "_loop", "_packing", "_serving")

    def __init__(self, connection: Connection, packing: Packing[Any]) -> None:
        self._connection = connection
        self._packing = packing
        self._loop = asyncio.get_running_loop()
        self._line: deque[_Request[Any]] = deque()
        self._serving: _Request[Any] | None = None
        self._is_lost = False

    @property
    def are_waiting(self) -> bool:
        """Whether there are any in line."""
        return bool(self._line)

    @property
    def is_serving(self) -> bool:
        """Whether one is being carried out."""
        return self._serving is not None

    async def make(self, operation: Callable[[float], Coroutine[Any, Any, AnswerT]], timeout: float) -> AnswerT:
        """See `GroupCommit.request`."""
        deadline = self._loop.time() + timeout
        retries = 0
        while True:
            try:
                return await self._line_up(operation, deadline)
            except SendRejected as error:
                pause = retry_delay(retries)
                if error.condition != SERVER_BUSY or self._loop.time() + pause >= deadline:
                    raise
            retries += 1
            await asyncio.sleep(pause)

    async def serve_next(self) -> None:
        """Carry out the first in line, in its caller's context; called by the owner."""
        request = self._line.popleft()
        if request.answer.done():
            return
        self._serving = request
        left = request.deadline - self._loop.time()
        try:
            async with asyncio.timeout(left):
                answer = await in_context(request.context, request.operation(left))
        except TimeoutError:
            self._expire(request)
            self._connection.lose()  # It was broken off in the midst of its reading.
        except Exception as error:  # noqa: BLE001 - it goes to the caller
            if not request.answer.done():
                request.answer.set_exception(self._packing.translate(error))
        else:
            if not request.answer.done():
                request.answer.set_result(answer)
        finally:
            if not self._loop.is_closed():
                self._interrupt(request, maybe_delivered=True)
            self._serving = None
            del request  # As in _line_up().

    def lose(self, farewell: Farewell) -> None:
        """Have all of them told that the connection is closed or broken."""
        self._is_lost = True
        for request in self._line:
            farewell.prepare(partial(self._interrupt, request, maybe_delivered=False))
        self._line.clear()
        if self._serving is not None:
            farewell.prepare(partial(self._interrupt, self._serving, maybe_delivered=True))

    async def _line_up(self, operation: Callable[[float], Coroutine[Any, Any, AnswerT]], deadline: float) -> AnswerT:
        if self._is_lost:
            raise self._packing.interrupted(maybe_delivered=False)
        request = _Request(operation, self._loop.time(), deadline, self._loop.create_future())
        self._line.append(request)
        self._connection.wake()
        timer = self._loop.call_at(deadline, self._expire, request, context=_NO_CONTEXT)
        try:
            answer: AnswerT = await request.answer
            return answer
        finally:
            timer.cancel()
            del request  # An error holds this frame, which would hold the error.

    def _expire(self, request: _Request[Any]) -> None:
        if request.answer.done() or self._is_lost:  # Then the farewell tells more.
            return
        has_begun = request is self._serving
        request.answer.set_exception(self._packing.timed_out(maybe_delivered=has_begun))
        if has_begun:
            self._connection.lose()
        else:
            self._connection.doubt(request.arrived)

    def _interrupt(self, request: _Request[Any], *, maybe_delivered: bool) -> None:
        if not request.answer.done():
            request.answer.set_exception(self._packing.interrupted(maybe_delivered=maybe_delivered))
