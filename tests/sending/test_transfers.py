"""What an outcome says about the message, and about whether it may be sent again."""

from __future__ import annotations

import pytest

from fastapi_azure_pool.clients.transfers import (
    ACCEPTED,
    LOST,
    NOT_ALLOWED,
    RELEASED,
    SERVER_BUSY,
    TOO_LARGE,
    LinkRefused,
    Outcome,
    OutcomeKind,
)
from tests.support.scripted_channel import ScriptedPacking

MIXED = "Batching brokered messages with distinct SessionId, PartitionKey, or MessageId is not supported."


def rejected(condition: str | None, description: str | None = None) -> Outcome:
    """Give a rejection."""
    return Outcome(OutcomeKind.REJECTED, condition, description)


@pytest.mark.parametrize(
    ("outcome", "is_known_not_stored", "maybe_delivered"),
    [
        (ACCEPTED, False, False),
        (RELEASED, True, False),
        (LOST, False, True),
        (rejected(SERVER_BUSY), True, False),
        (rejected("amqp:not-found"), False, False),
        (rejected("com.microsoft:timeout"), False, True),
        (rejected("amqp:internal-error"), False, True),
        (rejected(None), False, False),
    ],
)
def test_what_an_outcome_says(outcome: Outcome, *, is_known_not_stored: bool, maybe_delivered: bool) -> None:
    """Released and busy are worth another try; lost and given up may have been stored; any other refusal is final."""
    assert outcome.is_known_not_stored is is_known_not_stored
    assert outcome.maybe_delivered is maybe_delivered


@pytest.mark.parametrize(
    ("outcome", "refuses_joining", "refuses_always"),
    [
        (rejected(NOT_ALLOWED, MIXED), True, True),
        (rejected(NOT_ALLOWED, "The entity is read-only"), False, False),
        (rejected(NOT_ALLOWED), False, False),
        (rejected("amqp:internal-error", MIXED), False, False),
        (rejected(TOO_LARGE), True, False),
        (rejected("amqp:not-found"), False, False),
        (LOST, False, False),
    ],
)
def test_what_refuses_joining(outcome: Outcome, *, refuses_joining: bool, refuses_always: bool) -> None:
    """Too large may be due to joining, this time; the service's own words about mixed batches, with their condition, always."""
    packing = ScriptedPacking()
    assert packing.refuses_joining(outcome) is refuses_joining
    assert packing.refuses_always(outcome) is refuses_always


def test_a_refused_link_says_why() -> None:
    """The refusal of a link is known by its condition, and holds the outcome."""
    outcome = rejected("amqp:not-found")
    error = LinkRefused(outcome)
    assert (str(error), error.outcome) == ("amqp:not-found", outcome)
