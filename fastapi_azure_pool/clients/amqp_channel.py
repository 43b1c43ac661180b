"""The SDK's AMQP sender as the channel of a `GroupCommit`: tuned where its shape is known, else used as it is.

Event Hubs and Service Bus bring the same AMQP client (pyamqp), whose parts are private to them. Everything that touches those parts
is in this file: opening without pauses, reading frames as they arrive, several transfers in flight, and the look at frames that
nobody has read yet. `has_known_shape` checks that all of them are there; where one is not, the SDK's own way is taken, one transfer
at a time.
"""

# ruff: noqa: SLF001 - the SDK has no public way to do any of this; has_known_shape guards every part

from __future__ import annotations

import asyncio
import inspect
import time
from contextvars import Context
from io import BytesIO
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.transfers import ACCEPTED, LOST, RELEASED, LinkRefused, Outcome, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

BEAT_SECONDS = 100.0
"""How often an empty frame is sent: Azure closes connections that are silent for 240 s."""

_TEND_SECONDS = 15.0
_TOKEN_RETRY_SECONDS = 30.0

# Descriptors of the performatives that end a link, a session and a connection (AMQP 1.0, section 2.7).
_ENDINGS = frozenset({0x16, 0x17, 0x18})

_HEADER_BYTES = 8


def hasten_opening(opener: Any) -> None:
    """Let a producer's or sender's next handler become ready without the SDK's pauses of 50 ms between frames.

    The SDK asks ``client_ready_async`` again and again and sleeps in between: 570 ms on loopback, 500 of them asleep; 6 ms without.
    The handler's own method asks without sleeping, in the same task, and is replaced only while the handler opens. Where the SDK
    has no such methods, nothing is changed.

    Args:
        opener: An ``EventHubProducer`` or a ``ServiceBusSender``.
    """
    create_handler = getattr(opener, "_create_handler", None)
    if not inspect.ismethod(create_handler):
        return

    def create_hastened(*arguments: Any, **options: Any) -> Any:
        created = create_handler(*arguments, **options)
        _hasten(getattr(opener, "_handler", None))
        return created

    opener._create_handler = create_hastened


def _hasten(handler: Any) -> None:
    is_ready = getattr(handler, "client_ready_async", None)
    if not inspect.iscoroutinefunction(is_ready):
        return

    async def wait_until_ready() -> bool:
        while not await is_ready():  # noqa: ASYNC110 - each call reads a frame: there is nothing else to wait for
            await asyncio.sleep(0)
        del handler.client_ready_async
        return True

    handler.client_ready_async = wait_until_ready


def abort(handler: Any) -> None:
    """Cut what is still open of a handler's connection, at once and without a word to the service."""
    connection = getattr(handler, "_connection", None)
    writer = getattr(getattr(connection, "_transport", None), "writer", None)
    if isinstance(writer, asyncio.StreamWriter):
        writer.transport.abort()


def has_known_shape(handler: Any) -> bool:
    """Tell whether a handler that is open has every part that `TunedChannel` touches, as it expects it."""
    try:
        connection, session, link = handler._connection, handler._session, handler._link
        transport = connection._transport
        methods = (
            connection.listen,
            connection._outgoing_empty,
            connection._get_remote_timeout,
            session.create_sender_link,
            link.send_transfer,
            link.attach,
            link._incoming_flow,
        )
        return (
            isinstance(transport.reader, asyncio.StreamReader)
            and isinstance(transport.reader._buffer, bytearray)  # type: ignore[attr-defined]  # its look without I/O
            and isinstance(transport.reader._eof, bool)  # type: ignore[attr-defined]  # likewise
            and isinstance(transport._read_buffer, BytesIO)
            and all(map(callable, methods))
            and {"on_send_complete", "send_async"} <= _parameters(link.send_transfer)
            and isinstance(session.remote_incoming_window, int)
            and isinstance(link.delivery_count, int)
            and isinstance(link.current_link_credit, int)
            and (link.state.name, session.state.name, connection.state.name) == ("ATTACHED", "MAPPED", "OPENED")
            and hasattr(connection, "_error")
            and isinstance(handler.target, (str, bytes))
        )
    except AttributeError:
        return False


def _parameters(method: Any) -> set[str]:
    """Give the names that a method can be called with; one that takes any keyword takes those that are asked for here."""
    parameters = inspect.signature(method).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return set(parameters) | ({"on_send_complete"} if takes_any else set())


