"""Every exception of fastapi-azure-pool, each a `PoolError`.

Messages carry counts and pool names, never an endpoint's key, a token or a connection string. The error of the SDK, where there is
one, is the exception's ``__cause__``. All of them survive ``pickle`` and ``copy`` with their data.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AzureBlobError",
    "ConnectionFailed",
    "ConnectionsExhausted",
    "MessageTooLarge",
    "PoolClosed",
    "PoolError",
    "PoolsNotFound",
    "SendError",
    "SendInterrupted",
    "SendRejected",
    "SendTimedOut",
    "UnknownPool",
    "WrongLoopError",
]


class PoolError(Exception):
    """What every error of this library is.

    Attributes:
        pool: The pool's name; None where it has none, or where no one pool is concerned.
    """

    def __init__(self, message: str, *, pool: str | None = None) -> None:
        super().__init__(message)
        self.pool = pool

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException's own would call the class with the message alone and so lose, or miss, the keyword arguments.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[PoolError], arguments: tuple[Any, ...], data: dict[str, Any]) -> PoolError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(data)
    return error


def _called(pool: str | None) -> str:
    return "the pool" if pool is None else f"pool {pool!r}"


class PoolClosed(PoolError):
    """The pool is closing or closed: it gives nothing out until it is opened again."""

    def __init__(self, pool: str | None = None, *, state: str = "closed") -> None:
        super().__init__(
            f"{_called(pool)} is {state}: use it inside its lifespan, or call `await pool.open()` to open it again",
            pool=pool,
        )


class WrongLoopError(PoolError):
    """The pool is open on another event loop than the one that runs now; its connections cannot leave their loop."""

    def __init__(self, pool: str | None = None) -> None:
        super().__init__(
            f"{_called(pool)} is open on another event loop: make one pool per event loop, or close this one there first",
            pool=pool,
        )


class ConnectionsExhausted(PoolError, TimeoutError):
    """No place came free in time, or too many callers wait already.

    Attributes:
        waited_seconds: How long the caller waited, in seconds; 0.0 when it was refused at once.
        ready: Connections that were ready, at the moment of giving up.
        opening: Connections that were being opened.
        clients: Clients that held a place.
        waiting: Callers in line, this one included.
        last_error: Type name of the error that the last failed opening met, or None.
    """

    def __init__(
        self,
        pool: str | None = None,
        *,
        waited_seconds: float,
        ready: int,
        opening: int,
        clients: int,
        waiting: int,
        last_error: str | None = None,
        advice: str = "raise max_size or client_limit, or hold connections for a shorter time",
    ) -> None:
        last = f"; the last attempt to open one failed with {last_error}" if last_error else ""
        super().__init__(
            f"no place in {_called(pool)} after {waited_seconds:.3f} s"
            f" (ready={ready}, opening={opening}, clients={clients}, waiting={waiting}){last}: {advice}",
            pool=pool,
        )
        self.waited_seconds = waited_seconds
        self.ready = ready
        self.opening = opening
        self.clients = clients
        self.waiting = waiting
        self.last_error = last_error


class ConnectionFailed(PoolError, ConnectionError):
    """No connection could be opened; the SDK's error is the ``__cause__``. The pool goes on trying by itself.

    Attributes:
        retry_after: Seconds until the pool's next attempt, at least 0.0.
    """

    def __init__(self, pool: str | None = None, *, error: str, retry_after: float) -> None:
        super().__init__(
            f"{_called(pool)} could not open a connection ({error}); it tries again in {retry_after:.1f} s", pool=pool
        )
        self.retry_after = retry_after


class UnknownPool(PoolError, LookupError):
    """No pool has the name that was asked for.

    Attributes:
        name: The name that was asked for.
        names: The names that there are, sorted.
    """

    def __init__(self, name: str, names: Iterable[str]) -> None:
        self.name = name
        self.names = tuple(sorted(names))
        there_are = ", ".join(map(repr, self.names)) or "none at all"
        super().__init__(
            f"there is no pool {name!r}; the pools are: {there_are}. Name it in open_pools(app, {name}=...)", pool=name
        )


class PoolsNotFound(PoolError):
    """The application holds no pools: no lifespan ran, or the lifespan did not yield what `open_pools` gave it."""

    def __init__(self) -> None:
        super().__init__(
            "this application holds no pools. In tests, run the lifespan with `with TestClient(app)`; in a mounted"
            " sub-application, yield the state from the parent's lifespan: `async with open_pools(app, ...) as state: yield state`"
        )


class _SdkLike(PoolError):
    """An error that can also be of the type that an SDK has for it, so that handlers written for the SDK go on working."""

    def like(self, cause: BaseException) -> Self:
        """Give this error as one that is also of the type of the SDK's error, which becomes its cause, with that one's data."""
        kind = _both(type(self), type(cause))
        both = _restore(kind, self.args, {**vars(cause), **self.__dict__})
        both.__cause__ = cause
        return both  # type: ignore[return-value]  # a subclass of this error's class, made just now

    def __reduce__(self) -> tuple[Any, ...]:
        halves: tuple[type[_SdkLike], type[BaseException]] | None = getattr(self, "_halves", None)
        if halves is None:
            return super().__reduce__()
        # What the SDK keeps of tracebacks and live objects cannot be carried along.
        data = {name: value for name, value in vars(self).items() if isinstance(value, _PORTABLE)}
        return _restore_both, (*halves, self.args, data)

    def __str__(self) -> str:
        return str(self.args[0])


class SendError(_SdkLike):
    """A message or an event that the service has not confirmed.

    What a managed client raises is also of the type that the SDK has for it, such as
    ``azure.servicebus.exceptions.ServiceBusServerBusyError``, so that handlers written for the SDK go on working; the SDK's own
    error is the ``__cause__``.

    Attributes:
        maybe_delivered: Whether it may have been stored all the same. False is certain: it was not, and sending it again makes no
            duplicate.
    """

    def __init__(self, message: str, *, maybe_delivered: bool, pool: str | None = None) -> None:
        super().__init__(message, pool=pool)
        self.maybe_delivered = maybe_delivered


class SendTimedOut(SendError, TimeoutError):
    """The time for sending was over before the service confirmed anything."""


class SendInterrupted(SendError, ConnectionError):
    """The connection was closed or broke before the service confirmed anything."""


class SendRejected(SendError):
    """The service, or the SDK before it, refused it.

    Attributes:
        condition: The AMQP error condition, such as "amqp:resource-limit-exceeded"; None where there is none.
    """

    def __init__(
        self, message: str, *, condition: str | None = None, maybe_delivered: bool = False, pool: str | None = None
    ) -> None:
        super().__init__(message, maybe_delivered=maybe_delivered, pool=pool)
        self.condition = condition


class MessageTooLarge(SendRejected, ValueError):
    """It is larger than the service takes."""


# A signature in a URL, and the one that Azure repeats when it says that it does not match.
_SIGNATURE = re.compile(r"(?P<before>\bsig=|signature found in the HTTP request ')[^&\s'\"]+", re.IGNORECASE)


class AzureBlobError(_SdkLike):
    """A request to Blob Storage that failed.

    What a client raises is also of the type that the SDK has for it, such as ``azure.core.exceptions.ResourceNotFoundError``; the
    SDK's own error is the ``__cause__``. No text of it holds a signature.

    Args:
        error: The SDK's error.
        blob_name: The blob that it concerns, if one.

    Attributes:
        status_code: The answer's HTTP status, such as 404; None where there was no answer.
        reason: The status in words; None likewise.
        error_code: Blob Storage's code, such as "BlobNotFound"; None where it gave none.
        message: What Blob Storage, or the SDK, says of it.
        blob_name: The blob's name, or None.
    """

    def __init__(self, error: BaseException, blob_name: str | None = None) -> None:
        self.message = _without_signature(str(getattr(error, "message", None) or error))
        super().__init__(self.message if blob_name is None else f"blob {blob_name!r}: {self.message}")
        self.status_code: int | None = getattr(error, "status_code", None)
        reason = getattr(error, "reason", None)
        self.reason: str | None = None if reason is None else _without_signature(str(reason))
        code = getattr(error, "error_code", None)
        self.error_code: str | None = getattr(code, "value", code)
        self.blob_name = blob_name

    def like(self, cause: BaseException) -> Self:
        """See `_SdkLike.like`; the SDK's texts may hold the signature that was used."""
        both = super().like(cause)
        for name, value in vars(both).items():
            if isinstance(value, str):
                setattr(both, name, _without_signature(value))
        return both


def _without_signature(text: str) -> str:
    return _SIGNATURE.sub(r"\g<before>***", text)


_KINDS: dict[tuple[type[_SdkLike], type[BaseException]], type[_SdkLike]] = {}


def _both(ours: type[_SdkLike], theirs: type[BaseException]) -> type[_SdkLike]:
    """Give the class of errors that are of our type and of the SDK's, under our name; always the same one."""
    if issubclass(ours, theirs):
        return ours
    kind = _KINDS.get((ours, theirs))
    if kind is None:
        namespace = {"__module__": ours.__module__, "__doc__": ours.__doc__, "_halves": (ours, theirs)}
        kind = _KINDS[ours, theirs] = type(ours.__name__, (ours, theirs), namespace)
    return kind


def _restore_both(
    ours: type[_SdkLike], theirs: type[BaseException], arguments: tuple[Any, ...], data: dict[str, Any]
) -> PoolError:
    return _restore(_both(ours, theirs), arguments, data)


_PORTABLE = (type(None), bool, int, float, str, bytes, list)
