"""What a Blob Storage client says about bad input: what is wrong, what to write instead, and never a secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.identity import DefaultAzureCredential as SyncDefaultAzureCredential
from azure.identity.aio import DefaultAzureCredential

from fastapi_azure_pool import AzureBlobStorageClient, ManagedAzureBlobStorage
from fastapi_azure_pool.clients.blob_access import BlobAccess
from tests.clients.blob_storage import KINDS
from tests.clients.credentials import CountingCredential

URL = "https://shop.blob.core.windows.net"
KEY = "cGxhbnRlZC1zZWNyZXQ="
KEY_LIKE_A_SIGNATURE = f"{'A' * 83}sig=="  # One key in 16,384 ends so.
SAS = "sv=2024-11-04&sp=r&sig=planted%2Fsignature%3D"
CONNECTION_STRING = f"DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={KEY};EndpointSuffix=core.windows.net"
SIGNED_STRING = f"BlobEndpoint={URL};SharedAccessSignature={SAS}"

both = pytest.mark.parametrize("kind", KINDS)


def given(**change: Any) -> dict[str, Any]:
    """Give good arguments, with a change; None takes one out."""
    arguments = {"az_storage_url": URL, "container_name": "files", "credential": KEY, **change}
    return {name: value for name, value in arguments.items() if value is not None}


@both
@pytest.mark.parametrize(
    ("arguments", "account"),
    [
        (given(), "shop"),
        (given(az_storage_url=f"{URL}/"), "shop"),
        (given(container_name="/files"), "shop"),
        (given(container_name="$web"), "shop"),
        (given(credential=CountingCredential()), "shop"),
        (given(credential=KEY_LIKE_A_SIGNATURE), "shop"),
        (given(credential=AzureNamedKeyCredential("shop", KEY)), "shop"),
        (given(credential=AzureSasCredential(SAS)), "shop"),
        (given(credential=None, credential_factory=DefaultAzureCredential), "shop"),
        (given(credential=None, credential_factory=CountingCredential), "shop"),
        (given(credential=None, credential_factory=CountingCredential()), "shop"),
        (given(credential=None, az_storage_url=None, connection_string=CONNECTION_STRING), "shop"),
        (given(credential=None, az_storage_url=None, connection_string=f"{CONNECTION_STRING};"), "shop"),
        (
            given(
                credential=None,
                az_storage_url=None,
                connection_string=CONNECTION_STRING.replace(KEY, KEY_LIKE_A_SIGNATURE),
            ),
            "shop",
        ),
        (given(credential=None, az_storage_url=None, connection_string=SIGNED_STRING), "shop"),
        (
            given(credential=None, az_storage_url=None, connection_string="UseDevelopmentStorage=true"),
            "devstoreaccount1",
        ),
        (given(az_storage_url="http://127.0.0.1:10000/devstoreaccount1"), "devstoreaccount1"),
        (given(az_storage_url="http://azurite:10000/devstoreaccount1/"), "devstoreaccount1"),
        (given(az_storage_url="https://shop.z01.blob.storage.azure.net"), "shop"),
        (given(az_storage_url="https://files.example", credential=AzureNamedKeyCredential("shop", KEY)), "shop"),
        (given(az_storage_url="https://files.example", credential=CountingCredential()), None),
    ],
)
def test_good_input_is_taken(kind: type[Any], arguments: dict[str, Any], account: str | None) -> None:
    """A key, a credential, a signature, a factory or a connection string authenticates; making a client does no I/O."""
    client = kind(**arguments)
    assert client._access.account_name == account
    assert client.container_name == arguments["container_name"].lstrip("/")
    assert client.az_storage_url.endswith("/")


@both
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"credential_factory": CountingCredential},
            "exactly one of credential_factory=, .*, not credential_factory and credential",
        ),
        ({"connection_string": CONNECTION_STRING}, "exactly one of .*, not credential and connection_string"),
        (
            {"credential": None, "connection_string": CONNECTION_STRING},
            "connection_string= names the account already: leave az_storage_url out",
        ),
        ({"az_storage_url": None}, r"az_storage_url is missing: give the account's URL, such as https://<account>"),
        ({"az_storage_url": "shop.blob.core.windows.net"}, "az_storage_url must be the account's URL, such as https"),
        ({"az_storage_url": "ftp://shop.blob.core.windows.net"}, "az_storage_url must be the account's URL"),
        ({"az_storage_url": "https://"}, "az_storage_url must be the account's URL"),
        ({"az_storage_url": "https://shop:port"}, "az_storage_url must be the account's URL"),
        ({"az_storage_url": "https://shop:0"}, "az_storage_url must be the account's URL"),
        ({"az_storage_url": "https://[::1"}, "az_storage_url must be the account's URL"),
        ({"az_storage_url": "https://planted:secret@shop.blob.core.windows.net"}, "must be the account's URL"),
        ({"az_storage_url": 443}, "az_storage_url must be the account's URL"),
        ({"az_storage_url": f"{URL}/files"}, "without the container, which is container_name="),
        ({"az_storage_url": "http://127.0.0.1:10000/account/files"}, "without the container, which is container_name="),
        ({"az_storage_url": f"{URL}?{SAS}"}, r"has a query: .* as credential=AzureSasCredential\(signature\)"),
        ({"az_storage_url": CONNECTION_STRING}, "az_storage_url holds a connection string: pass it as connection_str"),
        ({"az_storage_url": SIGNED_STRING}, "az_storage_url holds a connection string: pass it as connection_string"),
        (
            {"az_storage_url": "https://files.example"},
            r"does not tell the account's name: write credential=AzureNamedKeyCredential\(name, key\)",
        ),
        (
            {"az_storage_url": "http://127.0.0.1:10000/account", "credential": CountingCredential()},
            "az_storage_url must begin with https:// for a token credential",
        ),
        ({"container_name": None}, "container_name must be a container's name, of 3 to 63 .*, not None"),
        ({"container_name": "ab"}, "container_name must be a container's name, .*, not 'ab'"),
        ({"container_name": "a" * 64}, "container_name must be a container's name"),
        ({"container_name": "Files"}, "container_name must be a container's name"),
        ({"container_name": "a--b"}, "container_name must be a container's name"),
        ({"container_name": "-ab"}, "container_name must be a container's name"),
        ({"container_name": "files/2026"}, "container_name must be a container's name"),
        ({"container_name": "../other"}, "container_name must be a container's name"),
        ({"container_name": KEY}, "container_name must be a container's name, .*, not a text of 20 characters"),
        ({"container_name": CONNECTION_STRING}, "container_name must be a container's name, .*, not a text of"),
        ({"container_name": 5}, "container_name must be a container's name, .*, not 5"),
        ({"credential": "planted secret"}, "credential must be the account's key as the portal shows it, in base64"),
        ({"credential": "plänted"}, "credential must be the account's key as the portal shows it, in base64"),
        ({"credential": ""}, "credential must be the account's key as the portal shows it, in base64"),
        ({"credential": CONNECTION_STRING}, "credential holds a connection string: pass it as connection_string="),
        ({"credential": SAS}, r"credential holds a shared access signature: write credential=AzureSasCredential\("),
    ],
)
def test_bad_input_is_told_with_what_to_write_instead(kind: type[Any], change: dict[str, Any], message: str) -> None:
    """Each malformed argument, and any number of authentications but one, raises ValueError that says what to write."""
    with pytest.raises(ValueError, match=message) as raised:
        kind(**given(**change))
    assert_no_secret(raised.value)


def test_the_basic_client_needs_authentication_of_its_own() -> None:
    """No application lends it one."""
    with pytest.raises(ValueError, match=r"exactly one of .* and connection_string=, not none"):
        AzureBlobStorageClient(URL, "files")


async def test_the_basic_client_takes_a_credential_as_the_toolbox_does() -> None:
    """A credential that was made, in the third place or as credentials=, is shared and stays its owner's to close."""
    credential = CountingCredential()
    for client in (
        AzureBlobStorageClient(URL, "files", credential),
        AzureBlobStorageClient(URL, "files", credentials=credential),
    ):
        shared = client._access.shared
        assert shared is not None
        assert (await shared.get_token("scope")).token.startswith("token-")
        await client.close()
    assert credential.times_closed == 0
    with pytest.raises(ValueError, match="credential= and credentials= are one argument: leave one out"):
        AzureBlobStorageClient(URL, "files", credential=credential, credentials=credential)


