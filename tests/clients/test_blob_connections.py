"""Connections to Blob Storage: opening, proving, sharing, judging and closing them."""

from __future__ import annotations

import asyncio
import io
import pickle
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import (
    HttpResponseError,
    IncompleteReadError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob import ContainerSasPermissions, generate_blob_sas, generate_container_sas
from azure.storage.blob.aio import BlobClient, ContainerClient

from fastapi_azure_pool import AzureBlobError, AzureBlobStorageClient, ConnectionFailed, ManagedAzureBlobStorage
from fastapi_azure_pool.clients import blob_container
from fastapi_azure_pool.clients.blob_transport import BlobTransport
from fastapi_azure_pool.emulator import Emulator
from tests.clients.blob_storage import MIB, NO_RETRIES, files_of
from tests.clients.half_server import CONTENT, half_server
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONTAINER = "/devstoreaccount1/files"
BLOBS = f"{CONTAINER}/*"

# aiohttp tries a read again by itself when a connection that it kept alive turns out to be dead.
UNSEEN = 1


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the container "files"."""
    async with Emulator() as azure:
        await azure.create_blob_container("files")
        yield azure


# Opening -----------------------------------------------------------------------------------------------------------------------


async def test_opening_reads_the_container_and_writes_nothing(azure: Emulator) -> None:
    """A connection is proven by reading the container's properties: one request."""
    async with files_of(azure, min_size=3) as files:
        assert (files.service, files.pool.ready_connection_count) == ("blob", 3)
        assert (azure.blob_requests.count("GET", CONTAINER), azure.blob_requests.total) == (3, 3)
        assert azure.connections("blob").open == 3
        assert azure.blobs("files") == ()
    await eventually(lambda: azure.connections("blob").open == 0)
    assert files._connector._open == {}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"credential": "d3Jvbmc="}, HttpResponseError),
        ({"container_name": "missing"}, ResourceNotFoundError),
        ({"az_storage_url": "http://127.0.0.1:9/devstoreaccount1"}, ServiceRequestError),
    ],
    ids=["wrong key", "no container", "nobody there"],
)
async def test_what_cannot_be_opened_says_why(
    azure: Emulator, change: dict[str, str], cause: type[BaseException]
) -> None:
    """A wrong key, container or address surfaces at once as ConnectionFailed with the SDK's error, and leaves nothing open."""
    given: dict[str, Any] = {
        "az_storage_url": azure.blob_endpoint,
        "container_name": "files",
        "credential": azure.storage_key,
        **change,
    }
    with pytest.raises(ConnectionFailed) as raised:
        await ManagedAzureBlobStorage(**given).__aenter__()
    assert isinstance(raised.value.__cause__, cause)
    basic = AzureBlobStorageClient(**given)
    with pytest.raises(ConnectionFailed):
        await basic.download_blob("a")
    await basic.close()
    await eventually(lambda: azure.connections("blob").open == 0)


def signature(azure: Emulator, permission: str = "rwdl") -> AzureSasCredential:
    """Give a signature for the container's blobs."""
    account, expiry = azure.storage_account, datetime.now(UTC) + timedelta(hours=1)
    return AzureSasCredential(
        generate_container_sas(
            account,
            "files",
            account_key=azure.storage_key,
            permission=ContainerSasPermissions.from_string(permission),
            expiry=expiry,
        )
    )


@pytest.mark.parametrize("permission", ["rwdl", "w"])
async def test_a_signature_that_may_not_look_at_the_container_opens_a_connection(
    azure: Emulator, permission: str
) -> None:
    """A signature for blobs may not read the container's properties; that it is known is proof enough."""
    files = files_of(azure, credential=signature(azure, permission))
    async with files:
        assert (await files.upload_blob("a", b"hello"))[0]
        if "r" in permission:
            assert await files.download_blob("a") == b"hello"
        else:
            with pytest.raises(AzureBlobError) as raised:
                await files.download_blob("a")
            assert raised.value.status_code == 403


async def test_a_wrong_signature_opens_no_connection(azure: Emulator) -> None:
    """A signature that Blob Storage does not know is an error of authentication."""
    text = signature(azure).signature.replace("sig=", "sig=A")
    with pytest.raises(ConnectionFailed) as raised:
        await files_of(azure, credential=AzureSasCredential(text)).__aenter__()
    assert getattr(raised.value.__cause__, "status_code", None) == 403


