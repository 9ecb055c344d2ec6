"""Readings of processes from outside agree with what a process says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from benchmarks.gauges import busy_seconds, cpu_seconds_of, resident_kib_of

WORK_SECONDS = 0.05


def test_the_processor_time_of_a_process_is_its_own() -> None:
    """The clock of a process shows what the process itself reads, and goes on only while it works."""
    before = cpu_seconds_of(os.getpid())
    began = time.process_time()
    while time.process_time() < began + WORK_SECONDS:
        pass
    assert cpu_seconds_of(os.getpid()) >= before + WORK_SECONDS
    assert before <= began


def test_another_process_is_read_as_well() -> None:
    """It has memory and processor time of its own, in whatever language; once it has gone, reading it raises."""
    words = [sys.executable, "-c", "print(sum(range(10**5)), flush=True); input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert cpu_seconds_of(process.pid) > 0
        assert resident_kib_of(process.pid) > 1_000
        process.communicate(b"\n")
        with pytest.raises(OSError, match=r".+"):
            resident_kib_of(process.pid)
        with pytest.raises(OSError, match=r".+"):
            cpu_seconds_of(process.pid)


def test_the_machine_has_worked_at_least_as_long_as_this_process() -> None:
    """All cores' time has this process's in it, but for a step of the kernel's count."""
    assert busy_seconds() > 0
    before, mine = busy_seconds(), time.process_time()
    while time.process_time() < mine + WORK_SECONDS:
        pass
    assert busy_seconds() - before >= WORK_SECONDS / 2
