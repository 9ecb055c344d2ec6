"""One process of :mod:`benchmarks.solo.retained`, seen from a claim."""

from __future__ import annotations

import json

from benchmarks.children import child, cores
from benchmarks.solo.retained import Held

ANSWER_SECONDS = 1_200.0
"""Time to emit a million events on a slow machine."""


def retained(users: int, threads: int, events: int) -> list[Held]:
    """Measure the empty runtime, the threads, and the events in each. Raises ProcessFailed."""
    core, _ = cores()
    arguments = ["--users", users, "--threads", threads, "--events", events, *core[:2]]
    with child("benchmarks.solo.retained", *arguments) as process:
        return [Held(**one) for one in json.loads(process.wait_for("report", ANSWER_SECONDS))]