class TunedChannel:
    """An opened handler of the SDK, driven frame by frame; see `Channel`.

    Its owner is woken by whatever arrives, and reads only frames that are there whole, so that nothing waits in the SDK's reading.

    Args:
        handler: The SDK's ``SendClientAsync``, opened a moment ago, with `has_known_shape`.
        encode: Makes what `Packing` gives the SDK's own message.
        window: Transfers that may be in flight at once.
    """

    def __init__(self, handler: Any, encode: Callable[[Any], Any], *, window: int) -> None:
        self.window = window
        self.wake: Callable[[], None] = _nobody
        self._handler = handler
        self._encode = encode
        self._connection = handler._connection
        self._session = handler._session
        self._transport = self._connection._transport
        self._reader: Any = self._transport.reader
        self._buffer: bytearray = self._reader._buffer
        self._loop = asyncio.get_running_loop()
        # The FLOW that follows an ATTACH has not been read yet: the SDK reads one frame and looks whether that was the ATTACH.
        self._main = _Link(handler._link)
        self._links: dict[str | None, _Link] = {None: self._main}
        self._is_broken = False
        self._token = _TokenRenewal(handler, self._loop)
        self._beat_at = self._loop.time() + BEAT_SECONDS
        self.tend_at = 0.0
        self._tend_later()
        self._announce_arrivals()

    @property
    def is_closed(self) -> bool:
        """Whether the link, its session or its connection is closed, also by a frame that nobody has read yet."""
        reader = self._reader
        return (
            self._is_broken
            or reader._eof
            or reader._exception is not None
            or self._main.sdk.state.name != "ATTACHED"
            or self._session.state.name != "MAPPED"
            or self._connection.state.name != "OPENED"
            or self._connection._error is not None
            or (bool(self._buffer) and _has_ending(self._buffer))
        )

    async def receive(self) -> None:
        """Let the SDK read the frames that have arrived whole."""
        buffer = self._buffer
        # What the SDK has read of a frame before it gave up on the rest, as it does after 0.2 s.
        begun = self._transport._read_buffer.read()
        if begun:
            buffer[:0] = begun
        while not self._is_broken and (whole := _whole_frames(buffer)):
            for _ in range(whole):
                before = len(buffer)
                await self._connection.listen(wait=True)
                if len(buffer) >= before:
                    self._is_broken = True  # It reads no more, or cannot make anything of what is there.
                    return

    async def room(self, address: str | None) -> int:
        """Give how many transfers the last FLOW frames let leave; opens a link below the entity at its first use."""
        link = self._links.get(address)
        if link is None:
            link = await self._attach(str(address))
        if link is not self._main and not link.is_usable:
            del self._links[address]
            if not link.has_served:
                raise LinkRefused(link.refusal)
            self.wake()  # It was idle for too long, perhaps: the next look opens another.
            return 0
        window: int = self._session.remote_incoming_window
        return min(link.credit, window)

    async def transfer(
        self,
        address: str | None,
        payload: Any,
        settled: Callable[[Outcome], None],
        seconds: float,  # noqa: ARG002 - the owner minds the deadline
    ) -> None:
        """Write one transfer; returns when it is written."""

        async def on_send_complete(reason: Any, state: Any) -> None:
            settled(_outcome(reason, state))

        link = self._links[address].sdk
        delivery = await link.send_transfer(self._encode(payload), on_send_complete=on_send_complete, send_async=False)
        if not delivery.sent:
            self._is_broken = True
            self.wake()

    async def tend(self) -> None:
        """Keep it alive and authorized.

        An empty frame goes out every 100 s, and when half of the silence is over that the service takes.
        """
        now = self._loop.time()
        if now >= self._beat_at:
            self._beat_at = now + BEAT_SECONDS
            await self._connection._outgoing_empty()
        else:
            await self._connection._get_remote_timeout(time.time())
        await self._token.go_on()
        self._tend_later()

    def close(self) -> None:
        """Stop what was begun beside the owner."""
        self._token.stop()

    def _tend_later(self) -> None:
        remote: Any = getattr(self._connection, "_remote_idle_timeout", None)
        self.tend_at = self._loop.time() + min(_TEND_SECONDS, remote / 4 if remote else _TEND_SECONDS)

    async def _attach(self, address: str) -> _Link:
        main = self._main.sdk
        target = self._handler.target
        target = target.decode() if isinstance(target, bytes) else target
        link = _Link(
            self._session.create_sender_link(
                target_address=f"{target}/{address}",
                link_credit=main.link_credit,
                send_settle_mode=main.send_settle_mode,
                rcv_settle_mode=main.rcv_settle_mode,
                max_message_size=main.max_message_size,
                properties=main.properties,
            )
        )
        self._links[address] = link
        await link.sdk.attach()
        return link

    def _announce_arrivals(self) -> None:
        """Wake the owner with whatever the event loop gives the reader: data, the end, an error."""
        reader = self._reader
        for name in ("feed_data", "feed_eof", "set_exception"):
            setattr(reader, name, self._then_wake(getattr(reader, name)))

    def _then_wake(self, take: Callable[..., None]) -> Callable[..., None]:
        def take_and_wake(*arguments: Any) -> None:
            take(*arguments)
            self.wake()

        return take_and_wake


