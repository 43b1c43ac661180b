"""What the system tells of processes and cores, where it has /proc."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HAS_PROC = Path("/proc/stat").exists()


def process_seconds(process: int) -> float:
    """Read the processor time of a process, its ended threads included; nan where the system has no /proc."""
    if not HAS_PROC:
        return math.nan
    status = Path(f"/proc/{process}/stat").read_text()
    # proc(5): utime and stime are fields 14 and 15; the second, in brackets, may hold blanks.
    fields = status.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cores_seconds(cores: Sequence[int]) -> float:
    """Read for how long some cores have been busy; nan where the system has no /proc."""
    if not HAS_PROC:
        return math.nan
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in {f"cpu{core}" for core in cores}:
            # proc(5): user, nice, system, idle, iowait, irq, softirq, steal; interrupts, such as loopback's, are nobody's.
            ticks += sum(map(int, (*fields[0:3], fields[7])))
    return ticks / os.sysconf("SC_CLK_TCK")


def strangers_seconds(cores: Sequence[int], processes: Iterable[int]) -> float:
    """Read for how long some cores have been busy with others than these processes; nan where the system has no /proc."""
    return cores_seconds(cores) - sum(map(process_seconds, processes))


def resident_bytes() -> int:
    """Read the size of this process's resident set."""
    # proc(5): the second field of statm is the resident set in pages.
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
