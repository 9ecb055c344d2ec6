"""The handshake: what each request is answered, and which are let in."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trustme

import actors
import actors.web
from actors.server.authentication import Authentication, trust
from actors.server.handshake import Handshake, Routes, Upgrade
from actors.web import pages
from actors.wire.endpoint import Endpoint, SocketEndpoint
from tests.support.raw import ACTORS, Peer, upgrade_request
from tests.support.served import ask, context_of, deliver, served

ALICE = "actors_token=alice"


# --- TLS ------------------------------------------------------------------------


async def test_tls() -> None:
    """Over TLS it is the same server; a peer that does not speak TLS, or leaves it hanging, costs nobody else."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    limits = actors.Limits(request_head_seconds=0.1, close_seconds=0.2)
    async with served({"ssl_context": context}, limits=limits) as server:
        for said in (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", b"", b"\x16\x03\x01\x02\x00\x01"):
            async with server.peer() as peer:
                await peer.send(said)
                assert await peer.stream.receive_some(100) is not None
        async with server.peer() as plain:
            secure = trio.SSLStream(plain.stream, trusting, server_hostname="localhost", https_compatible=True)
            await deliver(server, Peer(secure))
        assert server.failures() == []


async def test_tls_request_with_the_handshake() -> None:
    """A TLS client may send its request along with the end of its handshake; the server does not wait for more."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with served({"ssl_context": context}) as server, server.peer() as peer:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        engine = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            engine.do_handshake()
        await peer.send(outgoing.read())
        while True:
            incoming.write(bytes(await peer.stream.receive_some(65_536)))
            try:
                engine.do_handshake()
            except ssl.SSLWantReadError:
                continue
            break
        engine.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await peer.send(outgoing.read())
        while True:
            incoming.write(bytes(await peer.stream.receive_some(65_536)))
            try:
                assert engine.read(100).startswith(b"HTTP/1.1 200")
            except ssl.SSLWantReadError:
                continue
            break


# --- paths ----------------------------------------------------------------------


async def test_where_nothing_is_it_is_said_what_there_is() -> None:
    """A browser that is sent to ``/`` without a page reads which paths there are, and what to try."""
    async with served() as server:
        status, told = await ask(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 404
    assert "expected one of /ws, /healthz, got /" in told
    assert "actors watch ws://" in told
    assert "pages=actors.web.pages()" in told


async def test_not_a_websocket() -> None:
    """Health is answered, a wrong upgrade is told which is right, and everything else is not here."""
    async with served() as server:
        assert await ask(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == (200, "ok\n")
        assert (await ask(server, b"GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 404
        assert (await ask(server, b"hello\r\n\r\n"))[0] == 400
        assert (await ask(server, upgrade_request(extra=[("X", "x" * 20_000)])))[0] == 431
        async with server.peer() as peer:
            await peer.send(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await peer.answer(body=False)).headers["content-length"] == "3"
        async with server.peer() as peer:
            answer = await peer.ask(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.status == 426
            assert (answer.headers["upgrade"], answer.headers["sec-websocket-version"]) == ("websocket", "13")


async def test_subprotocols() -> None:
    """Who offers only protocols that are not ours is refused; among several, ours is selected."""
    async with served() as server:
        status, text = await ask(server, upgrade_request("graphql-ws", cookie=ALICE))
        assert status == 400
        assert ACTORS in text
        async with server.peer() as peer:
            await peer.open("graphql-ws", ACTORS)
            await peer.hello("alice")


@pytest.mark.parametrize("host", ["x" * 64, "xn--\xff", "a..b", "[::1"])
async def test_strange_hosts(host: str) -> None:
    """A host name that no resolver would read is no reason to refuse, and none to fail."""
    async with served() as server, server.peer() as peer:
        await peer.open(ACTORS, host=host)
        await peer.hello("alice")
        assert server.failures() == []


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        (None, None, 101),
        (None, "http://127.0.0.1:8765", 101),
        (None, "https://127.0.0.1:8765", 101),
        (None, "http://127.0.0.1", 403),
        (None, "http://evil.example", 403),
        (None, "null", 403),
        (None, "http://[", 403),
        ((), "http://127.0.0.1:8765", 403),
        (("https://app.example",), "https://app.example", 101),
        (("https://app.example",), "http://app.example", 403),
        (("https://app.example",), None, 101),
        (("*",), "http://evil.example", 101),
    ],
)
async def test_origin(origins: tuple[str, ...] | None, origin: str | None, status: int) -> None:
    """Pages of the same host may connect, or those of the allow-list; what is no page says no origin."""
    async with served(origins=origins) as server, server.peer() as peer:
        answer = await peer.ask(upgrade_request(origin=origin, cookie=ALICE))
        assert answer.status == status
        if status == 403:
            assert str(origin) in answer.body
        assert server.failures() == []


# --- room -----------------------------------------------------------------------


async def test_devices_of_a_user() -> None:
    """A user has so many devices and no more; another user's are not counted, and a place that is left is free."""
    async with served(limits=actors.Limits(connections_per_user=1)) as server, server.peer() as first:
        await first.attach("alice")
        assert (await ask(server, upgrade_request(cookie=ALICE)))[0] == 429
        async with server.peer() as second:
            await second.open(ACTORS)
            await second.say({"op": "hello", "v": 1, "token": "alice"})
            assert (await second.next_message())["error"]["name"] == "too_many_devices"
            assert (await second.farewell() or (0, ""))[0] == 4004
        async with server.peer() as other:
            await other.attach("bob")
        await first.leave()
        await server.gone()
        async with server.peer() as third:
            await third.attach("alice")


async def test_connections_in_total() -> None:
    """There are so many connections and no more; whoever comes then is told when to try again."""
    async with served(limits=actors.Limits(connections=1)) as server, server.peer() as first:
        await first.attach("alice")
        async with server.peer() as second:
            answer = await second.ask(upgrade_request(ACTORS))
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) > 0


