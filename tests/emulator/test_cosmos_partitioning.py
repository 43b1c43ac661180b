"""Where items lie in the hash space, checked against the SDK's own computation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.cosmos import PartitionKey as SdkPartitionKey
from azure.cosmos.partition_key import _Undefined
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError
from fastapi_azure_pool.emulator.cosmos.partitioning import (
    UNDEFINED,
    PartitionKeyDefinition,
    effective_partition_key,
    split_evenly,
)

if TYPE_CHECKING:
    from azure.cosmos.aio import CosmosClient

    from fastapi_azure_pool.emulator import Emulator

# a busy machine is no failure
no_deadline = settings(deadline=None)

SINGLE = PartitionKeyDefinition.parse({"paths": ["/key"]})
values = (
    st.text(max_size=40).filter(lambda text: text.isprintable())
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)  # no -0.0
    | st.integers(-(2**53), 2**53)
    | st.booleans()
    | st.none()
)


@no_deadline
@given(values)
def test_hash_is_the_sdks(value: Any) -> None:
    """A key hashes to the place that the SDK computes for it, whatever its type and length."""
    key = SINGLE.extract({"key": value})
    expected = SdkPartitionKey("/key")._get_effective_partition_key_string([value])
    assert effective_partition_key(key) == expected


def test_undefined_hashes_as_the_sdk_says() -> None:
    """A missing key has a place of its own, the one that the SDK computes."""
    expected = SdkPartitionKey("/key")._get_effective_partition_key_string([_Undefined()])
    assert effective_partition_key((UNDEFINED,)) == expected
    assert effective_partition_key((None,)) != expected


@no_deadline
@given(st.lists(values, min_size=1, max_size=3))
def test_hierarchical_hash_is_the_sdks(components: list[Any]) -> None:
    """A hierarchical key, or its beginning, hashes to the SDK's place, component by component."""
    names = [f"level{number}" for number in range(len(components))]
    paths = [f"/{name}" for name in names]
    definition = PartitionKeyDefinition.parse({"paths": paths, "kind": "MultiHash"})
    key = definition.extract(dict(zip(names, components, strict=True)))
    expected = SdkPartitionKey(paths)._get_effective_partition_key_string(components)
    assert effective_partition_key(key, is_hierarchical=True) == expected


@no_deadline
@given(st.integers(1, 100), values)
def test_every_place_is_in_one_range(count: int, value: Any) -> None:
    """However many partitions there are, each key lies in exactly one."""
    place = effective_partition_key(SINGLE.extract({"key": value}))
    assert sum(one.holds(place) for one in split_evenly(count)) == 1


def test_keys_spread_over_the_partitions() -> None:
    """A thousand keys fill eight partitions about evenly."""
    ranges = split_evenly(8)
    counts = [0] * 8
    for number in range(1000):
        place = effective_partition_key((f"customer-{number}",))
        counts[next(index for index, one in enumerate(ranges) if one.holds(place))] += 1
    assert min(counts) > 90
    assert max(counts) < 165


def test_equal_numbers_are_one_key_and_a_boolean_is_another() -> None:
    """1 and 1.0 are the same key, True is not."""
    assert SINGLE.extract({"key": 1}) == SINGLE.extract({"key": 1.0})
    assert SINGLE.extract({"key": 1}) != SINGLE.extract({"key": True})
    (zero,), (negative,) = SINGLE.extract({"key": 0}), SINGLE.extract({"key": -0.0})
    assert repr(zero) == repr(negative)


@pytest.mark.parametrize("value", [[], {}, {"a": 1}, [1], 10**400])
def test_other_values_are_no_keys(value: object) -> None:
    """An object, an array or a number beyond range cannot be a partition key."""
    with pytest.raises(CosmosError, match="partition key"):
        SINGLE.extract({"key": value})


@pytest.mark.parametrize(
    "header",
    [
        "",
        "ada",
        '"ada"',
        "{",
        "[1, 2]",
        "[NaN]",
        "[-Infinity]",
        "[1e999]",
        "[" * 10_000,
        '[["ada"]]',
        '[{"a": 1}]',
        "7",
    ],
)
def test_malformed_headers_are_refused(header: str) -> None:
    """A header that is no list of components gets 400."""
    with pytest.raises(CosmosError) as caught:
        SINGLE.parse_header(header)
    assert caught.value.status == 400


async def test_feed_ranges_of_the_sdk_split_a_query(azure: Emulator, client: CosmosClient) -> None:
    """A query over each of the SDK's feed ranges finds each item once; one over a key's feed range finds its items."""
    await azure.create_cosmos_container("shop", "wide", partition_key="/key", partitions=4)
    wide = client.get_database_client("shop").get_container_client("wide")
    for number in range(40):
        await wide.create_item({"id": str(number), "key": f"k{number}"})
    found: list[str] = []
    async for feed_range in wide.read_feed_ranges():
        page = [item["id"] async for item in wide.query_items("SELECT * FROM c", feed_range=feed_range)]
        assert 0 < len(page) < 40
        found += page
    assert sorted(found, key=int) == [str(number) for number in range(40)]
