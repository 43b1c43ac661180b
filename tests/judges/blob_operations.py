"""What a storage account is asked over HTTP, to see whether two servers of Blob Storage answer alike.

The operations run one after another in one container, as a script. An outcome has several aspects, each a line of text: the status
with the error code, each header that both must give alike, and the body.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import aiohttp
import yarl
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.judges.comparing import Outcomes
    from tests.judges.servers import StorageServer

CONTAINER = "judged"
VERSION = "2024-11-04"

HEADERS = (
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-range",
    "content-type",
    "x-ms-blob-append-offset",
    "x-ms-blob-committed-block-count",
    "x-ms-blob-content-md5",
    "x-ms-blob-type",
    "x-ms-copy-source",
    "x-ms-copy-status",
    "x-ms-lease-state",
    "x-ms-lease-status",
)
"""Headers of which the value is compared; so is that of metadata."""

PRESENT = ("etag", "last-modified", "x-ms-copy-id", "x-ms-creation-time", "x-ms-request-id")
"""Headers that differ from answer to answer: that they are there is compared."""

VARYING = (
    "AccessTierChangeTime",
    "CopyCompletionTime",
    "CopyId",
    "Creation-Time",
    "Etag",
    "Last-Modified",
    "NextMarker",
)
"""Elements of an answer's XML of which only that they are there is compared."""

ALL = "all"
NONE = "none"
READ_ONLY = "read only"
CONTAINERS_ONLY = "containers only"
EXPIRED = "expired"
NOT_YET = "not yet valid"
FORGED = "forged"
WIDENED = "widened"
"""Shared access signatures of the account."""


@dataclass(frozen=True)
class Request:
    """One request to the container or to a blob in it.

    Attributes:
        name: What it is, in a few words; each is used once.
        method: GET, HEAD, PUT or DELETE.
        blob: The blob's name; "" for the container itself.
        query: The query's parameters; a container needs ``restype=container``.
        body: What is sent.
        headers: What stands in the request besides the version and the length.
        token: Which shared access signature it has.
    """

    name: str
    method: str
    blob: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str = ALL


async def outcomes(server: StorageServer) -> Outcomes:
    """Send a server every request, and return the answers by the requests' names."""
    tokens = _tokens(server)
    found: Outcomes = {}
    async with aiohttp.ClientSession() as session:
        for request in REQUESTS:
            source = f"{server.endpoint}/{CONTAINER}/plain?{tokens[ALL]}"
            headers = {name: value.replace("{plain}", source) for name, value in request.headers.items()}
            url = _url(server, request.blob, request.query, tokens[request.token])
            headers = {"x-ms-version": VERSION, **headers}
            try:
                async with session.request(request.method, url, data=request.body, headers=headers) as response:
                    found[request.name] = dict(_aspects(response, await response.read(), server))
            except aiohttp.ClientResponseError:
                found[request.name] = {"status": "no valid HTTP"}
    return found


def _tokens(server: StorageServer) -> dict[str, str]:
    everything = AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True)
    now, hour = datetime.now(UTC), timedelta(hours=1)

    def token(permission: AccountSasPermissions = everything, start: datetime | None = None, **change: Any) -> str:
        kinds = change.get("kinds", ResourceTypes(service=True, container=True, object=True))
        expiry = change.get("expiry", now + hour)
        return generate_account_sas(server.account, server.key, kinds, permission, expiry, start)

    return {
        ALL: token(),
        NONE: "",
        READ_ONLY: token(AccountSasPermissions(read=True)),
        CONTAINERS_ONLY: token(kinds=ResourceTypes(container=True)),
        EXPIRED: token(expiry=now - hour),
        NOT_YET: token(start=now + hour, expiry=now + 2 * hour),
        FORGED: re.sub("sig=[^&]*", "sig=Zm9yZ2Vk", token()),
        WIDENED: token(AccountSasPermissions(read=True)).replace("sp=r", "sp=rwd"),
    }


def _url(server: StorageServer, blob: str, query: Mapping[str, str], token: str) -> yarl.URL:
    path = f"{CONTAINER}/{blob}" if blob else CONTAINER
    parameters = yarl.URL.build(query=dict(query)).raw_query_string
    return yarl.URL(f"{server.endpoint}/{path}?{'&'.join(filter(None, [parameters, token]))}", encoded=True)


