"""The state of a connection: what an operator reads of it, before its hello and while it is behind."""

from __future__ import annotations

from functools import partial

import attrs

from actors.observability.connection_state import ConnectionState, compose
from tests.delivery.test_subscription import MOST, Town, sent

composed = partial(compose, label="c1", user_id="alice", kind="v1", is_ending=False, backlog_bytes=7, since=5.0)


def test_before_the_hello() -> None:
    """Nothing of a log is known of a device that has not said who it is, and it lacks nothing."""
    assert composed(None, user_id=None) == ConnectionState(
        label="c1",
        user_id=None,
        kind="v1",
        state="saying hello",
        epoch=None,
        cursor=None,
        written=None,
        head=None,
        lag_events=0,
        backlog_bytes=7,
        since=5.0,
    )


def test_a_device_that_is_behind() -> None:
    """Its cursor is what it acked, ``written`` is what its socket took whole, and it lacks the rest of the log."""
    town = Town()
    town.place(3)
    subscription = town.subscribe()
    sent(subscription)
    subscription.ack(2)
    live = composed(subscription)
    assert (live.state, live.epoch, live.cursor, live.written, live.head) == ("live", "ep_1", 2, 3, 3)
    town.place(4)
    outgoing = subscription.pull(MOST)
    assert outgoing is not None
    subscription.begin_write(outgoing)
    town.place(1)
    state = composed(subscription)
    assert (state.state, state.written, state.head, state.lag_events) == ("lagging", 3, 8, 5)


def test_a_device_that_is_ending() -> None:
    """From its reason to its goodbye it is ending, whatever it was before; where it stood can still be read."""
    town = Town()
    subscription = town.subscribe()
    sent(subscription)
    before = composed(subscription)
    assert composed(subscription, is_ending=True) == attrs.evolve(before, state="ending")
