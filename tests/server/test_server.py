"""The door: where it listens, whom it lets in, and what it tells everybody else."""

from __future__ import annotations

import errno
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import actors
import actors.web
from actors.environment import Environment
from actors.web import pages
from tests.support.raw import ACTORS, Peer, connected, upgrade_request
from tests.support.served import PATIENCE_SECONDS, Served, served

ALICE = "actors_token=alice"


async def deliver(house: Served, peer: Peer) -> None:
    """One event goes out to the peer, is confirmed, and the peer leaves."""
    await peer.attach("alice")
    (receipt,) = await house.emit(1)
    event = await peer.next_event()
    assert event["payload"]["n"] == 0
    await peer.ack(event["offset"])
    await receipt.reached(actors.Stage.ACKED)
    assert await peer.leave() == (1000, "")


# --- where it listens -----------------------------------------------------------


async def test_tcp() -> None:
    """Port 0 is a free port, whose number serve returns; events go out over it."""
    async with served() as house:
        assert isinstance(house.address, tuple)
        assert house.address[0] == "127.0.0.1"
        assert house.address[1] > 0
        async with house.peer() as peer:
            await deliver(house, peer)
        assert house.failures() == []


async def test_every_address_of_a_name() -> None:
    """A name that stands for several addresses is served on all of them, on one port."""
    async with served({"host": "localhost"}) as house:
        found = await trio.socket.getaddrinfo("localhost", house.address[1], type=socket.SOCK_STREAM)
        for *_, address in found:
            async with connected((str(address[0]), int(address[1]))) as peer:
                assert (await peer.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200


async def test_unix_socket(tmp_path: Path) -> None:
    """A Unix socket serves as well, and its file is gone when the server is."""
    path = tmp_path / "actors.sock"
    async with served({"path": path}) as house:
        assert house.address == str(path)
        async with house.peer() as peer:
            await deliver(house, peer)
    assert not path.exists()


async def test_tls() -> None:
    """Over TLS it is the same server; a peer that does not speak TLS, or leaves it hanging, costs nobody else."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    limits = actors.Limits(request_head_seconds=0.1, close_seconds=0.2)
    async with served({"ssl_context": context}, limits=limits) as house:
        for said in (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", b"", b"\x16\x03\x01\x02\x00\x01"):
            async with house.peer() as peer:
                await peer.send(said)
                assert await peer.stream.receive_some(100) is not None
        async with house.peer() as plain:
            secure = trio.SSLStream(plain.stream, trusting, server_hostname="localhost", https_compatible=True)
            await deliver(house, Peer(secure))
        assert house.failures() == []


@pytest.mark.parametrize("context", [ssl.create_default_context(), "cert.pem", ("cert.pem", "key.pem")])
async def test_no_context_of_a_server(context: ssl.SSLContext) -> None:
    """A TLS context that no server can use is refused before the first connection finds that out."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match=r"ssl_context: expected an ssl\.SSLContext of a server"):
            await runtime.serve(ssl_context=context)


async def test_tls_request_with_the_handshake() -> None:
    """A TLS client may send its request along with the end of its handshake; the server does not wait for more."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with served({"ssl_context": context}) as house, house.peer() as peer:
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


async def test_handle_socket_stream() -> None:
    """A host's own listener can hand its connections over."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery, actors.open_runtime() as runtime:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

            async def take(stream: trio.SocketStream) -> None:
                await runtime.handle(stream)

            nursery.start_soon(partial(trio.serve_listeners, take, [listener]))
            house = Served(runtime, listener.socket.getsockname()[:2], nursery)
            async with house.peer() as peer:
                await deliver(house, peer)
            await house.all_gone()
            nursery.cancel_scope.cancel()


async def test_handle_any_stream() -> None:
    """Any stream will do, in memory for example; ``handle`` returns when its connection has ended."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with actors.open_runtime() as runtime, trio.open_nursery() as nursery:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(runtime.handle, ours)
            await deliver(Served(runtime, "memory", nursery), Peer(theirs))


async def test_handle_a_stream_that_is_not_read() -> None:
    """``handle`` returns although its peer never reads what the stream has taken."""
    ours, theirs = memory_stream_pair()
    assert isinstance(ours.send_stream, trio.testing.MemorySendStream)
    ours.send_stream.send_all_hook = trio.sleep_forever
    with trio.fail_after(PATIENCE_SECONDS):
        async with actors.open_runtime(limits=actors.Limits(close_seconds=0.05)) as runtime:
            await theirs.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            await runtime.handle(ours)
            assert list(runtime.failures) == []


# --- whom it lets in --------------------------------------------------------------


async def test_where_nothing_is_it_is_said_what_there_is() -> None:
    """A browser that is sent to ``/`` without a page reads which paths there are, and what to try."""
    async with served() as house:
        status, told = await ask(house, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 404
    assert "expected one of /ws, /healthz, got /" in told
    assert "actors watch ws://" in told
    assert "pages=actors.web.pages()" in told


async def ask(house: Served, request: bytes) -> tuple[int, str]:
    async with house.peer() as peer:
        answer = await peer.ask(request)
        return answer.status, answer.body


async def test_not_a_websocket() -> None:
    """Health is answered, a wrong upgrade is told which is right, and everything else is not here."""
    async with served() as house:
        assert await ask(house, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == (200, "ok\n")
        assert (await ask(house, b"GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 404
        assert (await ask(house, b"hello\r\n\r\n"))[0] == 400
        assert (await ask(house, upgrade_request(extra=[("X", "x" * 20_000)])))[0] == 431
        async with house.peer() as peer:
            await peer.send(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await peer.answer(body=False)).headers["content-length"] == "3"
        async with house.peer() as peer:
            answer = await peer.ask(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.status == 426
            assert (answer.headers["upgrade"], answer.headers["sec-websocket-version"]) == ("websocket", "13")


async def test_plain_needs_a_cookie() -> None:
    """A plain client is known by its cookie, and refused before the upgrade without one."""
    async with served() as house:
        status, text = await ask(house, upgrade_request())
        assert status == 401
        assert "actors_token" in text
        assert (await ask(house, upgrade_request(cookie="actors_token=")))[0] == 401
        async with house.peer() as peer:
            await peer.open(cookie=f"other={{}}; {ALICE}")
            await house.emit(1)
            assert (await peer.next_event())["offset"] == 1


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
    async with served(origins=origins) as house, house.peer() as peer:
        answer = await peer.ask(upgrade_request(origin=origin, cookie=ALICE))
        assert answer.status == status
        if status == 403:
            assert str(origin) in answer.body
        assert house.failures() == []


async def test_subprotocols() -> None:
    """Who offers only protocols that are not ours is refused; among several, ours is selected."""
    async with served() as house:
        status, text = await ask(house, upgrade_request("graphql-ws", cookie=ALICE))
        assert status == 400
        assert ACTORS in text
        async with house.peer() as peer:
            await peer.open("graphql-ws", ACTORS)
            await peer.hello("alice")


@pytest.mark.parametrize("host", ["x" * 64, "xn--\xff", "a..b", "[::1"])
async def test_strange_hosts(host: str) -> None:
    """A host name that no resolver would read is no reason to refuse, and none to fail."""
    async with served() as house, house.peer() as peer:
        await peer.open(ACTORS, host=host)
        await peer.hello("alice")
        assert house.failures() == []


async def test_credentials() -> None:
    """A token in the hello, a ticket among the offers, or a cookie: the application hears which, and from whom."""
    seen: list[tuple[str, str]] = []

    async def authenticate(credentials: actors.Credentials) -> str | None:
        seen.append((credentials.source, credentials.token))
        assert credentials.peer.startswith("127.0.0.1:")
        assert credentials.headers["sec-websocket-version"] == "13"
        return "alice"

    async with served(authenticate=authenticate) as house:
        async with house.peer() as peer:
            await peer.open(ACTORS)
            await peer.hello("t1")
        async with house.peer() as peer:
            await peer.open(ACTORS, "actors.ticket.t2")
            await peer.hello(None)
        async with house.peer() as peer:
            await peer.open(ACTORS, cookie="actors_token=t3")
            await peer.hello(None)
        async with house.peer() as peer:
            await peer.open(cookie="actors_token=t4")
        async with house.peer() as peer:
            await peer.open(ACTORS, cookie="actors_token=not asked")
            await peer.hello("t5")
        assert seen == [("hello", "t1"), ("ticket", "t2"), ("cookie", "t3"), ("cookie", "t4"), ("hello", "t5")]
        async with house.peer() as peer:
            await peer.open(ACTORS)
            await peer.say({"op": "hello", "v": 1})
            assert (await peer.next_message())["error"]["name"] == "unauthenticated"
            text = "hello: expected a token, a ticket or a cookie actors_token, got none"
            assert await peer.farewell() == (4501, text)


@pytest.mark.parametrize("token", ["", " ", "\t"])
async def test_an_empty_credential_is_none(token: str) -> None:
    """An empty token is refused, wherever it stands, and the application is not asked whose it is."""

    async def authenticate(credentials: actors.Credentials) -> str | None:
        return pytest.fail(f"asked about {credentials}")

    async with served(authenticate=authenticate) as house:
        async with house.peer() as peer:
            await peer.open(ACTORS, cookie="actors_token=x")
            await peer.say({"op": "hello", "v": 1, "token": token})
            assert await peer.farewell() == (4501, "expected valid credentials in the hello")
        assert (await ask(house, upgrade_request(ACTORS, f"actors.ticket.{token}")))[0] == 401
        assert (await ask(house, upgrade_request(cookie=f"actors_token={token}")))[0] == 401
        assert (await ask(house, upgrade_request(cookie=f'actors_token="{token}"')))[0] == 401
        assert house.failures() == []


@pytest.mark.parametrize("answer", [False, True, 0, 7, [], b"alice", "x" * 257])
async def test_who_is_nobody(answer: Any) -> None:
    """What the application names must be able to be a user: anything else, ``False`` included, lets nobody in."""

    async def authenticate(_: actors.Credentials) -> str | None:
        return answer  # type: ignore[no-any-return]

    async with served(authenticate=authenticate) as house:
        async with house.peer() as peer:
            await peer.open(ACTORS)
            await peer.say({"op": "hello", "v": 1, "token": "x"})
            assert (await peer.farewell() or (0, ""))[0] == 4007
        (failure,) = house.failures()
        assert "user_id: expected" in failure


@pytest.mark.parametrize("how", ["refuses", "raises", "hangs", "names nobody"])
async def test_authenticate(how: str) -> None:
    """Who is refused is told not to come back; when it could not be found out, that he may; and nothing hangs."""

    async def authenticate(credentials: actors.Credentials) -> str | None:
        if how == "raises":
            raise LookupError("the database is away")
        if how == "hangs":
            await trio.sleep_forever()
        return 0 if how == "names nobody" else None  # type: ignore[return-value] # as an application may get it wrong

    status, code = (401, 4501) if how == "refuses" else (503, 4007)
    limits = actors.Limits(authenticate_seconds=0.05)
    async with served(authenticate=authenticate, limits=limits) as house:
        assert (await ask(house, upgrade_request(cookie="actors_token=x")))[0] == status
        assert (await ask(house, upgrade_request(ACTORS, "actors.ticket.x")))[0] == status
        async with house.peer() as peer:
            await peer.open(ACTORS)
            await peer.say({"op": "hello", "v": 1, "token": "x"})
            said = (await peer.next_message())["error"]
            assert (said["code"], said["temporary"]) == (code, how != "refuses")
            ending = await peer.farewell()
            assert ending is not None
            assert ending[0] == code
        assert len(house.failures()) == {"refuses": 0, "names nobody": 1}.get(how, 3)
        assert all(failure.startswith("listeners/authenticate failed") for failure in house.failures())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (7, "user_id: expected a string, got int"),
        (True, "user_id: expected a string, got bool"),
        (b"s3cret-alice", "user_id: expected a string, got bytes"),
        ("x" * 300, "user_id: expected 1 to 256 characters, got 300"),
        ("\ud83d", "user_id: expected text that UTF-8 can encode"),
    ],
)
async def test_answers_of_the_wrong_kind(answer: Any, said: str) -> None:
    """A function that names nobody's id is said to once in a period, however often its devices come back."""

    async def authenticate(credentials: actors.Credentials) -> Any:
        return answer

    later = 0.0
    environment = Environment(clock=lambda: trio.current_time() + later)
    async with served(authenticate=authenticate, environment=environment) as house:
        for _ in range(3):
            assert (await ask(house, upgrade_request(cookie="actors_token=s3cret-alice")))[0] == 503
        assert len(house.failures()) == 1
        assert said in house.failures()[0]
        assert "s3cret" not in house.runtime.failures[0].traceback
        later = house.runtime.limits.warning_seconds
        assert (await ask(house, upgrade_request(cookie="actors_token=s3cret-alice")))[0] == 503
        assert len(house.failures()) == 2


async def test_a_lambda_that_returns_no_coroutine() -> None:
    """A lambda cannot say what it returns; where that cannot be awaited, it is named, and said once in a period."""
    async with served(authenticate=lambda _: "alice") as house:
        for _ in range(3):
            assert (await ask(house, upgrade_request(cookie="actors_token=x")))[0] == 503
        (failure,) = house.failures()
        assert failure.endswith("NotAwaitable: authenticate: expected a coroutine function, got one that returned str")


async def test_a_credential_at_the_cut(caplog: pytest.LogCaptureFixture) -> None:
    """A credential is taken out of a failure before that is cut: no half of it stays."""
    secret = "s3cret-" * 60

    async def authenticate(credentials: actors.Credentials) -> str | None:
        raise ValueError("x" * 900 + credentials.token + "x" * 30_000)

    async with served(authenticate=authenticate) as house:
        assert (await ask(house, upgrade_request(cookie=f"actors_token={secret}")))[0] == 503
        (failure,) = house.runtime.failures
        assert "s3cret" not in failure.error + failure.traceback + caplog.text
        assert "[credential]" in failure.error


async def test_devices_of_a_user() -> None:
    """A user has so many devices and no more; another user's are not counted, and a place that is left is free."""
    async with served(limits=actors.Limits(connections_per_user=1)) as house, house.peer() as first:
        await first.attach("alice")
        assert (await ask(house, upgrade_request(cookie=ALICE)))[0] == 429
        async with house.peer() as second:
            await second.open(ACTORS)
            await second.say({"op": "hello", "v": 1, "token": "alice"})
            assert (await second.next_message())["error"]["name"] == "too_many_devices"
            assert (await second.farewell() or (0, ""))[0] == 4004
        async with house.peer() as other:
            await other.attach("bob")
        await first.leave()
        await house.gone()
        async with house.peer() as third:
            await third.attach("alice")


async def test_connections_in_total() -> None:
    """There are so many connections and no more; whoever comes then is told when to try again."""
    async with served(limits=actors.Limits(connections=1)) as house, house.peer() as first:
        await first.attach("alice")
        async with house.peer() as second:
            answer = await second.ask(upgrade_request(ACTORS))
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])  # noqa: S104
async def test_loopback_only(host: str) -> None:
    """Unless somebody checks tokens, nobody outside this machine can be let in by mistake."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match="loopback"):
            await runtime.serve(host)


async def test_everywhere_with_authenticate() -> None:
    """With somebody who checks tokens, any address may be bound."""

    async def authenticate(credentials: actors.Credentials) -> str | None:
        return credentials.token

    async with served({"host": "0.0.0.0"}, authenticate=authenticate) as house:  # noqa: S104
        assert isinstance(house.address, tuple)
        async with connected(("127.0.0.1", house.address[1])) as peer:
            await deliver(house, peer)


# --- what it shows ----------------------------------------------------------------

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
    async with served(pages=pages()) as house, house.peer() as peer, house.peer() as head:
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
    async with served(pages=pages()) as house, house.peer() as peer, house.peer() as head:
        assert (await peer.ask(request("GET", path))).status == 404
        await head.send(request("HEAD", path))
        assert (await head.answer(body=False)).status == 404
        assert await head.stream.receive_some(1) == b""
        assert house.failures() == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_a_page_takes_nothing(method: str) -> None:
    """A page is read and nothing else, and who tries is told which methods there are."""
    async with served(pages=pages()) as house, house.peer() as peer:
        answer = await peer.ask(request(method, "/"))
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert house.failures() == []


async def test_a_token_that_is_nobodys_name() -> None:
    """Without ``authenticate`` a token is a name; one that cannot be is refused for good, and is no failure of ours."""
    async with served() as house, house.peer() as peer:
        await peer.open(ACTORS)
        await peer.say({"op": "hello", "v": 1, "token": "x" * 257})
        ending = await peer.farewell()
        assert ending is not None
        assert ending[0] == 4501
        assert house.failures() == []


# --- what it survives -------------------------------------------------------------


async def test_no_descriptors_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """When the system has no room for another connection the server says so, once in a while, waits, and goes on."""
    accept = socket.socket.accept
    errors = [errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOMEM, errno.EMFILE, errno.EMFILE]

    def failing(listener: socket.socket) -> tuple[socket.socket, object]:
        if errors:
            number = errors.pop(0)
            raise OSError(number, errno.errorcode[number])
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", failing)
    async with served(limits=actors.Limits(accept_retry_seconds=0.01)) as house, house.peer() as peer:
        await deliver(house, peer)
        assert errors == []
        said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("accept:")]
        assert len(said) == 3


async def test_a_broken_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no retry mends comes out of serve."""

    def failing(_: socket.socket) -> tuple[socket.socket, object]:
        raise OSError(errno.EINVAL, "not a listener")

    async def listen() -> None:
        async with served() as house, house.peer():
            await trio.sleep_forever()

    monkeypatch.setattr(socket.socket, "accept", failing)
    with pytest.raises(BaseExceptionGroup) as caught:
        await listen()
    matched, rest = caught.value.split(OSError)
    assert matched is not None
    assert rest is None


