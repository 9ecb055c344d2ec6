"""A connection, from its hello to its end, as a client that shares no code with it sees it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio

import actors
from actors.delivery.bounds import Chunk
from actors.delivery.log import NotAtHand
from tests.connections.ends import ends, events
from tests.support.carried import Held, carried
from tests.support.crashing import crash
from tests.support.raw import ACTORS, PING, PONG, Peer, connected, frame
from tests.support.served import Served, offsets, served
from tests.support.stores import state_of

ALICE = "actors_token=alice"
STAGES = actors.Stage


# --- where it starts --------------------------------------------------------------


async def test_welcome() -> None:
    """A welcome says who one is, where the log stands, where one starts, and what one may do."""
    async with served() as server:
        await server.emit(3)
        async with server.peer() as peer:
            await peer.open(ACTORS)
            welcome = await peer.hello("alice")
            session, epoch, limits = (welcome.pop(key) for key in ("session", "epoch", "limits"))
            assert welcome == {
                "op": "welcome",
                "head": 3,
                "low": 1,
                "start": 1,
                "resume": "fresh",
                "ping_s": 15.0,
            }
            assert len(session) > 16
            assert len(epoch) > 16
            assert limits == {
                "message_bytes": 65_536,
                "messages_per_s": 50.0,
                "ack_events": 128,
                "ack_s": 1.0,
                "requests": 16,
            }
            assert offsets(await events(peer, 3)) == [1, 2, 3]
            assert await peer.next_message() == {"op": "caught_up", "offset": 3}


class Slow:
    """A view of a log that has to be loaded first."""

    def __init__(self, view: Any) -> None:
        self._view = view
        self.loaded = trio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def read(self, first: int, most_bytes: int) -> Chunk:
        if not self.loaded.is_set():
            raise NotAtHand
        chunk: Chunk = self._view.read(first, most_bytes)
        return chunk

    async def fill(self, first: int) -> None:
        await self.loaded.wait()


async def test_welcome_before_the_log_is_loaded() -> None:
    """A device is welcomed at once, although the store has to bring what it is to be sent."""
    async with served() as server, server.peer() as first, server.peer() as peer:
        await first.attach("alice")
        await server.emit(1)
        presence: Any = server.runtime.tree.registry.presence("alice")
        presence.view = slow = Slow(presence.view)
        await peer.open(ACTORS)
        assert (await peer.hello("alice"))["head"] == 1
        slow.loaded.set()
        assert (await peer.next_event())["offset"] == 1


async def test_event() -> None:
    """An event arrives as it was emitted, with its two numbers."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        payload = {"run_id": "r1", "nested": [1, {"é": None}], "timestamp": 1756905054.0279675}
        thread = server.runtime.thread("t1")
        receipt = await thread.emit("agent_started", payload, run_id="r1", event_id="e1", user_id="alice")
        event = await peer.next_event()
        assert abs(event.pop("timestamp") - receipt.accepted_at) < 1e-3
        assert event == {
            "type": "agent_started",
            "payload": payload,
            "thread_id": "t1",
            "run_id": "r1",
            "event_id": "e1",
            "seq": 1,
            "offset": 1,
        }


async def test_empty_log() -> None:
    """With nothing to send, one is caught up at once."""
    async with served() as server, server.peer() as peer:
        welcome = await peer.attach("alice")
        assert (welcome["head"], welcome["low"], welcome["start"]) == (0, 1, 1)
        assert peer.messages()[-1] == {"op": "caught_up", "offset": 0}


async def test_replayed() -> None:
    """A device that says where it was is sent what came after that, and nothing else; resuming at N acks N."""
    async with served() as server:
        receipts = await server.emit(5)
        async with server.peer() as peer:
            welcome = await peer.attach("alice")
            await peer.leave()
        await server.gone()
        async with server.peer() as peer:
            resume = {"epoch": welcome["epoch"], "offset": 3}
            again = await peer.attach("alice", session=welcome["session"], resume=resume)
            assert (again["resume"], again["start"]) == ("replayed", 4)
            assert again["session"] == welcome["session"]
            assert [message["offset"] for message in peer.messages() if "type" in message] == [4, 5]
            assert [receipt.stage for receipt in receipts] == [STAGES.ACKED] * 3 + [STAGES.WRITTEN] * 2
            await server.emit(1)
            assert (await peer.next_event())["offset"] == 6


