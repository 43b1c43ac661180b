"""Shared access signatures of the account, of a container or blob, and of a user delegation key.

Sources: "Create an account SAS", "Create a service SAS", "Create a user delegation SAS" and "Get User Delegation Key"
(REST reference).
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.errors import BlobError, authentication_failed
from fastapi_azure_pool.emulator.blob.grant import Grant
from fastapi_azure_pool.emulator.signing import iso_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi_azure_pool.emulator.blob.request import BlobRequest

# The first version whose signatures are laid out as these are; the SDKs of the years since sign with later ones.
_OLDEST_VERSION = "2018-11-09"
_VERSION_WITH_ENCRYPTION_SCOPE = "2020-12-06"

_MAX_DELEGATION = timedelta(days=7)

# What replaces a header of the answer.
_OVERRIDES = {
    "rscc": "cache-control",
    "rscd": "content-disposition",
    "rsce": "content-encoding",
    "rscl": "content-language",
    "rsct": "content-type",
}

_UNSUPPORTED = {
    "si": "A stored access policy (si)",
    "srh": "A signature over request headers (srh)",
    "srq": "A signature over query parameters (srq)",
    "sduoid": "A signature for one user (sduoid)",
    "sdd": "A signature for a directory (sdd)",
}


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs to be allowed.

    Attributes:
        permissions: Letters, of which one is enough.
        resource_type: "s", "c" or "o": what an account's signature names in ``srt``.
        is_for_account_only: Whether no signature for a container can allow it.
    """

    permissions: str
    resource_type: str
    is_for_account_only: bool = False


class SharedAccess:
    """Checks the shared access signatures of one account, and issues the keys of user delegation.

    Args:
        account: The account's name.
        secret: The account's key.
    """

    def __init__(self, account: str, secret: bytes) -> None:
        self._account = account
        self._secret = secret

    def delegation_key(self, fields: Mapping[str, str]) -> str:
        """Return the user delegation key of these fields, in base64: a signature over them, so that none has to be kept."""
        text = "\n".join(fields.get(name, "") for name in ("skoid", "sktid", "skt", "ske", "sks", "skv"))
        return base64.b64encode(hmac.digest(self._secret, f"user delegation key\n{text}".encode(), "sha256")).decode()

    def grant(self, request: BlobRequest, need: Need) -> Grant:
        """Return what the signature in the request's query allows.

        Raises:
            BlobError: 403 where it does not hold, has expired, or is for something else.
        """
        query = request.query
        for name, what in _UNSUPPORTED.items():
            if query.get(name):
                raise authentication_failed(f"{what} is not supported by this emulator.")
        if query.get("sv", "") < _OLDEST_VERSION:
            raise authentication_failed(f"The field sv is mandatory, and {_OLDEST_VERSION} or later for this emulator.")
        if "ss" in query or "srt" in query:
            self._check_signature(query, self._secret, self._account_payloads(query))
            self._check_account(query, need)
        else:
            key = self._secret if "skoid" not in query else base64.b64decode(self.delegation_key(query))
            self._check_signature(query, key, self._service_payloads(request))
            self._check_resource(request, need)
        self._check_time(query)
        self._check_origin(request)
        overrides = {header: query[field] for field, header in _OVERRIDES.items() if field in query}
        grant = Grant(query.get("sp", ""), overrides)
        grant.require(need.permissions)
        return grant

    def _check_signature(self, query: Mapping[str, str], key: bytes, payloads: Iterator[str]) -> None:
        shown = ""
        for payload in payloads:
            expected = base64.b64encode(hmac.digest(key, payload.encode("utf-8", "surrogateescape"), "sha256"))
            if hmac.compare_digest(query["sig"].encode("utf-8", "surrogateescape"), expected):
                return
            shown = shown or payload.replace("\n", "\\n")
        raise authentication_failed(f"Signature did not match. String to sign used was '{shown}'.")

    def _account_payloads(self, query: Mapping[str, str]) -> Iterator[str]:
        fields = ["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"]
        if query["sv"] >= _VERSION_WITH_ENCRYPTION_SCOPE:
            fields.append("ses")
        yield "\n".join([self._account, *(query.get(field, "") for field in fields), ""])

    def _service_payloads(self, request: BlobRequest) -> Iterator[str]:
        query = request.query
        resource = f"/blob/{self._account}/{request.container}"
        if query.get("sr") != "c":
            resource += f"/{request.blob}"
        head = ["sp", "st", "se"]
        tail = ["sip", "spr", "sv", "sr"]
        scope = ["", query.get("ses", "")] if query["sv"] >= _VERSION_WITH_ENCRYPTION_SCOPE else [""]
        overrides = [query.get(field, "") for field in _OVERRIDES]

        def lines(fields: list[str]) -> list[str]:
            return [query.get(field, "") for field in fields]

        if "skoid" not in query:
            yield "\n".join([*lines(head), resource, "", *lines(tail), *scope, *overrides])
            return
        # Later versions of the service have added lines, newest first here. Which version added which does not matter:
        # every form is signed with the same key.
        key = ["skoid", "sktid", "skt", "ske", "sks", "skv"]
        agents = ["saoid", "suoid", "scid"]
        users = ["skdutid", "sduoid"]
        start, end = [*lines(head), resource, *lines(key)], lines(tail)
        yield "\n".join([*start, *lines(agents), *lines(users), *end, *scope, "", "", *overrides])
        yield "\n".join([*start, *lines(agents), *lines(users), *end, *scope, *overrides])
        yield "\n".join([*start, *lines(agents), *end, *scope, *overrides])
        yield "\n".join([*start, *end, *scope, *overrides])

    def _check_account(self, query: Mapping[str, str], need: Need) -> None:
        if "b" not in query.get("ss", ""):
            message = "This request is not authorized to perform this operation using this service."
            raise BlobError(403, "AuthorizationServiceMismatch", message)
        if need.resource_type not in query.get("srt", ""):
            message = "This request is not authorized to perform this operation using this resource type."
            raise BlobError(403, "AuthorizationResourceTypeMismatch", message)

    def _check_resource(self, request: BlobRequest, need: Need) -> None:
        kind = request.query.get("sr", "")
        if kind not in {"b", "c"}:
            raise authentication_failed(f"sr={kind} is not supported by this emulator: write b or c.")
        if need.is_for_account_only or (kind == "b" and need.resource_type != "o"):
            message = "This request is not authorized to perform this operation using this resource type."
            raise BlobError(403, "AuthorizationResourceTypeMismatch", message)

    def _check_time(self, query: Mapping[str, str]) -> None:
        now = datetime.now(UTC)
        end = _required_time(query, "se")
        start = iso_time(query["st"]) if query.get("st") else None
        if query.get("st") and start is None:
            raise authentication_failed("Signature fields not well formed: st is no time as ISO 8601 writes it.")
        if now >= end or (start is not None and now < start):
            raise authentication_failed(_frame("Signature", query.get("st", ""), query["se"], now))
        if "skoid" in query:
            key_start, key_end = _required_time(query, "skt"), _required_time(query, "ske")
            if not key_start <= now < key_end:
                raise authentication_failed(_frame("User delegation key", query["skt"], query["ske"], now))

    def _check_origin(self, request: BlobRequest) -> None:
        protocol = request.query.get("spr", "")
        if protocol == "https" and request.scheme != "https":
            message = "This request is not authorized to perform this operation using this protocol."
            raise BlobError(403, "AuthorizationProtocolMismatch", message)
        allowed = request.query.get("sip")
        if allowed and not _is_within(request.client_host, allowed):
            message = "This request is not authorized to perform this operation using this source IP {0}."
            raise BlobError(403, "AuthorizationSourceIPMismatch", message.replace("{0}", request.client_host))