async def test_address_in_use() -> None:
    """An address that is taken is an error of the call, and leaves nothing open."""
    async with served() as house:
        assert isinstance(house.address, tuple)
        with pytest.raises(OSError, match="in use"):
            await house.runtime.serve(*house.address)


# --- how it ends ------------------------------------------------------------------


async def test_shutting_down() -> None:
    """A runtime that closes tells everybody so, whatever they speak; events it had emitted still go out before."""
    async with served() as house:
        async with house.peer() as device, house.peer() as plain, house.peer() as silent:
            await device.attach("alice")
            await plain.open(cookie=ALICE)
            await silent.open(ACTORS)
            await house.emit(1)
            endings: list[tuple[int, str] | None] = []

            async def watch(peer: Peer) -> None:
                endings.append(await peer.farewell())

            async with trio.open_nursery() as nursery:
                for peer in (device, plain, silent):
                    nursery.start_soon(watch, peer)
                await wait_all_tasks_blocked()
                house.runtime.tree.server.close()
            assert [ending[0] for ending in endings if ending is not None] == [1012] * 3
            for peer in (device, plain):
                assert [message["offset"] for message in peer.messages() if "type" in message] == [1]
        with pytest.raises(actors.RuntimeClosed):
            await house.runtime.serve()


async def test_one_of_two_doors() -> None:
    """A listener that is cancelled says goodbye to its own clients, and to nobody else's."""
    async with served() as house, house.peer() as stays, trio.open_nursery() as nursery:
        other = await nursery.start(house.runtime.serve)
        async with connected(other) as goes:
            await stays.attach("alice")
            await goes.attach("alice")
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert (await goes.farewell() or (0, ""))[0] == 1012
                await house.emit(1)
                assert (await stays.next_event())["offset"] == 1


