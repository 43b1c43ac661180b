"""Runs a compiled query over the items of one or several partitions, one page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError
from fastapi_azure_pool.emulator.cosmos.items import StoredItem
from fastapi_azure_pool.emulator.cosmos.json_values import dump_json
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

# What ORDER BY compares: one for each of its expressions.
_SortKeys = tuple[tuple[int, Any], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of results, each as JSON; ``next_position`` is None after the last page."""

    rows: list[bytes]
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
    parameters = {**parameters, NOW: now_in_ticks()}
    block = query.block
    try:
        if not query.syntax.sources:
            # a query of no container has one row, wherever it is asked
            results = block.results(block.rows((UNDEFINED,), parameters), parameters)
            rows, next_position = _cut(results, query, parameters, max_items, position)
            return Page(rows, next_position)
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
    return Page(rows, next_position)


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
    """Return candidates, which come by their places, as ORDER BY sorts them, from a position on."""
    descending = [item.is_descending for item in query.syntax.order_by]
    goes_on = not (query.block.is_grouped or query.block.is_distinct)
    last_keys = None if position.sort_values is None else tuple(map(sort_key, position.sort_values))
    last_place = (position.sequence, position.ordinal)
    placed: list[tuple[_SortKeys, _Candidate]] = []
    for candidate in candidates:
        values = tuple(evaluate(candidate.row, parameters) for evaluate in query.sort_values)
        keys = tuple(map(sort_key, values))
        if (
            goes_on
            and last_keys is not None
            and not _is_after(keys, last_keys, descending, candidate.place, last_place)
        ):
            continue
        placed.append((keys, _Candidate(candidate.item, candidate.ordinal, candidate.row, values)))
    # each sort keeps the order of equals, so the first key, by which it is sorted last, decides
    for number, is_descending in reversed(list(enumerate(descending))):
        placed.sort(key=_key_number(number), reverse=is_descending)
    skipped = position.matched if goes_on and last_keys is None else 0
    return (candidate for _keys, candidate in placed[skipped:])


def _is_after(
    keys: _SortKeys,
    last_keys: _SortKeys,
    descending: Sequence[bool],
    place: tuple[int, int],
    last_place: tuple[int, int],
) -> bool:
    for key, last_key, is_descending in zip(keys, last_keys, descending, strict=True):
        if key != last_key:
            return (key > last_key) is not is_descending
    return place > last_place


def _key_number(number: int) -> Callable[[tuple[_SortKeys, _Candidate]], tuple[int, Any]]:
    return lambda pair: pair[0][number]
