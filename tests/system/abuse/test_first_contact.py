"""Hostile first contacts: each costs its own socket, a hundred times over, while a bystander's delivery goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.support.raw import (
    ACTORS,
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Message,
    Peer,
    close_frame,
    frame,
    upgrade_request,
)
from tests.support.served import served
from tests.system.abuse.bystander import LIMITS, besiege, bystander, unharmed

TIMES = 100
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


async def refused(peer: Peer, request: bytes, status: int) -> None:
    answer = await peer.ask(request)
    assert answer.status == status


async def no_request_line(peer: Peer) -> None:
    await refused(peer, b"\x16\x03\x01\x02\x00" + b"\x00" * 500 + b"\r\n\r\n", 400)


async def endless_request_line(peer: Peer) -> None:
    await refused(peer, b"GET /" + b"x" * 70_000, 431)


async def many_headers(peer: Peer) -> None:
    await refused(peer, upgrade_request(ACTORS, extra=[("X", "")] * 10_000), 431)


async def one_header_many_times(peer: Peer) -> None:
    await refused(peer, upgrade_request(ACTORS, extra=[("Upgrade", "h2c")] * 1_000, without="Upgrade"), 426)


async def folded_headers(peer: Peer) -> None:
    await refused(peer, b"GET /ws HTTP/1.1\r\nHost: x\r\n" + b" folded\r\n" * 1_000 + b"\r\n", 426)


async def zeros_in_headers(peer: Peer) -> None:
    await refused(peer, upgrade_request(ACTORS, extra=[("X", "\0")]), 400)


async def two_hosts(peer: Peer) -> None:
    await refused(peer, upgrade_request(ACTORS, extra=[("Host", "evil.example")]), 400)


async def large_subprotocol(peer: Peer) -> None:
    await refused(peer, upgrade_request("x" * 65_536), 431)


async def many_subprotocols(peer: Peer) -> None:
    await peer.send(upgrade_request(ACTORS, extra=[("Sec-WebSocket-Protocol", "a," * 7_000)]))
    assert (await peer.answer()).status == 101
    await peer.hello("mallory")
    await peer.leave()


async def a_body_without_end(peer: Peer) -> None:
    await peer.send(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
    assert (await peer.answer()).status == 404
    with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - it is cut off at some chunk or other
        while True:
            await peer.send(b"x" * 65_536)


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


async def rejected_opcode(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(0xB, b""))
    await ends_with(peer, 1002)


async def binary(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(BINARY, b'{"op":"ping"}'))
    await ends_with(peer, 1003)


async def two_byte_fragments_without_end(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b"xx", fin=False) + frame(CONTINUATION, b"xx", fin=False) * 600)
    await ends_with(peer, 1009)


async def empty_fragments_without_end(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 600)
    await ends_with(peer, 1009)


async def pings_unread(peer: Peer) -> None:
    await upgraded(peer)
    with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - it is cut off at some ping or other
        while True:
            await peer.send(frame(PING, b"x" * 125) * 100)


async def pongs_without_end(peer: Peer) -> None:
    await upgraded(peer)
    with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - it is cut off at some pong or other
        while True:
            await peer.send(frame(PONG, b"x" * 100) * 100)


async def one_small_message_in_many_fragments_again_and_again(peer: Peer) -> None:
    await upgraded(peer)
    many = frame(TEXT, b'{"op":"pong"', fin=False) + frame(CONTINUATION, fin=False) * 50 + frame(CONTINUATION, b"}")
    with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - it is cut off at some message or other
        while True:
            await peer.send(many)


async def pings_while_closing(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b"nonsense") + frame(PING) * 150 + close_frame(1000) + frame(PING) * 10)
    await ends_with(peer, 4502)


async def nonsense_after_as_many_pings_as_are_allowed(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(PING) * 200 + frame(TEXT, b"nonsense"))
    await ends_with(peer, 4502)


async def a_close_again_and_again(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(close_frame(1000) * 50)
    assert await peer.ending() == (1000, "")


async def half_close_then_send(peer: Peer) -> None:
    await upgraded(peer)
    assert isinstance(peer.stream, trio.SocketStream)
    await peer.send(frame(TEXT, b'{"op":"ping"}') + frame(TEXT, b"x" * 500)[:100])
    await peer.stream.send_eof()
    await peer.ending()


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


async def reset_after_the_hello(peer: Peer) -> None:
    await peer.send(UPGRADE + HELLO)
    await peer.answer()
    peer.reset()


async def reset_with_requests_under_way(peer: Peer) -> None:
    await upgraded(peer)
    asked: list[Message] = [
        {"op": "send", "payload": {"text": "hi"}},
        {"op": "cancel", "run_id": "r"},
        {"op": "read", "thread_id": "t"},
    ]
    for number, request in enumerate(asked):
        await peer.say({"id": number} | request)
    peer.reset()


async def reset_while_it_is_sent_away(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b"nonsense"))
    await peer.next_op("error")
    peer.reset()


async def reset_after_a_close(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(close_frame(1000))
    peer.reset()


async def reset_in_the_middle_of_an_answer(peer: Peer) -> None:
    await peer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await peer.stream.receive_some(10)
    peer.reset()


async def leave_in_the_middle_of_a_frame(peer: Peer) -> None:
    await upgraded(peer)
    await peer.send(frame(TEXT, b"x" * 1_000)[:500])


CONTACTS: list[Callable[[Peer], Awaitable[None]]] = [
    bad_request_line_then_reset,
    handshake_then_reset,
    request_then_reset,
    nothing_then_reset,
    large_headers,
    no_request_line,
    endless_request_line,
    many_headers,
    one_header_many_times,
    folded_headers,
    zeros_in_headers,
    two_hosts,
    large_subprotocol,
    many_subprotocols,
    a_body_without_end,
    rejected_opcode,
    binary,
    two_byte_fragments_without_end,
    empty_fragments_without_end,
    pings_unread,
    pongs_without_end,
    one_small_message_in_many_fragments_again_and_again,
    pings_while_closing,
    nonsense_after_as_many_pings_as_are_allowed,
    a_close_again_and_again,
    half_close_then_send,
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
    reset_after_the_hello,
    reset_with_requests_under_way,
    reset_while_it_is_sent_away,
    reset_after_a_close,
    reset_in_the_middle_of_an_answer,
    leave_in_the_middle_of_a_frame,
]


@pytest.mark.parametrize("contact", CONTACTS, ids=lambda contact: contact.__name__)
async def test_first_contact(contact: Callable[[Peer], Awaitable[None]]) -> None:
    """A hundred of them at once: no other device misses an event, nothing of ours has failed, and nothing is left."""
    async with served(limits=LIMITS) as server:
        async with bystander(server):
            await besiege(server, contact, TIMES)
        await unharmed(server)


@pytest.mark.parametrize("size", range(0, len(UPGRADE) + len(HELLO) + 1, 7))
async def test_reset_at_every_stage(size: int) -> None:
    """A peer that resets its connection after any number of bytes costs no other anything."""

    async def break_off(peer: Peer) -> None:
        await peer.send((UPGRADE + HELLO)[:size])
        peer.reset()

    async with served(limits=LIMITS) as server:
        async with bystander(server):
            await besiege(server, break_off, 20)
        await unharmed(server)
