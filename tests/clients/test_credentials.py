"""One credential for all connections of a client, and one token request at a time."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.identity import DefaultAzureCredential as SyncDefaultAzureCredential
from azure.identity.aio import DefaultAzureCredential

from fastapi_azure_pool import SharedCredential
from fastapi_azure_pool.clients.token_request import is_made
from tests.clients.credentials import CountingCredential, InformingCredential
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi_azure_pool.clients.token_keeper import TokenKeeper

SCOPE = "https://cosmos.azure.com/.default"


def keeper_of(shared: SharedCredential) -> TokenKeeper:
    """Give what keeps a credential's tokens."""
    keeper = shared.lend()
    assert keeper is not None
    return keeper


async def test_twenty_cold_callers_make_one_request() -> None:
    """Twenty callers at once cause one token request, and all get its token."""
    shared = SharedCredential(factory=CountingCredential)
    tokens = await asyncio.gather(*(shared.get_token(SCOPE) for _ in range(20)))
    (made,) = CountingCredential.made
    assert made.requests == [((SCOPE,), {})]
    assert {token.token for token in tokens} == {"token-1"}
    await shared.close()


async def test_callers_after_an_answer_get_the_same_token() -> None:
    """A token that is good is held for whoever asks next."""
    credential = CountingCredential()
    shared = SharedCredential(credential=credential)
    assert [(await shared.get_token(SCOPE)).token for _ in range(2)] == ["token-1", "token-1"]
    assert len(credential.requests) == 1


async def test_each_wish_has_its_own_request() -> None:
    """Callers share a request only if they ask for the same scopes with the same options."""
    credential = CountingCredential()
    shared = SharedCredential(credential=credential)
    tokens = await asyncio.gather(
        shared.get_token("a"),
        shared.get_token("b"),
        shared.get_token("a", claims="c"),
        shared.get_token("a", tenant_id="t"),
        shared.get_token("a", enable_cae=True),
        shared.get_token("a", claims="c"),
        shared.get_token("a", enable_cae=True, own_option="o"),
    )
    assert credential.requests == [
        (("a",), {}),
        (("b",), {}),
        (("a",), {"claims": "c"}),
        (("a",), {"tenant_id": "t"}),
        (("a",), {"enable_cae": True}),
        (("a",), {"enable_cae": True, "own_option": "o"}),
    ]
    assert tokens[2] == tokens[5]


async def test_a_cancelled_caller_fails_no_other() -> None:
    """The caller that began the request may go: the others still get its token."""
    credential = CountingCredential()
    credential.let.clear()
    shared = SharedCredential(credential=credential)
    first, *others = (asyncio.create_task(shared.get_token(SCOPE)) for _ in range(5))
    await eventually(lambda: credential.requests)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    credential.let.set()
    assert [token.token for token in await asyncio.gather(*others)] == ["token-1"] * 4
    assert len(credential.requests) == 1


async def test_a_request_goes_on_without_any_caller() -> None:
    """When everyone is cancelled the request ends by itself, also with an error, and the next caller makes a new one."""
    credential = CountingCredential()
    credential.let.clear()
    credential.error = ClientAuthenticationError(message="refused")
    shared = SharedCredential(credential=credential)
    callers = [asyncio.create_task(shared.get_token(SCOPE)) for _ in range(3)]
    await eventually(lambda: credential.requests)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert [caller.cancelled() for caller in callers] == [True] * 3
    credential.let.set()
    await eventually(lambda: not keeper_of(shared)._requests)
    credential.error = None
    assert (await shared.get_token(SCOPE)).token == "token-2"


async def test_an_error_reaches_every_caller_and_is_forgotten() -> None:
    """All who share a failing request get its error; the next caller tries again."""
    credential = CountingCredential()
    credential.error = ClientAuthenticationError(message="refused")
    shared = SharedCredential(credential=credential)
    outcomes = await asyncio.gather(*(shared.get_token(SCOPE) for _ in range(3)), return_exceptions=True)
    assert outcomes == [credential.error] * 3
    assert len(credential.requests) == 1
    credential.error = None
    assert (await shared.get_token(SCOPE)).token == "token-2"


@pytest.mark.parametrize("kind", [ServiceRequestError, ServiceResponseError])
async def test_a_token_endpoint_that_does_not_answer_is_no_failure_of_the_service(kind: type[Exception]) -> None:
    """A transport's error of the credential's own becomes an authentication error, which the pool does not take for its own."""
    credential = CountingCredential()
    credential.error = kind("planted")
    with pytest.raises(ClientAuthenticationError, match=rf"could not reach its token endpoint \({kind.__name__}\)"):
        await SharedCredential(credential=credential).get_token(SCOPE)


