"""Many callers send while the emulator drops, detaches and refuses at random points; afterwards the books must balance.

``python -m tests.support.random_drops --messages 100000 --seed 7`` makes a longer run than the tests do and tells its figures.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool import (
    ConnectionFailed,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    SendError,
)
from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICES = ("eventhub", "servicebus")
FAULTS = (
    "busy",
    "close",
    "detach",
    "drop after",
    "drop all",
    "drop before",
    "drop midway",
    "flow",
    "modified",
    "released",
    "slow",
)
ENTITY = "orders"
CALLERS = 50
MESSAGES_PER_FAULT = 100


@dataclass(slots=True)
class Books:
    """What the callers were told, and what is stored.

    Attributes:
        acknowledged: What its caller was told is stored, in that order, by caller.
        uncertain: What may be stored.
        refused: What is certainly not stored.
        stored: Everything that is stored, in the order of the entity.
        faults: How often each fault was made.
        seconds: How long sending took.
    """

    acknowledged: dict[int, list[str]] = field(default_factory=dict)
    uncertain: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def answered(self) -> int:
        """How many callers' messages have an answer."""
        return sum(map(len, self.acknowledged.values())) + len(self.uncertain) + len(self.refused)

    @property
    def lost(self) -> set[str]:
        """What is not stored although its caller was told so."""
        return {message for mine in self.acknowledged.values() for message in mine} - set(self.stored)

    @property
    def unexpected(self) -> set[str]:
        """What is stored although its caller was told that it is not."""
        return set(self.refused) & set(self.stored)

    @property
    def most_copies(self) -> int:
        """How often a message is stored at most."""
        return max(Counter(self.stored).values(), default=0)

    @property
    def out_of_order(self) -> list[int]:
        """The callers whose acknowledged messages are not stored in the order in which they were acknowledged."""
        # Of what is there twice the later copy is the one that was acknowledged.
        places = {message: place for place, message in enumerate(self.stored)}
        ordered = {caller: [places.get(message, -1) for message in mine] for caller, mine in self.acknowledged.items()}
        return [caller for caller, mine in ordered.items() if mine != sorted(mine)]

    def __str__(self) -> str:
        total = self.answered
        return (
            f"{total} messages in {self.seconds:.1f} s under {sum(self.faults.values())} faults ({dict(self.faults)}):"
            f" acknowledged {total - len(self.uncertain) - len(self.refused)}, uncertain {len(self.uncertain)} (of which stored"
            f" {len(set(self.uncertain) & set(self.stored))}), certainly not stored {len(self.refused)}; acknowledged but lost"
            f" {len(self.lost)}, stored against the answer {len(self.unexpected)}, most copies {self.most_copies}, callers out of"
            f" order {len(self.out_of_order)}"
        )


def _faults(azure: Emulator) -> dict[str, Callable[[], object]]:
    """Everything that can happen to a transfer, each ready to be made once."""
    faults = azure.faults
    return {
        "drop before": lambda: faults.drop("before", service="amqp", method="TRANSFER", times=1),
        "drop after": lambda: faults.drop("after", service="amqp", method="TRANSFER", times=1),
        "drop midway": lambda: faults.drop_midway(times=1),
        "drop all": lambda: faults.drop_connections("amqp"),
        "detach": faults.detach_links,
        "close": faults.close_connections,
        "busy": lambda: faults.throttle(service="amqp", method="TRANSFER", times=1),
        "released": lambda: faults.settle("released", times=1),
        "modified": lambda: faults.settle("modified", times=1),
        "flow": faults.send_flow,
        "slow": lambda: faults.delay(0.005, service="amqp", method="TRANSFER", times=1),
    }


def _key(caller: int, number: int) -> str | None:
    """Give a third of the callers no key, a third one of four, and a third a new one for each message."""
    return (None, f"shared-{caller % 4}", f"own-{caller}-{number}")[caller % 3]


async def run(service: str, *, messages: int, seed: int, **options: Any) -> Books:
    """Send so many messages under random faults, and give the books.

    Args:
        service: One of `SERVICES`.
        messages: How many, a multiple of the number of callers.
        seed: Which faults, and when.
        options: Of the managed client.
    """
    lot = random.Random(seed)
    books = Books(acknowledged={caller: [] for caller in range(CALLERS)})
    async with Emulator() as azure:
        faults = _faults(azure)
        client: ManagedAzureEventhubProducer | ManagedAzureServiceBusSender
        if service == "eventhub":
            # One partition, so that everything has one order.
            await azure.create_eventhub(ENTITY, partitions=1)
            client = hub = ManagedAzureEventhubProducer(
                connection_string=azure.eventhub_connection_string, eventhub_name=ENTITY, **options
            )

            async def send(body: str, key: str | None) -> None:
                await hub.send_event(body, partition_key=key)
        else:
            await azure.create_queue(ENTITY)
            client = queue = ManagedAzureServiceBusSender(
                connection_string=azure.servicebus_connection_string, service_bus_queue_name=ENTITY, **options
            )

            async def send(body: str, key: str | None) -> None:
                await queue.send_message(body, session_id=key)

        async def call(caller: int) -> None:
            for number in range(messages // CALLERS):
                if lot.random() * MESSAGES_PER_FAULT < 1:
                    name = lot.choice(FAULTS)
                    books.faults[name] += 1
                    faults[name]()
                body = f"{caller}-{number}"
                try:
                    await send(body, _key(caller, number))
                except SendError as error:
                    (books.uncertain if error.maybe_delivered else books.refused).append(body)
                except ConnectionFailed as error:
                    books.refused.append(body)
                    await asyncio.sleep(error.retry_after)
                else:
                    books.acknowledged[caller].append(body)

        async with client:
            started = time.perf_counter()
            await asyncio.gather(*map(call, range(CALLERS)))
            books.seconds = time.perf_counter() - started
        if service == "eventhub":
            books.stored = [event.body.decode() for event in azure.received_events(ENTITY)]
        else:
            stored = sorted(azure.queue_messages(ENTITY), key=lambda message: message.sequence_number)
            books.stored = [message.body.decode() for message in stored]
    return books


def main() -> None:
    """Make one run for each service and print its books."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.random_drops", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for service in SERVICES:
        print(f"{service}: {asyncio.run(run(service, messages=options.messages, seed=options.seed))}", flush=True)


if __name__ == "__main__":
    main()
