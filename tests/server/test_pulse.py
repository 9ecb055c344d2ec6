"""The pulse: what is done once a second is done, and does not hide how late it was."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import actors
from actors.stages import Stage


async def test_the_books_are_inspected(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Whether the books add up is known two seconds after the start; a fault is said once, with the user, and stays."""
    async with actors.open_runtime() as runtime:
        assert runtime.statistics().books_balanced is None
        receipt = await runtime.thread("t").emit("step", {}, user_id="alice")
        await trio.sleep(3)
        assert runtime.statistics().books_balanced is True
        runtime.tree.accounts.users["alice"].ledger.dropped += 1
        await trio.sleep(10)
        assert runtime.statistics().books_balanced is False
        assert not runtime.audit().balanced
        runtime.tree.accounts.users["alice"].ledger.dropped -= 1
        assert receipt.stage is Stage.STORED
    said = [record.getMessage() for record in caplog.records if "add up" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("the books do not add up: user alice: Balance(")


async def test_the_lag_of_the_loop(autojump_clock: MockClock) -> None:
    """A step that keeps the loop for too long is seen for fifteen seconds, so that a scrape in that time finds it."""
    async with actors.open_runtime() as runtime:
        await trio.sleep(5.5)
        assert runtime.statistics().loop_lag_seconds == 0
        autojump_clock.jump(0.75)
        await trio.sleep(0.5)
        assert runtime.statistics().loop_lag_seconds == pytest.approx(0.25)
        await trio.sleep(10)
        assert runtime.statistics().loop_lag_seconds == pytest.approx(0.25)
        await trio.sleep(10)
        assert runtime.statistics().loop_lag_seconds == 0