async def test_a_request_does_not_keep_its_first_caller_s_context() -> None:
    """The request runs in an empty context, since it may outlive the web request that began it."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="empty")
    seen: list[str] = []

    class Looking(CountingCredential):
        async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            seen.append(variable.get())
            return await super().get_token(*scopes, **options)

    variable.set("a web request")
    await SharedCredential(credential=Looking()).get_token(SCOPE)
    assert seen == ["empty"]


async def test_a_made_credential_is_made_once_late_and_closed_and_made_anew() -> None:
    """A factory is called at the first request, its credential closed by close(), and another made when it is used again."""
    shared = SharedCredential(factory=CountingCredential)
    await shared.close()
    assert CountingCredential.made == []
    async with shared:
        await shared.get_token(SCOPE)
        await shared.get_token(SCOPE)
    (first,) = CountingCredential.made
    await shared.close()
    assert (len(first.requests), first.times_closed) == (1, 1)
    await shared.get_token(SCOPE)
    await shared.close()
    assert [made.times_closed for made in CountingCredential.made] == [1, 1]


async def test_a_given_credential_stays_its_owner_s() -> None:
    """close() leaves a credential alone that was made elsewhere."""
    credential = CountingCredential()
    async with SharedCredential(credential=credential) as shared:
        await shared.get_token(SCOPE)
    assert credential.times_closed == 0


async def test_close_ends_requests_under_way() -> None:
    """Who waits for a token while the credential is closed gets an authentication error, not a cancellation."""
    shared = SharedCredential(factory=CountingCredential)
    await shared.get_token("warm")
    (credential,) = CountingCredential.made
    credential.let.clear()
    caller = asyncio.create_task(shared.get_token(SCOPE))
    await eventually(lambda: len(credential.requests) == 2)
    async with asyncio.timeout(5):
        await shared.close()
    with pytest.raises(ClientAuthenticationError, match="closed during the token request"):
        await caller
    assert credential.times_closed == 1


async def test_while_it_is_closed_nobody_gets_a_token() -> None:
    """Who asks meanwhile gets an authentication error, and causes neither a request nor a second credential; nor does prepare()."""

    class SlowlyClosed(CountingCredential):
        async def close(self) -> None:
            closing.set()
            await let.wait()
            await super().close()

    closing, let = asyncio.Event(), asyncio.Event()
    shared = SharedCredential(factory=SlowlyClosed, scopes=[SCOPE])
    await shared.get_token(SCOPE)
    ending = asyncio.create_task(shared.close())
    await closing.wait()
    with pytest.raises(ClientAuthenticationError, match="is being closed"):
        await shared.get_token(SCOPE)
    shared.prepare()
    let.set()
    await ending
    assert [(len(made.requests), made.times_closed) for made in SlowlyClosed.made] == [(1, 1)]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await shared.get_token(SCOPE)
    await shared.close()
    assert len(SlowlyClosed.made) == 2


async def test_a_made_credential_need_not_be_closeable() -> None:
    """A credential by hand that has get_token and nothing else is let go when it is closed."""

    class Bare:
        async def get_token(self, *_: str, **__: Any) -> AccessToken:
            return AccessToken("bare", int(time.time()) + 3600)

    made: list[Bare] = []

    def make() -> Any:
        made.append(Bare())
        return made[-1]

    for times in (1, 2):
        async with SharedCredential(factory=make) as shared:
            assert (await shared.get_token(SCOPE)).token == "bare"
        assert len(made) == times


async def test_a_caller_cancelled_while_the_credential_is_closed_is_cancelled() -> None:
    """A caller's own cancellation is re-raised, also when the request is being cancelled as well."""
    credential = CountingCredential()
    credential.let.clear()
    shared = SharedCredential(credential=credential)
    caller = asyncio.create_task(shared.get_token(SCOPE))
    await eventually(lambda: credential.requests)
    caller.cancel()
    await shared.close()
    assert caller.cancelled()


async def test_token_info_comes_from_the_credential_where_it_offers_it() -> None:
    """get_token_info passes scopes and options on and shares requests too."""
    credential = InformingCredential()
    shared = SharedCredential(credential=credential)
    one, other = await asyncio.gather(*(shared.get_token_info(SCOPE, options={"claims": "c"}) for _ in range(2)))
    assert (one.token, other.token) == ("info-1", "info-1")
    assert credential.info_requests == [((SCOPE,), {"claims": "c"})]
    assert credential.requests == []


