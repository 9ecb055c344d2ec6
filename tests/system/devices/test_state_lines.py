"""The parts of a runtime print their state in one line each: what a debugger, a log and a failed assertion show."""

from __future__ import annotations

import re

from tests.support.served import offsets, served


def line(part: object) -> str:
    """Print a part without its chosen ids."""
    return re.sub(r"\b(ep|s|e)_[0-9a-f_]+", r"\1", repr(part))


async def test_a_device_that_acked_some() -> None:
    """One device, three events of which it acked two: each part on their way says its share of it."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await server.emit(3)
        assert offsets([await peer.next_event() for _ in range(3)]) == [1, 2, 3]
        await peer.ack(2)
        await peer.echo()
        tree = server.runtime.tree
        ledger = tree.accounts.users["alice"].ledger
        presence = tree.registry.presence("alice")
        (device,) = presence.devices
        (session,) = presence.sessions.values()
        assert device.subscription is not None
        assert line(device.subscription.cursor) == "<Cursor next=4 acked=2 unacked=1>"
        assert line(device) == "<Connection users/alice/connections/c1 <Subscription live next=4 acked=2>>"
        assert line(presence) == "<Presence c1 sessions=1>"
        assert line(session) == "<Session s c1 <Cursor next=4 acked=2 unacked=1>>"
        assert line(ledger) == "<Ledger alice ep low=1 head=3 acked=2 retained=1>"
        assert line(tree.registry) == "<Registry users=1 devices=1>"
        assert line(tree.users.mailbox("alice")) == "<Mailbox alice idle>"
        assert line(tree.users.mailbox("alice").actor) == "<UserActor alice <Presence c1 sessions=1>>"
        assert line(tree.threads.mailbox("thread-of-alice").actor) == "<ThreadActor thread-of-alice generation=1 idle>"
        assert line(tree.threads) == "<DynamicSupervisor threads running actors=1 scheduled=0 quarantined=0>"
        assert line(tree.accounts) == "<Accounts accepted=3 queued=0 users=1 holds=0>"
        assert line(tree.store) == "<MemoryStore <StoreState threads=1 holding=0 logs=1 ids=0 runs=0>>"
        assert line(tree.emitter) == "<Emitter open numbered=3>"
        assert line(tree.flusher) == "<Flusher marked=0>"
        assert line(tree.pulse.heartbeat) == "<Heartbeat heard=1 pinged=0>"
        assert line(tree.context.failures) == "<Failures kept=0 total=0>"


async def test_a_thread_without_an_owner() -> None:
    """Held events are a hold's line, and after the bind its offsets are."""
    async with served() as server:
        receipts = [await server.runtime.thread("t1").emit("tick", {"n": n}) for n in range(2)]
        hold = receipts[0].state
        assert line(hold) == "<Hold seq=1-2 held=2>"
        await server.runtime.bind("t1", "alice")
        assert line(hold) == "<Hold seq=1-2 held=0 bound to offset 1>"
