"""What became of a transfer, read from what the SDK hands on of it."""

from __future__ import annotations

from typing import Any

from fastapi_azure_pool.clients.transfers import ACCEPTED, LOST, RELEASED, TOO_LARGE, Outcome, OutcomeKind

# What the SDK's AMQP client calls its own troubles, and what ends a connection, a session or a link: nothing of it says what
# became of a message. A link that is ended for the size of a message has not taken it.
_ENDS = (
    "amqp:client",
    "amqp:connection:",
    "amqp:link:",
    "amqp:session:",
    "amqp:socket-error",
    "amqp:unknown-error",
    "amqp:vendor-error",
)


def rejection(error: BaseException) -> Outcome:
    """Give the outcome that an error of the SDK tells: a rejection where it carries the service's condition about a message."""
    kept = error if isinstance(error, Exception) else None
    cause: BaseException | None = error
    while cause is not None:
        condition = condition_of(cause)
        if condition is not None and (condition == TOO_LARGE or not condition.startswith(_ENDS)):
            return Outcome(OutcomeKind.REJECTED, condition, _text(getattr(cause, "description", None)), kept)
        cause = cause.__cause__ or cause.__context__
    return Outcome(OutcomeKind.LOST, error=kept)


def refusal(error: BaseException | None) -> Outcome:
    """Give the outcome of what waited for a link that the service does not open: nothing of it has left."""
    if error is None:
        return Outcome(OutcomeKind.REJECTED)
    return Outcome(OutcomeKind.REJECTED, condition_of(error), _text(getattr(error, "description", None)))


def condition_of(error: BaseException) -> str | None:
    """Give the AMQP condition that an error of the SDK carries."""
    condition = getattr(error, "condition", None) or getattr(error, "_condition", None)
    return _text(getattr(condition, "value", condition))


def disposition(reason: Any, state: Any) -> Outcome:
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
