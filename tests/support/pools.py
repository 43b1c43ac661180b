"""The type of the fixture that makes pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fastapi_azure_pool.pool import ConnectionPool

from .scripted_connector import Transport

MakePool: TypeAlias = Callable[..., ConnectionPool[Transport]]