async def test_the_managed_client_is_lent_a_credential_or_says_so() -> None:
    """Without authentication it says, when it is opened, who could lend it one."""
    with pytest.raises(ValueError, match=r"has no authentication: write open_pools\(app, credential="):
        await ManagedAzureBlobStorage(URL, "files").open()


@both
@pytest.mark.parametrize(
    "text",
    [
        "",
        f"BlobEndpoint={URL}",
        "AccountName=shop",
        f"AccountKey={KEY}",
        f"Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKey={KEY}",
        "AccountName=shop;AccountKey",
        KEY,
        5,
    ],
)
def test_a_malformed_connection_string_is_told_how_one_reads(kind: type[Any], text: object) -> None:
    """A connection string without an account or a key raises ValueError that shows how one reads, without repeating it."""
    with pytest.raises(ValueError, match=r"must read DefaultEndpointsProtocol=https;AccountName=<account>;") as raised:
        kind(**given(credential=None, az_storage_url=None, connection_string=text))
    assert_no_secret(raised.value)


@both
@pytest.mark.parametrize("key", ["planted secret", "plänted"])
def test_a_malformed_key_in_a_connection_string(kind: type[Any], key: str) -> None:
    """A key that is no base64 is told so, and not repeated."""
    with pytest.raises(ValueError, match=r"AccountKey must be the account's key .* base64") as raised:
        kind(**given(credential=None, az_storage_url=None, connection_string=f"AccountName=shop;AccountKey={key}"))
    assert_no_secret(raised.value)


