"""The conventions of a benchmark's processes: one core each, and a protocol of lines.

A server writes ``ready PORT PID``, where PID is the process that is measured; the load client writes ``connected``
and ``report JSON``. The parent writes ``go START`` and ``stop``. START is on the monotonic clock, which Linux
shares between processes. A server reports no figures, because the parent reads the processor time and the memory
of PID from outside, in the same way for a server in Python, Node, C or Go.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import sys

import attrs

from benchmarks.schedule import WARMUP_SECONDS, Schedule


def write_line(*words: object) -> None:
    """Write one line to the parent, unbuffered."""
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def wait_for_line() -> list[str]:
    """Wait for one line of the parent, and return its words; none at the end of the parent."""
    return sys.stdin.readline().split()


def wait_for_start() -> float | None:
    """Wait for the parent's START; ``None`` if the parent wants no events, or has ended."""
    match wait_for_line():
        case ["go", start]:
            return float(start)
        case _:
            return None


def cpu_seconds() -> float:
    """Return the user and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def parser(description: str | None) -> argparse.ArgumentParser:
    """Make a parser of the arguments of every process of a run."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--connections", type=int, required=True)
    arguments.add_argument("--rate", type=int, required=True, help="events a second, over all users")
    arguments.add_argument("--seconds", type=float, required=True)
    arguments.add_argument("--burst", type=int, default=1, help="events to one user at once")
    arguments.add_argument("--devices", type=int, default=1, help="connections of one user")
    arguments.add_argument("--threads", type=int, default=1, help="threads of one user")
    arguments.add_argument("--warmup", type=float, default=WARMUP_SECONDS, help="seconds before the measured ones")
    arguments.add_argument("--cpu", type=int, help="the core to stay on")
    arguments.add_argument("--feeder-cpu", type=int, help="the core of a feeder that is not part of its server")
    return arguments


def schedule_of(options: argparse.Namespace) -> Schedule:
    """Return the schedule that the arguments describe."""
    return Schedule(**{field.name: getattr(options, field.name) for field in attrs.fields(Schedule)})


def arguments_of(schedule: Schedule) -> list[object]:
    """Return the arguments that describe a schedule."""
    return [word for key, value in attrs.asdict(schedule).items() for word in (f"--{key}", value)]


def pin(cpu: int | None) -> None:
    """Keep this process, and the processes that it starts from now on, on one core."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})


def begin(options: argparse.Namespace) -> Schedule:
    """Pin the process to its core, raise the limit of file descriptors, and return the schedule.

    The collector's thresholds are those of a server in production, because with
    Python's defaults, sized for scripts, every server in Python stops for a full
    collection every second or so.
    """
    gc.set_threshold(50_000, 20, 100)
    pin(options.cpu)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return schedule_of(options)
