"""What is said when a service's SDK is not installed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import what an extra of this package installs.

    Args:
        name: The extra's name, such as "cosmos".

    Raises:
        ImportError: A module is missing; the message gives the pip command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{error.name} is not installed: pip install 'fastapi-azure-pool[{name}]'", name=error.name, path=error.path
        ) from error