@both
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"credential": SyncDefaultAzureCredential()}, "credential is the sync DefaultAzureCredential"),
        (
            {"credential": None, "credential_factory": SyncDefaultAzureCredential},
            "credential_factory is the sync DefaultAzureCredential",
        ),
        (
            {"credential": None, "credential_factory": SyncDefaultAzureCredential()},
            "credential is the sync DefaultAzureCredential",
        ),
        ({"credential": None, "credential_factory": KEY}, "credential_factory must be a function .*, not a str"),
        ({"credential": {"account_key": KEY}}, "credential must be an async credential, not dict"),
    ],
)
def test_what_is_no_async_credential(kind: type[Any], change: dict[str, Any], message: str) -> None:
    """A sync credential, or anything else in its place, raises TypeError naming azure.identity.aio."""
    with pytest.raises(TypeError, match=message) as raised:
        kind(**given(**change))
    assert "azure.identity.aio" in str(raised.value)
    assert_no_secret(raised.value)


@both
@pytest.mark.parametrize("option", ["account_url", "container_name", "credential", "transport"])
def test_client_options_that_are_the_pool_s_are_refused(kind: type[Any], option: str) -> None:
    """What the pool gives every ContainerClient cannot be given a second time."""
    with pytest.raises(ValueError, match=f"client_options must not hold '{option}'"):
        kind(**given(client_options={option: None}))


def test_an_unknown_argument_is_refused() -> None:
    """A misspelt size raises TypeError that names it."""
    with pytest.raises(TypeError, match="max_sise"):
        ManagedAzureBlobStorage(**given(max_sise=9))


def test_nothing_shows_a_secret() -> None:
    """Clients, and what they keep of how to authenticate, show no key and no signature."""
    for credential in (KEY, AzureNamedKeyCredential("shop", KEY), AzureSasCredential(SAS)):
        for kind in KINDS:
            client = kind(**given(credential=credential))
            for shown in (client, client._access, client._connector, client._keys):
                assert_clean(f"{shown} {shown!r}")


NAMES: list[tuple[Any, type[Exception], str]] = [
    ("", ValueError, "blob_name must have 1 to 1024 characters, not 0"),
    ("a" * 1025, ValueError, "blob_name must have 1 to 1024 characters, not 1025"),
    ("..", ValueError, "has a dot segment, which would address something else"),
    (
        "../invoices/1",
        ValueError,
        "has a dot segment, which would address something else, perhaps in another container",
    ),
    ("a/../../invoices/1", ValueError, "has a dot segment"),
    ("a/./b", ValueError, "has a dot segment"),
    (b"a", TypeError, "blob_name must be a text, not a bytes"),
    (None, TypeError, "blob_name must be a text, not a NoneType"),
]