class _Link:
    """One of the SDK's sender links, and how many transfers the service has given it.

    The SDK gives itself new credit when its own is used up, and before the service's first FLOW; this does not.
    """

    __slots__ = ("_limit", "sdk")

    def __init__(self, sdk: Any) -> None:
        self.sdk = sdk
        self._limit = 0
        sdk._incoming_flow = self._take_flow

    @property
    def credit(self) -> int:
        """Transfers that may leave (AMQP 1.0, section 2.6.7: the receiver's delivery-count plus link-credit is the limit)."""
        return self._limit - int(self.sdk.delivery_count)

    @property
    def has_served(self) -> bool:
        """Whether the service has ever let something leave by it."""
        return self._limit > 0

    @property
    def is_usable(self) -> bool:
        """Whether it is attached, or may still become so."""
        return self.sdk.state.name in {"ATTACH_SENT", "ATTACHED"} and self.sdk._error is None

    @property
    def refusal(self) -> Outcome:
        """Why the service did not open it."""
        error = self.sdk._error
        outcome = None if error is None else rejection(error)
        return outcome if outcome is not None and outcome.condition else Outcome(OutcomeKind.REJECTED)

    async def _take_flow(self, frame: Any) -> None:
        handle, delivery_count, link_credit = frame[4:7]
        if handle is not None and link_credit is not None:
            self._limit = (delivery_count or 0) + link_credit
            # The SDK sends at once only while its own count is not zero.
            self.sdk.current_link_credit = max(self.credit, 1)


