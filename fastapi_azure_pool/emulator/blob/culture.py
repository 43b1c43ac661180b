"""The order in which Azure's own clients sign header names: .NET's, in which hyphens and apostrophes count last.

Source: the Unicode collation algorithm (UTS #10) with variable weighting "shifted" for these two, restricted to the
characters of an HTTP header's name in lower case (RFC 9110, section 5.6.2). "Authorize with Shared Key" (REST reference)
asks for lexicographic order, which differs where a name goes on and another has a hyphen or "_" stands beside a digit.
"""

from __future__ import annotations

_WEIGHTS = {character: weight for weight, character in enumerate("!#$%&*.^_`|~+0123456789abcdefghijklmnopqrstuvwxyz")}
_LATE = {"'": 1, "-": 2}


def culture_key(name: str) -> tuple[list[int], list[int]]:
    """Return what a header's name, in lower case, is sorted by."""
    first = [_WEIGHTS[character] for character in name if character in _WEIGHTS]
    return first, [_LATE.get(character, 0) for character in name]
