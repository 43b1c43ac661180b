"""Signatures of all kinds, with anything in their fields: refused as the service refuses them, also where the key has signed it."""

from __future__ import annotations

import base64
import hmac
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.amqp.authorization import JWT_TOKEN, KEY_NAME, SAS_TOKEN, Access, TokenRefused
from fastapi_azure_pool.emulator.blob.authorization import Authorization as BlobAuthorization
from fastapi_azure_pool.emulator.blob.errors import BlobError
from fastapi_azure_pool.emulator.blob.request import BlobRequest
from fastapi_azure_pool.emulator.blob.sas import Need
from fastapi_azure_pool.emulator.eventgrid.authorization import Authorization as EventGridAuthorization
from fastapi_azure_pool.emulator.eventgrid.errors import EventGridError
from fastapi_azure_pool.emulator.tokens import TokenIssuer

KEY = base64.b64encode(b"key of a test").decode()
ISSUER = TokenIssuer()
HOST = "127.0.0.1:8083"
TOPIC = "/topics/orders/api/events"
RESOURCE = "sb://127.0.0.1:5672/orders"

# Text as it comes over HTTP and AMQP; and what dates, numbers and addresses are made of.
anything = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=20),
    st.text("0123456789-:.+TZW/ eE", max_size=24),
    st.sampled_from(
        [
            "nan",
            "inf",
            "-1",
            "1e400",
            "9" * 400,
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "1/1/0001 1:1:1 AM",
        ]
    ),
    st.sampled_from([RESOURCE, "sb://[", "http://[::1", "//", "", HOST, f"http://{HOST}{TOPIC}"]),
)
names = st.sampled_from(
    ["sr", "sig", "se", "skn", "r", "e", "s", "sv", "st", "sp", "spr", "sip", "skoid", "skt", "ske", "ss", "srt"]
)


def signature(text: str) -> str:
    """Sign a text as the services do."""
    return base64.b64encode(hmac.digest(KEY.encode(), text.encode(), "sha256")).decode()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([SAS_TOKEN, JWT_TOKEN]), anything, anything, st.booleans())
def test_event_hubs_and_service_bus(kind: str, resource: str, expiry: str, is_signed: bool) -> None:
    """A signature is good until it ends, or it is refused."""
    resource, expiry = quote(resource, safe=""), quote(expiry, safe="")
    signed = quote(signature(f"{resource}\n{expiry}"), safe="") if is_signed else "x"
    token = f"SharedAccessSignature sr={resource}&sig={signed}&se={expiry}&skn={KEY_NAME}"
    try:
        until = Access(KEY, ISSUER).check(kind, token, RESOURCE)
    except TokenRefused as refused:
        status = refused.status
    else:
        status = 200
        assert until > 0
    assert status == 401 or (is_signed and status == 200)


@settings(max_examples=200, deadline=None)
@given(anything)
def test_whatever_comes_as_a_token(text: str) -> None:
    """No text that the key has not signed is a token."""
    for kind in (SAS_TOKEN, JWT_TOKEN):
        for token in (text, f"SharedAccessSignature {text}"):
            with pytest.raises(TokenRefused):
                Access(KEY, ISSUER).check(kind, token, RESOURCE)


@settings(max_examples=200, deadline=None)
@given(anything, anything, st.booleans())
def test_event_grid(resource: str, expiry: str, is_signed: bool) -> None:
    """A signature is good, or it is refused; a key and a token likewise."""
    fields = urlencode({"r": resource, "e": expiry})
    secret = base64.b64decode(KEY)
    good = base64.b64encode(hmac.digest(secret, fields.encode(), "sha256")).decode()
    authorization = EventGridAuthorization(KEY, ISSUER)
    try:
        authorization.check(
            {"aeg-sas-token": f"{fields}&s={quote(good if is_signed else expiry, safe='')}"}, HOST, TOPIC
        )
    except EventGridError as refused:
        assert refused.status == 401  # noqa: PT017 - both ways are right
    else:
        assert is_signed
    for headers in ({"aeg-sas-key": resource}, {"authorization": f"Bearer {resource}"}, {"authorization": resource}):
        with pytest.raises(EventGridError):
            authorization.check(headers, HOST, TOPIC)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(names, anything), st.booleans(), st.text(max_size=5))
def test_blob_storage(fields: dict[str, str], is_signed: bool, blob: str) -> None:
    """Whatever the fields of a signature are, also of one that the account's key has made, it grants something or is refused."""
    authorization = BlobAuthorization("shop", KEY, ISSUER)
    fields = {"sv": "2024-11-04", "se": "2100-01-01", "sr": "b", **fields, "sig": "x"}
    if is_signed:
        # What was to be signed is the service's to say.
        payloads = authorization.shared_access._service_payloads(_request(fields, blob))
        if "ss" in fields or "srt" in fields:
            payloads = authorization.shared_access._account_payloads(fields)
        payload = next(payloads).encode("utf-8", "surrogateescape")
        fields["sig"] = base64.b64encode(hmac.digest(base64.b64decode(KEY), payload, "sha256")).decode()
    try:
        grant = authorization.grant(_request(fields, blob), Need("r", "o"))
    except BlobError as refused:
        assert refused.status in {400, 403}  # noqa: PT017 - both ways are right
    else:
        assert is_signed
        assert "r" in fields["sp"]
        assert grant is not None


def _request(fields: dict[str, str], blob: str) -> BlobRequest:
    path = f"/shop/files/{quote(blob)}".encode()
    scope = {
        "type": "http",
        "method": "GET",
        "path": path.decode(),
        "raw_path": path,
        "query_string": urlencode(fields).encode(),
        "headers": [],
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 10000),
        "state": {},
    }
    return BlobRequest(scope)
