"""The ways to send messages, and what may be sent."""

from __future__ import annotations

import datetime as dt
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.taking_turns import yield_to_others
from fastapi_azure_pool.clients.transfers import TOO_LARGE
from fastapi_azure_pool.errors import MessageTooLarge

with extra("servicebus"):
    from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
    from azure.servicebus.amqp import AmqpAnnotatedMessage, AmqpMessageHeader, AmqpMessageProperties
    from azure.servicebus.exceptions import MessageSizeExceededError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from azure.servicebus.aio import ServiceBusSender

    Operation = Callable[[ServiceBusSender, float], Coroutine[Any, Any, Any]]
    """A management request, to be carried out within so many seconds."""

Body: TypeAlias = "bytes | str"
Made: TypeAlias = "ServiceBusMessage | AmqpAnnotatedMessage"
Message: TypeAlias = "Made | Mapping[str, Any]"
Key: TypeAlias = "tuple[str | None, str | None]"
"""A session's id and a partition key."""


class SendsMessages(ABC):
    """The ways to send messages, alike for one connection and for a pool of them."""

    async def send_message(
        self, msg: Body, delay: float = 0, unique_msg_id: str | None = None, **msg_kwargs: Any
    ) -> list[int]:
        """Send a message and wait until the service has stored it.

        Messages that others send at the same time join it. Those of one session, or of one partition key, keep their order.

        Args:
            msg: Its body.
            delay: Seconds after which receivers may see it, at least 0, the default: at once.
            unique_msg_id: Its ``message_id``, by which an entity with duplicate detection tells it from others.
            msg_kwargs: Further arguments of ``azure.servicebus.ServiceBusMessage``, such as ``session_id``, ``subject`` or
                ``time_to_live``.

        Returns:
            With a delay, the sequence numbers of what was scheduled, by which it can be cancelled; else nothing.

        Raises:
            TypeError: The body is neither bytes nor text, or the SDK does not know an argument.
            ValueError: The delay is below 0.
            SendError: It was not confirmed; ``maybe_delivered`` says whether it may have been stored.
            PoolError: No connection could be had.
        """
        if not isinstance(msg, _TEXT):
            raise TypeError(
                f"msg must be bytes or text, not {type(msg).__name__}: send_messages() takes a ServiceBusMessage, and json.dumps()"
                " makes text of most things"
            )
        if not delay >= 0:
            raise ValueError(f"delay must be a number of seconds of at least 0, not {delay!r}")
        message = _make(msg, message_id=unique_msg_id, **msg_kwargs)
        if not delay:
            await self._deliver(message, (message.session_id, message.partition_key))
            return []
        return await self.schedule_messages(message, dt.datetime.now(dt.UTC) + dt.timedelta(seconds=delay))

    async def send_messages(self, message: Message | Iterable[Message] | ServiceBusMessageBatch) -> None:
        """Send a message that is made already, or several together, of which all are stored, or none.

        Args:
            message: One (others' may join it), or a list or a batch (which leaves as it is).

        Raises:
            MessageTooLarge: A list does not fit into one batch, or a message not on the link; nothing was sent.
            TypeError: It is none of these.
            SendError: It was not confirmed.
            PoolError: No connection could be had.
        """
        if isinstance(message, ServiceBusMessageBatch):
            batch = message
        elif isinstance(message, (ServiceBusMessage, AmqpAnnotatedMessage, Mapping)):
            single = _message(message)
            await self._deliver(single, _key(single))
            return
        elif _is_several(message):
            batch = await self.create_message_batch()
            for count, member in enumerate(message, 1):
                try:
                    batch.add_message(_message(member))
                except MessageSizeExceededError as error:
                    raise MessageTooLarge(
                        f"message {count} does not fit any more into a batch of {batch.max_size_in_bytes} bytes, and nothing was"
                        " sent: send fewer at once, or each by itself",
                        condition=TOO_LARGE,
                    ).like(error) from error
                await yield_to_others(count)
        else:
            raise TypeError(
                f"message must be a ServiceBusMessage, several, or a batch, not {type(message).__name__}: send_message() takes"
                " text"
            )
        if len(batch):
            first: Any = getattr(batch, "_messages", [None])[0]
            await self._deliver(batch, (None, None) if first is None else _key(first), is_whole=True)

    async def schedule_messages(
        self, messages: Message | Sequence[Message], schedule_time_utc: dt.datetime
    ) -> list[int]:
        """Have the service store messages now and show them to receivers at a later time.

        They are not joined with others': each call is a request of its own.

        Args:
            messages: One or several.
            schedule_time_utc: When receivers may see them.

        Returns:
            Their sequence numbers, by which they can be cancelled.

        Raises:
            SendError: It was not confirmed.
            PoolError: No connection could be had.
        """
        made: Any = [_message(messages)] if isinstance(messages, _SINGLE) else [*map(_message, messages)]

        async def schedule(sender: ServiceBusSender, seconds: float) -> list[int]:
            return await sender.schedule_messages(made, schedule_time_utc, timeout=seconds)

        numbers: list[int] = await self._request(schedule)
        return numbers

    async def cancel_scheduled_messages(self, sequence_numbers: int | list[int]) -> None:
        """Take scheduled messages back that receivers cannot see yet.

        Args:
            sequence_numbers: What `schedule_messages` or `send_message` returned.

        Raises:
            SendError: The service does not know one of them (any more), or did not confirm it.
            PoolError: No connection could be had.
        """

        async def cancel(sender: ServiceBusSender, seconds: float) -> None:
            await sender.cancel_scheduled_messages(sequence_numbers, timeout=seconds)

        await self._request(cancel)

    @abstractmethod
    async def create_message_batch(self, max_size_in_bytes: int | None = None) -> ServiceBusMessageBatch:
        """Make an empty batch, as large as the service takes or smaller.

        Raises:
            ValueError: ``max_size_in_bytes`` is more than the service takes.
            PoolError: No connection could be had.
        """

    @abstractmethod
    async def _deliver(self, item: Any, key: Key, *, is_whole: bool = False) -> None: ...

    @abstractmethod
    async def _request(self, operation: Operation) -> Any: ...


