"""A subscription: what one device is sent, whatever its socket, its log and its acks do. No socket, no Trio."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.bounds import Bounds, Chunk
from actors.delivery.cursor import start
from actors.delivery.frames import text_frame, texts_of
from actors.delivery.ledger import Ledger
from actors.delivery.log import Log
from actors.delivery.outgoing import Outgoing
from actors.delivery.subscription import EpochEnded, State, Subscription
from actors.errors import PeerError
from actors.kernel.failures import Failures
from actors.observability.instrument import Instruments
from actors.protocol.client_messages import Origin
from actors.stages import Cause, Stage

MOST = 1 << 20


class Town:
    """One user's log and books, without a store around them."""

    def __init__(self, epoch: str = "ep_1") -> None:
        self.log = Log(epoch)
        self.ledger = Ledger("alice", epoch)
        self.instruments = Instruments(Failures(10, lambda: 0.0))

    def read(self, first: int, most_bytes: int) -> Chunk:
        return self.log.read(first, most_bytes)

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.log.epoch, self.log.low, self.log.head)

    def place(self, count: int = 1, **fields: Any) -> None:
        for _ in range(count):
            event = {"type": "step", **fields, "offset": self.log.head + 1}
            self.ledger.add(self.log.append(text_frame(msgspec.json.encode(event)), 0.0))

    def retain(self, count: int) -> None:
        self.log.trim(count, MOST)
        self.ledger.trim(self.log.low, Cause.RETENTION)

    def renew(self, epoch: str) -> None:
        self.log, self.ledger = Log(epoch), Ledger("alice", epoch)

    def subscribe(self, resume: tuple[str, int] | None = None, origin: Origin = "low", **how: bool) -> Subscription:
        begin = start(self.bounds, resume, origin, self.ledger.first_unacked())
        plain = how.get("plain", False)
        return Subscription(
            self, self.ledger, start=begin, bounds=self.bounds, plain=plain, instruments=self.instruments
        )

    def stage(self, offset: int) -> Stage:
        return self.ledger.page(offset).stage(offset)


def sent(subscription: Subscription, most_bytes: int = MOST) -> list[Any]:
    """Send the next range to a socket that takes everything, decoded."""
    texts: list[bytes] = []
    outgoing = subscription.pull(most_bytes)
    if outgoing is not None:
        subscription.wrote(outgoing)
        assert list(texts_of(outgoing.as_frames())) == list(outgoing.as_texts())
        texts += outgoing.as_texts()
    if subscription.catch_up_is_due:
        texts.append(subscription.catch_up())
    return [json.loads(text) for text in texts]


def test_it_catches_up_and_is_live() -> None:
    """It begins behind, is told when it has everything that was there, and prints where it stands."""
    town = Town()
    town.place(2)
    subscription = town.subscribe()
    assert (subscription.state, repr(subscription)) == (State.CATCHING_UP, "<Subscription catching up next=1 acked=0>")
    assert sent(subscription) == [
        {"type": "step", "offset": 1},
        {"type": "step", "offset": 2},
        {"op": "caught_up", "offset": 2},
    ]
    assert repr(subscription) == "<Subscription live next=3 acked=0>"
    assert sent(subscription) == []
    town.place()
    assert subscription.state is State.LIVE
    assert sent(subscription) == [{"type": "step", "offset": 3}]


def test_an_empty_log_is_caught_up_with() -> None:
    """With nothing there it is caught up by the first pull, and nothing counts as written."""
    subscription = Town().subscribe()
    assert sent(subscription) == [{"op": "caught_up", "offset": 0}]
    assert subscription.state is State.LIVE


def test_a_write_that_is_not_finished() -> None:
    """A range counts as written when the socket has taken it whole; until then the subscription lags."""
    town = Town()
    subscription = town.subscribe()
    sent(subscription)
    town.place(3)
    outgoing = subscription.pull(MOST)
    assert outgoing is not None
    subscription.begin_write(outgoing)
    assert repr(subscription) == "<Subscription lagging next=4 acked=0 writing=1-3>"
    assert town.stage(2) is Stage.STORED
    assert subscription.describe(2, 3.14) == "3 behind, its socket took nothing for 3.1 s"
    subscription.finish_write(written=True)
    assert town.stage(2) is Stage.WRITTEN
    assert subscription.describe(2) == "written, not confirmed yet"


@pytest.mark.parametrize(("plain", "stage"), [(True, Stage.WRITTEN), (False, Stage.STORED)])
def test_the_end_of_an_unfinished_write(plain: bool, stage: Stage) -> None:
    """An unfinished write of a lost socket is sent again to a device that acks, and never to a plain one."""
    town = Town()
    town.place()
    subscription = town.subscribe(plain=plain)
    outgoing = subscription.pull(MOST)
    assert outgoing is not None
    subscription.begin_write(outgoing)
    subscription.end(written=plain)
    assert subscription.state is State.ENDED
    assert town.stage(1) is stage


