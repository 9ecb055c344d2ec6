"""Trio under one seed: the same tasks in the same order, in a time that is virtual.

The only module that names what is private to Trio. Hypothesis' plugin for
pytest-trio rests on the same two names, so they change rarely; when they do,
:func:`check_trio` says so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import trio
from trio.testing import MockClock

from actors.kernel.failures import ungrouped_interrupt
from actors.testing.chance import Chance

S = TypeVar("S", int, str)
T = TypeVar("T")

_NAMES = "_ALLOW_DETERMINISTIC_SCHEDULING", "_r"
"""The switch that sorts each batch of tasks before it is shuffled, and the source that shuffles it."""


class TrioChanged(Exception):
    """This version of Trio cannot be made deterministic in the way known here."""


def check_trio() -> Any:
    """Return the module of Trio's scheduler, or raise TrioChanged."""
    scheduler: Any = getattr(getattr(trio, "_core", None), "_run", None)
    missing = [name for name in _NAMES if not hasattr(scheduler, name)]
    if missing or not callable(getattr(scheduler._r, "shuffle", None)):
        found = f"trio {trio.__version__}, in which {', '.join(missing) or '_r.shuffle'} is not what it was"
        raise TrioChanged(f"expected a Trio whose scheduler can be seeded, got {found}")
    return scheduler


@contextmanager
def deterministic(chance: Chance) -> Iterator[None]:
    """Scheduling, ``random`` and the system's entropy follow from a stream while the block lasts."""
    scheduler = check_trio()
    # Module attributes, because that is where libraries look them up: the
    # WebSocket engine masks with os.urandom, ``secrets`` and SystemRandom read
    # the name that ``random`` imported.
    common = sys.modules["random"]
    patches = [
        (scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        (os, "urandom", chance.of("os").bytes),
        (common, "_urandom", chance.of("secrets").bytes),
    ]
    before = [(place, name, getattr(place, name)) for place, name, _ in patches]
    states = scheduler._r.getstate(), common.getstate()
    try:
        for place, name, value in patches:
            setattr(place, name, value)
        scheduler._r.seed(chance.of("scheduler").name)
        common.seed(chance.of("random").name)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)
        scheduler._r.setstate(states[0])
        common.setstate(states[1])


def run(main: Callable[[S], Awaitable[T]], seed: S) -> T:
    """Run as ``trio.run(main, seed)``: deterministic, and with a clock that jumps to the next deadline when all
    wait."""
    with deterministic(Chance(f"run {seed}")), ungrouped_interrupt():
        result: T = trio.run(main, seed, clock=MockClock(autojump_threshold=0))
        return result


def check_clock() -> None:
    """Raise RuntimeError unless time is virtual here."""
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, MockClock) or clock.autojump_threshold > 0:
        text = "expected MockClock(autojump_threshold=0): use actors.testing.run, or pytest-trio's autojump_clock"
        raise RuntimeError(text)