def _aspects(response: aiohttp.ClientResponse, body: bytes, server: StorageServer) -> Iterator[tuple[str, str]]:
    code = response.headers.get("x-ms-error-code")
    yield "status", f"{response.status} {code}" if code else str(response.status)
    if response.status >= HTTPStatus.BAD_REQUEST:
        if response.method != "HEAD":
            yield "body", _error_in(body)
        return
    names = [name for name in map(str.lower, response.headers) if name in HEADERS or name.startswith("x-ms-meta-")]
    for name in sorted(set(names)):
        yield name, re.sub(r"\?.*", "?...", response.headers[name].replace(server.endpoint, ""))
    yield "present", " ".join(name for name in PRESENT if name in response.headers)
    if response.method == "HEAD":
        if "x-ms-blob-type" in response.headers:
            yield "length", response.headers["content-length"]
    elif response.headers.get("content-type") == "application/xml" and body:
        yield from _leaves(ET.fromstring(body))
    else:
        yield "body", body.decode("latin-1")


def _error_in(body: bytes) -> str:
    if not body:
        return "none"
    if not body.lstrip(b"\xef\xbb\xbf").startswith(b"<"):
        return "not XML"
    root = ET.fromstring(body)
    return f"{root.tag} {root.findtext('Code')}"


def _leaves(element: ET.Element, path: str = "") -> Iterator[tuple[str, str]]:
    # Elements without content say no more than those that are left out.
    if len(element) == 0 and element.text:
        yield path, "..." if element.tag in VARYING else element.text
    counts: dict[str, int] = {}
    for child in element:
        counts[child.tag] = counts.get(child.tag, 0) + 1
        number = f"[{counts[child.tag]}]" if child.tag in {"Blob", "Block"} else ""
        yield from _leaves(child, f"{path}/{child.tag}{number}")


def _block(name: str) -> str:
    return base64.b64encode(name.encode()).decode()


def _block_list(*entries: tuple[str, str]) -> bytes:
    blocks = "".join(f"<{kind}>{_block(name)}</{kind}>" for kind, name in entries)
    return f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'.encode()


APPEND = {"comp": "appendblock"}
LIST = {"comp": "blocklist"}
PROPERTIES = {"comp": "properties"}
OF_CONTAINER = {"restype": "container"}
LISTING = {"restype": "container", "comp": "list"}
BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}
TEXT = {**BLOCK_BLOB, "content-type": "text/plain"}
LONG_AGO = "Mon, 01 Jan 2001 00:00:00 GMT"
IN_FUTURE = "Fri, 01 Jan 2100 00:00:00 GMT"

