"""The aggregate functions: what they make of the values of many rows.

Source: "Aggregate functions" in the query language reference of Azure Cosmos DB for NoSQL, a page for each. That a SUM of
nothing is 0, and an AVG, MIN or MAX of nothing undefined, is how Azure's SDKs put the parts of several partitions together.
"""

from __future__ import annotations

from typing import Any, Protocol

from fastapi_azure_pool.emulator.cosmos.json_values import is_number
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.values import as_number, rank, sort_key


class Accumulator(Protocol):
    """Takes one value after another and gives the aggregate of them."""

    def add(self, value: Any) -> None:
        """Take one more value, which may be undefined."""

    def result(self) -> Any:
        """Return the aggregate of the values so far."""


class _Count:
    __slots__ = ("_count",)

    def __init__(self) -> None:
        self._count = 0

    def add(self, value: Any) -> None:
        self._count += value is not UNDEFINED

    def result(self) -> Any:
        return self._count


class _CountIf(_Count):
    __slots__ = ()

    def add(self, value: Any) -> None:
        self._count += value is True


class _Sum:
    __slots__ = ("_count", "_is_defined", "_sum")

    def __init__(self) -> None:
        self._sum: int | float = 0
        self._count = 0
        self._is_defined = True

    def add(self, value: Any) -> None:
        if value is UNDEFINED:
            return
        if is_number(value):
            self._sum += as_number(value)
            self._count += 1
        else:
            # one text among the numbers, and the whole is undefined
            self._is_defined = False

    def result(self) -> Any:
        return as_number(self._sum) if self._is_defined else UNDEFINED


class _Average(_Sum):
    __slots__ = ()

    def result(self) -> Any:
        return as_number(self._sum / self._count) if self._is_defined and self._count else UNDEFINED


class _Extreme:
    __slots__ = ("_is_defined", "_sign", "_value")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._value: Any = UNDEFINED
        self._is_defined = True

    def add(self, value: Any) -> None:
        kind = rank(value)
        if kind > 5:
            # an array or an object has no place in the order
            self._is_defined = False
        elif kind and (self._value is UNDEFINED or self._is_beyond(value)):
            self._value = value

    def _is_beyond(self, value: Any) -> bool:
        one, other = sort_key(value), sort_key(self._value)
        return one > other if self._sign > 0 else one < other

    def result(self) -> Any:
        return self._value if self._is_defined else UNDEFINED


class _Min(_Extreme):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(-1)


class _Max(_Extreme):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(1)


AGGREGATES: dict[str, type[Accumulator]] = {
    "AVG": _Average,
    "COUNT": _Count,
    "COUNTIF": _CountIf,
    "MAX": _Max,
    "MIN": _Min,
    "SUM": _Sum,
}
