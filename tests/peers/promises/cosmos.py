"""What they promise of Cosmos DB."""

from __future__ import annotations

from tests.peers.promise import Promise

PROMISES = (
    Promise(
        "Cosmos(endpoint, dbname, container_name, credential_factory); Cosmos.{close, get_container_client}",
        "Cosmos(endpoint, dbname, container_name, credential_factory); Cosmos.{close, get_container_client}",
        "The connection is opened, and so proven, at the first use, not at the first request. `credential=` and"
        " `connection_string=` authenticate too.",
        (
            "clients/test_cosmos.py::test_the_basic_client_opens_at_its_first_use_and_keeps_its_connection",
            "clients/test_cosmos_tokens.py::test_the_basic_client_closes_what_it_made",
            "clients/test_cosmos_servers.py::test_a_connection_string_authenticates",
        ),
    ),
    Promise(
        "Cosmos(cosmos_client_ttl_seconds); Cosmos.connection_manager;"
        " ConnectionManager(endpoint, dbname, container_name, credential_factory, lifespan_enabled, cosmos_client_ttl_seconds);"
        " ConnectionManager.{endpoint, db_name, container_name, credential_factory, client_lifespan_seconds, lifespan_enabled,"
        " is_container_closed, should_recycle_container, recycle_container, get_container_client}",
        "",
        "Their `Cosmos` takes the time and does not use it. Here a connection is kept until it breaks, and then replaced;"
        " `ManagedCosmos(max_lifespan_seconds=...)` replaces it by age.",
        (
            "clients/test_cosmos.py::test_the_basic_client_replaces_a_broken_connection",
            "pool/test_replacement.py::test_the_successor_is_ready_before_the_old_one_drains",
        ),
    ),
    Promise(
        "Cosmos.MatchConditions; ManagedCosmos.MatchConditions",
        "Cosmos.MatchConditions; ManagedCosmos.MatchConditions",
        "",
        ("peers/test_cosmos.py::test_match_conditions_are_at_hand_in_a_subclass",),
    ),
    Promise(
        "ManagedCosmos(endpoint, dbname, container_name, credential_factory)",
        "ManagedCosmos(endpoint, dbname, container_name, credential_factory)",
        "The credential is made once for all connections, not once for each. `credential=` takes one that was made, as their"
        " documentation writes and their code refuses, or the account's key; it stays yours to close.",
        (
            "clients/test_cosmos_bad_input.py::test_good_input_is_taken",
            "clients/test_cosmos_tokens.py::test_one_instance_for_all_connections_closed_after_the_last",
            "clients/test_cosmos_tokens.py::test_a_given_credential_is_left_open",
        ),
    ),
    Promise(
        "ManagedCosmos(client_limit, max_size, max_concurrent_creates)",
        "ManagedCosmos(client_limit, max_size, max_concurrent_creates)",
        "By name only. One connection (`min_size=1`) is there before the first request.",
        (
            "clients/test_managed_client.py::test_every_size_reaches_the_pool",
            "clients/test_managed_client.py::test_defaults",
            "peers/test_arguments.py::test_sizes_are_given_by_name",
        ),
    ),
    Promise(
        "ManagedCosmos(max_idle_seconds, max_lifespan_seconds); CLIENT_TTL_SECONDS_DEFAULT; CLIENT_IDLE_SECONDS_DEFAULT",
        "ManagedCosmos(max_idle_seconds, max_lifespan_seconds)",
        "By default 300 s and no end, not 30 s and 60 s: a connection that works is worth keeping, and one that breaks is found.",
        (
            "clients/test_managed_client.py::test_defaults",
            "clients/test_cosmos.py::test_a_dropped_attempt_retires_the_connection_although_the_sdk_recovers",
        ),
    ),
    Promise(
        "ManagedCosmos(pool_connection_create_timeout, pool_get_timeout)",
        "ManagedCosmos(pool_connection_create_timeout, pool_get_timeout)",
        "`pool_get_timeout` is 10 s by default, not 60 s: a request that waits longer has lost its caller.",
        (
            "clients/test_managed_client.py::test_defaults",
            "clients/test_cosmos.py::test_opening_that_takes_too_long_leaves_nothing_open",
        ),
    ),
    Promise(
        "ManagedCosmos.get_container_client; SimpleCosmos(endpoint, dbname, container_name, credential);"
        " SimpleCosmos.{endpoint, credential, db_name, container_name, MatchConditions, get_container_client, close}",
        "ManagedCosmos.get_container_client(timeout)",
        "It gives the SDK's `ContainerProxy`, not a wrapper. A `RuntimeError` of the block does not close the connection that"
        " others are using.",
        (
            "clients/test_cosmos_servers.py::test_an_item_goes_through_its_life",
            "peers/test_cosmos.py::test_an_error_of_the_block_harms_no_connection",
        ),
    ),
    Promise(
        "ManagedCosmos.close; ManagedCosmos.pool",
        "ManagedCosmos.close(drain_seconds); ManagedCosmos.{pool, open}",
        "Closing lets requests finish for 10 s. `open()` fills the pool beforehand; in an application `open_pools` does both.",
        (
            "pool/test_closing.py::test_clients_may_finish_within_drain_seconds",
            "clients/test_cosmos_servers.py::test_closing_and_opening_again",
        ),
    ),
    Promise(
        "ManagedCosmos.create; ManagedCosmos.ready(container)",
        "",
        "A managed client has a connector and is none, so that these need not be overridden by accident. Connections of your own:"
        " `ManagedClient(connector, service=...)`.",
        (
            "clients/test_cosmos.py::test_opening_reads_the_account_and_the_container_and_writes_nothing",
            "clients/test_managed_client.py::test_entering_fills_it_and_leaving_closes_everything",
        ),
    ),
    Promise(
        "ManagedCosmos.pool_kwargs",
        "ManagedCosmos.pool_get_timeout",
        "`client.get()` knows the time by itself.",
        ("clients/test_managed_client.py::test_a_timeout_of_its_own_or_the_client_s",),
    ),
    Promise(
        "ManagedCosmos.{endpoint, dbname, container_name, credential_factory, max_idle_seconds}; Cosmos.container_name",
        "",
        "What a client was given is not readable from it; `client.pool.stats()` tells the sizes.",
        (
            "peers/test_promises.py::test_what_has_no_counterpart_is_not_there",
            "pool/test_stats.py::test_a_new_pool_shows_its_sizes_and_nothing_else",
        ),
    ),
    Promise(
        "PatchOp.{Add, Remove, Replace, Set, Incr, Move}; PatchOp; PatchOp.as_op(path, value); Operation(op, path, value);"
        " Operation.{op, path, value, as_op}",
        "",
        '`patch_item` takes the dictionaries that these make: `{"op": "set", "path": "/total", "value": 12}`.',
        ("peers/test_cosmos.py::test_the_patch_operations_of_their_documentation",),
    ),
)
