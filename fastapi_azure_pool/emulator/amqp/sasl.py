"""The SASL layer: which mechanisms are offered, and what a client's choice is worth (OASIS AMQP 1.0, part 5, section 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.frames import encode_frame
from fastapi_azure_pool.emulator.amqp.performatives import SaslInit, SaslMechanisms, SaslOutcome

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.authorization import Access

# Azure's own, in its order. The first one is a token in the SASL layer, which no SDK for Python sends.
_OFFERED = ("MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL")

_OK = 0
_FAILED = 1


class SaslLayer:
    """One client's authentication.

    Attributes:
        is_accepted: Whether the client may go on.
        is_authorized: Whether it needs no token: it gave the key itself.
    """

    def __init__(self, access: Access) -> None:
        self.is_accepted = False
        self.is_authorized = False
        self._access = access

    def offer(self) -> bytes:
        """Return the frame that tells the mechanisms."""
        return encode_frame(0, SaslMechanisms(_OFFERED), sasl=True)

    def answer(self, init: SaslInit) -> bytes:
        """Return the frame that tells whether the client may go on."""
        if init.mechanism in {"ANONYMOUS", "EXTERNAL"}:
            self.is_accepted = True
        elif init.mechanism == "PLAIN":
            parts = (init.initial_response or b"").split(b"\0")
            self.is_accepted = self.is_authorized = len(parts) == 3 and self._access.is_key(
                parts[1].decode("utf-8", "replace"), parts[2].decode("utf-8", "replace")
            )
        return encode_frame(0, SaslOutcome(_OK if self.is_accepted else _FAILED), sasl=True)
