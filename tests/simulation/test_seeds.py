"""Every rule holds over thousands of random lives, and a seed is one life, in every process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.runner import Failure, live
from tests.simulation.trace import Trace
from tests.simulation.worlds import WORLDS

CHUNKS = 4
SEEDS_PER_CHUNK = {"pool": 500, "sending": 150, "crowd": 15}


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("world", WORLDS)
def test_every_rule_holds(world: str, chunk: int) -> None:
    """After every step of so many lives, and at the end of each; in a process of its own, for measuring coverage is slow."""
    seeds = SEEDS_PER_CHUNK[world]
    command = f"-m tests.simulation --world {world} --first {chunk * seeds} --seeds {seeds} --processes 1"
    ended = subprocess.run([sys.executable, *command.split()], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"of {seeds} lives" in ended.stdout


@pytest.mark.parametrize("world", WORLDS)
def test_a_seed_is_a_life(world: str) -> None:
    """The same seed gives the same trace twice, and in another process that hashes otherwise; another seed another one."""
    seeds = range(5)
    traces = []
    for seed in (*seeds, *seeds):
        trace = Trace()
        assert not isinstance(live(world, seed, trace), Failure)
        traces.append(str(trace))
    assert traces[:5] == traces[5:]
    assert len(set(traces)) == 5
    assert all(len(trace.splitlines()) > 10 for trace in traces)
    code = "import sys; from tests.simulation.__main__ import replay; [replay(sys.argv[1], seed) for seed in range(5)]"
    for hash_seed in ("1", "2"):
        printed = subprocess.run(
            [sys.executable, "-c", code, world],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert all(trace in printed for trace in traces[:5])


@pytest.mark.parametrize("world", WORLDS)
def test_a_trace_changes_nothing(world: str) -> None:
    """A life that is traced takes as many steps as one that is not: what failed without a trace is replayed with one."""
    for seed in range(20):
        assert live(world, seed, Trace()) == live(world, seed, Trace(is_kept=False))
