"""What they promise of Blob Storage."""

from __future__ import annotations

from tests.peers.promise import Promise

PROMISES = (
    Promise(
        "AzureBlobStorageClient(az_storage_url, container_name, credentials)",
        "AzureBlobStorageClient(az_storage_url, container_name, credentials, credential);"
        " ManagedAzureBlobStorage(az_storage_url, container_name, credential)",
        "One connection is kept, where theirs opens one for each call: close it, or write `async with`. `ManagedAzureBlobStorage`"
        " has the same methods over a pool. The name in their documentation, `az_credential`, is that of neither library: the"
        " error names the right one.",
        (
            "peers/test_blob.py::test_credentials_are_given_as_to_theirs",
            "clients/test_blob_connections.py::test_many_callers_share_one_connection",
            "clients/test_blob.py::test_the_basic_client_does_the_same",
            "peers/test_snippets.py::test_the_blob_snippet_s_argument_is_told",
        ),
    ),
    Promise(
        "AzureBlobStorageClient.{az_storage_url, container_name}",
        "AzureBlobStorageClient.{az_storage_url, container_name}",
        "Both are read-only. A name that no container can have is refused.",
        (
            "peers/test_blob.py::test_credentials_are_given_as_to_theirs",
            "clients/test_blob_bad_input.py::test_bad_input_is_told_with_what_to_write_instead",
        ),
    ),
    Promise(
        "AzureBlobStorageClient.credentials",
        "",
        "What a client was given is not readable from it, secrets least of all.",
        ("peers/test_promises.py::test_what_has_no_counterpart_is_not_there",),
    ),
    Promise(
        "AzureBlobStorageClient.safe_blob_name(blob_name, quoting); blobify_filename(name, quoting); chop_starting_dot(name);"
        " chop_trailing_dot(name); BLOB_NAME_CHAR_LIMIT; DISALLOWED_CHARS_PAT",
        "AzureBlobStorageClient.safe_blob_name(blob_name, quoting)",
        "Also without dot segments, which would address another container, and dots at a segment's end; a percent-encoded name is"
        " not cut in the middle of a character. A name of which nothing is left raises `ValueError`.",
        (
            "clients/test_blob_names.py::test_a_safe_name",
            "clients/test_blob_names.py::test_a_safe_name_can_be_percent_encoded",
            "clients/test_blob_names.py::test_nothing_is_left_of_a_name",
        ),
    ),
    Promise(
        "AzureBlobStorageClient.upload_blob(blob_name, file_data, **kwargs)",
        "AzureBlobStorageClient.upload_blob(blob_name, file_data, **options)",
        "`(True, answer)` as theirs. Long content is sent block by block, and files are read beside the event loop.",
        (
            "clients/test_blob.py::test_every_kind_of_content_is_stored",
            "clients/test_blob.py::test_a_blob_is_there_already",
            "clients/test_blob_files.py::test_files_are_read_beside_the_event_loop",
        ),
    ),
    Promise(
        "AzureBlobStorageClient.upload_blob_from_url(blob_name, file_url, overwrite)",
        "AzureBlobStorageClient.upload_blob_from_url(blob_name, file_url, overwrite, **options)",
        "Further options of the SDK reach it.",
        ("clients/test_blob.py::test_a_blob_is_stored_from_a_url",),
    ),
    Promise(
        "AzureBlobStorageClient.download_blob(blob_name, **kwargs)",
        "AzureBlobStorageClient.download_blob(blob_name, **options)",
        "",
        (
            "clients/test_blob.py::test_a_part_of_a_blob_is_downloaded",
            "clients/test_blob.py::test_what_is_missing_is_told",
        ),
    ),
    Promise(
        "AzureBlobStorageClient.get_blob_download_stream(blob_name, **kwargs)",
        "AzureBlobStorageClient.get_blob_download_stream(blob_name, **options)",
        "What breaks while it is read is an `AzureBlobError` too; an error of the block's own stays what it is.",
        (
            "clients/test_blob.py::test_a_stream_gives_properties_pieces_and_reads",
            "clients/test_blob.py::test_a_blob_that_changes_while_it_is_read_is_told",
            "clients/test_blob_connections.py::test_another_service_s_error_inside_a_stream_stays_what_it_is",
        ),
    ),
    Promise(
        "AzureBlobStorageClient.download_blob_to_dir(workspace_dir, blob_name, **kwargs)",
        "AzureBlobStorageClient.download_blob_to_dir(workspace_dir, blob_name, **options)",
        "The file appears when it is complete, where theirs leaves half of one, and an empty one for a blob that is missing. A link"
        " of its name is replaced, not followed.",
        (
            "clients/test_blob.py::test_a_blob_is_saved_in_a_directory",
            "clients/test_blob_files.py::test_a_blob_that_is_missing_leaves_nothing",
            "clients/test_blob_files.py::test_no_name_leads_out_of_the_directory",
        ),
    ),
    Promise(
        "AzureBlobStorageClient.list_blobs(prefix, **kwargs)",
        "AzureBlobStorageClient.list_blobs(prefix, **options)",
        "A failure is an `AzureBlobError`, as with the other methods. Who stops half way holds nothing open.",
        (
            "clients/test_blob.py::test_blobs_are_listed_page_by_page",
            "clients/test_blob_connections.py::test_who_stops_listing_holds_no_place",
        ),
    ),
    Promise(
        "AzureBlobStorageClient.delete_blob(blob_name, **kwargs)",
        "AzureBlobStorageClient.delete_blob(blob_name, **options)",
        "",
        ("clients/test_blob.py::test_a_blob_is_deleted",),
    ),
    Promise(
        "AzureBlobStorageClient.{get_blob_sas_token, get_blob_sas_url}(blob_name, expiry);"
        " AzureBlobStorageClient.{get_blob_sas_token_list, get_blob_sas_url_list}(blob_names, expiry)",
        "AzureBlobStorageClient.{get_blob_sas_token, get_blob_sas_url}(blob_name, expiry);"
        " AzureBlobStorageClient.{get_blob_sas_token_list, get_blob_sas_url_list}(blob_names, expiry)",
        "The user delegation key is kept and used again, where theirs asks for one at each call. The account's key signs too. A"
        " time that is over, or too far away, is refused.",
        (
            "clients/test_blob.py::test_a_signed_url_reads_one_blob_until_it_ends",
            "clients/test_blob_tokens.py::test_a_delegation_key_signs_for_everybody_who_asks",
            "clients/test_blob_connections.py::test_the_signature_for_one_blob_is_the_sdk_s",
        ),
    ),
    Promise(
        "AzureBlobStorageClient.get_blob_client(blob_name)",
        "AzureBlobStorageClient.get_blob_client(blob_name)",
        "Only what Blob Storage answers becomes an `AzureBlobError`, not an error of another service in the block.",
        ("clients/test_blob.py::test_the_sdk_s_container_client_is_at_hand",),
    ),
    Promise(
        "AzureBlobStorageClient.get_blob_service_client",
        "AzureBlobStorageClient.get_container_client",
        "`async with client.get_container_client() as container:` gives the SDK's client of the container, open and tuned; theirs"
        " makes one of the account, for its caller to open and close.",
        ("clients/test_blob.py::test_the_sdk_s_container_client_is_at_hand",),
    ),
    Promise(
        "AzureBlobError(azure_http_resp_error); AzureBlobError.{reason, status_code, message}",
        "AzureBlobError(error, blob_name); AzureBlobError.{reason, status_code, message, error_code, blob_name}",
        "It is also of the SDK's type, such as `ResourceNotFoundError`, and a `PoolError`; it survives pickling, and shows no"
        " signature. It is imported from `fastapi_azure_pool`.",
        (
            "clients/test_blob.py::test_what_is_missing_is_told",
            "clients/test_blob_connections.py::test_a_refusal_shows_no_signature",
            "pool/test_errors.py::test_errors_survive_pickle_and_copy",
        ),
    ),
)
