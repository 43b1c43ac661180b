"""The page of the documentation that shows the differences; ``python -m tests.judges.page`` writes it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.judges.blob_differences import BLOB_DIFFERENCES
from tests.judges.comparing import table_of
from tests.judges.cosmos_differences import COSMOS_DIFFERENCES
from tests.judges.installing import DIRECTORY

PAGE = Path(__file__).parent.parent.parent / "docs" / "emulator-differences.md"

_TEXT = """\
# The emulator and other servers

The tests ask the [emulator](emulator.md) and servers that others wrote the same: Azurite {azurite} for Blob Storage, and
cosmosdb-server {cosmos} for Cosmos DB. Those tests of the clients that need no look into the server run against both. These tables
tell of every difference that the tests see; one that appears or disappears fails them. Where Microsoft's documentation decides, the
last column says who is right. Nothing here ran against live Azure.

## Blob Storage

Of {blob_count} requests, whose status, error code, headers and body were compared, these got different answers:

{blob_table}
## Cosmos DB

Of {cosmos_count} operations of the official SDK these had different outcomes, an item's properties or the status of an error:

{cosmos_table}
Besides, cosmosdb-server takes any key, keeps items whose time to live is over, and gives an address of its own that clients must
not follow: they need `enable_endpoint_discovery=False`.
"""


def page() -> str:
    """Return the page."""
    from tests.judges.blob_operations import REQUESTS
    from tests.judges.cosmos_operations import CHANGES, MANAGEMENT, READS

    versions = json.loads((DIRECTORY / "package.json").read_text(encoding="utf-8"))["dependencies"]
    return _TEXT.format(
        azurite=versions["azurite"],
        cosmos=versions["@vercel/cosmosdb-server"],
        blob_count=len(REQUESTS),
        blob_table=table_of(BLOB_DIFFERENCES, "Azurite"),
        cosmos_count=len(MANAGEMENT) + len(CHANGES) + len(READS),
        cosmos_table=table_of(COSMOS_DIFFERENCES, "cosmosdb-server"),
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
