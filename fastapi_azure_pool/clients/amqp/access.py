"""Where an event hub, a queue or a topic is, and how to authenticate: checked before anything is opened."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential

from fastapi_azure_pool.clients.arguments import shown
from fastapi_azure_pool.clients.authentication import require_one
from fastapi_azure_pool.clients.credentials import SharedCredential, client_credential

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from fastapi_azure_pool.clients.credentials import CredentialFactory

    KeyCredential = AzureNamedKeyCredential | AzureSasCredential

_EMULATOR_FLAG = "UseDevelopmentEmulator"

_FIELDS = {
    name.lower(): name
    for name in (
        "Endpoint",
        "SharedAccessKeyName",
        "SharedAccessKey",
        "SharedAccessSignature",
        "EntityPath",
        _EMULATOR_FLAG,
    )
}
"""What a connection string may hold, by the names in small letters."""

# AMQP's over TLS, and that of the URL which the portal shows: a namespace of Azure has both, and the SDK knows which to take.
_AZURE_PORTS = frozenset({443, 5671})

# With these the SDK goes where they say.
_LEADING = frozenset({"custom_endpoint_address", "http_proxy"})

# Also of a name in letters of other alphabets; what else may stand in a URL's host is no host's, but perhaps a key.
_HOST_NAME = re.compile(r"[\w.-]+")

_EXAMPLE = "Endpoint=sb://<namespace>.servicebus.windows.net/;SharedAccessKeyName=<name>;SharedAccessKey=<key>;EntityPath=<entity>"


class AmqpAccess:
    """Where an entity of Event Hubs or Service Bus is, and how to authenticate.

    Args:
        namespace: The namespace's host, such as "shop.servicebus.windows.net", or its URL; None where a connection string names it.
        entity: The hub, queue or topic; None where a connection string names it.
        credential_factory: Makes an async credential.
        credential: Or a credential, or a named key, or a shared access signature.
        connection_string: Or all of it in one. With none of the three, the application's credential.
        scope: What the SDK asks tokens for.
        entity_argument: What the caller calls the entity, for messages.
        namespace_argument: What the caller calls the namespace, for messages.

    Attributes:
        namespace: The host, perhaps with a port.
        entity: The entity's name.
        credential: What the SDK gets; None with a connection string.
        connection_string: What the SDK gets instead of it, or None.
        uses_tls: False for a local emulator only.

    Raises:
        TypeError: The credential is a sync one, or a text.
        ValueError: Something is malformed, missing or contradictory. No message holds a key.
    """

    __slots__ = ("connection_string", "credential", "entity", "namespace", "uses_tls")

    def __init__(
        self,
        namespace: str | None,
        entity: str | None,
        credential_factory: CredentialFactory | None,
        credential: AsyncTokenCredential | KeyCredential | None,
        connection_string: str | None,
        *,
        scope: str,
        entity_argument: str,
        namespace_argument: str,
    ) -> None:
        check_authentication(credential_factory, credential, connection_string, may_borrow=True)
        self.connection_string: str | None = None
        self.credential: SharedCredential | KeyCredential | None = None
        self.uses_tls = True
        if connection_string is not None:
            fields = _parse_connection_string(connection_string)
            host = _host(fields["Endpoint"], "the connection string's Endpoint")
            if namespace and _host(namespace, namespace_argument) != host:
                raise ValueError(
                    f"{namespace_argument}={shown(namespace)} and connection_string= name different namespaces: leave one out"
                )
            named = fields.get("EntityPath")
            if entity and named and entity != named:
                raise ValueError(
                    f"{entity_argument}={shown(entity)} and the connection string's EntityPath={shown(named)} differ: leave one out"
                )
            entity = entity or named
            self.namespace = host
            self.connection_string = _written(fields, host)
            self.uses_tls = not _names_emulator(fields, host)
        else:
            self.namespace = _host(namespace, namespace_argument)
            self.credential = _checked_credential(credential_factory, credential, scope)
        if not entity or not isinstance(entity, str):
            raise ValueError(f"{entity_argument} must be the name of one in the namespace, not {shown(entity)}")
        if "SharedAccessKey" in entity or "SharedAccessSignature" in entity:
            raise ValueError(f"{entity_argument} holds a connection string: pass it as connection_string=")
        self.entity = entity

    @property
    def shared(self) -> SharedCredential | None:
        """The credential, where it is one that must be closed."""
        return self.credential if isinstance(self.credential, SharedCredential) else None


def check_authentication(
    credential_factory: object, credential: object, connection_string: object, *, may_borrow: bool = False
) -> None:
    """Raise ValueError unless exactly one kind of authentication is given, or none where an application may lend one."""
    require_one(
        "an event hub, a queue or a topic needs exactly one of credential_factory=, credential= (an async credential, an"
        " AzureNamedKeyCredential or an AzureSasCredential) and connection_string=",
        may_borrow=may_borrow,
        credential_factory=credential_factory,
        credential=credential,
        connection_string=connection_string,
    )


def port_options(access: AmqpAccess, options: dict[str, Any], plain_amqp: Any) -> dict[str, Any]:
    """Give the SDK's options that lead it to a namespace on a port of its own, such as a local emulator's with TLS.

    With TLS the SDK goes to Azure's port, whatever port the namespace is given with.

    Args:
        access: Where the namespace is.
        options: The SDK's options so far; where they lead somewhere themselves, nothing is added.
        plain_amqp: The SDK's ``TransportType.Amqp``, without which it would take WebSockets.
    """
    port = urlsplit(f"//{access.namespace}").port
    if not access.uses_tls or port is None or port in _AZURE_PORTS or not _LEADING.isdisjoint(options):
        return {}
    return {
        "custom_endpoint_address": f"sb://{access.namespace}",
        "transport_type": options.get("transport_type", plain_amqp),
    }


async def tls_context(access: AmqpAccess, options: dict[str, Any]) -> ssl.SSLContext:
    """Give the TLS context of a connection, one for all with the same certificates.

    The SDK makes one for each connection, from certifi's bundle, in 55 ms that block the event loop, also where TLS is not used.
    Here it is made once, in a thread.

    Args:
        access: Whether TLS is used.
        options: The SDK's options: its ``ssl_context`` is taken, its ``connection_verify`` is honoured.

    Raises:
        FileNotFoundError: There is no such file of certificates.
    """
    if access.uses_tls and options.get("ssl_context") is None:
        return await asyncio.to_thread(tls_context_at_once, access, options)
    return tls_context_at_once(access, options)


def tls_context_at_once(access: AmqpAccess, options: dict[str, Any]) -> ssl.SSLContext:
    """Give the same as `tls_context`, which takes 55 ms where it is the first with its certificates, and no time else."""
    given = options.get("ssl_context")
    if given is not None:
        context: ssl.SSLContext = given
        return context
    if not access.uses_tls:
        return _make_context(None)
    import certifi  # noqa: PLC0415 - the SDKs bring it, the base installation does not

    return _make_context(options.get("connection_verify") or certifi.where())


@cache
def _make_context(certificates: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if certificates is not None:
        context.load_verify_locations(certificates)
    return context


def _checked_credential(
    factory: CredentialFactory | None, credential: AsyncTokenCredential | KeyCredential | None, scope: str
) -> SharedCredential | KeyCredential:
    if isinstance(credential, (AzureNamedKeyCredential, AzureSasCredential)):
        return credential
    if isinstance(credential, str):
        raise TypeError(
            "credential must not be a text: write credential=AzureNamedKeyCredential(name, key) for a key,"
            " credential=AzureSasCredential(signature) for a signature, or connection_string=..."
        )
    return client_credential(credential, factory, (scope,))


def _host(text: object, what: str) -> str:
    # What was given instead is not repeated: it may be a connection string, with its key.
    expected = f"{what} must be the namespace's host, such as <namespace>.servicebus.windows.net"
    if not text or not isinstance(text, str):
        raise ValueError(expected)
    if ";" in text or "SharedAccessKey" in text:
        raise ValueError(f"{what} holds a connection string: pass it as connection_string=")
    try:
        url = urlsplit(text if "//" in text else f"//{text}")
        port = url.port
    except ValueError:
        raise ValueError(expected) from None
    is_address = url.hostname is not None and ":" in url.hostname
    if (
        not url.hostname
        or url.username is not None
        or url.scheme not in {"", "sb", "amqps", "https"}
        or not (is_address or _HOST_NAME.fullmatch(url.hostname))
    ):
        raise ValueError(expected)
    host = f"[{url.hostname}]" if is_address else url.hostname
    return host if port is None else f"{host}:{port}"


def _parse_connection_string(text: object) -> dict[str, str]:
    """Give the fields of a connection string that are known, and have a value."""
    malformed = (
        f"connection_string must read {_EXAMPLE}, or have SharedAccessSignature=<signature> in place of key and name"
    )
    fields: dict[str, str] = {}
    for part in text.strip(" ;").split(";") if isinstance(text, str) else ():
        name, separator, value = (word.strip() for word in part.partition("="))
        right = _FIELDS.get(name.lower())
        if not separator:
            raise ValueError(malformed)
        if right is None or not value:
            continue
        if name != right:
            raise ValueError(f"the connection string's {name} must be written {right}")
        if name in fields:
            raise ValueError(f"the connection string has {name} twice: leave one out")
        fields[name] = value
    by_key = ("SharedAccessKeyName" in fields, "SharedAccessKey" in fields)
    by_signature = "SharedAccessSignature" in fields
    if "Endpoint" not in fields or by_key != (not by_signature, not by_signature):
        raise ValueError(malformed)
    return fields


def _written(fields: dict[str, str], host: str) -> str:
    """Write a connection string anew of what was read: the SDKs read more of one, such as another host, than was checked here."""
    return ";".join(f"{name}={value}" for name, value in {**fields, "Endpoint": f"sb://{host}/"}.items())


def _names_emulator(fields: dict[str, str], host: str) -> bool:
    """Tell whether a connection string is that of a local emulator, which is used without TLS.

    The SDK takes the flag for any host and would send the key there in the open; and "True" it takes for no.
    """
    flag = fields.get(_EMULATOR_FLAG)
    if flag is None or flag == "false":
        return False
    if flag != "true":
        raise ValueError(
            f"the connection string's {_EMULATOR_FLAG} must be written true, in small letters, not {shown(flag)}"
        )
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or _is_loopback(name):
        return True
    raise ValueError(
        f"the connection string's {_EMULATOR_FLAG}=true turns TLS off and is for this machine only, not for {name}: leave it out,"
        " or name 127.0.0.1"
    )


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