def test_a_gap_is_told() -> None:
    """A gap is told, and no later ack covers it."""
    town = Town()
    subscription = town.subscribe()
    sent(subscription)
    town.place(5)
    town.retain(2)
    gap, *events, caught_up = sent(subscription)
    assert gap == {"op": "gap", "from": 1, "to": 3, "cause": "retention"}
    assert [event["offset"] for event in events] == [4, 5]
    assert caught_up == {"op": "caught_up", "offset": 5}, "because the end of a run may be in the gap"
    assert subscription.describe(2) == "missed it: it had left the log"
    assert subscription.ack(5) == [(4, 5)]


def test_a_plain_device_is_sent_events_alone() -> None:
    """A device without the protocol is told of no gap, no batch and no end of catching up."""
    town = Town()
    town.place(5, type="agent_delta", payload={"text": "a"}, thread_id="t1", run_id="r1", seq=1)
    town.retain(2)
    subscription = town.subscribe(plain=True)
    assert [text["offset"] for text in sent(subscription)] == [4, 5]
    assert (subscription.state, subscription.awaits_ack) == (State.LIVE, False)


def test_tokens_are_joined_for_a_device_that_is_behind() -> None:
    """A device that catches up gets a run's tokens as one event of a batch; one that is live gets each."""
    town = Town()
    for seq in (1, 2):
        town.place(type="agent_delta", payload={"text": f"{seq} "}, thread_id="t1", run_id="r1", seq=seq)
    subscription = town.subscribe()
    batch = sent(subscription)[0]
    assert (batch["op"], batch["from"], batch["to"]) == ("batch", 1, 2)
    assert [event["payload"]["text"] for event in batch["events"]] == ["1 2 "]
    for seq in (3, 4):
        town.place(type="agent_delta", payload={"text": f"{seq} "}, thread_id="t1", run_id="r1", seq=seq)
    assert [event["payload"]["text"] for event in sent(subscription)] == ["3 ", "4 "]


def test_another_epoch() -> None:
    """When the log goes on in another epoch nothing is taken from it until the subscription is reset into it."""
    town = Town()
    town.place(3)
    subscription = town.subscribe()
    sent(subscription)
    former = town.ledger
    town.renew("ep_2")
    town.place(2)
    for _ in range(2):
        with pytest.raises(EpochEnded):
            subscription.pull(MOST)
    said = [json.loads(text) for text in subscription.reset(town.bounds, town.ledger)]
    assert said == [{"op": "reset", "epoch": "ep_2", "low": 1}, {"op": "ping", "head": 2}]
    assert [event["offset"] for event in sent(subscription)] == [1, 2, 2], "and it has caught up again"
    assert former.stored == 0


def test_an_ack_ahead() -> None:
    """An ack of what was not sent is refused, and changes nothing."""
    town = Town()
    town.place(2)
    subscription = town.subscribe()
    sent(subscription)
    with pytest.raises(PeerError, match="ack: expected an offset of at most 2, the last one sent here, got 3"):
        subscription.ack(3)
    assert subscription.ack(2) == [(1, 2)]
    assert subscription.ack(2) == []


steps = st.lists(
    st.tuples(st.sampled_from(["place", "pull", "stall", "finish", "retain", "ack", "renew"]), st.integers(1, 4)),
    max_size=60,
)


@given(steps, st.integers(1, 200))
def test_every_offset_is_sent_once_or_told(todo: list[tuple[str, int]], most_bytes: int) -> None:
    """Whatever the log and the socket do, what is sent and what is told gone are all offsets, once, in order."""
    town = Town()
    subscription, position, unfinished = town.subscribe(), 0, False
    for number, (step, count) in enumerate(todo):
        if step == "place":
            town.place(count)
        elif step == "retain":
            town.retain(count)
        elif step == "ack":
            subscription.ack(max(subscription.cursor.position - count, 0))
        elif step == "finish":
            subscription.finish_write(written=True)
            unfinished = False
        elif step == "renew" and not unfinished:
            town.renew(f"ep_{number}")
            subscription.reset(town.bounds, town.ledger)
            position = 0
        elif step in {"pull", "stall"} and not unfinished:
            outgoing = subscription.pull(most_bytes)
            position = _check(outgoing, position)
            if outgoing is not None and step == "stall":
                subscription.begin_write(outgoing)
                unfinished = outgoing.last >= outgoing.first
            elif outgoing is not None:
                subscription.wrote(outgoing)
        assert subscription.cursor.position == position
        assert subscription.cursor.acked <= position


def _check(outgoing: Outgoing | None, position: int) -> int:
    """Each message follows the last one; returns the offset after all of them."""
    for text in () if outgoing is None else outgoing.as_texts():
        message = json.loads(text)
        if message.get("op") in {"gap", "batch"}:
            assert message["from"] == position + 1
            position = message["to"]
        elif "op" not in message:
            assert message["offset"] == position + 1
            position += 1
    return position