async def test_a_refusal_shows_no_signature(azure: Emulator) -> None:
    """The error of a request that a signature does not allow, in text, repr and data, does not repeat the signature."""
    credential = signature(azure, "w")
    planted = credential.signature.rpartition("sig=")[2]
    async with files_of(azure, credential=credential) as files:
        with pytest.raises(AzureBlobError) as raised:
            await files.download_blob("a")
        copied = pickle.loads(pickle.dumps(raised.value))
        assert isinstance(copied, AzureBlobError)
        assert isinstance(copied, HttpResponseError)
        assert (str(copied), copied.status_code, copied.error_code) == (
            str(raised.value),
            403,
            "AuthorizationPermissionMismatch",
        )
        assert planted not in f"{raised.value} {raised.value!r} {vars(raised.value)} {vars(copied)}"
    told = AzureBlobError(ServiceRequestError(f"cannot reach https://x/?sp=r&sig={planted}&se=1"))
    assert str(told) == "cannot reach https://x/?sp=r&sig=***&se=1"
    told = AzureBlobError(ServiceRequestError("The MAC signature found in the HTTP request 'abc=' is not the same"))
    assert str(told) == "The MAC signature found in the HTTP request '***' is not the same"
    assert (told.status_code, told.reason, told.error_code, told.blob_name) == (None, None, None, None)
    cause = ServiceRequestError(f"cannot reach https://x/?sig={planted}")
    assert planted not in f"{vars(AzureBlobError(cause).like(cause))}"


@pytest.mark.parametrize("way", ["connection string", "signed connection string", "named key"])
async def test_every_kind_of_key_authenticates(azure: Emulator, way: str) -> None:
    """A connection string with a key or a signature, and a named key."""
    signed = f"BlobEndpoint={azure.blob_endpoint};SharedAccessSignature={signature(azure).signature}"
    given: dict[str, dict[str, Any]] = {
        "connection string": {"connection_string": azure.blob_connection_string},
        "signed connection string": {"connection_string": signed},
        "named key": {
            "az_storage_url": azure.blob_endpoint,
            "credential": AzureNamedKeyCredential(azure.storage_account, azure.storage_key),
        },
    }
    async with ManagedAzureBlobStorage(container_name="files", **given[way]) as files:
        await files.upload_blob("a", b"hello")
        assert await files.download_blob("a") == b"hello"


async def test_closing_and_opening_again(azure: Emulator) -> None:
    """Both clients can be used again after they were closed, with a connection of their own each time."""
    files, basic = files_of(azure), files_of(azure, AzureBlobStorageClient)
    for number in range(2):
        async with files:
            await files.upload_blob(f"{number}", b"hello")
        assert await basic.download_blob(f"{number}") == b"hello"
        await basic.close()
    assert azure.blob_requests.count("GET", CONTAINER) == 4
    await eventually(lambda: azure.connections("blob").open == 0)


async def test_the_basic_client_opens_once_for_all_who_come_first(azure: Emulator) -> None:
    """Twenty first users at once share one opening."""
    async with files_of(azure, AzureBlobStorageClient) as files:
        await asyncio.gather(*(files.upload_blob(f"{number}", b"hello") for number in range(20)))
        assert azure.blob_requests.count("GET", CONTAINER) == 1


async def test_client_options_reach_the_sdk_and_its_transport(azure: Emulator) -> None:
    """client_options are arguments of every ContainerClient, over what the pool sets, and of its transport."""
    options = {"max_block_size": MIB, "initial_backoff": 15, "read_timeout": 7, "connection_verify": False}
    async with files_of(azure, client_options=options) as files:
        container = files.pool.connections[0].transport
        transport = files._connector._open[container]
        retries = container._config.retry_policy
        assert (retries.initial_backoff, retries.increment_base, retries.random_jitter_range) == (15, 2, 1)
        assert (container._config.max_block_size, container._config.max_single_get_size) == (MIB, 4 * MIB)
        settings = transport.connection_config
        assert (settings.timeout, settings.read_timeout, settings.verify) == (20, 7, False)
        assert settings.data_block_size == 256 * 1024
        await files.upload_blob("a", [bytes(MIB), b"x"])
        assert azure.blob_requests.count("PUT", f"{CONTAINER}/a") == 3  # two blocks and their list


# Sharing -----------------------------------------------------------------------------------------------------------------------


async def test_short_content_is_one_request(azure: Emulator) -> None:
    """What an iterable gives within a block is sent at once, where the SDK would send a block and then a list of one."""
    async with files_of(azure) as files:
        await files.upload_blob("a", [b"hello"])
        assert azure.blob_requests.count("PUT", BLOBS) == 1


