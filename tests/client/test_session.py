"""A session as an application sees it, against a server that is played by hand."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.client import (
    Ask,
    AskClosed,
    CaughtUp,
    Cursor,
    Event,
    Gap,
    Item,
    RequestRefused,
    Reset,
    Session,
    SessionEnded,
    SessionLost,
    State,
    connect,
)
from actors.environment import Environment
from actors.errors import Unencodable
from actors.protocol.codes import CLOSINGS
from tests.support.scripted_server import URL, Line, Scripted, autojump_clock, event, server

__all__ = ["autojump_clock", "server"]

FRESH = {"resume": "fresh"}
REPLAYED = {"resume": "replayed"}


async def take(session: Session, count: int) -> list[Item]:
    """The next items."""
    return [await anext(session) for _ in range(count)]


def offsets(items: list[Item]) -> list[int]:
    """The offsets of the events among items."""
    return [item.offset for item in items if isinstance(item, Event)]


# --- what comes -----------------------------------------------------------------


async def test_items_come_as_they_were_said(server: Scripted, autojump_clock: MockClock) -> None:
    """Events, gaps, resets, questions and what ends them are items; batches are unpacked."""
    async with connect(URL, token="t") as session:
        line = await server.accept()
        hello = await line.welcome(**FRESH)
        assert hello == {"op": "hello", "v": 1, "token": "t", "renames": True}
        merged = event(4, "agent_delta", payload={"text": "abc"}, seq0=3)
        await line.say(
            event(1),
            {"op": "batch", "from": 2, "to": 4, "events": [event(2), merged]},
            {"op": "gap", "from": 5, "to": 6, "cause": "retention"},
            {"op": "caught_up", "offset": 6},
            {"op": "ask", "event": {"event_id": "a_1", "type": "approval", "payload": {}, "thread_id": "t1"}},
            {"op": "what is this"},
            {"op": "ask_closed", "ask": "a_1", "reason": "expired"},
            {"op": "reset", "epoch": "ep_2", "low": 3},
            event(3),
        )
        items = await take(session, 9)
        assert offsets(items) == [1, 2, 4, 3]
        assert items[3:8] == [
            Gap(5, 6, "retention"),
            CaughtUp(6),
            Ask(id="a_1", type="approval", payload={}, thread_id="t1", run_id=None, timestamp=0.0, timeout_s=None),
            AskClosed("a_1", "expired"),
            Reset("ep_2", 3),
        ]
        assert session.cursor == Cursor("ep_2", 3)


async def test_it_resumes_with_what_was_taken(server: Scripted, autojump_clock: MockClock) -> None:
    """After a break the client resumes after the last item that the application came back from, and drops what it has
    in hand or in the queue already."""
    async with connect(URL) as session:
        line = await server.accept()
        await line.welcome(**FRESH)
        await line.say(*(event(n) for n in range(1, 6)))
        assert offsets(await take(session, 3)) == [1, 2, 3]
        await line.drop()
        line = await server.accept()
        hello = await line.welcome(start=3, **REPLAYED)
        resume = {"epoch": "ep_1", "offset": 2}
        assert hello == {"op": "hello", "v": 1, "session": "s_1", "resume": resume, "renames": True}
        await line.say(*(event(n) for n in range(3, 8)))
        assert offsets(await take(session, 4)) == [4, 5, 6, 7]


async def test_a_cursor_of_an_earlier_session_is_where_it_begins(server: Scripted, autojump_clock: MockClock) -> None:
    """An application that kept its cursor passes it, and reads the new one."""
    async with connect(URL, cursor=Cursor("ep_1", 40)) as session:
        assert session.cursor == Cursor("ep_1", 40)
        line = await server.accept()
        hello = await line.welcome(start=41, **REPLAYED)
        assert hello["resume"] == {"epoch": "ep_1", "offset": 40}
        await line.say(event(41))
        await anext(session)
        assert session.cursor == Cursor("ep_1", 41)


@pytest.mark.parametrize("origin", ["low", "head"])
async def test_where_to_begin_without_a_cursor(server: Scripted, autojump_clock: MockClock, origin: Any) -> None:
    """``origin`` is said in the hello; the default is not."""
    async with connect(URL, origin=origin):
        assert (await (await server.accept()).welcome(**FRESH))["from"] == origin


async def test_a_client_that_had_taken_nothing_has_a_cursor(server: Scripted, autojump_clock: MockClock) -> None:
    """A session resumes at its first welcome, so that it misses nothing that another device acks meanwhile."""
    async with connect(URL):
        line = await server.accept()
        await line.welcome(start=8, head=7, **FRESH)
        await line.say({"op": "caught_up", "offset": 7})
        await line.drop()
        assert (await (await server.accept()).welcome(**REPLAYED))["resume"] == {"epoch": "ep_1", "offset": 7}


async def test_a_hole_is_said_and_everything_asked_for_anew(server: Scripted, autojump_clock: MockClock) -> None:
    """A message that cannot come next ends the connection; the next one has no cursor, and begins with a Reset."""
    async with connect(URL) as session:
        line = await server.accept()
        await line.welcome(**FRESH)
        await line.say(event(1), event(3))
        assert await line.ending() is None
        line = await server.accept()
        hello = await line.welcome(start=1, **FRESH)
        assert "resume" not in hello
        assert hello["from"] == "low"
        await line.say(event(1), event(2), event(3))
        items = await take(session, 5)
        assert offsets(items) == [1, 1, 2, 3]
        assert items[1] == Reset("ep_1", 1, "expected offset 2, got 3 to 3")


async def test_a_server_that_keeps_saying_what_cannot_be_is_asked_ever_more_rarely(
    server: Scripted, autojump_clock: MockClock
) -> None:
    """New events before the hole are no reason to come back sooner."""
    states: list[State] = []
    async with connect(URL, on_state=states.append, environment=always(1.0)):
        for _ in range(6):
            line = await server.accept()
            await line.welcome(**FRESH)
            await line.say(event(1), event(3))
        await wait_all_tasks_blocked()
    assert [state.seconds for state in states if state.name == "waiting"] == pytest.approx([0.5, 0.5, 1, 2, 4, 8])


# --- confirming -----------------------------------------------------------------


async def test_only_what_the_application_came_back_from_is_acked(server: Scripted, autojump_clock: MockClock) -> None:
    """The item in hand is not; the others are, when the server's second has passed."""
    async with connect(URL) as session:
        line = await server.accept()
        await line.welcome(limits={"ack_events": 10, "ack_s": 2}, **FRESH)
        await line.say(*(event(n) for n in range(1, 4)))
        await take(session, 3)
        before = trio.current_time()
        assert await line.hear() == {"op": "ack", "offset": 2}
        assert trio.current_time() - before == pytest.approx(2)


