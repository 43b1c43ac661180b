"""What the service's log tells of something that nobody looked after."""

from __future__ import annotations

import re

_COMPLAINTS = re.compile(
    r"was never (?:retrieved|awaited)|[Uu]nclosed|ResourceWarning|was destroyed but|had ended early"
)
_TRACEBACK = "Traceback (most recent call last):"

# An event loop tells what an error is about in lines such as "transport: <...>", between the error and its traceback.
_CONTEXT = re.compile(r"[a-z_]+: <")

# The Service Bus SDK logs the traceback of whatever it does not expect, before it raises it; and uvloop one when it goes on writing
# to a TLS connection that was closed.
_KNOWN = ("Unexpected error occurred", "Fatal error on SSL protocol")


def find_complaints(log: str) -> list[str]:
    """Give the lines that warn of what was left behind, and those that have a traceback."""
    found = []
    headline = ""
    for line in log.splitlines():
        if _COMPLAINTS.search(line):
            found.append(f"the service's log: {line}")
        # The traceback of an error that led to another follows an empty line.
        if line.endswith(_TRACEBACK) and headline.strip(" |") and not headline.startswith(_KNOWN):
            found.append(f"the service's log has a traceback: {headline}")
        if not _CONTEXT.match(line):
            headline = line
    return found
