"""To which port of a namespace the SDKs are led; the connections themselves are opened in test_amqp_tokens.py."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.eventhub import TransportType

from fastapi_azure_pool.clients.amqp.access import AmqpAccess, port_options

KEY = AzureNamedKeyCredential("sender", "a2V5")


def led_to(namespace: str | None, connection_string: str | None = None, **options: Any) -> dict[str, Any]:
    """Give what is added to the SDK's options."""
    access = AmqpAccess(
        namespace,
        "orders",
        None,
        None if connection_string else KEY,
        connection_string,
        entity_argument="eventhub_name",
        namespace_argument="eventhub_namespace",
        scope="https://eventhubs.azure.net/.default",
    )
    return port_options(access, options, TransportType.Amqp)


@pytest.mark.parametrize(
    "namespace",
    ["shop.example:15671", "sb://shop.example:15671", "[::1]:15671"],
)
def test_a_port_of_its_own_is_gone_to(namespace: str) -> None:
    """A namespace with a port is reached there, over plain AMQP, where the SDK alone would take WebSockets."""
    host = namespace.removeprefix("sb://")
    assert led_to(namespace) == {
        "custom_endpoint_address": f"sb://{host}",
        "transport_type": TransportType.Amqp,
    }


def test_a_port_in_a_connection_string_is_gone_to() -> None:
    """So is one that a connection string names."""
    text = "Endpoint=sb://shop.example:15671;SharedAccessKeyName=sender;SharedAccessKey=a2V5"
    assert led_to(None, text)["custom_endpoint_address"] == "sb://shop.example:15671"


def test_a_chosen_transport_is_kept() -> None:
    """Who wants WebSockets gets them, on that port."""
    chosen = led_to("shop.example:8443", transport_type=TransportType.AmqpOverWebsocket)
    assert chosen["transport_type"] is TransportType.AmqpOverWebsocket


@pytest.mark.parametrize(
    ("namespace", "connection_string", "options"),
    [
        ("shop.servicebus.windows.net", None, {}),
        ("https://shop.servicebus.windows.net:443/", None, {}),
        ("amqps://shop.servicebus.windows.net:5671", None, {}),
        ("shop.example:15671", None, {"custom_endpoint_address": "sb://front.example"}),
        ("shop.example:15671", None, {"http_proxy": {"proxy_hostname": "proxy.example", "proxy_port": 8080}}),
        (
            None,
            "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=n;SharedAccessKey=a2V5;UseDevelopmentEmulator=true",
            {},
        ),
    ],
)
def test_azures_ports_are_left_to_the_sdk(
    namespace: str | None, connection_string: str | None, options: dict[str, Any]
) -> None:
    """Nothing is added for Azure's own ports, without TLS, or where the options lead somewhere themselves."""
    assert led_to(namespace, connection_string, **options) == {}
