# ruff: noqa: E501 - a row of the table is a line
"""Request heads as clients write them and proxies rewrite them: each means what the RFCs say it means.

A proxy may change the case of names, spell out or leave out a default port,
split a list over several lines or join them, turn HTTP/2's cookies into one
line or hand them on as several, name the whole URL in the request line, and add
what it likes. What it may not do is refused, where it could mean two things.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

import actors
from tests.support.raw import ACTORS, KEY, Answer
from tests.support.served import Served, served

UPGRADE = (
    "Host: x",
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Protocol: {ACTORS}",
)
COOKIE = "Cookie: actors_token=alice"


class Row(NamedTuple):
    """A head, what is answered, and why."""

    because: str
    status: int
    head: tuple[str, ...]
    request: str = "GET /ws HTTP/1.1"


def put(*lines: str, over: str = "", plain: bool = False) -> tuple[str, ...]:
    """An upgrade's lines with others added, those that begin with ``over`` left out; ``plain`` offers no subprotocol."""
    left_out = (over or "-", "Sec-WebSocket-Protocol" if plain else "-")
    return (*(line for line in UPGRADE if not line.startswith(left_out)), *lines)


def hosted(host: str, *lines: str) -> tuple[str, ...]:
    """An upgrade that is asked of a host; it stands first."""
    return (f"Host: {host}", *put(*lines, over="Host"))


