"""Lists of containers and of blobs, page by page: "List Containers" and "List Blobs" (REST reference)."""

from __future__ import annotations

import base64
import binascii
import bisect
import re
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi_azure_pool.emulator.blob.containers import find_container
from fastapi_azure_pool.emulator.blob.errors import invalid_query, not_supported, out_of_range_query
from fastapi_azure_pool.emulator.blob.responses import http_date, xml_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from fastapi_azure_pool.emulator.blob.account import Account, Blob, Container
    from fastapi_azure_pool.emulator.blob.request import BlobRequest

_MAX_RESULTS = 5_000

_NUMBER = re.compile(r"-?[0-9]{1,9}\Z")

# What could be included; of most there is nothing, for the emulator has no snapshots, versions, deleted blobs or tags.
_INCLUDABLE = {
    "list": frozenset({"metadata", "deleted", "system"}),
    "blobs": frozenset(
        {
            "copy",
            "deleted",
            "deletedwithversions",
            "immutabilitypolicy",
            "legalhold",
            "metadata",
            "permissions",
            "snapshots",
            "tags",
            "uncommittedblobs",
            "versions",
        }
    ),
}

# What no XML document may hold (XML 1.0, section 2.2).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def list_containers(account: Account, request: BlobRequest) -> Response:
    """List the account's containers."""
    included = _included(request, "list")
    query = request.query
    names, next_marker = _page(sorted(account.containers), request, delimiter="")
    rows = []
    for name, _ in names:
        container = account.containers[name]
        metadata = _metadata(container.metadata) if "metadata" in included else ""
        rows.append(f"<Container><Name>{name}</Name>{_container_properties(container)}{metadata}</Container>")
    return xml_response(
        request,
        f'<EnumerationResults ServiceEndpoint="{escape(service_endpoint(request))}">{_echo(query)}'
        f"<Containers>{''.join(rows)}</Containers><NextMarker>{next_marker}</NextMarker></EnumerationResults>",
    )


def list_blobs(account: Account, request: BlobRequest) -> Response:
    """List a container's blobs."""
    included = _included(request, "blobs")
    container = find_container(account, request)
    query = request.query
    if query.get("showonly"):
        raise not_supported("The query parameter showonly")
    names = set(container.blobs)
    if "uncommittedblobs" in included:
        names |= set(container.staged)
    page, next_marker = _page(sorted(names), request, delimiter=query.get("delimiter", ""))
    rows = []
    for name, is_prefix in page:
        if is_prefix:
            rows.append(f"<BlobPrefix>{_name(name)}</BlobPrefix>")
        elif name in container.blobs:
            rows.append(_blob(container.blobs[name], included))
        else:
            properties = "<Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType>"
            rows.append(f"<Blob>{_name(name)}<Properties>{properties}</Properties></Blob>")
    return xml_response(
        request,
        f'<EnumerationResults ServiceEndpoint="{escape(service_endpoint(request))}" '
        f'ContainerName="{container.name}">{_echo(query)}<Blobs>{"".join(rows)}</Blobs>'
        f"<NextMarker>{next_marker}</NextMarker></EnumerationResults>",
    )


def service_endpoint(request: BlobRequest) -> str:
    """Return the account's URL as the client knows it."""
    return f"{request.scheme}://{request.headers.get('host', '')}/{request.account}/"


def _page(names: list[str], request: BlobRequest, *, delimiter: str) -> tuple[list[tuple[str, bool]], str]:
    """Return the names of a page, each with whether it is a prefix, and the marker of the next page."""
    query = request.query
    prefix = query.get("prefix", "")
    limit = _limit(query)
    start = max(prefix, query.get("startfrom", ""), _unmarked(query.get("marker", "")))
    page: list[tuple[str, bool]] = []
    position = bisect.bisect_left(names, start)
    while position < len(names):
        name = names[position]
        if not name.startswith(prefix):
            break
        if len(page) == limit:
            return page, _marker(name)
        head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
        if found:
            whole = prefix + head + delimiter
            page.append((whole, True))
            while position < len(names) and names[position].startswith(whole):
                position += 1
        else:
            page.append((name, False))
            position += 1
    return page, ""


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("maxresults")
    if not text:
        return _MAX_RESULTS
    if not _NUMBER.match(text):
        raise invalid_query("maxresults", text)
    number = int(text)
    if number < 1:
        raise out_of_range_query("maxresults", text, 1, _MAX_RESULTS)
    return min(number, _MAX_RESULTS)


