"""Blob Storage from a FastAPI application's handlers: through `managed`, through `pooled`, and as streams."""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003 - FastAPI evaluates annotations
from typing import Annotated, Any

import pytest
from azure.storage.blob.aio import ContainerClient, StorageStreamDownloader
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

from fastapi_azure_pool import (
    AzureBlobError,
    ManagedAzureBlobStorage,
    health_router,
    install_error_handlers,
    managed,
    pooled,
)
from fastapi_azure_pool.emulator import Emulator
from tests.clients.blob_storage import MIB, files_of
from tests.fastapi.driver import serving
from tests.fastapi.scripted import app_with

Files = Annotated[ManagedAzureBlobStorage, Depends(managed("files"))]
Container = Annotated[ContainerClient, Depends(pooled("files"), scope="function")]


async def opened(name: str, files: Files) -> AsyncIterator[StorageStreamDownloader[Any]]:
    """Open a blob before the answer begins, and hold it until the answer is sent."""
    try:
        async with files.get_blob_download_stream(name) as stream:
            yield stream
    except AzureBlobError as error:
        if error.status_code == 404:
            raise HTTPException(404) from error
        raise


def application(files: ManagedAzureBlobStorage) -> FastAPI:
    """Give an application whose routes use a container in every way."""
    app = app_with(files=files)
    install_error_handlers(app)
    app.include_router(health_router())

    @app.get("/files/{name}")
    async def download(stream: Annotated[StorageStreamDownloader[Any], Depends(opened)]) -> StreamingResponse:
        return StreamingResponse(stream.chunks(), headers={"Content-Length": str(stream.size)})

    @app.put("/files/{name}")
    async def upload(name: str, request: Request, files: Files) -> dict[str, Any]:
        is_stored, result = await files.upload_blob(name, request.stream())
        return {"stored": is_stored, "etag": result["etag"]}

    @app.get("/pooled/{name}")
    async def read(name: str, container: Container) -> str:
        return (await (await container.download_blob(name)).readall()).decode()

    @app.get("/names")
    async def names(files: Files) -> list[str]:
        return [blob.name async for blob in files.list_blobs()]

    return app


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the container "files"."""
    async with Emulator() as azure:
        await azure.create_blob_container("files")
        yield azure


async def test_handlers_store_read_and_list(azure: Emulator) -> None:
    """A request's body becomes a blob and a blob an answer, over the connection that is open, and the places are given back."""
    files = files_of(azure)
    async with serving(application(files)) as http:
        content = bytes(range(256)) * (5 * MIB // 256)
        answer = await http.put("/files/long", content=content)
        assert (answer.status_code, answer.json()["stored"]) == (200, True)
        answer = await http.get("/files/long")
        assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(content)))
        assert answer.content == content
        await files.upload_blob("greeting", "hello")
        assert (await http.get("/names")).json() == ["greeting", "long"]
        assert (await http.get("/pooled/greeting")).json() == "hello"
        assert (files.pool.stats().clients, files.pool.stats().totals.opened) == (0, 1)
        health = (await http.get("/health/pools/files")).json()
        assert (health["service"], health["status"]) == ("blob", "pass")


async def test_a_missing_blob_is_answered_before_the_stream_begins(azure: Emulator) -> None:
    """The stream is opened by a dependency, so that 404 is the answer's status."""
    files = files_of(azure)
    async with serving(application(files)) as http:
        assert (await http.get("/files/missing")).status_code == 404
        assert files.pool.stats().clients == 0


async def test_no_place_is_told_as_503(azure: Emulator) -> None:
    """Both ways to a connection answer 503 with a problem document when every place is taken."""
    files = files_of(azure, client_limit=1, max_size=1, pool_get_timeout=0.05)
    async with serving(application(files)) as http, files.get():
        for path in ("/files/a", "/pooled/a", "/names"):
            answer = await http.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert answer.json()["pool"] == "files"
