"""The messages of a server: written with each field in its place, and read leniently."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from actors.delivery.batches import batch
from actors.delivery.frames import text_frames
from actors.errors import PeerError
from actors.events.delivered import Event
from actors.protocol.codes import CLOSINGS, REFUSALS
from actors.protocol.server_messages import (
    Active,
    AnswerReply,
    Ask,
    AskClosed,
    Batch,
    Beginning,
    CancelReply,
    CaughtUp,
    Error,
    Gap,
    GoingAway,
    Inactive,
    Message,
    Ping,
    Pong,
    Problem,
    Question,
    ReadReply,
    Reply,
    Reset,
    SendReply,
    ServerLimits,
    ServerMessage,
    Welcome,
    decode,
    encode,
    problem,
    refusal,
)

RAW = msgspec.Raw(b'{"event_id":"a","payload":{}}')
LIMITS = ServerLimits(1, 2.5, 3, 4, 5)
OK: dict[str, Any] = {"id": "c1", "ok": True}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            Welcome("s", "e", head=41, low=1, start=40, resume="fresh", ping_s=15.0, limits=LIMITS),
            '{"op":"welcome","session":"s","epoch":"e","head":41,"low":1,"start":40,"resume":"fresh","ping_s":15.0,'
            '"limits":{"message_bytes":1,"messages_per_s":2.5,"ack_events":3,"ack_s":4,"requests":5}}',
        ),
        (CaughtUp(41), '{"op":"caught_up","offset":41}'),
        (Gap(12, 30, "retention"), '{"op":"gap","from":12,"to":30,"cause":"retention"}'),
        (Reset("e", 1), '{"op":"reset","epoch":"e","low":1}'),
        (Ping(41), '{"op":"ping","head":41}'),
        (Pong(), '{"op":"pong"}'),
        (GoingAway(1730), '{"op":"going_away","retry_ms":1730}'),
        (Active(RAW), '{"op":"active","event":{"event_id":"a","payload":{}}}'),
        (Active(RAW, waiting=True), '{"op":"active","event":{"event_id":"a","payload":{}},"waiting":true}'),
        (Inactive("r", "gone"), '{"op":"inactive","run_id":"r","reason":"gone"}'),
        (Ask(RAW, 58.2), '{"op":"ask","event":{"event_id":"a","payload":{}},"timeout_s":58.2}'),
        (Ask(RAW, 0.0), '{"op":"ask","event":{"event_id":"a","payload":{}},"timeout_s":0.0}'),
        (Ask(RAW), '{"op":"ask","event":{"event_id":"a","payload":{}}}'),
        (AskClosed("a", "expired"), '{"op":"ask_closed","ask":"a","reason":"expired"}'),
        (
            Error(problem(CLOSINGS["bad_message"], "no")),
            '{"op":"error","error":{"code":4502,"name":"bad_message","temporary":false,"message":"no"}}',
        ),
        (
            SendReply(**OK, run_id=None, thread_id="t", event_id="m", seq=8, epoch="e", offset=42),
            '{"op":"reply","id":"c1","ok":true,"run_id":null,"thread_id":"t","event_id":"m","seq":8,"epoch":"e",'
            '"offset":42}',
        ),
        (
            CancelReply(**OK, run_id="r", stopped=("r",), running=()),
            '{"op":"reply","id":"c1","ok":true,"run_id":"r","stopped":["r"],"running":[]}',
        ),
        (
            ReadReply(**OK, thread_id="t", events=(RAW,), gone=((1, 4),), head_seq=8, more=False),
            '{"op":"reply","id":"c1","ok":true,"thread_id":"t","events":[{"event_id":"a","payload":{}}],'
            '"gone":[[1,4]],"head_seq":8,"more":false}',
        ),
        (AnswerReply(**OK, ask="a"), '{"op":"reply","id":"c1","ok":true,"ask":"a"}'),
    ],
)
def test_written(message: Message, text: str) -> None:
    """Each message is the protocol's JSON, field by field and in order; one that may be absent is, at its default."""
    assert encode(message).decode() == text
    assert decode(text) is not None


def test_refusals() -> None:
    """A refusal is its row, in the words of the row unless there are better ones."""
    row = REFUSALS["busy"]
    told = {"code": row.code, "name": "busy", "temporary": True, "message": row.text}
    assert json.loads(refusal("c1", "busy")) == {"op": "reply", "id": "c1", "error": told}
    assert json.loads(refusal(7, "unknown_run", "no")) == {
        "op": "reply",
        "id": 7,
        "error": {"code": 4603, "name": "unknown_run", "temporary": False, "message": "no"},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"op":"welcome","session":"s","epoch":"e","head":4,"low":1,"start":1,"resume":"tomorrow"}',
            Welcome("s", "e", head=4, low=1, start=1, resume="tomorrow"),
        ),
        ('{"op":"gap","from":1,"to":2}', Gap(1, 2)),
        ('{"op":"ping"}', Ping()),
        ('{"op":"going_away"}', GoingAway()),
        ('{"op":"error","error":{}}', Error(Problem())),
        ('{"op":"reply","id":5,"error":{"name":"x"}}', Reply(5, error=Problem(name="x"))),
        ('{"op":"reply","id":"c1","ok":true,"seq":"whatever"}', Reply("c1", ok=True)),
        ('{"op":"ask","event":{"event_id":"a"}}', Ask(Question("a"))),
        ('{"op":"active","event":{}}', Active(Beginning())),
        ('{"op":"inactive","run_id":"r","since":"yesterday"}', Inactive("r")),
        ('{"op":"ask_closed","ask":"a"}', AskClosed("a")),
        ('{"op":"batch","from":1,"to":1}', Batch[Event](1, 1)),
        (
            '{"type":"x","payload":{},"thread_id":"t","seq":1,"offset":2,"new":[1]}',
            Event(type="x", payload={}, thread_id="t", seq=1, offset=2),
        ),
        ('{"op":"news","of":"tomorrow"}', None),
    ],
)
def test_read_leniently(text: str, expected: ServerMessage | None) -> None:
    """What a client can do without may be left out, and what it does not know is ignored."""
    assert decode(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[" * 20_000, '{"op":1}', '{"op":"reset"}', '{"type":"x"}', '{"op":"gap","from":"a"}', "\ud800"],
)
def test_no_message(text: str) -> None:
    """Anything that is no message of the protocol is a bad one, of which the beginning is repeated."""
    with pytest.raises(PeerError, match="expected a message of the protocol, got"):
        decode(text)


def test_batches_are_written_alike() -> None:
    """The batches of the log, which are put together from bytes, are what their struct would be."""
    head = b'{"type":"agent_delta","payload":{"text":"a"},"thread_id":"t","run_id":"r","event_id":"e","timestamp":0.5'
    frames = text_frames([head + b',"seq":%d,"offset":%d}' % (n, n) for n in (1, 2)])
    text = batch(1, 2, frames)
    assert text is not None
    read = decode(text.decode())
    assert isinstance(read, Batch)
    assert json.loads(encode(read)) == json.loads(text)
    assert text.startswith(encode(Batch[Event](1, 2))[: -len("]}")])
