"""Many callers who send one message each at a time: throughput and latency, with a network's delay and without."""

from __future__ import annotations

import itertools
import statistics
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .measuring import Bar, Chart, Figure, Outcome, Spread, Table, interleave, ratios
from .messaging import SERVICES, messaging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .messaging import Load, Messaging, Sending

CALLERS = 100
REPEATS = 12
"""How many rounds are measured again at most because others worked on the same cores."""

PEERS = {
    ("Event Hubs", "own"): "fastapi-azure-pool",
    ("Event Hubs", "sdk"): "one shared SDK producer",
    ("Event Hubs", "toolbox"): "aio-azure-clients-toolbox",
    ("Service Bus", "own"): "fastapi-azure-pool",
    ("Service Bus", "sdk"): "one SDK sender behind a lock",
    ("Service Bus", "toolbox"): "aio-azure-clients-toolbox",
}


@dataclass(frozen=True, slots=True)
class Work:
    """One way to send.

    Attributes:
        label: What it is called.
        clients: Who takes turns.
        rounds: How often.
        seconds: For how long each client is counted; the toolbox's answers come in bursts that are seconds apart.
        callers: How many send at the same time.
        keys: "none", a "few" (16), or one for "each" message.
        is_delayed: Whether through the proxy.
    """

    label: str
    clients: tuple[str, ...]
    rounds: int
    seconds: dict[str, float]
    callers: int = CALLERS
    keys: str = "none"
    is_delayed: bool = True


SECONDS = {"own": 0.8, "sdk": 1.2, "toolbox": 5.0}
WORKS = {
    "many": Work(f"{CALLERS} callers", ("own", "sdk"), 9, SECONDS),
    "toolbox": Work(f"{CALLERS} callers", ("own", "toolbox"), 3, SECONDS),
    "few keys": Work(f"{CALLERS} callers, 16 keys", ("own", "sdk"), 7, SECONDS, keys="few"),
    "each key": Work(f"{CALLERS} callers, a key for each message", ("own", "sdk"), 7, SECONDS, keys="each"),
    "direct": Work(
        f"{CALLERS} callers, without the delay", ("own", "sdk"), 9, dict.fromkeys(SECONDS, 0.6), is_delayed=False
    ),
    "alone": Work("1 caller", ("own", "sdk"), 15, dict.fromkeys(SECONDS, 0.5), callers=1),
}
WARM_UP_SECONDS = 0.2

PROMISES = {
    "many": {"Event Hubs": 25.0, "Service Bus": 15.0},
    "toolbox": {"Event Hubs": 20.0, "Service Bus": 20.0},
    "few keys": {"Event Hubs": 15.0, "Service Bus": 15.0},
    "each key": {"Event Hubs": 6.0, "Service Bus": 6.0},
    "direct": {"Event Hubs": 4.0, "Service Bus": 3.0},
}
P99_SECONDS = 0.1
ALONE = 1.05

BECAUSE = (
    "What limits a pooled sender here is the processor time that the SDK takes to build and encode a message, not the network; "
    "the peer that it is compared with waits for the network instead. The processor time per message is in the table."
)
DISTURBED = "Other work on the same cores disturbed most rounds, so this says little: run it again on a quiet machine."

Found = dict[str, dict[str, dict[str, list["Load"]]]]
"""The rounds by service, work and client."""


async def run(*, is_quick: bool) -> Outcome:
    """Measure messages per second and latencies against the SDK and aio-azure-clients-toolbox."""
    found: Found = {service: {} for service in SERVICES}
    repeats = iter(range(0 if is_quick else REPEATS))
    cores = ""
    for service in SERVICES:
        for name, work in WORKS.items():
            # The emulator keeps what it is sent: a new one for each work, so that it is as quick for the last.
            async with messaging() as both:
                cores = both.cores.in_words
                found[service][name] = await _measure(service, work, both, repeats, is_quick=is_quick)
    every = [
        load for works in found.values() for clients in works.values() for loads in clients.values() for load in loads
    ]
    disturbed = sum(load.is_disturbed for load in every)
    because = DISTURBED if disturbed > len(every) / 2 else BECAUSE
    return Outcome(
        title="Sending, one message per call",
        how=(
            f"{CALLERS} callers send a message of 95 bytes each, and the next when it is confirmed, to the local emulator: through "
            "a proxy that holds every byte back for 2.5 ms in each direction, or without the delay where it says so. All senders "
            "have their defaults. Senders, emulator and proxy are processes of their own."
        ),
        figures=tuple(figure for service in SERVICES for figure in _figures(service, found[service], because)),
        tables=tuple(_table(service, found[service]) for service in SERVICES),
        charts=tuple(_chart(service, found[service]) for service in SERVICES),
        notes=(cores + (f" {disturbed} of {len(every)} rounds were disturbed by other work." if disturbed else ""),),
    )


