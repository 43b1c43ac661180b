"""The processes of the third-party servers: what they say when they fail, and that they end."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.judges import installing, node_process
from tests.judges.installing import DIRECTORY, LOCK, NotInstalled
from tests.judges.node_process import ServerFailed, running

if TYPE_CHECKING:
    from pathlib import Path

READY = re.compile("ready")
ROOT = DIRECTORY.parent.parent
PATIENCE_SECONDS = 30.0


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script of Node in the place of a server."""
    monkeypatch.setattr(node_process, "MODULES", tmp_path)
    return tmp_path / "server.cjs"


def test_a_server_that_ends_shows_what_it_wrote(script: Path) -> None:
    """A server that ends before it is ready fails at once, with its output."""
    script.write_text("console.error('the port is taken'); process.exit(1)")
    with pytest.raises(ServerFailed, match="the port is taken"), running("server.cjs", ready=READY):
        pass


def test_a_server_that_is_never_ready_shows_what_it_wrote(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not get ready in time is ended, and fails with its output."""
    monkeypatch.setattr(node_process, "START_SECONDS", 0.5)
    script.write_text("console.log('still starting'); setInterval(() => {}, 1000)")
    with (
        pytest.raises(ServerFailed, match=r"within 0\.5 s, but: still starting"),
        running("server.cjs", ready=READY),
    ):
        pass


def test_a_server_ends_with_the_process_that_started_it(script: Path) -> None:
    """A server whose starter is killed ends, for the pipe to it is closed then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script.write_text(f"require('net').connect({listener.getsockname()[1]}, '127.0.0.1'); console.log('ready')")
        starter = f"""
import re
from pathlib import Path
from tests.judges import node_process
node_process.MODULES = Path({str(script.parent)!r})
with node_process.running("server.cjs", ready=re.compile("ready")):
    input()
"""
        with subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE, cwd=ROOT) as process:
            listener.settimeout(PATIENCE_SECONDS)
            from_server, _ = listener.accept()
            with from_server:
                from_server.settimeout(PATIENCE_SECONDS)
                process.kill()
                assert from_server.recv(1) == b""


def test_servers_that_are_not_installed_are_told_how_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the servers, or with others than the lock file's, the error names the command that installs them."""
    monkeypatch.setattr(installing, "STAMP", tmp_path / "stamp")
    with pytest.raises(NotInstalled, match="run `make judges`"), running("server.cjs", ready=READY):
        pass
    (tmp_path / "stamp").write_text("of another lock file")
    with pytest.raises(NotInstalled, match="run `make judges`"), running("server.cjs", ready=READY):
        pass


def test_every_package_of_the_lock_file_has_a_hash() -> None:
    """What npm installs is checked against a hash, whatever mirror it comes from."""
    packages = json.loads(LOCK.read_text(encoding="utf-8"))["packages"]
    assert [name for name, package in packages.items() if name and not package.get("integrity")] == []
    assert len(packages) > 100