class _Header(AmqpMessageHeader):
    """A header whose truth costs nothing: the SDK asks for it, builds a list of its fields each time, and it is always true."""

    def __bool__(self) -> bool:
        return True


class _Properties(AmqpMessageProperties):
    """Properties of the same kind; the SDK asks for their truth a dozen times for each message."""

    def __bool__(self) -> bool:
        return True


class _PlainMessage(ServiceBusMessage):
    """The SDK's message, made in a third of the time: a fifth of what sending one costs.

    An SDK that has no such method never calls it, and makes the same message in its own time.
    """

    def _build_annotated_message(self, body: Any) -> None:
        build: Any = super()._build_annotated_message
        build(body)
        raw: Any = self._raw_amqp_message
        raw.header = _Header()
        raw.properties = _Properties()


_TEXT: tuple[type, ...] = (str, bytes)
_SINGLE = (ServiceBusMessage, AmqpAnnotatedMessage, Mapping)
_ARGUMENTS = frozenset(
    parameter.name
    for parameter in inspect.signature(ServiceBusMessage).parameters.values()
    if parameter.kind is parameter.KEYWORD_ONLY
)


def _is_several(message: object) -> TypeGuard[Iterable[Message]]:
    return isinstance(message, Iterable) and not isinstance(message, _TEXT)


def _message(message: object) -> Made:
    if isinstance(message, (ServiceBusMessage, AmqpAnnotatedMessage)):
        return message
    if isinstance(message, Mapping):
        return _make(**message)
    raise TypeError(
        f"a message must be a ServiceBusMessage, not {type(message).__name__}: send_message() takes text and bytes"
    )


def _make(body: Any, **arguments: Any) -> ServiceBusMessage:
    """Make a message; the SDK would drop arguments that it does not know without a word."""
    unknown = arguments.keys() - _ARGUMENTS
    if unknown:
        raise TypeError(f"ServiceBusMessage has no argument {min(unknown)!r}; it has {', '.join(sorted(_ARGUMENTS))}")
    return ServiceBusMessage(body, **arguments)


def _key(message: Made) -> Key:
    if isinstance(message, ServiceBusMessage):
        return message.session_id, message.partition_key
    session_id = None if message.properties is None else message.properties.group_id
    annotations: Any = message.annotations or {}
    return _text(session_id), _text(annotations.get("x-opt-partition-key", annotations.get(b"x-opt-partition-key")))


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)
