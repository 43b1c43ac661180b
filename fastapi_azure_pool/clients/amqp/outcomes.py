"""What became of a transfer, read from what the SDK hands on of it."""

from __future__ import annotations

from typing import Any

from fastapi_azure_pool.clients.transfers import ACCEPTED, LOST, RELEASED, Outcome, OutcomeKind


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