async def test_token_info_is_made_of_a_token_where_the_credential_has_no_more() -> None:
    """get_token_info works with a credential that has get_token only, and hands on its options."""
    credential = CountingCredential()
    info = await SharedCredential(credential=credential).get_token_info(
        SCOPE, options={"tenant_id": "t", "enable_cae": True}
    )
    assert isinstance(info, AccessTokenInfo)
    assert info.token == "token-1"
    assert abs(info.expires_on - time.time() - 3600) < 5
    assert credential.requests == [((SCOPE,), {"tenant_id": "t", "enable_cae": True})]


async def test_a_token_is_made_of_token_info_where_the_credential_has_no_more() -> None:
    """get_token works with a credential that has get_token_info only, which azure-core's protocol allows."""
    asked: list[tuple[tuple[str, ...], object]] = []

    class InfoOnly:
        async def get_token_info(self, *scopes: str, options: object = None) -> AccessTokenInfo:
            asked.append((scopes, options))
            return AccessTokenInfo("info", 4_000_000_000)

        async def close(self) -> None: ...

    shared = SharedCredential(factory=InfoOnly)  # type: ignore[arg-type]
    assert await shared.get_token(SCOPE, claims="c", enable_cae=True) == AccessToken("info", 4_000_000_000)
    assert asked == [((SCOPE,), {"claims": "c", "enable_cae": True})]
    await shared.close()


async def test_both_kinds_of_request_are_one() -> None:
    """A caller who wants a token and one who wants a token's info cause one request, and each gets what it wants."""
    credential = InformingCredential()
    shared = SharedCredential(credential=credential)
    token, info = await asyncio.gather(shared.get_token(SCOPE), shared.get_token_info(SCOPE))
    assert (type(token), type(info)) == (AccessToken, AccessTokenInfo)
    assert (token.token, info.token, len(credential.info_requests), credential.requests) == ("info-1", "info-1", 1, [])


async def test_an_option_of_a_credential_s_own_reaches_it() -> None:
    """get_token_info takes what azure-core knows only: with any other option, get_token is asked, where there is one."""
    credential = InformingCredential()
    token = await SharedCredential(credential=credential).get_token(SCOPE, own_option="o")
    assert (token.token, credential.requests) == ("token-1", [((SCOPE,), {"own_option": "o"})])
    assert credential.info_requests == []


async def test_an_awaitable_that_is_no_coroutine_is_awaited() -> None:
    """A credential whose get_token is a plain function that returns an awaitable is an async one, if it is closed as one."""

    class Wrapping(CountingCredential):
        def get_token(self, *scopes: str, **options: Any) -> Awaitable[AccessToken]:  # type: ignore[override]
            return asyncio.ensure_future(super().get_token(*scopes, **options))

    credential: Any = Wrapping()
    assert (await SharedCredential(credential=credential).get_token(SCOPE)).token == "token-1"


async def test_a_credential_that_answers_synchronously_is_found_out() -> None:
    """Where only the answer shows that a credential is a sync one, the error says what to use."""

    class Pretending(CountingCredential):
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:  # type: ignore[override]
            return AccessToken("sync", 4_000_000_000)

    credential: Any = Pretending()
    with pytest.raises(TypeError, match=r"get_token\(\) is a sync one: use the async one from azure\.identity\.aio"):
        await SharedCredential(credential=credential).get_token(SCOPE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"credential": SyncDefaultAzureCredential()}, "credential is the sync DefaultAzureCredential"),
        ({"factory": SyncDefaultAzureCredential}, "credential_factory is the sync DefaultAzureCredential"),
        ({"credential": object()}, "credential must be an async credential, not object"),
        ({"factory": dict}, "credential_factory must be an async credential, not dict"),
    ],
    ids=["instance", "class", "none at all", "class of none at all"],
)
def test_a_sync_credential_is_refused_at_once(given: dict[str, Any], message: str) -> None:
    """A sync credential, or the class of one, raises TypeError when it is given, and the error names azure.identity.aio."""
    with pytest.raises(TypeError, match=rf"{message}.*azure\.identity\.aio"):
        SharedCredential(**given)


async def test_a_factory_of_a_sync_credential_is_found_out_at_the_first_request() -> None:
    """A function that returns a sync credential raises TypeError as soon as it has returned it."""
    factory: Any = partial(SyncDefaultAzureCredential)
    shared = SharedCredential(factory=factory)
    with pytest.raises(
        TypeError, match=r"what credential_factory\(\) returned is the sync DefaultAzureCredential.*aio"
    ):
        await shared.get_token(SCOPE)


async def test_an_instance_is_no_factory() -> None:
    """A credential in the place of its factory raises TypeError that names credential=."""
    async with DefaultAzureCredential() as credential:
        with pytest.raises(TypeError, match=r"azure\.identity\.aio\.DefaultAzureCredential itself.*write credential="):
            SharedCredential(factory=credential)  # type: ignore[arg-type]


