"""Operations on containers: "Create Container", "Get Container Properties" and those beside them (REST reference)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.conditions import check_conditions
from fastapi_azure_pool.emulator.blob.errors import BlobError, container_not_found, not_supported
from fastapi_azure_pool.emulator.blob.responses import blob_response, xml_response

if TYPE_CHECKING:
    from starlette.responses import Response

    from fastapi_azure_pool.emulator.blob.account import Account, Container
    from fastapi_azure_pool.emulator.blob.request import BlobRequest

# "Naming and referencing containers, blobs, and metadata".
_NAME = re.compile(r"(?=.{3,63}\Z)[a-z0-9](-?[a-z0-9])*\Z")
_SPECIAL_NAMES = frozenset({"$root", "$web", "$logs"})


def check_container_name(name: str) -> None:
    """Return if a container may have this name.

    Raises:
        BlobError: It may not.
    """
    if not _NAME.match(name) and name not in _SPECIAL_NAMES:
        message = "The specified resource name contains invalid characters, or its length is not within the limits."
        raise BlobError(400, "InvalidResourceName", message)


def find_container(account: Account, request: BlobRequest) -> Container:
    """Return the container that a request is about.

    Raises:
        BlobError: There is none.
    """
    container = account.containers.get(request.container)
    if container is None:
        raise container_not_found()
    return container


def create_container(account: Account, request: BlobRequest) -> Response:
    """Make a container."""
    check_container_name(request.container)
    if "x-ms-blob-public-access" in request.headers:
        message = "Public access is not permitted on this storage account."
        raise BlobError(409, "PublicAccessNotPermitted", message)
    if request.container in account.containers:
        raise BlobError(409, "ContainerAlreadyExists", "The specified container already exists.")
    container = account.create_container(request.container, request.metadata())
    return blob_response(request, 201, version=container.version)


def delete_container(account: Account, request: BlobRequest) -> Response:
    """Delete a container and all in it."""
    container = find_container(account, request)
    check_conditions(request.headers, container.version)
    del account.containers[container.name]
    return blob_response(request, 202)


def get_container_properties(account: Account, request: BlobRequest) -> Response:
    """Tell a container's properties and metadata."""
    container = find_container(account, request)
    headers = {
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        "x-ms-has-immutability-policy": "false",
        "x-ms-has-legal-hold": "false",
        "x-ms-immutable-storage-with-versioning-enabled": "false",
        "x-ms-default-encryption-scope": "$account-encryption-key",
        "x-ms-deny-encryption-scope-override": "false",
    }
    return blob_response(request, 200, headers, version=container.version, metadata=container.metadata)


def set_container_metadata(account: Account, request: BlobRequest) -> Response:
    """Replace a container's metadata."""
    container = find_container(account, request)
    check_conditions(request.headers, container.version)
    container.metadata = request.metadata()
    container.version = account.new_version()
    return blob_response(request, 200, version=container.version)


def get_container_acl(account: Account, request: BlobRequest) -> Response:
    """Tell that a container has no stored access policies: it cannot have any here."""
    container = find_container(account, request)
    response = xml_response(request, "<SignedIdentifiers />")
    response.headers["etag"] = container.version.etag
    response.headers["last-modified"] = container.version.last_modified
    return response


def set_container_acl(account: Account, request: BlobRequest) -> Response:
    """Refuse stored access policies and public access."""
    find_container(account, request)
    raise not_supported("Set Container ACL")
