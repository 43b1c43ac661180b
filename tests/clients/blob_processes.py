"""Processes that a test of streaming needs: an emulator, and an application that streams blobs; each says when it is ready."""

from __future__ import annotations

import asyncio
import resource
import socket
import sys
from collections.abc import AsyncIterator  # noqa: TC003 - FastAPI evaluates annotations
from typing import Annotated, Any

import uvicorn
from azure.storage.blob.aio import StorageStreamDownloader  # noqa: TC002 - FastAPI evaluates annotations
from fastapi import Depends, FastAPI, Request
from fastapi.responses import StreamingResponse

from fastapi_azure_pool import ManagedAzureBlobStorage, managed, open_pools
from fastapi_azure_pool.emulator import Emulator

Files = Annotated[ManagedAzureBlobStorage, Depends(managed("files"))]


async def opened(name: str, files: Files) -> AsyncIterator[StorageStreamDownloader[Any]]:
    """Hold a blob open until the answer is sent."""
    async with files.get_blob_download_stream(name) as stream:
        yield stream


async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Open the container that the command line names."""
    files = ManagedAzureBlobStorage(container_name="files", connection_string=sys.argv[2])
    async with open_pools(app, files=files) as state:
        yield dict(state)


def application() -> FastAPI:
    """Give an application that streams blobs in both directions, and tells its peak memory."""
    app = FastAPI(lifespan=lifespan)  # type: ignore[arg-type]  # FastAPI takes a generator too

    @app.put("/{name}")
    async def upload(name: str, request: Request, files: Files) -> bool:
        return (await files.upload_blob(name, request.stream(), overwrite=True))[0]

    @app.get("/memory")
    def memory() -> int:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    @app.get("/{name}")
    async def download(stream: Annotated[StorageStreamDownloader[Any], Depends(opened)]) -> StreamingResponse:
        return StreamingResponse(stream.chunks(), headers={"Content-Length": str(stream.size)})

    return app


async def emulate() -> None:
    """Run an emulator with the container "files" until it is ended."""
    async with Emulator() as azure:
        await azure.create_blob_container("files")
        print(azure.blob_connection_string, flush=True)
        await asyncio.Event().wait()


def serve() -> None:
    """Run the application on a free port until it is ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(application(), log_config=None, access_log=False)).run([listener])


if __name__ == "__main__":
    if sys.argv[1] == "emulator":
        asyncio.run(emulate())
    else:
        serve()
