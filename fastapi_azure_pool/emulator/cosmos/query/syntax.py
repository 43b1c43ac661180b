"""The syntax tree of a query: frozen, and printable as a query again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from fastapi_azure_pool.emulator.cosmos.partitioning import Undefined

# What may stand after a dot; the words that the service keeps for itself may not.
_PLAIN_NAME = re.compile(r"[^\W\d]\w*")
_RESERVED_WORDS = re.compile(
    "and|array|as|asc|between|by|desc|distinct|escape|exists|false|from|group|in|join|like|not|null|or|order|select|top|true|udf|"
    "undefined|value|where",
    re.IGNORECASE,
)


def _is_plain(name: str) -> bool:
    return _PLAIN_NAME.fullmatch(name) is not None and _RESERVED_WORDS.fullmatch(name) is None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: a string, a number, a boolean, null or undefined."""

    value: str | float | bool | Undefined | None

    def __str__(self) -> str:
        return "undefined" if isinstance(self.value, Undefined) else json.dumps(self.value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A named value that comes with the query; the name begins with @."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name that stands alone: the alias of a source."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Member:
    """A property of an object or an element of an array, by a name, a number, or what an expression gives."""

    base: Expression
    key: str | int | Expression

    def __str__(self) -> str:
        if isinstance(self.key, str) and _is_plain(self.key):
            return f"{self.base}.{self.key}"
        return f"{self.base}[{_quoted(self.key) if isinstance(self.key, str) else self.key}]"


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
        return "{" + ", ".join(f"{_quoted(name)}: {value}" for name, value in self.fields) + "}"


@dataclass(frozen=True, slots=True)
class Call:
    """A function, in upper case, and what it is called with; ``spelling`` is how the query writes it."""

    function: str
    arguments: tuple[Expression, ...]
    spelling: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.arguments))})"


@dataclass(frozen=True, slots=True)
class Unary:
    """NOT, a minus, a plus or a tilde before an expression."""

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
    """A comparison, arithmetic, or another operator between two expressions."""

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


@dataclass(frozen=True, slots=True)
class Like:
    """Whether a text matches a pattern of %, _ and brackets."""

    operand: Expression
    pattern: Expression
    escape: str | None

    def __str__(self) -> str:
        escape = "" if self.escape is None else f" ESCAPE {_quoted(self.escape)}"
        return f"({self.operand} LIKE {self.pattern}{escape})"


@dataclass(frozen=True, slots=True)
class Conditional:
    """One of two expressions, by a condition."""

    condition: Expression
    if_true: Expression
    otherwise: Expression

    def __str__(self) -> str:
        return f"({self.condition} ? {self.if_true} : {self.otherwise})"


@dataclass(frozen=True, slots=True)
class Coalesce:
    """The first expression, or the second where that is undefined."""

    first: Expression
    second: Expression

    def __str__(self) -> str:
        return f"({self.first} ?? {self.second})"


@dataclass(frozen=True, slots=True)
class Subquery:
    """A query in parentheses: its value, or with ``kind`` ARRAY all its values, or with EXISTS whether there are any."""

    query: Query
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.kind}({self.query})"


Expression = (
    Literal
    | Parameter
    | Identifier
    | Member
    | Array
    | Object
    | Call
    | Unary
    | Logical
    | Binary
    | In
    | Between
    | Like
    | Conditional
    | Coalesce
    | Subquery
)


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
class Source:
    """What FROM or JOIN names: a path or a subquery, its alias if it was given one, and whether its elements are meant."""

    collection: Expression
    alias: str | None
    is_iterated: bool

    def __str__(self) -> str:
        if self.is_iterated:
            return f"{self.alias} IN {self.collection}"
        return str(self.collection) if self.alias is None else f"{self.collection} AS {self.alias}"

    @property
    def name(self) -> str | None:
        """What the query calls it: by its alias, or by the last name of its path."""
        if self.alias is not None:
            return self.alias
        if isinstance(self.collection, Identifier):
            return self.collection.name
        if isinstance(self.collection, Member) and isinstance(self.collection.key, str):
            return self.collection.key
        return None


@dataclass(frozen=True, slots=True)
class SortItem:
    """One expression of ORDER BY and its direction."""

    expression: Expression
    is_descending: bool

    def __str__(self) -> str:
        return f"{self.expression} {'DESC' if self.is_descending else 'ASC'}"


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query; ``sources`` is empty without FROM."""

    selection: SelectAll | SelectValue | SelectList
    sources: tuple[Source, ...] = ()
    where: Expression | None = None
    group_by: tuple[Expression, ...] = ()
    order_by: tuple[SortItem, ...] = ()
    is_distinct: bool = False
    top: int | Parameter | None = None
    offset: int | Parameter | None = None
    limit: int | Parameter | None = None

    def __str__(self) -> str:
        distinct = "DISTINCT " if self.is_distinct else ""
        top = "" if self.top is None else f"TOP {self.top} "
        parts = [f"SELECT {distinct}{top}{self.selection}"]
        if self.sources:
            parts.append(f"FROM {' JOIN '.join(map(str, self.sources))}")
        if self.where is not None:
            parts.append(f"WHERE {self.where}")
        if self.group_by:
            parts.append(f"GROUP BY {', '.join(map(str, self.group_by))}")
        if self.order_by:
            parts.append(f"ORDER BY {', '.join(map(str, self.order_by))}")
        if self.limit is not None:
            parts.append(f"OFFSET {self.offset} LIMIT {self.limit}")
        return "\n".join(parts)
