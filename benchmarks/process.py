"""The conventions of a benchmark's processes: one core each, and a protocol of lines.

The parent writes ``go START`` and ``stop`` to a child's standard input; the child
writes a word and its values to standard output: ``ready PORT``, ``connected``, ``report JSON``.
START is on the monotonic clock, which Linux shares between processes.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import sys

from benchmarks.schedule import Schedule


def write_line(*words: object) -> None:
    """Write one line to the parent, unbuffered."""
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def wait_for_line() -> list[str]:
    """Wait for one line of the parent, and return its words; none at the end of the parent."""
    return sys.stdin.readline().split()


def cpu_seconds() -> float:
    """Return the user and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def parser(description: str | None) -> argparse.ArgumentParser:
    """Make a parser of the arguments of every process of a spread run."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--connections", type=int, required=True)
    arguments.add_argument("--rate", type=int, required=True, help="events a second, over all connections")
    arguments.add_argument("--seconds", type=float, required=True)
    arguments.add_argument("--burst", type=int, default=1, help="events to one connection at once")
    arguments.add_argument("--cpu", type=int, help="the core to stay on")
    return arguments


def begin(options: argparse.Namespace) -> Schedule:
    """Pin the process to its core, raise the limit of file descriptors, and return the schedule.

    The collector's thresholds are those of a server in production, because with
    Python's defaults, sized for scripts, either server stops for a full
    collection every second or so.
    """
    gc.set_threshold(50_000, 20, 100)
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return Schedule(options.connections, options.rate, options.seconds, options.burst)
