"""Which orders a container's indexing policy can serve.

Source: "Indexing policies in Azure Cosmos DB", composite indexes: ORDER BY with several properties needs one with the same
properties in the same order, each in the direction asked for or each in the opposite one.
"""

from __future__ import annotations

from typing import Any

from fastapi_azure_pool.emulator.cosmos.errors import bad_request
from fastapi_azure_pool.emulator.cosmos.query.syntax import Expression, Member, SortItem


def check_order_by(order_by: tuple[SortItem, ...], indexing_policy: dict[str, Any]) -> None:
    """Return if the order can be served.

    Raises:
        CosmosError: 400, there is no composite index for it.
    """
    if len(order_by) < 2:
        return
    wanted = [(_path(item.expression), item.is_descending) for item in order_by]
    opposite = [(path, not is_descending) for path, is_descending in wanted]
    for index in indexing_policy.get("compositeIndexes", ()):
        served = [(part.get("path", "").replace('"', ""), part.get("order") == "descending") for part in index]
        if served in (wanted, opposite):
            return
    raise bad_request("The order by query does not have a corresponding composite index that it can be served from.")


def _path(expression: Expression) -> str:
    names: list[str] = []
    while isinstance(expression, Member):
        names.append("[]" if isinstance(expression.key, int) else str(expression.key))
        expression = expression.base
    return "/" + "/".join(reversed(names))
