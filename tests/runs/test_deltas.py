"""The coalescer: every window is over once, in order, and many of them are few wake-ups."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.runs.deltas import DeltaCoalescer


class Speaker:
    """What the coalescer knows of a run's output: text that was gathered, and whether there is room for it."""

    def __init__(self, name: str, emitted: list[tuple[str, float]], room: bool = True) -> None:
        self.name = name
        self.room = room
        self.batch = 0
        self.gathering = True
        self.tries = 0
        self._said = emitted

    def flush(self) -> None:
        self.tries += 1
        if self.room:
            self._said.append((self.name, trio.current_time()))
            self.emptied()

    def emptied(self) -> None:
        self.gathering = False
        self.batch += 1


class Wakes(trio.abc.Instrument):
    """Counts the steps of one task."""

    def __init__(self, name: str) -> None:
        self.steps = 0
        self._name = name

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += self._name in task.name


def gather(coalescer: DeltaCoalescer, *speakers: Speaker) -> None:
    for speaker in speakers:
        coalescer.gather(speaker)


async def test_windows_end_in_the_order_in_which_they_began(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Each run is flushed once, when its own window is over, and at most an eighth of a window later."""
    coalescer, emitted = DeltaCoalescer(80, trio.current_time), list[tuple[str, float]]()
    await nursery.start(coalescer.run)
    begun = {}
    for name in "abcd":
        begun[name] = trio.current_time()
        gather(coalescer, Speaker(name, emitted))
        await trio.sleep(0.015)
    await trio.sleep(1)
    assert [name for name, _ in emitted] == list("abcd")
    assert all(0.08 <= at - begun[name] <= 0.0901 for name, at in emitted)
    nursery.cancel_scope.cancel()


async def test_many_runs_are_few_wakes(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """A thousand windows that end within an eighth of one wake the coalescer as often as one does; idle, it sleeps."""
    coalescer, emitted = DeltaCoalescer(80, trio.current_time), list[tuple[str, float]]()
    wakes = Wakes("DeltaCoalescer.run")
    await nursery.start(coalescer.run)
    await trio.testing.wait_all_tasks_blocked()
    trio.lowlevel.add_instrument(wakes)
    for number in range(1_000):
        gather(coalescer, Speaker(str(number), emitted))
    await trio.sleep(60)
    trio.lowlevel.remove_instrument(wakes)
    assert len(emitted) == 1_000
    assert wakes.steps <= 3
    nursery.cancel_scope.cancel()


async def test_what_was_emitted_meanwhile_is_over(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A run that emitted its text before the window was over is left alone; its next text has its own window."""
    coalescer, emitted = DeltaCoalescer(80, trio.current_time), list[tuple[str, float]]()
    await nursery.start(coalescer.run)
    speaker = Speaker("a", emitted)
    gather(coalescer, speaker)
    await trio.sleep(0.05)
    speaker.emptied()
    speaker.gathering = True
    again = trio.current_time()
    gather(coalescer, speaker)
    await trio.sleep(1)
    assert speaker.tries == 1
    assert emitted[0][1] >= again + 0.08
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("window_ms", [0, 80])
async def test_no_room_is_tried_again(
    window_ms: float, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A run without room is tried again, not all the time, and costs another its turn never; without a window, too."""
    coalescer, emitted = DeltaCoalescer(window_ms, trio.current_time), list[tuple[str, float]]()
    await nursery.start(coalescer.run)
    stuck, free = Speaker("stuck", emitted, room=False), Speaker("free", emitted)
    gather(coalescer, stuck, free)
    await trio.sleep(1)
    assert [name for name, _ in emitted] == ["free"]
    assert 5 < stuck.tries <= 101
    stuck.room = True
    await trio.sleep(1)
    assert [name for name, _ in emitted] == ["free", "stuck"]
    nursery.cancel_scope.cancel()
