"""An emulator that tests without an event loop can use: it runs on one of its own, in a thread."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.testing.on_loop import on_loop

with extra("testing"):
    from anyio.from_thread import start_blocking_portal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from anyio.from_thread import BlockingPortal

    from fastapi_azure_pool.emulator import Faults, RequestLog

P = ParamSpec("P")
ResultT = TypeVar("ResultT")


class _Reading(Generic[ResultT]):
    """An attribute of the emulator, read on its event loop."""

    def __init__(self, read: Callable[[Emulator], ResultT]) -> None:
        self._read = read

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: BackgroundEmulator, owner: type) -> ResultT: ...

    def __get__(self, instance: BackgroundEmulator | None, owner: type) -> Self | ResultT:
        return self if instance is None else instance.portal.call(self._read, instance.emulator)


class _Log:
    """What a service was asked, as any thread may look at it."""

    def __init__(self, read: Callable[[Emulator], RequestLog]) -> None:
        self._read = read

    def __get__(self, instance: BackgroundEmulator, owner: type) -> RequestLog:
        return on_loop(instance.portal, self._read(instance.emulator))


@overload
def _plain(
    method: Callable[Concatenate[Emulator, P], Coroutine[Any, Any, ResultT]],
) -> Callable[Concatenate[BackgroundEmulator, P], ResultT]: ...


@overload
def _plain(
    method: Callable[Concatenate[Emulator, P], ResultT],
) -> Callable[Concatenate[BackgroundEmulator, P], ResultT]: ...


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method of the emulator one that any thread may call without awaiting it."""

    @wraps(method)
    def call(self: BackgroundEmulator, *args: Any, **kwargs: Any) -> Any:
        return self.portal.call(partial(method, self.emulator, *args, **kwargs))

    return call


class BackgroundEmulator:
    """An `Emulator` on an event loop in a thread of its own: what its methods do is done when they return.

    ``with BackgroundEmulator() as azure:`` starts and stops one; the fixture ``azure_emulator`` gives one that runs. Any thread may
    use it, those of other event loops too: a call takes a fraction of a millisecond. Its attributes and methods are those of
    `Emulator`, where they are documented, without the ``await``.

    Args:
        options: Those of `Emulator`, such as ``tls=True`` or ``cosmos_partitions=4``.

    Attributes:
        emulator: The emulator itself, for code that runs on its event loop.

    Raises:
        RuntimeError: A member is used outside the ``with`` block.
        ValueError: An option is out of its bounds.
    """

    def __init__(self, **options: Any) -> None:
        self.emulator = Emulator(**options)
        self._portal: BlockingPortal | None = None
        self._afterwards = ExitStack()

    def __enter__(self) -> Self:
        if self._portal is not None:
            raise RuntimeError("the emulator is in use: make another BackgroundEmulator for another `with`")
        with ExitStack() as afterwards:
            portal = afterwards.enter_context(start_blocking_portal())
            afterwards.callback(portal.call, self.emulator.stop)
            portal.call(self.emulator.start)
            self._afterwards = afterwards.pop_all()
        self._portal = portal
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._afterwards.close()
        finally:
            self._portal = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.emulator!r}>"

    @property
    def portal(self) -> BlockingPortal:
        """What calls functions on the emulator's event loop: ``azure.portal.call(function, *arguments)``."""
        if self._portal is None:
            raise RuntimeError("the emulator does not run: use it inside `with BackgroundEmulator() as azure:`")
        return self._portal

    def recover(self) -> None:
        """End every fault, and start the emulator again if it was stopped; the plugin does so after each test."""
        self.portal.call(self._recover)

    @property
    def faults(self) -> Faults:
        """What goes wrong on demand; a fault that a method returns may be used from any thread as well."""
        return on_loop(self.portal, self.emulator.faults)

    start = _plain(Emulator.start)
    stop = _plain(Emulator.stop)
    is_running = _Reading(lambda azure: azure.is_running)
    environment = _Reading(lambda azure: azure.environment)
    certificate = _Reading(lambda azure: azure.certificate)
    connections = _plain(Emulator.connections)

    identity_endpoint = _Reading(lambda azure: azure.identity_endpoint)
    identity_header = _Reading(lambda azure: azure.identity_header)
    imds_endpoint = _Reading(lambda azure: azure.imds_endpoint)
    issue_token = _plain(Emulator.issue_token)
    token_requests = _Reading(lambda azure: azure.token_requests)
    identity_requests = _Log(lambda azure: azure.identity_requests)

    tenant_id = _Reading(lambda azure: azure.tenant_id)
    entra_authority = _Reading(lambda azure: azure.entra_authority)
    set_token_lifetime = _plain(Emulator.set_token_lifetime)
    issue_federated_token = _plain(Emulator.issue_federated_token)
    workload_environment = _plain(Emulator.workload_environment)

    cosmos_endpoint = _Reading(lambda azure: azure.cosmos_endpoint)
    cosmos_key = _Reading(lambda azure: azure.cosmos_key)
    cosmos_connection_string = _Reading(lambda azure: azure.cosmos_connection_string)
    create_cosmos_container = _plain(Emulator.create_cosmos_container)
    cosmos_requests = _Log(lambda azure: azure.cosmos_requests)

    amqp_authority = _Reading(lambda azure: azure.amqp_authority)
    amqp_key = _Reading(lambda azure: azure.amqp_key)
    amqp_requests = _Log(lambda azure: azure.amqp_requests)
    eventhub_connection_string = _Reading(lambda azure: azure.eventhub_connection_string)
    create_eventhub = _plain(Emulator.create_eventhub)
    received_events = _plain(Emulator.received_events)

    servicebus_connection_string = _Reading(lambda azure: azure.servicebus_connection_string)
    create_queue = _plain(Emulator.create_queue)
    create_topic = _plain(Emulator.create_topic)
    create_subscription = _plain(Emulator.create_subscription)
    queue_messages = _plain(Emulator.queue_messages)

    storage_account = _Reading(lambda azure: azure.storage_account)
    storage_key = _Reading(lambda azure: azure.storage_key)
    blob_endpoint = _Reading(lambda azure: azure.blob_endpoint)
    blob_connection_string = _Reading(lambda azure: azure.blob_connection_string)
    create_blob_container = _plain(Emulator.create_blob_container)
    blobs = _plain(Emulator.blobs)
    blob_requests = _Log(lambda azure: azure.blob_requests)

    eventgrid_key = _Reading(lambda azure: azure.eventgrid_key)
    eventgrid_endpoint = _plain(Emulator.eventgrid_endpoint)
    create_eventgrid_topic = _plain(Emulator.create_eventgrid_topic)
    eventgrid_events = _plain(Emulator.eventgrid_events)
    eventgrid_requests = _Log(lambda azure: azure.eventgrid_requests)

    async def _recover(self) -> None:
        self.emulator.faults.clear()
        if not self.emulator.is_running:
            await self.emulator.start()
