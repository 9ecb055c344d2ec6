"""Devices: each kind is shown with what is known of it."""

from __future__ import annotations

import trio

from actors.control.devices import device_answer
from tests.support.served import served


async def test_a_device_of_the_protocol() -> None:
    """It has a place in the log, a socket, and a last sign of life by the wall clock."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await server.emit(3)
        for _ in range(3):
            await peer.next_event()
        await peer.ack(2)
        await peer.echo()
        (connection,) = server.runtime.tree.server.connections.values()
        told = device_answer(server.runtime, connection, 3)
        assert (told.label, told.user_id, told.kind, told.state) == ("c1", "alice", "v1", "live")
        assert (told.cursor, told.written, told.head, told.lag_events) == (2, 3, 3, 0)
        assert (told.backlog_bytes, told.stalled_at, told.pinged_at) == (0, None, None)
        assert told.heard_at is not None
        assert abs(told.heard_at - server.runtime.environment.wall_clock()) < 60
        assert told.text == "c1 written, not confirmed yet"


async def test_before_the_hello() -> None:
    """A connection of which the user is not known has no place yet."""
    async with served() as server, server.peer() as peer:
        await peer.open("actors.v1")
        while not server.runtime.tree.server.connections:
            await trio.lowlevel.checkpoint()
        (connection,) = server.runtime.tree.server.connections.values()
        told = device_answer(server.runtime, connection)
        assert (told.user_id, told.state, told.head, told.text) == (None, "saying hello", None, "c1 is saying hello")


async def test_a_follower() -> None:
    """Code in the process is a device without a socket."""
    async with served() as server, server.runtime.follow("alice"):
        (follower,) = server.runtime.tree.followers
        told = device_answer(server.runtime, follower)
        assert (told.kind, told.user_id, told.backlog_bytes, told.heard_at) == ("follower", "alice", None, None)