ROWS = [
    # --- origin and host, without an allow-list ---------------------------------
    Row("behind a proxy that ends TLS the page's scheme is https", 101, hosted("x", "Origin: https://x")),
    Row("a port left out is the page's default (9110 §4.2.2)", 101, hosted("x:443", "Origin: https://x")),
    Row("a port left out is the page's default (9110 §4.2.1)", 101, hosted("x:80", "Origin: http://x")),
    Row("80 is not the default of https (9110 §4.2.2)", 403, hosted("x:80", "Origin: https://x")),
    Row("443 is not the default of http (9110 §4.2.1)", 403, hosted("x:443", "Origin: http://x")),
    Row("another port is another origin (6454 §5)", 403, hosted("x", "Origin: https://x:8443")),
    Row("the same port on both sides", 101, hosted("x:8443", "Origin: https://x:8443")),
    Row("a default port spelt out in the origin (6454 §4)", 101, hosted("x", "Origin: https://x:443")),
    Row("an empty port is the default one (3986 §6.2.3)", 101, hosted("x:", "Origin: https://x")),
    Row("hosts know no case (9110 §4.2.3)", 101, hosted("X.Example", "Origin: https://x.example")),
    Row("the dot of an absolute name may be taken away by a proxy (3986 §3.2.2)", 101, hosted("x", "Origin: https://x.")),
    Row("and may be kept", 101, hosted("x.", "Origin: https://x.")),
    Row("an IPv6 literal is in brackets (3986 §3.2.2)", 101, hosted("[2001:db8::1]:443", "Origin: https://[2001:db8::1]")),
    Row("one address has several spellings (5952 §4)", 101, hosted("[2001:DB8:0::1]", "Origin: https://[2001:db8::1]")),
    Row("another host", 403, hosted("x", "Origin: https://y")),
    Row("a host that begins alike", 403, hosted("x.example", "Origin: https://x.example.evil")),
    Row("a host that ends alike", 403, hosted("x.example", "Origin: https://evilx.example")),
    Row("a sandboxed page has no host (6454 §6.1)", 403, hosted("x", "Origin: null")),
    Row("two origins are none (6454 §7.1)", 403, hosted("x", "Origin: https://x", "Origin: https://x")),
    Row("a list of origins is none (6454 §7.1)", 403, hosted("x", "Origin: https://x https://y")),
    Row("an empty origin is none", 403, hosted("x", "Origin:")),
    Row("an extension's page has no host here", 403, hosted("x", "Origin: chrome-extension://x")),
    Row("what is no page names no origin (6454 §7.3)", 101, put()),
    Row("what proxies say of the host is not believed: anybody may say it", 403, hosted("x", "Origin: https://y", "X-Forwarded-Host: y")),
    Row("nor is Forwarded (7239 §8.1)", 403, hosted("x", "Origin: https://y", "Forwarded: host=y;proto=https")),
    # --- the request line ---------------------------------------------------------
    Row("a query belongs to no path (3986 §3.4)", 101, put(), "GET /ws?a=b HTTP/1.1"),
    Row("nor does one that is empty or strange", 101, put(), "GET /ws??/x%zz=://y HTTP/1.1"),
    Row("the absolute form is for a server, too (9112 §3.2.2)", 101, put(), "GET http://x/ws HTTP/1.1"),
    Row("whatever its scheme, letter case and port", 101, put(), "GET HTTPS://X:443/ws?a HTTP/1.1"),
    Row("its host counts, and Host is ignored (9112 §3.2.2)", 101, hosted("y", "Origin: https://x"), "GET http://x/ws HTTP/1.1"),
    Row("its host counts, and Host is ignored (9112 §3.2.2)", 403, hosted("x", "Origin: https://x"), "GET http://y/ws HTTP/1.1"),
    Row("a URL without a host is invalid (9110 §4.2.1)", 400, put(), "GET http:///ws HTTP/1.1"),
    Row("a user's name in a URL is an error (9110 §4.2.4)", 400, put(), "GET http://alice@x/ws HTTP/1.1"),
    Row("a path is taken as it stands: what a proxy guards has one spelling", 404, put(), "GET /%77s HTTP/1.1"),
    Row("a path is taken as it stands: what a proxy guards has one spelling", 404, put(), "GET /x/../ws HTTP/1.1"),
    Row("a path is taken as it stands: what a proxy guards has one spelling", 404, put(), "GET //ws HTTP/1.1"),
    Row("paths know case (9110 §4.2.3)", 404, put(), "GET /WS HTTP/1.1"),
    Row("a path with more to it is another", 404, put(), "GET /ws/ HTTP/1.1"),
    Row("methods know case (9110 §9.1)", 400, put(), "get /ws HTTP/1.1"),
    Row("an upgrade is a GET (6455 §4.1)", 400, put(), "POST /ws HTTP/1.1"),
    Row("HTTP/1.0 has no upgrade (9110 §7.8), and many a proxy speaks it unless told", 400, put(), "GET /ws HTTP/1.0"),
    Row("an empty line before the request is ignored (9112 §2.2)", 101, put(), "\r\nGET /ws HTTP/1.1"),
    Row("two are too many", 400, put(), "\r\n\r\nGET /ws HTTP/1.1"),
    # --- names, white space, lines --------------------------------------------------
    Row("names know no case (9110 §5.1); HTTP/2's are lower (9113 §8.2.1)", 101, tuple(map(str.swapcase, put()[:3])) + put()[3:]),
    Row("white space around a value is no part of it (9110 §5.5)", 101, put("Upgrade: \t websocket \t ", over="Upgrade")),
    Row("nor need there be any", 101, put("Connection:Upgrade", over="Connection")),
    Row("white space before the colon is refused (9112 §5.1)", 400, put("Via : 1.1 x")),
    Row("a folded line is one line (9112 §5.2)", 101, put("Connection: keep-alive,\r\n Upgrade", over="Connection")),
    Row("a control character in a value is refused (9110 §5.5)", 400, put("X-A: a\0b")),
    Row("what is not ASCII is somebody else's (9110 §5.5)", 101, put("X-Name: Zo\xeb")),
    Row("a host is asked for (9112 §3.2)", 400, put(over="Host")),
    Row("one host is asked for (9112 §3.2)", 400, put("Host: x")),
    Row("and not another one as well (9112 §3.2)", 400, put("Host: y")),
    Row("an empty host is one, of no page (9112 §3.2)", 101, hosted("")),
    Row("an empty host is one, of no page (9112 §3.2)", 403, hosted("", "Origin: https://x")),
    # --- Upgrade and Connection -------------------------------------------------------
    Row("the word knows no case (6455 §4.2.1)", 101, put("Upgrade: WebSocket", over="Upgrade")),
    Row("Connection is a list (9110 §7.6.1)", 101, put("Connection: keep-alive, Upgrade", over="Connection")),
    Row("its words know no case (9110 §7.6.1)", 101, put("Connection: Keep-Alive,upgrade", over="Connection")),
    Row("in one line or in several (9110 §5.3)", 101, put("Connection: keep-alive")),
    Row("with empty members (9110 §5.6.1)", 101, put("Connection: , keep-alive,, Upgrade,", over="Connection")),
    Row("Upgrade is a list, too (9110 §7.8)", 101, put("Upgrade: h2c, websocket", over="Upgrade")),
    Row("in one line or in several (9110 §5.3)", 101, put("Upgrade: h2c")),
    Row("a proxy that took Upgrade away (9110 §7.6.1)", 426, put(over="Upgrade")),
    Row("a proxy that took Connection away (9110 §7.6.1)", 426, put(over="Connection")),
    Row("a word that has it in it is another", 426, put("Connection: no-upgrade", over="Connection")),
    Row("another protocol", 426, put("Upgrade: h2c", over="Upgrade")),
    # --- Sec-WebSocket-* ----------------------------------------------------------------
    Row("offers may come in several lines (6455 §11.3.4)", 101, put("Sec-WebSocket-Protocol: chat")),
    Row("joined by a proxy, with what it left empty (9110 §5.6.1)", 101, put(f"Sec-WebSocket-Protocol: chat ,,{ACTORS},", plain=True)),
    Row("offers know case (6455 §4.2.2)", 400, put("Sec-WebSocket-Protocol: Actors.V1", plain=True)),
    Row("a ticket in a line of its own", 101, put("Sec-WebSocket-Protocol: actors.ticket.alice")),
    Row("an empty offer is none, and the client plain", 101, put("Sec-WebSocket-Protocol:", COOKIE, plain=True)),
    Row("extensions are offers (6455 §9.1)", 101, put("Sec-WebSocket-Extensions: permessage-deflate; x=\"a,b\"")),
    Row("one version (6455 §11.3.5)", 426, put("Sec-WebSocket-Version: 8")),
    Row("one key (6455 §11.3.1)", 400, put(f"Sec-WebSocket-Key: {KEY}")),
    # --- cookies, of a plain client -------------------------------------------------------
    Row("cookies in one line (6265 §5.4)", 101, put("Cookie: a=b; actors_token=alice; c=d", plain=True)),
    Row("HTTP/2's crumbs, handed on as they came (9113 §8.2.3)", 101, put("Cookie: a=b", COOKIE, "Cookie: c=d", plain=True)),
    Row("the first in the list counts (6265 §5.4)", 101, put(COOKIE, "Cookie: actors_token=", plain=True)),
    Row("without the space (6265 §5.4)", 101, put("Cookie: a=b;actors_token=alice", plain=True)),
    Row("a value in quotes (6265 §4.1.1)", 101, put('Cookie: actors_token="alice"', plain=True)),
    Row("another cookie's commas and quotes", 101, put('Cookie: p={"a": "b, c"}; actors_token=alice', plain=True)),
    Row("names of cookies know case (6265 §5.4)", 401, put("Cookie: Actors_Token=alice", plain=True)),
    Row("a comma parts no cookies: one's value would be another's (9113 §8.2.3)", 401, put("Cookie: a=b, actors_token=alice", plain=True)),
    Row("no cookie", 401, put(plain=True)),
    # --- what proxies add, and bodies -------------------------------------------------------
    Row("a proxy says who it is (9110 §7.6.3)", 101, put("Via: 1.1 proxy (nginx), 2 cdn", "X-Forwarded-For: 192.0.2.1, ::1", "X-Forwarded-Proto: https", 'Forwarded: for="[::1]:9"')),
    Row("other hop-by-hop words (9110 §7.6.1)", 101, put("TE: trailers", "Proxy-Connection: keep-alive", "Keep-Alive: timeout=5")),
    Row("without content there is nothing to expect (9110 §10.1.1)", 101, put("Expect: 100-continue")),
    Row("no content, said so (9110 §8.6)", 101, put("Content-Length: 0")),
    Row("content of an upgrade would be its first frames (6455 §4.1)", 400, put("Content-Length: 2")),
    Row("content of an upgrade would be its first frames (6455 §4.1)", 400, put("Transfer-Encoding: chunked")),
    Row("both are a smuggler's (9112 §6.1)", 400, put("Transfer-Encoding: chunked", "Content-Length: 0")),
    Row("two lengths are a smuggler's (9112 §6.3)", 400, put("Content-Length: 0", "Content-Length: 5")),
    Row("no length (9110 §8.6)", 400, put("Content-Length: -0")),
    # --- the health check -------------------------------------------------------------------
    Row("with a query", 200, ("Host: x",), "GET /healthz?from=lb HTTP/1.1"),
    Row("as HTTP/1.0 has it, without a host (1945 §5)", 200, (), "GET /healthz HTTP/1.0"),
    Row("in the absolute form", 200, ("Host: x",), "GET http://x:8765/healthz HTTP/1.1"),
    Row("its content is read over", 200, ("Host: x", "Content-Length: 0"), "GET /healthz HTTP/1.1"),
    Row("whoever asks, a browser's page included", 200, ("Host: x", "Origin: https://y"), "GET /healthz HTTP/1.1"),
]  # fmt: skip


