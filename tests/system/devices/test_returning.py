"""Devices that come back, however and whenever they were cut: nothing twice, and nothing missing that was not said."""

from __future__ import annotations

import random

import attrs
import pytest
import trio

import actors
from tests.support.raw import ACTORS, TEXT, Message, Peer, frame
from tests.support.served import Served, served
from tests.support.stores import bounds_of
from tests.system.devices.reader import Reading

DEVICES, RECONNECTS = 50, 20


@attrs.define
class Said:
    """The events that were emitted."""

    words: list[str] = attrs.field(factory=list)
    ticks: dict[int, Message] = attrs.field(factory=dict)
    """By offset."""
    over: bool = False


async def publish(server: Served, said: Said) -> None:
    """Tokens of one run, and every now and then something else, as fast as devices may be served in between."""
    thread = server.runtime.thread("t1")
    while not said.over:
        for n in range(8):
            word = f"{len(said.words)} "
            await thread.emit("agent_delta", {"text": word}, run_id="r1")
            said.words.append(word)
            if n == 7:
                receipt = await thread.emit("tick", {"n": len(said.words)})
                assert receipt.position is not None
                said.ticks[receipt.position.offset] = {"n": len(said.words)}
        await trio.sleep(0.004)


async def begin(server: Served, peer: Peer, reading: Reading) -> None:
    """Say hello with what the device has kept."""
    await peer.open(ACTORS)
    fields = {} if reading.resume is None else {"resume": reading.resume, "session": reading.session}
    reading.welcomed(await peer.hello("alice", **({"from": "low"} | fields)))


async def comes_and_goes(server: Served, said: Said, reading: Reading, chance: random.Random) -> None:
    """Connect, read some, ack some, break off or say goodbye; at last read to the end."""
    for _ in range(RECONNECTS):
        async with server.peer() as peer:
            await begin(server, peer, reading)
            for _ in range(chance.randrange(1, 12)):
                reading.take(await peer.next_message())
            if chance.random() < 0.5:
                await peer.ack(reading.offset)
            if chance.random() < 0.3:
                peer.reset()
        await trio.sleep(chance.random() * 0.02)


async def reads_to_the_end(server: Served, reading: Reading) -> None:
    """A last connection, up to the head."""
    async with server.peer() as peer:
        await begin(server, peer, reading)
        while reading.offset < bounds_of(server.runtime.tree.store, "alice").head:
            reading.take(await peer.next_message())
        await peer.ack(reading.offset)
        await peer.echo()


@pytest.mark.slow
async def test_a_thousand_returns() -> None:
    """Fifty devices that come back twenty times each, amid all that is said: each has all of it, once and in order."""
    limits = actors.Limits(retained_events=50_000, retained_bytes=50_000_000, connections_per_user=100)
    limits = attrs.evolve(limits, sessions_per_user=200)
    said, readings = Said(), [Reading() for _ in range(DEVICES)]
    async with served(limits=limits) as server:
        with trio.fail_after(60):
            await server.runtime.bind("t1", "alice")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish, server, said)
                async with trio.open_nursery() as devices:
                    for number, reading in enumerate(readings):
                        devices.start_soon(comes_and_goes, server, said, reading, random.Random(number))
                said.over = True
            for reading in readings:
                await reads_to_the_end(server, reading)
        for reading in readings:
            assert_complete(reading, said)
        assert len({reading.session for reading in readings}) == DEVICES
        assert server.failures() == []


def assert_complete(reading: Reading, said: Said) -> None:
    """Every word and every tick, none of them twice."""
    assert not reading.gaps
    assert not reading.resets
    assert reading.texts.get("r1", "") == "".join(said.words)
    assert {offset: one for offset, one in reading.payloads.items() if "n" in one} == said.ticks


@pytest.mark.slow
async def test_returns_off_the_tail() -> None:
    """A log that keeps less than is said meanwhile: what is missing is exactly what each device was told is gone."""
    said, readings = Said(), [Reading() for _ in range(10)]
    async with served(limits=actors.Limits(retained_events=40)) as server:
        await server.runtime.bind("t1", "alice")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish, server, said)
            async with trio.open_nursery() as devices:
                for number, reading in enumerate(readings):
                    devices.start_soon(comes_and_goes, server, said, reading, random.Random(number))
            said.over = True
        for reading in readings:
            await reads_to_the_end(server, reading)
        for reading in readings:
            gone = {offset for first, last in reading.gaps for offset in range(first, last + 1)}
            got = {offset: one for offset, one in reading.payloads.items() if "n" in one}
            expected = {offset: one for offset, one in said.ticks.items() if offset not in gone}
            assert {offset: one for offset, one in got.items() if offset >= min(said.ticks)} == expected
        assert any(reading.gaps for reading in readings)
        assert server.failures() == []


# --- cut at every byte ----------------------------------------------------------------


async def a_log_to_read(server: Served) -> str:
    """A text of a run between two other events; returns the text."""
    thread = server.runtime.thread("t1")
    await thread.emit("tick", {"n": 1}, user_id="alice")
    words = [f"word {n} " for n in range(4)]
    for word in words:
        await thread.emit("agent_delta", {"text": word}, run_id="r1")
    await thread.emit("tick", {"n": 2})
    return "".join(words)


