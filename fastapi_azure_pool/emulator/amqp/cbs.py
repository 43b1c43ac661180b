"""Claims-based security: the node ``$cbs``, to which clients put their tokens.

Source: "AMQP Claims-based Security Version 1.0", OASIS working draft 05, and what Azure's services answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.authorization import TokenRefused, entity_path
from fastapi_azure_pool.emulator.amqp.requests import Request, RequestNode, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.emulator.amqp.authorization import Access

PUT_TOKEN = "PUT-TOKEN"  # noqa: S105 - an operation's name


class CbsNode(RequestNode):
    """Takes tokens, and grants their connection what they allow.

    Args:
        access: Checks them.
        has_entity: Whether there is an entity with a path.
    """

    status_name = "status-code"
    description_name = "status-description"
    condition_name = "error-condition"

    def __init__(self, access: Access, has_entity: Callable[[str], bool]) -> None:
        super().__init__("$cbs")
        self._access = access
        self._has_entity = has_entity

    def operation_name(self, request: Request) -> str:
        """Return the operation's name in capitals."""
        return request.operation.upper()

    def fault_path(self, request: Request) -> str:
        """Return the entity that the token is for."""
        return entity_path(_text(request, "name"))

    def refuse(self, request: Request, status: int, condition: str, description: str) -> Response:  # noqa: ARG002 - see RequestNode
        """Word a failure as ``$cbs`` does: without a condition, which the SDKs would take for another thing."""
        return Response(status, description, body=None)

    def answer(self, request: Request) -> Response:
        """Take a token."""
        if request.operation.upper() != PUT_TOKEN:
            return Response(400, f"The operation '{request.operation}' is not supported: send put-token.")
        resource = _text(request, "name")
        try:
            expires_at = self._access.check(_text(request, "type"), request.value, resource)
        except TokenRefused as refusal:
            return Response(refusal.status, refusal.description)
        path = entity_path(resource)
        if path and not self._has_entity(path):
            return Response(404, f"The messaging entity '{resource}' could not be found.")
        request.link.session.connection.grants.add(path, expires_at)
        return Response(200, "OK")


def _text(request: Request, name: str) -> str:
    value = request.properties.get(name)
    return value if isinstance(value, str) else ""
