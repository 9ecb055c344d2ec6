"""The lookout: where the event loop stood still is known afterwards, and said while it lasts."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable

import pytest
import trio
import trio.testing

import actors
from actors.observability.lookout import NOWHERE, Lookout, place_of


def block(lookout: Lookout, released: threading.Event) -> None:
    """Block the loop, and have the lookout ask often from here on, so that it sees no moment in which others run."""
    lookout.ask_seconds = 0.01
    released.wait()


async def test_a_loop_that_stands_still(caplog: pytest.LogCaptureFixture, nursery: trio.Nursery) -> None:
    """The application's own code in which the loop stands still is named, with file and line; and if that lasts, while
    it lasts."""
    lookout = Lookout(time.time)
    await nursery.start(lookout.run)
    assert lookout.take_place() is None
    released = threading.Event()
    watcher = threading.Thread(target=release_when_said, args=(caplog, released))
    watcher.start()
    block(lookout, released)
    watcher.join()
    place = lookout.take_place()
    assert place is not None
    assert place.startswith(f"in block ({__file__}:")
    assert place.endswith(": released.wait())")
    assert lookout.take_place() is None
    (record,) = caplog.records
    assert record.getMessage().startswith("the event loop stands still for more than 0 s, and with it every device, in")
    assert place in record.getMessage()
    nursery.cancel_scope.cancel()


def release_when_said(caplog: pytest.LogCaptureFixture, released: threading.Event) -> None:
    """Let the loop go on once the lookout has logged, or after a minute."""
    pause = threading.Event()
    for _ in range(6_000):
        if caplog.records:
            break
        pause.wait(0.01)
    released.set()


async def test_a_runtime_says_it(caplog: pytest.LogCaptureFixture) -> None:
    """A run that blocks the loop is a line of the log, once the loop goes on, with the code that did it."""
    limits = actors.Limits(sweep_seconds=0.01)
    async with actors.open_runtime(limits=limits) as runtime:
        block_until_seen(runtime.tree.lookout)
        with trio.fail_after(60):
            while not caplog.records:  # noqa: ASYNC110 - nobody rings
                await trio.sleep(0.01)
    record = caplog.records[0]
    assert vars(record)["notice"] == "loop_blocked"
    assert "in block_until_seen (" in record.getMessage()


def block_until_seen(lookout: Lookout) -> None:
    """Block the loop until the lookout has seen it, or for a minute."""
    lookout.ask_seconds = 0.01
    pause = threading.Event()
    for _ in range(6_000):
        if lookout._place is not None:
            return
        pause.wait(0.01)


class Stuck(logging.Handler):
    """Writes to a pipe that nothing reads."""

    def __init__(self, released: threading.Event) -> None:
        super().__init__()
        self.released = released

    def emit(self, record: logging.LogRecord) -> None:
        """Wait for the reader, with the handler's lock."""
        self.released.wait(60)


async def test_a_loop_that_stands_still_in_the_log(nursery: trio.Nursery) -> None:
    """What waits is answered nevertheless, though the line cannot be logged meanwhile."""
    lookout, released, answers = Lookout(time.time, ask_seconds=0.01), threading.Event(), list[str]()
    await nursery.start(lookout.run)
    handler = Stuck(released)
    logging.getLogger("actors").addHandler(handler)

    def answer(text: str) -> bool:
        answers.append(text)
        if len(answers) == 20:
            released.set()
        return False

    try:
        with lookout.answering(answer):
            logging.getLogger("actors").warning("a line")
    finally:
        logging.getLogger("actors").removeHandler(handler)
    assert released.is_set()
    assert len(answers) >= 20
    nursery.cancel_scope.cancel()


async def test_an_answer_that_goes_on(nursery: trio.Nursery) -> None:
    """One that always has more to answer is asked no more once the loop goes on."""
    lookout, released, calls = Lookout(time.time, ask_seconds=0.01), threading.Event(), list[None]()
    await nursery.start(lookout.run)

    def answer(text: str) -> bool:
        calls.append(None)
        released.set()
        return True

    with lookout.answering(answer):
        released.wait(60)
        while True:
            seen = len(calls)
            await trio.sleep(0.05)
            if len(calls) == seen:
                break
    nursery.cancel_scope.cancel()


def test_a_place_is_the_applications_own() -> None:
    """Of a stack, the innermost code that is neither of this package, of Trio, nor of a library is named."""
    frame = sys._getframe()
    assert place_of(frame).startswith(f"in test_a_place_is_the_applications_own ({__file__}:")
    assert place_of(None) == NOWHERE


def test_the_interpreter_is_not_the_application() -> None:
    """An import that takes long is named by the line that has it, and not by the interpreter's own code."""
    frozen: dict[str, Callable[[], str]] = {}
    exec(compile("def inner():\n    return place()", "<frozen importlib._bootstrap>", "exec"), frozen)  # noqa: S102
    frozen["place"] = lambda: place_of(sys._getframe(1))
    assert f"({__file__}:" in frozen["inner"]()


def watchers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "lookout"}


async def test_it_ends_with_its_loop() -> None:
    """The thread is gone when the runtime is."""
    before = watchers()
    async with actors.open_runtime() as runtime:
        (watching,) = watchers() - before
        assert repr(runtime.tree.lookout) == "<Lookout>"
    await trio.to_thread.run_sync(watching.join)
    assert not watching.is_alive()


async def test_a_loop_of_simulated_time_is_left_alone(autojump_clock: trio.testing.MockClock) -> None:
    """Under a clock of a test no thread wakes the loop, so that a test can wait until it is idle."""
    before = watchers()
    async with actors.open_runtime():
        assert watchers() <= before
