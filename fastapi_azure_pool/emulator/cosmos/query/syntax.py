"""The syntax tree of a query: frozen, and printable as a query again."""

from __future__ import annotations

import json
from dataclasses import dataclass

from fastapi_azure_pool.emulator.cosmos.partitioning import Undefined


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: a string, a number, a boolean, null or undefined."""

    value: str | float | bool | Undefined | None

    def __str__(self) -> str:
        return "undefined" if isinstance(self.value, Undefined) else json.dumps(self.value)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A named value that comes with the query; the name begins with @."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name that stands alone: the alias of the container's items."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Member:
    """A property of an object or, with an integer, an element of an array."""

    base: Expression
    key: str | int | Parameter

    def __str__(self) -> str:
        return f"{self.base}[{self.key if isinstance(self.key, (int, Parameter)) else json.dumps(self.key)}]"


@dataclass(frozen=True, slots=True)
class Array:
    """An array made of expressions."""

    items: tuple[Expression, ...]

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.items))}]"


@dataclass(frozen=True, slots=True)
class Object:
    """An object made of expressions."""

    fields: tuple[tuple[str, Expression], ...]

    def __str__(self) -> str:
        return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in self.fields) + "}"


@dataclass(frozen=True, slots=True)
class Call:
    """A function and what it is called with; the name is in upper case."""

    function: str
    arguments: tuple[Expression, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.arguments))})"


@dataclass(frozen=True, slots=True)
class Unary:
    """NOT, a minus or a plus before an expression."""

    operator: str
    operand: Expression

    def __str__(self) -> str:
        return f"({self.operator} {self.operand})"


@dataclass(frozen=True, slots=True)
class Logical:
    """AND or OR of two or more expressions."""

    operator: str
    operands: tuple[Expression, ...]

    def __str__(self) -> str:
        return f"({f' {self.operator} '.join(map(str, self.operands))})"


@dataclass(frozen=True, slots=True)
class Binary:
    """A comparison of two expressions."""

    operator: str
    left: Expression
    right: Expression

    def __str__(self) -> str:
        return f"({self.left} {self.operator} {self.right})"


@dataclass(frozen=True, slots=True)
class In:
    """Whether an expression equals one of several."""

    operand: Expression
    choices: tuple[Expression, ...]

    def __str__(self) -> str:
        return f"({self.operand} IN ({', '.join(map(str, self.choices))}))"


@dataclass(frozen=True, slots=True)
class Between:
    """Whether an expression lies within two bounds, both included."""

    operand: Expression
    low: Expression
    high: Expression

    def __str__(self) -> str:
        return f"({self.operand} BETWEEN {self.low} AND {self.high})"


Expression = Literal | Parameter | Identifier | Member | Array | Object | Call | Unary | Logical | Binary | In | Between


@dataclass(frozen=True, slots=True)
class Projection:
    """One expression of a SELECT list and the name it gets, if it was given one."""

    expression: Expression
    alias: str | None = None

    def __str__(self) -> str:
        return str(self.expression) if self.alias is None else f"{self.expression} AS {self.alias}"


@dataclass(frozen=True, slots=True)
class SelectAll:
    """``SELECT *``."""

    def __str__(self) -> str:
        return "*"


@dataclass(frozen=True, slots=True)
class SelectValue:
    """``SELECT VALUE``: the bare value of one expression."""

    expression: Expression

    def __str__(self) -> str:
        return f"VALUE {self.expression}"


@dataclass(frozen=True, slots=True)
class SelectList:
    """``SELECT`` with a list: an object of the expressions' values."""

    projections: tuple[Projection, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.projections))


@dataclass(frozen=True, slots=True)
class SortItem:
    """One expression of ORDER BY and its direction."""

    expression: Expression
    is_descending: bool

    def __str__(self) -> str:
        return f"{self.expression} {'DESC' if self.is_descending else 'ASC'}"


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query; ``alias`` is None without FROM."""

    selection: SelectAll | SelectValue | SelectList
    alias: str | None
    where: Expression | None
    order_by: tuple[SortItem, ...]
    offset: int | Parameter | None
    limit: int | Parameter | None

    def __str__(self) -> str:
        parts = [f"SELECT {self.selection}"]
        if self.alias is not None:
            parts.append(f"FROM {self.alias}")
        if self.where is not None:
            parts.append(f"WHERE {self.where}")
        if self.order_by:
            parts.append(f"ORDER BY {', '.join(map(str, self.order_by))}")
        if self.limit is not None:
            parts.append(f"OFFSET {self.offset} LIMIT {self.limit}")
        return "\n".join(parts)
