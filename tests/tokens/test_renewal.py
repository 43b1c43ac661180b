"""Renewing tokens ahead of their end: when, by whom, and what callers get meanwhile."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
from azure.core.exceptions import ClientAuthenticationError

from fastapi_azure_pool.clients.token_keeper import TokenKeeper
from tests.support.virtual_time import let_time_pass, virtual_loop

if TYPE_CHECKING:
    from azure.core.credentials import AccessTokenInfo

    from tests.tokens.endpoint import Endpoint

SCOPE = "https://cosmos.azure.com/.default"


async def token(keeper: TokenKeeper, scope: str = SCOPE) -> str:
    """Give the token that a caller gets."""
    return (await keeper.get((scope,), {})).token


def renewing() -> list[asyncio.Task[object]]:
    """Give the tasks that renew tokens."""
    return [task for task in asyncio.all_tasks() if task.get_name() == "renew tokens"]


async def test_a_token_is_asked_for_before_anyone_needs_it(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """Tokens of the scopes that are kept fresh are asked for at once, each for itself; who asks meanwhile gets those."""
    keeper.keep_fresh(["a", "b"])
    assert [await token(keeper, scope) for scope in ("a", "b")] == ["token-1", "token-2"]
    keeper.keep_fresh(["a", "b"])
    await let_time_pass(1)
    assert endpoint.requests == [(("a",), {}), (("b",), {})]


@pytest.mark.parametrize("refresh_in", [None, 1800], ids=["told nothing", "told when"])
async def test_a_token_is_renewed_before_its_end(
    keeper: TokenKeeper, endpoint: Endpoint, refresh_in: int | None
) -> None:
    """It is renewed in the last 300 s, or when it says so, up to a tenth of the rest later, with nobody waiting or asking."""
    endpoint.refresh_in = refresh_in
    keeper.keep_fresh([SCOPE])
    await let_time_pass(24 * 3600)
    least, most = (1800, 1981) if refresh_in else (3299, 3331)
    gaps = [after - before for before, after in pairwise(endpoint.requested_at)]
    assert all(least <= gap <= most for gap in gaps)
    assert len({round(gap, 1) for gap in gaps}) > 20


async def test_many_processes_do_not_renew_together(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """When exactly a token is renewed is random."""
    endpoint.refresh_in = 1800
    keeper.keep_fresh(str(number) for number in range(50))
    await let_time_pass(2000)
    renewals = endpoint.requested_at[50:]
    assert len(renewals) == 50
    assert max(renewals) - min(renewals) > 120


async def test_one_task_renews_all(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """However many scopes there are, and however often they are asked for, one task renews their tokens."""
    for _ in range(3):
        keeper.keep_fresh(str(number) for number in range(20))
    await let_time_pass(1)
    assert len(renewing()) == 1
    assert asyncio.all_tasks() == {asyncio.current_task(), *renewing()}
    await let_time_pass(3600)
    assert (len(renewing()), len(endpoint.requests)) == (1, 40)


async def test_a_slow_renewal_delays_no_other(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """While one scope's request hangs, another scope's token is renewed in time."""
    endpoint.refresh_in = 1000
    keeper.keep_fresh(["slow"])
    await let_time_pass(100)
    endpoint.refresh_in = 1500
    keeper.keep_fresh(["other"])
    await let_time_pass(100)
    endpoint.seconds = 2000.0
    await let_time_pass(1100)
    endpoint.seconds = 0.1
    await let_time_pass(700)
    assert [scopes for scopes, _ in endpoint.requests] == [("slow",), ("other",), ("slow",), ("other",)]
    assert await token(keeper, "slow") == "token-1"


async def test_callers_get_the_old_token_while_it_is_renewed(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """A renewal costs no caller any time: each gets the old token until the new one is there."""
    keeper.keep_fresh([SCOPE])
    await let_time_pass(60)
    endpoint.seconds = 30.0
    loop, seen = virtual_loop(), []
    end = loop.time() + 3600
    while loop.time() < end:
        before = loop.time()
        seen.append(await token(keeper))
        assert loop.time() == before
        await asyncio.sleep(1)
    assert list(dict.fromkeys(seen)) == ["token-1", "token-2"]
    assert len(endpoint.requests) == 2


async def test_without_the_task_callers_cause_the_renewal(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """A credential that no client has opened renews, too, when someone asks; a token nobody asks for is not renewed."""
    assert await token(keeper) == "token-1"
    await let_time_pass(3400)
    assert len(endpoint.requests) == 1
    assert await token(keeper) == "token-1"
    await let_time_pass(1)
    assert await token(keeper) == "token-2"
    assert renewing() == []


async def test_a_token_nobody_asks_for_is_let_go(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """Of what was asked for once, and is not among the scopes kept fresh, one more token is got, and no third."""
    keeper.keep_fresh(["kept"])
    await token(keeper, "once")
    await let_time_pass(5 * 3600)
    assert [scopes for scopes, _ in endpoint.requests].count(("once",)) == 2
    assert [scopes for scopes, _ in endpoint.requests].count(("kept",)) >= 5
    assert len(keeper._held) == 1


async def test_an_outage_is_outlived(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """While the endpoint is down it is asked at growing intervals of at most 30 s, and callers get the old token until its end."""
    keeper.keep_fresh([SCOPE])
    await let_time_pass(3000)
    endpoint.is_down = True
    await let_time_pass(500)
    assert await token(keeper) == "token-1"
    tries = endpoint.requested_at[1:]
    gaps = [after - before for before, after in pairwise(tries)]
    assert max(gaps) <= 30.2
    assert 8 <= len(tries) <= 40
    assert sum(gaps[:4]) < 8
    endpoint.is_down = False
    await let_time_pass(31)
    assert await token(keeper) == f"token-{len(endpoint.requests)}"


async def test_an_outage_is_told_once(
    keeper: TokenKeeper, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """The first renewal of a token that fails is logged, with the time that is left to mend it; the next ones are not."""
    keeper.keep_fresh([SCOPE])
    for outage in (1, 2):
        await let_time_pass(3000)
        endpoint.is_down = True
        await let_time_pass(500)
        endpoint.is_down = False
        await let_time_pass(60)
        assert await token(keeper) == f"token-{len(endpoint.requests)}"
        assert len(caplog.records) == outage
    words = rf"no new token for {SCOPE} \(ClientAuthenticationError\): the one that is held is good for (\d+) s more"
    left = re.match(words, caplog.messages[0])
    assert left is not None
    assert 250 < int(left[1]) <= 300


async def test_an_outage_beyond_the_end_of_the_token(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """When the token has ended callers get the endpoint's error; when it is back, there is a token without anyone asking."""
    keeper.keep_fresh([SCOPE])
    await let_time_pass(3000)
    endpoint.is_down = True
    await let_time_pass(700)
    with pytest.raises(ClientAuthenticationError, match="the token endpoint is down"):
        await token(keeper)
    endpoint.is_down = False
    await let_time_pass(31)
    requests = len(endpoint.requests)
    assert await token(keeper) == f"token-{requests}"
    assert len(endpoint.requests) == requests


