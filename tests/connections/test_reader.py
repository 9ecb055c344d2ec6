"""The messages of a device: hellos, acks, pings, and how many of them."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import actors
from actors.kernel.mailbox import Mailbox
from actors.users.presence import Acked, UserMessage
from tests.connections.ends import ends, events
from tests.support.raw import ACTORS, BINARY, PING, PONG, TEXT, Message, close_frame, frame
from tests.support.served import offsets, served

STAGES = actors.Stage


async def test_ack() -> None:
    """An acknowledgement confirms everything up to its offset; an old one changes nothing."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        receipts = await server.emit(5)
        await events(peer, 5)
        for offset, acked in ((3, 3), (1, 3), (3, 3), (0, 3), (5, 5)):
            await peer.ack(offset)
            await peer.echo()
            assert [receipt.stage for receipt in receipts].count(STAGES.ACKED) == acked
        assert [receipt.stage for receipt in receipts] == [STAGES.ACKED] * 5


async def test_ack_beyond() -> None:
    """A device that acks beyond what it was sent is told so and closed; nothing is acked by it."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        receipts = await server.emit(2)
        await events(peer, 2)
        await peer.ack(3)
        assert await ends(peer, "bad_ack") == "ack: expected an offset of at most 2, the last one sent here, got 3"
        assert [receipt.stage for receipt in receipts] == [STAGES.WRITTEN] * 2
        assert "bad_ack" in str(server.runtime.explain(receipts[0])) or server.runtime.devices("alice") == 0
        assert server.failures() == []


SEND = frame(TEXT, b'{"op":"send","id":"c1","thread_id":"t1","type":"note","payload":{}}')


ENDS = [close_frame(1000), frame(BINARY, b"x"), frame(TEXT, b"no message")]


@pytest.mark.parametrize("end", ENDS)
async def test_a_request_before_the_end(end: bytes) -> None:
    """What a device asks for is carried out, although it does not wait for the reply, or is sent away for what comes
    next."""
    left = trio.Event()

    async def authorize(user_id: str, thread_id: str) -> bool:
        await left.wait()
        return True

    async with served(authorize=authorize) as server, server.peer() as peer, server.peer() as other:
        await peer.attach("alice")
        await other.attach("alice")
        await peer.send(SEND + end)
        assert await peer.farewell() is not None
        left.set()
        assert (await other.next_event())["type"] == "note"


@pytest.mark.parametrize("end", ENDS)
async def test_a_request_that_hangs(end: bytes) -> None:
    """It keeps the connection for a moment, and not the device."""
    cancelled = trio.Event()

    async def authorize(user_id: str, thread_id: str) -> bool:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        return True

    async with served(authorize=authorize, limits=actors.Limits(close_seconds=0.05)) as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.send(SEND + end)
        await peer.farewell()
        assert server.runtime.devices("alice") == 0
        await cancelled.wait()
        await server.all_gone()


async def test_a_request_of_one_who_may_not_ask() -> None:
    """A revoked user's request ends with the goodbye."""
    asked, cancelled = trio.Event(), trio.Event()

    async def authorize(user_id: str, thread_id: str) -> bool:
        asked.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        return True

    limits = actors.Limits(close_seconds=1000.0)
    async with served(authorize=authorize, limits=limits) as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.send(SEND)
        await asked.wait()
        server.runtime.revoke("alice")
        assert (await peer.farewell() or (0, ""))[0] == 4504
        await cancelled.wait()
        await server.all_gone()


class Behind:
    """The address of a user's actor that has no room for acks, but for one that waits."""

    def __init__(self, address: Mailbox[UserMessage]) -> None:
        self._address = address

    def tell(self, message: UserMessage) -> None:
        if isinstance(message, Acked):
            raise trio.WouldBlock
        self._address.tell(message)

    async def send(self, message: UserMessage) -> None:
        await self._address.send(message)


@pytest.mark.parametrize("leaves", [False, True])
async def test_acks_to_an_actor_that_is_behind(leaves: bool) -> None:
    """Each waits for its turn, and none is lost: the last one neither, nor those before a Close."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        receipts = await server.emit(3)
        await events(peer, 3)
        (connection,) = server.runtime.tree.server.connections.values()
        reader: Any = connection._reader
        reader._address = Behind(reader._address)
        acks = [frame(TEXT, b'{"op":"ack","offset":%d}' % offset) for offset in (1, 2, 3)]
        await peer.send(b"".join(acks) + (close_frame(1000) if leaves else b""))
        for receipt in receipts:
            await receipt.reached(STAGES.ACKED)
        if leaves:
            assert await peer.ending() == (1000, "")
        else:
            await peer.echo()
        assert server.failures() == []


async def test_ping_pong() -> None:
    """A ping is answered in kind: the protocol's by the protocol's, a WebSocket's by a WebSocket's."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.say({"op": "ping", "new": "field"})
        assert await peer.next_message() == {"op": "pong"}
        await peer.send(frame(PING, b"are you there?"))
        assert await peer.next_frame() == (PONG, b"are you there?")
        await peer.say({"op": "pong"})
        await peer.send(frame(PONG, b"unasked"))
        await peer.echo()


