"""``entity/$management``: what a link cannot say (Azure: "AMQP 1.0 in Service Bus: request-response-based operations")."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi_azure_pool.emulator.amqp.requests import RequestNode, Response
from fastapi_azure_pool.emulator.amqp.values import Array, Int, Long, Timestamp
from fastapi_azure_pool.emulator.servicebus.errors import ServiceBusError, argument_error, not_allowed
from fastapi_azure_pool.emulator.servicebus.queue import MessageQueue
from fastapi_azure_pool.emulator.servicebus.session_queue import SessionQueue
from fastapi_azure_pool.emulator.servicebus.wire import read_message, write_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.emulator.amqp.requests import Request
    from fastapi_azure_pool.emulator.servicebus.entity import Entity

T = TypeVar("T")

MANAGEMENT_SUFFIX = "/$management"

_PREFIX = "com.microsoft:"
_SETTLED_BY_SENDER = 0  # receiver-settle-mode first: the message is gone as it is received
_NO_CONTENT = Response(204, "No Content")
_MOST_PEEKED = 1000


class ManagementNode(RequestNode):
    """Answers requests about one entity."""

    def __init__(self, entity: Entity) -> None:
        super().__init__(
            entity.address + MANAGEMENT_SUFFIX,
            entity=entity.address,
            max_message_bytes=max(entity.settings.max_message_bytes, 1024 * 1024),
        )
        self._entity = entity
        self._operations: dict[str, Callable[[_Arguments], Response]] = {
            "schedule-message": self._schedule,
            "cancel-scheduled-message": self._cancel_scheduled,
            "renew-lock": self._renew_lock,
            "peek-message": self._peek,
            "receive-by-sequence-number": self._receive_by_sequence_number,
            "update-disposition": self._update_disposition,
            "renew-session-lock": self._renew_session_lock,
            "get-session-state": self._get_session_state,
            "set-session-state": self._set_session_state,
            "get-message-sessions": self._get_message_sessions,
        }

    def answer(self, request: Request) -> Response:
        """Do what a request asks."""
        operation = self._operations.get(request.operation.removeprefix(_PREFIX))
        if operation is None:
            description = f"The operation '{request.operation}' is not supported by the emulator."
            return Response(501, description, condition="amqp:not-implemented")
        try:
            return operation(_Arguments(request.value))
        except ServiceBusError as error:
            return Response(error.status, error.description, condition=error.condition)

    def _schedule(self, arguments: _Arguments) -> Response:
        limit = self._entity.settings.max_message_bytes
        messages = []
        for entry in arguments.items("messages", dict):
            payload = entry.get("message")
            if not isinstance(payload, bytes):
                raise argument_error("Each of 'messages' has the encoded message in 'message'.")
            if len(payload) > limit:
                raise ServiceBusError(
                    400,
                    "amqp:link:message-size-exceeded",
                    f"The received message (size:{len(payload)} bytes) exceeds the limit ({limit} bytes).",
                )
            messages.append(read_message(payload))
        numbers = self._entity.send(messages)
        return Response(body={"sequence-numbers": Array(tuple(Long(number) for number in numbers))})

    def _cancel_scheduled(self, arguments: _Arguments) -> Response:
        self._entity.cancel_scheduled(arguments.items("sequence-numbers", int))
        return Response()

    def _renew_lock(self, arguments: _Arguments) -> Response:
        queue = self._queue()
        times = [queue.renew_lock(token.bytes_le) for token in arguments.items("lock-tokens", uuid.UUID)]
        return Response(body={"expirations": Array(tuple(_timestamp(time) for time in times))})

    def _peek(self, arguments: _Arguments) -> Response:
        start = arguments.one("from-sequence-number", int)
        count = arguments.one("message-count", int)
        messages = self._queue().peek(start, min(count, _MOST_PEEKED), arguments.session_id)
        if not messages:
            return _NO_CONTENT
        return Response(
            body={"messages": [{"message": write_message(message, is_peeked=True)} for message in messages]}
        )

    def _receive_by_sequence_number(self, arguments: _Arguments) -> Response:
        messages = self._queue().receive_deferred(
            arguments.items("sequence-numbers", int),
            arguments.session_id,
            deletes=arguments.one("receiver-settle-mode", int) == _SETTLED_BY_SENDER,
        )
        entries = []
        for message in messages:
            entry: dict[str, Any] = {"message": write_message(message)}
            if message.lock_token is not None:
                entry["lock-token"] = uuid.UUID(bytes_le=message.lock_token)
            entries.append(entry)
        return Response(body={"messages": entries})

    def _update_disposition(self, arguments: _Arguments) -> Response:
        queue = self._queue()
        status = arguments.one("disposition-status", str)
        properties = arguments.optional("properties-to-modify", dict)
        for lock_token in arguments.items("lock-tokens", uuid.UUID):
            token = lock_token.bytes_le
            if status == "completed":
                queue.complete(token)
            elif status == "abandoned":
                queue.abandon(token, properties)
            elif status == "defered":
                queue.defer(token, properties)
            elif status == "suspended":
                reason = arguments.optional("deadletter-reason", str)
                queue.dead_letter(token, reason, arguments.optional("deadletter-description", str), properties)
            else:
                raise argument_error(f"The disposition-status '{status}' is unknown.")
        return Response()

    def _renew_session_lock(self, arguments: _Arguments) -> Response:
        until = self._session_queue().renew_session_lock(arguments.one("session-id", str))
        return Response(body={"expiration": _timestamp(until)})

    def _get_session_state(self, arguments: _Arguments) -> Response:
        state = self._session_queue().get_session_state(arguments.one("session-id", str))
        return Response(body={"session-state": state})

    def _set_session_state(self, arguments: _Arguments) -> Response:
        state = arguments.optional("session-state", bytes)
        self._session_queue().set_session_state(arguments.one("session-id", str), state)
        return Response()

    def _get_message_sessions(self, arguments: _Arguments) -> Response:
        skip, top = arguments.one("skip", int), arguments.one("top", int)
        ids = self._session_queue().session_ids()[skip : skip + top]
        if not ids:
            return _NO_CONTENT
        return Response(body={"skip": Int(skip + len(ids)), "sessions-ids": Array(tuple(ids))})

    def _queue(self) -> MessageQueue:
        if not isinstance(self._entity, MessageQueue):
            raise not_allowed(f"The entity '{self._entity.address}' is a topic, from which nothing is received.")
        return self._entity

    def _session_queue(self) -> SessionQueue:
        if not isinstance(self._entity, SessionQueue):
            raise not_allowed(f"The entity '{self._entity.address}' does not require sessions.")
        return self._entity


class _Arguments:
    """The map in a request's body, its values checked when they are asked for."""

    def __init__(self, body: object) -> None:
        if not isinstance(body, dict):
            raise argument_error("The request's body is no map.")
        self._body = body

    @property
    def session_id(self) -> str | None:
        return self.optional("session-id", str)

    def optional(self, name: str, kind: type[T]) -> T | None:
        return None if self._body.get(name) is None else self.one(name, kind)

    def one(self, name: str, kind: type[T]) -> T:
        value = self._body.get(name)
        if not isinstance(value, kind):
            raise argument_error(f"'{name}' is missing, or no {kind.__name__}.")
        return value

    def items(self, name: str, kind: type[T]) -> list[T]:
        value = self._body.get(name)
        items = value.items if isinstance(value, Array) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, kind) for item in items):
            raise argument_error(f"'{name}' is missing, or holds something else than {kind.__name__}.")
        return list(items)


def _timestamp(seconds: float) -> Timestamp:
    return Timestamp(round(seconds * 1000))
