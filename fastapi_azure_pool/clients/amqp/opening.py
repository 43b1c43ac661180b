"""Opening the SDK's AMQP handlers without its pauses, and the look whether their parts are as `TunedChannel` expects them."""

# ruff: noqa: SLF001 - the SDK has no public way to do any of this; has_known_shape guards every part

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from io import BytesIO
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.amqp.wire import cut, hear_the_answer, wire_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping


def tune_handlers(opener: Any) -> None:
    """Let the handlers of a producer, sender or receiver open without the SDK's pauses, and leave nothing open when they close.

    The SDK asks ``client_ready_async`` again and again and sleeps 50 ms in between: 570 ms on loopback, 500 of them asleep; 6 ms
    without. The handler's own method asks without sleeping, in the same task, and is replaced only while the handler opens. The SDK
    would also go on asking when the service has closed the link for tokens, on which nothing comes any more. And it forgets a
    connection of which it knows an error, and leaves its socket, or the HTTP session of its WebSocket, open; that of others it
    closes before the service has answered. Where the SDK has no such methods, nothing is changed.

    Args:
        opener: An ``EventHubProducer``, a ``ServiceBusSender`` or a ``ServiceBusReceiver``.
    """
    create_handler = getattr(opener, "_create_handler", None)
    if not inspect.ismethod(create_handler):
        return

    def create_tuned(*arguments: Any, **options: Any) -> Any:
        created = create_handler(*arguments, **options)
        handler = getattr(opener, "_handler", None)
        _hasten(handler)
        _cut_when_closed(handler)
        return created

    opener._create_handler = create_tuned


def _hasten(handler: Any) -> None:
    is_ready = getattr(handler, "client_ready_async", None)
    if not inspect.iscoroutinefunction(is_ready):
        return

    async def wait_until_ready() -> bool:
        while not await is_ready():
            if _has_lost_tokens(handler):
                await cut(wire_of(handler))  # The SDK finds that, and raises the error that it has for it.
            await asyncio.sleep(0)
        del handler.client_ready_async
        return True

    handler.client_ready_async = wait_until_ready


def _has_lost_tokens(handler: Any) -> bool:
    """Tell whether the link on which a handler's token is put was opened and is not open any more."""
    state = getattr(getattr(handler, "_cbs_authenticator", None), "state", None)
    return getattr(state, "name", None) in {"CLOSED", "ERROR"}


def _cut_when_closed(handler: Any) -> None:
    close = getattr(type(handler), "close_async", None)
    if not inspect.iscoroutinefunction(close):
        return

    async def close_and_cut() -> None:
        wire = None if getattr(handler, "_external_connection", False) else wire_of(handler)
        hear_the_answer(handler)
        try:
            await close(handler)
        finally:
            await cut(wire)

    handler.close_async = close_and_cut


async def open_or_cut(opening: Coroutine[Any, Any, object], handler: Callable[[], Any]) -> None:
    """Let the SDK open its link; when that fails or is cancelled, nothing of it stays open.

    The SDK reads inside ``asyncio.wait_for``, which loses a cancellation on Python 3.11 when a frame arrives at that moment: the
    SDK would go on waiting, for ever perhaps. So it opens in a task of its own, which is cancelled until it ends.

    Args:
        opening: The SDK's method that opens it.
        handler: Gives the handler that was made meanwhile, or None.

    Raises:
        Exception: What the SDK raises.
    """
    task = asyncio.get_running_loop().create_task(opening, name="open a link")
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        is_open = True
        while is_open:
            is_open = not task.done()
            task.cancel()
            with suppress(asyncio.CancelledError):  # A second one changes nothing: the first is raised again.
                await cut(wire_of(handler()))
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)  # The task's turn, whatever became of the cutting.
        if not task.cancelled():
            task.exception()
        raise
    if task.cancelled() or task.exception() is not None:
        await cut(wire_of(handler()))
    task.result()


def forget_broken_requests(handler: Any) -> None:
    """Let the SDK open its links for management requests anew where the service has taken them away, as it does with idle ones.

    The SDK keeps the broken links, and would fail the next request before it is sent.
    """
    links = getattr(handler, "_mgmt_links", None)
    if isinstance(links, dict):
        for node in [node for node, link in links.items() if getattr(link, "_mgmt_error", None) is not None]:
            del links[node]


PARTS: dict[str, type | tuple[type, ...]] = {
    "target": (str, bytes),
    "_connection._error": (type(None), Exception),
    "_connection._last_frame_sent_time": (type(None), float),
    "_connection._remote_max_frame_size": int,
    "_connection._transport._read_buffer": BytesIO,
    "_connection._transport.reader": asyncio.StreamReader,
    "_connection._transport.reader._buffer": bytearray,
    "_connection._transport.reader._eof": bool,
    "_connection._transport.reader._exception": (type(None), Exception),
    "_connection._transport.writer": asyncio.StreamWriter,
    "_session.channel": int,
    "_session.next_outgoing_id": int,
    "_session.outgoing_window": int,
    "_session.remote_incoming_window": int,
    "_link._error": (type(None), Exception),
    "_link._pending_deliveries": list,
    "_link.current_link_credit": int,
    "_link.delivery_count": int,
    "_link.handle": int,
    "_link.remote_handle": int,
}
"""What `TunedChannel` reads and writes of a handler, and of what kind it must be."""

METHODS = (
    "_connection.listen",
    "_connection._outgoing_empty",
    "_connection._get_remote_timeout",
    "_session.create_sender_link",
    "_link.attach",
    "_link._incoming_flow",
)
"""What `TunedChannel` calls, or replaces."""

STATES = {"_connection.state": "OPENED", "_session.state": "MAPPED", "_link.state": "ATTACHED"}
"""The names of the states that an open link has."""

TOKEN_PARTS: dict[str, type | tuple[type, ...]] = {"_expires_on": (int, float), "_refresh_window": (int, float)}
TOKEN_METHODS = ("handle_token", "_auth.get_token")
"""What `TokenRenewal` uses of what keeps the connection's token."""


def has_known_shape(handler: Any) -> bool:
    """Tell whether a handler that is open has every part that `TunedChannel` touches, as it expects it."""
    try:
        authenticator = handler._cbs_authenticator
        return (
            _has(handler, PARTS, METHODS)
            and (authenticator is None or _has(authenticator, TOKEN_PARTS, TOKEN_METHODS))
            and all(attrgetter(path)(handler).name == name for path, name in STATES.items())
        )
    except AttributeError:
        return False


def _has(whole: Any, parts: Mapping[str, type | tuple[type, ...]], methods: Iterable[str]) -> bool:
    return all(isinstance(attrgetter(path)(whole), kind) for path, kind in parts.items()) and all(
        callable(attrgetter(path)(whole)) for path in methods
    )
