"""The causes: for each incident the first sentence names it, and what else is so follows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from actors.control.answers import DeviceAnswer, EventAnswer
from actors.control.causes import Evidence, Seen, events, judge
from actors.delivery.cursor import Standing
from actors.kernel.failures import Failure
from actors.observability.explain import clock
from actors.observability.owners import Dispute, Ownership
from actors.observability.refusals import Refusal
from actors.stores.store import Trouble
from actors.users.presence import Departure

AT = datetime(2026, 3, 1, 14, 2, 11).timestamp()
"""On the reader's own clock, as in the sentences."""


def seen(**facts: Any) -> Evidence:
    """What is known of alice, who has two events that no device has acked, unless it is said otherwise."""
    given: dict[str, Any] = {"user_id": "alice", "now": AT + 60, "placed": 9, "unacked": 2, "first": 8}
    return Evidence(**given | facts)


def device(standing: Standing = "handed", **facts: Any) -> Seen:
    """A device, c3."""
    given: dict[str, Any] = {"label": "c3", "user_id": "alice", "kind": "v1", "state": "live", "heard_at": AT + 59}
    return Seen(device=DeviceAnswer(**given | facts), standing=standing)


FAILURE = Failure(path="users/alice", handling="Acked", error="ValueError: a bug", traceback="", at=AT)
LEFT = Departure(label="c3", name="silent", text="it did not answer a ping within 10 s", at=AT)
OLDEST = EventAnswer(event_id="e1", type="x", thread_id="t1", offset=8, at=AT)
DENIED = Refusal(peer="10.0.0.7:5", source="hello", reason="the token expired", at=AT, user_id="alice")
STRANGER = Refusal(peer="10.0.0.7:5", source="cookie", reason="authenticate found no user for it", at=AT, user_id=None)
LOST = Ownership(thread_id="t1", former="alice", user_id="bob", at=AT)
DISPUTE = Dispute(thread_id="t1", user_id="alice", at=AT)

