"""Every secret with which a client can authenticate, looked for in whatever is logged, shown, raised or answered."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, FastAPI

from fastapi_azure_pool import (
    ConnectionFailed,
    EventGridClient,
    PoolClosed,
    health_router,
    install_error_handlers,
    managed,
    open_pools,
    pooled,
)
from tests.clients.waiting import eventually
from tests.fastapi.driver import serving
from tests.fastapi.scripted import app_with
from tests.secrets.planted import assert_clean, logged, texts_of
from tests.secrets.services import SERVICES

if TYPE_CHECKING:
    import httpx2

    from fastapi_azure_pool import ManagedClient
    from fastapi_azure_pool.testing import BackgroundEmulator
    from tests.secrets.services import Service

OURS = "fastapi_azure_pool"
PATHS = (
    "/pooled",
    "/managed",
    "/health/live",
    "/health/ready",
    "/health/pools",
    "/health/pools/client",
    "/openapi.json",
)

every_way = pytest.mark.parametrize(
    ("service", "way"),
    [pytest.param(kind, way, id=f"{kind.__name__}-{way}") for kind in SERVICES for way in kind.ways],
    indirect=["service"],
)


def make_app(client: ManagedClient[Any], *, fail_fast: bool = True) -> FastAPI:
    """Make an application that hands the client out in both ways, and shows its health."""
    app = app_with(fail_fast=fail_fast, client=client)
    app.include_router(health_router())
    install_error_handlers(app)

    @app.get("/pooled")
    async def check_out(connection: Annotated[Any, Depends(pooled("client"), scope="function")]) -> None: ...

    @app.get("/managed")
    async def check_out_by_hand(client: Annotated[Any, Depends(managed("client"))]) -> None:
        async with client.get():
            pass

    return app


async def answers_of(http: httpx2.AsyncClient) -> dict[str, tuple[int, str]]:
    """Give status, text and headers of what each route answers."""
    answers = {}
    for path in PATHS:
        answer = await http.get(path)
        answers[path] = (answer.status_code, answer.text + json.dumps(dict(answer.headers)))
    return answers


@every_way
async def test_nothing_shows_while_all_goes_well(service: Service, way: str, log: pytest.LogCaptureFixture) -> None:
    """Neither the secret nor what is sent shows in an object, an answer or a log, before, while and after a client is open."""
    given = service.given(way)
    client = service.client(**given.arguments)
    shown: list[object] = [client, client.pool, pooled("client"), managed("client")]
    texts = [*map(repr, shown), *map(str, shown)]
    app = make_app(client)
    async with serving(app) as http, client.get() as connection:
        await service.use(client)
        answers = await answers_of(http)
        assert {status for status, _ in answers.values()} == {200}
        shown += [
            connection,
            app.state.azure_pools,
            client.pool.stats(),
            *client.pool.connections,
            *asyncio.all_tasks(),
        ]
        texts += [*map(repr, shown), *map(str, shown), *(text for _, text in answers.values())]
    texts += [*map(repr, shown), *map(str, shown)]
    assert_clean(*texts, *logged(log), secrets=given.secrets)


async def test_nothing_shows_of_a_client_for_scripts(service: Service, log: pytest.LogCaptureFixture) -> None:
    """Nor does it of the clients of one connection."""
    given = service.given(service.ways[0])
    client = service.basic(**given.arguments)
    texts = [repr(client), str(client)]
    await service.use(client)
    texts += [repr(client), str(client)]
    await (client.aclose() if isinstance(client, EventGridClient) else client.close())
    assert_clean(*texts, repr(client), *logged(log), secrets=given.secrets)


@every_way
async def test_a_refused_secret_shows_nowhere(service: Service, way: str, log: pytest.LogCaptureFixture) -> None:
    """A secret that the service refuses is in no error, no log, no answer and no health document, nor is its host in ours."""
    given = service.given(way, is_good=False)
    with pytest.raises(ConnectionFailed) as raised:
        await open_pools(FastAPI(), client=service.client(**given.arguments)).__aenter__()
    assert type(raised.value.__cause__).__name__ == service.refusal
    assert_clean(*texts_of(raised.value), secrets=given.secrets)
    async with serving(make_app(service.client(**given.arguments), fail_fast=False)) as http:
        answers = await answers_of(http)
    alive = {path for path, (status, _) in answers.items() if status == 200}
    assert alive == {"/health/live", "/openapi.json"}
    assert {status for path, (status, _) in answers.items() if path not in alive} == {503}
    assert_clean(*(text for _, text in answers.values()), *logged(log), secrets=given.secrets)
    assert [text for _, text in answers.values() if service.authority in text] == []
    assert any(service.refusal in line for line in logged(log, by=OURS))
    assert [line for line in logged(log, by=OURS) if service.authority in line] == []


async def test_what_goes_wrong_later_shows_no_secret(
    service: Service, azure: BackgroundEmulator, log: pytest.LogCaptureFixture
) -> None:
    """A request that fails, a broken connection, a full pool and a closed one are told without the key that opened them."""
    given = service.given(service.ways[0])
    client = service.client(client_limit=1, max_size=1, pool_get_timeout=0.01, **given.arguments)
    texts: list[str] = []
    async with serving(make_app(client)) as http:
        for fault in (azure.faults.fail, azure.faults.drop):
            with fault(**service.use_fault), pytest.raises(Exception, match=r".") as raised:
                await service.use(client)
            texts += texts_of(raised.value)
            await eventually(lambda: client.pool.ready_connection_count == 1)
        async with client.get():
            assert (await http.get("/pooled")).status_code == 503
            texts += [text for _, text in (await answers_of(http)).values()]
        await client.close()
        texts += [text for _, text in (await answers_of(http)).values()]
    with pytest.raises(PoolClosed) as closed:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(client.get())
    assert_clean(*texts, *texts_of(closed.value), *logged(log), secrets=given.secrets)
    assert any("is broken" in line for line in logged(log, by=OURS))
