"""The goodbye of a connection, as its peer hears it."""

from __future__ import annotations

from typing import Any, cast

import pytest

import actors
from actors.connections.ending import Ending
from actors.protocol.codes import CLOSINGS
from tests.support.raw import BINARY, CLOSE, PING, TEXT, frame
from tests.support.served import served


async def test_goodbye() -> None:
    """A device that says goodbye is answered, forgotten, and remembered in what explain says."""
    async with served() as server:
        async with server.peer() as peer:
            await peer.attach("alice")
            assert await peer.leave() == (1000, "")
        await server.gone()
        (receipt,) = await server.emit(1)
        assert "no device is here; the last, c1, went at" in str(server.runtime.explain(receipt))


async def test_goodbye_without_a_code() -> None:
    """A browser's ``close()`` gives no code; that is a goodbye all the same, and is answered in kind."""
    async with served() as server:
        async with server.peer() as peer:
            await peer.attach("alice")
            await peer.send(frame(CLOSE))
            await peer.ending()
            assert peer.frames[-1] == (CLOSE, b"")
        await server.gone()
        (receipt,) = await server.emit(1)
        assert "(left: " in str(server.runtime.explain(receipt))


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (frame(BINARY, b"\x00\x01"), "binary"),
        (frame(TEXT, b"x" * 65_537), "too_big"),
        (frame(TEXT, "é".encode() * 40_000), "too_big"),
        (frame(TEXT, b"x" * 40_000, fin=False) + frame(0, b"x" * 40_000), "too_big"),
        (frame(TEXT, b"\xff\xfe"), "bad_text"),
        (frame(TEXT, "é".encode()[:1], fin=False) + frame(0, b"x"), "bad_text"),
        (frame(0, b"x"), "bad_frame"),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), "bad_frame"),
        (frame(0x3, b"x"), "bad_frame"),
        (frame(PING, b"x", fin=False), "bad_frame"),
        (frame(PING, b"x" * 126), "bad_frame"),
    ],
)
async def test_not_acceptable(sent: bytes, name: str) -> None:
    """A message that is no text of ours ends the connection with the code that says so, and is no failure."""
    async with served(limits=actors.Limits(close_seconds=0.05)) as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.send(sent)
        ending = await peer.farewell()
        assert ending is not None
        assert ending[0] == CLOSINGS[name].code
        await server.all_gone()
        (receipt,) = await server.emit(1)
        assert f"({name}:" in str(server.runtime.explain(receipt))
        assert server.failures() == []


async def test_binary_from_a_plain_client() -> None:
    """A client without the protocol may say what it likes, but in text, as the others."""
    async with served() as server, server.peer() as peer:
        await peer.open(cookie="actors_token=alice")
        await peer.send(frame(BINARY, b"\x00\x01"))
        assert await peer.farewell() == (1003, "expected a text message, got 2 bytes of binary")


def test_the_first_reason_counts() -> None:
    """A connection ends for the reason that came first, in its own words or the table's, and leaves for none."""
    ending, stopped = Ending(), list[str]()
    ending.stops(lambda: stopped.append("greeting"))
    ending.stops(lambda: stopped.append("idle"))
    assert ending.outcome() == ("left", CLOSINGS["left"].text)
    ending.begin("superseded", "")
    ending.begin("failed", "too late")
    assert ending.outcome() == ending.reason == ("superseded", CLOSINGS["superseded"].text)
    assert stopped == ["idle"]
    ending.stops(lambda: stopped.append("late"))
    assert stopped == ["idle", "late"]


@pytest.mark.parametrize("name", ["vanished", "stalled", "silent", "choked"])
async def test_no_goodbye_to_a_peer_that_would_not_read_it(name: str) -> None:
    """Such a connection is aborted without a word."""
    aborted = list[str]()

    class Deaf:
        """A transport that can only be aborted."""

        def abort(self) -> None:
            aborted.append(name)

    ending = Ending()
    ending.begin(name, "")
    await ending.say_goodbye(cast(Any, None), cast(Any, Deaf()), actors.Limits(), plain=False)
    assert aborted == [name]
