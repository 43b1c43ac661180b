"""What a client says to an argument that it does not have."""

from __future__ import annotations

from typing import Any

import pytest

from fastapi_azure_pool import (
    AzureBlobStorageClient,
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedCosmos,
    ManagedEventGridPublisher,
)

MANAGED: tuple[type[Any], ...] = (
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedCosmos,
    ManagedEventGridPublisher,
)


@pytest.mark.parametrize("kind", [*MANAGED, AzureBlobStorageClient])
def test_an_argument_that_resembles_one_is_told_with_that_one(kind: type[Any]) -> None:
    """A wrong name is told before anything is said of the others, with the name of the argument that it resembles."""
    with pytest.raises(
        TypeError, match=rf"^{kind.__name__} has no argument 'credential_factry': write credential_fact"
    ):
        kind(**{"config": None} if kind is ManagedEventGridPublisher else {}, credential_factry=None)


@pytest.mark.parametrize("kind", MANAGED)
def test_a_size_that_resembles_one_is_told_with_that_one(kind: type[Any]) -> None:
    """The sizes of the pool are among the names that a wrong one is compared with."""
    with pytest.raises(TypeError, match="has no argument 'max_sise': write max_size="):
        kind(None, max_sise=4)


def test_an_argument_that_resembles_none_lists_them() -> None:
    """Where nothing is alike, the message lists what there is."""
    with pytest.raises(TypeError, match=r"has no argument 'verbose': it has config, credential_factory, .*, max_size,"):
        ManagedEventGridPublisher(None, verbose=True)  # type: ignore[arg-type, call-arg]  # the mistake in question


@pytest.mark.parametrize("kind", MANAGED)
def test_sizes_are_given_by_name(kind: type[Any]) -> None:
    """No size has a place: theirs stand behind the credential, where more arguments may come in time."""
    with pytest.raises(TypeError, match="positional arguments"):
        kind(None, None, None, None, None, 100)
