"""Where the emulator's Blob Storage and Azurite differ."""

from __future__ import annotations

from tests.judges.comparing import Difference

_REST = "https://learn.microsoft.com/rest/api/storageservices"
_CODES = f"{_REST}/common-rest-api-error-codes"
_CODED = "an error has a code, in a header and in XML"
_MD5_OF_PLAIN = "eB5eJF1ptWaXm4bijSPyxw=="
_TIER_CHANGE = "/Blobs/Blob[{}]/Properties/AccessTierChangeTime"

BLOB_DIFFERENCES = (
    # Requests that are wrong
    Difference(("put a blob without a type",), "400 MissingRequiredHeader", "400", "emulator", _CODED, _CODES),
    Difference(("put a blob of an unknown type",), "400 InvalidHeaderValue", "400", "emulator", _CODED, _CODES),
    Difference(("put a block without an id",), "400 MissingRequiredQueryParameter", "400", "emulator", _CODED, _CODES),
    Difference(("commit malformed XML",), "400 InvalidXmlDocument", "400", "emulator", _CODED, _CODES),
    Difference(("list at most none",), "400 OutOfRangeQueryParameterValue", "400", "emulator", _CODED, _CODES),
    Difference(("list at most some",), "400 InvalidQueryParameterValue", "400", "emulator", _CODED, _CODES),
    Difference(
        ("put a blob with a wrong MD5",),
        "400 Md5Mismatch",
        "400 InvalidOperation",
        "emulator",
        "a hash that does not match has a code of its own",
        _CODES,
    ),
    Difference(
        ("put a blob with a malformed MD5",),
        "400 InvalidMd5",
        "400 InvalidOperation",
        "emulator",
        "a hash that is none has a code of its own",
        _CODES,
    ),
    Difference(
        ("put an append blob with a body",),
        "400 InvalidHeaderValue",
        "400 InvalidOperation",
        "emulator",
        "the length must be zero, and it stands in a header",
        f"{_REST}/put-blob",
    ),
    Difference(
        ("put an empty block",),
        "400 InvalidHeaderValue",
        "201",
        "emulator",
        "a block has at least one byte",
        f"{_REST}/put-block",
    ),
    # Ranges
    Difference(
        ("a range after the end",),
        "416 InvalidRange",
        "206",
        "emulator",
        "a range that begins after the end cannot be satisfied",
        f"{_REST}/specifying-the-range-header-for-blob-service-operations",
    ),
    Difference(
        ("a malformed range",),
        "400 InvalidHeaderValue",
        "no valid HTTP",
        "emulator",
        "Azurite answers with the length NaN",
        f"{_REST}/specifying-the-range-header-for-blob-service-operations",
    ),
    Difference(
        ("an MD5 without a range",),
        "400 MissingRequiredHeader",
        "200",
        "emulator",
        "the hash of a range needs a range",
        f"{_REST}/get-blob",
    ),
    # Shared access signatures
    Difference(
        ("get without a signature", "list without a signature"),
        "401 NoAuthenticationInformation",
        "403 AuthorizationFailure",
        "emulator",
        "who shows nothing is asked to authenticate",
        _CODES,
    ),
    Difference(
        (
            "get with an expired signature",
            "get with a signature before its time",
            "get with a forged signature",
            "get with a widened signature",
        ),
        "403 AuthenticationFailed",
        "403 AuthorizationFailure",
        "emulator",
        "a signature that is not valid authenticates nobody",
        _CODES,
    ),
    # Copies
    Difference(
        ("put a blob from an address",),
        "201",
        "500",
        "emulator",
        "Azurite does not know this request",
        f"{_REST}/put-blob-from-url",
    ),
    Difference(
        ("get a blob from an address",),
        "200",
        "404 BlobNotFound",
        "emulator",
        "Azurite does not know the request that would have made it",
        f"{_REST}/put-blob-from-url",
    ),
    Difference(
        ("head of a copy",),
        "x-ms-copy-source: /judged/plain",
        "x-ms-copy-source: /judged/plain?...",
        "both",
        "the page does not say whether a signature is given back; the emulator gives back no secret",
        f"{_REST}/get-blob-properties",
    ),
    # Lists
    Difference(
        ("list an empty container",),
        "/MaxResults: absent",
        "/MaxResults: 5000",
        "emulator",
        "the limit is given back only to who set one",
        f"{_REST}/list-blobs",
    ),
    Difference(
        ("list a prefix", "list with a delimiter"),
        f"{_TIER_CHANGE.format(1)}: absent, {_TIER_CHANGE.format(2)}: absent, /MaxResults: absent",
        f"{_TIER_CHANGE.format(1)}: ..., {_TIER_CHANGE.format(2)}: ..., /MaxResults: 5000",
        "emulator",
        "the limit is given back only to who set one, and a tier that was never set has no time of change",
        f"{_REST}/list-blobs",
    ),
    Difference(
        ("list with metadata",),
        f"{_TIER_CHANGE.format(1)}: absent, /MaxResults: absent",
        f"{_TIER_CHANGE.format(1)}: ..., /MaxResults: 5000",
        "emulator",
        "the limit is given back only to who set one, and a tier that was never set has no time of change",
        f"{_REST}/list-blobs",
    ),
    Difference(
        ("list at most one",),
        f"{_TIER_CHANGE.format(1)}: absent",
        f"{_TIER_CHANGE.format(1)}: ...",
        "emulator",
        "a tier that was never set has no time of change",
        f"{_REST}/list-blobs",
    ),
    # What an answer tells
    Difference(
        (
            "get a blob",
            "get under any etag",
            "get if it is another",
            "get if it is another or modified since the future",
            "get if modified since long ago",
            "get to read only",
        ),
        "x-ms-blob-content-md5: absent",
        f"x-ms-blob-content-md5: {_MD5_OF_PLAIN}",
        "emulator",
        "the whole blob's hash has a header of its own only beside a range",
        f"{_REST}/get-blob",
    ),
    Difference(
        ("get an empty blob",),
        "x-ms-blob-content-md5: absent",
        "x-ms-blob-content-md5: 1B2M2Y8AsgTpgAmY7PhCfg==",
        "emulator",
        "the whole blob's hash has a header of its own only beside a range",
        f"{_REST}/get-blob",
    ),
    Difference(
        ("head after setting one property",),
        "content-type: application/octet-stream",
        "content-type: absent",
        "emulator",
        "a blob without a type has the default type",
        f"{_REST}/get-blob-properties",
    ),
    Difference(
        ("a blob's metadata",),
        "accept-ranges: absent, body: empty, cache-control: absent, content-md5: absent,"
        " present: etag last-modified x-ms-request-id,"
        " x-ms-blob-type: absent, x-ms-lease-state: absent, x-ms-lease-status: absent",
        "accept-ranges: bytes, body: {}, cache-control: private, content-md5: mZFLkyvTelC5g8XnyQrpOw==,"
        " present: etag last-modified x-ms-creation-time x-ms-request-id,"
        " x-ms-blob-type: BlockBlob, x-ms-lease-state: available, x-ms-lease-status: unlocked",
        "emulator",
        "asked for the metadata, the service gives them without the content",
        f"{_REST}/get-blob-metadata",
    ),
    Difference(
        ("get if modified since the future", "get under any etag if modified since the future"),
        "content-type: absent, present: etag last-modified x-ms-request-id",
        "content-type: application/xml, present: x-ms-request-id",
        "both",
        "the page says only 304; RFC 9110 wants the etag in it",
        f"{_REST}/specifying-conditional-headers-for-blob-service-operations",
    ),
    Difference(
        ("head if modified since the future",),
        "present: etag last-modified x-ms-request-id",
        "present: x-ms-request-id",
        "both",
        "the page says only 304; RFC 9110 wants the etag in it",
        f"{_REST}/specifying-conditional-headers-for-blob-service-operations",
    ),
    Difference(
        ("uncommitted blocks",),
        "present: x-ms-request-id",
        "present: etag last-modified x-ms-request-id",
        "emulator",
        "a blob that is not committed has no etag yet",
        f"{_REST}/get-block-list",
    ),
    Difference(
        ("commit blocks",),
        "content-md5: absent",
        "content-md5: 4pPV9WSXPUqAyrhgocdNCQ==",
        "emulator",
        "the list's hash is given back only to who sent one",
        f"{_REST}/put-block-list",
    ),
    Difference(
        ("commit committed blocks again",),
        "content-md5: absent",
        "content-md5: DcYRAzZOyjyOur5/nCmEOw==",
        "emulator",
        "the list's hash is given back only to who sent one",
        f"{_REST}/put-block-list",
    ),
    Difference(
        ("commit no blocks",),
        "content-md5: absent",
        "content-md5: orYHSmdogAa2WLBK0DtUyA==",
        "emulator",
        "the list's hash is given back only to who sent one",
        f"{_REST}/put-block-list",
    ),
    Difference(
        ("get a blob of blocks",),
        "content-md5: absent",
        "content-md5: IFlkDALFoWp5VkrAuca6vQ==",
        "emulator",
        "a blob of blocks has a hash only if one came with its list; Azurite computes it",
        f"{_REST}/put-block-list",
    ),
    Difference(
        ("get the blob that was left",),
        "content-md5: absent",
        "content-md5: qfDmGhN9hqqdtTRl4IAWEg==",
        "emulator",
        "a blob of blocks has a hash only if one came with its list; Azurite computes it",
        f"{_REST}/put-block-list",
    ),
    Difference(
        ("get an append blob",),
        "content-md5: absent",
        "content-md5: xyU7ZEEbOqSFkk785klLtQ==",
        "emulator",
        "what is appended has no hash; Azurite computes it",
        f"{_REST}/get-blob",
    ),
)
"""What is known of Azurite 3.35.0."""