async def test_as_many_as_the_server_asks_for_are_acked_at_once(server: Scripted, autojump_clock: MockClock) -> None:
    """No time passes when there are enough, nor when a run has ended."""
    async with connect(URL) as session, trio.open_nursery() as nursery:
        line = await server.accept()
        await line.welcome(limits={"ack_events": 3, "ack_s": 5}, **FRESH)
        await line.say(event(1), event(2), event(3), event(4, "agent_completed"))
        before = trio.current_time()
        await take(session, 4)
        assert await line.hear() == {"op": "ack", "offset": 3}
        nursery.start_soon(anext, session)
        assert await line.hear() == {"op": "ack", "offset": 4}
        assert trio.current_time() == before
        nursery.cancel_scope.cancel()


async def test_leaving_acks_what_was_taken_and_says_goodbye(server: Scripted, autojump_clock: MockClock) -> None:
    """The end of the block sends the last ack, then a Close with 1000."""
    async with trio.open_nursery() as nursery:
        line: Line

        async def serve() -> None:
            nonlocal line
            line = await server.accept()
            await line.welcome(**FRESH)
            await line.say(event(1), event(2))
            assert await line.ending() == 1000

        nursery.start_soon(serve)
        async with connect(URL) as session:
            await take(session, 2)
    assert line.said[-1] == {"op": "ack", "offset": 1}


# --- asking -----------------------------------------------------------------------