async def test_gap() -> None:
    """A device whose place has left the log is told which offsets are gone, and goes on after them."""
    async with served(limits=actors.Limits(retained_events=4)) as server:
        async with server.peer() as peer:
            welcome = await peer.attach("alice")
            await peer.leave()
        await server.gone()
        await server.emit(10)
        async with server.peer() as peer:
            again = await peer.attach("alice", resume={"epoch": welcome["epoch"], "offset": 2})
            assert (again["resume"], again["start"], again["low"], again["head"]) == ("gap", 7, 7, 10)
            assert peer.messages()[1] == {"op": "gap", "from": 3, "to": 6, "cause": "retention"}
            assert [message["offset"] for message in peer.messages() if "type" in message] == [7, 8, 9, 10]


@pytest.mark.parametrize("resume", [("another", 2), (None, 4)])
async def test_reset(resume: tuple[str | None, int]) -> None:
    """A cursor of another log, or ahead of this one, is worth nothing: the log is sent from its beginning."""
    async with served() as server:
        await server.emit(3)
        async with server.peer() as peer:
            epoch = (await peer.attach("alice"))["epoch"]
            await peer.leave()
        async with server.peer() as peer:
            again = await peer.attach("alice", resume={"epoch": resume[0] or epoch, "offset": resume[1]})
            assert (again["resume"], again["start"]) == ("reset", 1)
            assert peer.messages()[1] == {"op": "reset", "epoch": epoch, "low": 1}
            assert [message["offset"] for message in peer.messages() if "type" in message] == [1, 2, 3]


async def test_a_stolen_session() -> None:
    """Session and cursor of another user are worth nothing: one starts in one's own log, in a session of one's own."""
    async with served() as server:
        await server.emit(3, "alice")
        async with server.peer() as alice, server.peer() as mallory:
            mine = await alice.attach("alice")
            resume = {"epoch": mine["epoch"], "offset": 1}
            theirs = await mallory.attach("mallory", session=mine["session"], resume=resume)
            assert theirs["session"] != mine["session"]
            assert theirs["epoch"] != mine["epoch"]
            assert (theirs["resume"], theirs["head"]) == ("reset", 0)
            await server.emit(1, "alice")
            assert offsets(await events(alice, 1)) == [4]
            await server.emit(1, "mallory")
            assert [message["thread_id"] for message in await events(mallory, 1)] == ["thread-of-mallory"]


@pytest.mark.parametrize(("origin", "first"), [("head", 6), ("low", 1), ("unacked", 3), (None, 3)])
async def test_from(origin: str | None, first: int) -> None:
    """A device without a cursor chooses: what nobody confirmed (its default), all there is, or only what is new."""
    async with served() as server:
        await server.emit(5)
        async with server.peer() as peer:
            await peer.attach("alice")
            await peer.ack(2)
            await peer.echo()
            await peer.leave()
        async with server.peer() as peer:
            fields = {} if origin is None else {"from": origin}
            assert (await peer.attach("alice", **fields))["start"] == first
            assert [message["offset"] for message in peer.messages() if "type" in message] == list(range(first, 6))
            await server.emit(1)
            assert (await peer.next_event())["offset"] == 6


async def test_sent_while_catching_up() -> None:
    """A log longer than one write arrives whole and in order, with what is emitted meanwhile; caught up comes once."""
    async with served(limits=actors.Limits(write_bytes=2_000)) as server:
        await server.emit(60, size=200)
        async with server.peer() as peer:
            await peer.open(ACTORS)
            await peer.hello("alice")
            await server.emit(20, size=200)
            assert offsets(await events(peer, 80)) == list(range(1, 81))
            await peer.echo()
            caught = [message["offset"] for message in peer.messages() if message.get("op") == "caught_up"]
            assert len(caught) == 1
            assert caught[0] >= 60


# --- acknowledgements ---------------------------------------------------------------


async def test_two_devices() -> None:
    """Each device of a user gets everything; it is confirmed when one of them has confirmed it."""
    async with served() as server, server.peer() as phone, server.peer() as laptop:
        mine = await phone.attach("alice")
        other = await laptop.attach("alice")
        assert mine["session"] != other["session"]
        assert mine["epoch"] == other["epoch"]
        receipts = await server.emit(4)
        assert offsets(await events(phone, 4)) == offsets(await events(laptop, 4)) == [1, 2, 3, 4]
        await phone.ack(1)
        await phone.echo()
        await laptop.ack(3)
        await laptop.echo()
        assert [receipt.stage for receipt in receipts] == [STAGES.ACKED] * 3 + [STAGES.WRITTEN]
        assert "c1 written, not confirmed yet; c2 acked" in str(server.runtime.explain(receipts[2]))


