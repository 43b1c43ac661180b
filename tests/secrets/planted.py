"""Secrets that are easy to recognise in any text, and the search for them in all that an error, a log and an object show."""

from __future__ import annotations

import base64
import copy
import logging
import pickle
import time
import traceback
from typing import TYPE_CHECKING, Any, Self

from azure.core.credentials import AccessToken

from fastapi_azure_pool import PoolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

# A word that no test, file or message has for itself: neither as it is, nor as it begins in base64.
WORD = "pl4nted"
GOOD_KEY = base64.b64encode(f"{WORD}-good-key-".encode() * 3).decode()
BAD_KEY = base64.b64encode(f"{WORD}-bad-key-".encode() * 3).decode()
TOKEN = f"{WORD}.token.value"
BODY = f"{WORD}-body"

_SHORTEST = 12
_NEEDLES = (WORD, base64.b64encode(WORD.encode()).decode()[:8])


class FixedCredential:
    """An async credential that always gives the same token."""

    def __init__(self, token: str = TOKEN) -> None:
        self._token = token

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Give the token, good for an hour."""
        return AccessToken(self._token, int(time.time()) + 3600)

    async def close(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None: ...


def assert_clean(*texts: str, secrets: tuple[str, ...] = ()) -> None:
    """Check that no text holds what was planted, nor one of these secrets, nor the beginning of one, in whatever letters."""
    needles = [needle.lower() for needle in (*_NEEDLES, *(secret[:_SHORTEST] for secret in secrets))]
    for text in texts:
        assert [f"{needle} in {text}" for needle in needles if needle in text.lower()] == []


def texts_of(error: BaseException) -> list[str]:
    """Give what an error shows, and what led to it: texts, data, notes, traceback; ours also pickled and copied."""
    shown = ["".join(traceback.format_exception(error))]
    for link in _chain(error):
        shown += [str(link), repr(link), repr(link.args), *getattr(link, "__notes__", ())]
        if isinstance(link, PoolError):
            again = (link, pickle.loads(pickle.dumps(link)), copy.copy(link))
            shown += [text for each in again for text in (str(each), repr(each), repr(each.args), repr(vars(each)))]
    return shown


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    left = [error]
    while left:
        link = left.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        left += [link.__cause__, None if link.__suppress_context__ else link.__context__]
        if isinstance(link, BaseExceptionGroup):
            left += link.exceptions


def logged(log: pytest.LogCaptureFixture, *, by: str = "") -> list[str]:
    """Give all that was logged, or what loggers of this name did, with the tracebacks."""
    formatter = logging.Formatter("%(name)s: %(message)s")
    return [formatter.format(record) for record in log.records if record.name.startswith(by)]
