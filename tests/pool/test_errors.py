"""What every error carries, and that it survives pickle and copy with it."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool import errors

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_ERROR = [
    errors.PoolError("something", pool="orders"),
    errors.PoolClosed("orders", state="closing"),
    errors.WrongLoopError("orders"),
    errors.ConnectionsExhausted(
        "orders", waited_seconds=1.5, ready=1, opening=2, clients=3, waiting=4, last_error="OSError", advice="wait"
    ),
    errors.ConnectionFailed("orders", error="OSError", retry_after=2.5),
    errors.UnknownPool("order", ["orders", "events"]),
    errors.PoolsNotFound(),
    errors.SendError("not confirmed", maybe_delivered=True, pool="events"),
    errors.SendTimedOut("too late", maybe_delivered=True),
    errors.SendInterrupted("cut", maybe_delivered=False),
    errors.SendRejected("full", condition="amqp:resource-limit-exceeded"),
    errors.MessageTooLarge("too large", condition="amqp:link:message-size-exceeded"),
    errors.AzureBlobError(ValueError("not there"), "invoices/1"),
]


class SdkError(Exception):
    """What an SDK raises: with arguments of its own, and with what cannot be pickled."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
        self.live = lambda: None


class SdkBusyError(SdkError):
    """A kind of it."""


def test_every_error_is_here() -> None:
    """The list above has each public error once."""
    assert sorted(type(error).__name__ for error in EVERY_ERROR) == sorted(errors.__all__)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, *(lambda error, n=n: pickle.loads(pickle.dumps(error, n)) for n in range(6))],
    ids=["copy", "deepcopy", *(f"pickle {n}" for n in range(6))],
)
def test_errors_survive_pickle_and_copy(
    error: errors.PoolError, duplicate: Callable[[errors.PoolError], errors.PoolError]
) -> None:
    """A copy has the same type, text and data."""
    error.add_note("in a test")
    copied = duplicate(error)
    assert copied is not error
    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert copied.args == error.args
    assert vars(copied) == vars(error)


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (errors.ConnectionsExhausted, TimeoutError),
        (errors.ConnectionFailed, ConnectionError),
        (errors.UnknownPool, LookupError),
        (errors.SendTimedOut, TimeoutError),
        (errors.SendInterrupted, ConnectionError),
        (errors.MessageTooLarge, ValueError),
    ],
)
def test_errors_are_also_what_python_calls_them(error: type[errors.PoolError], bases: type[Exception]) -> None:
    """Who catches Python's own kinds of error catches these."""
    assert issubclass(error, bases)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_every_error_is_a_pool_error(error: Exception) -> None:
    """One except clause catches them all."""
    assert isinstance(error, errors.PoolError)


def test_messages_say_what_to_do_next() -> None:
    """Each message names the pool and the way out."""
    assert str(errors.PoolClosed("orders")) == (
        "pool 'orders' is closed: use it inside its lifespan, or call `await pool.open()` to open it again"
    )
    assert str(errors.WrongLoopError()) == (
        "the pool is open on another event loop: make one pool per event loop, or close this one there first"
    )
    assert str(errors.ConnectionsExhausted(waited_seconds=1, ready=1, opening=2, clients=3, waiting=4)) == (
        "no place in the pool after 1.000 s (ready=1, opening=2, clients=3, waiting=4):"
        " raise max_size or client_limit, or hold connections for a shorter time"
    )
    assert "; the last attempt to open one failed with OSError: wait" in str(EVERY_ERROR[3])
    assert str(errors.ConnectionFailed("orders", error="OSError", retry_after=2.54)) == (
        "pool 'orders' could not open a connection (OSError); it tries again in 2.5 s"
    )
    assert "no pool 'order'; the pools are: 'events', 'orders'. Name it in open_pools(app, order=...)" in str(
        errors.UnknownPool("order", ["orders", "events"])
    )
    assert "the pools are: none at all" in str(errors.UnknownPool("order", []))
    assert "with TestClient(app)" in str(errors.PoolsNotFound())
    assert "as state: yield state" in str(errors.PoolsNotFound())


def test_data_is_kept_as_attributes() -> None:
    """What a handler may want to know is an attribute, not only a word in the text."""
    exhausted, failed, unknown = EVERY_ERROR[3], EVERY_ERROR[4], EVERY_ERROR[5]
    assert isinstance(exhausted, errors.ConnectionsExhausted)
    assert isinstance(failed, errors.ConnectionFailed)
    assert isinstance(unknown, errors.UnknownPool)
    assert (exhausted.waited_seconds, exhausted.ready, exhausted.opening) == (1.5, 1, 2)
    assert (exhausted.clients, exhausted.waiting, exhausted.last_error) == (3, 4, "OSError")
    assert failed.retry_after == 2.5
    assert (unknown.name, unknown.names) == ("order", ("events", "orders"))
    assert [error.pool for error in EVERY_ERROR[:8]] == [*["orders"] * 5, "order", None, "events"]
    assert [error.maybe_delivered for error in EVERY_ERROR if isinstance(error, errors.SendError)] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "error",
    [error for error in EVERY_ERROR if isinstance(error, errors.SendError)],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_send_error_can_be_the_sdk_s_too(
    error: errors.SendError, duplicate: Callable[[errors.SendError], errors.SendError]
) -> None:
    """It is caught by handlers written for either, has the data of both, and survives pickle and copy."""
    cause = SdkBusyError("busy", status=503)
    both = error.like(cause)
    assert both.__cause__ is cause
    assert type(both).__name__ == type(error).__name__
    for each in (both, duplicate(both)):
        assert isinstance(each, type(error))
        assert isinstance(each, SdkError)
        assert (str(each), each.args) == (str(error), error.args)
        assert (each.maybe_delivered, each.status, each.pool) == (error.maybe_delivered, 503, error.pool)
        assert getattr(each, "condition", None) == getattr(error, "condition", None)
    assert type(duplicate(both)) is type(both)


def test_one_class_serves_all_errors_of_two_kinds() -> None:
    """Making an error the SDK's too makes no new class each time, and none where it is one already."""
    first, second = (errors.SendTimedOut(text, maybe_delivered=True).like(SdkError("", status=1)) for text in "ab")
    assert type(first) is type(second)
    assert type(errors.MessageTooLarge("x").like(ValueError("y"))) is errors.MessageTooLarge