# --- pages ----------------------------------------------------------------------


CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def request(method: str, path: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()


def shown_files() -> list[Path]:
    return [path for path in Path(actors.web.__file__).parent.iterdir() if path.suffix in CONTENT_TYPES]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_pages_are_all_files_of_the_page() -> None:
    """Every file but Python's is shown at its name, ``index.html`` at ``/``, and nowhere else."""
    assert set(pages()) == {"/" if path.name == "index.html" else f"/{path.name}" for path in shown_files()}
    assert "/" in pages()


@pytest.mark.parametrize("path", shown_files(), ids=lambda path: path.name)
async def test_a_page(path: Path) -> None:
    """A file comes as it is, with its type, and with headers that keep it from loading or being framed elsewhere."""
    at = "/" if path.name == "index.html" else f"/{path.name}"
    async with served(pages=pages()) as server, server.peer() as peer, server.peer() as head:
        answer = await peer.ask(request("GET", f"{at}?a=1"))
        assert (answer.status, answer.body) == (200, text_of(path))
        assert answer.headers["content-type"] == CONTENT_TYPES[path.suffix]
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        await head.send(request("HEAD", at))
        assert await head.answer(body=False) == answer._replace(body="")
        assert await head.stream.receive_some(1) == b""


@pytest.mark.parametrize(
    "path",
    [
        "/x",
        "/index.html",
        "/page.js/",
        "//page.js",
        "/../x",
        "/../server.py",
        "/%2e%2e/server.py",
        "/..%2fserver.py",
        "/./page.js",
        "/page%2ejs",
        "/__init__.py",
        "../server.py",
        "*",
    ],
)
async def test_a_page_that_is_not_there(path: str) -> None:
    """A path is looked up as it stands among the paths that are shown: no other leads to a file, shown or not."""
    async with served(pages=pages()) as server, server.peer() as peer, server.peer() as head:
        assert (await peer.ask(request("GET", path))).status == 404
        await head.send(request("HEAD", path))
        assert (await head.answer(body=False)).status == 404
        assert await head.stream.receive_some(1) == b""
        assert server.failures() == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_a_page_takes_nothing(method: str) -> None:
    """A page is read and nothing else, and who tries is told which methods there are."""
    async with served(pages=pages()) as server, server.peer() as peer:
        answer = await peer.ask(request(method, "/"))
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert server.failures() == []


# --- by itself ------------------------------------------------------------------


@attrs.define
class Books:
    """A register that says what a test wants."""

    refusing: trio.Event = attrs.field(factory=trio.Event)
    connections: list[Endpoint] = attrs.field(factory=list)
    devices: int = 0
    held: int = 0

    def trouble(self) -> None:
        return None

    def devices_of(self, user_id: str) -> int:
        return self.devices


async def shaken(request: bytes, books: Books, **limits: Any) -> tuple[Upgrade | None, bytes]:
    """What a handshake makes of a request: the upgrade, and what it has written."""
    context = context_of(close_seconds=0.01, **limits)
    authentication = Authentication(context, trust)
    handshake = Handshake(context, books, authentication=authentication, origins=None, routes=Routes({}, {}))
    ours, theirs = socket.socketpair()
    with theirs, closing(SocketEndpoint(ours)) as endpoint:
        theirs.sendall(request)
        upgrade = await handshake.run(endpoint)
        theirs.setblocking(False)
        with suppress(BlockingIOError):
            return upgrade, theirs.recv(65_536)
    return upgrade, b""


async def test_an_upgrade_is_returned() -> None:
    """A request that is let in is returned with its user, if it names one, and nothing has been answered."""
    upgrade, written = await shaken(upgrade_request(cookie=ALICE), Books())
    assert upgrade is not None
    assert (upgrade.user_id, upgrade.head.path, written) == ("alice", "/ws", b"")
    upgrade, written = await shaken(upgrade_request(ACTORS), Books())
    assert upgrade is not None
    assert (upgrade.user_id, written) == (None, b"")


@pytest.mark.parametrize(
    ("answered", "connections", "devices", "refusing"),
    [(b"503", 1, 0, False), (b"429", 0, 1, False), (b"503", 0, 0, True)],
    ids=["full", "too many of one user", "refusing"],
)
async def test_no_room(answered: bytes, connections: int, devices: int, *, refusing: bool) -> None:
    """Where the register has no room, the request is answered and not let in."""
    ours, theirs = socket.socketpair()
    with theirs, closing(SocketEndpoint(ours)) as other:
        books = Books(connections=[other] * connections, devices=devices)
        if refusing:
            books.refusing.set()
        upgrade, written = await shaken(upgrade_request(cookie=ALICE), books, connections=1, connections_per_user=1)
    assert upgrade is None
    assert written.startswith(b"HTTP/1.1 " + answered)


# --- what is told -----------------------------------------------------------------


class Refusals(actors.Instrument):
    """Keeps the refusals that were told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, str | None]] = []

    def handshake_refused(self, status: int, reason: str, origin: str | None) -> None:
        self.told.append((status, reason, origin))


EVIL = "http://evil.example"


@pytest.mark.parametrize(
    ("asked", "reason", "origin"),
    [
        (b"hello\r\n\r\n", "bad_request", None),
        (b"GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n", "not_found", None),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "bad_request", None),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", "bad_request", None),
        (upgrade_request(extra=[("X", "x" * 20_000)]), "too_big", None),
        (upgrade_request("graphql-ws", cookie=ALICE), "subprotocol", None),
        (upgrade_request(origin=EVIL, cookie=ALICE), "origin", EVIL),
        (upgrade_request(), "unauthenticated", None),
        (upgrade_request(cookie=ALICE), "too_many_devices", None),
        (b"GET /ws HTTP/1.1\r\n", "too_slow", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_refusal_is_told_once(asked: bytes, reason: str, origin: str | None) -> None:
    """Each request that is refused is told once, with the status of its answer, a word of a table and its origin."""
    limits = actors.Limits(request_head_seconds=0.1, close_seconds=0.1, connections_per_user=1)
    async with served(limits=limits, pages=pages()) as server, server.peer() as first, server.peer() as peer:
        await first.attach("alice")
        server.runtime.instruments.add(refusals := Refusals())
        answer = await peer.ask(asked)
        counted = server.runtime.statistics().handshakes_refused
    assert refusals.told == [(answer.status, reason, origin)]
    assert counted == {(answer.status, reason): 1}


async def test_what_is_answered_is_no_refusal() -> None:
    """Health, pages and connections are not told; nor is a peer that goes before its request is whole."""
    async with served(pages=pages()) as server, server.peer() as peer:
        server.runtime.instruments.add(refusals := Refusals())
        assert (await ask(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 200
        assert (await ask(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 200
        await peer.attach("alice")
        async with server.peer() as gone:
            await gone.send(b"GET /ws HTTP/1.1\r\n")
        while server.runtime.statistics().handshakes:  # noqa: ASYNC110 - a handshake has nothing to wait for
            await trio.sleep(0.001)
        assert server.runtime.statistics().handshakes_refused == {}
    assert refusals.told == []


async def test_a_peer_that_speaks_no_tls_is_told() -> None:
    """A peer that does not agree on keys is told with no status; one that opens a socket and goes, as probes do, is
    not."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with served({"ssl_context": context}) as server:
        async with server.peer():
            pass
        async with server.peer() as peer:
            await peer.send(upgrade_request(ACTORS))
            await peer.stream.receive_some(100)
        while server.runtime.statistics().handshakes:  # noqa: ASYNC110 - as above
            await trio.sleep(0.001)
        assert server.runtime.statistics().handshakes_refused == {(0, "tls"): 1}


async def test_a_request_that_is_dropped_is_told() -> None:
    """One whose task ends while the application is asked gets no answer: it is told as cut, or as draining."""
    asked = trio.Event()

    async def ask_for_ever(credentials: actors.Credentials) -> str:
        asked.set()
        await trio.sleep_forever()
        return ""

    ours, theirs = socket.socketpair()
    with theirs:
        async with actors.open_runtime(authenticate=ask_for_ever) as runtime, trio.open_nursery() as nursery:
            nursery.start_soon(runtime.handle, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
            theirs.sendall(upgrade_request(cookie=ALICE))
            await asked.wait()
            nursery.cancel_scope.cancel()
        assert runtime.tree.counts.refusals == {(0, "cut"): 1}
    asked = trio.Event()
    async with served(authenticate=ask_for_ever) as server, server.peer() as peer:
        await peer.send(upgrade_request(cookie=ALICE, origin="http://127.0.0.1:8765"))
        await asked.wait()
        server.runtime.instruments.add(refusals := Refusals())
        await server.runtime.drain(0)
    assert refusals.told == [(0, "draining", "http://127.0.0.1:8765")]


@pytest.mark.parametrize(
    ("authenticate", "status", "reason"), [("revoked", 401, "revoked"), ("failing", 503, "unavailable")]
)
async def test_a_user_who_is_not_found_is_told_by_the_reason(authenticate: str, status: int, reason: str) -> None:
    """Whether the application refused, could not be asked, or revoked the user meanwhile is told apart."""

    async def identify(credentials: actors.Credentials) -> str:
        if authenticate == "failing":
            raise OSError("no table of users")
        server.runtime.revoke("alice")
        return "alice"

    async with served(authenticate=identify) as server:
        assert (await ask(server, upgrade_request(cookie=ALICE)))[0] == status
        assert server.runtime.statistics().handshakes_refused == {(status, reason): 1}