async def test_unknown_ops() -> None:
    """An op from the future is ignored; one that waits for an answer gets it."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.say({"op": "dance"})
        for id_ in ("c1", 7):
            await peer.say({"op": "dance", "id": id_, "steps": []})
            reply = await peer.next_message()
            text = reply["error"].pop("message")
            assert "'dance'" in text
            assert reply == {
                "op": "reply",
                "id": id_,
                "error": {"code": 4600, "name": "unknown_op", "temporary": False},
            }
        await peer.echo()


async def test_split_and_joined() -> None:
    """A message may come in many frames, with a ping between them, and many messages in one packet."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        text = b'{"op":"ping"}'
        parts = [frame(TEXT, text[:3], fin=False), frame(PING), frame(0, text[3:], fin=True)]
        await peer.send(b"".join(parts) + frame(TEXT, text) * 2)
        assert await peer.next_frame() == (PONG, b"")
        assert [await peer.next_message() for _ in range(3)] == [{"op": "pong"}] * 3


@pytest.mark.parametrize(
    ("hello", "expected"),
    [
        ({"op": "ping"}, "expected a hello first, got ping"),
        ({"op": "hello", "v": 2, "token": "alice"}, "hello: expected v 1, the version of this server, got 2"),
        ({"op": "hello", "token": "alice"}, "missing required field `v`"),
        ({"op": "hello", "v": 1, "token": "alice", "from": "tail"}, "Invalid enum value 'tail'"),
        ({"type": "user_message"}, "missing required field `op`"),
    ],
)
async def test_not_a_hello(hello: Message, expected: str) -> None:
    """A first message that is no hello of this server's is refused, with what was expected and what came."""
    async with served() as server, server.peer() as peer:
        await peer.open(ACTORS)
        await peer.say(hello)
        assert expected in await ends(peer, "bad_message")


async def test_a_second_hello() -> None:
    """A hello is said once."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.say({"op": "hello", "v": 1})
        assert await ends(peer, "bad_message") == "expected one hello, got another"


async def test_no_hello() -> None:
    """A peer that says nothing is closed after a while."""
    async with served(limits=actors.Limits(hello_seconds=0.05)) as server, server.peer() as peer:
        await peer.open(ACTORS)
        assert await ends(peer, "no_hello") == "expected a hello within 0.05 s, got none"


async def test_a_burst_is_not_a_flood() -> None:
    """As many messages as are allowed at once are all answered."""
    async with served(limits=actors.Limits(inbound_burst=20)) as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.send(frame(TEXT, b'{"op":"ping"}') * 20)
        for _ in range(20):
            assert await peer.next_message() == {"op": "pong"}


async def test_largest_message() -> None:
    """A message of exactly the limit is still read."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        text = b'{"op":"ping","x":"'
        await peer.send(frame(TEXT, text + b"x" * (65_536 - len(text) - 2) + b'"}'))
        assert await peer.next_message() == {"op": "pong"}


async def test_flooding() -> None:
    """A device that sends faster than the limit is ended, and explain says what the limit is."""
    limits = actors.Limits(inbound_burst=5, inbound_messages_per_second=0.1)
    async with served(limits=limits) as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.send(frame(TEXT, b'{"op":"pong"}') * 6)
        await peer.farewell()
        await server.all_gone()
        (receipt,) = await server.emit(1)
        expected = "(flooding: expected at most 0.1 messages a second, 5 at once, got more)"
        assert expected in str(server.runtime.explain(receipt))


async def test_flooding_with_pings() -> None:
    """Pings count as messages do: who sends more than are allowed is cut off, and others notice nothing."""
    limits = actors.Limits(inbound_burst=20, inbound_messages_per_second=0.1)
    async with served(limits=limits) as server, server.peer() as floods, server.peer() as reads:
        await floods.attach("alice")
        await reads.attach("alice")
        await floods.send(frame(PING) * 100)
        while server.runtime.devices("alice") > 1:
            await trio.lowlevel.checkpoint()
        (receipt,) = await server.emit(1)
        assert offsets(await events(reads, 1)) == [1]
        assert "1 device: c2" in str(server.runtime.explain(receipt))
        assert server.failures() == []
