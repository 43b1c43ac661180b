"""Event Hubs and Service Bus of one emulator: the entities, the tokens and the port that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.authorization import DEFAULT_KEY, KEY_NAME, Access
from fastapi_azure_pool.emulator.amqp.server import AmqpServer
from fastapi_azure_pool.emulator.eventhub.namespace import EventHubs
from fastapi_azure_pool.emulator.servicebus.service import ServiceBusService

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.faults import Faults
    from fastapi_azure_pool.emulator.tokens import TokenIssuer


class Messaging:
    """What of the emulator speaks AMQP.

    Args:
        faults: Asked for every request.
        issuer: Whose tokens are taken.
        host: A loopback address.
        port: 0 for a free one.
        key: The shared access key; None for the one that every emulator has.
        idle_timeout_seconds: See AmqpServer.

    Attributes:
        event_hubs: The hubs.
        service_bus: The queues and topics.
        server: The server.
    """

    def __init__(
        self,
        faults: Faults,
        issuer: TokenIssuer,
        *,
        host: str,
        port: int,
        key: str | None,
        idle_timeout_seconds: float,
    ) -> None:
        self._access = Access(DEFAULT_KEY if key is None else key, issuer)
        self.event_hubs = EventHubs()
        self.service_bus = ServiceBusService()
        self.server = AmqpServer(
            [self.event_hubs, self.service_bus.directory],
            self._access,
            faults,
            host=host,
            port=port,
            idle_timeout_seconds=idle_timeout_seconds,
            on_start=self.service_bus.start,
            on_stop=self.service_bus.stop,
        )
        faults.connect_amqp(lambda: self.server)

    @property
    def key(self) -> str:
        """The shared access key."""
        return self._access.key

    def require_free(self, name: str) -> str:
        """Return a name that no entity of either service has: they share a namespace here.

        Raises:
            ValueError: One has it.
        """
        if self.event_hubs.find_hub(name) is not None or self.service_bus.directory.find(name) is not None:
            raise ValueError(f"there is an event hub, a queue or a topic called {name!r} already")
        return name

    def connection_string(self, *, is_tls: bool) -> str:
        """Return what the SDKs connect with; both services have the same."""
        text = (
            f"Endpoint={self.server.url.rstrip('/')};SharedAccessKeyName={KEY_NAME};SharedAccessKey={self._access.key}"
        )
        return text if is_tls else f"{text};UseDevelopmentEmulator=true"
