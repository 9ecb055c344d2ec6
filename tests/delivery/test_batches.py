"""Batches say the same as the events they stand for."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.batches import batch, bundle, join
from actors.delivery.frames import text_frames, texts_of
from actors.events.event import encode, placed
from actors.limits import Limits

LIMITS = Limits()
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["t1", "t2"]),
        st.sampled_from(["r1", "r2", None]),
        st.sampled_from(["agent_delta", "agent_delta", "agent_thinking", "odd delta"]),
        st.text(max_size=6),
    ),
    max_size=40,
)


def log_of(events: list[tuple[str, str | None, str, str]], first: int = 1) -> list[bytes]:
    """The events as a log has them."""
    seqs: dict[str, int] = {}
    texts = []
    for offset, (thread_id, run_id, kind, said) in enumerate(events, first):
        seqs[thread_id] = seq = seqs.get(thread_id, 0) + 1
        type_, payload = (kind, {"text": said}) if kind != "odd delta" else ("agent_delta", {"text": said, "n": 1})
        texts.append(placed(encode(type_, payload, thread_id, run_id, f"e{offset}", offset / 7, LIMITS), seq, offset))
    return texts


def naive(texts: list[bytes]) -> list[dict[str, Any]]:
    """Each event; a delta goes into the one before it, if that is one of the same run."""
    events: list[dict[str, Any]] = []
    for text in texts:
        event = json.loads(text)
        before = events[-1] if events and events[-1]["thread_id"] == event["thread_id"] else None
        pair = [event, before]
        if all(one and one["type"] == "agent_delta" and list(one["payload"]) == ["text"] for one in pair) and (
            before is not None and before.get("run_id") == event.get("run_id")
        ):
            events.remove(before)
            event["payload"]["text"] = before["payload"]["text"] + event["payload"]["text"]
            event["seq0"] = before.get("seq0", before["seq"])
        events.append(event)
    return events


@given(EVENTS)
def test_join_says_the_same(events: list[tuple[str, str | None, str, str]]) -> None:
    """Deltas of a run that follow each other are one event; nothing else is touched."""
    texts = log_of(events)
    assert [json.loads(text) for text in join(texts)] == naive(texts)
    assert all(text in texts or b'"seq0":' in text for text in join(texts))


@given(EVENTS)
def test_nothing_is_left_out(events: list[tuple[str, str | None, str, str]]) -> None:
    """In each thread the sequence numbers of a batch are those of its events, once, in order; offsets ascend."""
    joined = [json.loads(text) for text in join(log_of(events))]
    assert [event["offset"] for event in joined] == sorted(event["offset"] for event in joined)
    for thread_id in ("t1", "t2"):
        mine = [event for event in joined if event["thread_id"] == thread_id]
        seqs = [seq for event in mine for seq in range(event.get("seq0", event["seq"]), event["seq"] + 1)]
        assert seqs == list(range(1, sum(event[0] == thread_id for event in events) + 1))


@given(EVENTS)
def test_a_batch_may_be_left_anywhere(events: list[tuple[str, str | None, str, str]]) -> None:
    """Each event of a batch stands for the offsets behind the one before it, up to its own, and for no others: a device
    that goes on behind any of them has all that was before."""
    offset = 0
    for event in (json.loads(text) for text in join(log_of(events))):
        assert event["offset"] - offset == event["seq"] - event.get("seq0", event["seq"]) + 1
        offset = event["offset"]


@given(EVENTS, st.integers(1, 1 << 40))
def test_the_range_is_said(events: list[tuple[str, str | None, str, str]], first: int) -> None:
    """A batch says which offsets it stands for; where nothing can be joined there is none."""
    texts = log_of(events, first)
    said = batch(first, first + len(texts) - 1, text_frames(texts))
    if len(join(texts)) == len(texts):
        assert said is None
    else:
        assert said is not None
        message = json.loads(said)
        assert (message["op"], message["from"], message["to"]) == ("batch", first, first + len(texts) - 1)
        assert message["events"] == naive(texts)


@given(st.lists(st.binary(min_size=2, max_size=300) | st.sampled_from([b"x" * 70_000, b"y" * 126, b"z" * 65_535])))
def test_frames_come_apart(texts: list[bytes]) -> None:
    """Frames that were joined for one write are the texts that went in."""
    assert list(texts_of(text_frames(texts))) == texts


@given(EVENTS, st.integers(1, 1 << 40))
def test_a_bundle_is_one_message(events: list[tuple[str, str | None, str, str]], first: int) -> None:
    """Where messages are paid for by their number, several events are one, whether or not some can be joined."""
    texts = log_of(events, first)
    said = bundle(first, first + len(texts) - 1, text_frames(texts))
    if len(texts) < 2:
        assert said is None
    else:
        assert said is not None
        message = json.loads(said)
        assert (message["op"], message["from"], message["to"]) == ("batch", first, first + len(texts) - 1)
        assert message["events"] == naive(texts)
