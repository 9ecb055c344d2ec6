"""A warning where connected devices lose events."""

from __future__ import annotations

import pytest

from actors.delivery.dead_letters import DeadLetter
from actors.observability.losses import Losses
from actors.stages import Cause
from tests.support.served import context_of


def losses(**limits: float) -> tuple[Losses, dict[str, int]]:
    devices: dict[str, int] = {"alice": 1, "bob": 2}
    return Losses(context_of(**limits), devices=lambda user_id: devices.get(user_id, 0)), devices


def test_once_in_a_period(caplog: pytest.LogCaptureFixture) -> None:
    """A user's losses are told once in a period, with their number; what came meanwhile is told in the next."""
    watch, _ = losses(warning_seconds=60)
    watch.note("alice", 3)
    watch.note("alice", 4)
    watch.look(0.0, ())
    watch.note("alice", 5)
    for now in (1.0, 30.0, 61.0):
        watch.look(now, ())
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(" left")[0] for text in told] == ["user alice: 7 events", "user alice: 5 events"]


def test_who_is_away_loses_nothing_new(caplog: pytest.LogCaptureFixture) -> None:
    """Of a user without a device nothing is said, nor of one who has gone since."""
    watch, devices = losses()
    watch.note("carol", 3)
    watch.note("alice", 1)
    watch.look(0.0, ())
    watch.note("alice", 1)
    del devices["alice"]
    watch.look(1.0, ())
    devices["alice"] = 1
    watch.look(100.0, ())
    assert len(caplog.records) == 1
    assert repr(watch) == "<Losses of 0 users to warn of>"


def test_a_name_is_printed_safely(caplog: pytest.LogCaptureFixture) -> None:
    """A user's name cannot break out of its line."""
    watch, devices = losses()
    devices["x\ny"] = 1
    watch.note("x\ny", 1)
    watch.look(0.0, ())
    assert "\n" not in caplog.records[0].getMessage()


def letter(first: int, count: int, at: float, user_id: str = "alice", cause: Cause = Cause.RETENTION) -> DeadLetter:
    return DeadLetter(cause=cause, count=count, at=at, user_id=user_id, first=first, last=first + count - 1)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().split(" left")[0] for record in caplog.records]


def test_drops_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    """Dead letters that grow between two looks, or are looked at again, are counted once; others' causes are not."""
    watch, _ = losses(warning_seconds=1)
    watch.look(0.0, [letter(1, 5, 10.0), letter(1, 7, 10.0, cause=Cause.LOST), letter(1, 9, 10.0, "carol")])
    watch.look(10.0, [letter(1, 5, 10.0)])
    watch.look(20.0, [letter(1, 8, 11.0), letter(3, 2, 11.0, "bob")])
    watch.look(30.0, [letter(1, 8, 11.0), letter(3, 2, 11.0, "bob")])
    watch.look(40.0, [letter(1, 8, 11.0), letter(3, 3, 12.0, "bob")])
    assert told(caplog) == [
        "user alice: 5 events", "user bob: 2 events", "user alice: 3 events", "user bob: 1 events",
    ]  # fmt: skip
