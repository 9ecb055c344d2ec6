"""The translation: what goes through it is the same on both sides, however it is cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.asgi.translation import Reply, bytes_of, close_of, head_of, path_of, peer_of, refusal
from actors.delivery.frames import text_frame
from actors.limits import Limits
from actors.wire.control_frames import PING, close_frame
from actors.wire.http import check_upgrade, response
from actors.wire.inbound import Inbound
from actors.wire.received import Ended
from tests.support.asgi import http_scope, websocket_scope
from tests.support.raw import ACTORS, BINARY, TEXT, frame

TEXTS = st.lists(st.text(max_size=200) | st.sampled_from(["", "é" * 63, "x" * 126, "y" * 65_536]), max_size=6)


def fed(reply: Reply, data: bytes, cuts: list[int]) -> list[dict[str, Any]]:
    """What comes of bytes that come in pieces."""
    messages = []
    ends = [*sorted({min(cut, len(data)) for cut in cuts}), len(data)]
    start = 0
    for end in ends:
        messages += reply.feed(data[start:end])
        start = end
    return messages + reply.end()


SWITCH = head_of(websocket_scope(ACTORS), "/ws").switch(ACTORS)
ACCEPT = {"type": "websocket.accept", "subprotocol": ACTORS, "headers": []}


@given(TEXTS, st.lists(st.integers(0, 3_000), max_size=8))
def test_what_the_runtime_writes(texts: list[str], cuts: list[int]) -> None:
    """Frames become messages, whole and in order, wherever the bytes are cut."""
    data = SWITCH + b"".join(text_frame(text.encode()) for text in texts) + close_frame(4501, "no: é")
    said = [{"type": "websocket.send", "text": text} for text in texts]
    close = {"type": "websocket.close", "code": 4501, "reason": "no: é"}
    assert fed(Reply(websocket_scope(ACTORS)), data, cuts) == [ACCEPT, *said, close]


def test_other_frames() -> None:
    """Binary and fragmented messages are messages; pings and pongs are the server's own business."""
    reply = Reply(websocket_scope())
    data = SWITCH + PING + frame(TEXT, b"a", fin=False, masked=False) + PING + frame(0, b"b", masked=False)
    sent = reply.feed(data + frame(BINARY, b"\xff", masked=False) + frame(8, masked=False))
    assert sent[1:] == [
        {"type": "websocket.send", "text": "ab"},
        {"type": "websocket.send", "bytes": b"\xff"},
        {"type": "websocket.close", "code": 1000, "reason": ""},
    ]


@given(st.lists(st.integers(0, 400), max_size=8), st.sampled_from(["http", "websocket"]))
def test_an_answer(cuts: list[int], kind: str) -> None:
    """An answer becomes one, but for the headers of a connection that is not the runtime's to keep or close."""
    scope = http_scope("/x") if kind == "http" else websocket_scope()
    start, *bodies = fed(Reply(scope), response(426, "no", (("Upgrade", "websocket"),)), cuts)
    prefix = "http.response" if kind == "http" else "websocket.http.response"
    assert (start["type"], start["status"]) == (f"{prefix}.start", 426)
    assert dict(start["headers"]) == {
        b"content-type": b"text/plain; charset=utf-8",
        b"content-length": b"3",
        b"upgrade": b"websocket",
        b"x-content-type-options": b"nosniff",
    }
    assert {body["type"] for body in bodies} == {f"{prefix}.body"}
    assert b"".join(body["body"] for body in bodies) == b"no\n"
    assert [body["more_body"] for body in bodies] == [True] * (len(bodies) - 1) + [False]


def test_an_answer_that_cannot_be_given() -> None:
    """A server without the extension is told to refuse, which is 403."""
    scope = websocket_scope(extensions=None)
    assert refusal(scope, 401, "no") == [{"type": "websocket.close", "code": 1008, "reason": ""}]


