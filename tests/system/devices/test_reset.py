"""A log that loses what it had shown, while devices are connected: they are told, and nothing is silently rewound."""

from __future__ import annotations

import pytest
import trio

import actors
from tests.support.raw import ACTORS, Message, Peer
from tests.support.served import Served, offsets, served
from tests.support.stores import bounds_of, state_of
from tests.system.devices.reader import Reading

COOKIE = "actors_token=alice"


def lose(server: Served, user_id: str = "alice") -> str:
    """The store loses a user's log; returns the new epoch."""
    return state_of(server.runtime.tree.store).fork(user_id, 0).epoch


async def next_but_ping(peer: Peer) -> Message:
    """The next thing said that is no ping."""
    while (message := await peer.next_message()).get("op") == "ping":
        pass
    return message


async def behind(server: Served) -> list[actors.Receipt]:
    """Emit until some device's socket takes no more."""
    receipts: list[actors.Receipt] = []
    while not any(one.writing for one in server.runtime.tree.server.connections.values()):
        receipts += await server.emit(10, size=8_000)
    return receipts


async def test_every_device_is_told() -> None:
    """Every open device is told the new epoch and its low before the first event of it; a plain one just goes on."""
    async with served() as server, server.peer() as phone, server.peer() as laptop, server.peer() as plain:
        old = {(await peer.attach("alice"))["epoch"] for peer in (phone, laptop)}
        await plain.open(cookie=COOKIE)
        await server.emit(3)
        for peer in (phone, laptop, plain):
            assert offsets([await peer.next_event() for _ in range(3)]) == [1, 2, 3]
        new = lose(server)
        await server.emit(2)
        assert new not in old
        for peer in (phone, laptop):
            assert await next_but_ping(peer) == {"op": "reset", "epoch": new, "low": 1}
            assert offsets([await peer.next_event() for _ in range(2)]) == [1, 2]
        assert offsets([await plain.next_event() for _ in range(2)]) == [1, 2]
        assert server.failures() == []


async def test_an_ack_of_the_ended_log() -> None:
    """An ack that a device says before it can have read of the reset counts for nothing in the new log, and is no
    offence."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await server.emit(5)
        assert offsets([await peer.next_event() for _ in range(5)]) == [1, 2, 3, 4, 5]
        lose(server)
        receipts = await server.emit(3)
        for offset in (2, 5):
            await peer.ack(offset)
        await peer.echo()
        assert {receipt.stage for receipt in receipts} == {actors.Stage.WRITTEN}
        assert server.runtime.devices("alice") == 1
        await peer.say({"op": "pong"})
        await peer.ack(2)
        await peer.echo()
        stages = [receipt.stage for receipt in receipts]
        assert stages == [actors.Stage.ACKED, actors.Stage.ACKED, actors.Stage.WRITTEN]


async def test_an_answer_to_an_earlier_ping_proves_nothing() -> None:
    """Only the answer to the ping that came with the reset shows that a device has read of it, not one before it."""
    limits = actors.Limits(ping_seconds=0.1, pong_seconds=60, sweep_seconds=0.02)
    async with served(limits=limits) as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.next_op("ping")
        lose(server)
        (receipt,) = await server.emit(1)
        await peer.say({"op": "pong"})
        await peer.ack(1)
        await peer.echo()
        assert receipt.stage is actors.Stage.WRITTEN
        await peer.say({"op": "pong"})
        await peer.ack(1)
        await receipt.reached(actors.Stage.ACKED)


async def test_an_ack_beyond_the_new_log() -> None:
    """In the new log as in the old one, a device that acks what was not sent is sent away, and nothing is acked."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await server.emit(5)
        lose(server)
        (receipt,) = await server.emit(1)
        await peer.next_op("reset")
        await peer.say({"op": "pong"})
        await peer.ack(5)
        ending = await peer.farewell()
        assert ending is not None
        assert ending[0] == 4503
        assert receipt.stage is actors.Stage.WRITTEN


