"""A warning where connected devices lose events."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from actors.delivery.dead_letters import DeadLetter
from actors.observability.losses import Losses
from actors.stages import Cause
from tests.support.served import context_of


class Harness:
    """Losses, a clock, and users with devices."""

    def __init__(self, **limits: float) -> None:
        self.now = 0.0
        self.devices: dict[str, int] = {"alice": 1, "bob": 2}
        context = context_of(lambda: self.now, **limits)
        self.losses = Losses(context, devices=lambda user_id: self.devices.get(user_id, 0))

    def look(self, now: float, letters: Sequence[DeadLetter] = ()) -> None:
        """A look at a time."""
        self.now = now
        self.losses.look(letters)


def test_once_in_a_period(caplog: pytest.LogCaptureFixture) -> None:
    """A user's losses are told once in a period, with their number; what came meanwhile is told in the next."""
    harness = Harness(warning_seconds=60)
    watch = harness.losses
    watch.note("alice", 3)
    watch.note("alice", 4)
    harness.look(0.0)
    watch.note("alice", 5)
    for now in (1.0, 30.0, 61.0):
        harness.look(now)
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(" left")[0] for text in told] == ["user alice: 7 events", "user alice: 5 events"]


def test_who_is_away_loses_nothing_new(caplog: pytest.LogCaptureFixture) -> None:
    """Of a user without a device nothing is said, nor of one who has gone since."""
    harness = Harness()
    watch = harness.losses
    watch.note("carol", 3)
    watch.note("alice", 1)
    harness.look(0.0)
    watch.note("alice", 1)
    del harness.devices["alice"]
    harness.look(1.0)
    harness.devices["alice"] = 1
    harness.look(100.0)
    assert len(caplog.records) == 1
    assert repr(watch) == "<Losses of 0 users to warn of>"


def test_a_name_is_printed_safely(caplog: pytest.LogCaptureFixture) -> None:
    """A user's name cannot break out of its line."""
    harness = Harness()
    harness.devices["x\ny"] = 1
    harness.losses.note("x\ny", 1)
    harness.look(0.0)
    assert "\n" not in caplog.records[0].getMessage()


def letter(first: int, count: int, at: float, user_id: str = "alice", cause: Cause = Cause.RETENTION) -> DeadLetter:
    return DeadLetter(cause=cause, count=count, at=at, user_id=user_id, first=first, last=first + count - 1)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().split(" left")[0] for record in caplog.records]


def test_drops_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    """Dead letters that grow between two looks, or are looked at again, are counted once; others' causes are not."""
    harness = Harness(warning_seconds=1)
    harness.look(0.0, [letter(1, 5, 10.0), letter(1, 7, 10.0, cause=Cause.LOST), letter(1, 9, 10.0, "carol")])
    harness.look(10.0, [letter(1, 5, 10.0)])
    harness.look(20.0, [letter(1, 8, 11.0), letter(3, 2, 11.0, "bob")])
    harness.look(30.0, [letter(1, 8, 11.0), letter(3, 2, 11.0, "bob")])
    harness.look(40.0, [letter(1, 8, 11.0), letter(3, 3, 12.0, "bob")])
    assert told(caplog) == [
        "user alice: 5 events", "user bob: 2 events", "user alice: 3 events", "user bob: 1 events",
    ]  # fmt: skip


def test_who_is_away_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """What a log sheds while its user has no device is told at INFO, once in a period, and the rest is counted."""
    caplog.set_level(logging.INFO, "actors")
    harness = Harness(warning_seconds=60)
    harness.look(0.0, [letter(1, 5, 10.0, "carol")])
    harness.look(1.0, [letter(1, 9, 11.0, "carol")])
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage().startswith("user carol, who has no device: 5 events left the log (retention)")
