"""The same promises wherever devices connect: below a path of an ASGI server, and on the runtime's own port."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.support.raw import ACTORS, BINARY, CLOSE, PING, PONG, Peer, connected, frame
from tests.system.asgi.servers import Place, events

PATIENCE_SECONDS = 60.0
"""A safety net against hangs, not a measurement."""


async def test_delivery(place: Place) -> None:
    """Events arrive in order, are acked, and explain says so; the device leaves as it came."""
    user = f"delivery to {place.host}"
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.device(user) as device:
            ids = await place.emit(user, 3)
            got = await events(device, 3)
            assert [(event["event_id"], event["offset"]) for event in got] == [(ids[n], n + 1) for n in range(3)]
            said = await place.told("GET", "/explain", event=ids[2])
            assert ("(over ASGI)" in said) is not place.is_own
            await device.ack(3)
            while "acked by a device" not in said:
                said = await place.told("GET", "/explain", event=ids[2])
            assert await device.leave() == (1000, "")
        await place.until(connections=0, held=0)


async def test_a_run(place: Place) -> None:
    """A message is answered by a run, and each of its events arrives once, in order."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.device("run") as device:
            message = {"op": "send", "id": "c1", "thread_id": f"t of {place.host}", "payload": {"steps": 20}}
            await device.say(message)
            got = await events(device, 1 + 1 + 20 + 1)
            assert [event["type"] for event in got] == [
                "user_message",
                "agent_started",
                *["step"] * 20,
                "agent_completed",
            ]
            assert [event["payload"]["n"] for event in got[2:-1]] == list(range(20))


async def test_a_large_event(place: Place) -> None:
    """A message that goes through in many pieces is one message."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.device("large") as device:
            await place.emit("large", 2, 200_000)
            assert [len(event["payload"]["x"]) for event in await events(device, 2)] == [200_000] * 2


# --- who it is ------------------------------------------------------------------


async def test_credentials(place: Place) -> None:
    """A token, a ticket, a cookie, or what the application finds in the request: each is offered as what it is."""
    before = len((await place.state())["seen"])
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.device("cred"):
            pass
        async with place.peer(ACTORS, "actors.ticket.cred") as peer:
            await peer.hello(None)
        async with place.peer(ACTORS, cookie="actors_token=cred") as peer:
            await peer.hello(None)
        async with place.peer(ACTORS, cookie="session=cred") as peer:
            await peer.hello(None)
        async with place.peer(cookie="session=cred"):
            pass
    seen = [tuple(one) for one in (await place.state())["seen"][before:]]
    sources = ["hello", "ticket", "cookie", "request", "request"]
    assert seen == [(source, "" if source == "request" else "cred") for source in sources]


async def test_a_user_of_a_middleware(place: Place) -> None:
    """What a middleware has put into the scope says who it is; on the own port there is none."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.peer(ACTORS, extra=[("X-User", "carol")]) as peer:
            await peer.say({"op": "hello", "v": 1})
            if place.is_own:
                assert await peer.farewell() == (4501, "expected valid credentials in the request")
            else:
                assert (await peer.next_message())["op"] == "welcome"
                await place.emit("carol")
                assert (await events(peer, 1))[0]["thread_id"] == "thread-of-carol"


@pytest.mark.parametrize(("token", "code"), [("nobody", 4501), ("raises", 4007)])
async def test_who_is_refused(place: Place, token: str, code: int) -> None:
    """Whoever is refused is told so by the code that says whether to come back."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.peer(ACTORS) as peer:
            await peer.say({"op": "hello", "v": 1, "token": token})
            assert (await peer.next_message())["error"]["code"] == code
            assert (await peer.farewell() or (0, ""))[0] == code


@pytest.mark.parametrize(
    ("status", "says", "offers", "options"),
    [
        (403, "an allowed origin", (ACTORS,), {"origin": "http://evil.example"}),
        (400, "the subprotocol actors.v1", ("graphql-ws",), {}),
        (401, "valid credentials in the ticket", (ACTORS, "actors.ticket.nobody"), {}),
        (401, "valid credentials in the cookie", (), {"cookie": "actors_token=nobody"}),
        (503, "", (), {"cookie": "actors_token=raises"}),
    ],
    ids=["origin", "subprotocol", "ticket", "cookie", "failure"],
)
async def test_refusals(place: Place, status: int, says: str, offers: tuple[str, ...], options: dict[str, Any]) -> None:
    """An upgrade that is refused is answered in words; by a server without the extension for that with 403."""
    with trio.fail_after(PATIENCE_SECONDS):
        answer = await place.ask(place.upgrade(*offers, **options))
    if place.server.name == "granian" and not place.is_own:
        assert answer.status == 403
    else:
        assert (answer.status, says in answer.body) == (status, True)


async def test_a_page_of_the_same_host(place: Place) -> None:
    """A page of the same host and port may connect, behind a mount as without."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.peer(ACTORS, origin=f"http://{place.host}") as peer:
            await peer.hello("page")


