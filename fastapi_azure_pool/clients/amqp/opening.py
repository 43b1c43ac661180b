"""Opening the SDK's AMQP handlers without its pauses, and the look whether their parts are as `TunedChannel` expects them."""

# ruff: noqa: SLF001 - the SDK has no public way to do any of this; has_known_shape guards every part

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


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
        while not task.done():
            abort(handler())
            task.cancel()
            with suppress(asyncio.CancelledError):  # A second one changes nothing: the first is raised again.
                await asyncio.sleep(0)
        abort(handler())
        if not task.cancelled():
            task.exception()
        raise
    if task.cancelled() or task.exception() is not None:
        abort(handler())
    task.result()


def forget_broken_requests(handler: Any) -> None:
    """Let the SDK open its links for management requests anew where the service has taken them away, as it does with idle ones.

    The SDK keeps the broken links, and would fail the next request before it is sent.
    """
    links = getattr(handler, "_mgmt_links", None)
    if isinstance(links, dict):
        for node in [node for node, link in links.items() if getattr(link, "_mgmt_error", None) is not None]:
            del links[node]


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
            and _has_known_tokens(handler._cbs_authenticator)
            and isinstance(handler.target, (str, bytes))
        )
    except AttributeError:
        return False


def _has_known_tokens(authenticator: Any) -> bool:
    """Tell whether a connection's token can be renewed as `TokenRenewal` does it, or needs no renewal."""
    return authenticator is None or (
        callable(authenticator.handle_token)
        and callable(authenticator._auth.get_token)
        and isinstance(authenticator._expires_on, (int, float))
        and isinstance(authenticator._refresh_window, (int, float))
    )


def _parameters(method: Any) -> set[str]:
    """Give the names that a method can be called with; one that takes any keyword takes those that are asked for here."""
    parameters = inspect.signature(method).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return set(parameters) | ({"on_send_complete"} if takes_any else set())
