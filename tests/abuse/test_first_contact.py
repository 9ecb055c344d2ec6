"""Hostile first contacts: each costs its own socket, thirty times over, while a bystander's delivery goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

import actors
from tests.peers.raw import ACTORS, CLOSE, PING, TEXT, Peer, close_frame, frame, upgrade_request
from tests.peers.served import Served, served

TIMES = 30
UPGRADE = upgrade_request(ACTORS)
HELLO = frame(TEXT, b'{"op":"hello","v":1,"token":"mallory"}')


async def upgraded(peer: Peer) -> None:
    await peer.open(ACTORS)
    await peer.hello("mallory")


async def ends_with(peer: Peer, code: int) -> None:
    """The server says why, and ends the connection."""
    ending = await peer.farewell()
    assert ending is not None
    assert ending[0] == code


# --- the contacts -----------------------------------------------------------------


async def bad_request_line_then_reset(peer: Peer) -> None:
    await peer.send(b"\x00\x01 nonsense\r\n\r\n")
    peer.reset()


async def handshake_then_reset(peer: Peer) -> None:
    await peer.open(ACTORS)
    peer.reset()


async def request_then_reset(peer: Peer) -> None:
    await peer.send(UPGRADE)
    peer.reset()


async def nothing_then_reset(peer: Peer) -> None:
    peer.reset()


async def large_headers(peer: Peer) -> None:
    answer = await peer.ask(upgrade_request(ACTORS, extra=[("X-Filler", "x" * 70_000)]))
    assert answer.status == 431


async def half_a_handshake_then_leave(peer: Peer) -> None:
    await peer.send(UPGRADE[:-20])


async def half_a_handshake_then_hang(peer: Peer) -> None:
    answer = await peer.ask(UPGRADE[:-20])
    assert answer.status == 408


async def data_behind_the_request(peer: Peer) -> None:
    """Not hostile, only fast: what came behind the request is processed, without waiting for more."""
    await peer.send(UPGRADE + HELLO + frame(TEXT, b'{"op":"ping"}'))
    assert (await peer.answer()).status == 101
    assert (await peer.next_message())["op"] == "welcome"
    await peer.next_op("pong")
    await peer.leave()


async def garbage_behind_the_request(peer: Peer) -> None:
    await peer.send(UPGRADE + b"\xff" * 1_000)
    assert (await peer.answer()).status == 101
    await ends_with(peer, 1002)


async def unmasked(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b'{"op":"ping"}', masked=False))
    await ends_with(peer, 1002)


async def reserved_bits(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b'{"op":"ping"}', reserved=0b100))
    await ends_with(peer, 1002)


async def bad_utf8(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b'{"op":"\xc3\x28"}'))
    await ends_with(peer, 1007)


async def enormous_length(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b"x" * 100, declared=2**63))
    await ends_with(peer, 1002)


async def large_length(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b"x" * 70_000, declared=2**63 - 1))
    await ends_with(peer, 1009)


async def open_brackets(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b"[" * 20_000))
    await ends_with(peer, 4502)


async def open_brackets_in_hello(peer: Peer) -> None:
    await peer.open(ACTORS)
    await peer.send(frame(TEXT, b'{"op":"hello","v":1,"x":' + b"[" * 20_000))
    await ends_with(peer, 4502)


async def oversized_then_ping(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b"x" * 200_000) + frame(PING, b"still here?"))
    await ends_with(peer, 1009)


async def ping_after_close(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(close_frame(1000) + frame(PING, b"and another thing"))
    assert await peer.ending() == (1000, "")


async def ping_after_our_close(peer: Peer) -> None:
    await upgraded(peer)
    await peer.say({"op": "hello", "v": 1})
    while (came := await peer.next_frame()) is not None and came.opcode != CLOSE:
        pass
    await peer.send(frame(PING, b"and another thing") + frame(TEXT, b"{}"))
    await ends_with(peer, 4502)


async def half_close(peer: Peer) -> None:
    await upgraded(peer)
    assert isinstance(peer.stream, trio.SocketStream)
    await peer.stream.send_eof()
    await peer.ending()


async def half_close_of_half_a_handshake(peer: Peer) -> None:
    assert isinstance(peer.stream, trio.SocketStream)
    await peer.send(UPGRADE[:50])
    await peer.stream.send_eof()
    assert await peer.ending() is None


async def leave_in_the_middle_of_a_frame(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b"x" * 1_000)[:500])


CONTACTS: list[Callable[[Peer], Awaitable[None]]] = [
    bad_request_line_then_reset,
    handshake_then_reset,
    request_then_reset,
    nothing_then_reset,
    large_headers,
    half_a_handshake_then_leave,
    half_a_handshake_then_hang,
    data_behind_the_request,
    garbage_behind_the_request,
    unmasked,
    reserved_bits,
    bad_utf8,
    enormous_length,
    large_length,
    open_brackets,
    open_brackets_in_hello,
    oversized_then_ping,
    ping_after_close,
    ping_after_our_close,
    half_close,
    half_close_of_half_a_handshake,
    leave_in_the_middle_of_a_frame,
]


@asynccontextmanager
async def bystander(house: Served) -> AsyncIterator[None]:
    """Somebody who is sent events, one after the other, all the while, and gets each of them."""
    over = False

    async def watch() -> None:
        async with house.peer() as peer:
            await peer.attach("alice")
            attached.set()
            number = 0
            while not over:
                number += 1
                (receipt,) = await house.emit(1)
                event = await peer.next_event()
                assert (event["offset"], event["seq"]) == (number, number)
                await peer.ack(number)
                await receipt.reached(actors.Stage.ACKED)
            assert number > 0
            await peer.leave()

    attached = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await attached.wait()
        yield
        over = True


@pytest.mark.parametrize("contact", CONTACTS, ids=lambda contact: contact.__name__)
async def test_first_contact(contact: Callable[[Peer], Awaitable[None]]) -> None:
    """Thirty of them at once: nobody else misses an event, nothing of ours has failed, and nothing is left behind."""
    limits = actors.Limits(
        request_head_seconds=0.3,
        close_seconds=0.05,
        connections_per_user=TIMES,
        inbound_burst=1_000_000,  # the bystander acknowledges each event, as fast as it can
    )

    async def once() -> None:
        async with house.peer() as peer:
            await contact(peer)

    async with served(limits=limits) as house:
        async with bystander(house), trio.open_nursery() as nursery:
            for _ in range(TIMES):
                nursery.start_soon(once)
        await house.all_gone()
        while house.runtime.server._sockets:
            await trio.lowlevel.checkpoint()
        assert house.failures() == []
        assert house.runtime.devices("mallory") == house.runtime.devices("alice") == 0
        assert house.runtime.audit().balanced
