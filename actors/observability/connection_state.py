"""The state of one connection at one moment, for operators."""

from __future__ import annotations

from typing import Literal

import attrs

from actors.delivery.subscription import Subscription

Kind = Literal["v1", "plain", "follower"]
"""A client of the protocol, a client that is sent events alone, or code in the process of the server."""


@attrs.frozen(kw_only=True)
class ConnectionState:
    """One device of a user. What is ``None`` is not known yet, because it has not said hello, or never is."""

    label: str
    """Its name in paths, failures and explanations: ``c3``, and ``f3`` of a follower."""
    user_id: str | None
    kind: Kind
    state: str
    """``saying hello``, ``catching up``, ``live``, ``lagging``, or ``ending`` from its reason to its goodbye."""
    epoch: str | None
    """The epoch of the log in which the offsets are."""
    cursor: int | None
    """The highest offset that it acked; a plain client acks none."""
    written: int | None
    """The last offset that its socket took whole."""
    head: int | None
    """The newest offset of the log."""
    lag_events: int
    """Offsets of the log that its socket has yet to take."""
    backlog_bytes: int | None
    """Bytes that were written to it and have not reached its peer, as far as is known; a follower has no socket."""
    since: float
    """The time at which it came: wall clock, seconds since 1970."""


def compose(
    subscription: Subscription | None,
    *,
    label: str,
    user_id: str | None,
    kind: Kind,
    is_ending: bool,
    backlog_bytes: int | None,
    since: float,
) -> ConnectionState:
    """Compose the state of a device from its subscription, which one that has not said hello does not have."""
    state = "saying hello" if subscription is None else subscription.state.value
    written = None if subscription is None else subscription.written
    head = None if subscription is None else subscription.ledger.head
    return ConnectionState(
        label=label,
        user_id=user_id,
        kind=kind,
        state="ending" if is_ending else state,
        epoch=None if subscription is None else subscription.ledger.epoch,
        cursor=None if subscription is None else subscription.cursor.acked,
        written=written,
        head=head,
        lag_events=0 if subscription is None else subscription.lag_events,
        backlog_bytes=backlog_bytes,
        since=since,
    )
