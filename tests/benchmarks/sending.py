"""Many callers who send one message each at a time: throughput and latency, with a network's delay and without."""

from __future__ import annotations

import statistics
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .measuring import Bar, Chart, Figure, Outcome, Spread, Table, interleave, ratios, undisturbed
from .messaging import SERVICES, messaging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .callers import Load
    from .messaging import Burst, Messaging, Sending

CALLERS = 100
BURST_TIMES = 5
"""Messages that each caller of a burst sends."""
WARM_UP_SECONDS = 0.2
REPEATS = 12
"""How many rounds are measured again at most because others worked on the same cores."""

CLIENTS = {
    "own": {"Event Hubs": "fastapi-azure-pool", "Service Bus": "fastapi-azure-pool"},
    "sdk": {"Event Hubs": "one shared SDK producer", "Service Bus": "one SDK sender behind a lock"},
    "toolbox": {"Event Hubs": "aio-azure-clients-toolbox", "Service Bus": "aio-azure-clients-toolbox"},
}


@dataclass(frozen=True, slots=True)
class Work:
    """One way to send.

    Attributes:
        label: What it is called.
        client: Who sends: one of CLIENTS.
        seconds: For how long it is counted in each round.
        callers: How many send at the same time.
        keys: "none", a "few" (16), or a new one for "each" message.
        is_delayed: Whether the network delays it.
    """

    label: str
    client: str
    seconds: float
    callers: int = CALLERS
    keys: str = "none"
    is_delayed: bool = True

    @property
    def process(self) -> tuple[str, bool]:
        """What work has in common that is done by the same process; a single caller's is done by one of its own."""
        return self.client, self.callers == 1


WORKS = {
    "many": Work(f"{CALLERS} callers", "own", 0.8),
    "few keys": Work(f"{CALLERS} callers, 16 keys", "own", 0.8, keys="few"),
    "each key": Work(f"{CALLERS} callers, a key for each message", "own", 0.8, keys="each"),
    "sdk": Work(f"{CALLERS} callers", "sdk", 1.0),
    "toolbox": Work(f"{CALLERS} callers, its connections open", "toolbox", 1.0),
    "alone": Work("1 caller", "own", 0.5, callers=1),
    "sdk alone": Work("1 caller", "sdk", 0.5, callers=1),
    "direct": Work(f"{CALLERS} callers, without the delay", "own", 0.8, is_delayed=False),
    "sdk direct": Work(f"{CALLERS} callers, without the delay", "sdk", 0.8, is_delayed=False),
}

PROMISES = {
    "many": ("sdk", {"Event Hubs": 25.0, "Service Bus": 15.0}),
    "few keys": ("sdk", {"Event Hubs": 15.0, "Service Bus": 15.0}),
    "each key": ("sdk", {"Event Hubs": 6.0, "Service Bus": 6.0}),
    "direct": ("sdk direct", {"Event Hubs": 4.0, "Service Bus": 3.0}),
}
BURST = 20.0
P99_MILLISECONDS = 100.0
ALONE = 1.05