async def test_callers_of_a_token_that_has_ended_spare_the_endpoint(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """While it is down they ask at most once a second, however many they are, and get a token 1 s after it is up again."""
    await token(keeper)
    await let_time_pass(3700)
    endpoint.is_down = True
    errors, down_at = [], virtual_loop().time()
    while virtual_loop().time() < down_at + 60:
        with pytest.raises(ClientAuthenticationError) as raised:
            await token(keeper)
        errors.append(raised.value)
        await asyncio.sleep(0.01)
    tries = [at for at in endpoint.requested_at if at >= down_at]
    assert all(after - before >= 1 for before, after in pairwise(tries))
    assert len(tries) >= 50
    assert str(errors[1].__cause__) == "the token endpoint is down"
    endpoint.is_down = False
    await let_time_pass(1)
    assert await token(keeper) == f"token-{len(endpoint.requests)}"


async def test_callers_wait_for_the_new_token_at_the_very_end(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """In its last 10 s a token could expire on its way: callers wait for the next, and get the old one if that fails."""
    await token(keeper)
    await let_time_pass(3592)
    assert await token(keeper) == "token-2"
    await let_time_pass(3592)
    endpoint.is_down = True
    assert await token(keeper) == "token-2"
    requests = len(endpoint.requests)
    assert [await token(keeper) for _ in range(5)] == ["token-2"] * 5
    assert len(endpoint.requests) == requests
    await let_time_pass(20)
    with pytest.raises(ClientAuthenticationError):
        await token(keeper)


async def test_a_credential_that_gives_the_same_token_is_asked_again(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """azure-identity answers a renewal that failed with the token it has: that is no new one, and is tried again."""
    keeper.keep_fresh([SCOPE])
    await let_time_pass(3000)
    endpoint.repeats = True
    await let_time_pass(500)
    assert 8 <= len(endpoint.requests) <= 40
    endpoint.repeats = False
    await let_time_pass(31)
    assert await token(keeper) != "token-1"


async def test_the_same_token_is_told_when_it_lasts(
    keeper: TokenKeeper, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """azure-identity gives the same token also for 30 s after another service's: the log tells when half of the time is over."""
    keeper.keep_fresh([SCOPE])
    for repeating, told in ((120, 0), (240, 1)):
        await let_time_pass(3000)
        held = await token(keeper)
        endpoint.repeats = True
        await let_time_pass(300 + repeating)
        endpoint.repeats = False
        await let_time_pass(31)
        assert await token(keeper) != held
        assert len(caplog.records) == told
    left = re.search(r"is good for (\d+) s more", caplog.messages[0])
    assert left is not None
    assert 100 < int(left[1]) <= 150


async def test_a_token_that_has_expired_is_not_kept(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """A credential whose tokens are no good is asked by each caller, and by nobody else."""
    endpoint.lifetime = -10
    keeper.keep_fresh([SCOPE])
    assert [await token(keeper) for _ in range(2)] == ["token-1", "token-2"]
    await let_time_pass(100)
    assert len(endpoint.requests) == 2


async def test_a_short_lived_token_is_renewed_in_time(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """Tokens that live for a minute only are renewed in the second half of their life."""
    endpoint.lifetime = 60
    keeper.keep_fresh([SCOPE])
    await let_time_pass(600)
    gaps = [after - before for before, after in pairwise(endpoint.requested_at)]
    assert all(29 <= gap <= 34 for gap in gaps)
    assert len(gaps) >= 17


async def test_claims_get_a_token_of_their_own_that_replaces_the_other(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """A service that asks for claims has revoked the token that is held: the one for the claims is got, and held instead."""
    assert await token(keeper) == "token-1"
    assert (await keeper.get((SCOPE,), {"claims": "c"})).token == "token-2"
    assert (await keeper.get((SCOPE,), {"claims": "c"})).token == "token-3"
    assert await token(keeper) == "token-3"
    assert endpoint.requests[1:] == [((SCOPE,), {"claims": "c"})] * 2


async def test_an_older_answer_does_not_replace_a_newer(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """A renewal that began before the request for claims, and is answered after it, brings the older token."""
    await token(keeper)
    await let_time_pass(3400)
    endpoint.seconds = 50.0
    await token(keeper)
    await asyncio.sleep(1)
    endpoint.seconds = 0.1
    claimed = await keeper.get((SCOPE,), {"claims": "c"})
    assert claimed.token == "token-3"
    await let_time_pass(60)
    assert await token(keeper) == "token-3"


async def test_each_tenant_and_cae_have_tokens_of_their_own(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """Options are part of what a token is held for, in whatever order they are given."""
    first = await keeper.get((SCOPE,), {"tenant_id": "t", "enable_cae": True})
    assert (await keeper.get((SCOPE,), {"enable_cae": True, "tenant_id": "t"})).token == first.token
    tokens = [await keeper.get((SCOPE,), options) for options in ({}, {"tenant_id": "t"}, {"enable_cae": True})]
    assert len({info.token for info in (first, *tokens)}) == len(endpoint.requests) == 4


async def test_callers_are_told_when_the_next_token_will_be_there(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """An SDK keeps a token until its refresh_on: that is set to after the renewal, so that it finds the new one."""
    endpoint.refresh_in = 1800
    keeper.keep_fresh([SCOPE])
    info = await keeper.get((SCOPE,), {})
    assert info.refresh_on is not None
    loop = virtual_loop()
    await let_time_pass(info.refresh_on - loop.time())
    assert len(endpoint.requests) == 2
    assert endpoint.requested_at[1] <= info.refresh_on
    endpoint.refresh_in = None
    assert (await keeper.get(("other",), {})).refresh_on is None


async def test_callers_of_a_short_lived_token_are_not_told(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """SDKs add up to 60 s to refresh_on and use a token until then: one that ends soon after says nothing, so that they ask."""
    endpoint.refresh_in, endpoint.lifetime = 60, 120
    assert (await keeper.get((SCOPE,), {})).refresh_on is None


async def test_no_request_after_close(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """close() ends what is under way, and the task; the tokens are forgotten, and nothing is asked any more."""
    keeper.keep_fresh(["a", "b"])
    await let_time_pass(1)
    endpoint.seconds = 100.0
    waiting = asyncio.create_task(token(keeper, "c"))
    await let_time_pass(1)
    await keeper.close()
    with pytest.raises(ClientAuthenticationError, match="closed during the token request"):
        await waiting
    assert renewing() == []
    await let_time_pass(1000)
    assert len(endpoint.requests) == 3
    endpoint.seconds = 0.1
    assert await token(keeper, "a") == "token-4"
    keeper.keep_fresh(["d"])
    await let_time_pass(10 * 3600)
    assert [scopes for scopes, _ in endpoint.requests[3:]].count(("a",)) == 2


async def test_one_keeper_s_tokens_kept_by_another(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """A SharedCredential that is given to a client as its credential is renewed in time, though it gives what it holds."""

    class Inner:
        async def get_token_info(self, *scopes: str, options: Any = None) -> AccessTokenInfo:
            return await keeper.get(scopes, options or {})

        async def __aexit__(self, *error: object) -> None: ...

    loop = virtual_loop()
    endpoint.refresh_in = 1800
    outer = TokenKeeper(cast("Any", Inner()), None, clock=loop.time)
    outer.keep_fresh([SCOPE])
    for _ in range(24 * 60):
        await let_time_pass(60)
        requests = len(endpoint.requests)
        assert (await outer.get((SCOPE,), {})).expires_on - loop.time() > 1400
        assert len(endpoint.requests) == requests
    assert 40 < len(endpoint.requests) < 50
    await outer.close()


async def test_random_lives(keeper: TokenKeeper, endpoint: Endpoint) -> None:
    """Whatever happens to the endpoint, no caller gets a token that has expired, and no two requests are made at once."""
    draw = random.Random(7)
    outcomes: Counter[str] = Counter()

    async def call(scope: str) -> None:
        try:
            info = await keeper.get((scope,), {})
        except ClientAuthenticationError:
            outcomes["refused"] += 1
        else:
            outcomes["expired" if info.expires_on <= virtual_loop().time() else "served"] += 1

    keeper.keep_fresh(["a"])
    for _ in range(800):
        endpoint.seconds = draw.choice([0.1, 1.0, 20.0])
        endpoint.is_down = draw.random() < 0.3
        endpoint.lifetime = draw.choice([60, 600, 4000])
        endpoint.refresh_in = draw.choice([None, endpoint.lifetime // 3])
        await asyncio.gather(*(call(draw.choice("abc")) for _ in range(draw.randint(1, 5))))
        await asyncio.sleep(draw.choice([0.0, 0.5, 10.0, 300.0]))
    assert outcomes["expired"] == 0
    assert outcomes["served"] > 10 * outcomes["refused"] > 0
