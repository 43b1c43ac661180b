"""The search for planted secrets finds them."""

from __future__ import annotations

import logging

import pytest

from fastapi_azure_pool import ConnectionFailed
from tests.secrets.planted import BAD_KEY, BODY, GOOD_KEY, TOKEN, assert_clean, logged, texts_of


@pytest.mark.parametrize("secret", [GOOD_KEY, BAD_KEY, TOKEN, BODY, GOOD_KEY[:12]])
def test_whatever_is_planted_is_found(secret: str) -> None:
    """Each of the secrets is found in the midst of a text."""
    with pytest.raises(AssertionError):
        assert_clean("clean", f"before{secret}after")


def test_the_beginning_of_a_further_secret_is_found() -> None:
    """So is the beginning of one that was made for a test."""
    with pytest.raises(AssertionError):
        assert_clean("sig=abcdefghijklm", secrets=("abcdefghijklmnopqrstuvwxyz",))
    assert_clean("sig=abcdefgh", secrets=("abcdefghijklmnopqrstuvwxyz",))


@pytest.mark.parametrize("where", ["cause", "context", "group", "note", "data"])
def test_it_is_found_wherever_an_error_has_it(where: str) -> None:
    """An error shows its own data, what led to it, and what was noted."""
    secret = ValueError(TOKEN)
    error: BaseException = ConnectionFailed("orders", error="ValueError", retry_after=1)
    if where == "cause":
        error.__cause__ = secret
    elif where == "context":
        error.__context__ = secret
    elif where == "group":
        error = ExceptionGroup("several", [secret])
    elif where == "note":
        error.add_note(TOKEN)
    else:
        vars(error)["connection_string"] = TOKEN
    with pytest.raises(AssertionError):
        assert_clean(*texts_of(error))


def test_it_is_found_in_a_logged_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """What is logged shows its arguments and its traceback."""
    logging.getLogger("shop").error("one %s", "argument", exc_info=ValueError(TOKEN))
    assert logged(caplog, by="fastapi_azure_pool") == []
    with pytest.raises(AssertionError):
        assert_clean(*logged(caplog, by="shop"))
