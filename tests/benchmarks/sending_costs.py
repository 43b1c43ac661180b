"""What sending costs besides its time: turns of the event loop, memory, the opening of connections, first requests."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from .measuring import Figure, Outcome, Spread, Table, in_time_units, interleave, ratios
from .messaging import SERVICES, messaging

if TYPE_CHECKING:
    from .messaging import Messaging

CROWD = 1000
CROWD_TIMES = 3
STALL_MILLISECONDS = 40.0
ONE_CONNECTION: dict[str, Any] = {"max_size": 1, "client_limit": 2 * CROWD}
"""Options of a sender in whose queue a whole crowd waits."""

CROWDS: dict[str, dict[str, Any]] = {"with its defaults": {}, "on one connection": ONE_CONNECTION}

STALL_BECAUSE = (
    "Each connection's owner lets others run after some messages, but four owners can have their turn in one turn of the loop, "
    "and what the callers do who are woken is added; other work on the core lengthens it as well."
)

OPENING = 0.1

SIZE = 1024
MEGABYTES = 10.0
HELD_SECONDS = 1.0
"""How long the answers to those whose memory is weighed are held back in each direction."""

SENDS = 100
DETACHED_SECONDS = 2.5
"""How long after the links are detached the next request comes: looking takes up to 1 s, opening a part of another."""
AS_FAST = 1.15
"""A first send counts as fast as a hundredth that it takes so much longer than at most: the interpreter adapts its code to what it
does, and half a millisecond of a first pass is that."""


FIRST_PASS = (
    "The first pass through the SDK's encoding of a message takes the interpreter 0.8 ms longer than later ones, which without the "
    "delay is 1.4 against 0.6 ms; nothing is imported, opened or waited for in it."
)


async def run(*, is_quick: bool) -> Outcome:
    """Measure each of them for both services."""
    rounds = 2 if is_quick else 5
    async with messaging() as both:
        openings = {service: await _openings(service, both, rounds=2 if is_quick else 9) for service in SERVICES}
        stalls = {
            (service, name): await _stalls(service, both, options, rounds=rounds)
            for service in SERVICES
            for name, options in CROWDS.items()
        }
    async with messaging() as both:
        firsts = {service: [await _first(service, both) for _ in range(rounds)] for service in SERVICES}
        detached = await _after_detach(both, rounds=2 if is_quick else 3)
        sdks = {service: await _first(service, both, client="sdk", is_open=False) for service in SERVICES}
    async with messaging() as both:
        weights = {
            (service, is_traced): [
                await _weigh(service, both, is_traced=is_traced) for _ in range(1 if is_quick else 2)
            ]
            for service in SERVICES
            for is_traced in (True, False)
        }
    figures = []
    for service in SERVICES:
        figures += [
            Figure(
                f"{service}: opening a connection without the delay, against the SDK's own opening",
                ratios(openings[service]["own"], openings[service]["sdk"]),
                at_most=OPENING,
                form="{:.3f} x",
            ),
            *(
                Figure(
                    f"{service}: longest turn of the event loop with {CROWD:,} sends waiting, {name}",
                    Spread.of([seconds * 1000 for seconds in stalls[service, name]]),
                    at_most=STALL_MILLISECONDS,
                    form="{:.1f} ms",
                    because=STALL_BECAUSE,
                )
                for name in CROWDS
            ),
            *(
                Figure(
                    f"{service}: memory of {CROWD:,} waiting sends of 1 KB, {name}",
                    Spread.of([weight / 1e6 for weight, _ in weights[service, is_traced]]),
                    at_most=MEGABYTES,
                    form="{:.2f} MB",
                )
                for is_traced, name in ((True, "by tracemalloc"), (False, "growth of the resident set"))
            ),
            Figure(
                f"{service}: the first send after start-up, against the hundredth",
                Spread.of([first / hundredth for first, hundredth in firsts[service]]),
                at_most=AS_FAST,
                because=FIRST_PASS,
            ),
            Figure(
                f"{service}: the first send after the link was detached as idle, against the hundredth",
                Spread.of([first / hundredth for first, hundredth in detached[service]]),
                at_most=AS_FAST,
            ),
        ]
    return Outcome(
        title="What sending costs besides",
        how=(
            "Opening: a connection and its link, without sending; one after the other, in a process for each sender. Turns of "
            f"the event loop: {CROWD:,} callers come within a few turns and send {CROWD_TIMES} messages each; the longest turn "
            f"until the last answer counts. Memory: in a new process, {CROWD:,} callers have a message of 1 KB each, and the "
            f"network is held up. First sends: in a new process with `min_size=1`, against the median of its sends {SENDS - 10} to "
            f"{SENDS + 10}, all with the delay; then all links are detached, and a moment later it sends again."
        ),
        figures=tuple(figures),
        tables=(
            Table(
                "In time and memory",
                (
                    "service",
                    "opening",
                    "the SDK's opening",
                    "first send",
                    "hundredth",
                    "first after a detach",
                    "the SDK's first",
                    f"{CROWD:,} waiting",
                    "at most until they are answered",
                ),
                tuple(
                    (
                        service,
                        *(in_time_units(statistics.median(openings[service][client])) for client in ("own", "sdk")),
                        *(in_time_units(statistics.median(column)) for column in zip(*firsts[service], strict=True)),
                        in_time_units(statistics.median(first for first, _ in detached[service])),
                        in_time_units(sdks[service][0]),
                        *(
                            f"{statistics.median(column) / 1e6:.2f} MB"
                            for column in zip(*weights[service, True], strict=True)
                        ),
                    )
                    for service in SERVICES
                ),
            ),
        ),
    )


async def _openings(service: str, both: Messaging, *, rounds: int) -> dict[str, list[float]]:
    async with AsyncExitStack() as stack:
        senders = {
            client: await stack.enter_async_context(both.sender(service, client, is_delayed=False, is_open=False))
            for client in ("own", "sdk")
        }
        subjects = {client: partial(sender.ask, "time_opening") for client, sender in senders.items()}
        await interleave(1, subjects)
        return await interleave(rounds, subjects)


async def _stalls(service: str, both: Messaging, options: dict[str, Any], *, rounds: int) -> list[float]:
    async with both.sender(service, "own", **options) as sender:
        await sender.ask("crowd", callers=CROWD, times=1)  # Opens as many connections as it will have.
        return [await sender.ask("crowd", callers=CROWD, times=CROWD_TIMES) for _ in range(rounds)]


async def _weigh(service: str, both: Messaging, *, is_traced: bool) -> tuple[float, float]:
    """Give the bytes while all wait, and the most until the last is answered (traced only)."""
    async with both.sender(service, "own", **ONE_CONNECTION) as sender:
        await sender.ask("send", times=10)
        await both.delay(HELD_SECONDS)
        weight = await sender.ask("wait", callers=CROWD, size=SIZE, seconds=0.75 * HELD_SECONDS, is_traced=is_traced)
        await both.reset_delay()
        peak: float = await sender.ask("finish")
    if weight["waiting"] < CROWD:
        raise RuntimeError(f"only {weight['waiting']} of {CROWD} callers still waited when they were weighed")
    return float(weight["bytes"]), peak


async def _first(service: str, both: Messaging, *, client: str = "own", is_open: bool = True) -> tuple[float, float]:
    """Give the seconds of a new process's first send, and of its hundredth."""
    async with both.sender(service, client, is_open=is_open) as sender:
        latencies = await sender.ask("send", times=SENDS + 10)
    return latencies[0], statistics.median(latencies[SENDS - 10 :])


async def _after_detach(both: Messaging, *, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Give the seconds of the first send after a detach, and of the hundredth before it."""
    async with AsyncExitStack() as stack:
        senders = {service: await stack.enter_async_context(both.sender(service, "own")) for service in SERVICES}
        measured: dict[str, list[tuple[float, float]]] = {service: [] for service in SERVICES}
        for _ in range(rounds):
            hundredths = {
                service: statistics.median((await sender.ask("send", times=SENDS + 10))[SENDS - 10 :])
                for service, sender in senders.items()
            }
            if await both.detach_links() < len(senders):
                raise RuntimeError("there was no link to detach")
            await asyncio.sleep(DETACHED_SECONDS)
            for service, sender in senders.items():
                (first,) = await sender.ask("send", times=1)
                measured[service].append((first, hundredths[service]))
        return measured
