"""Objects that belong to an event loop in another thread, for use from any thread."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from fastapi_azure_pool.emulator import Fault

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.from_thread import BlockingPortal

SubjectT = TypeVar("SubjectT")


def on_loop(portal: BlockingPortal, subject: SubjectT) -> SubjectT:
    """Give a stand-in whose attributes are read, and whose methods are called, on the portal's event loop.

    It is for the emulator's `Faults` and `RequestLog`, which are made for one thread; the faults that a method returns are stood in
    for as well.
    """
    return cast("SubjectT", _OnLoop(portal, subject))


class _OnLoop:
    """The stand-in. Python looks special methods up on the type, so those of the subjects are spelt out."""

    __slots__ = ("_portal", "_subject")

    def __init__(self, portal: BlockingPortal, subject: Any) -> None:
        self._portal = portal
        self._subject = subject

    def __getattr__(self, name: str) -> Any:
        value = self._portal.call(getattr, self._subject, name)
        if not callable(value):
            return value

        @wraps(value)
        def call(*args: Any, **kwargs: Any) -> Any:
            result = self._portal.call(partial(value, *args, **kwargs))
            return _OnLoop(self._portal, result) if isinstance(result, Fault) else result

        return call

    def __len__(self) -> int:
        return self._portal.call(len, self._subject)

    def __repr__(self) -> str:
        return self._portal.call(repr, self._subject)

    def __enter__(self) -> Self:
        self._portal.call(self._subject.__enter__)
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._portal.call(self._subject.__exit__, error_type, error, traceback)