def check_delegation_period(start: str, expiry: str) -> None:
    """Return if a user delegation key can be good from one time to another.

    Raises:
        BlobError: 400 for what is no time, or a period that Azure does not give a key for.
    """
    now = datetime.now(UTC)
    begin, end = iso_time(start), iso_time(expiry)
    if begin is None or end is None:
        raise _bad_period("Start and Expiry must be times in UTC, such as 2030-01-01T00:00:00Z.")
    if end <= now or end <= begin:
        raise _bad_period("Expiry must be later than now and than Start.")
    if end > now + _MAX_DELEGATION:
        raise _bad_period("Expiry must be within seven days from now.")


def _bad_period(reason: str) -> BlobError:
    return BlobError(
        400,
        "InvalidXmlNodeValue",
        "The value for one of the XML nodes is not in the correct format.",
        details={"Reason": reason},
    )


def _required_time(query: Mapping[str, str], field: str) -> datetime:
    parsed = iso_time(query.get(field, ""))
    if parsed is None:
        raise authentication_failed(f"Signature fields not well formed: {field} is no time as ISO 8601 writes it.")
    return parsed


def _frame(what: str, start: str, end: str, now: datetime) -> str:
    return (
        f"{what} not valid in the specified time frame: Start [{start}] - Expiry [{end}] - Current "
        f"[{now.strftime('%Y-%m-%dT%H:%M:%SZ')}]"
    )


def _is_within(host: str, allowed: str) -> bool:
    first, _, last = allowed.partition("-")
    try:
        address, low, high = (ipaddress.ip_address(one) for one in (host, first, last or first))
    except ValueError:
        return False
    return address.version == low.version == high.version and int(low) <= int(address) <= int(high)
