"""The request head: however it arrives, whatever is in it, up to its limits."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.wire.http import HeadReader, HTTPRefusal, Page, RequestHead, check_upgrade, joined, response
from tests.support.raw import ACTORS, KEY, accept_of, upgrade_request

REQUEST = upgrade_request(ACTORS, "actors.ticket.x", cookie="a=b; actors_token=alice", path="/ws?x=1")
REST = b"\x81\x85behind the head\r\n\r\n"
MOST = 16_384


def read(request: bytes, most_bytes: int = MOST) -> RequestHead:
    head = HeadReader(most_bytes).feed(request)
    assert head is not None
    return head


def check(head: RequestHead) -> None:
    assert (head.method, head.path) == ("GET", "/ws")
    assert head.headers["host"] == "127.0.0.1:8765"
    assert head.offers() == (ACTORS, "actors.ticket.x")
    assert head.cookie("actors_token") == "alice"


@pytest.mark.parametrize("version", ["2.0", "3.0", "0.9"])
def test_another_version_of_http(version: str) -> None:
    """A client of HTTP/2 without an upgrade is refused with 505."""
    with pytest.raises(HTTPRefusal, match=f"expected HTTP/1.1, got HTTP/{version}") as caught:
        HeadReader(MOST).feed(f"PRI * HTTP/{version}\r\n\r\nSM\r\n\r\n".encode())
    assert caught.value.status == 505


@pytest.mark.parametrize("at", range(1, len(REQUEST)))
def test_split_anywhere(at: int) -> None:
    """A head in two pieces is the same head, wherever it was cut, and is complete with its last byte only."""
    reader = HeadReader(MOST)
    assert reader.feed(REQUEST[:at]) is None
    head = reader.feed(REQUEST[at:])
    assert head is not None
    check(head)
    assert head.rest == b""


def test_byte_by_byte() -> None:
    """A head that drips in is the same head."""
    reader = HeadReader(MOST)
    heads = [reader.feed(REQUEST[index : index + 1]) for index in range(len(REQUEST))]
    assert heads[:-1] == [None] * (len(REQUEST) - 1)
    assert heads[-1] is not None
    check(heads[-1])


@given(st.binary(max_size=100), st.data())
def test_rest(rest: bytes, data: Any) -> None:
    """Bytes behind the head are kept, one by one, wherever the pieces were cut."""
    at = data.draw(st.integers(1, len(REQUEST) - 1))
    reader = HeadReader(MOST)
    reader.feed(REQUEST[:at])
    head = reader.feed(REQUEST[at:] + rest)
    assert head is not None
    assert head.rest == rest


def test_a_large_rest() -> None:
    """The limit is the head's: what came behind it may be larger."""
    head = read(REQUEST + REST * 5_000, most_bytes=len(REQUEST))
    assert head.rest == REST * 5_000


def refused(*pieces: bytes, most_bytes: int = MOST) -> HTTPRefusal:
    reader = HeadReader(most_bytes)
    for piece in pieces:
        try:
            assert reader.feed(piece) is None
        except HTTPRefusal as refusal:
            return refusal
    pytest.fail("expected a refusal")