BECAUSE = (
    "Joined messages cost what the SDK takes to make and encode each of them: without a network to wait for, and at the beginning, "
    "that is what limits the rate. The processor time per message is in the table."
)
DISTURBED = "Other work on the same cores disturbed most rounds, so this says little: run it again on a quiet machine."


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one service.

    Attributes:
        loads: The rounds of each work.
        bursts: Those of a burst, by client.
    """

    loads: dict[str, list[Load]]
    bursts: dict[str, list[Burst]]


async def run(*, is_quick: bool) -> Outcome:
    """Measure messages per second and latencies against the SDK and aio-azure-clients-toolbox."""
    repeats = iter(range(0 if is_quick else REPEATS))
    found = {}
    for service in SERVICES:
        loads: dict[str, list[Load]] = {}
        for is_delayed in (True, False):
            # The emulator keeps what it is sent: a new one, so that it is as quick for the last.
            async with messaging() as both:
                works = {name: work for name, work in WORKS.items() if work.is_delayed == is_delayed}
                loads |= await _loads(service, works, both, repeats, rounds=2 if is_quick else 5 if is_delayed else 7)
        async with messaging() as both:
            found[service] = Found(loads, await _bursts(service, both, rounds=2 if is_quick else 5))
            cores = both.cores.in_words("sender", "emulator and the proxy")
    every = [load for one in found.values() for loads in one.loads.values() for load in loads]
    disturbed = sum(load.is_disturbed for load in every)
    because = DISTURBED if disturbed > len(every) / 2 else BECAUSE
    return Outcome(
        title="Sending, one message per call",
        how=(
            f"{CALLERS} callers send a message of 95 bytes each, and the next when it is confirmed, to the local emulator: through "
            "a proxy that holds every byte back for 2.5 ms in each direction, or without the delay where it says so. All senders "
            "have their defaults. Senders, emulator and proxy are processes of their own. In a burst the callers come all at once "
            f"when nothing has been sent before, and send {BURST_TIMES} messages each; the pooled senders were opened by "
            "then, as a lifespan does it, while aio-azure-clients-toolbox opens its connections when they are asked for."
        ),
        figures=tuple(figure for service in SERVICES for figure in _figures(service, found[service], because)),
        tables=tuple(table for service in SERVICES for table in _tables(service, found[service])),
        charts=tuple(_chart(service, found[service]) for service in SERVICES),
        notes=(cores + (f" {disturbed} of {len(every)} rounds were disturbed by other work." if disturbed else ""),),
    )


async def _loads(
    service: str, works: dict[str, Work], both: Messaging, repeats: Iterator[int], *, rounds: int
) -> dict[str, list[Load]]:
    async with AsyncExitStack() as stack:
        senders: dict[tuple[str, bool], Sending] = {}
        for work in works.values():
            if work.process not in senders:
                sender = both.sender(service, work.client, is_delayed=work.is_delayed)
                senders[work.process] = await stack.enter_async_context(sender)
                # Opens as many connections as it will have.
                await senders[work.process].load(callers=work.callers, keys=work.keys, warm_up=0.0, seconds=0.6)
        subjects = {}
        for name, work in works.items():
            load = partial(
                senders[work.process].load,
                callers=work.callers,
                keys=work.keys,
                warm_up=WARM_UP_SECONDS,
                seconds=work.seconds,
            )
            subjects[name] = partial(undisturbed, load, repeats)
        return await interleave(rounds, subjects)


async def _bursts(service: str, both: Messaging, *, rounds: int) -> dict[str, list[Burst]]:
    async with AsyncExitStack() as stack:
        senders = {
            client: await stack.enter_async_context(both.sender(service, client, is_open=False))
            for client in ("own", "toolbox")
        }
        subjects = {
            client: partial(sender.burst, callers=CALLERS, times=BURST_TIMES) for client, sender in senders.items()
        }
        return await interleave(rounds, subjects)


def _figures(service: str, found: Found, because: str) -> Iterator[Figure]:
    for name, (peer, promises) in PROMISES.items():
        label = f"{service}, {WORKS[name].label}: messages per second"
        yield Figure(
            f"{label}, against {CLIENTS['sdk'][service]}",
            ratios(*([load.per_second for load in found.loads[one]] for one in (name, peer))),
            at_least=promises[service],
            form="{:.1f} x",
            because=because,
        )
    yield Figure(
        f"{service}, a burst of {CALLERS} callers: messages per second, against {CLIENTS['toolbox'][service]}",
        ratios(*([burst.per_second for burst in found.bursts[client]] for client in ("own", "toolbox"))),
        at_least=BURST,
        form="{:.1f} x",
        because=because,
    )
    yield Figure(
        f"{service}, a burst of {CALLERS} callers: p99",
        Spread.of([burst.p99 * 1000 for burst in found.bursts["own"]]),
        at_most=P99_MILLISECONDS,
        form="{:.0f} ms",
        because=because,
    )
    yield Figure(
        f"{service}, {CALLERS} callers: p99",
        Spread.of([load.p99 * 1000 for load in found.loads["many"]]),
        at_most=P99_MILLISECONDS,
        form="{:.0f} ms",
        because=because,
    )
    yield Figure(
        f"{service}, 1 caller: median latency, against the bare SDK",
        ratios(*([load.p50 for load in found.loads[name]] for name in ("alone", "sdk alone"))),
        at_most=ALONE,
        form="{:.3f} x",
        because=because,
    )


def _tables(service: str, found: Found) -> Iterator[Table]:
    yield Table(
        service,
        ("work", "sender", "messages/s", "p50", "p99", "CPU per message", "of its core"),
        tuple(
            (
                work.label,
                CLIENTS[work.client][service],
                f"{statistics.median(load.per_second for load in loads):,.0f}",
                f"{statistics.median(load.p50 for load in loads) * 1000:.1f} ms",
                f"{statistics.median(load.p99 for load in loads) * 1000:.1f} ms",
                f"{statistics.median(load.processor_per_answer for load in loads) * 1e6:,.0f} µs",
                f"{statistics.median(load.utilisation for load in loads):.0%}",
            )
            for work, loads in ((work, found.loads[name]) for name, work in WORKS.items())
        ),
    )
    yield Table(
        f"{service}, a burst of {CALLERS} callers",
        ("sender", "messages/s", "p50", "p99"),
        tuple(
            (
                CLIENTS[client][service],
                f"{statistics.median(burst.per_second for burst in bursts):,.0f}",
                f"{statistics.median(burst.p50 for burst in bursts) * 1000:.1f} ms",
                f"{statistics.median(burst.p99 for burst in bursts) * 1000:,.1f} ms",
            )
            for client, bursts in found.bursts.items()
        ),
    )


def _chart(service: str, found: Found) -> Chart:
    suffixes = {"few keys": ", 16 keys", "each key": ", a key each"}
    return Chart(
        f"{service}, {CALLERS} callers",
        "messages per second",
        tuple(
            Bar(
                CLIENTS[WORKS[name].client][service] + suffixes.get(name, ""),
                statistics.median(load.per_second for load in found.loads[name]),
                is_ours=WORKS[name].client == "own",
            )
            for name in ("many", "few keys", "each key", "sdk", "toolbox")
        ),
    )