async def read_bytes(peer: Peer, reading: Reading, count: int) -> None:
    """Take so many bytes, and whatever messages are whole in them."""
    data = bytes(peer._buffer)
    while len(data) < count:
        data += await peer.stream.receive_some(count - len(data))
    peer._buffer = bytearray(data[:count])
    while (size := peer._frame_bytes()) is not None and len(peer._buffer) >= sum(size):
        message = await peer.next_message()
        if message.get("op") == "welcome":
            reading.welcomed(message)
        reading.take(message)
    peer._buffer.clear()


async def what_is_sent(server: Served) -> int:
    """Count the bytes that a device is sent that has nothing yet, from its welcome on."""
    async with server.peer() as peer:
        await peer.open(ACTORS)
        await peer.say({"op": "hello", "v": 1, "token": "alice", "from": "low"})
        await peer.next_op("caught_up")
        return sum(len(came.payload) + (2 if len(came.payload) < 126 else 4) for came in peer.frames)


@pytest.mark.slow
async def test_cut_at_every_byte_down() -> None:
    """Cut after any byte of a welcome, an event or a batch, a device that comes back has everything once."""
    async with served() as server:
        with trio.fail_after(60):
            text = await a_log_to_read(server)
            for count in range(await what_is_sent(server)):
                reading = Reading()
                async with server.peer() as peer:
                    await peer.open(ACTORS)
                    await peer.say({"op": "hello", "v": 1, "token": "alice", "from": "low"})
                    await read_bytes(peer, reading, count)
                    peer.reset()
                await reads_to_the_end(server, reading)
                assert reading.texts == {"r1": text}
                assert [one for one in reading.payloads.values() if "n" in one] == [{"n": 1}, {"n": 2}]
        assert server.failures() == []


async def test_cut_at_every_byte_up() -> None:
    """Of what a device says, whatever byte it is cut at, only whole messages count, and only they ack."""
    async with served() as server:
        said = b"".join(
            frame(TEXT, text) for text in (b'{"op":"ack","offset":1}', b'{"op":"ping"}', b'{"op":"ack","offset":2}')
        )
        first = len(frame(TEXT, b'{"op":"ack","offset":1}'))
        for count in range(len(said) + 1):
            await cut_after(server, f"user-{count}", said[:count], (count >= first) + (count == len(said)))
        assert server.failures() == []


async def cut_after(server: Served, user_id: str, said: bytes, acked: int) -> None:
    """A device says a part of what it wanted to, and breaks off."""
    async with server.peer() as peer:
        await peer.attach(user_id)
        receipts = await server.emit(3, user_id)
        await peer.next_event()
        await peer.send(said)
        assert isinstance(peer.stream, trio.SocketStream)
        await peer.stream.send_eof()
        await peer.ending()
    await server.gone(user_id)
    stages = [receipt.stage for receipt in receipts]
    assert stages == [actors.Stage.ACKED] * acked + [actors.Stage.WRITTEN] * (3 - acked)


# --- three of them --------------------------------------------------------------------


async def test_one_acks_one_is_silent_one_is_late() -> None:
    """Of three devices each is where it is: what one acked is acked, and explain says of each what it knows."""
    async with served() as server, server.peer() as acks, server.peer() as silent, server.peer() as late:
        await acks.attach("alice")
        await silent.attach("alice")
        receipts = await server.emit(3)
        for peer in (acks, silent):
            assert [(await peer.next_event())["offset"] for _ in range(3)] == [1, 2, 3]
        await acks.ack(2)
        await acks.echo()
        welcome = await late.attach("alice")
        assert welcome["start"] == 3
        stages = [receipt.stage for receipt in receipts]
        assert stages == [actors.Stage.ACKED, actors.Stage.ACKED, actors.Stage.WRITTEN]
        states = [str(server.runtime.explain(receipt)).rpartition("3 devices: ")[2] for receipt in receipts]
        assert states[0] == states[1] == "c1 acked; c2 written, not confirmed yet; c3 began after it"
        assert states[2] == "; ".join(f"c{n} written, not confirmed yet" for n in (1, 2, 3))


async def test_a_cursor_acks_what_its_session_was_written() -> None:
    """A device that comes back acks what its own session had been sent, and nothing that came while it was away."""
    async with served() as server, server.peer() as other:
        await other.attach("alice")
        async with server.peer() as peer:
            welcome = await peer.attach("alice")
            receipts = await server.emit(2)
            await peer.next_event()
        while server.runtime.devices("alice") > 1:
            await trio.lowlevel.checkpoint()
        receipts += await server.emit(2)
        async with server.peer() as peer:
            resume = {"epoch": welcome["epoch"], "offset": 4}
            await peer.attach("alice", session=welcome["session"], resume=resume)
            stages = [receipt.stage for receipt in receipts]
            assert stages == [actors.Stage.ACKED] * 2 + [actors.Stage.WRITTEN] * 2