async def test_a_device_with_a_backlog() -> None:
    """Bytes that a socket was taking when the log was lost come whole and in its epoch; then the reset, then the new
    log."""
    async with served() as server, server.peer() as peer:
        await peer.open(ACTORS)
        reading = Reading()
        reading.welcomed(await peer.hello("alice"))
        old = await behind(server)
        new = lose(server)
        receipts = await server.emit(3)
        assert server.runtime.audit().balanced
        while reading.epoch != new or reading.offset < 3:
            reading.take(await peer.next_message())
        assert reading.resets == [new]
        assert sorted(reading.payloads) == [1, 2, 3]
        await peer.say({"op": "pong"})
        await peer.ack(3)
        await receipts[-1].reached(actors.Stage.ACKED)
        assert actors.Stage.ACKED not in {receipt.stage for receipt in old}
        assert server.failures() == []


async def test_a_device_that_is_lost_with_a_backlog() -> None:
    """A device that breaks while it takes what is left of an ended log costs the books nothing."""
    async with served() as server:
        async with server.peer() as peer:
            await peer.attach("alice")
            await behind(server)
            lose(server)
            await server.emit(3)
            peer.reset()
        await server.all_gone()
        assert server.runtime.audit().balanced
        async with server.peer() as peer:
            await peer.attach("alice")
            assert [message["offset"] for message in peer.messages() if "type" in message] == [1, 2, 3]


async def test_lost_again_and_again() -> None:
    """However often the log is lost, a device ends in the last epoch, with all that is there, in order."""
    async with served() as server, server.peer() as peer:
        await peer.open(ACTORS)
        reading = Reading()
        reading.welcomed(await peer.hello("alice"))
        for count in range(1, 8):
            new = lose(server)
            if count % 2:
                await server.emit(count)
                await trio.lowlevel.checkpoint()
        await server.emit(2)
        while reading.epoch != new or reading.offset < 9:
            reading.take(await peer.next_message())
        assert sorted(reading.payloads) == list(range(1, 10))
        assert len(set(reading.resets)) == len(reading.resets)


@pytest.mark.parametrize("told_before", [True, False])
async def test_coming_back_with_an_old_cursor(told_before: bool) -> None:
    """A session that comes back with a cursor of the ended log is told of the reset, and acks nothing by it."""
    async with served() as server:
        async with server.peer() as peer:
            welcome = await peer.attach("alice")
            await server.emit(5)
            if told_before:
                lose(server)
                await server.emit(5)
                await peer.next_op("reset")
        await server.gone()
        epoch = bounds_of(server.runtime.tree.store, "alice").epoch if told_before else lose(server)
        receipts = await server.emit(2)
        async with server.peer() as peer:
            resume = {"epoch": welcome["epoch"], "offset": 5}
            again = await peer.attach("alice", session=welcome["session"], resume=resume)
            assert (again["resume"], again["epoch"], again["start"]) == ("reset", epoch, 1)
            assert peer.messages()[1] == {"op": "reset", "epoch": epoch, "low": 1}
            assert actors.Stage.ACKED not in {receipt.stage for receipt in receipts}


async def test_while_it_catches_up() -> None:
    """A device that was still catching up is caught up with the new log, and told so once."""
    async with served(limits=actors.Limits(retained_bytes=10_000_000)) as server:
        await server.emit(600, size=8_000)
        async with server.peer() as peer:
            await peer.open(ACTORS)
            await peer.hello("alice", **{"from": "low"})
            new = lose(server)
            await server.emit(3)
            reading = Reading(epoch="?")
            await peer.next_op("reset")
            reading.take({"op": "reset", "epoch": new, "low": 1})
            while reading.offset < 3:
                reading.take(await peer.next_message())
            await peer.echo()
            caught = [message["offset"] for message in peer.messages() if message.get("op") == "caught_up"]
            assert len(caught) == 1
            assert caught[0] <= 3
            assert sorted(reading.payloads) == [1, 2, 3]
