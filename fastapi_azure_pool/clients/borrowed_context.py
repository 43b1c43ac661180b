"""Awaiting in another task's context."""

from __future__ import annotations

from functools import partial
from types import coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

AnswerT = TypeVar("AnswerT")


@coroutine
def in_context(context: Context, work: Coroutine[Any, Any, AnswerT]) -> Generator[Any, Any, AnswerT]:
    """Await a coroutine in this task, but in another context.

    A task of its own would be a second one in the SDK's sender.

    Args:
        context: The other context, which nobody is in.
        work: What is awaited.
    """
    step: Callable[[], Any] = partial(work.send, None)
    while True:
        try:
            awaited = context.run(step)
        except StopIteration as stop:
            answer: AnswerT = stop.value
            return answer
        try:
            step = partial(work.send, (yield awaited))
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle, cancellation too
            step = partial(work.throw, error)
