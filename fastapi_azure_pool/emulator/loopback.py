"""What every service's listening socket has in common: loopback only, and connections that can be cut."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

# A client that connects and says nothing would otherwise hold up stop() for asyncio's minute.
TLS_HANDSHAKE_SECONDS = 5.0

# Between accepting a connection and telling its protocol, asyncio lets the loop turn twice, uvloop once.
TURNS_TO_CONNECT = 3

# SO_LINGER on with a time of zero makes close() send a reset instead of a FIN (socket(7)).
_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class ConnectionCounts:
    """What one emulated service has seen of TCP connections since the emulator was made."""

    open: int
    accepted: int
    dropped: int


def is_loopback(host: str) -> bool:
    """Tell whether a host is a loopback address, or "localhost"."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_loopback(host: str) -> str:
    """Return the address to bind for a loopback host name or address.

    Raises:
        ValueError: The host is not on loopback.
    """
    if not is_loopback(host):
        raise ValueError(
            f"host={host!r} is not a loopback address: the emulator is bound to loopback only, write 127.0.0.1"
        )
    return "127.0.0.1" if host == "localhost" else host


def require_port(port: int, name: str) -> int:
    """Return a port.

    Raises:
        ValueError: It is out of bounds.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"{name}_port={port} is out of bounds: write 0 (a free port) to 65535")
    return port


def authority(host: str, port: int) -> str:
    """Return host and port as they stand in a URL.

    Raises:
        RuntimeError: The port is 0, since no free one is picked yet.
    """
    if not port:
        raise RuntimeError("the emulator has no ports yet: start it first, or give it some")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reset_transport(transport: asyncio.Transport) -> None:
    """Cut a connection with a reset, so that its client sees an error and no orderly end."""
    connected = transport.get_extra_info("socket")
    if connected is not None:
        # uvloop's stand-in for the socket has no setsockopt; a duplicate of the descriptor is the same socket.
        with socket.socket(fileno=os.dup(connected.fileno())) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()


def bind_listener(host: str, port: int, name: str) -> socket.socket:
    """Return a socket bound to a loopback host and port.

    Raises:
        OSError: The port is taken; the message names it.
    """
    address = require_loopback(host)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer takes 20 ms longer
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise
        message = f"port {port} on {host} is in use: give another {name}_port, or 0 for a free one"
        raise OSError(error.errno, message) from error
    return listener
