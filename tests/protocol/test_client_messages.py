"""The messages of a client: read strictly, and written as the protocol has them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import PeerError
from actors.protocol.client_messages import (
    Ack,
    AnswerAsk,
    CancelRun,
    Hello,
    Malformed,
    Message,
    Ping,
    Pong,
    ReadThread,
    ResumePoint,
    Send,
    Unknown,
    decode,
    encode,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"op":"hello","v":1}', Hello(v=1)),
        (
            '{"op":"hello","v":1,"token":"x","session":"s","resume":{"epoch":"e","offset":40},"from":"low"}',
            Hello(v=1, token="x", session="s", resume=ResumePoint("e", 40), origin="low"),
        ),
        ('{"op":"hello","v":7,"token":null,"resume":null,"from":"head"}', Hello(v=7, origin="head")),
        ('{"op":"ack","offset":0}', Ack(0)),
        ('{"offset":9007199254740991,"op":"ack"}', Ack(2**53 - 1)),
        (' {"op" : "ping"} ', Ping()),
        ('{"op":"pong"}', Pong()),
        ('{"op":"dance"}', Unknown("dance", None)),
        ('{"op":"dance","id":"c1","offset":"not ours to read"}', Unknown("dance", "c1")),
        ('{"op":"dance","id":7}', Unknown("dance", 7)),
        ('{"op":""}', Unknown("", None)),
        ('{"op":"p\\u0069ng"}', Ping()),
        ('{"op":"send","id":"c1","payload":{}}', Send("c1", {})),
        (
            '{"op":"send","id":7,"payload":{"x":[null]},"thread_id":"t1","type":"note"}',
            Send(7, {"x": [None]}, "t1", "note"),
        ),
        ('{"op":"send","id":"","payload":{},"thread_id":null}', Send("", {})),
        ('{"op":"cancel","id":"c2","run_id":"r1"}', CancelRun("c2", "r1")),
        ('{"op":"read","id":"c3","thread_id":"t1"}', ReadThread("c3", "t1")),
        ('{"op":"read","id":"c3","thread_id":"t1","after_seq":4,"limit":2}', ReadThread("c3", "t1", 4, 2)),
        ('{"op":"read","id":"c3","thread_id":"t1","limit":null}', ReadThread("c3", "t1")),
    ],
)
def test_understood(text: str, expected: object) -> None:
    """Each op is read; an op from the future is known to be unknown."""
    assert decode(text) == expected


@pytest.mark.parametrize("op", ["hello", "ack", "ping", "pong", "send", "cancel", "read", "dance"])
@pytest.mark.parametrize("extra", [None, 1.5, "x", [[{}]], {"op": "ack", "id": 1}])
def test_unknown_fields(op: str, extra: object) -> None:
    """A field that this server does not know changes nothing, whatever is in it."""
    fields: dict[str, Any] = {"op": op, "v": 1, "offset": 5, "id": 1, "payload": {}, "run_id": "r", "thread_id": "t"}
    assert decode(json.dumps({"x": extra, **fields, "": extra})) == decode(json.dumps(fields))


@pytest.mark.parametrize(
    ("text", "expected", "came"),
    [
        ("", "a message: expected a JSON object with an op", "truncated"),
        ("hello", "a message: expected a JSON object with an op", "malformed"),
        ("{", "a message: expected a JSON object with an op", "truncated"),
        ("null", "Expected `object`", "got `null`"),
        ("[]", "Expected `object`", "got `array`"),
        ('"ack"', "Expected `object`", "got `str`"),
        ("{}", "expected a JSON object with an op", "missing required field `op`"),
        ('{"type":"user_message"}', "expected a JSON object with an op", "missing required field `op`"),
        ('{"op":1}', "Expected `str`", "got `int` - at `$.op`"),
        ('{"op":null}', "Expected `str`", "got `null` - at `$.op`"),
        ('{"op":"dance","id":{}}', "Expected", "at `$.id`"),
        ('{"op":"dance","id":"' + "x" * 4097 + '"}', "Expected `str` of length <= 4096", "at `$.id`"),
        ('{"op":"ack"}', "ack: expected", "missing required field `offset`"),
        ('{"op":"ack","offset":-1}', "Expected `int` >= 0", "at `$.offset`"),
        ('{"op":"ack","offset":9007199254740992}', "Expected `int` <= 9007199254740991", "at `$.offset`"),
        ('{"op":"ack","offset":1' + "0" * 400 + "}", "ack: expected", "at `$.offset`"),
        ('{"op":"ack","offset":1.5}', "Expected `int`", "got `float` - at `$.offset`"),
        ('{"op":"ack","offset":1e400}', "ack: expected", "at `$.offset`"),
        ('{"op":"ack","offset":true}', "Expected `int`", "got `bool` - at `$.offset`"),
        ('{"op":"ack","offset":"5"}', "Expected `int`", "got `str` - at `$.offset`"),
        ('{"op":"ack","offset":5}{}', "expected a JSON object", "trailing characters"),
        ('{"op":"ack","offset":NaN}', "expected a JSON object", "malformed"),
        ('{"op":"hello"}', "hello: expected", "missing required field `v`"),
        ('{"op":"hello","v":"1"}', "Expected `int`", "got `str` - at `$.v`"),
        ('{"op":"hello","v":1,"token":5}', "Expected `str | null`", "got `int` - at `$.token`"),
        ('{"op":"hello","v":1,"from":"tail"}', "hello: expected", "Invalid enum value 'tail'"),
        ('{"op":"hello","v":1,"resume":{}}', "hello: expected", "missing required field `epoch`"),
        ('{"op":"hello","v":1,"resume":{"epoch":"e","offset":-1}}', "Expected `int` >= 0", "at `$.resume.offset`"),
        (
            '{"op":"hello","v":1,"token":"s3cret\\ud83d"}',
            "hello: token: expected text that UTF-8",
            "U+D83D, at index 6",
        ),
        (
            '{"op":"ping","id":"\\ud83d"}',
            "a message: id: expected text that UTF-8 can encode",
            "half of a surrogate pair",
        ),
        ('{"op":"hello","v":1,"token":"' + "x" * 4097 + '"}', "Expected `str` of length <= 4096", "at `$.token`"),
    ],
)
def test_refused(text: str, expected: str, came: str) -> None:
    """What is wrong with a message is said: what was expected, and what came."""
    with pytest.raises(PeerError) as caught:
        decode(text)
    assert caught.value.name == "bad_message"
    assert expected in str(caught.value)
    assert came in str(caught.value)


@pytest.mark.parametrize(
    ("text", "id_", "expected"),
    [
        ('{"op":"send","id":"c1"}', "c1", "send: expected a JSON object with the fields of this op; Object missing"),
        ('{"op":"send","id":0,"payload":[]}', 0, "Expected `object`, got `array` - at `$.payload`"),
        ('{"op":"send","id":"","payload":{},"thread_id":1}', "", "Expected `str | null`, got `int`"),
        ('{"op":"cancel","id":"c1"}', "c1", "cancel: expected"),
        ('{"op":"read","id":"c1","thread_id":"t","limit":0}', "c1", "Expected `int` >= 1"),
        ('{"op":"send","id":"c1","payload":{"x":NaN}}', "c1", "malformed"),
        ('{"op":"send","id":"c1","payload":{"x":1e999}}', "c1", "send: payload.x: expected a number that"),
        ('{"op":"send","id":"c1","payload":{"x":[{"y":2512292042121000001}]}}', "c1", "send: payload.x[0].y: expected"),
        ('{"op":"answer","id":"c1","ask":"a","payload":{"x":9007199254740993.0}}', "c1", "answer: payload.x: expected"),
        ('{"op":"send","id":"c1","payload":{"x":"\\ud83d and so on"}}', "c1", "send: payload.x: expected text that"),
        ('{"op":"send","payload":{"x":"\\udc00"},"id":5}', 5, "half of a surrogate pair, U+DC00, at index 0"),
        (
            '{"op":"send","id":"c1","payload":{"x":[{"y":"a\\ud83d"}]}}',
            "c1",
            "payload.x[0].y: expected text that UTF-8",
        ),
        ('{"op":"send","id":"c1","payload":{"\\ud83d":1}}', "c1", "send: payload: expected text that UTF-8"),
        ('{"op":"send","id":"c1","thread_id":"\\ud83d","payload":{}}', "c1", "send: thread_id: expected text that"),
        ('{"op":"cancel","id":"c1","run_id":"\\ud83d"}', "c1", "cancel: run_id: expected text that UTF-8"),
        ('{"op":"send","id":"c1","payload":{"x":"\\\\ud83d"},"type":5}', "c1", "Expected `str`, got `int`"),
    ],
)
def test_malformed_requests(text: str, id_: str | int, expected: str) -> None:
    """A request with an id that can be read is malformed, and no more than that; what is wrong with it is said."""
    malformed = decode(text)
    assert isinstance(malformed, Malformed)
    assert malformed.id == id_
    assert expected in malformed.text


@pytest.mark.parametrize(
    "text",
    [
        '{"op":"send","payload":{}}',
        '{"op":"send","id":null,"payload":{}}',
        '{"op":"send","id":1.0,"payload":{}}',
        '{"op":"send","id":false,"payload":{}}',
        '{"op":"send","id":["c1"],"payload":{}}',
        '{"op":"send","id":9007199254740993,"payload":{}}',
        '{"op":"send","id":"\\ud83d","payload":{}}',
        '{"op":"\\ud83d","id":"c1"}',
        '{"op":"read","thread_id":"\\ud83d"}',
        '{"op":"send","id":"c1","payload":{}',
        '{"op":"send","id":"c1","payload":{}}]',
        '{"op":"ack","id":"c1"}',
        '{"op":"ping","id":"c1","x":NaN}',
    ],
)
def test_not_to_be_answered(text: str) -> None:
    """What is no request, or has no id that can be read, is a bad message."""
    with pytest.raises(PeerError):
        decode(text)


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists), st.text(), st.text()
)
def test_any_request(value: object, field: str, op: str) -> None:
    """Whatever is in a request, what comes of it is a message or a PeerError, and its id is as it came."""
    for name in ("send", "cancel", "read", op):
        fields = {"op": name, "id": "c1", "payload": {"x": value}, "run_id": value, "thread_id": value, field: value}
        with suppress(PeerError):
            assert getattr(decode(json.dumps(fields)), "id", "c1") in ("c1", value)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        '{"op":' * 20_000,
        '{"op":"ack","offset":' + "[" * 20_000,
        '{"x":' + "[" * 20_000 + "]" * 20_000 + "}",
        '{"op":"send","id":"c1","payload":{"x":' + "[" * 20_000 + "]" * 20_000 + "}}",
    ],
)
def test_nested_deeply(text: str) -> None:
    """Twenty thousand open brackets are a bad message, and no more than that."""
    with pytest.raises(PeerError, match="expected a JSON object"):
        decode(text)


@given(st.text())
def test_any_text(text: str) -> None:
    """Whatever text comes, the answer is a message or a PeerError."""
    with suppress(PeerError):
        decode(text)


def test_lone_surrogate() -> None:
    """A text that no UTF-8 encodes is a bad message."""
    with pytest.raises(PeerError, match="expected a JSON object"):
        decode('{"op":"\ud800"}')


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Hello(1), '{"op":"hello","v":1}'),
        (
            Hello(1, "x", "s", ResumePoint("e", 40)),
            '{"op":"hello","v":1,"token":"x","session":"s","resume":{"epoch":"e","offset":40}}',
        ),
        (Hello(1, origin="low"), '{"op":"hello","v":1,"from":"low"}'),
        (Ack(41), '{"op":"ack","offset":41}'),
        (Ping(), '{"op":"ping"}'),
        (Pong(), '{"op":"pong"}'),
        (Send("c1", {"text": "hi"}), '{"op":"send","id":"c1","payload":{"text":"hi"},"type":"user_message"}'),
        (Send(7, {}, "t1", "note"), '{"op":"send","id":7,"payload":{},"thread_id":"t1","type":"note"}'),
        (CancelRun("c2", "r1"), '{"op":"cancel","id":"c2","run_id":"r1"}'),
        (ReadThread("c3", "t1"), '{"op":"read","id":"c3","thread_id":"t1","after_seq":0}'),
        (ReadThread("c3", "t1", 4, 2), '{"op":"read","id":"c3","thread_id":"t1","after_seq":4,"limit":2}'),
        (AnswerAsk("c4", "a", {"x": 1}), '{"op":"answer","id":"c4","ask":"a","payload":{"x":1}}'),
    ],
)
def test_written(message: Message, text: str) -> None:
    """Each message is written with its op first, without what is the page's default; and it is read as it was."""
    assert encode(message) == text
    assert decode(text) == message


@pytest.mark.parametrize("text", ['{"op":"ping","op":"pong"}', '{"op":"pong","op":"hello","v":1}'])
def test_two_ops(text: str) -> None:
    """A message of two ops is neither."""
    with pytest.raises(PeerError, match="expected a JSON object with the fields of this op"):
        decode(text)
