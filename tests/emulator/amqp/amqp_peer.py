"""A client without an SDK: it sends what frames a test likes over a real socket, and shows what comes back."""

from __future__ import annotations

import asyncio
import ssl
import struct
import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi_azure_pool.emulator.amqp.authorization import KEY_NAME, SAS_TOKEN, shared_access_signature
from fastapi_azure_pool.emulator.amqp.frames import AMQP_HEADER, SASL_HEADER, Frame, FrameDecoder, encode_frame
from fastapi_azure_pool.emulator.amqp.message import (
    Message,
    Properties,
    Value,
    decode_message,
    encode_message,
)
from fastapi_azure_pool.emulator.amqp.performatives import (
    Attach,
    Begin,
    Close,
    Disposition,
    Flow,
    Open,
    Performative,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    Source,
    Target,
    Transfer,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi_azure_pool.emulator import Emulator

P = TypeVar("P", bound=Performative)

# What a test waits for at most; nothing takes as long unless it hangs.
PATIENCE = 10.0


class Peer:
    """One connection. Attributes count what the protocol wants counted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, azure: Emulator) -> None:
        self.azure = azure
        self.reader = reader
        self.writer = writer
        self.received: list[Frame] = []
        self._decoder = FrameDecoder(1024 * 1024)
        self._delivery_id = 0
        self._handle = 0

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    def send(self, performative: Performative | None, payload: bytes = b"", *, channel: int = 0) -> None:
        """Send a frame."""
        self.writer.write(encode_frame(channel, performative, payload))

    async def read_bytes(self, count: int) -> bytes:
        """Return so many bytes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(count)

    async def read_sasl(self) -> Performative | None:
        """Return the next frame of the SASL layer."""
        head = await self.read_bytes(4)
        rest = await self.read_bytes(struct.unpack(">I", head)[0] - 4)
        (frame,) = FrameDecoder(1024).feed(head + rest)
        assert frame.is_sasl
        return frame.performative

    async def read(self) -> Frame:
        """Return the next frame.

        Raises:
            EOFError: The server has closed the connection.
        """
        async with asyncio.timeout(PATIENCE):
            while not self.received:
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError
                self.received += self._decoder.feed(data)
        return self.received.pop(0)

    async def expect(self, kind: type[P]) -> P:
        """Return the next frame's performative, which is of a kind."""
        performative = (await self.read()).performative
        assert isinstance(performative, kind), performative
        return performative

    async def wait_for(self, kind: type[P]) -> P:
        """Return the next performative of a kind, whatever comes before it."""
        while not isinstance(performative := (await self.read()).performative, kind):
            pass
        return performative

    async def expect_end(self) -> None:
        """Return when the server has closed the connection; nothing comes before that."""
        async with asyncio.timeout(PATIENCE):
            assert await self.reader.read() == b""
        assert self.received == []

    async def authenticate(self, mechanism: str = "ANONYMOUS", response: bytes | None = None) -> int:
        """Do SASL; return the outcome's code."""
        self.send_bytes(SASL_HEADER)
        assert await self.read_bytes(8) == SASL_HEADER
        assert isinstance(await self.read_sasl(), SaslMechanisms)
        self.send_bytes(encode_frame(0, SaslInit(mechanism, response), sasl=True))
        outcome = await self.read_sasl()
        assert isinstance(outcome, SaslOutcome)
        return outcome.code

    async def open(self, *, with_key: bool = True, **fields: Any) -> Open:
        """Open the connection, with the key itself or anonymously; return the server's open."""
        key = f"\0{KEY_NAME}\0{self.azure.amqp_key}".encode()
        assert await (self.authenticate("PLAIN", key) if with_key else self.authenticate()) == 0
        self.send_bytes(AMQP_HEADER)
        self.send(Open("a test", **fields))
        assert await self.read_bytes(8) == AMQP_HEADER
        return await self.expect(Open)

    async def begin(self, *, channel: int = 0, incoming_window: int = 5000) -> Begin:
        """Begin a session."""
        self.send(Begin(next_outgoing_id=0, incoming_window=incoming_window, outgoing_window=5000), channel=channel)
        return await self.expect(Begin)

    def attach_sender(self, address: str, *, handle: int = 0, channel: int = 0, **fields: Any) -> None:
        """Ask for a link to send on."""
        self.send(
            Attach(
                f"to {address} {handle}",
                handle,
                role=False,
                snd_settle_mode=0,
                source=Source("here"),
                target=Target(address),
                initial_delivery_count=0,
                **fields,
            ),
            channel=channel,
        )

    def attach_receiver(
        self,
        address: str,
        *,
        handle: int = 1,
        channel: int = 0,
        filters: dict[Any, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Ask for a link to receive on."""
        self.send(
            Attach(
                f"from {address} {handle}",
                handle,
                role=True,
                snd_settle_mode=fields.pop("snd_settle_mode", 0),
                source=Source(address, filter=filters),
                target=Target("here"),
                **fields,
            ),
            channel=channel,
        )

    async def sender(self, address: str, *, handle: int = 0, channel: int = 0) -> Flow:
        """Attach a link to send on; return the credit that it got."""
        self.attach_sender(address, handle=handle, channel=channel)
        assert (await self.expect(Attach)).target is not None
        return await self.expect(Flow)

    def grant(self, credit: int, *, handle: int = 1, delivery_count: int = 0, channel: int = 0, **fields: Any) -> None:
        """Give a link credit."""
        self.send(
            Flow(
                next_incoming_id=fields.pop("next_incoming_id", 0),
                incoming_window=fields.pop("incoming_window", 5000),
                next_outgoing_id=0,
                outgoing_window=5000,
                handle=handle,
                delivery_count=delivery_count,
                link_credit=credit,
                **fields,
            ),
            channel=channel,
        )

    def transfer(
        self,
        payload: bytes,
        *,
        handle: int = 0,
        channel: int = 0,
        frames: int = 1,
        message_format: int = 0,
        **fields: Any,
    ) -> int:
        """Send a message in so many frames; return its delivery id."""
        number = self._delivery_id
        self._delivery_id += 1
        size = -(-len(payload) // frames)
        for index in range(frames):
            part = payload[index * size : (index + 1) * size]
            more = index < frames - 1
            self.send(
                Transfer(
                    handle, number, struct.pack(">I", number), message_format, fields.get("settled", False), more=more
                ),
                part,
                channel=channel,
            )
        return number

    async def outcome(self, payload: bytes, **fields: Any) -> Any:
        """Send a message; return what became of it."""
        number = self.transfer(payload, **fields)
        disposition = await self.wait_for(Disposition)
        assert (disposition.first, disposition.last, disposition.settled) == (number, number, True)
        return disposition.state

    async def request(self, address: str, message: Message, *, handle: int = 10, channel: int = 0) -> Message:
        """Attach a pair of links, send a request and return the answer."""
        self.attach_sender(address, handle=handle, channel=channel)
        await self.wait_for(Attach)
        self.attach_receiver(address, handle=handle + 1, channel=channel)
        await self.wait_for(Attach)
        self.grant(10, handle=handle + 1, channel=channel)
        message.properties = Properties(message_id=uuid.uuid4())
        self.transfer(encode_message(message), handle=handle, channel=channel)
        while not isinstance((frame := await self.read()).performative, Transfer):
            pass
        answer = decode_message(frame.payload)
        assert answer.properties is not None
        assert answer.properties.correlation_id == message.properties.message_id
        return answer

    async def put_token(
        self, token: object, name: str, *, kind: str = SAS_TOKEN, handle: int = 10, operation: str = "put-token"
    ) -> tuple[int, str]:
        """Put a token to ``$cbs``; return the status and its description."""
        properties = {"operation": operation, "type": kind, "name": name}
        answer = await self.request(
            "$cbs", Message(application_properties=properties, body=Value(token)), handle=handle
        )
        told = answer.application_properties or {}
        return told["status-code"], told["status-description"]

    def signature(self, entity: str, *, lifetime: float = 60.0, key: str | None = None, **fields: Any) -> str:
        """Return a shared access signature for an entity."""
        return shared_access_signature(
            self.resource(entity), self.azure.amqp_key if key is None else key, time.time() + lifetime, **fields
        )

    def resource(self, entity: str) -> str:
        """Return an entity's URL."""
        return f"sb://{self.azure.amqp_authority}/{entity}"

    async def close(self) -> None:
        """Close the connection as the protocol wants."""
        self.send(Close())
        await self.wait_for(Close)


@asynccontextmanager
async def connect(azure: Emulator) -> AsyncIterator[Peer]:
    """A connection on which nothing was sent yet, over TLS where the emulator serves that."""
    host, _, port = azure.amqp_authority.rpartition(":")
    tls = ssl.create_default_context(cadata=azure.certificate) if azure.certificate else None
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    try:
        yield Peer(reader, writer, azure)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def connected(azure: Emulator) -> AsyncIterator[Peer]:
    """A connection with one session, on channel 0."""
    async with connect(azure) as peer:
        await peer.open()
        await peer.begin()
        yield peer


def event(body: bytes = b"x", **sections: Any) -> bytes:
    """Return an encoded message."""
    return encode_message(Message(body=[body], **sections))
