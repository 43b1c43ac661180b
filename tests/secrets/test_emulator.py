"""The emulator's keys, which are secrets where somebody has chosen them."""

from __future__ import annotations

from typing import Any

import pytest

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator import __main__ as command_line
from fastapi_azure_pool.testing import BackgroundEmulator
from tests.secrets.planted import GOOD_KEY, WORD, assert_clean, texts_of

KEYS = ("cosmos_key", "amqp_key", "eventgrid_key", "storage_key")
WRONG = f"{WORD};wrong!"


@pytest.mark.parametrize("name", KEYS)
def test_a_wrong_key_is_told_without_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that no service can have is refused by the name of its argument, and of its option."""
    options: dict[str, Any] = {name: WRONG}
    with pytest.raises(ValueError, match=name) as raised:
        Emulator(**options)
    assert_clean(*texts_of(raised.value))
    assert command_line.main([f"--{name.replace('_', '-')}", WRONG]) == 1
    printed = capsys.readouterr()
    assert_clean(printed.out, printed.err)


def test_an_emulator_shows_no_key() -> None:
    """Neither an emulator nor what holds one shows a key, before and while it runs."""
    options: dict[str, Any] = dict.fromkeys(KEYS, GOOD_KEY)
    background = BackgroundEmulator(**options)
    assert_clean(repr(background), repr(background.emulator))
    with background as azure:
        assert_clean(repr(azure), repr(azure.emulator), repr(azure.faults))
