"""What clients ask about hubs and partitions: the node ``$management``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.requests import Request, RequestNode, Response
from fastapi_azure_pool.emulator.amqp.values import Int, Timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.emulator.eventhub.hub import Hub


class ManagementNode(RequestNode):
    """Answers READ for hubs and partitions.

    Args:
        find_hub: Gives a hub by its name.
    """

    status_name = "status-code"
    description_name = "status-description"
    condition_name = "error-condition"

    def __init__(self, find_hub: Callable[[str], Hub | None]) -> None:
        super().__init__("$management")
        self._find_hub = find_hub

    def fault_path(self, request: Request) -> str:
        """Return the hub's name."""
        return _text(request, "name")

    def answer(self, request: Request) -> Response:
        """Tell about a hub or a partition."""
        name, kind = _text(request, "name"), _text(request, "type")
        if request.operation != "READ" or kind not in {"com.microsoft:eventhub", "com.microsoft:partition"}:
            return Response(400, f"The operation '{request.operation}' of '{kind}' is not supported.")
        hub = self._find_hub(name)
        if hub is None:
            return Response(404, f"The messaging entity '{name}' could not be found.", condition="amqp:not-found")
        if not request.link.session.connection.grants.cover(hub.name):
            return Response(
                401, f"Unauthorized access to '{name}': put a token first.", condition="amqp:unauthorized-access"
            )
        if kind == "com.microsoft:eventhub":
            return Response(
                body={
                    "name": hub.name,
                    "type": kind,
                    "created_at": Timestamp(hub.created_at),
                    "partition_count": Int(len(hub.partitions)),
                    "partition_ids": [partition.id for partition in hub.partitions],
                }
            )
        wanted = _text(request, "partition")
        partition = next((one for one in hub.partitions if one.id == wanted), None)
        if partition is None:
            return Response(
                404, f"The partition '{wanted}' of '{name}' could not be found.", condition="amqp:not-found"
            )
        last = partition.last()
        return Response(
            body={
                "name": hub.name,
                "type": kind,
                "partition": partition.id,
                "begin_sequence_number": 0,
                "last_enqueued_sequence_number": -1 if last is None else last.sequence_number,
                "last_enqueued_offset": "-1" if last is None else str(last.offset),
                "last_enqueued_time_utc": Timestamp(hub.created_at if last is None else last.enqueued_at),
                "is_partition_empty": last is None,
            }
        )


def _text(request: Request, name: str) -> str:
    value = request.properties.get(name)
    return value if isinstance(value, str) else ""