# --- the plain client -----------------------------------------------------------------


async def test_plain() -> None:
    """A plain client gets the same frames without asking; what it got counts as written, in the end as unconfirmed."""
    limits = actors.Limits(retained_events=2)
    async with served(limits=limits) as server, server.peer() as device, server.peer() as plain:
        await device.attach("alice")
        await plain.open(cookie=ALICE)
        await plain.say("whatever the product's frontend says")
        await plain.say({"op": "ack", "offset": 99})
        receipts = await server.emit(1)
        await device.next_event()
        await plain.next_event()
        assert plain.frames[-1] == device.frames[-1]
        assert "a plain client, which does not confirm" in str(server.runtime.explain(receipts[0]))
        receipts += await server.emit(2)
        await events(plain, 2)
        assert [receipt.stage for receipt in receipts] == [STAGES.UNCONFIRMED, STAGES.WRITTEN, STAGES.WRITTEN]
        assert [message["offset"] for message in plain.messages()] == [1, 2, 3]
        assert await plain.leave() == (1000, "")


async def test_plain_starts_at_the_first_unwritten() -> None:
    """A plain client starts with what was written to nobody, and is not sent twice what another one had."""
    async with served() as server:
        await server.emit(2)
        async with server.peer() as plain:
            await plain.open(cookie=ALICE)
            assert offsets(await events(plain, 2)) == [1, 2]
            await plain.leave()
        await server.gone()
        await server.emit(2)
        async with server.peer() as plain:
            await plain.open(cookie=ALICE)
            assert offsets(await events(plain, 2)) == [3, 4]


# --- how it ends ------------------------------------------------------------------------


async def test_superseded() -> None:
    """A session has one connection: a newer one ends the older, and goes on where that was."""
    async with served() as server, server.peer() as older, server.peer() as newer:
        welcome = await older.attach("alice")
        await server.emit(2)
        await events(older, 2)
        resume = {"epoch": welcome["epoch"], "offset": 2}
        await newer.attach("alice", session=welcome["session"], resume=resume)
        await ends(older, "superseded")
        await server.emit(1)
        assert (await newer.next_event())["offset"] == 3
        assert server.runtime.devices("alice") == 1


SOON: dict[str, Any] = {"ping_seconds": 0.05, "pong_seconds": 0.05, "sweep_seconds": 0.01, "close_seconds": 0.2}


async def test_silent() -> None:
    """A device that says nothing is asked; when it does not answer either, it is ended, and explain says so."""
    async with served(limits=actors.Limits(**SOON)) as server:
        async with server.peer() as device, server.peer() as plain:
            await device.attach("alice")
            await plain.open(cookie="actors_token=bob")
            (receipt,) = await server.emit(1)
            assert (await device.next_op("ping"))["head"] == 1
            assert await plain.next_frame() == (PING, b"")
            await device.ending()
            await plain.ending()
        await server.all_gone()
        assert "(silent: it did not answer a ping within 0.05 s)" in str(server.runtime.explain(receipt))


async def test_answering() -> None:
    """A device that answers stays, however long it has nothing to say."""
    async with served(limits=actors.Limits(**SOON)) as server, server.peer() as device, server.peer() as plain:
        await device.attach("alice")
        await plain.open(cookie="actors_token=bob")

        async def answer() -> None:
            for _ in range(5):
                assert await plain.next_frame() == (PING, b"")
                await plain.send(frame(PONG))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            for _ in range(5):
                await device.next_op("ping")
                await device.say({"op": "pong"})
        assert server.runtime.devices("alice") == server.runtime.devices("bob") == 1


# --- over a carrier ---------------------------------------------------------------


async def test_a_plain_client_of_a_carrier_is_not_pinged() -> None:
    """Its carrier pings it and keeps the pongs: a client that says nothing stays, and one of the protocol is asked."""
    async with served(limits=actors.Limits(**SOON)) as server:
        async with carried(server, Held()) as plain, carried(server, Held()) as device:
            await plain.open(cookie="actors_token=bob")
            await device.attach("alice")
            assert (await device.next_op("ping"))["op"] == "ping"
            await device.ending()
            await server.gone()
            await server.emit(1, "bob")
            assert (await plain.next_event())["offset"] == 1
            assert plain.frames == plain.frames[-1:]
        server.nursery.cancel_scope.cancel()