async def _measure(
    service: str, work: Work, both: Messaging, repeats: Iterator[int], *, is_quick: bool
) -> dict[str, list[Load]]:
    async with AsyncExitStack() as stack:
        senders = {
            client: await stack.enter_async_context(both.sender(service, client, is_delayed=work.is_delayed))
            for client in work.clients
        }
        subjects = {client: partial(_load, sender, work, client, repeats) for client, sender in senders.items()}
        await interleave(1, {client: partial(_warm_up, sender, work) for client, sender in senders.items()})
        return await interleave(2 if is_quick else work.rounds, subjects)


async def _warm_up(sender: Sending, work: Work) -> None:
    """Have it open as many connections as it will have."""
    await sender.load(callers=work.callers, keys=work.keys, warm_up=0.0, seconds=0.6)


async def _load(sender: Sending, work: Work, client: str, repeats: Iterator[int]) -> Load:
    while True:
        measured = await sender.load(
            callers=work.callers, keys=work.keys, warm_up=WARM_UP_SECONDS, seconds=work.seconds[client]
        )
        if not measured.is_disturbed or next(repeats, None) is None:
            return measured


def _figures(service: str, found: dict[str, dict[str, list[Load]]], because: str) -> Iterator[Figure]:
    for name, promises in PROMISES.items():
        work, loads = WORKS[name], found[name]
        peer = work.clients[1]
        yield Figure(
            f"{service}, {work.label}: messages per second, against {PEERS[service, peer]}",
            ratios([load.per_second for load in loads["own"]], [load.per_second for load in loads[peer]]),
            at_least=promises[service],
            form="{:.1f} x",
            because=because,
        )
    yield Figure(
        f"{service}, {CALLERS} callers: p99",
        Spread.of([load.p99 * 1000 for load in found["toolbox"]["own"]]),
        at_most=P99_SECONDS * 1000,
        form="{:.0f} ms",
        because=because,
    )
    yield Figure(
        f"{service}, 1 caller: median latency, against the bare SDK",
        ratios([load.p50 for load in found["alone"]["own"]], [load.p50 for load in found["alone"]["sdk"]]),
        at_most=ALONE,
        form="{:.3f} x",
        because=because,
    )


def _table(service: str, found: dict[str, dict[str, list[Load]]]) -> Table:
    rows = []
    for (name, work), client in itertools.product(WORKS.items(), ("own", "sdk", "toolbox")):
        # The library's own rounds beside the toolbox are in its rounds beside the SDK already.
        if client in work.clients and (name, client) != ("toolbox", "own"):
            loads = found[name][client]
            rows.append(
                (
                    work.label,
                    PEERS[service, client],
                    f"{statistics.median(load.per_second for load in loads):,.0f}",
                    f"{statistics.median(load.p50 for load in loads) * 1000:.1f} ms",
                    f"{statistics.median(load.p99 for load in loads) * 1000:.1f} ms",
                    f"{statistics.median(load.processor_per_message for load in loads) * 1e6:,.0f} µs",
                    f"{statistics.median(load.utilisation for load in loads):.0%}",
                )
            )
    return Table(service, ("work", "sender", "messages/s", "p50", "p99", "CPU per message", "of its core"), tuple(rows))


def _chart(service: str, found: dict[str, dict[str, list[Load]]]) -> Chart:
    bars = [("many", "own"), ("many", "sdk"), ("toolbox", "toolbox"), ("few keys", "own"), ("each key", "own")]
    return Chart(
        f"{service}, {CALLERS} callers, 5 ms round trip",
        "messages per second",
        tuple(
            Bar(
                PEERS[service, client] + {"few keys": ", 16 keys", "each key": ", a key each"}.get(name, ""),
                statistics.median(load.per_second for load in found[name][client]),
                is_ours=client == "own",
            )
            for name, client in bars
        ),
    )
