"""The route: whatever it was found for, an event goes to the owner, the epoch and the devices of its own moment."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

import actors
from actors.delivery.balance import Balance
from actors.limits import Limits
from actors.receipts import Receipt
from actors.threads.actor import ThreadActor
from actors.threads.route import Route
from actors.users.presence import Presence
from tests.support.raw import Peer
from tests.support.stores import state_of


def route_of(runtime: actors.Runtime, thread_id: str = "t") -> Route:
    actor = runtime.tree.threads.mailbox(thread_id).actor
    assert isinstance(actor, ThreadActor)
    return actor._route


def where(receipt: Receipt) -> tuple[str, int]:
    position = receipt.position
    assert position is not None
    return position.user_id, position.offset


def present(runtime: actors.Runtime, user_id: str) -> Presence:
    """A user who has a device."""
    presence = runtime.tree.registry.presence(user_id)
    device: Any = object()
    presence.devices.append(device)
    return presence


async def test_a_change_of_owner() -> None:
    """Events go to each new owner's log and ring that owner's devices, and those of no former one."""
    async with actors.open_runtime() as runtime:
        thread = runtime.thread("t")
        alice, bob = present(runtime, "alice"), present(runtime, "bob")
        for turn in (1, 2):
            await runtime.rebind("t", "alice")
            placed = [where(thread.emit_nowait("x", {})) for _ in range(2)]
            assert placed == [("alice", 2 * turn - 1), ("alice", 2 * turn)]
            assert (alice.marked, bob.marked) == (True, False)
            alice.marked = False
            await runtime.rebind("t", "bob")
            assert where(thread.emit_nowait("x", {})) == ("bob", turn)
            assert (alice.marked, bob.marked) == (False, True)
            bob.marked = False
        for presence in (alice, bob):
            presence.devices.clear()
        users = runtime.audit().users
        assert users == {"alice": Balance(accepted=4, retained=4), "bob": Balance(accepted=2, retained=2)}


async def test_a_change_of_epoch() -> None:
    """Events after a fork are in the books of the epoch that they were placed in, and the lost ones are lost."""
    async with actors.open_runtime() as runtime:
        thread = runtime.thread("t")
        await runtime.bind("t", "alice")
        first = [thread.emit_nowait("x", {}) for _ in range(3)]
        ledger = route_of(runtime).ledger
        state_of(runtime.tree.store).fork("alice", 1)
        later = [thread.emit_nowait("x", {}) for _ in range(2)]
        assert route_of(runtime).ledger is runtime.tree.accounts.users["alice"].ledger is not ledger
        assert [where(receipt) for receipt in later] == [("alice", 2), ("alice", 3)]
        assert [receipt.stage for receipt in first] == [actors.Stage.STORED, actors.Stage.DROPPED, actors.Stage.DROPPED]
        assert runtime.audit().users == {"alice": Balance(accepted=5, retained=3, dropped=2)}


async def test_a_user_who_was_forgotten(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """When log, books and presence of a user were let go of, a thread that knew them finds those of now, and a device
    that comes back is written to."""
    limits = Limits(session_seconds=120, retire_seconds=60, retained_seconds=60)
    environment = actors.Environment(wall_clock=lambda: 1e9 + trio.current_time())
    async with actors.open_runtime(limits=limits, environment=environment) as runtime:
        await runtime.bind("t", "alice")
        thread, route = runtime.thread("t"), route_of(runtime)

        async def attach() -> Peer:
            client, server = trio.testing.memory_stream_pair()
            nursery.start_soon(runtime.handle, server)
            peer = Peer(client)
            await peer.attach("alice")
            return peer

        peer = await attach()
        assert where(await thread.emit("x", {})) == ("alice", 1)
        former = route.ledger, route.presence
        assert None not in former
        await peer.leave()
        for _ in range(20):
            await trio.sleep(25)
            assert route_of(runtime) is route, "the thread's actor is named, and so is not forgotten"
        assert runtime.tree.registry.known("alice") is None
        assert "alice" not in runtime.tree.accounts.users
        assert not state_of(runtime.tree.store).logs
        tree = runtime.tree
        assert where(await thread.emit("x", {})) == ("alice", 2)
        peer = await attach()
        assert where(await thread.emit("x", {})) == ("alice", 3)
        assert (await peer.next_event())["offset"] == 3
        assert route.ledger is tree.accounts.users["alice"].ledger is not former[0]
        assert route.presence is tree.registry.known("alice") is not former[1]
        assert runtime.audit().balanced
        await peer.leave()


async def test_a_handle_that_is_kept() -> None:
    """A handle goes on, in order with other handles, when the thread's actor was forgotten, and knows the next one."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t", "alice")
        kept, threads = runtime.thread("t"), runtime.tree.threads
        receipts = [kept.emit_nowait("x", {})]
        former = threads.mailbox("t")
        for _ in range(2):
            threads.retire()
        receipts += [handle.emit_nowait("x", {}) for handle in (kept, runtime.thread("t"), kept)]
        receipts.append(await kept.emit("x", {}))
        assert [where(receipt) for receipt in receipts] == [("alice", offset) for offset in range(1, 6)]
        assert kept._mailbox is threads.mailbox("t") is not former


def test_a_route_says_where_it_leads() -> None:
    """What is printed of a route is its parts."""
    assert repr(Route()) == "<Route generation=None no ledger None>"
