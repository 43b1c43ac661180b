"""What they promise of Event Hubs."""

from __future__ import annotations

from tests.peers.promise import Promise

PROMISES = (
    Promise(
        "Eventhub(eventhub_namespace, eventhub_name, connection_string); Eventhub.close",
        "Eventhub(eventhub_namespace, eventhub_name, connection_string); Eventhub.close",
        "Safe to share between tasks: one task sends for all of them.",
        (
            "clients/test_amqp_life.py::test_a_basic_client_opens_at_its_first_use_once_for_all",
            "clients/test_amqp_life.py::test_a_client_serves_one_loop_after_another",
        ),
    ),
    Promise(
        "Eventhub(credential)",
        "Eventhub(credential, credential_factory)",
        "Also in the third place. A credential that was given stays yours to close; theirs is closed with the client.",
        (
            "clients/test_amqp_bad_input.py::test_a_basic_eventhub_takes_a_credential_in_the_place_of_its_factory",
            "clients/test_amqp_tokens.py::test_a_given_credential_stays_its_owner_s",
        ),
    ),
    Promise(
        "Eventhub(eventhub_transport_type); ManagedAzureEventhubProducer(eventhub_transport_type)",
        "Eventhub(eventhub_transport_type); ManagedAzureEventhubProducer(eventhub_transport_type)",
        "Anything but a `TransportType` or None raises `ValueError`; theirs warns and goes on with the default.",
        ("clients/test_amqp_bad_input.py::test_what_event_hubs_refuses_besides",),
    ),
    Promise(
        "Eventhub.{send_event, send_event_data}(event, partition_key);"
        " ManagedAzureEventhubProducer.{send_event, send_event_data}(event, partition_key)",
        "Eventhub.{send_event, send_event_data}(event, partition_key, partition_id);"
        " ManagedAzureEventhubProducer.{send_event, send_event_data}(event, partition_key, partition_id)",
        "They return nothing: events that are sent at the same time share a batch, which is nobody's own. An error is a `SendError`"
        " that is also of the SDK's type, and its `maybe_delivered` says whether the event may have been stored.",
        (
            "clients/test_eventhub.py::test_every_way_to_send",
            "clients/test_eventhub.py::test_a_thousand_events_need_few_transfers",
            "clients/test_amqp_faults.py::test_a_rejection_is_told_and_retires_nothing",
            "pool/test_errors.py::test_a_send_error_can_be_the_sdk_s_too",
        ),
    ),
    Promise(
        "Eventhub.send_events_batch(events_list, partition_key);"
        " ManagedAzureEventhubProducer.send_events_batch(events_list, partition_key)",
        "Eventhub.send_events_batch(events_list, partition_key);"
        " ManagedAzureEventhubProducer.send_events_batch(events_list, partition_key)",
        "What does not fit raises `MessageTooLarge`, a `ValueError` as theirs, that says which event it was. An empty list raises"
        " `ValueError`.",
        (
            "clients/test_eventhub.py::test_every_way_to_send",
            "clients/test_eventhub.py::test_a_list_that_does_not_fit_is_not_sent_at_all",
            "clients/test_amqp_bad_input.py::test_events_that_cannot_be_sent",
        ),
    ),
    Promise(
        "Eventhub.send_events_data_batch(event_data_batch); ManagedAzureEventhubProducer.send_events_data_batch(event_data_batch)",
        "Eventhub.send_events_data_batch(event_data_batch); ManagedAzureEventhubProducer.send_events_data_batch(event_data_batch)",
        "",
        ("clients/test_eventhub.py::test_every_way_to_send",),
    ),
    Promise(
        "Eventhub.{get_client, client, client_kwargs}",
        "Eventhub.create_batch",
        "The SDK's producer is not to be had: used beside the task that owns it, it would break what others send.",
        (
            "clients/test_eventhub.py::test_a_pooled_connection_is_an_eventhub",
            "clients/test_eventhub.py::test_a_batch_may_be_smaller",
        ),
    ),
    Promise(
        "ManagedAzureEventhubProducer(eventhub_namespace, eventhub_name, credential_factory, connection_string)",
        "ManagedAzureEventhubProducer(eventhub_namespace, eventhub_name, credential_factory, connection_string)",
        "The credential is made once for all connections. `credential=` takes one that was made, as their documentation writes and"
        " their code refuses; named keys and signatures too.",
        (
            "clients/test_amqp_bad_input.py::test_what_is_taken",
            "clients/test_amqp_tokens.py::test_a_credential_is_made_once_and_closed_last",
            "clients/test_amqp_tokens.py::test_keys_and_signatures",
        ),
    ),
    Promise(
        "ManagedAzureEventhubProducer(client_limit, max_size, max_idle_seconds, max_lifespan_seconds, max_concurrent_creates);"
        " EVENTHUB_SEND_TTL_SECONDS",
        "ManagedAzureEventhubProducer(client_limit, max_size, max_idle_seconds, max_lifespan_seconds, max_concurrent_creates)",
        "By name only. `max_size` is 4 by default, not 10: what is joined needs few connections. `max_idle_seconds` is 220 in"
        " both.",
        (
            "clients/test_amqp_life.py::test_sizes_by_default",
            "clients/test_managed_client.py::test_every_size_reaches_the_pool",
            "peers/test_arguments.py::test_sizes_are_given_by_name",
        ),
    ),
    Promise(
        "ManagedAzureEventhubProducer(pool_connection_create_timeout, pool_get_timeout)",
        "ManagedAzureEventhubProducer(pool_connection_create_timeout, pool_get_timeout, send_timeout_seconds)",
        "`pool_get_timeout` is 10 s by default, not 60 s. Sending has a time-out too.",
        (
            "clients/test_amqp_opening.py::test_an_opening_that_stalls_is_given_up_in_time",
            "clients/test_managed_client.py::test_defaults",
        ),
    ),
    Promise(
        "ManagedAzureEventhubProducer(ready_message)",
        "ManagedAzureEventhubProducer(ready_message)",
        'By default nothing is sent: opening the link proves the connection. Theirs stores "Connection established" in the hub each'
        " time.",
        (
            "clients/test_eventhub.py::test_opening_attaches_the_link_and_sends_nothing",
            "clients/test_amqp_opening.py::test_a_ready_message_is_sent_once_over_each_connection",
        ),
    ),
    Promise(
        "ManagedAzureEventhubProducer.{close, pool}",
        "ManagedAzureEventhubProducer.close(drain_seconds); ManagedAzureEventhubProducer.{pool, open}",
        "As with Cosmos DB.",
        ("clients/test_amqp_life.py::test_opening_again_after_closing",),
    ),
    Promise(
        "ManagedAzureEventhubProducer.create; ManagedAzureEventhubProducer.ready(conn)",
        "",
        "As with Cosmos DB: a managed client has a connector and is none.",
        ("clients/test_eventhub.py::test_opening_attaches_the_link_and_sends_nothing",),
    ),
    Promise(
        "ManagedAzureEventhubProducer.pool_kwargs",
        "ManagedAzureEventhubProducer.pool_get_timeout",
        "`client.get()` knows the time by itself.",
        ("clients/test_managed_client.py::test_a_timeout_of_its_own_or_the_client_s",),
    ),
    Promise(
        "ManagedAzureEventhubProducer.{eventhub_namespace, eventhub_name, eventhub_transport_type, connection_string,"
        " credential_factory, ready_message}; Eventhub.{evhub_namespace, evhub_name, credential, connection_string,"
        " transport_type}",
        "",
        "What a client was given is not readable from it, secrets least of all.",
        (
            "peers/test_promises.py::test_what_has_no_counterpart_is_not_there",
            "secrets/test_services.py::test_nothing_shows_while_all_goes_well",
        ),
    ),
)