def _marker(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode("utf-8", "surrogatepass")).decode("ascii")


def _unmarked(marker: str) -> str:
    try:
        return base64.urlsafe_b64decode(marker.encode("ascii")).decode("utf-8", "surrogatepass")
    except (binascii.Error, ValueError) as error:
        raise invalid_query("marker", marker) from error


def _included(request: BlobRequest, kind: str) -> frozenset[str]:
    text = request.query.get("include", "").lower()
    included = frozenset(one.strip() for one in text.split(",") if one.strip())
    if not included <= _INCLUDABLE[kind]:
        raise invalid_query("include", text)
    return included


def _echo(query: Mapping[str, str]) -> str:
    elements = {"Prefix": "prefix", "Marker": "marker", "StartFrom": "startfrom", "MaxResults": "maxresults"}
    elements |= {"Delimiter": "delimiter"}
    return "".join(
        f"<{element}>{_text(query[name])}</{element}>" for element, name in elements.items() if query.get(name)
    )


def _blob(blob: Blob, included: frozenset[str]) -> str:
    version, settings = blob.version, blob.settings
    properties = {
        "Creation-Time": http_date(blob.created_at),
        "Last-Modified": version.last_modified,
        "Etag": version.etag.strip('"'),
        "Content-Length": str(blob.content.size),
        "Content-Type": settings.content_type,
        "Content-Encoding": settings.content_encoding,
        "Content-Language": settings.content_language,
        "Content-MD5": settings.content_md5,
        "Cache-Control": settings.cache_control,
        "Content-Disposition": settings.content_disposition,
        "BlobType": blob.type,
    }
    if blob.tier:
        properties |= {"AccessTier": blob.tier, "AccessTierChangeTime": blob.tier_changed_at}
    elif blob.is_tiered:
        properties |= {"AccessTier": "Hot", "AccessTierInferred": "true"}
    properties |= {"LeaseStatus": "unlocked", "LeaseState": "available", "ServerEncrypted": "true"}
    if blob.copy is not None and "copy" in included:
        properties |= {
            "CopyId": blob.copy.id,
            "CopySource": blob.copy.source,
            "CopyStatus": blob.copy.status,
            "CopyProgress": blob.copy.progress,
            "CopyCompletionTime": blob.copy.completed_at,
            "CopyStatusDescription": blob.copy.description,
        }
    # an absent header has an empty element, all else that is empty none
    text = "".join(
        f"<{name}>{_text(value)}</{name}>" if value else f"<{name} />"
        for name, value in properties.items()
        if value or name.startswith(("Content-", "Cache-"))
    )
    metadata = _metadata(blob.metadata) if "metadata" in included else ""
    return f"<Blob>{_name(blob.name)}<Properties>{text}</Properties>{metadata}<OrMetadata /></Blob>"


def _container_properties(container: Container) -> str:
    return (
        f"<Properties><Last-Modified>{container.version.last_modified}</Last-Modified>"
        f"<Etag>{escape(container.version.etag)}</Etag><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
        "<DefaultEncryptionScope>$account-encryption-key</DefaultEncryptionScope>"
        "<DenyEncryptionScopeOverride>false</DenyEncryptionScopeOverride>"
        "<HasImmutabilityPolicy>false</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold>"
        "<ImmutableStorageWithVersioningEnabled>false</ImmutableStorageWithVersioningEnabled></Properties>"
    )


def _metadata(metadata: Mapping[str, str]) -> str:
    if not metadata:
        return "<Metadata />"
    return (
        "<Metadata>" + "".join(f"<{name}>{_text(value)}</{name}>" for name, value in metadata.items()) + "</Metadata>"
    )


def _name(name: str) -> str:
    if _NOT_XML.search(name):
        return f'<Name Encoded="true">{quote(name, safe="", errors="surrogatepass")}</Name>'
    return f"<Name>{_text(name)}</Name>"


def _text(text: str) -> str:
    # a bare carriage return would be read as a line feed
    return escape(_NOT_XML.sub("?", text)).replace("\r", "&#13;")
