"""What the emulator's faults do to Blob Storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import ServiceRequestError, ServiceResponseError

from tests.emulator.blob.blob_sdk import Http, connect, refused

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

    from fastapi_azure_pool.emulator import Emulator


async def test_throttled_request_is_told_that_the_server_is_busy(
    azure: Emulator, http: Http, invoices: ContainerClient
) -> None:
    """Throttling is 503 ServerBusy with Retry-After in whole seconds, changes nothing, and ends."""
    azure.faults.throttle(retry_after=0.2, times=1, service="blob")
    answer, _ = await http.answer("PUT", "/invoices/1", x_ms_blob_type="BlockBlob", body=b"one")
    assert (answer.status, answer.headers["x-ms-error-code"], answer.headers["retry-after"]) == (503, "ServerBusy", "1")
    assert azure.blobs("invoices") == ()
    await invoices.upload_blob("1", b"one")


async def test_sdk_comes_back_after_it_was_throttled(azure: Emulator) -> None:
    """The SDK tries a throttled request again by itself."""
    async with connect(azure, retry_total=3, initial_backoff=0, increment_base=0, random_jitter_range=0) as service:
        fault = azure.faults.throttle(retry_after=0, times=2, service="blob")
        await service.get_container_client("invoices").upload_blob("1", b"one")
        assert fault.strikes == 2


async def test_failures_and_refusals_reach_the_caller(azure: Emulator, invoices: ContainerClient) -> None:
    """An injected status, and a refused authorization, come as Azure's errors for the paths asked for."""
    await invoices.upload_blob("1", b"one")
    with azure.faults.fail(500, service="blob", path="*/invoices/1"), refused(500, "InternalError"):
        await invoices.download_blob("1")
    with azure.faults.fail(418, service="blob"), refused(418, "InjectedFault"):
        await invoices.download_blob("1")
    with azure.faults.reject_authorization(service="blob"), refused(403, "AuthenticationFailed"):
        await invoices.download_blob("1")
    assert await (await invoices.download_blob("1")).readall() == b"one"


async def test_dropped_request_is_done_or_not(azure: Emulator, invoices: ContainerClient) -> None:
    """A connection reset before the request leaves nothing behind; one reset after it leaves the blob."""
    for when, names in (("before", []), ("after", ["after"])):
        # aiohttp itself sends a request that failed on its connection once more
        azure.faults.drop(when, service="blob", times=2)  # type: ignore[arg-type]  # both are allowed
        with pytest.raises((ServiceRequestError, ServiceResponseError)):
            await invoices.upload_blob(when, b"one")
        assert [blob.name for blob in azure.blobs("invoices")] == names
    assert azure.connections("blob").dropped == 4