REQUESTS = (
    # Containers
    Request("properties of a missing container", "GET", query=OF_CONTAINER),
    Request("delete a missing container", "DELETE", query=OF_CONTAINER),
    Request("put a blob into a missing container", "PUT", "plain", body=b"x", headers=BLOCK_BLOB),
    Request("get a blob of a missing container", "GET", "plain"),
    Request("list a missing container", "GET", query=LISTING),
    Request("create a container", "PUT", query=OF_CONTAINER, headers={"x-ms-meta-owner": "ada"}),
    Request("create a container that is there", "PUT", query=OF_CONTAINER),
    Request("properties of a container", "GET", query=OF_CONTAINER),
    Request("head of a container", "HEAD", query=OF_CONTAINER),
    Request("set a container's metadata", "PUT", query={**OF_CONTAINER, "comp": "metadata"}, headers={"x-ms-meta-a": "1"}),
    Request("a container's metadata", "GET", query={**OF_CONTAINER, "comp": "metadata"}),
    Request("list an empty container", "GET", query=LISTING),
    # Block blobs
    Request("get a missing blob", "GET", "none"),
    Request("head of a missing blob", "HEAD", "none"),
    Request("delete a missing blob", "DELETE", "none"),
    Request("put a blob", "PUT", "plain", body=b"0123456789", headers={**TEXT, "x-ms-meta-colour": "red"}),
    Request("put a blob without a type", "PUT", "untyped", body=b"x"),
    Request("put a blob of an unknown type", "PUT", "untyped", body=b"x", headers={"x-ms-blob-type": "Nonsense"}),
    Request("put a blob with a wrong MD5", "PUT", "wrong", body=b"x", headers={**TEXT, "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}),
    Request("put a blob with a malformed MD5", "PUT", "wrong", body=b"x", headers={**TEXT, "content-md5": "nonsense"}),
    Request("get a blob", "GET", "plain"),
    Request("head of a blob", "HEAD", "plain"),
    Request("put an empty blob", "PUT", "empty", headers=BLOCK_BLOB),
    Request("get an empty blob", "GET", "empty"),
    Request("put a blob with every property", "PUT", "rich", body=b"{}", headers={
        **BLOCK_BLOB,
        "x-ms-blob-content-type": "application/json",
        "x-ms-blob-content-encoding": "identity",
        "x-ms-blob-content-language": "nb",
        "x-ms-blob-content-disposition": "attachment",
        "x-ms-blob-cache-control": "no-store",
    }),
    Request("head of a blob with every property", "HEAD", "rich"),
    Request("set a blob's properties", "PUT", "rich", query=PROPERTIES, headers={"x-ms-blob-cache-control": "private"}),
    Request("head after setting one property", "HEAD", "rich"),
    Request("set a blob's metadata", "PUT", "rich", query={"comp": "metadata"}, headers={"x-ms-meta-a": "1", "x-ms-meta-b": "2"}),
    Request("a blob's metadata", "GET", "rich", query={"comp": "metadata"}),
    Request("a malformed name of metadata", "PUT", "rich", query={"comp": "metadata"}, headers={"x-ms-meta-a-b": "1"}),
    # Ranges
    Request("the first bytes", "GET", "plain", headers={"range": "bytes=0-3"}),
    Request("the last bytes", "GET", "plain", headers={"range": "bytes=7-"}),
    Request("x-ms-range before range", "GET", "plain", headers={"x-ms-range": "bytes=1-2", "range": "bytes=5-6"}),
    Request("a range beyond the end", "GET", "plain", headers={"range": "bytes=8-100"}),
    Request("a range after the end", "GET", "plain", headers={"range": "bytes=10-20"}),
    Request("a range of an empty blob", "GET", "empty", headers={"range": "bytes=0-10"}),
    Request("a malformed range", "GET", "plain", headers={"range": "bytes=nonsense"}),
    Request("a range with its MD5", "GET", "plain", headers={"x-ms-range": "bytes=0-3", "x-ms-range-get-content-md5": "true"}),
    Request("an MD5 without a range", "GET", "plain", headers={"x-ms-range-get-content-md5": "true"}),
    # Conditions
    Request("put where there must be none", "PUT", "plain", body=b"x", headers={**TEXT, "if-none-match": "*"}),
    Request("put where there is none", "PUT", "fresh", body=b"x", headers={**TEXT, "if-none-match": "*"}),
    Request("put under another etag", "PUT", "plain", body=b"x", headers={**TEXT, "if-match": '"0x1"'}),
    Request("put over a missing blob under an etag", "PUT", "none", body=b"x", headers={**TEXT, "if-match": '"0x1"'}),
    Request("get under any etag", "GET", "plain", headers={"if-match": "*"}),
    Request("get under another etag", "GET", "plain", headers={"if-match": '"0x1"'}),
    Request("get if it is another", "GET", "plain", headers={"if-none-match": '"0x1"'}),
    Request("get if there is none", "GET", "plain", headers={"if-none-match": "*"}),
    Request("get if modified since long ago", "GET", "plain", headers={"if-modified-since": LONG_AGO}),
    Request("get if modified since the future", "GET", "plain", headers={"if-modified-since": IN_FUTURE}),
    Request("head if modified since the future", "HEAD", "plain", headers={"if-modified-since": IN_FUTURE}),
    Request(
        "get if it is another or modified since the future",
        "GET",
        "plain",
        headers={"if-none-match": '"0x1"', "if-modified-since": IN_FUTURE},
    ),
    Request(
        "get under any etag if modified since the future",
        "GET",
        "plain",
        headers={"if-match": "*", "if-modified-since": IN_FUTURE},
    ),
    Request(
        "put under two conditions",
        "PUT",
        "plain",
        body=b"x",
        headers={**TEXT, "if-match": '"0x1"', "if-modified-since": LONG_AGO},
    ),
    Request("get if unmodified since long ago", "GET", "plain", headers={"if-unmodified-since": LONG_AGO}),
    Request("delete under another etag", "DELETE", "plain", headers={"if-match": '"0x1"'}),
    # Blocks
    Request("put a block", "PUT", "blocks", query={"comp": "block", "blockid": _block("one")}, body=b"first "),
    Request("get a blob of uncommitted blocks", "GET", "blocks"),
    Request("put a second block", "PUT", "blocks", query={"comp": "block", "blockid": _block("two")}, body=b"second"),
    Request("uncommitted blocks", "GET", "blocks", query={"comp": "blocklist", "blocklisttype": "all"}),
    Request("put a block with a longer id", "PUT", "blocks", query={"comp": "block", "blockid": _block("three")}, body=b"x"),
    Request("put a block with a malformed id", "PUT", "blocks", query={"comp": "block", "blockid": "!"}, body=b"x"),
    Request("put a block without an id", "PUT", "blocks", query={"comp": "block"}, body=b"x"),
    Request("put an empty block", "PUT", "blocks", query={"comp": "block", "blockid": _block("nil")}),
    Request("commit an unknown block", "PUT", "blocks", query=LIST, body=_block_list(("Latest", "not"))),
    Request("commit malformed XML", "PUT", "blocks", query=LIST, body=b"<BlockList><Latest>"),
    Request("commit blocks", "PUT", "blocks", query=LIST, body=_block_list(("Uncommitted", "one"), ("Latest", "two")), headers={
        "x-ms-blob-content-type": "text/plain", "x-ms-meta-parts": "2"
    }),
    Request("get a blob of blocks", "GET", "blocks"),
    Request("committed blocks", "GET", "blocks", query={"comp": "blocklist", "blocklisttype": "all"}),
    Request("commit committed blocks again", "PUT", "blocks", query=LIST, body=_block_list(("Committed", "two"))),
    Request("get the blob that was left", "GET", "blocks"),
    Request("commit no blocks", "PUT", "no-blocks", query=LIST, body=_block_list()),
    Request("blocks of a missing blob", "GET", "none", query=LIST),
    # Append blobs
    Request("put an append blob", "PUT", "log", headers={"x-ms-blob-type": "AppendBlob"}),
    Request("put an append blob with a body", "PUT", "log2", body=b"x", headers={"x-ms-blob-type": "AppendBlob"}),
    Request("append", "PUT", "log", query=APPEND, body=b"line 1\n"),
    Request("append at the end", "PUT", "log", query=APPEND, body=b"line 2\n", headers={"x-ms-blob-condition-appendpos": "7"}),
    Request("append elsewhere", "PUT", "log", query=APPEND, body=b"x", headers={"x-ms-blob-condition-appendpos": "7"}),
    Request("append beyond a size", "PUT", "log", query=APPEND, body=b"x", headers={"x-ms-blob-condition-maxsize": "14"}),
    Request("append nothing", "PUT", "log", query=APPEND),
    Request("append to a missing blob", "PUT", "none", query=APPEND, body=b"x"),
    Request("append to a block blob", "PUT", "plain", query=APPEND, body=b"x"),
    Request("put a block into an append blob", "PUT", "log", query={"comp": "block", "blockid": _block("one")}, body=b"x"),
    Request("get an append blob", "GET", "log"),
    # Copies
    Request("copy a blob", "PUT", "copy", headers={"x-ms-copy-source": "{plain}"}),
    Request("head of a copy", "HEAD", "copy"),
    Request("put a blob from an address", "PUT", "url", headers={**BLOCK_BLOB, "x-ms-copy-source": "{plain}"}),
    Request("get a blob from an address", "GET", "url"),
    Request("copy where there must be none", "PUT", "copy", headers={"x-ms-copy-source": "{plain}", "if-none-match": "*"}),
    # Listing
    Request("put a blob in a folder", "PUT", "folder/a", body=b"a", headers=TEXT),
    Request("put a blob in a folder's folder", "PUT", "folder/deep/b", body=b"b", headers=TEXT),
    Request("put a blob with an odd name", "PUT", "f%20%26%C3%A5%3C%2B%23%25", body=b"c", headers=TEXT),
    Request("list a prefix", "GET", query={**LISTING, "prefix": "folder/"}),
    Request("list with a delimiter", "GET", query={**LISTING, "prefix": "f", "delimiter": "/"}),
    Request("list with metadata", "GET", query={**LISTING, "prefix": "plain", "include": "metadata"}),
    Request("list at most one", "GET", query={**LISTING, "prefix": "folder/", "maxresults": "1"}),
    Request("list at most none", "GET", query={**LISTING, "maxresults": "0"}),
    Request("list at most some", "GET", query={**LISTING, "maxresults": "some"}),
    # Shared access signatures
    Request("get without a signature", "GET", "plain", token=NONE),
    Request("list without a signature", "GET", query=LISTING, token=NONE),
    Request("get to read only", "GET", "plain", token=READ_ONLY),
    Request("put to read only", "PUT", "plain", body=b"x", headers=TEXT, token=READ_ONLY),
    Request("delete to read only", "DELETE", "plain", token=READ_ONLY),
    Request("list to read only", "GET", query=LISTING, token=READ_ONLY),
    Request("get with a signature for containers", "GET", "plain", token=CONTAINERS_ONLY),
    Request("properties of a container with a signature for containers", "GET", query=OF_CONTAINER, token=CONTAINERS_ONLY),
    Request("get with an expired signature", "GET", "plain", token=EXPIRED),
    Request("get with a signature before its time", "GET", "plain", token=NOT_YET),
    Request("get with a forged signature", "GET", "plain", token=FORGED),
    Request("get with a widened signature", "GET", "plain", token=WIDENED),
    Request("delete a blob", "DELETE", "plain"),
    Request("get a deleted blob", "GET", "plain"),
    Request("delete a container", "DELETE", query=OF_CONTAINER),
    Request("list a deleted container", "GET", query=LISTING),
)  # fmt: skip
"""The script."""
