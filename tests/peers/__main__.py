"""Writes the page, and compares the listing and the snippets with an installed toolbox.

``python -m tests.peers`` needs what ``make bench`` installs; ``python -m tests.peers page`` only writes the page.
"""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from importlib.metadata import metadata, version
from typing import Any

from azure.core.credentials import AzureKeyCredential

from fastapi_azure_pool.emulator import Emulator
from tests.peers.page import PAGE, page
from tests.peers.running import run
from tests.peers.snippets import EVENT_GRID, SNIPPETS, TESTING, Snippet
from tests.peers.surface import THEIRS, VERSION, installed, listed, write


async def answer_of(snippet: Snippet) -> str | None:
    """Give the message with which the toolbox refuses a snippet, its missing imports added; None where it runs."""
    async with Emulator() as azure:
        names: dict[str, Any] = {"DefaultAzureCredential": lambda: AzureKeyCredential(azure.eventgrid_key)}
        names["EventGridTopicConfig"] = import_module(THEIRS).EventGridTopicConfig
        replaced = {}
        if snippet is EVENT_GRID:
            for topic in ("topic1", "topic2"):
                await azure.create_eventgrid_topic(topic)
                replaced[f"https://{topic}.azure.net/api/event"] = azure.eventgrid_endpoint(topic)
        try:
            defined = await run(snippet, names, replaced=replaced)
            if snippet is TESTING:
                await defined["test_cosmos_operations"]((None, lambda _: None), None)
            if snippet is EVENT_GRID:
                for client in defined["client"].async_clients.values():
                    await client.close()
        except (TypeError, NameError) as error:
            return str(error)
    return None


def main() -> None:
    """Compare, or write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    if sys.argv[1:] == ["page"]:
        return
    if version(THEIRS.replace("_", "-")) != VERSION:
        sys.exit(f"the listing is of {VERSION}: rename the file, and go through what is new")
    if installed() != listed():
        write()
        sys.exit("the listing differed from what is installed, and has been written anew: give what is new a row")
    readme = metadata(THEIRS).json["description"]
    for snippet in SNIPPETS:
        if snippet.text not in readme:
            sys.exit(f"the snippet {snippet.title!r} is not in the README word for word")
        answer = asyncio.run(answer_of(snippet))
        if answer != snippet.theirs:
            sys.exit(f"the toolbox answers {snippet.title!r} with {answer!r}, not {snippet.theirs!r}")


if __name__ == "__main__":
    main()
