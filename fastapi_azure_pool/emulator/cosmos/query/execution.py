"""Runs a compiled query over the items of one or several partitions, one page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any

from fastapi_azure_pool.emulator.cosmos.errors import bad_request
from fastapi_azure_pool.emulator.cosmos.items import StoredItem, dump_json
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.compiler import CompiledQuery, Parameters, row_limits
from fastapi_azure_pool.emulator.cosmos.query.continuation import Position
from fastapi_azure_pool.emulator.cosmos.query.syntax import SelectAll
from fastapi_azure_pool.emulator.cosmos.query.values import sort_key

# "Azure Cosmos DB service quotas": maximum response size of one page.
_MAX_PAGE_BYTES = 4 * 1024 * 1024

# What one partition has to scan, oldest item first.
Source = Callable[[], Iterable[StoredItem]]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of results, each as JSON; ``next_position`` is None after the last page."""

    rows: list[bytes]
    source: int
    next_position: Position | None


def run_page(
    query: CompiledQuery, parameters: Parameters, sources: Sequence[Source], *, max_items: int, position: Position
) -> Page:
    """Return the page that begins at a position; it holds results of one source only, and may be empty.

    Args:
        query: The compiled query.
        parameters: Values by name, the names with their @.
        sources: One per physical partition; ORDER BY, aggregates and LIMIT hold within each, not across them.
        max_items: How many results the page has at most, at least 1.
        position: START, or where the previous page ended.

    Raises:
        CosmosError: 400, the parameters do not fit the query.
    """
    if position.source >= len(sources):
        return Page([], len(sources) - 1, None)
    try:
        rows, next_position = _run_source(query, parameters, sources[position.source](), max_items, position)
    except RecursionError as error:
        raise bad_request("The query is nested too deeply.") from error
    if next_position is None and position.source + 1 < len(sources):
        next_position = Position(source=position.source + 1)
    return Page(rows, position.source, next_position)


def _run_source(
    query: CompiledQuery, parameters: Parameters, items: Iterable[StoredItem], max_items: int, position: Position
) -> tuple[list[bytes], Position | None]:
    accepts = query.accepts
    matching = (item for item in items if accepts(item.document, parameters) is True)
    if query.aggregates:
        return _aggregate(query, parameters, matching), None
    if query.sort_values:
        remaining = _sorted_after(query, parameters, matching, position)
    else:
        remaining = ((item, None) for item in matching if item.sequence > position.sequence)
    return _take(query, parameters, remaining, max_items, position)


def _take(
    query: CompiledQuery,
    parameters: Parameters,
    remaining: Iterator[tuple[StoredItem, tuple[Any, ...] | None]],
    max_items: int,
    position: Position,
) -> tuple[list[bytes], Position | None]:
    skip, limit = row_limits(query.syntax, parameters)
    end = None if limit is None else skip + limit
    is_whole_item = isinstance(query.syntax.selection, SelectAll)
    rows: list[bytes] = []
    size = 0
    source, sequence, matched, last_values = position.source, position.sequence, position.matched, position.sort_values
    for item, values in remaining:
        if end is not None and matched >= end:
            return rows, None
        if len(rows) >= max_items or size > _MAX_PAGE_BYTES:
            return rows, Position(source, sequence, matched, last_values)
        sequence, last_values = item.sequence, values
        matched += 1
        if matched <= skip:
            continue
        row = item.body if is_whole_item else _project(query, parameters, item)
        if row is not None:
            rows.append(row)
            size += len(row)
    return rows, None


def _project(query: CompiledQuery, parameters: Parameters, item: StoredItem) -> bytes | None:
    value = query.project(item.document, parameters)
    return None if value is UNDEFINED else dump_json(value)


def _aggregate(query: CompiledQuery, parameters: Parameters, matching: Iterable[StoredItem]) -> list[bytes]:
    counts = dict.fromkeys((aggregate.key for aggregate in query.aggregates), 0)
    for item in matching:
        for aggregate in query.aggregates:
            if aggregate.operand(item.document, parameters) is not UNDEFINED:
                counts[aggregate.key] += 1
    value = query.project(UNDEFINED, {**parameters, **counts})
    return [] if value is UNDEFINED else [dump_json(value)]


def _sorted_after(
    query: CompiledQuery, parameters: Parameters, matching: Iterable[StoredItem], position: Position
) -> Iterator[tuple[StoredItem, tuple[Any, ...] | None]]:
    descending = [item.is_descending for item in query.syntax.order_by]

    def compare(one: tuple[int, tuple[Any, ...]], other: tuple[int, tuple[Any, ...]]) -> int:
        for left, right, is_descending in zip(one[1], other[1], descending, strict=True):
            left_key, right_key = sort_key(left), sort_key(right)
            if left_key != right_key:
                return 1 if (left_key > right_key) is not is_descending else -1
        return (one[0] > other[0]) - (one[0] < other[0])

    found = [
        (item, (item.sequence, tuple(evaluate(item.document, parameters) for evaluate in query.sort_values)))
        for item in matching
    ]
    order = cmp_to_key(compare)
    found.sort(key=lambda pair: order(pair[1]))
    if position.sort_values is not None:
        last = (position.sequence, position.sort_values)
        found = [pair for pair in found if compare(pair[1], last) > 0]
    elif position.matched:
        found = found[position.matched :]
    return ((item, place[1]) for item, place in found)
