"""Devices that ask for more than they take: each costs itself and bounded memory, and others notice nothing."""

from __future__ import annotations

import json

import pytest
import trio

from actors.connections.actor import Connection
from actors.limits import Limits
from tests.support.raw import TEXT, Message, Peer, frame
from tests.support.served import Served, offsets, served

MIB = 1 << 20
DEADLINE = {"write_deadline_seconds": 0.2, "close_seconds": 0.2}


def request(number: int | str, **fields: object) -> bytes:
    return frame(TEXT, json.dumps({"op": "read", "id": number, "thread_id": "thread-of-alice", **fields}).encode())


def connection_of(server: Served, user_id: str = "alice") -> Connection:
    """A user's one connection."""
    (device,) = server.runtime.tree.registry.presence(user_id).devices
    assert isinstance(device, Connection)
    return device


async def full_log(server: Served) -> None:
    """A log that makes each answer as large as answers become."""
    await server.emit(40, size=20_000)


async def goes_on(server: Served, bystander: Peer) -> None:
    """Another user's events come, in time."""
    await server.emit(3, "bob")
    came: list[Message] = [await bystander.next_event() for _ in range(3)]
    assert offsets(came) == [1, 2, 3]


@pytest.mark.parametrize("fields", [{}, {"after_seq": 39}, {"thread_id": "nobody's"}, {"limit": 0}, {"op": "dance"}])
async def test_asking_without_reading(fields: Message) -> None:
    """A device that asks and asks, and reads no answer, is cut off; what waits for it meanwhile is bounded."""
    limits = Limits(**DEADLINE, inbound_burst=100_000)  # type: ignore[arg-type]
    async with served(limits=limits) as server, server.peer() as greedy, server.peer() as bystander:
        await full_log(server)
        await greedy.attach("alice", **{"from": "head"})
        await bystander.attach("bob")
        device, most = connection_of(server), 0
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - it is cut off at some request or other
            for number in range(1_000_000):
                await greedy.send(request(f"{number:04000}", **fields))
                most = max(most, device._transport.backlog_bytes)
                assert len(device._reader._requests._waiting or ()) <= limits.requests
        assert most < limits.history_bytes + limits.write_bytes + limits.control_bytes + MIB // 8
        await goes_on(server, bystander)
        assert server.runtime.devices("alice") == 0
        assert server.failures() == []


async def test_one_answer_at_a_time() -> None:
    """While a device has not taken an answer, the next one is not made; when it reads, it gets all of them in order."""
    async with served() as server, server.peer() as slow:
        await full_log(server)
        await slow.attach("alice", **{"from": "head"})
        device = connection_of(server)
        for number in range(16):
            await slow.send(request(number))
        while not device._transport.backlog_bytes or device._reader._requests._open < 4:
            await trio.lowlevel.checkpoint()
        assert device._transport.backlog_bytes < 2 * server.runtime.limits.history_bytes
        replies = [await slow.next_op("reply") for _ in range(16)]
        assert [reply["id"] for reply in replies] == list(range(16))
        assert all(reply["more"] for reply in replies)
        await slow.echo()
        assert (device._reader._requests._open, len(device._reader._requests._waiting or ())) == (0, 0)


async def test_events_come_between_answers() -> None:
    """A device that reads its history all the time misses nothing of what is new."""
    async with served() as server, server.peer() as busy:
        await full_log(server)
        await busy.attach("alice", **{"from": "head"})

        async def ask() -> None:
            for number in range(40):
                await busy.send(request(number))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await server.emit(30)
            assert offsets([await busy.next_event() for _ in range(30)]) == list(range(41, 71))


async def test_a_flood_of_cancels() -> None:
    """Cancels of unknown runs are held a moment each, so many and no more, and leave nothing behind."""
    limits = Limits(cancel_hold_seconds=0.05)
    async with served(limits=limits) as server, server.peer() as floods:
        await floods.attach("mallory")
        for number in range(100):
            text = json.dumps({"op": "cancel", "id": number, "run_id": f"run_{number}"})
            await floods.send(frame(TEXT, text.encode()))
        replies = [await floods.next_op("reply") for _ in range(100)]
        assert {reply["id"] for reply in replies} == set(range(100))
        names = [reply["error"]["name"] for reply in replies]
        assert set(names) == {"too_many_requests", "unknown_run"}
        assert server.runtime.tree.runs.registry._awaited == {}


async def test_gone_in_the_middle_of_requests() -> None:
    """A device that goes with requests unanswered leaves no task and no reservation."""
    limits = Limits(cancel_hold_seconds=60.0)
    async with served(limits=limits) as server:
        await full_log(server)
        for _ in range(20):
            async with server.peer() as peer:
                await peer.attach("alice", **{"from": "head"})
                await peer.say({"op": "cancel", "id": 1, "run_id": "r"})
                await peer.send(request(2) * 8)
                peer.reset()
        await server.all_gone()
        assert server.runtime.tree.runs.registry._awaited == {}
        assert server.failures() == []
