"""What an error says of arguments: the one that was probably meant for one that a client does not have, and no secret."""

from __future__ import annotations

import inspect
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Keys of Azure are longer; connection strings, signatures and signed URLs have fields.
_LONGEST_SHOWN = 40
_FIELDS = re.compile(r"[=;&?]")


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


def shown(value: object) -> str:
    """Give a wrong argument as an error may repeat it: not where it could be a key, a signature or a connection string.

    They are given in the place of a name or a host by mistake, and errors are logged.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if not isinstance(value, str):
        return f"a {type(value).__name__}"
    if len(value) > _LONGEST_SHOWN or _FIELDS.search(value):
        return f"a text of {len(value)} characters"
    return repr(value)
