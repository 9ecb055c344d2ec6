"""Runs that are active, each told once."""

from __future__ import annotations

from actors.delivery.activity import Activity
from actors.events.delivered import Event
from actors.events.event import Lifecycle
from actors.events.items import Active, Inactive, Reset
from actors.protocol import server_messages
from actors.protocol.server_messages import Beginning


def event(type_: str, run_id: str = "r1") -> Event:
    """An event of a run."""
    return Event(type=type_, payload={}, thread_id="t", run_id=run_id, seq=1, offset=1)


def told(activity: Activity, run_id: str = "r1", *, waiting: bool = False) -> bool:
    """Tell a run to be active; true if that is news."""
    beginning = Beginning(run_id=run_id, thread_id="t", payload={}, event_id="e", timestamp=0.0)
    item = activity.active(server_messages.Active(beginning, waiting=waiting))
    assert isinstance(item, Active)
    return activity.is_news(item)


def test_a_run_is_told_once() -> None:
    """Whether its first event or a message told it; and once more when its turn has come."""
    activity = Activity()
    assert told(activity, waiting=True)
    assert not told(activity, waiting=True)
    assert told(activity)
    assert not told(activity)
    assert activity.is_news(event(Lifecycle.AGENT_STARTED, "r2"))
    assert not told(activity, "r2")


def test_an_end_is_told_of_a_run_that_was() -> None:
    """A run that the application was not handed, or whose last event it has, does not end for it."""
    activity = Activity()
    assert not activity.is_news(Inactive("r1", "gone"))
    told(activity)
    assert activity.is_news(Inactive("r1", "gone"))
    told(activity)
    assert activity.is_news(event(Lifecycle.AGENT_FAILED))
    assert not activity.is_news(Inactive("r1", "gone"))


def test_a_log_that_begins_anew_tells_all_again() -> None:
    """After a reset the application knows of no run."""
    activity = Activity()
    told(activity)
    assert activity.is_news(Reset("e", 1))
    assert told(activity)


def test_a_run_that_does_not_come_again_is_gone() -> None:
    """With the pong to the ping after ``caught_up`` all that is active has come again, or begun since."""
    activity = Activity()
    assert not activity.caught_up()
    for run_id in ("r1", "r2"):
        told(activity, run_id)
    assert activity.caught_up()
    told(activity, "r2")
    activity.event(event(Lifecycle.AGENT_STARTED, "r3"))
    assert activity.pong() == [Inactive("r1", "gone")]