class _TokenRenewal:
    """Renews the token of a connection before it expires, asking for it beside the owner, who goes on sending meanwhile."""

    def __init__(self, handler: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._authenticator: Any = getattr(handler, "_cbs_authenticator", None)
        self._loop = loop
        self._request: asyncio.Task[Any] | None = None
        self._ask_at = 0.0

    async def go_on(self) -> None:
        """Ask for a token when it is time to, and put it on the connection when it is there.

        Raises:
            Exception: What the SDK raises when the service refuses the token or does not answer.
        """
        authenticator = self._authenticator
        if authenticator is None:
            return
        request = self._request
        if request is None:
            if self._is_due() and self._loop.time() >= self._ask_at:
                self._request = self._loop.create_task(
                    authenticator._auth.get_token(), name="renew the token of a connection", context=Context()
                )
            elif not self._is_due():
                await authenticator.handle_token()  # Raises what the service answered the last time.
        elif request.done():
            self._request = None
            if request.cancelled() or request.exception() is not None:
                self._ask_at = self._loop.time() + _TOKEN_RETRY_SECONDS  # Most of the time it is the endpoint's outage.
                return
            await self._put(request.result())

    def stop(self) -> None:
        """Forget the token that was asked for."""
        if self._request is not None:
            self._request.cancel()

    def _is_due(self) -> bool:
        expires_on: Any = self._authenticator._expires_on
        return expires_on is not None and expires_on - time.time() <= self._authenticator._refresh_window

    async def _put(self, token: Any) -> None:
        auth = self._authenticator._auth
        get_token = auth.get_token

        async def give() -> Any:
            return token

        auth.get_token = give
        try:
            await self._authenticator.handle_token()
        finally:
            auth.get_token = get_token


class PlainChannel:
    """A sender of the SDK used as it is: one transfer at a time, each to its end; see `Channel`.

    Args:
        send: Sends what `Packing` gives within so many seconds, or raises.
        is_open: Whether the SDK has its handler open.
    """

    window = 1
    tend_at = float("inf")

    def __init__(self, send: Callable[[Any, float], Coroutine[Any, Any, None]], is_open: Callable[[], bool]) -> None:
        self.wake: Callable[[], None] = _nobody
        self._send = send
        self._is_open = is_open
        self._is_broken = False

    @property
    def is_closed(self) -> bool:
        """Whether the SDK has closed its handler, or a transfer got no answer in time."""
        return self._is_broken or not self._is_open()

    async def receive(self) -> None:
        """Do nothing: the SDK reads while it sends."""

    async def room(self, address: str | None) -> int:  # noqa: ARG002 - the SDK finds its link itself
        """Give one: the owner waits for each transfer."""
        return 1

    async def transfer(
        self,
        address: str | None,  # noqa: ARG002 - the SDK finds its link itself
        payload: Any,
        settled: Callable[[Outcome], None],
        seconds: float,
    ) -> None:
        """Send one transfer and wait for its outcome."""
        try:
            async with asyncio.timeout(seconds):
                await self._send(payload, seconds)
        except TimeoutError:
            self._is_broken = True
            settled(LOST)
        except Exception as error:  # noqa: BLE001 - the SDK's error is the outcome
            settled(rejection(error))
        else:
            settled(ACCEPTED)

    async def tend(self) -> None:
        """Do nothing: the SDK does it by itself, or not at all."""

    def close(self) -> None:
        """Do nothing."""


def rejection(error: BaseException) -> Outcome:
    """Give the outcome that an error of the SDK tells: a rejection where it carries the service's condition."""
    kept = error if isinstance(error, Exception) else None
    cause: BaseException | None = error
    while cause is not None:
        condition = getattr(cause, "condition", None) or getattr(cause, "_condition", None)
        if condition is not None:
            name = _text(getattr(condition, "value", condition))
            # What the client AMQP library calls its own troubles is no condition of the service.
            if name is not None and not name.startswith("amqp:client") and name != "amqp:unknown-error":
                return Outcome(OutcomeKind.REJECTED, name, _text(getattr(cause, "description", None)), kept)
        cause = cause.__cause__ or cause.__context__
    return Outcome(OutcomeKind.LOST, error=kept)


def _outcome(reason: Any, state: Any) -> Outcome:
    """Read what the SDK hands on of a disposition: a dictionary from the outcome's name to its fields."""
    if getattr(reason, "name", "") == "SETTLED":
        return ACCEPTED
    if getattr(reason, "name", "") != "DISPOSITION_RECEIVED" or not isinstance(state, dict):
        return LOST
    if "accepted" in state:
        return ACCEPTED
    if "released" in state or "modified" in state:
        return RELEASED
    if "rejected" not in state:
        return LOST
    fields = state["rejected"]
    error = fields[0] if fields else None
    if not error:
        return Outcome(OutcomeKind.REJECTED)
    return Outcome(OutcomeKind.REJECTED, _text(error[0]), _text(error[1]) if len(error) > 1 else None)


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)


def _whole_frames(buffer: bytearray) -> int:
    """Count the frames that are in a buffer whole (AMQP 1.0, section 2.3.1: four bytes of size come first)."""
    count, offset = 0, 0
    while len(buffer) - offset >= _HEADER_BYTES:
        # A size below that of the header is the SDK's to choke on.
        offset += max(int.from_bytes(buffer[offset : offset + 4]), _HEADER_BYTES)
        if offset > len(buffer):
            break
        count += 1
    return count


def _has_ending(buffer: bytearray) -> bool:
    """Tell whether among the frames in a buffer is one that ends a link, a session or the connection."""
    offset = 0
    while len(buffer) - offset > _HEADER_BYTES:
        size, start = int.from_bytes(buffer[offset : offset + 4]), offset + 4 * buffer[offset + 4]
        # A described type with a small descriptor: 0x00, 0x53, the descriptor (section 1.2).
        if size > _HEADER_BYTES and buffer[start : start + 2] == b"\x00\x53" and buffer[start + 2] in _ENDINGS:
            return True
        offset += max(size, _HEADER_BYTES)
    return False


def _nobody() -> None:
    """Wake nobody: there is no owner yet."""
