"""The policies of an azure-core pipeline, those joined that stand side by side and do not wait."""

from __future__ import annotations

from inspect import isawaitable
from itertools import groupby
from typing import Any

from azure.core.pipeline import AsyncPipeline
from azure.core.pipeline.policies import AsyncHTTPPolicy, SansIOHTTPPolicy


class JoinedPolicies(AsyncHTTPPolicy[Any, Any]):
    """Several policies as one, which calls them in the order in which azure-core would.

    azure-core runs each of them in a coroutine of its own, in which it awaits two more, of which most call a method that does
    nothing. A pipeline of Blob Storage has twelve.

    Args:
        policies: The policies, the outermost first.
    """

    def __init__(self, policies: list[SansIOHTTPPolicy[Any, Any]]) -> None:
        super().__init__()
        self._policies = policies
        # From the innermost; those that say nothing to an answer have the method of their base.
        self._listening = [
            (index, policy)
            for index, policy in reversed(list(enumerate(policies)))
            if type(policy).on_response is not SansIOHTTPPolicy.on_response or "on_response" in vars(policy)
        ]

    async def send(self, request: Any) -> Any:
        """Have every policy look at the request, send it, and have every one look at the answer, or at what was raised."""
        inside = 0
        try:
            for policy in self._policies:
                result: Any = policy.on_request(request)
                if result is not None and isawaitable(result):
                    await result
                inside += 1
            response = await self.next.send(request)
            for index, policy in self._listening:
                inside = index
                result = policy.on_response(request, response)
                if result is not None and isawaitable(result):
                    await result
        except Exception:
            await self._tell(request, inside)
            raise
        return response

    async def _tell(self, request: Any, inside: int) -> None:
        """Have those look at an exception inside which it was raised."""
        if inside:
            policy: Any = self._policies[inside - 1]
            try:
                result = policy.on_exception(request)
                if result is not None and isawaitable(result):
                    await result
            finally:
                await self._tell(request, inside - 1)


def joined(pipeline: Any) -> Any:
    """Give a pipeline that does the same with fewer coroutines; the same one where azure-core keeps its policies otherwise.

    Measured for a download from Blob Storage: 0.29 ms of processor time in the pipeline instead of 0.36, without the transport.
    To go back, leave `PooledContainerClient` the pipeline that it was made with.
    """
    policies = getattr(pipeline, "_impl_policies", None)
    transport = getattr(pipeline, "_transport", None)
    if not isinstance(pipeline, AsyncPipeline) or not isinstance(policies, list) or transport is None:
        return pipeline
    found: list[Any] = []
    for is_plain, group in groupby(policies, key=_is_plain):
        members = list(group)
        found += [JoinedPolicies([runner._policy for runner in members])] if is_plain else members  # noqa: SLF001 - see _is_plain
    return AsyncPipeline(transport, found)


def _is_plain(policy: Any) -> bool:
    """Tell whether something is what azure-core wraps a policy in that does not wait."""
    return type(policy).__name__ == "_SansIOAsyncHTTPPolicyRunner" and isinstance(
        getattr(policy, "_policy", None), SansIOHTTPPolicy
    )
