"""What every function of the query language shares: how many arguments it takes, and of which types.

A function whose argument has another type is undefined; with another number of arguments the query is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fastapi_azure_pool.emulator.cosmos.json_values import within_64_bits
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.refusals import semantic_error
from fastapi_azure_pool.emulator.cosmos.query.values import is_finite

_Check = Callable[[Any], bool]


def _is_any(_value: object) -> bool:
    return True


def _is_defined(value: object) -> bool:
    return value is not UNDEFINED


def _is(kind: type) -> _Check:
    return lambda value: isinstance(value, kind)


def is_integer(value: Any) -> bool:
    """Say whether a value is a number that an integer of 64 bits holds, 5.0 included."""
    return is_finite(value) and value == int(value) and within_64_bits(value)


# One letter for each type in a signature.
_CHECKS: dict[str, _Check] = {
    "a": _is(list),
    "b": _is(bool),
    "d": _is_defined,
    "i": is_integer,
    "n": is_finite,
    "o": _is(dict),
    "s": _is(str),
    "x": _is_any,
}


@dataclass(frozen=True, slots=True)
class Function:
    """One function: what it is called, what it takes, and what it does with that."""

    name: str
    checks: tuple[_Check, ...]
    required: int
    is_endless: bool
    apply: Callable[..., Any]

    def check_count(self, count: int) -> None:
        """Return if it can be called with so many arguments.

        Raises:
            CosmosError: 400, it cannot.
        """
        most = len(self.checks)
        if self.is_endless:
            wanted, is_right = f"at least {self.required}", count >= self.required
        elif self.required == most:
            wanted, is_right = str(most), count == most
        else:
            wanted, is_right = f"{self.required} to {most}", self.required <= count <= most
        if not is_right:
            raise semantic_error("SC2050", f"The {self.name} function requires {wanted} argument(s).")

    def __call__(self, *values: Any) -> Any:
        """Return the function's value for a right number of arguments; undefined where a type is wrong."""
        checks = self.checks
        last = len(checks) - 1
        for number, value in enumerate(values):
            if not checks[min(number, last)](value):
                return UNDEFINED
        return self.apply(*values)


def function(name: str, signature: str, apply: Callable[..., Any]) -> Function:
    """Return a function as its signature says.

    Args:
        name: In upper case.
        signature: A letter for each argument: a for an array, b a boolean, d anything defined, i an integer, n a finite
            number, o an object, s a string, x anything. What follows a ? may be left out; a + at the end repeats the last.
        apply: Takes the values, with the defaults of those left out, and returns one or UNDEFINED.
    """
    letters = signature.replace("?", "").replace("+", "")
    required = signature.index("?") if "?" in signature else len(letters)
    return Function(name, tuple(_CHECKS[letter] for letter in letters), required, signature.endswith("+"), apply)


def by_name(functions: Iterable[Function]) -> dict[str, Function]:
    """Return functions by their names."""
    return {one.name: one for one in functions}
