"""What tests of applications use: local Azure and a running application as pytest fixtures, and fakes without sockets.

The pytest plugin is in ``plugin``; its fixtures are listed by ``pytest --fixtures``. The names here serve tests without pytest
too, and are loaded when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi_azure_pool.testing.application import RunningApplication
    from fastapi_azure_pool.testing.background import BackgroundEmulator
    from fastapi_azure_pool.testing.fakes import FakeManagedClient, fake_pools

__all__ = ["BackgroundEmulator", "FakeManagedClient", "RunningApplication", "fake_pools"]

_HOMES = {
    "BackgroundEmulator": "background",
    "FakeManagedClient": "fakes",
    "RunningApplication": "application",
    "fake_pools": "fakes",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
