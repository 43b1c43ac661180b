"""What Service Bus answers when it refuses: AMQP condition, description, and the status of a management answer.

Sources: "AMQP errors" and "Service Bus messaging exceptions" (Azure documentation), and the conditions that azure-servicebus turns
into exceptions of their own.
"""

from __future__ import annotations

from fastapi_azure_pool.emulator.amqp.node import Refused

NOT_ALLOWED = "amqp:not-allowed"


class ServiceBusError(Refused):
    """A refusal by the emulated Service Bus, raised where the rule is; a link carries it as it is.

    Attributes:
        status: The HTTP status that a management answer carries.
    """

    def __init__(self, status: int, condition: str, description: str) -> None:
        super().__init__(condition, description)
        self.status = status


def not_allowed(description: str) -> ServiceBusError:
    """What the entity's kind or settings forbid."""
    return ServiceBusError(400, NOT_ALLOWED, description)


def needs_session_receiver() -> ServiceBusError:
    """Messages of an entity with sessions are received in their sessions."""
    return not_allowed(
        "It is not possible for an entity that requires sessions to create a non-sessionful message receiver."
    )


def argument_error(description: str) -> ServiceBusError:
    """A request that makes no sense."""
    return ServiceBusError(400, "com.microsoft:argument-error", description)


def message_lock_lost() -> ServiceBusError:
    """A message's lock is no longer its receiver's."""
    return ServiceBusError(
        410,
        "com.microsoft:message-lock-lost",
        "The lock supplied is invalid. Either the lock expired, or the message has already been removed from the queue.",
    )


def session_lock_lost(session_id: str | None = None) -> ServiceBusError:
    """A session's lock is no longer its receiver's."""
    which = "the session" if session_id is None else f"the session '{session_id}'"
    return ServiceBusError(
        410,
        "com.microsoft:session-lock-lost",
        f"The lock on {which} has expired. Accept the session again to go on.",
    )


def session_cannot_be_locked(session_id: str) -> ServiceBusError:
    """A session has another receiver."""
    return ServiceBusError(
        410,
        "com.microsoft:session-cannot-be-locked",
        f"The requested session '{session_id}' cannot be accepted. It may be locked by another receiver.",
    )


def no_session_in_time() -> ServiceBusError:
    """No session with messages turned up while a receiver waited for the next one."""
    return ServiceBusError(
        408,
        "com.microsoft:timeout",
        "The operation did not complete within the allocated time: no session was available.",
    )


def message_not_found(sequence_number: int) -> ServiceBusError:
    """No message with this sequence number is in the state that the operation is for."""
    return ServiceBusError(
        404,
        "com.microsoft:message-not-found",
        f"The message with the sequence number {sequence_number} was not found.",
    )
