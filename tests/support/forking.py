"""Forking a process as a test, and hearing from the child."""

from __future__ import annotations

import asyncio
import os
import pickle
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def in_a_forked_child(work: Callable[[], Coroutine[Any, Any, object]]) -> Any:
    """Fork, have the child run a coroutine on an event loop of its own, and give its result; the caller's loop stands still.

    Raises:
        RuntimeError: The child has failed; its traceback is on the standard error.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as answer:
                pickle.dump(asyncio.run(work()), answer)
            status = 0
        except BaseException:  # noqa: BLE001 - nothing may leave the child by the parent's frames
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        told = answer.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError("the forked child has failed")
    return pickle.loads(told)
