"""Names of blobs and files: what is made safe, what is refused, and that nothing leads out of where it belongs."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from fastapi_azure_pool import AzureBlobStorageClient, ManagedAzureBlobStorage
from fastapi_azure_pool.clients.blob_names import MAX_BLOB_NAME_CHARACTERS, checked_blob_name, file_name, safe_blob_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("invoice.pdf", "invoice.pdf"),
        ("2026/11/invoice 7.pdf", "2026/11/invoice 7.pdf"),
        (" invoice.pdf\n", "invoice.pdf"),
        (".hidden", "hidden"),
        ("ends with a dot.", "ends with a dot"),
        ("~a#b\\c", "abc"),
        ("a/b./c", "a/b/c"),
        ("a/b/", "a/b"),
        ("../../etc/passwd", "/etc/passwd"),
        ("a/../b/./c", "a/b/c"),
        ("grüße.txt", "grüße.txt"),
        ("a" * 2000, "a" * 1024),
        ("a" * 1023 + "./b", "a" * 1023),
    ],
)
def test_a_safe_name(name: str, safe: str) -> None:
    """What makes trouble is left out, and the rest stays."""
    assert AzureBlobStorageClient.safe_blob_name(name) == ManagedAzureBlobStorage.safe_blob_name(name) == safe


def test_a_safe_name_can_be_percent_encoded() -> None:
    """Quoting encodes what URLs reserve, and cuts between characters."""
    assert ManagedAzureBlobStorage.safe_blob_name("a b?.txt", quoting=True) == "a%20b%3F.txt"
    assert ManagedAzureBlobStorage.safe_blob_name("ü" * 1000, True) == quote("ü" * 170)


@pytest.mark.parametrize("name", ["", " ", "...", "#", "../..", "./"])
def test_nothing_is_left_of_a_name(name: str) -> None:
    """A name of nothing but trouble raises ValueError."""
    with pytest.raises(ValueError, match="nothing that can be a blob's name is left"):
        safe_blob_name(name)


@given(st.text(), st.booleans())
def test_a_safe_name_is_one_that_the_clients_take(text: str, quoting: bool) -> None:
    """Whatever comes in, what comes out addresses a blob of its own, and stays the same when it is made safe again."""
    try:
        safe = safe_blob_name(text, quoting=quoting)
    except ValueError:
        return
    assert checked_blob_name(safe) == safe
    assert len(safe) <= MAX_BLOB_NAME_CHARACTERS
    plain = unquote(safe) if quoting else safe
    assert plain == plain.rstrip("./")


@given(st.text(min_size=1, max_size=50))
def test_a_checked_name_stays_in_its_container(name: str) -> None:
    """No name that is taken makes an HTTP client ask for something else than the container's blob of that name."""
    try:
        checked_blob_name(name)
        path = URL(f"https://shop.blob.core.windows.net/files/{quote(name)}").path
    except (ValueError, UnicodeEncodeError):  # surrogates have no encoding
        return
    assert path == f"/files/{name}"


@pytest.mark.parametrize(
    ("blob_name", "name"),
    [
        ("a", "a"),
        ("2026/11/invoice.pdf", "invoice.pdf"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\windows\\system.ini", "system.ini"),
        ("C:\\windows\\system.ini", "system.ini"),
        ("C:system.ini", "system.ini"),
        ("\\\\server\\share\\file", "file"),
        ("a/b:c", "c"),
        ("a\\", "a"),
        ("at 10:30", "at 10:30"),
    ],
)
def test_the_file_s_name(blob_name: str, name: str) -> None:
    """A blob is saved under the last part of its name, whichever system's separators and drives are in it."""
    assert file_name(blob_name) == name


@pytest.mark.parametrize("blob_name", ["a/", "C:", "a/C:\\", "..\\..", "a\0b", "a/..", "."])
def test_what_names_no_file(blob_name: str) -> None:
    """A name that ends in no file's name raises ValueError."""
    with pytest.raises(ValueError, match="ends in nothing that can name a file"):
        file_name(blob_name)