async def test_a_user_that_the_endpoint_knows(mount: Place) -> None:
    """An endpoint of the host's own serves a user whom it knows: tokens make no difference, the origin does."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with mount.peer(ACTORS, path="/mine?user=dora") as peer:
            await peer.hello("mallory")
            await mount.emit("dora")
            assert (await events(peer, 1))[0]["thread_id"] == "thread-of-dora"
        answer = await mount.ask(mount.upgrade(ACTORS, path="/mine?user=dora", origin="http://evil.example"))
        assert answer.status == 403


async def test_an_endpoint_that_accepts_first(mount: Place) -> None:
    """To accept before is a mistake, which the server's log tells; nothing is left of the connection."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with connected(mount.address) as peer:
            await peer.ask(mount.upgrade(path="/accepted"))
            with trio.move_on_after(0.5):  # granian may keep the socket of an application that raises
                await peer.ending()
        await mount.until(connections=0, sockets=0, held=0)
        assert "expected a WebSocket that the endpoint has neither accepted nor closed" in mount.server.text()


# --- what is bounded, and how it ends ---------------------------------------------


async def test_too_many_devices(place: Place) -> None:
    """The bound on the connections of one user is one of all places together, and is told in words."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.device("many"), place.device("many"), place.device("many"):
            async with place.peer(ACTORS) as one_more:
                await one_more.say({"op": "hello", "v": 1, "token": "many"})
                assert (await one_more.farewell() or (0, ""))[0] == 4004
            answer = await place.ask(place.upgrade(cookie="actors_token=many"))
            assert answer.status == (403 if place.server.name == "granian" and not place.is_own else 429)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(1, b'{"op":"hello","v":2,"token":"x"}'), 4502),
        (frame(1, b"not json"), 4502),
        (frame(BINARY, b"x"), 1003),
        (frame(1, b"x" * 70_000), 1009),
        (frame(1, b'{"op":"pong"}') * 200, 4502),
    ],
    ids=["version", "no message", "binary", "too big", "no hello first"],
)
async def test_close_codes(place: Place, sent: bytes, code: int) -> None:
    """What a client gets wrong ends its connection with the code of the table."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.peer(ACTORS) as peer:
            await peer.send(sent)
            assert (await peer.farewell() or (0, ""))[0] == code
        await place.until(connections=0)


async def test_flooding(place: Place) -> None:
    """Whoever says too much is ended, with the code that says so."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.device("flood") as peer:
            await peer.send(frame(1, b'{"op":"pong"}') * 500)
            assert (await peer.farewell() or (0, ""))[0] == 4003


async def test_revoked(place: Place) -> None:
    """A user who is revoked is told not to come back, on every connection."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.device("gone") as device:
            assert await place.told("POST", "/revoke", user="gone") == 1
            assert (await device.farewell() or (0, ""))[0] == 4504


async def test_who_says_nothing(place: Place) -> None:
    """A device of the protocol is asked by messages, which go through everything; without an answer it is ended. A
    plain client lives for as long as its socket answers pings: the server's, where that has the socket."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.device("silent") as device, place.peer(cookie="actors_token=plain") as plain:
            (event_id,) = await place.emit("silent")
            async with trio.open_nursery() as nursery:
                if place.is_own:
                    nursery.start_soon(answer_pings, plain)
                await device.next_op("ping")
                assert (await device.farewell() or (1011, ""))[0] == 1011
                nursery.cancel_scope.cancel()
            assert "(silent: " in await place.told("GET", "/explain", event=event_id)
            await place.emit("plain", 2)
            while plain.messages()[-1:] == [] or plain.messages()[-1]["payload"]["n"] != 1:
                await plain.next_frame()


async def answer_pings(plain: Peer) -> None:
    while (came := await plain.next_frame()) is not None:
        assert came.opcode == PING
        await plain.send(frame(PONG, came.payload))


@pytest.mark.parametrize("cut", [frame(1, b'{"op":"ack"')[:-3], b"", b"\xff" * 300, frame(CLOSE, b"\x03")])
async def test_cut_off(place: Place, cut: bytes) -> None:
    """A peer that goes at any byte, or sends garbage, costs nobody else anything, and nothing of it stays."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with place.device("stays") as stays:
            async with place.device("goes") as goes:
                await goes.send(cut)
            await place.emit("stays")
            assert len(await events(stays, 1)) == 1
        await place.until(connections=0, sockets=0)
        assert (await place.state())["balanced"]


async def test_a_reader_that_stalls(place: Place) -> None:
    """A device that reads nothing is given up in its time, and the others get everything meanwhile. Its socket counts
    for as long as the server keeps it."""
    with trio.fail_after(60):
        async with place.device("slow") as slow, place.device("slow") as reads:
            total = 0
            while (await place.state())["connections"] == 2:
                await place.emit("slow", 8, 200_000)
                total += 8
                assert len(await events(reads, 8)) == 8
                await reads.say({"op": "pong"})
            state = await place.state()
            assert (state["connections"], state["held"]) == (1, 0 if place.is_own else 1)
            await trio.aclose_forcefully(slow.stream)
            await place.until(connections=1, held=0)
            assert total > 8


# --- pages ----------------------------------------------------------------------


async def test_pages(place: Place) -> None:
    """Health and files are served below the same path, with the headers that bind a browser."""
    with trio.fail_after(PATIENCE_SECONDS):
        assert (await place.get("/healthz")).body == "ok\n"
        answer = await place.get("/actors.js?v=1")
        assert (answer.status, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert (await place.get("/actors.js", "HEAD")).headers["content-length"] == str(len(answer.body.encode()))
        assert (await place.get("/actors.js", "POST")).status == 405
        missing = await place.get("/nothing")
        assert (missing.status, "expected one of /ws, /healthz" in missing.body) == (404, True)
        upgrade = await place.get("/ws")
        assert (upgrade.status, upgrade.headers["sec-websocket-version"]) == (426, "13")