async def test_a_socket_left_behind_is_taken_over(tmp_path: Path) -> None:
    """A Unix socket whose server was killed does not stand in the way; one whose server answers does."""
    path = tmp_path / "actors.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with served({"path": path}) as house:
        async with house.peer() as peer:
            await peer.attach("alice")
        with pytest.raises(OSError, match="in use"):
            await house.runtime.serve(path=path)


async def test_a_path_that_another_server_took_over_stays(tmp_path: Path) -> None:
    """A server removes its own file only: not one that has another server's socket behind it by now."""
    path = tmp_path / "actors.sock"
    async with served() as other:
        async with served({"path": path}):
            path.unlink()
            await other.nursery.start(partial(other.runtime.serve, path=path))
        assert path.is_socket()
        async with connected(str(path)) as peer:
            await peer.attach("alice")
    assert not path.exists()


async def test_a_path_is_free_as_soon_as_nobody_is_taken(tmp_path: Path) -> None:
    """A server that drains leaves its path to the next at once, and does not remove what the next has put there."""
    path = tmp_path / "actors.sock"
    async with served() as other:
        async with served({"path": path}) as house:
            await house.runtime.drain(PATIENCE_SECONDS)
            assert not path.exists()
            await other.nursery.start(partial(other.runtime.serve, path=path))
        async with connected(str(path)) as peer:
            await peer.attach("alice")


async def test_a_busy_server_keeps_its_path(tmp_path: Path) -> None:
    """A server that has too many callers at once to answer another is there: its path is not taken over."""
    path = tmp_path / "actors.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as caller:
        busy.bind(str(path))
        busy.listen(0)
        caller.connect(str(path))
        async with actors.open_runtime() as runtime:
            with pytest.raises(OSError, match="in use"):
                await runtime.serve(path=path)
    assert path.exists()
