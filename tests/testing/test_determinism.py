"""One integer decides everything, on any machine and for any hash seed; and Trio is still what that rests on."""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import subprocess
import sys

import pytest
import trio
from trio.testing import MockClock

from actors.testing.chance import Chance
from actors.testing.determinism import TrioChanged, check_clock, check_trio, deterministic, run
from actors.testing.performance import perform
from actors.testing.plan import plan_of

SEEDS = range(200, 212)

SCRIPT = """
import hashlib
from actors.testing.performance import perform
from actors.testing.plan import plan_of
for seed in range(200, 212):
    print(seed, hashlib.sha256("\\n".join(perform(plan_of(seed)).trace).encode()).hexdigest())
"""


def digest(seed: int) -> str:
    """A whole trace, in a few characters."""
    return hashlib.sha256("\n".join(perform(plan_of(seed)).trace).encode()).hexdigest()


def test_the_same_seed_is_the_same_trace() -> None:
    """Twice in one process, whatever was there in between."""
    assert [digest(seed) for seed in SEEDS] == [digest(seed) for seed in SEEDS]


@pytest.mark.slow
def test_for_any_hash_seed() -> None:
    """In other processes, which put sets and dicts in other orders."""
    here = [f"{seed} {digest(seed)}" for seed in SEEDS]
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        there = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        assert there.stdout.splitlines() == here


def test_another_seed_is_another_trace() -> None:
    """A seed is not ignored."""
    assert len({digest(seed) for seed in SEEDS}) == len(SEEDS)


def test_trio_has_what_this_rests_on() -> None:
    """The tripwire: when this fails, Trio has changed its private names, and ``determinism.py`` has to follow."""
    scheduler = check_trio()
    assert isinstance(scheduler._ALLOW_DETERMINISTIC_SCHEDULING, bool)
    assert isinstance(scheduler._r, random.Random)


def test_trio_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Trio that cannot be seeded says so, and does not run as if it were."""
    monkeypatch.delattr(trio._core._run, "_r")
    with pytest.raises(TrioChanged, match="expected a Trio whose scheduler can be seeded"):
        run(trio.sleep, 0)


def test_scheduling_is_seeded() -> None:
    """Tasks that are ready together run in an order that follows from the seed."""

    async def order(seed: int) -> tuple[int, ...]:
        seen: list[int] = []

        async def note(number: int) -> None:
            seen.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(note, number)
        return tuple(seen)

    assert run(order, 1) == run(order, 1)
    assert len({run(order, seed) for seed in range(20)}) > 10


def test_entropy_is_seeded_and_given_back() -> None:
    """Random bytes of the system follow from the seed while the block lasts, and not after it."""

    def draw() -> tuple[bytes, str, float]:
        return os.urandom(8), secrets.token_hex(8), random.random()

    before = random.getstate(), os.urandom
    with deterministic(Chance("one")):
        first = draw()
    with deterministic(Chance("one")):
        assert draw() == first
    with deterministic(Chance("two")):
        assert draw() != first
    assert (random.getstate(), os.urandom) == before
    assert draw()[0] != first[0]


def test_real_time_is_refused() -> None:
    """A simulation that had to wait for the real clock would neither be fast nor the same twice."""
    with pytest.raises(RuntimeError, match="expected MockClock"):
        trio.run(checking)
    with pytest.raises(RuntimeError, match="expected MockClock"):
        trio.run(checking, clock=MockClock())
    trio.run(checking, clock=MockClock(autojump_threshold=0))


async def checking() -> None:
    """Check the clock."""
    check_clock()


def test_a_part_has_luck_of_its_own() -> None:
    """Taking one action out of a plan changes the luck of no other one."""
    one = Chance("seed").of("action 1")
    many = Chance("seed")
    many.count(0, 100)
    assert one.count(0, 10**9) == many.of("action 1").count(0, 10**9)
    assert Chance("seed").of("action 2").count(0, 10**9) != Chance("seed").of("action 1").count(0, 10**9)
