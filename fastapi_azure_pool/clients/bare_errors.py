"""Errors without their tracebacks, for those who are handed an error that somebody else's task has met."""

from __future__ import annotations

from typing import TypeVar

ErrorT = TypeVar("ErrorT", bound=BaseException)


def bare(error: ErrorT) -> ErrorT:
    """Take the tracebacks off an error, and off those that led to it.

    The frames of whoever has met it hold the messages of everybody in the batch, whose answers hold the error: all of it would stay
    until the garbage collector comes by, and as long as anybody keeps the error.

    Returns:
        The same error.
    """
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        link = left.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        link.__traceback__ = None
        if getattr(link, "exc_traceback", None) is not None:
            setattr(link, "exc_traceback", None)  # noqa: B010 - azure-core's errors keep that of what was being handled
        left += (link.__cause__, link.__context__)
    return error
