"""Whatever Schemathesis makes of the OpenAPI document is answered as the document says."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from example_app.app import create_app
from tests.fastapi.driver import serving_with_uvicorn

COMMAND = Path(sys.executable).with_name("schemathesis")
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


async def test_every_answer_is_documented(tmp_path: Path) -> None:
    """Requests that the document allows, almost allows and forbids, alone and one after another: none is answered otherwise."""
    async with serving_with_uvicorn(create_app()) as port:
        process = await asyncio.create_subprocess_exec(
            *(str(COMMAND), "--config-file", str(CONFIGURATION), "--no-color"),
            *("run", f"http://127.0.0.1:{port}/openapi.json", "--warnings", "off"),
            *("--generation-deterministic", "--max-examples", "5"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
    told = printed.decode()
    assert process.returncode == 0, told
    assert "Operations:       9 selected / 9 total" in told
    assert all(f"✅ {phase}" in told for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"))
