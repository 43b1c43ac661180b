"""One SELECT ready to run, the outermost or one in parentheses, and the values that it makes of an outer row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import backend_error
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.values import distinct_key, without_duplicates

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.cosmos.query.aggregates import Accumulator
    from fastapi_azure_pool.emulator.cosmos.query.expressions import Evaluator, Parameters, Row

# From an outer row to what one source adds to it.
Expansion = Callable[["Row", "Parameters"], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate of a query: where its result is looked up, what makes it, and what it is taken of."""

    key: str
    accumulator: type[Accumulator]
    operand: Evaluator


@dataclass(frozen=True, slots=True)
class Block:
    """A SELECT as functions of (row, parameters).

    Attributes:
        width: How many values a row has when every source has added its own.
        expansions: One for each source that adds a value to the row.
        accepts: The condition of WHERE.
        group_keys: What GROUP BY groups by.
        aggregates: The aggregates of its selection.
        project: The selection; the results of aggregates are among its parameters.
        is_distinct: Whether equal results are one.
    """

    width: int
    expansions: tuple[Expansion, ...]
    accepts: Evaluator
    group_keys: tuple[Evaluator, ...]
    aggregates: tuple[Aggregate, ...]
    project: Evaluator
    is_distinct: bool

    @property
    def is_grouped(self) -> bool:
        """Whether a result stands for many rows."""
        return bool(self.group_keys or self.aggregates)

    def rows(self, outer: Row, parameters: Parameters) -> Iterator[Row]:
        """Return what the sources make of an outer row, without what WHERE leaves out."""
        return (row for row in self.expand(outer, parameters) if self.accepts(row, parameters) is True)

    def expand(self, outer: Row, parameters: Parameters) -> Iterable[Row]:
        """Return what the sources make of an outer row: each adds its values to every row before it."""
        rows: Iterable[Row] = (outer,)
        for expansion in self.expansions:
            rows = _crossed(rows, expansion, parameters)
        return rows

    def results(self, rows: Iterable[Row], parameters: Parameters) -> Iterator[Any]:
        """Return the defined values that the selection makes of rows, each once if they are to be distinct."""
        values = self._grouped(rows, parameters) if self.is_grouped else self._projected(rows, parameters)
        return without_duplicates(values) if self.is_distinct else values

    def _projected(self, rows: Iterable[Row], parameters: Parameters) -> Iterator[Any]:
        values = (self.project(row, parameters) for row in rows)
        return (value for value in values if value is not UNDEFINED)

    def _grouped(self, rows: Iterable[Row], parameters: Parameters) -> Iterator[Any]:
        groups: dict[Any, tuple[Row, list[Accumulator]]] = {}
        if not self.group_keys:
            # without GROUP BY there is one group, even of no rows
            groups[()] = ((UNDEFINED,) * self.width, self._accumulators())
        for row in rows:
            key = tuple(distinct_key(evaluate(row, parameters)) for evaluate in self.group_keys)
            if key not in groups:
                groups[key] = (row, self._accumulators())
            for aggregate, accumulator in zip(self.aggregates, groups[key][1], strict=True):
                accumulator.add(aggregate.operand(row, parameters))
        for row, accumulators in groups.values():
            found = {
                aggregate.key: accumulator.result()
                for aggregate, accumulator in zip(self.aggregates, accumulators, strict=True)
            }
            value = self.project(row, {**parameters, **found})
            if value is not UNDEFINED:
                yield value

    def _accumulators(self) -> list[Accumulator]:
        return [aggregate.accumulator() for aggregate in self.aggregates]


def _crossed(rows: Iterable[Row], expansion: Expansion, parameters: Parameters) -> Iterator[Row]:
    for row in rows:
        for value in expansion(row, parameters):
            yield (*row, value)


def subquery(block: Block, kind: str) -> Evaluator:
    """Return a query in parentheses as an expression: its one value, all of them as an array, or whether there are any."""

    def values(row: Row, parameters: Parameters) -> Iterator[Any]:
        return block.results(block.rows(row, parameters), parameters)

    def only(row: Row, parameters: Parameters) -> Any:
        found = list(values(row, parameters))
        if len(found) > 1:
            raise backend_error(400, "The cardinality of a scalar subquery result set cannot be greater than one.")
        return found[0] if found else UNDEFINED

    if kind == "ARRAY":
        return lambda row, parameters: list(values(row, parameters))
    if kind == "EXISTS":
        return lambda row, parameters: any(True for _ in values(row, parameters))
    return only


def expansion_of(values: Expansion, *, is_iterated: bool) -> Expansion:
    """Return what a source adds to a row: its defined values, or the elements of those that are arrays."""

    def defined(row: Row, parameters: Parameters) -> Iterator[Any]:
        return (value for value in values(row, parameters) if value is not UNDEFINED)

    def elements(row: Row, parameters: Parameters) -> Iterator[Any]:
        return (element for value in values(row, parameters) if isinstance(value, list) for element in value)

    return elements if is_iterated else defined