async def test_a_request_without_a_reply_is_sent_again(server: Scripted, autojump_clock: MockClock) -> None:
    """A request is sent again on the next connection of the session, under the same id; it returns the reply."""
    async with connect(URL) as session, trio.open_nursery() as nursery:
        got: list[Any] = []

        async def send() -> None:
            got.append(await session.send({"text": "hi"}, thread_id="t1"))

        nursery.start_soon(send)
        line = await server.accept()
        await line.welcome(**FRESH)
        message = await line.hear()
        await line.drop()
        line = await server.accept()
        await line.welcome(**REPLAYED)
        assert await line.hear() == message
        reply = {"thread_id": "t1", "event_id": "m", "run_id": None, "epoch": "ep_1", "seq": 1, "offset": 1}
        await line.say({"op": "reply", "id": message["id"], "ok": True, **reply})
        await wait_all_tasks_blocked()
        assert (got[0].thread_id, got[0].run_id, got[0].offset) == ("t1", None, 1)


@pytest.mark.parametrize("is_away", [True, False])
async def test_after_ten_minutes_a_request_is_given_up(
    server: Scripted, autojump_clock: MockClock, is_away: bool
) -> None:
    """With a server or without one: SessionLost, ten minutes after it was first written. What was not, waits."""
    async with connect(URL) as session, trio.open_nursery() as nursery:
        line = await server.accept()
        await line.welcome(**FRESH)

        async def live() -> None:
            while True:
                await line.say({"op": "ping"})
                await trio.sleep(10)

        async def send() -> None:
            await line.hear_op("send")
            if is_away:
                server.up = False
                await line.drop()
            else:
                nursery.start_soon(live)

        nursery.start_soon(send)
        began = trio.current_time()
        with pytest.raises(SessionLost, match="expected a reply within ten minutes in one session, got none"):
            await session.send({"text": "hi"})
        assert trio.current_time() - began == pytest.approx(600)
        if is_away:
            with trio.move_on_after(3_600) as patience:
                await session.send({"text": "hi"})
            assert patience.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_nothing_is_doubled_when_the_session_is_lost(server: Scripted, autojump_clock: MockClock) -> None:
    """What was sent and not answered raises SessionLost; what was never sent, and what may be repeated, is sent on the
    new session."""
    async with connect(URL) as session, trio.open_nursery() as nursery:
        lost: list[str] = []

        async def send() -> None:
            with pytest.raises(SessionLost):
                await session.send({"text": "hi"})
            lost.append("send")

        line = await server.accept()
        await line.welcome(**FRESH)
        nursery.start_soon(send)
        nursery.start_soon(session.cancel, "run_1")
        message = {(await line.hear())["op"], (await line.hear())["op"]}
        assert message == {"send", "cancel"}
        server.up = False
        await line.drop()
        await wait_all_tasks_blocked()
        nursery.start_soon(session.read, "t1")
        server.up = True
        line = await server.accept()
        await line.welcome(session="s_2", **REPLAYED)
        assert {(await line.hear())["op"], (await line.hear())["op"]} == {"cancel", "read"}
        assert lost == ["send"]
        nursery.cancel_scope.cancel()


async def test_what_is_refused_says_why(server: Scripted, autojump_clock: MockClock) -> None:
    """The row of the table of refusals is raised."""
    async with connect(URL) as session, trio.open_nursery() as nursery:

        async def refuse() -> None:
            line = await server.accept()
            await line.welcome(**FRESH)
            error = {"code": 4602, "name": "unknown_thread", "temporary": False, "message": "no such thread"}
            await line.say({"op": "reply", "id": (await line.hear())["id"], "error": error})

        nursery.start_soon(refuse)
        with pytest.raises(RequestRefused, match="no such thread") as caught:
            await session.read("t9")
        assert (caught.value.code, caught.value.name, caught.value.temporary) == (4602, "unknown_thread", False)


async def test_what_cannot_travel_is_refused_here(server: Scripted, autojump_clock: MockClock) -> None:
    """A payload that JSON cannot carry, or that the server would end the connection for."""
    async with connect(URL) as session:
        line = await server.accept()
        await line.welcome(limits={"message_bytes": 100}, **FRESH)
        with pytest.raises(Unencodable, match=r"payload\.when"):
            await session.send({"when": object()})
        with pytest.raises(Unencodable, match=r"payload\.order\.id: expected a number that"):
            await session.send({"order": {"id": 2512292042121000001}})
        with pytest.raises(Unencodable, match=r"payload\.n\[0\]: expected a number that"):
            await session.answer("a_1", b'{"n":[1e400]}')
        with pytest.raises(Unencodable, match="ask_id: expected a string"):
            await session.answer(None, {})  # type: ignore[arg-type] # as an application may get it wrong
        with pytest.raises(Unencodable, match="at most 100 bytes"):
            await session.send({"text": "x" * 100})


