"""Evidence: what is gathered of a user is what the runtime knows."""

from __future__ import annotations

import pytest
import trio

import actors
from actors.control import evidence
from actors.control.evidence import event_at, evidence_of, letters_of, lively, ranges_of, refused
from actors.control.why import why
from actors.stores.local import LocalStore
from actors.testing.journal import Disk, SimJournal
from tests.support.raw import Peer, upgrade_request
from tests.support.served import served


async def test_a_user_without_a_device() -> None:
    """Events are counted, those that no socket took too; there is no log at hand, and so no time."""
    async with actors.open_runtime() as runtime:
        for _ in range(3):
            await runtime.thread("t1").emit("x", {}, user_id="alice")
        found = evidence_of(runtime, "alice")
        assert (found.known, found.placed, found.unacked, found.unwritten, found.first) == (True, 3, 3, 3, 1)
        assert (found.threads, found.threads_total, found.oldest) == (["t1"], 1, None)
        assert [(one.first, one.last, one.stage) for one in ranges_of(runtime, "alice")] == [(1, 3, "stored")]


async def test_a_user_with_a_device() -> None:
    """The oldest event that waits is named with its time; ranges are of one stage each."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await server.emit(4)
        for _ in range(4):
            await peer.next_event()
        await peer.ack(2)
        await peer.echo()
        found = evidence_of(server.runtime, "alice")
        assert (found.unacked, found.unwritten, found.first) == (2, 0, 3)
        assert found.oldest is not None
        assert (found.oldest.type, found.oldest.thread_id, found.oldest.offset) == ("tick", "thread-of-alice", 3)
        assert found.acked_at is not None
        assert [(one.device.label, one.standing) for one in found.devices] == [("c1", "handed")]
        assert [(one.first, one.last, one.stage) for one in ranges_of(server.runtime, "alice")] == [(3, 4, "written")]


async def test_a_user_who_left() -> None:
    """The last departure is known, and an event at hand no longer than the log has it."""
    async with served() as server:
        async with server.peer() as peer:
            await peer.attach("alice")
            await peer.leave()
        await server.gone()
        found = evidence_of(server.runtime, "alice")
        assert found.departure is not None
        assert (found.departure.label, found.departure.name, found.known) == ("c1", "left", True)
        assert event_at(server.runtime.tree.registry.known("alice"), 1) is None


async def test_an_earlier_life(autojump_clock: trio.testing.MockClock) -> None:
    """What an earlier life left of a user who was not met here is counted, without opening books for it."""
    disk = Disk()
    async with actors.open_runtime(store=LocalStore(SimJournal(disk))) as runtime:
        receipt = await runtime.thread("t1").emit("x", {}, user_id="alice")
        await receipt.reached(actors.Stage.STORED)
    async with actors.open_runtime(store=LocalStore(SimJournal(disk))) as runtime:
        found = evidence_of(runtime, "alice")
        assert (found.known, found.placed, found.unacked, found.threads) == (True, 1, 1, ["t1"])
        assert "alice" not in runtime.tree.accounts.users


async def test_what_was_lost() -> None:
    """Drops by retention are summed; those of a thread are found by its name."""
    async with actors.open_runtime(limits=actors.Limits(retained_events=2, unbound_events=1)) as runtime:
        for _ in range(5):
            await runtime.thread("t1").emit("x", {}, user_id="alice")
            await runtime.thread("held").emit("x", {})
        found = evidence_of(runtime, "alice")
        assert (found.lost, found.unacked) == (3, 2)
        runtime.tree.thread_context.note_shed()
        assert sum(one.count for one in letters_of(runtime, "held")) == 4


async def test_threads_of_others_in_use() -> None:
    """For a user without threads, those that were named lately are shown with their owners, newest first."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "bob")
        await runtime.thread("t2").emit("x", {})
        await runtime.bind("t3", "alice")
        assert lively(runtime, "alice") == [("t2", None), ("t1", "bob")]
        assert evidence_of(runtime, "alice").lively == ()
        assert evidence_of(runtime, "carol").lively == [("t3", "alice"), ("t2", None), ("t1", "bob")]


async def test_a_store_that_does_not_list_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of such a store the threads that were named lately count."""
    async with actors.open_runtime() as runtime:
        for number in range(3):
            await runtime.bind(f"t{number}", "alice")
        await runtime.unbind("t1")
        monkeypatch.setattr(evidence, "StoreState", int)
        assert evidence.threads_of_users(runtime, ["alice", "bob"]) == {"alice": (2, ["t0", "t2"]), "bob": (0, [])}


async def expect_credentials(credentials: actors.Credentials) -> str | None:
    """Know the users of good tokens and of those that have expired, and no other."""
    kind, _, name = str(credentials.token).partition(":")
    if kind == "expired":
        raise actors.Refused("the token expired", user_id=name)
    return name if kind == "good" else None


async def turn_away(peer: Peer, token: str) -> None:
    """Say hello with a token that is refused, and take the goodbye."""
    await peer.open("actors.v1")
    await peer.say({"op": "hello", "v": 1, "token": token})
    await peer.farewell()


async def test_refused_credentials() -> None:
    """A user's own refusals are told from those of strangers, and neither is among other refusals."""
    async with served(authenticate=expect_credentials) as server:
        for token in ("expired:dave", "expired:erin", "unknown:dave"):
            async with server.peer() as peer:
                await turn_away(peer, token)
        await server.all_gone()
        found = evidence_of(server.runtime, "dave")
        assert [one.reason for one in found.denied] == ["the token expired"]
        assert [one.reason for one in found.denied_strangers] == ["authenticate found no user for it"]
        assert (found.known, refused(server.runtime)) == (False, [])
        assert why(server.runtime, "dave").cause == "refused"


async def test_a_refusal_before_a_device_came() -> None:
    """It is past once a device of the user was let in: that may be the same one, with fresh credentials."""
    async with served(authenticate=expect_credentials) as server:
        async with server.peer() as peer:
            await turn_away(peer, "expired:dave")
        async with server.peer() as peer:
            await peer.attach("good:dave")
            assert evidence_of(server.runtime, "dave").denied == []
            async with server.peer() as other:
                await turn_away(other, "expired:dave")
            assert len(evidence_of(server.runtime, "dave").denied) == 1


async def test_refused_handshakes() -> None:
    """Sockets that were refused before their user was known are counted by reason."""
    async with served() as server, server.peer() as peer:
        await peer.ask(upgrade_request("actors.v1", extra=[("Origin", "https://elsewhere.example")]))
        assert refused(server.runtime) == [("403 origin", 1)]
