"""What they promise of Service Bus."""

from __future__ import annotations

from tests.peers.promise import Promise

PROMISES = (
    Promise(
        "AzureServiceBus(service_bus_namespace_url, service_bus_queue_name, credential_factory, connection_string);"
        " AzureServiceBus.close",
        "AzureServiceBus(service_bus_namespace_url, service_bus_queue_name, credential_factory, connection_string);"
        " AzureServiceBus.close",
        "Safe to share between tasks. The entity may be a topic.",
        (
            "clients/test_amqp_life.py::test_a_basic_client_opens_at_its_first_use_once_for_all",
            "clients/test_servicebus_receiving.py::test_a_topic_and_its_subscription",
        ),
    ),
    Promise(
        "AzureServiceBus(socket_timeout)",
        "AzureServiceBus(socket_timeout)",
        "By default the SDK's own 0.2 s, not 1 s: links are opened without idle waits anyway.",
        ("clients/test_amqp_opening.py::test_opening_takes_no_naps",),
    ),
    Promise(
        "AzureServiceBus.send_message(msg, delay, unique_msg_id, **msg_kwargs);"
        " ManagedAzureServiceBusSender.send_message(msg, delay, unique_msg_id, **msg_kwargs)",
        "AzureServiceBus.send_message(msg, delay, unique_msg_id, **msg_kwargs);"
        " ManagedAzureServiceBusSender.send_message(msg, delay, unique_msg_id, **msg_kwargs)",
        "Without a delay the message is sent, together with those of other callers, and the list of sequence numbers is empty;"
        " theirs schedules every message by a request of its own. With a delay both clients return the numbers. An argument that"
        " the SDK does not know raises `TypeError`, where theirs is dropped. An error is a `SendError` that is also of the SDK's"
        " type.",
        (
            "clients/test_servicebus.py::test_every_way_to_send",
            "clients/test_servicebus.py::test_a_thousand_messages_need_few_transfers",
            "clients/test_servicebus.py::test_a_delay_schedules",
            "clients/test_servicebus.py::test_an_argument_that_the_sdk_does_not_know",
            "clients/test_amqp_faults.py::test_a_rejection_is_told_and_retires_nothing",
        ),
    ),
    Promise(
        "AzureServiceBus.get_receiver; ManagedAzureServiceBusSender.get_receiver",
        "AzureServiceBus.get_receiver(subscription_name, **options);"
        " ManagedAzureServiceBusSender.get_receiver(subscription_name, **options)",
        "Each call makes a receiver, which is its caller's to close (`async with`) before the client. Sessions, other receive modes"
        " and subscriptions besides.",
        (
            "clients/test_servicebus_receiving.py::test_a_receiver_locks_and_settles",
            "clients/test_servicebus_receiving.py::test_receivers_are_no_part_of_the_pool",
        ),
    ),
    Promise(
        "AzureServiceBus.get_sender; ManagedAzureServiceBusSender.get_sender; SendClientCloseWrapper(sender, credential);"
        " SendClientCloseWrapper.close",
        "ManagedAzureServiceBusSender.get(timeout); AzureServiceBus.{send_messages, schedule_messages, cancel_scheduled_messages}",
        "The SDK's sender is not to be had: used beside the task that owns it, it would break what others send. What a checkout"
        " gives has its methods and is safe to share.",
        (
            "clients/test_servicebus.py::test_what_a_checkout_gives_is_shared",
            "clients/test_servicebus.py::test_scheduling_together",
        ),
    ),
    Promise(
        "ManagedAzureServiceBusSender(service_bus_namespace_url, service_bus_queue_name, credential_factory, connection_string)",
        "ManagedAzureServiceBusSender(service_bus_namespace_url, service_bus_queue_name, credential_factory, connection_string)",
        "The credential is made once for all connections. `credential=` takes one that was made. The names in their documentation,"
        " `service_bus_namespace` and `queue_name`, are those of neither library: the error names the right one.",
        (
            "clients/test_amqp_bad_input.py::test_what_is_taken",
            "clients/test_amqp_tokens.py::test_a_credential_is_made_once_and_closed_last",
            "peers/test_snippets.py::test_the_service_bus_snippet_s_arguments_are_told",
        ),
    ),
    Promise(
        "ManagedAzureServiceBusSender(client_limit, max_size, max_idle_seconds, max_lifespan_seconds, max_concurrent_creates);"
        " SERVICE_BUS_SEND_TTL_SECONDS",
        "ManagedAzureServiceBusSender(client_limit, max_size, max_idle_seconds, max_lifespan_seconds, max_concurrent_creates)",
        "By name only. `max_size` is 4 by default, not 10; `max_idle_seconds` is 200 in both.",
        (
            "clients/test_amqp_life.py::test_sizes_by_default",
            "clients/test_managed_client.py::test_every_size_reaches_the_pool",
            "peers/test_arguments.py::test_sizes_are_given_by_name",
        ),
    ),
    Promise(
        "ManagedAzureServiceBusSender(pool_connection_create_timeout, pool_get_timeout)",
        "ManagedAzureServiceBusSender(pool_connection_create_timeout, pool_get_timeout)",
        "`pool_get_timeout` is 10 s by default, not 60 s.",
        (
            "clients/test_amqp_opening.py::test_an_opening_that_stalls_is_given_up_in_time",
            "clients/test_managed_client.py::test_defaults",
        ),
    ),
    Promise(
        "ManagedAzureServiceBusSender(send_timeout_seconds, send_attempts); SERVICE_BUS_SEND_TIMEOUT_SECONDS",
        "ManagedAzureServiceBusSender(send_timeout_seconds, send_attempts)",
        "The defaults are theirs, 10 s and one attempt. What was certainly not stored is tried again in any case.",
        (
            "clients/test_amqp_faults.py::test_more_attempts_for_what_nobody_knows",
            "clients/test_amqp_faults.py::test_what_was_certainly_not_stored_is_sent_again",
            "clients/test_amqp_bad_input.py::test_what_a_managed_client_refuses",
        ),
    ),
    Promise(
        "ManagedAzureServiceBusSender(ready_message)",
        "ManagedAzureServiceBusSender(ready_message)",
        'By default nothing is sent: opening the link proves the connection. Theirs puts "Connection established" into the queue'
        " each time, for the receivers to find.",
        (
            "clients/test_servicebus.py::test_opening_attaches_the_link_and_sends_nothing",
            "clients/test_amqp_opening.py::test_a_ready_message_is_sent_once_over_each_connection",
        ),
    ),
    Promise(
        "ManagedAzureServiceBusSender.{close, pool}",
        "ManagedAzureServiceBusSender.close(drain_seconds); ManagedAzureServiceBusSender.{pool, open}",
        "As with Cosmos DB; receivers are closed by those who made them.",
        ("clients/test_amqp_life.py::test_opening_again_after_closing",),
    ),
    Promise(
        "ManagedAzureServiceBusSender.create; ManagedAzureServiceBusSender.ready(conn)",
        "",
        "As with Cosmos DB: a managed client has a connector and is none.",
        ("clients/test_servicebus.py::test_opening_attaches_the_link_and_sends_nothing",),
    ),
    Promise(
        "ManagedAzureServiceBusSender.pool_kwargs",
        "ManagedAzureServiceBusSender.pool_get_timeout",
        "`client.get()` knows the time by itself.",
        ("clients/test_managed_client.py::test_a_timeout_of_its_own_or_the_client_s",),
    ),
    Promise(
        "ManagedAzureServiceBusSender.{service_bus_namespace_url, service_bus_queue_name, connection_string, credential_factory,"
        " ready_message, send_timeout_seconds, send_attempts}; AzureServiceBus.{namespace_url, queue_name, connection_string,"
        " credential_factory}",
        "",
        "What a client was given is not readable from it, secrets least of all.",
        (
            "peers/test_promises.py::test_what_has_no_counterpart_is_not_there",
            "secrets/test_services.py::test_nothing_shows_while_all_goes_well",
        ),
    ),
)
