"""Operations on the account: its properties, and the keys of user delegation.

Sources: "Get Blob Service Properties", "Get Account Information" and "Get User Delegation Key" (REST reference).
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.documents import read_document
from fastapi_azure_pool.emulator.blob.errors import authentication_failed
from fastapi_azure_pool.emulator.blob.responses import blob_response, xml_response
from fastapi_azure_pool.emulator.blob.sas import check_delegation_period
from fastapi_azure_pool.emulator.tokens import claims_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from fastapi_azure_pool.emulator.blob.account import Account
    from fastapi_azure_pool.emulator.blob.request import BlobRequest
    from fastapi_azure_pool.emulator.blob.sas import SharedAccess


def get_account_information(account: Account, request: BlobRequest) -> Response:  # noqa: ARG001 - every account's is the same
    """Tell what kind of account it is."""
    headers = {"x-ms-sku-name": "Standard_LRS", "x-ms-account-kind": "StorageV2", "x-ms-is-hns-enabled": "false"}
    return blob_response(request, 200, headers)


def get_service_properties(account: Account, request: BlobRequest) -> Response:  # noqa: ARG001 - they cannot be changed
    """Tell the properties of a new account: nothing is logged, counted, kept after deletion or open to browsers."""
    off = "<Version>1.0</Version><Enabled>false</Enabled><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy>"
    return xml_response(
        request,
        "<StorageServiceProperties><Logging><Version>1.0</Version><Read>false</Read><Write>false</Write>"
        "<Delete>false</Delete><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging>"
        f"<HourMetrics>{off}</HourMetrics><MinuteMetrics>{off}</MinuteMetrics><Cors />"
        "<DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy>"
        "<StaticWebsite><Enabled>false</Enabled></StaticWebsite></StorageServiceProperties>",
    )


def get_user_delegation_key(account: Account, request: BlobRequest, access: SharedAccess) -> Response:  # noqa: ARG001 - see above
    """Give who shows a token a key to sign with for a while."""
    if not request.grant.is_token:
        raise authentication_failed("Only authentication scheme Bearer is supported.")
    wanted = {element.name: element.text for element in read_document(request.content.read(), "KeyInfo")}
    check_delegation_period(wanted.get("Start", ""), wanted.get("Expiry", ""))
    token = request.headers["authorization"].partition(" ")[2].strip()
    claims = claims_of(token)
    fields = {
        "skoid": claims["oid"],
        "sktid": claims["tid"],
        "skt": wanted["Start"],
        "ske": wanted["Expiry"],
        "sks": "b",
        "skv": request.headers.get("x-ms-version", ""),
    }
    names = {
        "SignedOid": "skoid",
        "SignedTid": "sktid",
        "SignedStart": "skt",
        "SignedExpiry": "ske",
        "SignedService": "sks",
        "SignedVersion": "skv",
    }
    text = "".join(f"<{element}>{escape(fields[field])}</{element}>" for element, field in names.items())
    key = access.delegation_key(fields)
    return xml_response(request, f"<UserDelegationKey>{text}<Value>{key}</Value></UserDelegationKey>")
