"""Joined policies do what azure-core's pipeline does with the same policies, in the same order."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.pipeline import AsyncPipeline
from azure.core.pipeline.policies import AsyncHTTPPolicy, SansIOHTTPPolicy
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import HttpRequest

from fastapi_azure_pool.clients.joined_policies import JoinedPolicies, joined


class _Noting(SansIOHTTPPolicy[Any, Any]):
    def __init__(self, name: str, notes: list[str], fails_at: tuple[str, ...]) -> None:
        self._name = name
        self._notes = notes
        self._fails_at = fails_at

    def _note(self, what: str) -> None:
        self._notes.append(f"{self._name}.{what}")
        if self._notes[-1] in self._fails_at:
            raise ValueError(self._notes[-1])

    def on_request(self, request: Any) -> None:
        self._note("on_request")

    def on_response(self, request: Any, response: Any) -> None:
        self._note("on_response")

    def on_exception(self, request: Any) -> None:
        self._note("on_exception")


class _Waiting(_Noting):
    """One whose methods are awaited, as azure-core allows."""

    async def on_request(self, request: Any) -> None:  # type: ignore[override]  # azure-core awaits what can be awaited
        self._note("on_request")

    async def on_response(self, request: Any, response: Any) -> None:  # type: ignore[override]  # see above
        self._note("on_response")

    async def on_exception(self, request: Any) -> None:  # type: ignore[override]  # see above
        self._note("on_exception")


class _Asking(SansIOHTTPPolicy[Any, Any]):
    """One that hears of requests only."""

    def on_request(self, request: Any) -> None:
        request.context["is asked"] = True


class _Passing(AsyncHTTPPolicy[Any, Any]):
    async def send(self, request: Any) -> Any:
        assert request.context["is asked"]
        return await self.next.send(request)


class _Transport(AioHttpTransport):  # type: ignore[misc]  # azure-core hands it out untyped
    def __init__(self, notes: list[str], fails_at: tuple[str, ...]) -> None:
        super().__init__()
        self._notes = notes
        self._fails_at = fails_at

    async def send(self, request: Any, **options: Any) -> Any:
        self._notes.append("send")
        if "send" in self._fails_at:
            raise ValueError("send")
        return object()


async def _run(fails_at: tuple[str, ...], *, is_joined: bool) -> tuple[list[str], str]:
    notes: list[str] = []
    a, b, c, d = (
        kind(name, notes, fails_at) for name, kind in zip("abcd", [_Noting, _Waiting, _Noting, _Noting], strict=True)
    )
    pipeline: Any = AsyncPipeline(_Transport(notes, fails_at), [a, _Asking(), b, c, _Passing(), d])
    if is_joined:
        pipeline = joined(pipeline)
        assert [type(policy) for policy in pipeline._impl_policies] == [JoinedPolicies, _Passing, JoinedPolicies]
    try:
        await pipeline.run(HttpRequest("GET", "http://localhost/"))
    except ValueError as error:
        return notes, str(error)
    return notes, ""


@pytest.mark.parametrize(
    "fails_at",
    [
        (),
        ("send",),
        ("a.on_request",),
        ("c.on_request",),
        ("d.on_request",),
        ("a.on_response",),
        ("b.on_response",),
        ("d.on_response",),
        ("send", "c.on_exception"),
        ("send", "b.on_exception", "a.on_exception"),
    ],
    ids=str,
)
async def test_joined_policies_are_called_as_azure_core_calls_them(fails_at: tuple[str, ...]) -> None:
    """Each sees requests from outside inwards, answers and exceptions from inside outwards, wherever one fails."""
    assert await _run(fails_at, is_joined=True) == await _run(fails_at, is_joined=False)


async def test_a_pipeline_of_another_shape_stays_as_it_is() -> None:
    """Where azure-core keeps its policies otherwise, nothing is joined."""
    pipeline = AsyncPipeline(AioHttpTransport(), [_Asking()])
    assert joined(None) is None
    pipeline._impl_policies = ()  # type: ignore[assignment]  # as another version might
    assert joined(pipeline) is pipeline