async def test_what_cannot_be_asked_for_is_refused_here(server: Scripted, autojump_clock: MockClock) -> None:
    """An impossible run id, or an impossible ``seq``, raises at once, without a connection."""
    async with connect(URL) as session:
        for name in ("", "\ud83d", "x" * 257):
            with pytest.raises(Unencodable):
                await session.cancel(name)
            with pytest.raises(Unencodable):
                await session.read(name)
        places: list[dict[str, Any]] = [{"after_seq": wrong} for wrong in (-1, 2**53, "1", 1.5, None, True)]
        for options in (*places, {"limit": 0}, {"limit": 10**30}, {"limit": "1"}, {"limit": 1.5}):
            with pytest.raises(
                Unencodable, match=r"(after_seq|limit): expected a whole number from \d (on|to 2147483648)"
            ):
                await session.read("t1", **options)
        threads: list[Any] = ["", 0, 5, [], "\ud83d", "x" * 257]
        for thread_id in threads:
            with pytest.raises(Unencodable, match="thread_id: expected"):
                await session.send({}, thread_id=thread_id)


async def test_a_cancelled_request_is_not_sent_again(server: Scripted, autojump_clock: MockClock) -> None:
    """A cancelled request is not sent again; its reply, if it comes, is ignored."""
    async with connect(URL) as session:
        line = await server.accept()
        await line.welcome(**FRESH)
        with trio.move_on_after(1):
            await session.send({"text": "hi"})
        message = await line.hear()
        await line.say({"op": "reply", "id": message["id"], "ok": True})
        await line.drop()
        line = await server.accept()
        await line.welcome(**REPLAYED)
        with trio.move_on_after(1):
            await session.cancel("run_1")
        assert (await line.hear())["op"] == "cancel"


async def test_no_faster_than_the_server_allows(server: Scripted, autojump_clock: MockClock) -> None:
    """Messages are paced by the welcome's limit; more than eight requests do not wait for answers at once."""
    async with connect(URL) as session, trio.open_nursery() as nursery:
        line = await server.accept()
        await line.welcome(limits={"messages_per_s": 10}, **FRESH)
        before = trio.current_time()
        for n in range(50):
            nursery.start_soon(session.cancel, f"run_{n}")
        await wait_all_tasks_blocked()
        for n in range(50):
            request = await line.hear()
            assert int(request["id"][1:]) - n <= 8
            await line.say({"op": "reply", "id": request["id"], "ok": True, "run_id": "", "stopped": [], "running": []})
        assert trio.current_time() - before >= (50 - 8) / 10


# --- questions --------------------------------------------------------------------


def question(name: str) -> dict[str, Any]:
    """A question as a server sends it."""
    return {"op": "ask", "event": {"event_id": name, "type": "approval", "payload": {}, "thread_id": "t1"}}


async def test_a_question_is_shown_once_and_closed_once(server: Scripted, autojump_clock: MockClock) -> None:
    """What comes again after a reconnect is the same question; what does not was closed meanwhile."""
    async with connect(URL) as session:
        line = await server.accept()
        await line.welcome(**FRESH)
        await line.say({"op": "caught_up", "offset": 0}, question("a_1"), question("a_2"))
        items = await take(session, 3)
        assert [item.id for item in items if isinstance(item, Ask)] == ["a_1", "a_2"]
        await line.drop()
        line = await server.accept()
        await line.welcome(**REPLAYED)
        await line.say({"op": "caught_up", "offset": 0}, question("a_2"))
        assert await line.hear() == {"op": "ping"}
        await line.say({"op": "pong"}, question("a_3"))
        items = await take(session, 3)
        assert items[:2] == [CaughtUp(0), AskClosed("a_1", "gone")]
        assert isinstance(items[2], Ask)
        assert items[2].id == "a_3"


# --- connections --------------------------------------------------------------------


def always(jitter: float) -> Environment:
    """An environment whose dice always fall the same way."""

    class Dice(random.Random):
        def random(self) -> float:
            return jitter

    return Environment(random=Dice())


