"""A token that is held for whoever asks next: how long it serves, and when to ask for the next one."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from azure.core.credentials import AccessTokenInfo

from fastapi_azure_pool.pool.backoff import Backoff

if TYPE_CHECKING:
    from typing import Self

RENEW_BEFORE_SECONDS: Final = 300.0
"""How long before its end a token is renewed that does not say when itself. Credentials of azure-identity, asked any earlier, give
the same token again (``azure.identity._constants.DEFAULT_REFRESH_OFFSET``)."""

WAIT_BEFORE_SECONDS: Final = 10.0
"""How long before its end a token is no longer given while a new one may come: it could expire on its way to the service."""

REST_SECONDS: Final = 1.0
"""How long after a renewal that failed callers of a token that has ended get that failure, instead of asking one after another."""

_JITTER = 0.1


@dataclass(slots=True, eq=False)
class HeldToken:
    """A token, and what becomes of it. Times are seconds since 1970.

    Attributes:
        info: The token as callers get it. Its ``refresh_on`` is when there will be a new one, so that SDKs do not ask before; None
            where the credential told none, or little time is left then.
        number: The number of the request that got it: what an earlier one answers later is older.
        renew_at: When to ask for the next one: after ``refresh_on``, or 300 s before the end (half of the life of a token that
            lives less than 600 s), and up to a tenth of the rest later, so that many processes do not ask together.
        wait_at: When callers begin to wait for the next one: 10 s before the end, or a tenth of its life.
        is_used: Whether anyone has asked for it.
        is_told: Whether the log tells that there is no new one.
        backoff: When to try again after a renewal that failed.
        rests_until: Until when callers do not try again either, once it has ended.
    """

    info: AccessTokenInfo = field(repr=False)
    number: int
    renew_at: float
    wait_at: float
    is_used: bool = False
    is_told: bool = False
    backoff: Backoff = field(default_factory=Backoff, repr=False)
    rests_until: float = 0.0

    @classmethod
    def of(cls, info: AccessTokenInfo, number: int, now: float) -> Self:
        """Give what holds a token that was got now."""
        end = info.expires_on
        left = max(end - now, 0.0)
        due: float = end - min(RENEW_BEFORE_SECONDS, left / 2)
        if info.refresh_on is not None and info.refresh_on < end:
            due = info.refresh_on
        renew_at = due + random.uniform(0.0, _JITTER) * (end - max(due, now))  # noqa: S311 - spreads load, guards no secret
        # SDKs add up to 60 s to it at random (azure-core's MAX_REFRESH_JITTER_SECONDS), and keep the token meanwhile; who is
        # not told asks at each call in the last minutes, and gets what is held.
        is_told = info.refresh_on is not None and end - renew_at > RENEW_BEFORE_SECONDS
        shown = AccessTokenInfo(
            info.token, end, token_type=info.token_type, refresh_on=int(renew_at) + 1 if is_told else None
        )
        return cls(shown, number, renew_at, end - min(WAIT_BEFORE_SECONDS, left / 10))

    @property
    def next_attempt_at(self) -> float:
        """When to ask for the next token, or to ask again after a failure."""
        return self.renew_at if self.backoff.retry_at is None else max(self.renew_at, self.backoff.retry_at)

    def is_valid(self, now: float) -> bool:
        """Tell whether it has not expired."""
        return now < self.info.expires_on

    def serves(self, now: float) -> bool:
        """Tell whether callers get it without waiting for a new one."""
        return now < self.wait_at

    def is_late(self, now: float) -> bool:
        """Tell whether half of the time for its renewal is over."""
        return now >= (self.renew_at + self.info.expires_on) / 2

    def renewal_failed(self, error: BaseException, now: float) -> None:
        """Put the next attempt off: a random part of 0.5 s, then of 1, 2, 4 ... up to 30 s."""
        self.backoff.elapse(now)
        self.backoff.failed(error, now)
        self.rests_until = now + REST_SECONDS
