"""What every emulated HTTP service does alike: read the request, suffer the faults, answer or cut the connection."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.faults import Delivery, FaultKind, Faults
from fastapi_azure_pool.emulator.request_log import RequestLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send


class HttpRequest:
    """One request, with its body read."""

    __slots__ = ("body", "headers", "is_too_large", "method", "path", "query_string", "raw_path")

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        # the SDKs end some paths with a slash: to logs and faults it is the same path
        self.path: str = scope["path"].rstrip("/") or "/"
        self.raw_path: bytes = scope["raw_path"]
        self.query_string: bytes = scope["query_string"]
        # ASGI gives header names in lower case
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.body = b""
        self.is_too_large = False


class HttpService(ABC):
    """An ASGI application for one emulated service; subclasses answer requests and word the service's errors.

    Args:
        name: The service's name in ``Faults``.
        faults: Asked for every request.
        max_body_bytes: A longer body is read to its end, not kept, and marked ``is_too_large``.
    """

    def __init__(self, name: str, faults: Faults, *, max_body_bytes: int) -> None:
        self.name = name
        self.requests = RequestLog()
        self._faults = faults
        self._max_body_bytes = max_body_bytes
        self._droppers: list[Callable[[tuple[str, int] | None], None]] = []

    def add_connection_dropper(self, drop_connection: Callable[[tuple[str, int] | None], None]) -> None:
        """Tell it how a server that it is served by resets the connection of a client's address, if it has one of it."""
        self._droppers.append(drop_connection)

    def make_request(self, scope: Scope) -> HttpRequest:
        """Return one request, its body not read yet; a service that reads more out of it has a class of its own."""
        return HttpRequest(scope)

    async def respond(self, request: HttpRequest) -> Response:
        """Answer one request; a service that must wait for something before it answers does it here."""
        return self.answer(request)

    @abstractmethod
    def answer(self, request: HttpRequest) -> Response:
        """Answer one request, at once: what it does to the service's state is atomic."""

    @abstractmethod
    def fault_response(self, request: HttpRequest, delivery: Delivery) -> Response:
        """Word an injected error as the service would."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI asks."""
        request = self.make_request(scope)
        if not await self._read_body(request, receive):
            return
        self.requests.add(request.method, request.path)
        delivery = self._faults.deliver(self.name, request.method, request.path)
        if delivery is None:
            response = await self.respond(request)
        else:
            if delivery.delay and await _is_disconnected_within(delivery.delay, receive):
                return
            if delivery.kind is FaultKind.DROP_BEFORE:
                await self._drop(scope, receive)
                return
            if delivery.kind in {FaultKind.FAIL, FaultKind.REJECT_AUTHORIZATION}:
                response = self.fault_response(request, delivery)
            else:
                response = await self.respond(request)
            if delivery.kind is FaultKind.DROP_AFTER:
                await self._drop(scope, receive)
                return
        await response(scope, receive, send)

    async def _read_body(self, request: HttpRequest, receive: Receive) -> bool:
        message = await receive()
        if not message.get("more_body", False):
            request.body = message.get("body", b"")
            request.is_too_large = len(request.body) > self._max_body_bytes
            return bool(message["type"] == "http.request")
        body = bytearray(message["body"])
        while message.get("more_body", False):
            message = await receive()
            if message["type"] != "http.request":
                return False
            if not request.is_too_large:
                body += message["body"]
                request.is_too_large = len(body) > self._max_body_bytes
        request.body = b"" if request.is_too_large else bytes(body)
        return True

    async def _drop(self, scope: Scope, receive: Receive) -> None:
        for drop_connection in self._droppers:
            drop_connection(scope["client"])
        # uvicorn would answer 500 for a request left unanswered before it has learnt of the disconnect
        while (await receive())["type"] != "http.disconnect":
            pass


async def _is_disconnected_within(seconds: float, receive: Receive) -> bool:
    try:
        async with asyncio.timeout(seconds):
            # the body is read: the next message is the disconnect
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True
