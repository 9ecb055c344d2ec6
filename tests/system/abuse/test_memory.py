"""The memory that a hostile connection can make the server keep: a small multiple of the largest message."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import pytest
import trio
import trio.testing

import actors
from tests.support.raw import BINARY, CONTINUATION, PING, PONG, TEXT, Peer, frame
from tests.support.served import Served, served

MOST = 16 * 1024
PEERS = 10
PIECES = 250
"""Almost as many as such a message may have."""

HELD = {
    "text": frame(TEXT, b"x" * MOST, fin=False),
    "wide_text": frame(TEXT, ("\U0001f30d" * 4_000 + "x" * 384).encode(), fin=False),
    "one_wide_character_in_each_fragment": frame(TEXT, fin=False)
    + frame(CONTINUATION, ("\U0001f30d" + "x" * 500).encode(), fin=False) * 32,
    "one_wide_character": frame(TEXT, ("\U0001f30d" + "x" * (MOST - 4)).encode(), fin=False),
    "one_wide_character_in_each_half": frame(TEXT, ("\U0001f30d" + "x" * 8_188).encode(), fin=False)
    + frame(CONTINUATION, ("\U0001f30d" + "x" * 8_188).encode(), fin=False),
    "one_wide_character_in_each_small_fragment": frame(TEXT, fin=False)
    + frame(CONTINUATION, ("\U0001f30d" + "x" * 61).encode(), fin=False) * PIECES,
    "binary": frame(BINARY, b"x" * MOST, fin=False),
    "empty_fragments": frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * PIECES,
    "two_byte_fragments": frame(TEXT, fin=False) + frame(CONTINUATION, b"xy", fin=False) * PIECES,
    "two_byte_fragments_of_wide_text": frame(TEXT, fin=False) + frame(CONTINUATION, "é".encode(), fin=False) * PIECES,
    "two_byte_fragments_of_binary": frame(BINARY, fin=False) + frame(CONTINUATION, b"xy", fin=False) * PIECES,
    "a_length_and_nothing_behind_it": frame(TEXT, b"", declared=MOST)[:8],
}


@contextmanager
def growth() -> Iterator[list[int]]:
    """Measure what is allocated while the body runs: what is left of it, and the most that there was."""
    told: list[int] = []
    gc.collect()
    tracemalloc.start()
    try:
        yield told
        gc.collect()
        told += tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


@asynccontextmanager
async def mallory(server: Served) -> AsyncIterator[list[Peer]]:
    """Many connections of one hostile user."""
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(server.peer()) for _ in range(PEERS)]
        for peer in peers:
            await peer.attach("mallory")
        yield peers


async def all_read(peer: Peer) -> None:
    """Wait until the server has read everything so far, as the answer to a ping shows."""
    while (answer := await peer.next_frame()) is not None and answer.opcode != PONG:
        pass
    assert answer is not None, "this is not enough to be cut off"


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
async def test_an_unfinished_message(held: bytes) -> None:
    """A message without an end costs at most four times what a message may have, in whatever pieces it comes, also if
    each has a character that makes its text four bytes wide."""
    async with served(limits=actors.Limits(inbound_bytes=MOST)) as server, mallory(server) as peers:
        with growth() as told:
            for peer in peers:
                await peer.send(held + (frame(PING) if len(held) > 8 else b""))
                if len(held) > 8:
                    await all_read(peer)
            await trio.testing.wait_all_tasks_blocked()
        left, most = told
        assert left <= PEERS * 4 * MOST
        assert most <= PEERS * 4 * MOST + 16 * MOST  # what one of them costs while it is being read


async def test_a_message_that_trickles_in() -> None:
    """Two bytes, and two bytes, each read by itself, cost no more than that, or are cut off."""
    payload = "éé".encode() * (MOST // 4)
    whole = frame(TEXT, payload)
    async with served(limits=actors.Limits(inbound_bytes=MOST, close_seconds=0.5)) as server, mallory(server) as peers:
        with growth() as told:
            for at in range(0, 2 * PIECES, 2):
                for peer in peers[:3]:
                    await peer.send(whole[at : at + 2])
                await trio.testing.wait_all_tasks_blocked()
        assert told[0] <= 3 * 4 * MOST


@pytest.mark.parametrize("payload", [b"", b"x" * 125])
async def test_pings_unread(payload: bytes) -> None:
    """Pings with answers that the peer does not read are kept up to a bound, and then the connection goes."""
    limits = actors.Limits(inbound_bytes=MOST, close_seconds=0.1)
    async with served(limits=limits) as server, mallory(server) as peers:
        flood = frame(PING, payload) * 100
        with growth() as told:
            for peer in peers:
                with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - it is cut off at some ping or other
                    while True:
                        await peer.send(flood)
        assert told[1] <= PEERS * 4 * MOST


async def test_memory_returns() -> None:
    """When hostile connections have gone, so has what they held."""
    async with served(limits=actors.Limits(inbound_bytes=MOST)) as server:
        async with mallory(server):
            pass
        await server.all_gone()
        with growth() as told:
            async with mallory(server) as peers:
                for peer in peers:
                    await peer.send(HELD["two_byte_fragments"] + frame(PING))
                    await all_read(peer)
            await server.all_gone()
            await trio.testing.wait_all_tasks_blocked()
            del peers
        assert told[0] <= PEERS * MOST