def test_nothing_is_no_credential() -> None:
    """A SharedCredential of nothing raises TypeError."""
    with pytest.raises(TypeError, match="needs a credential, or a factory"):
        SharedCredential()


def test_a_credential_of_a_loop_that_is_gone_is_not_used_again() -> None:
    """What was made on an event loop that has been closed since is left behind, with its request, and made anew."""
    shared = SharedCredential(factory=CountingCredential)

    async def begin() -> None:
        request = asyncio.ensure_future(shared.get_token(SCOPE))
        await eventually(lambda: CountingCredential.made)
        CountingCredential.made[0].let.clear()
        request.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(begin()))
    thread.start()
    thread.join()

    async def go_on() -> str:
        async with asyncio.timeout(5):
            token = (await shared.get_token("another scope")).token
            await shared.close()
            return token

    assert asyncio.run(go_on()) == "token-1"
    assert [made.times_closed for made in CountingCredential.made] == [0, 1]


async def test_no_repr_shows_a_token() -> None:
    """Neither the credential nor its tokens show in the repr of what holds them, or of the task that got them."""
    credential = CountingCredential("planted")
    credential.let.clear()
    shared = SharedCredential(credential=credential)
    waiting = asyncio.create_task(shared.get_token(SCOPE))
    keeper = keeper_of(shared)
    await eventually(lambda: keeper._requests)
    (request,) = keeper._requests.values()
    credential.let.set()
    assert (await waiting).token == "planted-1"
    assert repr(shared) == "<SharedCredential>"
    shown = [repr(what) for what in (request, keeper, *keeper._held.values())]
    assert "_Answer()" in shown[0]
    assert not any("planted" in text for text in shown)


async def test_what_is_kept_fresh_on_one_loop_is_left_alone_by_another() -> None:
    """A client that is opened on a second event loop, as its pool refuses, disturbs neither requests nor renewal of the first."""
    shared = SharedCredential(credential=CountingCredential(), scopes=[SCOPE])
    shared.prepare()
    keeper = keeper_of(shared)
    before = (keeper._loop, keeper._renewing, keeper._changed)

    async def prepare() -> None:
        shared.prepare()

    await asyncio.to_thread(asyncio.run, prepare())
    assert (keeper._loop, keeper._renewing, keeper._changed) == before
    assert (await shared.get_token(SCOPE)).token == "token-1"
    await shared.close()


@pytest.mark.parametrize("use", [lambda shared: shared.get_token(SCOPE), SharedCredential.close], ids=["ask", "close"])
async def test_what_is_in_use_on_one_loop_is_refused_on_another(use: Callable[[SharedCredential], Any]) -> None:
    """Whoever asks, or closes it, on a second event loop is told so at once, and the first one's request goes on."""
    credential = CountingCredential()
    credential.let.clear()
    shared = SharedCredential(credential=credential)
    first = asyncio.create_task(shared.get_token(SCOPE))
    await eventually(lambda: credential.requests)

    async def use_it() -> None:
        with pytest.raises(RuntimeError, match="in use on another event loop: make a SharedCredential for each"):
            await use(shared)

    await asyncio.to_thread(asyncio.run, use_it())
    credential.let.set()
    assert (await first).token == "token-1"
    await shared.close()


def test_a_loop_that_has_gone_takes_its_renewal_along() -> None:
    """Prepared again on another loop, when the first is closed, a credential is renewed there."""
    shared = SharedCredential(credential=CountingCredential(), scopes=[SCOPE])

    async def prepare() -> None:
        shared.prepare()
        assert (await shared.get_token(SCOPE)).token == "token-1"
        renewing = keeper_of(shared)._renewing
        assert renewing is not None
        assert renewing.get_loop() is asyncio.get_running_loop()

    for _ in range(2):
        asyncio.run(prepare())


def test_a_given_credential_is_kept_whatever_loop_runs() -> None:
    """A credential that was given serves one loop after another: whether it can is its owner's business."""
    shared = SharedCredential(credential=CountingCredential())
    assert [asyncio.run(shared.get_token(scope)).token for scope in "aba"] == ["token-1", "token-2", "token-1"]


class Asked:
    """Has the newer method alone."""

    async def get_token_info(self, *scopes: str) -> None: ...


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (CountingCredential(), True),
        (Asked(), True),
        (CountingCredential, False),
        (Asked, False),
        (partial(CountingCredential, "token"), False),
        (None, False),
    ],
)
def test_a_credential_is_told_from_what_makes_one(candidate: object, expected: bool) -> None:
    """An object with either method is a credential; a class, or a function, makes one."""
    assert is_made(candidate) is expected