async def test_full_jitter(server: Scripted, autojump_clock: MockClock) -> None:
    """Pauses are anything up to the time since the connection was lost, 0.5 s at least and 10 s at most; that time
    begins anew after a connection that came to something."""
    states: list[State] = []
    async with connect(URL, on_state=states.append, environment=always(0.5)) as session:
        server.up = False
        await trio.sleep(60)
        waited = [state.seconds for state in states if state.name == "waiting"]
        assert waited[:7] == pytest.approx([0.25, 0.25, 0.25, 0.375, 0.5625, 0.84375, 1.265625])
        assert waited[12:] == [5] * len(waited[12:])
        server.up = True
        line = await server.accept()
        await line.welcome(**FRESH)
        await line.say(event(1))
        await anext(session)
        states.clear()
        await line.drop()
        await (await server.accept()).welcome(start=1, **REPLAYED)
        assert [state.seconds for state in states if state.name == "waiting"] == [0.25]


async def test_a_server_that_goes_away_is_left_alone_for_as_long_as_it_says(
    server: Scripted, autojump_clock: MockClock
) -> None:
    """``retry_ms`` is waited for after the close, instead of a pause of our own."""
    async with connect(URL):
        line = await server.accept()
        await line.welcome(**FRESH)
        await line.say({"op": "going_away", "retry_ms": 1730})
        await line.close(1012)
        before = trio.current_time()
        await server.accept()
        assert trio.current_time() - before == pytest.approx(1.73)


async def test_a_pause_can_be_ended(server: Scripted, autojump_clock: MockClock) -> None:
    """``reconnect_now`` ends it: the machine has come online."""
    async with connect(URL, environment=always(0.99)) as session:
        await (await server.accept()).drop()
        await wait_all_tasks_blocked()
        before = trio.current_time()
        session.reconnect_now()
        await server.accept()
        assert trio.current_time() == before


@pytest.mark.parametrize("code", [*(row.code for row in CLOSINGS.values() if not row.temporary), 1008, 4700])
async def test_refused_for_good(server: Scripted, autojump_clock: MockClock, code: int) -> None:
    """Such a code ends the session: what had come is given, then an error with code and text; requests get it, too."""
    async with connect(URL) as session:
        line = await server.accept()
        await line.welcome(**FRESH)
        await line.say(event(1), {"op": "error", "error": {"code": code, "name": "x", "message": "because of that"}})
        await line.close(code, "no")
        await wait_all_tasks_blocked()
        assert session.state.name == "ended"
        assert offsets(await take(session, 1)) == [1]
        for _ in range(2):
            with pytest.raises(SessionEnded, match="because of that") as caught:
                await anext(session)
            assert caught.value.code == code
        with pytest.raises(SessionEnded):
            await session.send({"text": "hi"})
    assert server.attempts == 1


@pytest.mark.parametrize("code", [*(row.code for row in CLOSINGS.values() if row.temporary), 1001, 1005, 1011, 4499])
async def test_come_back(server: Scripted, autojump_clock: MockClock, code: int) -> None:
    """With these codes the client comes back, with its session."""
    async with connect(URL):
        line = await server.accept()
        await line.welcome(**FRESH)
        if code in {1005, 1006}:
            await line.drop()
        else:
            await line.close(code)
        assert (await (await server.accept()).welcome(**REPLAYED))["session"] == "s_1"


@pytest.mark.parametrize(
    ("status", "final"), [(400, True), (401, True), (403, True), (404, True), (429, False), (503, False)]
)
async def test_an_upgrade_that_is_refused(
    server: Scripted, autojump_clock: MockClock, status: int, final: bool
) -> None:
    """A refusal of HTTP is for good when it is about the request, and not when it is about the moment."""
    async with connect(URL) as session:
        await (await server.accept()).upgrade(status=status)
        if final:
            with pytest.raises(SessionEnded, match="nope") as caught:
                await anext(session)
            assert caught.value.status == status
        else:
            await server.accept()
            assert session.state.name == "connecting"


async def test_a_server_of_something_else(server: Scripted, autojump_clock: MockClock) -> None:
    """One that does not choose the subprotocol is not one of ours."""
    async with connect(URL) as session:
        await (await server.accept()).upgrade(protocol=None)
        with pytest.raises(SessionEnded, match=r"actors\.v1"):
            await anext(session)


