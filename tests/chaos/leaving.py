"""Clients who go away in the midst of a request, many at once."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import TYPE_CHECKING

from .books import Placed

if TYPE_CHECKING:
    import random

    from .books import Books
    from .customers import Customers

_LINGER_ZERO = struct.pack("ii", 1, 0)
_LONGEST_PATIENCE = 0.1


async def leave_by_the_hundred(
    port: int, clients: int, books: Books, customers: Customers, *, lot: random.Random
) -> None:
    """Have so many clients send a request and go within a tenth of a second, one half in good order and the other with a reset.

    A quarter of them place an order, of which nobody will know whether it was stored; the others list orders.

    Args:
        port: Of the service, on loopback.
        clients: How many.
        books: Where the orders are noted.
        customers: Whose orders are like those to be placed.
        lot: Decides.
    """
    requests = []
    for number in range(clients):
        if number % 4 == 0:
            order = customers.new_order(f"leaver{number}")
            books.ask(order).outcome = Placed.UNCERTAIN
            body = json.dumps(order).encode()
            head = f"POST /orders HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        else:
            body = b""
            head = f"GET /orders?customer=customer{number} HTTP/1.1\r\n"
        requests.append(f"{head}Host: 127.0.0.1\r\n\r\n".encode() + body)
    patiences = [lot.uniform(0.0, _LONGEST_PATIENCE) for _ in requests]
    await asyncio.gather(*(_leave(port, *asked) for asked in zip(requests, patiences, strict=True)))
    books.answers["a request whose client goes", "none"] += clients


async def _leave(port: int, request: bytes, patience: float) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    await asyncio.sleep(patience)
    if patience < _LONGEST_PATIENCE / 2:
        connected = writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    writer.transport.abort()