def test_a_refusal_in_words() -> None:
    """It is a whole answer; to HEAD without its body, and with the time to come back where there is one."""
    start, *bodies = refusal(http_scope("/", "HEAD"), 503, "no")
    assert dict(start["headers"])[b"retry-after"] == b"1"
    assert bodies == [{"type": "http.response.body", "body": b"", "more_body": False}]


@given(st.text(max_size=300) | st.binary(max_size=300) | st.sampled_from(["x" * 126, "é" * 40_000, b"y" * 65_535]))
def test_what_a_client_says(said: str | bytes) -> None:
    """A message reads as one that came over a socket."""
    key = "text" if isinstance(said, str) else "bytes"
    for message in ({key: said}, {"text": None, "bytes": None, key: said}):
        data = bytes_of({"type": "websocket.receive", **message})
        assert Inbound(Limits(inbound_bytes=100_000)).receive(data, 0.0) == [said]


def test_a_text_that_is_none() -> None:
    """A surrogate that a server let through is refused where bytes are checked."""
    (end,) = Inbound(Limits()).receive(bytes_of({"type": "websocket.receive", "text": "\ud800"}), 0.0)
    assert isinstance(end, Ended)
    assert end.name == "bad_text"


@pytest.mark.parametrize(
    ("message", "close"),
    [
        ({"code": 1000}, b"\x03\xe8"),
        ({"code": 4000, "reason": "é" * 100}, b"\x0f\xa0" + "é".encode() * 61),
        ({"code": 1001, "reason": None}, b"\x03\xe9"),
        ({"code": 1005}, None),
        ({"code": 1006}, None),
        ({"code": None}, None),
        ({}, None),
        ({"code": 99_999}, None),
    ],
)
def test_a_disconnect(message: dict[str, Any], close: bytes | None) -> None:
    """A code that a client can have sent is its Close; any other is the end without one."""
    data = bytes_of({"type": "websocket.disconnect", **message})
    assert data == (b"" if close is None else bytes([0x88, 0x80 | len(close), 0, 0, 0, 0]) + close)


def test_what_is_nothing() -> None:
    """A connect, and a body, are nothing that a client of the runtime says."""
    assert bytes_of({"type": "websocket.connect"}) == bytes_of({"type": "http.request", "body": b"x"}) == b""
    assert close_of(1006, "x") == b""


@pytest.mark.parametrize(
    ("path", "root", "found"),
    [
        ("/live/ws", "/live", "/ws"),
        ("/live/ws", "", "/live/ws"),
        ("/live", "/live", ""),
        ("/ws", "/live", "/ws"),
        ("/lively/ws", "/live", "/lively/ws"),
        ("/live/ws", "/live/", "/ws"),
        ("/a/live/healthz", "/a/live", "/healthz"),
    ],
)
def test_paths(path: str, root: str, found: str) -> None:
    """The path is that below the mount, whether or not the server puts its root path before it."""
    assert path_of(websocket_scope(path=path, root_path=root)) == found


def test_a_head() -> None:
    """A scope is a request as it would have been read: repeated headers joined, those of a connection left out."""
    headers = [
        (b"Host", b"x"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=\xc3\xa9"),
        (b"connection", b"keep-alive"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
        (b"Sec-WebSocket-Key", b"theirs"),
        (b"content-length", b"7"),
    ]
    scope = websocket_scope(ACTORS, "x", headers=headers)
    head = head_of(scope, "/ws")
    check_upgrade(head)
    assert (head.method, head.path, head.offers(), head.cookie("b")) == ("GET", "/ws", (ACTORS, "x"), "é")
    assert set(head.headers) & {"content-length", "sec-websocket-extensions"} == set()
    assert head.scope is scope
    page = head_of(http_scope("/x", "POST", headers=headers), "/x")
    assert (page.method, page.headers) == ("POST", {"host": "x", "cookie": "a=1; b=Ã©"})


@pytest.mark.parametrize(("client", "peer"), [(("1.2.3.4", 5), "1.2.3.4:5"), (None, "an ASGI client")])
def test_peers(client: tuple[str, int] | None, peer: str) -> None:
    """A client has an address, where the server tells it."""
    assert peer_of(websocket_scope(client=client)) == peer
