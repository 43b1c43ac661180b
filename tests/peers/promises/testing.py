"""What they promise for tests."""

from __future__ import annotations

from tests.peers.promise import Promise

_EMULATOR = "testing.plugin.azure_emulator"

PROMISES = (
    Promise(
        "{async_cosmos, cosmos_client_mock, cosmos_queryable, cosmos_insertable, cosmos_updatable, cosmos_deletable,"
        " cosmos_readable, cosmos_patchable, cosmos_upsertable}",
        f"{_EMULATOR}; testing.FakeManagedClient(connection, error)",
        "The emulator stores, so that a query finds what was written. Where a test wants a result of its own, a fake's"
        " `connection.create_item.return_value` says it. Nothing is patched, and no fixture is in effect unasked.",
        (
            "peers/test_testing.py::test_their_test_with_the_emulator_and_with_a_fake",
            "testing/test_fakes.py::test_results_and_errors_are_what_the_test_says",
        ),
    ),
    Promise(
        "{mock_azureblob, mocksas, absc, mockehub, mockegrid, mockservicebus, sbus, managed_sbus}",
        f"{_EMULATOR}; testing.FakeManagedClient",
        "`azure_emulator` has all five services, and what they received can be read: `received_events`, `queue_messages`, `blobs`,"
        " `eventgrid_events`. There are fakes for every service.",
        (
            "testing/test_wheel.py::test_a_project_outside_the_tree_tests_itself_with_the_installed_wheel",
            "testing/test_fakes.py::test_there_are_fakes_for_every_service",
        ),
    ),
    Promise(
        "monkeysession; make_async_ctx_mgr(mock_thing); AsyncIterImplementation(*args, **kwargs);"
        " AsyncIterImplementation.{args, kwargs, return_value, side_effect}",
        "",
        "Tools of their fixtures. The fakes are mocks of the standard library, with the real client's signatures.",
        (
            "peers/test_promises.py::test_what_has_no_counterpart_is_not_there",
            "testing/test_fakes.py::test_a_fake_has_the_signatures_of_the_client_and_of_what_it_lends",
        ),
    ),
)