async def test_one_message_per_flush() -> None:
    """A carrier is paid for each message: what is written at once is one, for a client that knows batches."""
    async with served() as server:
        async with carried(server, Held()) as device, carried(server, Held()) as plain:
            await device.attach("alice")
            await plain.open(cookie=ALICE)
            await server.emit(1)
            assert (await device.next_message())["offset"] == 1
            for n in range(3):
                server.runtime.thread("t2").emit_nowait("tick", {"n": n}, user_id="alice")
            message = await device.next_message()
            assert (message["op"], message["from"], message["to"]) == ("batch", 2, 4)
            assert [event["payload"]["n"] for event in message["events"]] == [0, 1, 2]
            assert offsets(await events(plain, 4)) == [1, 2, 3, 4]
        server.nursery.cancel_scope.cancel()


async def test_a_carrier_is_named() -> None:
    """Of a device whose socket is another server's, explain says so: it may keep what was aborted."""
    limits = actors.Limits(write_deadline_seconds=0.1, retained_bytes=1 << 24, retained_events=10_000)
    async with served(limits=limits) as server:
        async with carried(server, Held()) as device:
            await device.attach("alice")
            (receipt,) = await server.emit(1)
            await device.next_event()
            assert "c1 (over a carrier) written, not confirmed yet" in str(server.runtime.explain(receipt))
            while server.runtime.devices("alice"):
                await server.emit(1, size=100_000)
                await trio.sleep(0.001)
            await server.all_gone()
        text = str(server.runtime.explain(receipt))
        assert "stalled: " in text
        assert "; a carrier may keep its socket until the peer goes)" in text
        server.nursery.cancel_scope.cancel()


async def stall(server: Served, reads: Peer) -> list[actors.Receipt]:
    """Emit until a device that does not read is given up, while another one reads; returns all receipts."""
    receipts: list[actors.Receipt] = []
    while server.runtime.devices("alice") == 2:
        receipts += await server.emit(20, size=8_000)
        await events(reads, 20)
    return receipts


async def test_stalled() -> None:
    """A device that stops reading is given up after a deadline, and explain knows; the other one misses nothing."""
    async with served(limits=actors.Limits(write_deadline_seconds=0.2)) as server:
        async with server.peer() as reads, server.peer() as stops:
            await reads.attach("alice")
            await stops.attach("alice")
            receipts = await stall(server, reads)
            got = [message["offset"] for message in reads.messages() if "type" in message]
            assert got == list(range(1, len(receipts) + 1))
            await reads.leave()
        await server.all_gone()
        (receipt,) = await server.emit(1)
        assert server.failures() == []
        departures = server.runtime.tree.registry.presence("alice").departures
        assert [(one.label, one.name) for one in departures] == [("c2", "stalled"), ("c1", "left")]
        assert "c1" in str(server.runtime.explain(receipt))


async def test_behind() -> None:
    """While a device does not read, explain says how far it is behind; when it reads again, it gets everything."""
    async with served() as server, server.peer() as reads, server.peer() as lags:
        await reads.attach("alice")
        await lags.attach("alice")
        receipts: list[actors.Receipt] = []
        said = ""
        while "behind, its socket took nothing for" not in said:
            receipts += await server.emit(20, size=8_000)
            await events(reads, 20)
            said = str(server.runtime.explain(receipts[-1]))
        assert "2 devices: c1 written, not confirmed yet; c2" in said
        assert offsets(await events(lags, len(receipts))) == list(range(1, len(receipts) + 1))
        await lags.ack(len(receipts))
        await receipts[-1].reached(STAGES.ACKED)


async def test_lagging_off_the_log() -> None:
    """A device that lags behind the whole log is told what it missed, and goes on."""
    async with served(limits=actors.Limits(retained_events=5)) as server, server.peer() as lags:
        await lags.attach("alice")
        last, behind = 0, 0
        while behind < 40:
            receipts = await server.emit(20, size=8_000)
            last += 20
            said = re.search(r"(\d+) behind", str(server.runtime.explain(receipts[-1])))
            behind = 0 if said is None else int(said[1])
        expected = 1
        while expected <= last:
            message = await lags.next_message()
            if message.get("op") == "gap":
                assert message["from"] == expected
                expected = message["to"] + 1
            else:
                assert message["offset"] == expected
                expected += 1
        assert "gap" in {message.get("op") for message in lags.messages()}