INCIDENTS: list[tuple[Evidence, str, str]] = [
    (
        seen(quarantine=FAILURE), "quarantined",
        "alice is out of service since 14:02:11, because its actor crashed too often (ValueError: a bug): devices are"
        " refused, and 2 events wait in its log; `actors release users/alice` puts it back",
    ),
    (
        seen(unacked=0, quarantined_threads=[("t1", FAILURE), ("t2", FAILURE)]), "quarantined",
        "thread t1 of alice is out of service since 14:02:11, because its actor crashed too often (ValueError: a bug),"
        " and takes no event; `actors release threads/t1` puts it back; the same holds for 1 other"
        " thread",
    ),
    (
        seen(trouble=Trouble("the disk is full", AT)), "store",
        "nothing is stored since 14:02:11, for alice or any user: the disk is full; it is tried again, every"
        " second at least, until that is mended",
    ),
    (
        seen(departure=LEFT, oldest=OLDEST), "away",
        "no device of alice is here, since c3 left at 14:02:11 (silent: it did not answer a ping within 10 s); 2 events"
        " wait in its log, the oldest since 14:02:11",
    ),
    (
        seen(unacked=1, refused=[("403 origin", 5), ("no_hello", 1)]), "away",
        "no device of alice is here, or was lately; 1 event waits in its log; sockets of users that are not known were"
        " refused: 403 origin 5, no_hello 1",
    ),
    (
        seen(unacked=1, denied_strangers=[STRANGER, STRANGER]), "away",
        "no device of alice is here, or was lately; 1 event waits in its log; a device of this user may be among those"
        " that were refused without a name: 2 clients were, the last at 14:02:11, from 10.0.0.7: authenticate found no"
        " user for it (in its cookie)",
    ),
    (
        seen(known=False, unacked=0, placed=0, denied=[DENIED]), "refused",
        "no device of alice is here, because its credentials were refused at 14:02:11, from 10.0.0.7: the token expired"
        " (in its hello); it comes back when its client gets fresh ones",
    ),
    (
        seen(departure=LEFT, oldest=OLDEST, denied=[DENIED, DENIED]), "refused",
        "no device of alice is here, because its credentials were refused 2 times, the last time at 14:02:11, from"
        " 10.0.0.7: the token expired (in its hello); it comes back when its client gets fresh ones; 2 events wait in"
        " its log, the oldest since 14:02:11",
    ),
    (
        seen(unacked=0, devices=[device("acked")], denied=[DENIED]), "refused",
        "another device of alice is not here, because its credentials were refused at 14:02:11, from 10.0.0.7: the"
        " token expired (in its hello); it comes back when its client gets fresh ones",
    ),
    (
        seen(unacked=0, departure=LEFT, lost=4, lost_at=AT - 1), "retention",
        "4 events of alice were dropped by retention, the last at 14:02:10, before any device took them: more was"
        " emitted than its devices took; emit with ahead=, so that the emitter waits",
    ),
    (
        seen(unacked=0, departure=LEFT, lost=1, lost_at=AT + 1), "retention",
        "1 event of alice was dropped by retention, the last at 14:02:12, before any device took it: no device was"
        " here",
    ),
    (
        seen(devices=[device(stalled_at=AT + 29, backlog_bytes=1_000, pending_bytes=120_000)]), "stalled",
        "c3 of alice stopped reading at 14:02:40, 31 s ago: 120,000 bytes wait for it, and 2 events for its ack; it is"
        " cut off 10 s after the last byte that it took",
    ),
    (
        seen(devices=[device(heard_at=AT + 20, pinged_at=AT + 35, pending_bytes=456)]), "silent",
        "nothing was heard of c3 of alice since 14:02:31, 40 s ago; it owes the answer to a ping since 14:02:46: its"
        " network is gone, or it sleeps (half-open); 456 bytes have not reached it; 2 events wait for its ack; it is"
        " given up 10 s after the ping",
    ),
    (
        seen(devices=[device(heard_at=AT + 50, pending_bytes=456)], oldest=OLDEST), "silent",
        "nothing was heard of c3 of alice since 14:03:01, 10 s ago: its network is gone, or it sleeps (half-open); 456"
        " bytes have not reached it; 2 events wait for its ack; it is given up 10 s after the ping",
    ),
    (
        seen(devices=[device(heard_at=AT + 20, pinged_at=AT + 35, pending_bytes=0)]), "silent",
        "nothing was heard of c3 of alice since 14:02:31, 40 s ago; it owes the answer to a ping since 14:02:46: what"
        " was written has reached its machine, where its program stopped reading, or else a proxy before it; 2 events"
        " wait for its ack; it is given up 10 s after the ping",
    ),
    (
        seen(devices=[device(heard_at=AT + 20, pinged_at=AT + 35)], unacked=0), "silent",
        "nothing was heard of c3 of alice since 14:02:31, 40 s ago; it owes the answer to a ping since 14:02:46: it"
        " stopped reading, or its network is gone; it is given up 10 s after the ping",
    ),
    (
        seen(devices=[device(heard_at=AT - 1)], oldest=OLDEST), "unacked",
        "c3 of alice was sent 2 events, the oldest since 14:02:11, and has not acked them, and nothing was heard of it"
        " since 14:02:10: its program hangs, or its network is gone (half-open), and then it is given up within 25 s of"
        " that; no device has acked anything",
    ),
    (
        seen(devices=[device("behind", lag_events=40)], lost=400, lost_at=AT + 58), "retention",
        "400 events of alice were dropped by retention, the last at 14:03:09, before any device took them: more was"
        " emitted than its devices took; emit with ahead=, so that the emitter waits",
    ),
    (
        seen(devices=[device("behind", lag_events=40)], oldest=OLDEST), "behind",
        "c3 of alice reads, and is 40 events behind, the oldest since 14:02:11",
    ),
    (
        seen(devices=[device(kind="plain", heard_at=None)]), "plain",
        "c3 of alice was sent 2 events, and is a plain client, which does not ack",
    ),
    (
        seen(devices=[device()], oldest=EventAnswer(event_id="e1", type="x", thread_id="t1", offset=8, at=AT + 59)),
        "fresh", "2 events went out to c3 of alice a moment ago, and its ack is not due yet",
    ),
    (
        seen(devices=[device()], oldest=OLDEST, acked_at=AT - 60), "unacked",
        "c3 of alice was sent 2 events, the oldest since 14:02:11, and has not acked them, though it was heard at"
        " 14:03:10; the last ack came at 14:01:11",
    ),
    (
        seen(devices=[device("began later")]), "began later",
        "2 events wait for a device of alice that takes them: c3, which is here, began after them",
    ),
    (
        seen(unacked=0, disputes=[(DISPUTE, "bob"), (DISPUTE, "carol")]), "other_owner",
        "thread t1 was named for alice at 14:02:11, and is bound to bob, whose devices get what is emitted into it; 1"
        " other thread named for it is not its own either",
    ),
    (
        seen(unacked=0, losses=[(LOST, "bob")]),
        "other_owner", "thread t1 was alice's until 14:02:11, and is bound to bob",
    ),
    (
        seen(unacked=0, losses=[(LOST, "bob"), (LOST, "carol"), (LOST, None)]),
        "other_owner",
        "thread t1 was alice's until 14:02:11, and is bound to bob; 2 other threads were taken from it, too",
    ),
    (
        seen(unacked=0, acked_at=AT, devices=[device("acked")]), "acked",
        "nothing of alice is unacked: all 9 events of its log were acked or have left it; the last ack came at"
        " 14:02:11",
    ),
    (
        seen(unacked=0, unconfirmed=3), "acked",
        "nothing of alice is unacked: all 9 events of its log were acked or have left it, 3 of them unconfirmed",
    ),
    (
        seen(unacked=0, placed=0, threads=["t1", "t2"], threads_total=2), "nothing",
        "nothing waits for alice, because nothing was emitted for it: it owns 2 threads (t1, t2)",
    ),
    (
        seen(unacked=0, placed=0, lively=[("t9", "bob"), ("t8", None)]), "nothing",
        "nothing waits for alice, because nothing was emitted for it: it owns no thread; threads that were in use"
        " lately: t9 (of bob), t8 (no owner)",
    ),
    (
        seen(known=False, unacked=0, placed=0), "unknown",
        "nothing is known of alice here: no log, no device, no thread",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("evidence", "cause", "text"), INCIDENTS, ids=[cause for _, cause, _ in INCIDENTS])
def test_the_first_sentence(evidence: Evidence, cause: str, text: str) -> None:
    """It names the cause, since when, how much waits, and the way out where there is one."""
    assert judge(evidence)[0] == (cause, text)


def test_the_worst_cause_is_first() -> None:
    """What keeps the others from mattering stands before them, and they follow."""
    stalled = device(stalled_at=AT, backlog_bytes=9)
    found = judge(seen(quarantine=FAILURE, devices=[stalled], lost=4, lost_at=AT, disputes=[(DISPUTE, "bob")]))
    assert [cause for cause, _ in found] == ["quarantined", "stalled", "retention", "other_owner"]


def test_a_device_that_acks_speaks_for_the_user() -> None:
    """One that stopped reading beside one that acks everything is no reason why anything is unacked."""
    stalled = device(stalled_at=AT, backlog_bytes=9)
    assert judge(seen(unacked=0, devices=[stalled, device("acked")]))[0][0] == "acked"


def test_a_pause_is_no_standstill() -> None:
    """A socket that took something a second ago is slow, and so is a device that was pinged a second ago."""
    slow = device("behind", stalled_at=AT + 59, pinged_at=AT + 59, lag_events=1)
    assert [cause for cause, _ in judge(seen(devices=[slow]))] == ["behind"]


def test_a_device_that_stopped_reading_does_not_read() -> None:
    """It is behind, too, and that it reads is not said of it."""
    stalled = device("behind", stalled_at=AT, backlog_bytes=9, lag_events=40)
    assert [cause for cause, _ in judge(seen(devices=[stalled]))] == ["stalled"]


def test_a_cause_is_said_once() -> None:
    """No device is here because the user is out of service, or because its credentials were refused: that is all."""
    assert [cause for cause, _ in judge(seen(quarantine=FAILURE, departure=LEFT))] == ["quarantined"]
    silent = device(heard_at=AT + 20, pinged_at=AT + 35)
    assert [cause for cause, _ in judge(seen(devices=[silent], oldest=OLDEST))] == ["silent"]
    assert [cause for cause, _ in judge(seen(departure=LEFT, denied=[DENIED]))] == ["refused"]


def test_an_old_refusal_beside_a_device_is_past() -> None:
    """A device that is here for long is more likely all that there is."""
    old = seen(unacked=0, devices=[device("acked")], denied=[DENIED], now=AT + 301)
    assert [cause for cause, _ in judge(old)] == ["acked"]


def test_an_old_loss_is_past() -> None:
    """What was dropped before all that is retained is not the matter any more."""
    assert [cause for cause, _ in judge(seen(unacked=0, lost=4, lost_at=AT - 300))] == ["acked"]


def test_words() -> None:
    """Times are those of the reader's clock; numbers have their plural, and separators."""
    assert (clock(AT), events(1), events(2_000)) == ("14:02:11", "1 event", "2,000 events")
