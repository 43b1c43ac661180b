"""Runs a compiled query over the items of one or several partitions, one page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError
from fastapi_azure_pool.emulator.cosmos.items import StoredItem, dump_json
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.compiler import NOW, CompiledQuery
from fastapi_azure_pool.emulator.cosmos.query.continuation import Position
from fastapi_azure_pool.emulator.cosmos.query.functions.dates import now_in_ticks
from fastapi_azure_pool.emulator.cosmos.query.limits import row_limits
from fastapi_azure_pool.emulator.cosmos.query.refusals import not_finite, too_deep
from fastapi_azure_pool.emulator.cosmos.query.values import sort_key

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.cosmos.query.expressions import Parameters, Row

# "Azure Cosmos DB service quotas": maximum response size of one page.
_MAX_PAGE_BYTES = 4 * 1024 * 1024

# What one partition has to scan, oldest item first.
Source = Callable[[], Iterable[StoredItem]]

# Where ORDER BY puts a row: by its values, and among equal ones by its item and which of the item's rows it is.
_Place = tuple[tuple[Any, ...], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of results, each as JSON; ``next_position`` is None after the last page."""

    rows: list[bytes]
    source: int
    next_position: Position | None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A row that the condition accepts, which of its item's rows it is, and what ORDER BY sorts it by."""

    item: StoredItem
    ordinal: int
    row: Row
    sort_values: tuple[Any, ...] | None = None

    @property
    def place(self) -> tuple[int, int]:
        return self.item.sequence, self.ordinal


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
        CosmosError: 400, the parameters do not fit the query, or a result is no number that JSON has.
    """
    if position.source >= len(sources):
        return Page([], len(sources) - 1, None)
    parameters = {**parameters, NOW: now_in_ticks()}
    block = query.block
    try:
        if not query.syntax.sources:
            # a query of no container has one row, wherever it is asked
            results = block.results(block.rows((UNDEFINED,), parameters), parameters)
            rows, next_position = _cut(results, query, parameters, max_items, position)
            return Page(rows, position.source, next_position)
        candidates = _candidates(query, parameters, sources[position.source](), position)
        if block.is_grouped or block.is_distinct:
            results = block.results((candidate.row for candidate in candidates), parameters)
            rows, next_position = _cut(results, query, parameters, max_items, position)
        else:
            rows, next_position = _take(query, parameters, candidates, max_items, position)
    except RecursionError as error:
        raise too_deep() from error
    if next_position is None and position.source + 1 < len(sources):
        next_position = Position(source=position.source + 1)
    return Page(rows, position.source, next_position)


def _cut(
    results: Iterator[Any], query: CompiledQuery, parameters: Parameters, max_items: int, position: Position
) -> tuple[list[bytes], Position | None]:
    """Return a page of results that can only be made from all rows; it is found again by counting."""
    skip, limit = row_limits(query.syntax, parameters)
    wanted = list(results)[skip:][:limit]
    end = position.matched + max_items
    rows = [_dump(value) for value in wanted[position.matched : end]]
    return rows, Position(position.source, matched=end) if end < len(wanted) else None


def _take(
    query: CompiledQuery,
    parameters: Parameters,
    candidates: Iterator[_Candidate],
    max_items: int,
    position: Position,
) -> tuple[list[bytes], Position | None]:
    skip, limit = row_limits(query.syntax, parameters)
    end = None if limit is None else skip + limit
    project = query.block.project
    rows: list[bytes] = []
    size = 0
    last = position
    for candidate in candidates:
        if end is not None and last.matched >= end:
            return rows, None
        if len(rows) >= max_items or size > _MAX_PAGE_BYTES:
            return rows, last
        sequence, ordinal = candidate.place
        last = Position(position.source, sequence, last.matched + 1, candidate.sort_values, ordinal)
        if last.matched <= skip:
            continue
        if query.is_whole_item:
            row = candidate.item.body
        else:
            value = project(candidate.row, parameters)
            if value is UNDEFINED:
                continue
            row = _dump(value)
        rows.append(row)
        size += len(row)
    return rows, None


def _dump(value: Any) -> bytes:
    try:
        return dump_json(value)
    except CosmosError as error:
        raise not_finite() from error


def _candidates(
    query: CompiledQuery, parameters: Parameters, items: Iterable[StoredItem], position: Position
) -> Iterator[_Candidate]:
    """Return the rows from a position on that the condition accepts, in order."""
    block = query.block
    goes_on = not (query.sort_values or block.is_grouped or block.is_distinct)
    first = position.sequence if goes_on else 0
    after = (position.sequence, position.ordinal)
    accepts = block.accepts
    found = (
        _Candidate(item, ordinal, row)
        for item in items
        if item.sequence >= first
        for ordinal, row in enumerate(block.expand((item.document,), parameters))
        if not (goes_on and (item.sequence, ordinal) <= after) and accepts(row, parameters) is True
    )
    return _sorted_after(query, parameters, found, position) if query.sort_values else found


def _sorted_after(
    query: CompiledQuery, parameters: Parameters, candidates: Iterable[_Candidate], position: Position
) -> Iterator[_Candidate]:
    descending = [item.is_descending for item in query.syntax.order_by]

    def compare(one: _Place, other: _Place) -> int:
        for left, right, is_descending in zip(one[0], other[0], descending, strict=True):
            left_key, right_key = sort_key(left), sort_key(right)
            if left_key != right_key:
                return 1 if (left_key > right_key) is not is_descending else -1
        return (one[1] > other[1]) - (one[1] < other[1])

    order = cmp_to_key(compare)
    placed = [
        (tuple(evaluate(candidate.row, parameters) for evaluate in query.sort_values), candidate)
        for candidate in candidates
    ]
    placed.sort(key=lambda pair: order((pair[0], pair[1].place)))
    if not (query.block.is_grouped or query.block.is_distinct):
        if position.sort_values is not None:
            last = (position.sort_values, (position.sequence, position.ordinal))
            placed = [pair for pair in placed if compare((pair[0], pair[1].place), last) > 0]
        elif position.matched:
            placed = placed[position.matched :]
    return (_Candidate(one.item, one.ordinal, one.row, values) for values, one in placed)
