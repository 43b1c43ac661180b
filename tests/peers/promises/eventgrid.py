"""What they promise of Event Grid."""

from __future__ import annotations

from tests.peers.promise import Promise

PROMISES = (
    Promise(
        "EventGridTopicConfig(name, url); EventGridTopicConfig.{name, url}",
        "EventGridTopicConfig(name, url, schema, source); EventGridTopicConfig.{name, url}",
        "Frozen and checked. A topic may take CloudEvents.",
        (
            "clients/test_eventgrid_bad_input.py::test_a_malformed_topic",
            "clients/test_eventgrid.py::test_an_event_in_the_cloud_events_schema",
        ),
    ),
    Promise(
        "EventGridConfig(topic_configs); EventGridConfig.{topic_configs, topics}; EventGridConfig.{config, url}(topic)",
        "EventGridConfig(topic_configs); EventGridConfig.{topic_configs, topics}; EventGridConfig.{config, url}(topic)",
        "None at all, or two of one name, raise `ValueError`; theirs keeps the last. The `KeyError` of an unknown topic lists those"
        " that there are.",
        (
            "clients/test_eventgrid_bad_input.py::test_topics_by_name",
            "clients/test_eventgrid_bad_input.py::test_malformed_configurations",
        ),
    ),
    Promise(
        "EventGridClient(config, credential, async_credential); EventGridClient.{config, credential, async_credential}",
        "EventGridClient(config, credential, async_credential); EventGridClient.{config, credential, async_credential, close,"
        " aclose}",
        "Keys and signatures authenticate too; a sync credential in the place of an async one, or the other way round, raises"
        " `TypeError`. It can be closed. `ManagedEventGridPublisher` is its like over a pool.",
        (
            "clients/test_eventgrid_client.py::test_an_async_client_publishes_to_every_topic",
            "clients/test_eventgrid_client.py::test_a_sync_client_publishes_to_every_topic",
            "clients/test_eventgrid_bad_input.py::test_bad_input_of_the_basic_client",
            "clients/test_eventgrid.py::test_many_at_once_share_one_connection",
        ),
    ),
    Promise(
        "EventGridClient.{get_client, get_async_client}(topic); EventGridClient.{clients, async_clients, is_sync}",
        "EventGridClient.{get_client, get_async_client}(topic); EventGridClient.is_sync",
        "The client of the other kind raises `RuntimeError` that names the right method, not `AttributeError`. The clients of all"
        " topics share one connection pool and are not to be had as a dictionary.",
        (
            "clients/test_eventgrid_client.py::test_each_kind_names_the_other_s_way",
            "clients/test_eventgrid_tokens.py::test_one_token_for_all_topics_and_connections",
        ),
    ),
    Promise(
        "EventGridClient.{emit_event, async_emit_event}(topic, event_type, subject, data, data_version, **kwargs)",
        "EventGridClient.{emit_event, async_emit_event}(topic, event_type, subject, data, data_version, **kwargs)",
        "The event is in the topic's schema.",
        (
            "clients/test_eventgrid_client.py::test_an_async_client_publishes_to_every_topic",
            "clients/test_eventgrid_client.py::test_a_sync_client_publishes_to_every_topic",
            "clients/test_eventgrid_client.py::test_a_refusal_is_the_sdk_s_error",
        ),
    ),
)