async def test_superseded_by_a_connection_of_our_own(server: Scripted, autojump_clock: MockClock) -> None:
    """A hello that was given up may arrive late and supersede the next connection; no other client has this session, so
    the client comes back. Without such a hello the code means what it says."""
    async with connect(URL, connect_seconds=3) as session:
        line = await server.accept()
        await line.welcome(**FRESH)
        await line.drop()
        late = await server.accept()
        await late.upgrade()
        await late.hear()
        line = await server.accept()
        await line.welcome(**REPLAYED)
        await line.close(4500)
        line = await server.accept()
        await line.welcome(**REPLAYED)
        await line.close(4500)
        with pytest.raises(SessionEnded):
            await anext(session)


# --- servers that are ill -----------------------------------------------------------


async def test_a_server_that_says_nothing(server: Scripted, autojump_clock: MockClock) -> None:
    """A connection without upgrade or welcome is given up after ``connect_seconds``, reported, and tried again."""
    states: list[State] = []
    async with connect(URL, connect_seconds=3, on_state=states.append):
        before = trio.current_time()
        await server.accept()
        line = await server.accept()
        assert 3 <= trio.current_time() - before <= 3.5
        await line.upgrade()
        await server.accept()
        assert 6 <= trio.current_time() - before <= 10
    waiting = [state.text for state in states if state.name == "waiting"]
    assert waiting == ["expected an upgrade, got none in time", "expected a welcome within 3 s"]


async def test_a_server_that_falls_silent(server: Scripted, autojump_clock: MockClock) -> None:
    """Nothing for ten seconds more than its pings take: it is dead. A single byte of a frame is a sign of life."""
    async with connect(URL) as session:
        line = await server.accept()
        await line.welcome(ping_s=5, **FRESH)
        before = trio.current_time()
        await trio.sleep(10)
        await line.write(b"\x81")
        await trio.sleep(10)
        assert session.state.name == "open"
        await server.accept()
        assert trio.current_time() - before == pytest.approx(25, abs=0.6)


async def test_pings_are_answered(server: Scripted, autojump_clock: MockClock) -> None:
    """Those of the protocol, and those of WebSocket, also when the application takes nothing."""
    async with connect(URL, queued_items=2):
        line = await server.accept()
        await line.welcome(**FRESH)
        await line.say(event(1), event(2), {"op": "ping", "head": 1})
        assert await line.hear() == {"op": "pong"}
        await line.write(b"\x89\x01x")
        frame = await line.next_frame()
        assert frame is not None
        assert frame.payload == b"x"