def test_too_large() -> None:
    """A head over the limit is refused with 431, in one piece or in many, finished or not."""
    large = upgrade_request(extra=[("X-Filler", "x" * 70_000)])
    assert refused(large).status == 431
    assert refused(*[large[at : at + 1_000] for at in range(0, len(large), 1_000)]).status == 431
    assert refused(b"G" * (MOST + 1)).status == 431
    assert refused(REQUEST, most_bytes=len(REQUEST) - 1).status == 431
    check(read(REQUEST, most_bytes=len(REQUEST)))


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # a TLS hello
        b"hello\r\n\r\n",
        b"GET /ws\r\n\r\n",
        b"GET  /ws HTTP/1.1\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: x\r\n Folded: first\x00\r\n\r\n",
        b"GET /ws HTTP/1.1\r\n\r\n",  # no host
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_not_a_request(request_: bytes) -> None:
    """Bytes that are no HTTP request are refused with 400, and what was expected."""
    refusal = refused(request_)
    assert refusal.status == 400
    assert "expected an HTTP/1.1 request" in str(refusal)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Whatever bytes come: a head, nothing yet, or a refusal; never another error."""
    with suppress(HTTPRefusal):
        HeadReader(100).feed(data)


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        ("actors_token=alice", "alice"),
        ("a=b;actors_token=alice;c=d", "alice"),
        ('actors_token="alice"', "alice"),
        ('prefs={"theme": "dark, or not"}; actors_token=alice', "alice"),
        ("broken; actors_token=alice; ;=", "alice"),
        ("actors_token=a=b==", "a=b=="),
        ("actors_token=first; actors_token=second", "first"),
        ("actors_token=", ""),
        ("xactors_token=alice", None),
        ("actors_tokenx=alice", None),
        ("actors_token", None),
        ("", None),
    ],
)
def test_cookie(cookies: str, value: str | None) -> None:
    """A cookie is found whatever other cookies a page has; the first of a name counts (RFC 6265, section 5.4)."""
    assert read(upgrade_request(cookie=cookies)).cookie("actors_token") == value


def test_a_cookie_of_none() -> None:
    """Without cookies there is none."""
    assert read(upgrade_request()).cookie("actors_token") is None


def test_header_lines_join() -> None:
    """A header that comes twice is read as one list."""
    head = read(upgrade_request("a", extra=[("Sec-WebSocket-Protocol", "b , c,")]))
    assert head.offers() == ("a", "b", "c")


UPGRADE = {"upgrade": "websocket", "sec-websocket-version": "13"}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (upgrade_request(without="Upgrade"), 426),
        (upgrade_request(without="Connection"), 426),
        (upgrade_request(without="Upgrade", extra=[("Upgrade", "h2c")]), 426),
        (upgrade_request(without="Connection", extra=[("Connection", "keep-alive")]), 426),
        (upgrade_request(without="Sec-WebSocket-Version"), 426),
        (upgrade_request(without="Sec-WebSocket-Version", extra=[("Sec-WebSocket-Version", "8")]), 426),
        (upgrade_request(extra=[("Sec-WebSocket-Version", "13")]), 426),
        (upgrade_request(without="Sec-WebSocket-Key"), 400),
        (upgrade_request(without="Sec-WebSocket-Key", extra=[("Sec-WebSocket-Key", "c2hvcnQ=")]), 400),
        (upgrade_request(without="Sec-WebSocket-Key", extra=[("Sec-WebSocket-Key", "not base64!")]), 400),
        (upgrade_request(without="Sec-WebSocket-Key", extra=[("Sec-WebSocket-Key", "\xff")]), 400),
        (upgrade_request(extra=[("Sec-WebSocket-Key", KEY)]), 400),
        (upgrade_request(method="POST"), 400),
        (upgrade_request(extra=[("Content-Length", "5")]), 400),
        (upgrade_request(extra=[("Transfer-Encoding", "chunked")]), 400),
        (upgrade_request().replace(b"HTTP/1.1", b"HTTP/1.0", 1), 400),
    ],
)
def test_not_an_upgrade(request_: bytes, status: int) -> None:
    """A request that the engine could not accept is refused before it sees it; a 426 names the upgrade."""
    with pytest.raises(HTTPRefusal, match="expected") as caught:
        check_upgrade(read(request_))
    assert caught.value.status == status
    if status == 426:
        assert {name.lower(): value for name, value in caught.value.headers} == UPGRADE


@pytest.mark.parametrize(
    "request_",
    [
        upgrade_request(),
        upgrade_request(without="Upgrade", extra=[("UPGRADE", "WebSocket")]),
        upgrade_request(without="Connection", extra=[("connection", "keep-alive, upgrade")]),
        upgrade_request(without="Connection", extra=[("Connection", "Upgrade"), ("Connection", "keep-alive")]),
        upgrade_request(without="Upgrade", extra=[("Upgrade", "websocket, h2c")]),
    ],
)
def test_an_upgrade(request_: bytes) -> None:
    """Header names and tokens know no case, and tokens stand in lists."""
    check_upgrade(read(request_))


@pytest.mark.parametrize(
    "request_",
    [
        upgrade_request(ACTORS, host="x" * 64),
        upgrade_request(ACTORS, host="xn--\xff"),
        upgrade_request("caf\xe9", ACTORS, extra=[("Content-Length", "0")]),
        upgrade_request(ACTORS, extra=[("Sec-WebSocket-Extensions", "\xff")]),
        upgrade_request(ACTORS, without="Upgrade", extra=[("Upgrade", "h2c, websocket")]),
        upgrade_request(ACTORS, without="Connection", extra=[("Connection", "Upgrade"), ("Connection", "close")]),
    ],
)
def test_an_upgrade_is_agreed_to(request_: bytes) -> None:
    """Whatever other headers a checked upgrade has, a client can read the answer to it."""
    head = read(request_)
    check_upgrade(head)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/ws", headers=[("Host", "x"), ("Upgrade", "websocket")]))
    client.receive_data(head.switch(ACTORS))
    answer = client.next_event()
    assert isinstance(answer, h11.InformationalResponse)
    assert answer.status_code == 101
    assert dict(answer.headers.raw_items()) == {
        b"Upgrade": b"websocket",
        b"Connection": b"Upgrade",
        b"Sec-WebSocket-Accept": accept_of(KEY).encode(),
        b"Sec-WebSocket-Protocol": ACTORS.encode(),
    }


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://127.0.0.1:80/ws", "/ws"),
        ("HTTPS://host/ws?a=b", "/ws"),
        ("http://host", "/"),
        ("/http://x", "/http://x"),
    ],
)
def test_the_absolute_form(target: str, path: str) -> None:
    """A request that names the whole URL, as for a proxy, is for the path in it (RFC 9112, section 3.2.2)."""
    sent = upgrade_request().replace(b"GET /ws ", f"GET {target} ".encode(), 1)
    assert read(sent).path == path


def test_response() -> None:
    """A response is whole: its length, its headers, and that the connection ends; HEAD gets no body."""
    expected = b"HTTP/1.1 426 Upgrade Required\r\n"
    whole = response(426, "no: é", (("Upgrade", "websocket"),))
    assert whole.startswith(expected)
    assert b"\r\nContent-Length: 7\r\n" in whole
    assert b"\r\nConnection: close\r\n" in whole
    assert b"\r\nUpgrade: websocket\r\n" in whole
    assert whole.endswith("\r\n\r\nno: é\n".encode())
    assert response(426, "no: é", (("Upgrade", "websocket"),), body=False) == whole[:-7]


def test_page() -> None:
    """A page is answered with its type and length, asks for nothing from elsewhere, and HEAD gets the head alone."""
    whole = Page("<p>é</p>".encode(), "text/html; charset=utf-8").response()
    head, _, content = whole.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 9\r\n" in head
    assert b"Content-Security-Policy: default-src 'self'" in head
    assert content == "<p>é</p>".encode()
    assert Page(content, "text/html; charset=utf-8").response(body=False) == head + b"\r\n\r\n"


def test_an_upgrade_that_another_server_has_read_is_agreed_to() -> None:
    """A head needs no parser of ours: a host that has one of its own makes it of what it read."""
    fields = [(b"Host", b"x"), (b"Sec-WebSocket-Key", KEY.encode()), (b"Cookie", b"a=1"), (b"cookie", b"b=2")]
    head = RequestHead(method="GET", path="/ws", headers=joined(fields))
    assert (head.cookie("b"), head.rest, head.headers["cookie"]) == ("2", b"", "a=1; b=2")
    assert head.switch(None) == read(upgrade_request()).switch(None)