@both
@pytest.mark.parametrize(("name", "kind_of_error", "message"), NAMES)
async def test_a_blob_name_that_addresses_nothing_of_the_container(
    kind: type[Any], name: Any, kind_of_error: type[Exception], message: str
) -> None:
    """Every method refuses it before it asks anybody."""
    files = kind(**given())

    async def stream() -> None:
        async with files.get_blob_download_stream(name):
            pass

    async def client() -> None:
        async with files.get_blob_client(name):
            pass

    for ask in (
        stream,
        client,
        lambda: files.download_blob(name),
        lambda: files.download_blob_to_dir("/tmp", name),
        lambda: files.upload_blob(name, b""),
        lambda: files.upload_blob_from_url(name, URL),
        lambda: files.delete_blob(name),
        lambda: files.get_blob_sas_token(name),
        lambda: files.get_blob_sas_token_list(["a", name]),
        lambda: files.get_blob_sas_url(name),
        lambda: files.get_blob_sas_url_list(["a", name]),
    ):
        with pytest.raises(kind_of_error, match=message):
            await ask()


@both
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "file_data must be bytes, a text, a binary file or an iterable .*, not a int"),
        (None, "not a NoneType"),
        ({"a": b"b"}, "not a dict"),
        ({b"a"}, "not a set"),
        (__file__, None),
    ],
)
async def test_what_cannot_be_uploaded(kind: type[Any], data: Any, message: str | None) -> None:
    """Anything but content, and a file of text, raises TypeError before anybody is asked."""
    files = kind(**given())
    if message is not None:
        with pytest.raises(TypeError, match=message):
            await files.upload_blob("a", data)
        return
    with open(data, encoding="utf-8") as file, pytest.raises(TypeError, match=r"open it in binary mode, open\(path"):  # noqa: PTH123, ASYNC230 - the error names it
        await files.upload_blob("a", file)


@both
@pytest.mark.parametrize(
    ("expiry", "kind_of_error", "message"),
    [
        (datetime.now(UTC) - timedelta(seconds=1), ValueError, "is over already: a signature ends in the future"),
        (datetime(2020, 1, 1), ValueError, "is over already"),  # noqa: DTZ001 - taken as UTC
        (3600, TypeError, "expiry must be a datetime, not a int"),
    ],
)
async def test_when_no_signature_can_end(
    kind: type[Any], expiry: Any, kind_of_error: type[Exception], message: str
) -> None:
    """An end that is over, or no time at all, is refused."""
    with pytest.raises(kind_of_error, match=message):
        await kind(**given()).get_blob_sas_token("a", expiry)


@both
async def test_what_can_sign_nothing(kind: type[Any]) -> None:
    """A signature signs no other; and a signature needs the account's name."""
    with pytest.raises(ValueError, match="a signature cannot sign others: authenticate with a token credential or the"):
        await kind(**given(credential=AzureSasCredential(SAS))).get_blob_sas_url("a")


def test_an_access_repeats_no_secret() -> None:
    """What the clients are made of shows its type alone."""
    assert_clean(repr(BlobAccess(URL, "files", None, KEY, None)))


def assert_clean(text: str) -> None:
    """Check that a text repeats nothing that was planted."""
    assert [secret for secret in (KEY, "planted", "plänted") if secret in text] == []


def assert_no_secret(error: BaseException) -> None:
    """Check that neither an error nor what it was raised from repeats what was planted."""
    while error is not None:
        assert_clean(f"{error} {error!r}")
        if error.__suppress_context__ and error.__cause__ is None:
            return
        cause = error.__cause__ or error.__context__
        if cause is None:
            return
        error = cause


async def test_who_cannot_sign_is_told_before_anything_is_asked() -> None:
    """Without the account's name nothing can be signed: neither a token nor a key is asked for before that is said."""
    credential = CountingCredential()
    files = ManagedAzureBlobStorage("https://files.example", "files", credential=credential)
    with pytest.raises(ValueError, match="does not tell the account's name, which a signature needs"):
        await files.get_blob_sas_token("a")
    assert credential.requests == []
