"""What they promise of the pool itself, and of the package as a whole."""

from __future__ import annotations

from tests.peers.promise import Promise

_NAMES = (
    "{AzureBlobStorageClient, AzureServiceBus, Cosmos, CredentialFactory, EventGridClient, EventGridConfig, EventGridTopicConfig,"
    " Eventhub, ManagedAzureEventhubProducer, ManagedAzureServiceBusSender, ManagedCosmos}"
)

PACKAGE = (
    Promise(
        _NAMES,
        _NAMES,
        "Every name of the package is imported from `fastapi_azure_pool`. An SDK is loaded when a name needs it.",
        ("peers/test_promises.py::test_every_name_of_their_package_is_one_of_ours",),
    ),
)

TYPES = (
    Promise(
        "CredentialFactory",
        "CredentialFactory",
        "Any function without arguments that returns an async credential, not only the default one.",
        ("peers/test_promises.py::test_every_name_of_their_package_is_one_of_ours",),
    ),
)

PROMISES = (
    Promise(
        "ConnectionPool(connector, client_limit, max_size, max_idle_seconds, max_lifespan_seconds, max_concurrent_creates);"
        " DEFAULT_MAX_SIZE; DEFAULT_CONNECTION_MAX_IDLE_SECONDS; DEFAULT_SHARED_TRANSPORT_CLIENT_LIMIT",
        "ConnectionPool(connector, client_limit, max_size, max_idle_seconds, max_lifespan_seconds, max_concurrent_creates)",
        "The order and the defaults are theirs. An old connection is replaced before it goes, and idle ones are closed unasked.",
        (
            "pool/test_limits.py::test_the_defaults_are_those_of_the_contract",
            "pool/test_replacement.py::test_the_successor_is_ready_before_the_old_one_drains",
            "pool/test_retirement.py::test_idle_connections_above_min_size_drain_at_once",
        ),
    ),
    Promise(
        "ConnectionPool.get(timeout)",
        "ConnectionPool.get(timeout)",
        "One deadline, and a line in order of arrival. Theirs asks in turn, and gives up long before its time-out, since it adds"
        " up the elapsed time anew at each turn.",
        (
            "pool/test_waiting.py::test_the_timeout_is_one_deadline",
            "pool/test_waiting.py::test_the_line_is_served_in_order_of_arrival",
            "pool/test_choice.py::test_the_connection_with_the_fewest_clients_is_chosen",
        ),
    ),
    Promise(
        "ConnectionPool.get(acquire_timeout)",
        "ConnectionPool(create_timeout)",
        "Of the pool, not of a caller: opening goes on for the others when one of them gives up.",
        (
            "pool/test_opening.py::test_a_callers_timeout_does_not_cut_an_opening_short",
            "pool/test_opening.py::test_create_timeout_covers_create_and_ready_together",
        ),
    ),
    Promise(
        "ConnectionPool.closeall",
        "ConnectionPool.{closeall, close}(drain_seconds)",
        "Clients may finish; who waits is sent away at once. `open()` opens it again.",
        (
            "pool/test_closing.py::test_clients_may_finish_within_drain_seconds",
            "pool/test_closing.py::test_a_closed_pool_can_be_opened_again",
        ),
    ),
    Promise(
        "ConnectionPool.ready_connection_count",
        "ConnectionPool.ready_connection_count",
        "",
        ("pool/test_stats.py::test_connections_and_their_count",),
    ),
    Promise(
        "ConnectionPool.expire_conn(connection)",
        "ConnectionPool.{expire_conn, expire}(connection)",
        "Without `await`. The connection gets no new client and is closed when its last one leaves; theirs is closed under them.",
        (
            "pool/test_retirement.py::test_expire_retires_without_closing_under_clients",
            "pool/test_retirement.py::test_expiring_what_the_pool_does_not_hold_changes_nothing",
        ),
    ),
    Promise(
        "ConnectionPool.{client_limit, max_size, max_lifespan_seconds, connector}",
        "ConnectionPool.stats",
        "A frozen snapshot of the sizes and of what goes on.",
        ("pool/test_stats.py::test_a_new_pool_shows_its_sizes_and_nothing_else",),
    ),
    Promise(
        "ConnectionsExhausted",
        "ConnectionsExhausted",
        "A `TimeoutError` and a `PoolError`, not a `ValueError`; it carries the counts.",
        (
            "pool/test_errors.py::test_errors_are_also_what_python_calls_them",
            "pool/test_waiting.py::test_who_waited_in_vain_is_told_the_counts",
        ),
    ),
    Promise(
        "ConnectionFailed",
        "ConnectionFailed",
        "A `ConnectionError`, as theirs. What the SDK raised is its cause, and `retry_after` says when the pool tries again.",
        (
            "pool/test_errors.py::test_errors_are_also_what_python_calls_them",
            "pool/test_failure.py::test_everyone_in_line_gets_the_cause",
        ),
    ),
    Promise(
        "AbstractorConnector.create; AbstractorConnector.ready(connection); AbstractorConnector",
        "AbstractorConnector.create; AbstractorConnector.ready(connection); AbstractorConnector; AbstractConnector",
        "`close`, `is_closed` and `is_fatal` may be overridden besides.",
        (
            "pool/test_connection.py::test_the_toolbox_s_name_still_works",
            "pool/test_opening.py::test_a_connection_that_is_not_ready_is_closed_and_nobody_gets_it",
        ),
    ),
    Promise(
        "AbstractConnection.close; AbstractConnection",
        "AbstractorConnector.close(connection)",
        "A connection is any object. Without a `close()` of its own, its connector closes it.",
        ("pool/test_connection.py::test_a_connector_closes_by_the_connection_s_own_close",),
    ),
    Promise(
        "SharedTransportConnection.{available, current_client_count, expired, is_ready, should_close}",
        "SharedTransportConnection.{available, current_client_count, expired, is_ready, should_close}",
        "To be read from `pool.connections`.",
        (
            "pool/test_connection.py::test_a_connection_tells_its_clients_and_its_times",
            "pool/test_connection.py::test_a_connection_expires_by_age_and_by_idleness",
        ),
    ),
    Promise(
        "SharedTransportConnection.{lifetime, time_spent_idle, connection_created_ts, last_idle_start}; NANO_TIME_MULT",
        "SharedTransportConnection.{lifetime, time_spent_idle, opened_at, idle_since}",
        "In seconds, not in nanoseconds.",
        (
            "pool/test_connection.py::test_a_connection_tells_its_clients_and_its_times",
            "pool/test_connection.py::test_a_connection_that_is_opening_has_no_times_yet",
        ),
    ),
    Promise(
        "SharedTransportConnection(client_limit, max_idle_seconds); SharedTransportConnection.max_clients_allowed",
        "SharedTransportConnection(client_limit, max_idle_seconds); SharedTransportConnection.client_limit",
        "Made by the pool.",
        ("pool/test_connection.py::test_a_connection_tells_its_clients_and_its_times",),
    ),
    Promise(
        "SharedTransportConnection(connector, max_lifespan_seconds, creation_semaphore);"
        " SharedTransportConnection.{max_lifespan_ns, max_idle_ns, client_limiter, checkout, create, check_readiness, closeable,"
        " close}; SharedTransportConnection.eq(connection); SharedTransportConnection.checkin(conn);"
        " SharedTransportConnection.acquire(timeout)",
        "",
        "The pool opens, counts and closes it; everyone else reads it.",
        (
            "peers/test_promises.py::test_what_has_no_counterpart_is_not_there",
            "pool/test_connection.py::test_states_follow_one_another_in_order",
        ),
    ),
    Promise(
        "send_time_deco(log, msg)",
        "",
        "Nothing measures time for the log; `pool.stats()` and `/health/pools` tell who waits.",
        (
            "peers/test_promises.py::test_what_has_no_counterpart_is_not_there",
            "pool/test_stats.py::test_totals_count_what_happened",
        ),
    ),
)