@pytest.fixture
async def server() -> AsyncIterator[Served]:
    async def authenticate(credentials: actors.Credentials) -> str | None:
        return {"alice": "alice"}.get(credentials.token)

    async with served(authenticate=authenticate) as server:
        yield server


async def answered(server: Served, row: Row) -> Answer:
    async with server.peer() as peer:
        head = "\r\n".join([row.request, *row.head, "", ""])
        answer = await peer.ask(head.encode("latin-1"))
        if answer.status == 101:
            if "sec-websocket-protocol" in answer.headers:
                await peer.hello(None if "ticket" in head else "alice")
                await peer.next_op("caught_up")
            await peer.leave()
        return answer


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.status} {row.because}")
async def test_a_head(row: Row, server: Served) -> None:
    """A head is answered by what it means, however it is written; and one that was upgraded is delivered to."""
    answer = await answered(server, row)
    assert answer.status == row.status, answer
    assert server.failures() == []


async def test_who_a_proxy_is() -> None:
    """What a proxy says of the client is handed to ``authenticate`` as it came, and changes neither peer nor host."""
    seen: list[actors.Credentials] = []

    async def authenticate(credentials: actors.Credentials) -> str | None:
        seen.append(credentials)
        return "alice"

    async with served(authenticate=authenticate) as server:
        head = put("X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2", "Cookie: a=b", "Cookie: c=d")
        await answered(server, Row("", 101, head))
        (credentials,) = seen
        assert credentials.peer.startswith("127.0.0.1:")
        assert credentials.headers["x-forwarded-for"] == "192.0.2.1, 192.0.2.2"
        assert credentials.headers["cookie"] == "a=b; c=d"
        assert credentials.headers["host"] == "x"