async def test_a_released_user_comes_back_with_its_session() -> None:
    """A quarantined user's devices are sent away; released, the same session goes on where it was in the same log."""
    limits = actors.Limits(restarts=0)
    async with served(limits=limits) as server, server.peer() as before, server.peer() as after:
        welcome = await before.attach("alice")
        await server.emit(1)
        await events(before, 1)
        server.runtime.tree.users.mailbox("alice").tell(crash())
        await ends(before, "quarantined")
        meanwhile = await server.emit(1)
        server.runtime.release("users/alice")
        resume = {"epoch": welcome["epoch"], "offset": 1}
        await after.open(ACTORS)
        again = await after.hello("alice", session=welcome["session"], resume=resume)
        assert (again["resume"], again["epoch"], again["start"]) == ("replayed", welcome["epoch"], 2)
        await server.emit(1)
        assert offsets(await events(after, 2)) == [2, 3]
        assert meanwhile[0].stage >= STAGES.WRITTEN
        assert len(server.failures()) == 1


async def test_as_few_sessions_as_are_allowed() -> None:
    """Where one session is remembered, a second device has one all the same."""
    limits = actors.Limits(sessions_per_user=1)
    async with served(limits=limits) as server, server.peer() as one, server.peer() as other:
        await one.attach("alice")
        await other.attach("alice")
        await server.emit(1)
        assert offsets(await events(one, 1)) == offsets(await events(other, 1)) == [1]
        assert server.failures() == []


async def test_closing_writes_what_is_placed() -> None:
    """A runtime that closes first writes what its devices take, however much that is, and then says goodbye."""
    async with trio.open_nursery() as nursery, trio.open_nursery() as clients:
        async with actors.open_runtime() as runtime:
            address = await nursery.start(runtime.serve)
            read: list[int] = []

            async def device(task_status: trio.TaskStatus[None]) -> None:
                async with connected(address) as peer:
                    await peer.attach("alice")
                    task_status.started()
                    read.extend(offsets(await events(peer, 30)))

            await clients.start(device)
            for n in range(30):
                runtime.thread("t").emit_nowait("tick", {"n": n, "x": "x" * 10_000}, user_id="alice")
        assert runtime.audit().total.dropped == 0
    assert read == list(range(1, 31))


async def fill_socket(server: Served, peer: Peer) -> int:
    """Attach a device that reads nothing, and emit until its socket is full; the last offset."""
    await peer.attach("alice")
    said, last = "", 0
    while "behind, its socket took nothing for" not in said:
        receipts = await server.emit(20, size=8_000)
        said, last = str(server.runtime.explain(receipts[-1])), last + 20
    return last


async def test_a_write_across_a_quarantine() -> None:
    """A write unfinished when its user was quarantined is unconfirmed, and not lost: the next device gets it all."""
    async with served(limits=actors.Limits(restarts=0)) as server, server.peer() as stalled, server.peer() as after:
        last = await fill_socket(server, stalled)
        server.runtime.tree.users.mailbox("alice").tell(crash())
        while server.runtime.tree.users.quarantined("alice") is None:
            await trio.lowlevel.checkpoint()
        assert server.runtime.audit().balanced
        server.runtime.release("users/alice")
        (receipt, *_) = await server.emit(3)
        assert receipt.stage is STAGES.STORED
        await after.open(ACTORS)
        await after.hello("alice")
        assert offsets(await events(after, last + 3)) == list(range(1, last + 4))
        assert server.runtime.audit().balanced


async def test_a_write_across_an_epoch() -> None:
    """A write unfinished when its log went on in another epoch is settled in its own, and the books balance."""
    async with served() as server, server.peer() as stalled, server.peer() as after:
        await fill_socket(server, stalled)
        state_of(server.runtime.tree.store).fork("alice", 0)
        (receipt, *_) = await server.emit(3)
        assert receipt.stage is STAGES.STORED
        assert server.runtime.audit().balanced
        await after.attach("alice")
        await server.emit(1)
        assert offsets(await events(after, 1)) == [4]
        await stalled.leave()
        assert server.runtime.audit().balanced