async def test_many_callers_share_one_connection(azure: Emulator) -> None:
    """Fifty callers at once use the connection that is open, and each gets its own blob."""
    async with files_of(azure) as files:
        names = [f"{number}" for number in range(50)]
        await asyncio.gather(*(files.upload_blob(name, name) for name in names))
        assert await asyncio.gather(*map(files.download_blob, names)) == [name.encode() for name in names]
        assert files.pool.stats().totals.opened == 1


async def test_clients_of_blobs_are_kept_and_each_user_has_a_copy(
    azure: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of a name is made once, as many are kept as the bound says, and what one user sets the next does not see."""
    made: list[str] = []
    init = BlobClient.__init__

    def counting(self: BlobClient, *given: Any, **options: Any) -> None:
        made.append(options["blob_name"])
        init(self, *given, **options)

    monkeypatch.setattr(BlobClient, "__init__", counting)
    monkeypatch.setattr(blob_container, "KEPT_BLOB_CLIENTS", 2)
    options = {"secondary_hostname": "elsewhere.example"}
    async with files_of(azure, client_options=options) as files:
        for name in ("a", "b", "a", "c", "a", "b"):
            await files.upload_blob(name, b"hello", overwrite=True)
        assert made == ["a", "b", "c", "b"]
        async with files.get_container_client() as container:
            first, second = container.get_blob_client("a"), container.get_blob_client("a")
            assert first is not second
            first.require_encryption = True
            assert not second.require_encryption
            assert await (await container.download_blob("a")).readall() == b"hello"
            first.location_mode = "secondary"
            assert (first.location_mode, second.location_mode) == ("secondary", "primary")
            assert await (await container.download_blob("a")).readall() == b"hello"
            assert first._client._config.url != container.get_blob_client("a")._client._config.url
            assert made[4:] == ["a"]  # the one whose place was changed has its own
            snapshot = container.get_blob_client("a", snapshot="2026-01-01T00:00:00.0000000Z")
            assert (snapshot.snapshot, container.get_blob_client("a").snapshot) == (
                "2026-01-01T00:00:00.0000000Z",
                None,
            )
            async with first:
                pass
            assert await (await second.download_blob()).readall() == b"hello"
            with pytest.raises(ValueError, match="has a dot segment"):
                container.get_blob_client("../other/a")
            with pytest.raises(ValueError, match="has a dot segment"):
                container.get_blob_client("../other/a", snapshot="2026-01-01T00:00:00.0000000Z")


async def test_who_stops_listing_holds_no_place(azure: Emulator) -> None:
    """Between pages, and after the last that was wanted, no place is taken."""
    async with files_of(azure, client_limit=1, max_size=1) as files:
        for number in range(5):
            await files.upload_blob(f"{number}", b"hello")
        found = []
        async for blob in files.list_blobs(results_per_page=2):
            assert files.pool.stats().clients == 0
            found.append(await files.download_blob(blob.name))
            if len(found) == 3:
                break
        assert found == [b"hello"] * 3
        assert files.pool.stats().clients == 0


async def test_a_stream_keeps_its_connection_open(azure: Emulator) -> None:
    """A stream has a place until its block ends: an expired connection gets no new users, and is closed after the stream."""
    content = bytes(9 * MIB)
    async with files_of(azure) as files:
        await files.upload_blob("long", content)
        (old,) = files.pool.connections
        async with files.get_blob_download_stream("long") as stream:
            assert old.current_client_count == 1
            files.pool.expire(old)
            assert await files.download_blob("long", length=1, offset=0) == b"\0"
            assert sum([len(piece) async for piece in stream.chunks()]) == len(content)
        await eventually(lambda: old not in files.pool.connections)


# Who broke it ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 404, 409, 412, 500, 503])
async def test_no_status_retires_a_connection(azure: Emulator, status: int) -> None:
    """An error answer of any status says that the connection works."""
    async with files_of(azure, client_options=NO_RETRIES) as files:
        (connection,) = files.pool.connections
        with azure.faults.fail(status, path=BLOBS), pytest.raises(AzureBlobError) as raised:
            await files.download_blob("a")
        assert raised.value.status_code == status
        assert (files.pool.connections, connection.is_ready) == ((connection,), True)
        assert files.pool.stats().totals.reported_errors == 0


async def test_an_account_that_is_too_busy_is_tried_again_and_counted(azure: Emulator) -> None:
    """Answers of a busy account that the SDK tries again are counted, and take no connection while it waits."""
    quick = {"initial_backoff": 0, "increment_base": 0.01, "random_jitter_range": 0}
    async with files_of(azure, client_options=quick) as files:
        await files.upload_blob("a", b"hello")
        with azure.faults.throttle(path=BLOBS, times=2):
            assert await files.download_blob("a") == b"hello"
        assert files.throttled_count == 2
        assert files.pool.ready_connection_count == 1


async def test_a_dropped_attempt_retires_the_connection_although_the_sdk_recovers(azure: Emulator) -> None:
    """The transport sees the attempt that the SDK retries: the caller gets the result, and the connection is replaced."""
    quick = {"initial_backoff": 0, "increment_base": 0.01, "random_jitter_range": 0}
    async with files_of(azure, client_options=quick) as files:
        (old,) = files.pool.connections
        await files.upload_blob("a", b"hello")
        with azure.faults.drop(path=BLOBS, times=UNSEEN + 1):
            assert await files.download_blob("a") == b"hello"
        await eventually(lambda: old not in files.pool.connections and files.pool.ready_connection_count == 1)
        assert files.pool.stats().totals.reported_errors >= 1


async def test_what_cannot_be_reached_is_told_as_the_others(azure: Emulator) -> None:
    """A request that gets no answer raises AzureBlobError without a status, and the SDK's error is its cause."""
    async with files_of(azure, client_options=NO_RETRIES) as files:
        with azure.faults.drop(path=BLOBS), pytest.raises(AzureBlobError) as raised:
            await files.download_blob("a")
        assert isinstance(raised.value.__cause__, (ServiceRequestError, ServiceResponseError))
        assert isinstance(raised.value, type(raised.value.__cause__))
        assert (raised.value.status_code, raised.value.error_code, raised.value.blob_name) == (None, None, "a")
        await eventually(lambda: files.pool.ready_connection_count == 1)


async def test_reset_connections_heal(azure: Emulator) -> None:
    """After every TCP connection was reset, callers go on getting answers."""
    async with files_of(azure, min_size=2) as files:
        await files.upload_blob("a", b"hello")
        for _ in range(3):
            assert azure.faults.drop_connections("blob") >= 1
            assert await files.download_blob("a") == b"hello"
        await eventually(lambda: files.pool.ready_connection_count == 2)


async def test_a_download_that_breaks_off_is_reported_and_goes_on() -> None:
    """The connection whose answer ended in its middle is replaced; the SDK gets the rest, and the place is given back."""
    async with half_server() as half, ManagedAzureBlobStorage(half.url, "files", credential="a2V5") as files:
        (old,) = files.pool.connections
        half.halves = 1
        downloading = asyncio.create_task(files.download_blob("a"))
        await half.half_sent.wait()
        await eventually(lambda: files.pool.stats().totals.reported_errors == 1)
        assert old.should_close
        assert await downloading == CONTENT  # the SDK waits a second before it tries again
        assert old.current_client_count == 0
        await eventually(lambda: old not in files.pool.connections and files.pool.ready_connection_count == 1)


@pytest.mark.parametrize("way", ["download", "readall", "readinto", "chunks"])
async def test_a_cancelled_download_leaves_nothing_behind(azure: Emulator, way: str) -> None:
    """Who is cancelled while a later piece is on its way leaves no task that goes on without a place."""
    async with files_of(azure) as files:
        await files.upload_blob("long", bytes(9 * MIB))

        async def read() -> None:
            if way == "download":
                await files.download_blob("long")
            async with files.get_blob_download_stream("long") as stream:
                if way == "readall":
                    await stream.readall()
                elif way == "readinto":
                    await stream.readinto(io.BytesIO())
                else:
                    [piece async for piece in stream.chunks()]

        before = azure.blob_requests.count("GET", f"{CONTAINER}/long")
        reading = asyncio.create_task(read())
        await eventually(lambda: azure.blob_requests.count("GET", f"{CONTAINER}/long") == before + 1)
        with azure.faults.delay(30, path=BLOBS) as fault:
            await eventually(lambda: fault.strikes)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert [task for task in asyncio.all_tasks() if "process_chunk" in repr(task)] == []
            assert files.pool.stats().clients == 0


@pytest.mark.parametrize("way", ["whole", "stream"])
async def test_a_cancelled_download_closes_its_answer(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is cancelled in the middle of an answer leaves no connection taken, and gives the place back."""
    kept, send = [], BlobTransport.send

    async def keeping(self: BlobTransport, request: Any, **options: Any) -> Any:
        kept.append(await send(self, request, **options))  # so that not the garbage collection closes it
        return kept[-1]

    monkeypatch.setattr(BlobTransport, "send", keeping)
    async with half_server() as half, ManagedAzureBlobStorage(half.url, "files", credential="a2V5") as files:
        half.is_patient = True

        async def stream() -> None:
            async with files.get_blob_download_stream("a"):
                pass

        downloading = asyncio.create_task(stream() if way == "stream" else files.download_blob("a"))
        await eventually(lambda: len(kept) == 2)  # the container's properties, and the blob's first half
        downloading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await downloading
        await eventually(lambda: half.closed == 1)
        assert (files.pool.stats().clients, files.pool.stats().totals.reported_errors) == (0, 0)
        assert files.pool.ready_connection_count == 1


async def test_a_cancelled_upload_stores_nothing(azure: Emulator) -> None:
    """Who is cancelled half way leaves no blob, and gives the place back."""
    is_waiting, never = asyncio.Event(), asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(9 * MIB)
        is_waiting.set()
        await never.wait()

    async with files_of(azure) as files:
        uploading = asyncio.create_task(files.upload_blob("a", pieces()))
        await is_waiting.wait()
        uploading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await uploading
        assert (files.pool.stats().clients, azure.blobs("files")) == (0, ())


async def test_a_client_closed_by_its_user_is_replaced_at_the_next_checkout(azure: Emulator) -> None:
    """Leaving ``async with`` over the SDK's client closes it for all; the pool notices, and gives another one."""
    async with files_of(azure) as files:
        async with files.get_container_client() as container:
            assert isinstance(container, ContainerClient)
            async with container:
                await container.upload_blob("a", b"hello")
            assert files._connector.is_closed(container)
        assert await files.download_blob("a") == b"hello"


async def test_a_second_cancellation_leaves_nothing_open(azure: Emulator) -> None:
    """An opening that is cancelled while it waits for its answer leaves no connection."""
    with azure.faults.delay(30, path=CONTAINER) as fault:
        opening = asyncio.create_task(files_of(azure).__aenter__())
        await eventually(lambda: fault.strikes)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await eventually(lambda: azure.connections("blob").open == 0)


def test_what_is_fatal(azure_free: ManagedAzureBlobStorage) -> None:
    """A request not sent and an answer not read break a connection, also as the cause of what a caller is told."""
    is_fatal = azure_free._connector.is_fatal
    broken = IncompleteReadError("half")
    given_up = HttpResponseError("given up")
    given_up.__cause__ = broken
    told = AzureBlobError(given_up)
    told.__cause__ = given_up
    unsent = AzureBlobError(ServiceRequestError("no"))
    unsent.__cause__ = ServiceRequestError("no")
    assert [is_fatal(error) for error in (broken, given_up, told, unsent, ServiceResponseError("no"))] == [True] * 5
    answered = AzureBlobError(ResourceNotFoundError("no"))
    answered.__cause__ = ResourceNotFoundError("no")
    harmless = [answered, HttpResponseError("no"), OSError("gone"), TimeoutError(), asyncio.CancelledError()]
    assert [is_fatal(error) for error in harmless] == [False] * len(harmless)


@pytest.fixture
def azure_free() -> ManagedAzureBlobStorage:
    """A client of an account that nobody connects to."""
    return ManagedAzureBlobStorage("https://shop.blob.core.windows.net", "files", credential="a2V5")


async def test_another_service_s_error_inside_a_stream_stays_what_it_is(azure: Emulator) -> None:
    """Only what this container answered is told as AzureBlobError where a block is the caller's own."""
    async with files_of(azure) as files:
        await files.upload_blob("a", b"hello")
        with pytest.raises(ResourceNotFoundError, match="another"):
            async with files.get_blob_download_stream("a"):
                raise ResourceNotFoundError("another service's")
        with pytest.raises(ResourceNotFoundError, match="another"):
            async with files.get_blob_client("a"):
                raise ResourceNotFoundError("another service's")


def test_the_signature_for_one_blob_is_the_sdk_s(azure_free: ManagedAzureBlobStorage) -> None:
    """What is signed here is what the SDK signs."""
    expiry = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    signed = asyncio.run(azure_free.get_blob_sas_token("a", expiry))
    assert signed == generate_blob_sas("shop", "files", "a", account_key="a2V5", permission="r", expiry=expiry)


async def test_another_containers_error_is_not_this_blobs(azure: Emulator) -> None:
    """In a block with a blob's client, what a container of a longer name answers stays the SDK's error."""
    await azure.create_blob_container("files-old")
    async with files_of(azure) as files, ContainerClient(azure.blob_endpoint, "files-old", azure.storage_key) as other:
        with pytest.raises(ResourceNotFoundError) as raised:
            async with files.get_blob_client("a"):
                await other.get_blob_client("b").get_blob_properties()
    assert not isinstance(raised.value, AzureBlobError)