GARBAGE = {
    "not http": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "zeros": bytes(4_000),
    "ones": b"\xff" * 4_000,
    "http of another kind": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "half a head": b"HTTP/1.1 101 Switching",
    "a wrong accept": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: nonsense\r\n\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_instead_of_an_upgrade(server: Scripted, autojump_clock: MockClock, garbage: bytes) -> None:
    """The connection is given up, without a traceback or a hang; the state has the reason, the session goes on."""
    async with connect(URL) as session:
        line = await server.accept()
        await line.write(garbage)
        await line.drop()
        with trio.move_on_after(30):
            with pytest.raises(SessionEnded):
                await anext(session)
            assert b" 200 " in garbage
            return
        assert server.attempts > 1


FRAMES = {
    "random": random.Random(1).randbytes(500),
    "a masked frame": b"\x81\x81\x00\x00\x00\x00x",
    "a reserved bit": b"\xc1\x01x",
    "an unknown opcode": b"\x83\x01x",
    "text that is not UTF-8": b"\x81\x02\xc3\x28",
    "binary": b"\x82\x01x",
    "a continuation of nothing": b"\x80\x01x",
    "a long ping": b"\x89\x7e\x01\x00" + bytes(256),
    "a huge frame": b"\x81\x7f\x00\x00\x00\x7f\xff\xff\xff\xff",
    "a Close of one byte": b"\x88\x01\x03",
    "a Close with a wrong code": b"\x88\x02\x00\x05",
    "not JSON": b"\x81\x01x",
    "not an object": b"\x81\x02[]",
    "a deep one": b"\x81\x7e\x27\x10" + b"[" * 10_000,
    "an event without anything": b"\x81\x02{}",
    "a welcome again": b'\x81\x3d{"op":"welcome","session":"s","epoch":"e","head":0,"low":1,"sta'[:63],
}


@pytest.mark.parametrize("garbage", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("welcomed", [True, False])
async def test_garbage_instead_of_messages(
    server: Scripted, autojump_clock: MockClock, garbage: bytes, welcomed: bool
) -> None:
    """The connection is given up; the next one resumes with the cursor, and everything arrives."""
    async with connect(URL) as session:
        line = await server.accept()
        if welcomed:
            await line.welcome(**FRESH)
            await line.say(event(1))
            await anext(session)
        else:
            await line.upgrade()
        await line.write(garbage)
        with trio.fail_after(60):
            line = await server.accept()
        await line.welcome(**(REPLAYED if welcomed else FRESH))
        await line.say(event(1), event(2))
        items = await take(session, 1 if welcomed else 2)
        assert offsets(items)[-1] == 2


# --- an application that stops ---------------------------------------------------------


async def test_what_waits_for_the_application_is_bounded(server: Scripted, autojump_clock: MockClock) -> None:
    """When the queue is full the connection is ended; when the application has taken everything, it is resumed."""
    async with connect(URL, queued_items=3) as session:
        line = await server.accept()
        await line.welcome(**FRESH)
        await line.say(*(event(n) for n in range(1, 6)))
        assert await line.ending() == 1000
        await wait_all_tasks_blocked()
        assert session.state.name == "paused"
        assert server.attempts == 1
        assert offsets(await take(session, 3)) == [1, 2, 3]
        async with trio.open_nursery() as nursery:
            got: list[Item] = []

            async def take_next() -> None:
                got.extend(await take(session, 1))

            nursery.start_soon(take_next)
            line = await server.accept()
            hello = await line.welcome(start=4, **REPLAYED)
            assert hello["resume"]["offset"] == 3
            await line.say(event(4), event(5))
        assert offsets(got) == [4]


async def test_requests_are_answered_while_the_queue_is_full(server: Scripted, autojump_clock: MockClock) -> None:
    """An application that asks something in the middle of its loop is answered, whatever waits before the reply."""
    async with connect(URL, queued_items=3) as session, trio.open_nursery() as nursery:
        line = await server.accept()
        await line.welcome(**FRESH)
        await line.say(*(event(n) for n in range(1, 6)))
        assert await line.ending() == 1000

        async def serve() -> None:
            line = await server.accept()
            hello = await line.welcome(start=1, **REPLAYED)
            assert hello["resume"]["offset"] == 0
            await line.say(*(event(n) for n in range(1, 100)))
            request = await line.hear()
            await line.say(
                {"op": "reply", "id": request["id"], "ok": True, "run_id": "r", "stopped": [], "running": []}
            )
            assert await line.ending() == 1000

        nursery.start_soon(serve)
        assert offsets(await take(session, 1)) == [1]
        assert (await session.cancel("r")).run_id == "r"


# --- one at a time ------------------------------------------------------------------------


async def test_two_tasks_do_not_iterate(server: Scripted, autojump_clock: MockClock) -> None:
    """The second iteration raises."""
    async with connect(URL) as session, trio.open_nursery() as nursery:
        nursery.start_soon(anext, session)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await anext(session)
        nursery.cancel_scope.cancel()


async def test_after_the_block_there_is_nothing(server: Scripted, autojump_clock: MockClock) -> None:
    """What is called then raises."""
    async with connect(URL) as session:
        pass
    with pytest.raises(SessionEnded, match="block has ended"):
        await anext(session)
    with pytest.raises(SessionEnded, match="block has ended"):
        await session.read("t1")


async def test_the_bodys_own_exception_passes_through(server: Scripted, autojump_clock: MockClock) -> None:
    """It is not wrapped in a group."""
    with pytest.raises(LookupError):
        async with connect(URL):
            raise LookupError


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X y": "z"}, {"": "z"}, {"X": " z"}, {"X": "a\0b"}])
async def test_headers_that_http_cannot_carry(headers: dict[str, str]) -> None:
    """They are refused at once, and not tried again and again; their values, which may be secret, are not repeated."""
    with pytest.raises(ValueError, match="headers: expected") as caught:
        async with connect(URL, headers=headers):
            raise AssertionError
    assert "Y: b" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://host/", "ws:///ws", "host", "ws://user:secret@host/ws", "ws://host:0/"])
async def test_other_urls(url: str) -> None:
    """Anything but a WebSocket URL is refused at once."""
    with pytest.raises(ValueError, match="expected"):
        async with connect(url):
            pass
