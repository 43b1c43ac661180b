"""What each planned fault does to the emulator, in its own process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi_azure_pool.emulator import Emulator, Fault

    Inflict = Callable[[Emulator, str, float], list[Fault]]

# What the pool asks of a service when it opens a connection to it.
_PROBES = {"cosmos": "/dbs/shop/colls/orders", "blob": "/devstoreaccount1/invoices"}


def inflict(azure: Emulator, kind: str, variant: str, seconds: float) -> list[Fault]:
    """Begin a fault, and give what is to be cleared at its end.

    Args:
        azure: Where.
        kind: One of the schedule's that the emulator itself can do.
        variant: One of that kind's.
        seconds: How long it will last.
    """
    return _INFLICT[kind](azure, variant, seconds)


def _drop_connections(azure: Emulator, service: str, _seconds: float) -> list[Fault]:
    azure.faults.drop_connections(service or None)
    return []


def _drop(when: Literal["before", "after"]) -> Inflict:
    def inflict(azure: Emulator, service: str, _seconds: float) -> list[Fault]:
        method = "TRANSFER" if service == "amqp" else None
        return [azure.faults.drop(when, service=service, method=method, times=5)]

    return inflict


def _drop_midway(azure: Emulator, _service: str, _seconds: float) -> list[Fault]:
    # Only a batch of many events takes several frames: while the first is answered late, the others gather.
    return [azure.faults.drop_midway(times=2), azure.faults.delay(0.3, service="amqp", method="TRANSFER")]


def _drop_opening(azure: Emulator, variant: str, _seconds: float) -> list[Fault]:
    service, _, operation = variant.partition(" ")
    if service == "amqp":
        fault = azure.faults.drop(service=service, method=operation, times=5)
    else:
        fault = azure.faults.drop(service=service, method="GET", path=_PROBES[service], times=5)
    azure.faults.drop_connections(service)
    return [fault]


def _drop_draining(azure: Emulator, service: str, seconds: float) -> list[Fault]:
    """Have answers come late, have a connection retire while others wait for theirs, and then drop it under them."""
    method = "TRANSFER" if service == "amqp" else None
    faults = [azure.faults.delay(seconds / 2, service=service, method=method)]
    if service == "amqp":
        azure.faults.detach_links()
    else:
        faults.append(azure.faults.drop(service=service, times=1))
    asyncio.get_running_loop().call_later(seconds * 0.75, azure.faults.drop_connections, service)
    return faults


def _drop_closing(azure: Emulator, variant: str, _seconds: float) -> list[Fault]:
    service, _, operation = variant.partition(" ")
    fault = azure.faults.drop(service=service, method=operation, times=5)
    azure.faults.detach_links()
    return [fault]


def _detach(azure: Emulator, _variant: str, _seconds: float) -> list[Fault]:
    azure.faults.detach_links()
    return []


def _close(azure: Emulator, _variant: str, _seconds: float) -> list[Fault]:
    azure.faults.close_connections()
    return []


def _refuse_links(azure: Emulator, variant: str, _seconds: float) -> list[Fault]:
    if variant == "at once":
        fault = azure.faults.refuse_attach("amqp:internal-error", times=4)
    else:
        fault = azure.faults.accept_then_detach(times=4)
    azure.faults.detach_links()
    return [fault]


def _throttle(azure: Emulator, service: str, _seconds: float) -> list[Fault]:
    return [azure.faults.throttle(retry_after=0.2, service=service)]


def _fail(azure: Emulator, variant: str, _seconds: float) -> list[Fault]:
    service, _, status = variant.partition(" ")
    return [azure.faults.fail(int(status), service=service)]


def _refuse_authorization(azure: Emulator, service: str, _seconds: float) -> list[Fault]:
    fault = azure.faults.reject_authorization(service=service)
    if service == "amqp":  # It asks who comes when a link is opened.
        azure.faults.drop_connections(service)
    return [fault]


def _refuse_tokens(azure: Emulator, status: str, _seconds: float) -> list[Fault]:
    fault = azure.faults.refuse_tokens(int(status))
    azure.faults.drop_connections()  # Every new connection wants a token.
    return [fault]


def _slow(azure: Emulator, service: str, seconds: float) -> list[Fault]:
    return [azure.faults.delay(min(seconds / 2, 1.0), service=service)]


def _be_silent(azure: Emulator, variant: str, _seconds: float) -> list[Fault]:
    when, _, operation = variant.partition(" ")
    fault = azure.faults.stall(cast("Literal['before', 'after']", when), method=operation, times=2)
    if operation == "ATTACH":
        azure.faults.detach_links()
    return [fault]


def _withhold_credit(azure: Emulator, credit: str, _seconds: float) -> list[Fault]:
    fault = azure.faults.withhold_credit(credit=int(credit))
    azure.faults.detach_links()
    azure.faults.send_flow()
    return [fault]


def _settle_oddly(azure: Emulator, variant: str, _seconds: float) -> list[Fault]:
    if variant == "rejected":
        return [azure.faults.reject("amqp:internal-error", times=10)]
    return [azure.faults.settle(cast("Literal['released', 'modified']", variant), times=10)]


_INFLICT: Mapping[str, Inflict] = {
    "connections dropped": _drop_connections,
    "dropped before the request": _drop("before"),
    "dropped after the request": _drop("after"),
    "dropped in the midst of a message": _drop_midway,
    "dropped while opening": _drop_opening,
    "dropped while draining": _drop_draining,
    "dropped while closing": _drop_closing,
    "idle links detached": _detach,
    "idle connections closed": _close,
    "links refused": _refuse_links,
    "throttled": _throttle,
    "failing": _fail,
    "authorization refused": _refuse_authorization,
    "token endpoint down": _refuse_tokens,
    "slow": _slow,
    "silent": _be_silent,
    "no credit": _withhold_credit,
    "odd outcomes": _settle_oddly,
}
