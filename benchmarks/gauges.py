"""Readings of another process from outside: its processor time and its memory, whatever language it is in."""

from __future__ import annotations

import os
import time
from pathlib import Path

_CPU_CLOCK_OF_PROCESS = 2
"""Linux's CPUCLOCK_SCHED: the scheduler's own count, in nanoseconds, over all threads of a process."""


def cpu_seconds_of(pid: int) -> float:
    """Return the processor time of a process so far.

    It comes from the clock that ``clock_getcpuclockid(3)`` names, because ``/proc/PID/stat`` counts in steps of
    10 ms, which is 3 % of what a fast server takes in a run. Raises OSError when there is no such process.
    """
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK_OF_PROCESS)


def busy_seconds() -> float:
    """Return the time that all cores together have worked so far, as the kernel counts it: in steps of 10 ms."""
    ticks = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, interrupts, soft_interrupts, stolen = map(int, ticks[:8])
    return (user + nice + system + interrupts + soft_interrupts + stolen) / os.sysconf("SC_CLK_TCK")


def resident_kib_of(pid: int) -> float:
    """Return the resident memory of a process. Raises OSError when there is no such process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024
