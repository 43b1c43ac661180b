"""Which orders a container's indexing policy can serve.

Source: "Indexing policies in Azure Cosmos DB", composite indexes: ORDER BY with several properties needs one with the same
properties in the same order, each in the direction asked for or each in the opposite one.
"""

from __future__ import annotations

from fastapi_azure_pool.emulator.cosmos.errors import bad_request
from fastapi_azure_pool.emulator.cosmos.query.syntax import Expression, Member, SortItem

# The paths of one index and whether each is descending.
CompositeIndex = tuple[tuple[str, bool], ...]


def parse_composite_indexes(indexing_policy: object) -> list[CompositeIndex]:
    """Return the composite indexes that a container's ``indexingPolicy`` spells.

    Raises:
        CosmosError: 400, it is malformed.
    """
    if not isinstance(indexing_policy, dict):
        raise bad_request("The indexing policy must be an object.")
    listed = indexing_policy.get("compositeIndexes", [])
    if not isinstance(listed, list) or not all(isinstance(index, list) for index in listed):
        raise bad_request("The indexing policy's compositeIndexes must be a list of lists.")
    return [tuple(map(_parse_part, index)) for index in listed]


def check_order_by(order_by: tuple[SortItem, ...], composite_indexes: list[CompositeIndex]) -> None:
    """Return if the order can be served.

    Raises:
        CosmosError: 400, there is no composite index for it.
    """
    if len(order_by) < 2:
        return
    wanted = tuple((_path(item.expression), item.is_descending) for item in order_by)
    opposite = tuple((path, not is_descending) for path, is_descending in wanted)
    if wanted not in composite_indexes and opposite not in composite_indexes:
        raise bad_request(
            "The order by query does not have a corresponding composite index that it can be served from."
        )


def _parse_part(part: object) -> tuple[str, bool]:
    path = part.get("path") if isinstance(part, dict) else None
    if not isinstance(path, str) or not isinstance(part, dict):
        raise bad_request("A composite index's part must be an object with a path.")
    order = part.get("order", "ascending")
    if order not in ("ascending", "descending"):  # a set would ask for its hash, which a list has not
        raise bad_request(f"A composite index's order must be ascending or descending, not {order}.")
    return path.replace('"', ""), order == "descending"


def _path(expression: Expression) -> str:
    names: list[str] = []
    while isinstance(expression, Member):
        names.append(expression.key if isinstance(expression.key, str) else "[]")
        expression = expression.base
    return "/" + "/".join(reversed(names))
