"""Why: the incidents on a runtime, each with the sentence that an operator reads first."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import actors
from actors.control.why import why, why_device, why_thread
from tests.stores.test_trouble import fill_up, opened
from tests.support.crashing import crash
from tests.support.served import served


async def test_a_device_that_acks() -> None:
    """Nothing waits, and the last ack has a time."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await server.emit(2)
        await peer.next_event()
        await peer.next_event()
        await peer.ack(2)
        await peer.echo()
        told = why(server.runtime, "alice")
        assert (told.cause, told.unacked, told.known) == ("acked", 0, True)
        assert told.text.startswith("nothing of alice is unacked: all 2 events of its log were acked")
        assert told.threads == ["thread-of-alice"]


async def test_a_device_that_left() -> None:
    """Its farewell is in the sentence, and the fate of the oldest event that waits in the notes."""
    async with served() as server:
        async with server.peer() as peer:
            await peer.attach("alice")
            await server.emit(1)
            await peer.next_event()
            await peer.leave()
        await server.gone()
        told = why(server.runtime, "alice")
        assert (told.cause, told.unacked, told.unwritten) == ("away", 1, 0)
        assert told.text.startswith("no device of alice is here, since c1 left at ")
        assert "(left: the device said goodbye" in told.text
        assert "accepted" in told.notes[0]


async def test_the_wrong_user() -> None:
    """A thread that is bound to another user is named for both: by whom it was asked for, and whose it is."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "bob")
        with pytest.raises(actors.NotTheOwner):
            await runtime.thread("t1").emit("x", {}, user_id="alice")
        told = why(runtime, "alice")
        assert told.cause == "other_owner"
        assert told.text.startswith("thread t1 was named for alice at ")
        assert "is bound to bob" in told.text
        told = why_thread(runtime, "t1")
        assert (told.cause, told.user_id) == ("other_owner", "bob")
        assert told.text.startswith("thread t1 is bound to bob (since ")
        assert "named for alice" in told.text


async def test_a_device_asks_for_a_thread_of_another() -> None:
    """A page that reads or writes a thread which is bound to the wrong user tells the operator, and not the page."""
    async with served() as server, server.peer() as peer:
        await server.runtime.bind("t1", "bob")
        await peer.attach("alice")
        await peer.say({"op": "read", "id": 1, "thread_id": "t1"})
        assert (await peer.next_op("reply"))["error"]["name"] == "unknown_thread"
        assert why(server.runtime, "alice").cause == "other_owner"
        await server.runtime.rebind("t1", "alice")
        assert why(server.runtime, "alice").cause == "nothing"


async def test_a_thread_that_was_taken_away() -> None:
    """A user who had it is told when it went, and to whom."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        await runtime.rebind("t1", "bob")
        assert " is bound to bob" in why(runtime, "alice").text
        assert "before that to alice" in why_thread(runtime, "t1").text
        await runtime.unbind("t1")
        assert "has no owner" in why(runtime, "alice").text


async def test_a_thread_without_an_owner() -> None:
    """Its events are held, and for how long; a thread that never was is not known."""
    async with actors.open_runtime() as runtime:
        await runtime.thread("t1").emit("x", {})
        told = why_thread(runtime, "t1")
        assert (told.cause, told.known, told.user_id) == ("no_owner", True, None)
        assert told.text == (
            "thread t1 has no owner: its 1 event is held until it is bound to a user, for 60 s each at most"
        )
        told = why_thread(runtime, "t2")
        assert (told.cause, told.known) == ("unknown", False)


async def test_a_quarantined_user(autojump_clock: trio.testing.MockClock) -> None:
    """The sentence has the failure and the way out, and after that it is another one."""
    async with actors.open_runtime() as runtime:
        await runtime.thread("t1").emit("x", {}, user_id="alice")
        for _ in range(runtime.limits.restarts + 1):
            runtime.tree.users.mailbox("alice").tell(crash())
            await trio.sleep(0.5)
        told = why(runtime, "alice")
        assert told.cause == "quarantined"
        assert "ZeroDivisionError: a bug in the books" in told.text
        assert "`actors release users/alice`" in told.text
        runtime.release("users/alice")
        assert why(runtime, "alice").cause == "away"


async def test_a_full_disk(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing is stored, since when, and why: of each user."""
    async with opened() as (runtime, journal):
        await fill_up(journal, runtime)
        told = why(runtime, "alice")
        assert told.cause == "store"
        assert told.text.startswith("nothing is stored since ")
        assert "the simulated disk is full; it is tried again" in told.text
        journal.heal()
        await trio.sleep(2)


async def test_a_device_that_does_not_read() -> None:
    """What the log lost before the device took it is said, with the way to emit no faster than it reads."""
    limits = actors.Limits(retained_events=2, write_bytes=1_000)
    async with served(limits=limits) as server, server.peer() as peer:
        await peer.attach("alice")
        while not any(one.cause is actors.Cause.RETENTION for one in server.runtime.dead_letters):
            await server.emit(20, size=100_000)
        told = why(server.runtime, "alice")
        assert told.cause == "retention"
        assert "emit with ahead=" in told.text
        assert told.devices[0].backlog_bytes


async def test_a_device_by_its_label() -> None:
    """The label of a failure or of a list leads to its user; one that has gone is not known."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        told = why_device(server.runtime, "c1")
        assert (told.about, told.name, told.user_id, told.known) == ("device", "c1", "alice", True)
        assert told.text.startswith("c1 is a device of alice, live (")
        assert why_device(server.runtime, "c9").known is False
        async with server.peer() as silent:
            await silent.open("actors.v1")
            while len(server.runtime.tree.server.connections) < 2:
                await trio.lowlevel.checkpoint()
            assert why_device(server.runtime, "c2").cause == "saying hello"
