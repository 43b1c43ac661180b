"""Arguments that a client does not have, told with the one that was probably meant."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def refuse_unknown(kind: type, given: Iterable[str], further: Iterable[str] = ()) -> None:
    """Check keyword arguments that a client's signature gathers, before anything is made of the others.

    Args:
        kind: The client's class.
        given: The names of what was gathered.
        further: What it takes there besides the parameters that its signature spells out.

    Raises:
        TypeError: One of them is unknown; the message names it and what it resembles, or all that there are.
    """
    taken = set(further)
    unknown = [name for name in given if name not in taken]
    if not unknown:
        return
    parameters = inspect.signature(kind).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    known += sorted(taken)
    near = get_close_matches(unknown[0], known, n=1)
    advice = f"write {near[0]}=" if near else f"it has {', '.join(known)}"
    raise TypeError(f"{kind.__name__} has no argument {unknown[0]!r}: {advice}")
