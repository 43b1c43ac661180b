"""Signatures in what Azure and its SDK say of a request: taken out of every error of ours."""

from __future__ import annotations

from azure.core.exceptions import HttpResponseError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastapi_azure_pool import AzureBlobError
from tests.secrets.planted import WORD, assert_clean

signatures = st.text("ABCxyz019%+/=-_.~", max_size=60).map(lambda rest: f"{WORD}{rest}")


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=20),
    st.sampled_from(["sig=", "Sig=", "SIG="]),
    signatures,
    st.sampled_from(["", "&se=1", " ", "'", '"', "</"]),
)
@example("", "sig=", WORD, "")
@example("?sv=2024-11-04", "&sig=", f"{WORD}%2F%3D", "&sp=r")
@example(
    "The MAC ", "signature found in the HTTP request '", f"{WORD}+/=", "' is not the same as any computed signature."
)
def test_no_text_of_an_error_holds_a_signature(before: str, field: str, signature: str, after: str) -> None:
    """Neither its own text nor the SDK's data that it carries, wherever in them the signature stands."""
    text = f"{before} {field}{signature}{after}"
    cause = HttpResponseError(message=text)
    cause.reason = text
    error = AzureBlobError(cause, "a.txt")
    for told in (error, error.like(cause)):
        assert_clean(str(told), repr(told), told.message, str(told.reason))
        assert "***" in told.message
